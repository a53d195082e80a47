-- +goose Up
-- What is to be sent, oldest id first; a row leaves when its receiver has it.
CREATE TABLE outbox (
	id      BIGINT NOT NULL CHECK (id > 0) PRIMARY KEY,
	queue   TEXT   NOT NULL,
	key     BYTEA  NOT NULL,
	payload BYTEA  NOT NULL
);

CREATE INDEX outbox_queue ON outbox (queue, id);

-- How often the database was opened by an owner: the upper part of every outbox id, so that
-- no id is ever used again.
CREATE TABLE incarnation (
	number BIGINT NOT NULL CHECK (number >= 0)
);

INSERT INTO incarnation (number) VALUES (0);
