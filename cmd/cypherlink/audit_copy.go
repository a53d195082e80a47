package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/lib/pq"

	"github.com/cypherlink/cypherlink/internal/store"
)

// Opening a store writes to it: it migrates the tables and counts the opening. So an audit opens
// copies of the SQL stores in a folder of its own, always as SQLite.

// openCopy copies the store of the process in a folder, and opens the copy until the audit ends.
func (a *audit) openCopy(ctx context.Context, folder, dsn string, data path) (*store.Store, error) {
	to := filepath.Join(a.scratch, folder+".db")
	if !strings.HasPrefix(dsn, "postgres") {
		from, ok := strings.CutPrefix(dsn, "sqlite:")
		if !ok {
			from = filepath.Join(string(data), "store.db")
		}
		if err := copySQLite(from, to); err != nil {
			return nil, err
		}
	}
	s, err := store.Open(ctx, "sqlite:"+to)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, s.Close)
	if strings.HasPrefix(dsn, "postgres") {
		return s, copyPostgres(ctx, dsn, s)
	}
	return s, nil
}

// copySQLite copies a database that nobody has open: the file, and the log of what was
// committed and is not in it yet.
func copySQLite(from, to string) error {
	from, err := filepath.EvalSymlinks(from) // the log lies beside the file itself
	if err != nil {
		return err
	}
	if err := copyFile(from, to); err != nil {
		return err
	}
	if err := copyFile(from+"-wal", to+"-wal"); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from) //nolint:gosec // a store of the operator's
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode) //nolint:gosec // our own
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), in.Close())
}

// copiedTables are those of any store that an audit reads.
func copiedTables() []string {
	return []string{
		"events", "open_payments", "open_machines", "kafka_records", "kafka_crossings",
		"bank_customers", "bank_balances", "bank_postings", "bank_journal",
		"book_crossings", "book_head", "book_places", "book_journal", "book_events", "book_custodies",
	}
}

// copiedRows is how many rows are copied at a time.
const copiedRows = 512

// copyPostgres copies the tables as one transaction sees them that may not write.
func copyPostgres(ctx context.Context, dsn string, to *store.Store) (err error) {
	cfg, err := pq.NewConfig(dsn)
	if err != nil {
		return fmt.Errorf("malformed postgres DSN: %w", errConfig) // the cause may quote a password
	}
	// as the store itself: a server whose name was not verified is a stranger
	u, err := url.Parse(dsn)
	if err == nil && !u.Query().Has("sslmode") && os.Getenv("PGSSLMODE") == "" {
		cfg.SSLMode = pq.SSLModeVerifyFull
	}
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // it wrote nothing
	for _, table := range copiedTables() {
		if err := copyTable(ctx, tx, table, to); err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	return nil
}

func copyTable(ctx context.Context, tx *sql.Tx, table string, to *store.Store) (err error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table) //nolint:gosec // one of copiedTables
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	insert := insertion(table, columns)
	var page [][]any
	write := func() error {
		full := page
		page = nil
		return to.Update(ctx, func(tx *store.Tx) error {
			for _, values := range full {
				if _, err := tx.Exec(insert, values...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if page = append(page, values); len(page) == copiedRows {
			if err := write(); err != nil {
				return err
			}
		}
	}
	return errors.Join(rows.Err(), write())
}

// insertion is the statement that inserts one row.
func insertion(table string, columns []string) string {
	parameters := make([]string, len(columns))
	for i := range parameters {
		parameters[i] = fmt.Sprintf("$%d", i+1)
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)",
		table, strings.Join(slices.Clone(columns), ", "), strings.Join(parameters, ", "))
}
