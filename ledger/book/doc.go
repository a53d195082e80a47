// Package book is a durable ledger of our own: double entry in SQL, run by one operator.
//
// Its noun is the Book: accounts, custodies and a journal in one database, which obey the
// rules of package ledger. Every event is a journal line and a record under the operator's
// signature, written in one transaction with the balances; nobody hears of it before it is on
// disk. Commands that arrive together share a transaction and a signature check.
//
// It keeps these promises, which the tests quote and Audit checks:
//
//	B1  every line takes out of one place what it puts into another; no balance is negative
//	B2  a place holds what its lines say, and custody holds what the prepared custodies say
//	B3  what an asset's accounts and custody hold together is what the opening issued
//	B4  events are numbered from 1 without a gap, and a custody ends at most once
//	B5  the ledger's time never goes back, not over a restart, and what it was told is stored
//	B6  custodies whose expiry has come are returned before any command is looked at; of very many,
//	    as many as one transaction takes, and until the next ones nobody can confirm the others
//	B7  passages over the ramp are numbered from 1 without a gap, a crossing passes at most once, and
//	    what is in escrow came and goes by them alone
//
// It refuses to sign (a port does), to make or destroy money after the opening, and to keep
// two ledgers in one database. Source: architecture.md "Time"; ILP RFC 22; the journal is the
// double entry of any accounting text.
package book
