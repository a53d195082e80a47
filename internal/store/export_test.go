package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

const (
	// QueueLength is how many Updates wait in line.
	QueueLength = queueLength
	// MaxStatements is how many prepared statements a session keeps.
	MaxStatements = maxStatements
)

// Statements is how many prepared statements the writing session keeps; for a callback.
func (s *Store) Statements() int { return len(s.db.write.statements) }

// Connecting is the sslmode and the target_session_attrs that a DSN leads to.
func Connecting(dsn string) (tls, target string, err error) {
	cfg, _, err := postgresConfig(dsn)
	return string(cfg.SSLMode), string(cfg.TargetSessionAttrs), err
}

// Waiting is the number of Updates in line.
func (s *Store) Waiting() int { return len(s.jobs) }

// Writing runs a statement on the writing session, outside any transaction. No Update may
// run meanwhile.
func (s *Store) Writing(query string, dest ...any) error {
	if len(dest) == 0 {
		_, err := s.db.write.conn.ExecContext(context.Background(), query)
		return err
	}
	return s.db.write.conn.QueryRowContext(context.Background(), query).Scan(dest...)
}

// Intercept lets fault see every control statement before (false) and after (true) it ran; an
// error of fault is what the writer hears. It must be called before the first Update.
func (s *Store) Intercept(fault func(query string, ran bool) error) error {
	var inner driver.Conn
	err := s.db.write.conn.Raw(func(c any) error {
		inner = c.(driver.Conn)
		return nil
	})
	if err != nil {
		return err
	}
	db := sql.OpenDB(faultyConnector{conn: &faultyConn{Conn: inner, fault: fault}})
	conn, err := db.Conn(context.Background())
	if err != nil {
		return err
	}
	end := s.db.release
	s.db.write = newSession(conn)
	s.db.release = func() error {
		_, _ = conn.Close(), db.Close()
		return end()
	}
	return nil
}

// CheckServing judges a server by its settings.
func CheckServing(fsync, fullPageWrites, synchronousCommit, encoding string, bytewise bool) error {
	return serverSettings{fsync, fullPageWrites, synchronousCommit, encoding, bytewise}.check()
}

type faultyConnector struct{ conn *faultyConn }

func (c faultyConnector) Connect(context.Context) (driver.Conn, error) { return c.conn, nil }
func (c faultyConnector) Driver() driver.Driver                        { return nil }

// faultyConn passes everything on, except what fault refuses.
type faultyConn struct {
	driver.Conn
	fault func(query string, ran bool) error
}

func (c *faultyConn) Close() error { return nil } // the store closes the inner one

func (c *faultyConn) ExecContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (driver.Result, error) {
	if err := c.fault(query, false); err != nil {
		return nil, err
	}
	result, err := c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return result, c.fault(query, true)
}

// MigratePostgres migrates the database of a DSN, as Open does.
func MigratePostgres(ctx context.Context, dsn string) error {
	cfg, _, err := postgresConfig(dsn)
	if err != nil {
		return err
	}
	return migratePostgres(ctx, cfg)
}
