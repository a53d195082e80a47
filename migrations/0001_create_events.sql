-- +goose Up
-- One row per event of an append-only log; sequence starts at 1 in each stream, without gap.
CREATE TABLE events (
	stream   TEXT   NOT NULL,
	sequence BIGINT NOT NULL CHECK (sequence > 0),
	kind     TEXT   NOT NULL,
	body     BYTEA  NOT NULL,
	PRIMARY KEY (stream, sequence)
);

-- Every stream has exactly one first event: the list of streams.
CREATE INDEX events_first ON events (stream) WHERE sequence = 1;
