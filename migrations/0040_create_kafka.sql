-- +goose Up
-- What the host of a ledger refused, by the hash of the signed command: a refusal stands, so a
-- copy of the command that arrives later has no effect either.
CREATE TABLE kafka_refusals (
	command BYTEA NOT NULL PRIMARY KEY,
	refusal BYTEA NOT NULL
);

-- What the operator of a ledger told, as a gateway verified it: every event, without a gap.
CREATE TABLE kafka_records (
	ledger   TEXT   NOT NULL,
	sequence BIGINT NOT NULL CHECK (sequence > 0),
	custody  BYTEA  NOT NULL,
	record   BYTEA  NOT NULL,
	PRIMARY KEY (ledger, sequence)
);

CREATE INDEX kafka_records_custody ON kafka_records (ledger, custody, sequence);
