-- +goose Up
-- Small values of one process by name, such as its last persisted clock.
CREATE TABLE records (
	name  TEXT  NOT NULL PRIMARY KEY,
	value BYTEA NOT NULL
);
