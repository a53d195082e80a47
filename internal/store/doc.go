// Package store is the one SQL store of a process: an event log, an inbox, an outbox and
// the tables of the packages above, in one database that one process owns.
//
// Its noun is the Store: a SQLite file (the embedded default) or a PostgreSQL database, used
// through one SQL subset and one migration set. Update gathers concurrent callers into one
// transaction with one fsync and answers each of them after it, so what a caller hears is
// durable; View reads one consistent state.
//
// It keeps these promises:
//
//	S1  one owner: a second Open of a database is refused while the first lives
//	S2  all or nothing: what one Update wrote is there as a whole or not at all
//	S3  alone: an Update that fails neither harms nor is harmed by others of its batch
//	S4  durable first: nil is returned only after the commit is on disk
//	S5  no guess: when the outcome of a commit is unknown the store stops; the process
//	    opens it again and reads what is true
//
// It refuses to know a domain, to read a clock, and to store what the two engines treat
// differently: a parameter is an integer, text without NUL, bytes or nil; a name is
// printable ASCII; nothing is a floating-point number. Sources: the transactional outbox and
// idempotent receiver patterns; the SQLite and PostgreSQL manuals where a line says so.
package store
