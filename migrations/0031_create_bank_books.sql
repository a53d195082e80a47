-- +goose Up
-- Whose account a bank keeps, as "IBAN/" or "Othr/" and the number; standing is 1 open, 2 closed,
-- 3 blocked.
CREATE TABLE bank_customers (
	account  TEXT   NOT NULL PRIMARY KEY,
	holder   TEXT   NOT NULL,
	standing BIGINT NOT NULL CHECK (standing BETWEEN 1 AND 3)
);

-- What every account of the chart has in every asset, credits less debits: the bank owes what is
-- positive. Only a channel may stand on either side.
CREATE TABLE bank_balances (
	account TEXT   NOT NULL,
	ledger  TEXT   NOT NULL,
	code    TEXT   NOT NULL,
	scale   BIGINT NOT NULL CHECK (scale BETWEEN 0 AND 18),
	balance BIGINT NOT NULL CHECK (balance >= 0 OR account = 'opening' OR account LIKE 'channel/%'),
	PRIMARY KEY (account, ledger, code),
	CHECK (account <> 'opening' OR balance <= 0)
);

-- Where the posting of every payment stands, by its direction. Reason is why the first answer was
-- no, if it was; returns is empty but for a payment that gives an incoming one back.
CREATE TABLE bank_postings (
	payment   BYTEA  NOT NULL,
	direction TEXT   NOT NULL,
	state     TEXT   NOT NULL,
	reason    TEXT   NOT NULL,
	customer  TEXT   NOT NULL,
	returns   BYTEA  NOT NULL,
	channel   BYTEA  NOT NULL,
	ledger    TEXT   NOT NULL,
	code      TEXT   NOT NULL,
	scale     BIGINT NOT NULL,
	amount    BIGINT NOT NULL CHECK (amount > 0),
	PRIMARY KEY (payment, direction),
	CHECK (direction = 'outgoing' AND state IN ('held', 'posted', 'released', 'barred')
		OR direction = 'incoming' AND state IN ('posted', 'declined', 'refused') AND length(returns) = 0)
);

-- An incoming payment is given back once.
CREATE UNIQUE INDEX bank_postings_returns ON bank_postings (returns)
	WHERE length(returns) > 0 AND state IN ('held', 'posted');

-- Double entry: every line debits one account and credits another. A step of a payment has one.
CREATE TABLE bank_journal (
	sequence  BIGINT NOT NULL PRIMARY KEY CHECK (sequence > 0),
	payment   BYTEA  NOT NULL,
	direction TEXT   NOT NULL,
	step      TEXT   NOT NULL CHECK (step IN ('open', 'hold', 'post', 'release', 'refuse')),
	debit     TEXT   NOT NULL,
	credit    TEXT   NOT NULL CHECK (credit <> debit),
	ledger    TEXT   NOT NULL,
	code      TEXT   NOT NULL,
	scale     BIGINT NOT NULL,
	amount    BIGINT NOT NULL CHECK (amount > 0)
);

CREATE UNIQUE INDEX bank_journal_step ON bank_journal (payment, direction, step) WHERE step <> 'open';
