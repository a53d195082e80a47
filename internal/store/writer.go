package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
)

const (
	queueLength      = 1024 // Updates that wait in line; further callers wait to get in
	batchLength      = 256  // Updates in one transaction
	attempts         = 4    // tries of a batch that the engine asks to repeat
	incarnationShift = 40   // an outbox id is (incarnation, number within it)
)

// errAbandoned stands for a callback that panicked or ended its goroutine.
var errAbandoned = errors.New("store: the callback did not return")

// Where a job is.
const (
	waiting int32 = iota
	begun         // the writer runs its callback, or has
	left          // its caller has gone: it never runs
)

// job is one Update in line. The writer runs its callback on its own goroutine: SQLite's calls are deep, and
// each caller's stack would have to grow for them.
type job struct {
	fn    func(*Tx) error
	state atomic.Int32
	done  chan error // has room for one, so that the writer never waits for a caller
	// of the current attempt:
	tx      *Tx
	err     error
	settled bool // err stands; there is no further attempt
	// What the callback did instead of returning, for its caller to go on with.
	panicked *Panic
	exited   bool
}

// Panic is what Update panics with when its callback did.
type Panic struct {
	Value any
	// Stack is the callback's.
	Stack []byte
}

// String is the value, and the stack.
func (p *Panic) String() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// call runs the callback, which may end the goroutine: then tx and err are settled all the same.
func (j *job) call(tx *Tx) {
	j.tx, j.err = tx, errAbandoned
	returned := false
	defer func() {
		tx.over = true
		if returned {
			return
		}
		j.settled = true
		if value := recover(); value != nil {
			j.panicked = &Panic{value, debug.Stack()}
		} else {
			j.exited = true
		}
	}()
	err := j.fn(tx)
	returned = true
	if err == nil {
		err = tx.failed
	}
	j.err = err
}

// outcome gives the caller what became of its callback.
func (j *job) outcome(err error) error {
	switch {
	case j.panicked != nil:
		panic(j.panicked) //nolint:forbidigo // it is the callback's
	case j.exited:
		runtime.Goexit()
	}
	return err
}

// verdict is what became of a transaction.
type verdict int

const (
	committed verdict = iota
	refused           // it failed and wrote nothing; the session lives
	repeat            // the transaction failed through no fault of its own: again
	apart             // one callback has to be undone alone: again, each under its savepoint
	lost              // the session is gone, or the outcome is not known
)

// writer is the goroutine that owns the writing session.
type writer struct {
	store *Store
	db    *database
	next  int64 // the last outbox id given out
	batch []*job
}

// run takes batches until the store is closed or broken, then says why. A callback that ends its goroutine,
// as a test's FailNow does, ends this one: another goes on with the batch.
func (w *writer) run(interrupted bool) {
	s, over := w.store, false
	defer func() {
		if over {
			close(s.stopped)
		} else {
			go w.run(true)
		}
	}()
	for ; !over; interrupted = false {
		if !interrupted {
			select {
			case <-s.closing:
				s.why, over = ErrClosed, true
				continue
			case j := <-s.jobs:
				w.gather(j)
			}
		}
		if err := w.commit(interrupted); err != nil {
			s.why, over = fmt.Errorf("%w: %w", ErrBroken, err), true
			w.answer(s.why)
		}
	}
}

// gather makes a batch of first and whoever stands in line behind it.
func (w *writer) gather(first *job) {
	w.batch = append(w.batch[:0], first)
	for len(w.batch) < batchLength {
		select {
		case j := <-w.store.jobs:
			w.batch = append(w.batch, j)
		default:
			return
		}
	}
}

// commit runs the batch to its end and answers everybody in it; interrupted says that an attempt was broken
// off. Its error means that the database is lost; then nobody has been answered.
func (w *writer) commit(interrupted bool) error {
	if interrupted {
		if outcome, err := w.undo(apart, nil); outcome == lost {
			return err
		}
	}
	careful := interrupted
	for left := attempts - 1; ; left-- {
		outcome, err := w.attempt(left > 0, careful)
		switch outcome {
		case committed:
			w.announce()
			w.answer(nil)
			return nil
		case lost:
			return err
		case refused:
			w.answer(err)
			return nil
		case apart:
			careful = true
			left++ // it is no failure, and happens once
		case repeat:
			if left <= 0 {
				w.answer(fmt.Errorf("tried %d times: %w", attempts, err))
				return nil
			}
		}
	}
}

// answer tells each caller its own error, or err if it has none.
func (w *writer) answer(err error) {
	for _, j := range w.batch {
		if j.err == nil || errors.Is(err, ErrBroken) {
			j.err = err
		}
		j.done <- j.err
	}
	clear(w.batch)
}

// announce wakes the relays of what was committed.
func (w *writer) announce() {
	for _, j := range w.batch {
		if j.err != nil {
			continue
		}
		for _, queue := range j.tx.enqueued {
			select {
			case w.store.wake(queue) <- struct{}{}:
			default: // a wake-up is already waiting
			}
		}
	}
}

// attempt runs every callback once, in one transaction. Unless it is committed, nothing of
// it was written, or the database is lost. In the last attempt a callback to which the
// engine says "again" fails alone.
//
// A savepoint for each callback costs as much as what a callback writes, and nearly all
// succeed, or fail before they write. So only a careful attempt has them: the one after a
// callback of several that would have had to be undone alone.
func (w *writer) attempt(more, careful bool) (verdict, error) {
	begin := w.db.begin
	if careful {
		begin += "; SAVEPOINT job"
	}
	if err := w.exec(begin); err != nil {
		return w.undo(refused, fmt.Errorf("begin: %w", err))
	}
	wrote := false
	for i, j := range w.batch {
		ran, last := w.give(j), i == len(w.batch)-1
		if more && ran && j.tx.failed != nil && w.db.again(j.tx.failed) {
			return w.undo(repeat, j.tx.failed)
		}
		if careful {
			if err := w.part(j, ran, last); err != nil {
				return w.undo(repeat, fmt.Errorf("savepoint: %w", err))
			}
		} else if ran && j.err != nil && (j.tx.wrote || j.tx.failed != nil) {
			if len(w.batch) == 1 {
				return w.undo(refused, nil)
			}
			return w.undo(apart, nil)
		}
		wrote = wrote || j.err == nil
	}
	if !wrote {
		return w.undo(refused, nil)
	}
	err := w.exec(w.db.commit)
	switch {
	case err == nil:
		return committed, nil
	case w.db.again(err):
		return w.undo(repeat, fmt.Errorf("commit: %w", err))
	case w.db.certain(err):
		return w.undo(refused, fmt.Errorf("commit: %w", w.explain(err)))
	default:
		return lost, fmt.Errorf("commit, outcome unknown: %w", err)
	}
}

// part ends one callback's savepoint and begins the next one's. SQLite may have answered the
// callback's error by rolling back everything; then no savepoint is left, and the batch is
// repeated without this job.
func (w *writer) part(j *job, ran, last bool) error {
	query := "RELEASE SAVEPOINT job"
	switch {
	case ran && j.err != nil:
		query = "ROLLBACK TO SAVEPOINT job"
	case !last:
		query += "; SAVEPOINT job"
	}
	err := w.exec(query)
	j.settled = j.settled || j.err != nil && err != nil
	return err
}

// give runs one callback, unless its outcome is settled or its caller has gone, and tells whether it did.
func (w *writer) give(j *job) bool {
	if j.settled {
		return false
	}
	if !j.state.CompareAndSwap(waiting, begun) && j.state.Load() == left {
		j.settled, j.err = true, context.Canceled
		return false
	}
	j.call(w.newTx())
	return true
}

// undo rolls back and returns v, if the session still answers: then nothing was written.
// SQLite may have rolled back by itself and refuses to do it twice.
func (w *writer) undo(v verdict, err error) (verdict, error) {
	back := w.exec("ROLLBACK")
	if back != nil {
		back = w.exec("BEGIN; ROLLBACK")
	}
	if back != nil {
		return lost, errors.Join(err, fmt.Errorf("rollback: %w", back))
	}
	return v, err
}

// exec runs control statements. They and the callbacks' statements run to their end: a
// caller that gives up must not take the session from the others.
func (w *writer) exec(query string) error {
	_, err := w.db.write.conn.ExecContext(context.Background(), query)
	return err
}

// newTx makes the transaction as one callback sees it.
func (w *writer) newTx() *Tx {
	tx := &Tx{
		exec:   w.db.write.exec,
		number: func() int64 { w.next++; return w.next },
	}
	tx.Reader = Reader{explain: w.explain, query: func(query string, args ...any) (*sql.Rows, error) {
		tx.wrote = tx.wrote || !strings.HasPrefix(query, "SELECT") // such as an INSERT with RETURNING
		return w.db.write.query(query, args...)
	}}
	return tx
}

func (w *writer) explain(err error) error { return w.db.explain(context.Background(), err) }
