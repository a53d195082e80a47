-- +goose Up
-- What was received, so that it acts once.
CREATE TABLE inbox (
	sender  TEXT  NOT NULL,
	message BYTEA NOT NULL,
	PRIMARY KEY (sender, message)
);

-- How far each partition of a topic was read: the offset of the next record.
CREATE TABLE offsets (
	topic     TEXT   NOT NULL,
	partition BIGINT NOT NULL CHECK (partition >= 0),
	next      BIGINT NOT NULL CHECK (next >= 0),
	PRIMARY KEY (topic, partition)
);
