package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
)

var (
	// ErrHeld means that another process owns the database. The error in the chain is a
	// *HeldError.
	ErrHeld = errors.New("store: the database is owned by another process")
	// ErrClosed means that the store was closed before the call could begin.
	ErrClosed = errors.New("store: closed")
	// ErrBroken means that the store lost its database, perhaps with the outcome of the
	// last commit unknown. Nothing works until the database is opened again.
	ErrBroken = errors.New("store: unusable until it is opened again")
	// ErrConflict means that somebody else was first: the stream is not at the expected
	// sequence, or the offset would move back. Nothing was written.
	ErrConflict = errors.New("store: conflict")
	// ErrConstraint means that a statement would break a CHECK, a key or a reference.
	ErrConstraint = errors.New("store: constraint")
	// ErrTimeout means that PostgreSQL ended a statement that took too long.
	ErrTimeout = errors.New("store: statement timed out")
	// ErrNoRow means that a query for one row found none.
	ErrNoRow = errors.New("store: no row")
	// ErrValue means that a parameter or a name is outside the subset of both engines.
	ErrValue = errors.New("store: value outside the portable subset")
	// ErrMisuse means that a Tx or Reader was used after its callback, or inside a loop over
	// its own Query.
	ErrMisuse = errors.New("store: misuse")
	// ErrNewer means that the database was written by a newer program.
	ErrNewer = errors.New("store: the database is newer than this program")
)

// HeldError tells who owns the database.
type HeldError struct {
	// Database is the file, or host and name, without credentials.
	Database string
	// PID is the owner's process id on its own machine, or 0 if it is not known.
	PID int
}

// Error names the database and its owner.
func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("store: %s is owned by another process", e.Database)
	}
	return fmt.Sprintf("store: %s is owned by process %d", e.Database, e.PID)
}

// Is makes errors.Is(err, ErrHeld) true.
func (*HeldError) Is(target error) bool { return target == ErrHeld }

// Store is an open database. Its methods may be called by any number of goroutines.
type Store struct {
	db      *database
	jobs    chan *job
	closing chan struct{} // closed by Close: no new job is taken
	stopped chan struct{} // closed by the writer when it has ended; why is set before it
	why     error
	once    sync.Once
	closed  error // the result of Close

	mu     sync.Mutex
	queues map[string]chan struct{} // wake-up channels by queue
}

// database is what an engine provides: the session that writes, and the pool that reads.
type database struct {
	write    *session          // the owner's session; nothing else writes
	read     *sql.DB           // for View
	snapshot *sql.TxOptions    // makes a View consistent
	begin    string            // begins a writing transaction
	commit   string            // ends one that is whole, and fails otherwise
	again    func(error) bool  // the transaction failed through no fault of its own
	certain  func(error) bool  // a COMMIT with this error has certainly written nothing
	sentinel func(error) error // the error class that callers know, or nil
	release  func() error      // ends the session and gives up ownership
}

// Open opens the database that dsn names, creates or migrates its tables, and owns it until
// Close or the process's end. The forms are "sqlite:PATH" (the file is made, mode 0600, if
// its folder exists) and "postgres://user@host:port/name?sslmode=..." (sslmode is
// verify-full if it is left out). Errors: ErrHeld, ErrNewer, and whatever the engine says;
// no error holds a password. ctx bounds the opening alone.
func Open(ctx context.Context, dsn string) (*Store, error) {
	db, err := connect(ctx, dsn)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	incarnation, err := db.incarnation(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open: %w", err), db.close())
	}
	s := &Store{
		db:      db,
		jobs:    make(chan *job, queueLength),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
		queues:  make(map[string]chan struct{}),
	}
	w := &writer{store: s, db: db, next: incarnation << incarnationShift}
	go w.run(false)
	return s, nil
}

func connect(ctx context.Context, dsn string) (*database, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(ctx, rest)
	case "postgres", "postgresql":
		return openPostgres(ctx, dsn)
	default:
		return nil, fmt.Errorf("scheme %q is neither sqlite nor postgres: %w", scheme, ErrValue)
	}
}

// incarnation counts this opening, durably.
func (d *database) incarnation(ctx context.Context) (int64, error) {
	var n int64
	err := d.write.conn.QueryRowContext(ctx,
		"UPDATE incarnation SET number = number + 1 RETURNING number").Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count this opening: %w", err)
	}
	return n, nil
}

// explain adds the class that callers know to an engine's error. An engine reports the end
// of ctx in its own words (PostgreSQL by code 57014).
func (d *database) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if class := d.sentinel(err); class != nil {
		return fmt.Errorf("%w: %w", class, err)
	}
	return err
}

// close ends all sessions. A prepared statement left open would keep SQLite's file locked.
func (d *database) close() error {
	return errors.Join(d.write.forget(), d.read.Close(), d.release())
}

// Close waits for the Updates that have begun, refuses all others, and gives up the
// database. It may be called more than once and returns the same error each time.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		<-s.stopped
		s.closed = s.db.close()
		if errors.Is(s.why, ErrBroken) {
			s.closed = nil // a lost session cannot end well, and Update has told why
		}
	})
	return s.closed
}

// Update runs fn in a transaction and returns nil when everything that fn wrote is durable.
// Calls that arrive together share one transaction and one fsync; fn's error undoes fn alone
// and is returned to its caller alone.
//
// fn runs on a goroutine of the store, one at a time, so it must not wait for anything, least
// of all for another Update. When it panics, Update panics, with a *Panic; when it ends its
// goroutine, Update ends its caller's. It may run more than once (after the error
// of another that shared its transaction, or a serialization failure), so its only effect is
// what it writes through tx, which ends with it. The first SQL error in fn is final: later
// statements return it, and so does Update if fn itself returns nil.
//
// ctx ends the wait for fn's turn: its error means that fn never ran. Once fn has begun,
// Update waits for the outcome. Errors: fn's own, ErrConstraint, ErrTimeout, ErrClosed,
// ErrBroken.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) error {
	j := &job{fn: fn, done: make(chan error, 1)}
	select {
	case <-s.closing:
		return s.refusal()
	case <-ctx.Done():
		return fmt.Errorf("update: %w", context.Cause(ctx))
	default:
	}
	select {
	case s.jobs <- j:
	case <-s.closing:
		return s.refusal()
	case <-ctx.Done():
		return fmt.Errorf("update: %w", context.Cause(ctx))
	case <-s.stopped:
		return s.refusal()
	}
	for gone := ctx.Done(); ; gone = nil {
		select {
		case err := <-j.done:
			return j.outcome(err)
		case <-gone:
			if j.state.CompareAndSwap(waiting, left) {
				return fmt.Errorf("update: %w", context.Cause(ctx))
			}
		case <-s.stopped:
			select {
			case err := <-j.done:
				return j.outcome(err)
			default:
				return s.refusal()
			}
		}
	}
}

// refusal says why no call can begin.
func (s *Store) refusal() error {
	select {
	case <-s.stopped:
		return s.why
	default:
		return ErrClosed
	}
}

// View runs fn on one consistent state: whatever was committed before its first query, and
// nothing later. Views run beside each other and beside Updates, at most four at a time. fn
// must not write; r ends with it.
func (s *Store) View(ctx context.Context, fn func(r *Reader) error) error {
	select {
	case <-s.closing:
		return s.refusal()
	case <-s.stopped:
		return s.refusal()
	default:
	}
	tx, err := s.db.read.BeginTx(ctx, s.db.snapshot)
	if err != nil {
		return fmt.Errorf("view: %w", s.db.explain(ctx, err))
	}
	r := &Reader{
		query: func(query string, args ...any) (*sql.Rows, error) {
			return tx.QueryContext(ctx, query, args...)
		},
		explain: func(err error) error { return s.db.explain(ctx, err) },
	}
	defer func() {
		r.over = true
		_ = tx.Rollback() // of a transaction that wrote nothing; ErrTxDone after ctx's end
	}()
	return fn(r)
}

// Enqueued returns the channel that holds a value after something was enqueued for queue
// and committed, so that a relay can sleep between an empty Pending and the next message.
// It has room for one value and one receiver, and is never closed.
func (s *Store) Enqueued(queue string) <-chan struct{} { return s.wake(queue) }

func (s *Store) wake(queue string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.queues[queue]
	if !ok {
		c = make(chan struct{}, 1)
		s.queues[queue] = c
	}
	return c
}
