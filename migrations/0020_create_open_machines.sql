-- +goose Up
-- The streams of the payments that are not over: what an engine restores when it starts.
CREATE TABLE open_machines (
    stream TEXT NOT NULL PRIMARY KEY
);
