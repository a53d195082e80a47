-- +goose Up
-- Idempotency keys: SHA-256 of the body that came first under each, the stream that it led to, and
-- how many of its events the answer was made of. They are kept as long as the stream is.
CREATE TABLE idempotency_keys (
	key      TEXT    NOT NULL PRIMARY KEY,
	body     BYTEA   NOT NULL,
	stream   TEXT    NOT NULL,
	answered INTEGER NOT NULL
);

-- The streams of the payments that are not over: what a Connect takes up again when it starts.
CREATE TABLE open_payments (
	stream TEXT NOT NULL PRIMARY KEY
);
