-- +goose Up
-- What left the ledger for the chain, and what came in, by the ramp's own number, each with the
-- record that the operator signed of it. A row is a journal line too: it takes an amount out of one
-- place and puts it into another, after that many events.
CREATE TABLE book_crossings (
	sequence BIGINT NOT NULL PRIMARY KEY CHECK (sequence > 0),
	id       BYTEA  NOT NULL UNIQUE,
	events   BIGINT NOT NULL CHECK (events >= 0),
	code     TEXT   NOT NULL,
	amount   BIGINT NOT NULL CHECK (amount > 0),
	debit    TEXT   NOT NULL,
	credit   TEXT   NOT NULL CHECK (credit <> debit),
	record   BYTEA  NOT NULL
);
