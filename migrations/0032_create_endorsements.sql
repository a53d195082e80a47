-- +goose Up
-- The lane updates that a Validator has endorsed, in their canonical form: what it signed it signs
-- again, and what follows one of them it can judge.
CREATE TABLE endorsed_updates (
	hash    BYTEA NOT NULL PRIMARY KEY,
	content BYTEA NOT NULL
);

-- Which of them carry a payment, by its terms hash, in each lane: never two on one path.
CREATE TABLE endorsed_payments (
	lane     BYTEA NOT NULL,
	payment  BYTEA NOT NULL,
	endorsed BYTEA NOT NULL,
	PRIMARY KEY (lane, payment, endorsed)
);
