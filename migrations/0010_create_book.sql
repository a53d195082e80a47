-- +goose Up
-- The one ledger whose books these are: its last event and its own time, which never goes back.
CREATE TABLE book_head (
	one      BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
	network  TEXT   NOT NULL,
	ledger   TEXT   NOT NULL,
	sequence BIGINT NOT NULL CHECK (sequence >= 0),
	time_ms  BIGINT NOT NULL CHECK (time_ms > 0)
);

-- What every place holds of every asset (by its code). A place is an account, as owner/number,
-- or 'custody', which holds what all prepared custodies hold together.
CREATE TABLE book_places (
	place   TEXT   NOT NULL,
	code    TEXT   NOT NULL,
	balance BIGINT NOT NULL CHECK (balance >= 0),
	PRIMARY KEY (place, code)
);

-- Every event, with the record that the operator signed of it. A custody ends once.
CREATE TABLE book_events (
	sequence BIGINT NOT NULL PRIMARY KEY CHECK (sequence > 0),
	custody  BYTEA  NOT NULL,
	state    BIGINT NOT NULL CHECK (state BETWEEN 1 AND 3),
	time_ms  BIGINT NOT NULL CHECK (time_ms > 0),
	record   BYTEA  NOT NULL
);

CREATE UNIQUE INDEX book_events_end ON book_events (custody) WHERE state > 1;

-- Double entry: each line takes an amount out of one place and puts it into another. Sequence 0
-- is the opening, out of the place 'issue'; every event has one line.
CREATE TABLE book_journal (
	sequence BIGINT NOT NULL CHECK (sequence >= 0),
	line     BIGINT NOT NULL CHECK (line >= 0),
	code     TEXT   NOT NULL,
	amount   BIGINT NOT NULL CHECK (amount > 0),
	debit    TEXT   NOT NULL,
	credit   TEXT   NOT NULL CHECK (credit <> debit),
	PRIMARY KEY (sequence, line)
);

-- Where every custody stands, and which event led there. No condition is used twice.
CREATE TABLE book_custodies (
	id        BYTEA  NOT NULL PRIMARY KEY,
	condition BYTEA  NOT NULL UNIQUE,
	state     BIGINT NOT NULL CHECK (state BETWEEN 1 AND 3),
	code      TEXT   NOT NULL,
	amount    BIGINT NOT NULL CHECK (amount > 0),
	expiry    BIGINT NOT NULL CHECK (expiry > 0),
	sequence  BIGINT NOT NULL UNIQUE
);

CREATE INDEX book_custodies_due ON book_custodies (expiry, id) WHERE state = 1;
