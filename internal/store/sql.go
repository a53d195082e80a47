package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"
)

const (
	maxName       = 255 // bytes of a name
	maxStatements = 256 // prepared statements that a session keeps
)

// Reader reads one state of the database. It belongs to the callback that got it and to that
// callback's goroutine.
type Reader struct {
	query   func(query string, args ...any) (*sql.Rows, error)
	explain func(error) error
	failed  error // the first SQL error; PostgreSQL would answer nothing after it either
	looping bool  // inside a Query loop, which occupies the session
	over    bool  // the callback has ended
}

// Tx reads and writes within one Update.
type Tx struct {
	Reader
	exec     func(query string, args ...any) (sql.Result, error)
	wrote    bool         // it may have changed something
	number   func() int64 // the next outbox id
	enqueued []string     // queues to wake after the commit
}

// Row is one row of a result, or the error that stands in its place.
type Row struct{ scan func(dest ...any) error }

// Scan copies the row's columns into dest, as database/sql's Rows.Scan does. Bytes are
// copied. If the query failed, Scan returns its error.
func (r Row) Scan(dest ...any) error { return r.scan(dest...) }

// Query runs a SELECT and yields its rows. An error ends the sequence: it is what the last
// row's Scan returns. Within the loop no other statement can run.
func (r *Reader) Query(query string, args ...any) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		rows, err := r.open(query, args)
		if err != nil {
			yield(failedRow(err))
			return
		}
		r.looping = true
		defer func() { _ = r.end(query, rows) }() // after a break the next statement tells
		for rows.Next() {
			if !yield(Row{scan: rows.Scan}) {
				return
			}
		}
		if err := r.end(query, rows); err != nil {
			yield(failedRow(err))
		}
	}
}

// end closes a result. What its statement met on the way is known only now.
func (r *Reader) end(query string, rows *sql.Rows) error {
	r.looping = false
	if err := errors.Join(rows.Close(), rows.Err()); err != nil {
		return r.fail(query, err)
	}
	return nil
}

// QueryRow runs a statement that returns at most one row, such as a SELECT by key or an
// INSERT with RETURNING. It runs when Scan is called; Scan returns ErrNoRow if there is no
// row.
func (r *Reader) QueryRow(query string, args ...any) Row {
	return Row{scan: func(dest ...any) error {
		rows, err := r.open(query, args)
		if err != nil {
			return err
		}
		found := rows.Next()
		if found {
			err = rows.Scan(dest...)
		}
		if failed := r.end(query, rows); failed != nil {
			return failed
		}
		if !found {
			return fmt.Errorf("%s: %w", brief(query), ErrNoRow)
		}
		return err
	}}
}

// Exec runs a statement that returns no rows and tells how many rows it changed.
func (t *Tx) Exec(query string, args ...any) (int64, error) {
	if err := t.usable(query, args); err != nil {
		return 0, err
	}
	result, err := t.exec(query, args...)
	if err != nil {
		return 0, t.fail(query, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, t.fail(query, err)
	}
	t.wrote = t.wrote || n > 0
	return n, nil
}

func (r *Reader) open(query string, args []any) (*sql.Rows, error) {
	if err := r.usable(query, args); err != nil {
		return nil, err
	}
	rows, err := r.query(query, args...)
	if err != nil {
		return nil, r.fail(query, err)
	}
	return rows, nil
}

func (r *Reader) usable(query string, args []any) error {
	switch {
	case r.over:
		return fmt.Errorf("%s: after the end of its callback: %w", brief(query), ErrMisuse)
	case r.looping:
		return fmt.Errorf("%s: inside a Query loop: %w", brief(query), ErrMisuse)
	case r.failed != nil:
		return r.failed
	}
	for i, arg := range args {
		if err := portable(arg); err != nil {
			return fmt.Errorf("%s: $%d: %w", brief(query), i+1, err)
		}
	}
	return nil
}

// fail keeps a statement's error: nothing runs after it.
func (r *Reader) fail(query string, err error) error {
	r.failed = fmt.Errorf("%s: %w", brief(query), r.explain(err))
	return r.failed
}

func failedRow(err error) Row { return Row{scan: func(...any) error { return err }} }

// brief is a statement's beginning, for an error. Statements hold no values.
func brief(query string) string {
	const length = 80
	query = strings.Join(strings.Fields(query), " ")
	if len(query) > length {
		query = strings.ToValidUTF8(query[:length], "") + "..."
	}
	return query
}

// portable tells whether both engines store the value alike: PostgreSQL refuses NUL and
// ill-formed UTF-8 in text, SQLite takes any type in any column.
func portable(arg any) error {
	switch v := arg.(type) {
	case nil, int64, int, []byte:
		return nil
	case string:
		if !utf8.ValidString(v) || strings.Contains(v, "\x00") {
			return fmt.Errorf("text %.40q: %w", v, ErrValue)
		}
		return nil
	default:
		return fmt.Errorf("type %T: %w", arg, ErrValue)
	}
}

// named checks names of streams, kinds, queues, senders, topics and records: 1 to 255 bytes
// of printable ASCII without space, so that every engine orders them by their bytes.
func named(names ...string) error {
	for _, name := range names {
		if name == "" || len(name) > maxName || !printable(name) {
			return fmt.Errorf("name %.40q: %w", name, ErrValue)
		}
	}
	return nil
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' })
}

// bytes makes nil the empty byte string: no column of the store is NULL.
func bytes(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// session is a connection with its prepared statements. Its statements run to their end.
type session struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
}

func newSession(conn *sql.Conn) *session {
	return &session{conn: conn, statements: make(map[string]*sql.Stmt)}
}

func (s *session) prepare(query string) (*sql.Stmt, error) {
	if stmt, ok := s.statements[query]; ok {
		return stmt, nil
	}
	if len(s.statements) >= maxStatements {
		if err := s.forget(); err != nil {
			return nil, err
		}
	}
	stmt, err := s.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	s.statements[query] = stmt
	return stmt, nil
}

// forget closes all prepared statements.
func (s *session) forget() error {
	var errs []error
	for _, stmt := range s.statements {
		errs = append(errs, stmt.Close())
	}
	clear(s.statements)
	return errors.Join(errs...)
}

func (s *session) query(query string, args ...any) (*sql.Rows, error) {
	stmt, err := s.prepare(query) //nolint:sqlclosecheck // the session closes it
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(context.Background(), args...)
}

func (s *session) exec(query string, args ...any) (sql.Result, error) {
	stmt, err := s.prepare(query) //nolint:sqlclosecheck // the session closes it
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(context.Background(), args...)
}
