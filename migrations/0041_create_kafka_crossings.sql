-- +goose Up
-- What the operator of a ledger told of its ramp, as a gateway verified it: every passage, without
-- a gap.
CREATE TABLE kafka_crossings (
	ledger   TEXT   NOT NULL,
	sequence BIGINT NOT NULL CHECK (sequence > 0),
	id       BYTEA  NOT NULL,
	record   BYTEA  NOT NULL,
	PRIMARY KEY (ledger, sequence),
	UNIQUE (ledger, id)
);
