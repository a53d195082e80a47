package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/pressly/goose/v3"
)

const (
	readSessions = 4 // Views at a time
	privateMode  = 0o600
)

// openSQLite owns the file at path: it holds a kernel lock on PATH.lock, which ends with the
// process, and writes through one session. WAL with synchronous=FULL syncs every commit.
func openSQLite(ctx context.Context, path string) (*database, error) {
	if path == "" || strings.HasPrefix(path, ":") { // ":memory:" is not durable
		return nil, fmt.Errorf("sqlite path %q: %w", path, ErrValue)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // one database, one lock, whatever name it is opened by
	}
	lock, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	d, err := openSQLiteFile(ctx, path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	end := d.release
	d.release = func() error { return errors.Join(end(), lock.Close()) }
	return d, nil
}

func openSQLiteFile(ctx context.Context, path string) (*database, error) {
	// SQLite gives its WAL the mode of the file
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, privateMode) //nolint:gosec // the operator's path
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	write, err := sqlitePool(path, false)
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	if err := migrate(ctx, goose.DialectSQLite3, write); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	conn, err := write.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write session: %w", err), write.Close())
	}
	read, err := sqlitePool(path, true)
	if err != nil {
		return nil, errors.Join(err, conn.Close(), write.Close())
	}
	read.SetMaxOpenConns(readSessions)
	read.SetMaxIdleConns(readSessions)
	return &database{
		write:    newSession(conn),
		read:     read,
		snapshot: &sql.TxOptions{ReadOnly: true},
		begin:    "BEGIN IMMEDIATE",
		commit:   "COMMIT",
		again:    func(error) bool { return false },
		certain:  constraintSQLite,
		sentinel: sentinelSQLite,
		release:  func() error { return errors.Join(conn.Close(), write.Close()) },
	}, nil
}

func sqlitePool(path string, reading bool) (*sql.DB, error) {
	settings := url.Values{
		"_dqs":          {"0"}, // "..." is an identifier, as in PostgreSQL
		"_defensive":    {"1"},
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"1"},
		"_busy_timeout": {"5000"},
	}
	if reading {
		settings.Set("_query_only", "1")
	}
	name := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: settings.Encode()}
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// lockFile takes the lock beside the database and leaves the process id in it. The file is
// not the database itself: closing any handle of that would drop SQLite's own locks.
func lockFile(path string) (*os.File, error) {
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, privateMode) //nolint:gosec // as above
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(&HeldError{Database: path, PID: readPID(lock)}, lock.Close())
	}
	if err == nil {
		err = lock.Truncate(0)
	}
	if err == nil {
		_, err = lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
	}
	return lock, nil
}

// readPID reads what the owner left in its lock, or returns 0.
func readPID(lock *os.File) int {
	text, err := io.ReadAll(io.LimitReader(lock, 20))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// constraintSQLite tells a broken constraint. At a COMMIT (a deferred reference) it is the
// only error that has certainly written nothing: after a failed write or fsync the commit
// may still be found on disk.
func constraintSQLite(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}

func sentinelSQLite(err error) error {
	if constraintSQLite(err) {
		return ErrConstraint
	}
	return nil
}
