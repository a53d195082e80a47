package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"
	"github.com/pressly/goose/v3"
)

const (
	// ownerKey is the advisory lock of a database's owner: "cyphlink" in ASCII.
	ownerKey = 0x637970686c696e6b
	// ownerWait is how long Open waits for an owner to go: a server needs a moment to notice
	// that a killed process is gone.
	ownerWait        = "3s"
	connectTimeout   = 10 * time.Second
	statementTimeout = "30s"
	ownerName        = "cypherlink pid " // and the process id: what other sessions see
)

// openPostgres owns the database by an advisory lock of the one session that writes. So a
// process that has lost the lock has lost the only way to commit: no fence is needed. The
// connection must reach the server itself, not a pool that shares sessions.
func openPostgres(ctx context.Context, dsn string) (*database, error) {
	cfg, name, err := postgresConfig(dsn)
	if err != nil {
		return nil, err
	}
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(readSessions + 1)
	db.SetMaxIdleConns(readSessions)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), db.Close())
	}
	err = own(ctx, conn, name)
	if err == nil {
		err = checkServer(ctx, conn)
	}
	if err == nil {
		err = migratePostgres(ctx, cfg)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), conn.Close(), db.Close())
	}
	return &database{
		write:    newSession(conn),
		read:     db,
		snapshot: &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		begin:    "BEGIN",
		commit:   "SAVEPOINT whole; COMMIT", // it would take the COMMIT of a failed one, and roll back
		again:    againPostgres,
		certain:  certainPostgres,
		sentinel: sentinelPostgres,
		// returned to the pool, then closed with it: the session's end gives up the lock
		release: func() error { return errors.Join(conn.Close(), db.Close()) },
	}, nil
}

// migratePostgres migrates through sessions of their own, which no statement timeout ends: a
// large table takes as long as it takes.
func migratePostgres(ctx context.Context, cfg pq.Config) error {
	cfg = cfg.Clone()
	cfg.Runtime["statement_timeout"] = "0"
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	db := sql.OpenDB(connector)
	return errors.Join(migrate(ctx, goose.DialectPostgres, db), db.Close())
}

// postgresConfig adds to the DSN what every session has, and returns the database's name for
// errors, without credentials.
func postgresConfig(dsn string) (pq.Config, string, error) {
	cfg, err := pq.NewConfig(dsn)
	if err != nil {
		// the cause may quote the DSN, which may hold a password
		return pq.Config{}, "", fmt.Errorf("malformed postgres DSN: %w", ErrValue)
	}
	if u, err := url.Parse(dsn); err == nil && !u.Query().Has("sslmode") && os.Getenv("PGSSLMODE") == "" {
		cfg.SSLMode = pq.SSLModeVerifyFull
	}
	// a View must see what an Update wrote, so no standby
	cfg.TargetSessionAttrs = pq.TargetSessionAttrsPrimary
	cfg.BinaryParameters = true // one round trip less for what is not prepared
	cfg.ApplicationName = ownerName + strconv.Itoa(os.Getpid())
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	runtime := map[string]string{
		"statement_timeout":                statementTimeout,
		"client_connection_check_interval": "1s", // a dead owner's statement is ended
		"tcp_keepalives_idle":              "10",
		"tcp_keepalives_interval":          "5",
		"tcp_keepalives_count":             "3",
	}
	maps.Copy(runtime, cfg.Runtime) // the operator's word goes last
	cfg.Runtime = runtime
	host := net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
	return cfg, "postgres://" + host + "/" + cfg.Database, nil
}

// own takes the owner's lock or says who has it.
func own(ctx context.Context, conn *sql.Conn, name string) error {
	if _, err := conn.ExecContext(ctx, "SET lock_timeout = '"+ownerWait+"'"); err != nil {
		return fmt.Errorf("ownership: %w", err)
	}
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(ownerKey))
	if pq.As(err, pqerror.LockNotAvailable) != nil {
		return &HeldError{Database: name, PID: ownerPID(ctx, conn)}
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "SET lock_timeout = 0")
	}
	if err != nil {
		return fmt.Errorf("ownership: %w", err)
	}
	return nil
}

// ownerPID reads the owner's process id from its session's name, or returns 0.
func ownerPID(ctx context.Context, conn *sql.Conn) int {
	var owner string
	err := conn.QueryRowContext(ctx, `SELECT a.application_name
		FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
			AND l.classid::bigint = $1 AND l.objid::bigint = $2 LIMIT 1`,
		int64(ownerKey>>32), int64(ownerKey&0xffffffff)).Scan(&owner)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimPrefix(owner, ownerName))
	if err != nil {
		return 0
	}
	return pid
}

// checkServer refuses a server that breaks a promise: S4 (a commit survives a crash), or the
// order of text by its bytes, which indexes and Streams rely on.
func checkServer(ctx context.Context, conn *sql.Conn) error {
	var s serverSettings
	err := conn.QueryRowContext(ctx, `SELECT current_setting('fsync'),
		current_setting('full_page_writes'), current_setting('synchronous_commit'),
		current_setting('server_encoding'),
		'B' < 'a' AND 'a_c' < 'ab' AND '-b' < 'a' AND 'z' < 'é'`).Scan(
		&s.fsync, &s.fullPageWrites, &s.synchronousCommit, &s.encoding, &s.bytewise)
	if err != nil {
		return fmt.Errorf("server settings: %w", err)
	}
	return s.check()
}

type serverSettings struct {
	fsync, fullPageWrites, synchronousCommit, encoding string
	bytewise                                           bool
}

func (s serverSettings) check() error {
	switch {
	case s.fsync != "on":
		return fmt.Errorf("server setting fsync is %s, must be on: %w", s.fsync, errUnsafe)
	case s.fullPageWrites != "on":
		return fmt.Errorf("server setting full_page_writes is %s, must be on: %w",
			s.fullPageWrites, errUnsafe)
	case s.synchronousCommit == "off":
		return fmt.Errorf("setting synchronous_commit is off: %w", errUnsafe)
	case s.encoding != "UTF8":
		return fmt.Errorf("database encoding is %s, must be UTF8: %w", s.encoding, errUnsafe)
	case !s.bytewise:
		return fmt.Errorf("database collation must be C or C.UTF-8 (create it with "+
			"TEMPLATE template0 LC_COLLATE 'C'): %w", errUnsafe)
	}
	return nil
}

var errUnsafe = errors.New("store: the database does not keep the store's promises")

// againPostgres: the server rolled the transaction back because of another one.
func againPostgres(err error) bool {
	return pq.As(err, pqerror.TRSerializationFailure, pqerror.TRDeadlockDetected) != nil
}

// certainPostgres: the server itself answered that the COMMIT failed, so it wrote nothing if
// the session lives on (the writer tries that); 40003 says that the server does not know.
func certainPostgres(err error) bool {
	return pq.As(err) != nil && pq.As(err, pqerror.TRStatementCompletionUnknown) == nil
}

func sentinelPostgres(err error) error {
	e := pq.As(err)
	switch {
	case e == nil:
		return nil
	case e.Code.Class() == pqerror.ClassIntegrityConstraintViolation:
		return ErrConstraint
	case e.Code == pqerror.QueryCanceled:
		return ErrTimeout
	}
	return nil
}
