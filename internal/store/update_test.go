package store_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

var errNo = errors.New("no")

// put returns a callback that sets a record.
func put(name, value string) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.Put(name, []byte(value)) }
}

// wantRecord fails the test unless the record has the value; "" means that there is none.
func wantRecord(t testing.TB, s *store.Store, name, want string) {
	t.Helper()
	view(t, s, func(r *store.Reader) error {
		got, err := r.Get(name)
		if string(got) != want || (got == nil) != (want == "") {
			t.Errorf("record %s is %q, want %q", name, got, want)
		}
		return err
	})
}

// table makes a table with a CHECK and a reference that is checked at the commit.
func table(t testing.TB, s *store.Store) {
	t.Helper()
	update(t, s, func(tx *store.Tx) error {
		_, err := tx.Exec("CREATE TABLE parent (id BIGINT PRIMARY KEY)")
		if err != nil {
			return err
		}
		_, err = tx.Exec(`CREATE TABLE child (
			id BIGINT PRIMARY KEY CHECK (id > 0),
			parent BIGINT NOT NULL REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)`)
		return err
	})
}

func TestCallbacksOfOneTransaction(t *testing.T) {
	broken := func(tx *store.Tx) error {
		_, err := tx.Exec("INSERT INTO child (id, parent) VALUES ($1, $2)", 0, 1)
		return err
	}
	for _, tt := range []struct {
		name string
		bad  func(tx *store.Tx) error
		want error
	}{
		{"a callback's error undoes it alone", func(tx *store.Tx) error {
			return errors.Join(put("bad", "x")(tx), errNo)
		}, errNo},
		{"what a callback wrote by a query is undone too", func(tx *store.Tx) error {
			var name string
			return errors.Join(tx.QueryRow(
				"INSERT INTO records (name, value) VALUES ('bad', 'x') RETURNING name").Scan(&name), errNo)
		}, errNo},
		{"a failed statement undoes it alone", func(tx *store.Tx) error {
			return errors.Join(put("bad", "x")(tx), broken(tx))
		}, store.ErrConstraint},
		{"a statement's error that the callback hides is still the outcome", func(tx *store.Tx) error {
			err := put("bad", "x")(tx)
			_ = broken(tx)
			return err
		}, store.ErrConstraint},
		{"no statement runs after a failed one", func(tx *store.Tx) error {
			_ = broken(tx)
			return put("bad", "x")(tx)
		}, store.ErrConstraint},
		{"a malformed statement undoes it alone", func(tx *store.Tx) error {
			err := put("bad", "x")(tx)
			_, _ = tx.Exec("SELEC 1")
			return err
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			storetest.Engines(t, func(t *testing.T, dsn string) {
				s := storetest.Open(t, dsn)
				table(t, s)
				for range 2 { // the second time it also stands alone in its transaction
					errs := together(t, s, put("a", "1"), tt.bad, put("b", "2"))
					if errs[0] != nil || errs[2] != nil {
						t.Errorf("the others: %v", errs)
					}
					if errs[1] == nil {
						t.Error("the bad one succeeded")
					}
					if tt.want != nil {
						wantError(t, errs[1], tt.want)
					}
					if err := s.Update(t.Context(), tt.bad); err == nil {
						t.Error("the bad one alone succeeded")
					}
				}
				wantRecord(t, s, "a", "1")
				wantRecord(t, s, "b", "2")
				wantRecord(t, s, "bad", "")
			})
		})
	}
}

// Who fails before he writes, or alone, costs the others nothing: no savepoint, and no second run.
func TestCallbackThatWritesNothingIsNotUndone(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		runs := 0
		write := func(tx *store.Tx) error { runs++; return put("a", "1")(tx) }
		refuse := func(tx *store.Tx) error {
			_, err := tx.Get("a")
			return errors.Join(err, tx.Append("s", 7, store.Event{Kind: "k"}))
		}
		for i, err := range together(t, s, write, refuse, write) {
			if i == 1 != errors.Is(err, store.ErrConflict) {
				t.Errorf("update %d: %v", i, err)
			}
		}
		if runs != 2 {
			t.Errorf("%d runs", runs)
		}
	})
}

func TestFailedCommitFailsAllOfItsTransaction(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		table(t, s)
		wake := s.Enqueued("q")
		orphan := func(tx *store.Tx) error {
			_, err := tx.Exec("INSERT INTO child (id, parent) VALUES (1, 1)")
			return errors.Join(err, tx.Enqueue("q", nil, nil))
		}
		for i, err := range together(t, s, put("a", "1"), orphan, put("b", "2")) {
			if !errors.Is(err, store.ErrConstraint) {
				t.Errorf("update %d: %v", i, err)
			}
		}
		wantRecord(t, s, "a", "")
		wantRecord(t, s, "b", "")
		select {
		case <-wake:
			t.Error("a relay was woken for what was not committed")
		default:
		}
		update(t, s, put("a", "3")) // the store lives on
		wantRecord(t, s, "a", "3")
	})
}

func TestPanicTakesItsCourseAtTheCaller(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		var caught any
		bad := func(tx *store.Tx) error {
			_ = tx.Put("bad", []byte("x"))
			panic("boom")
		}
		errs := together(t, s, put("a", "1"), func(tx *store.Tx) (err error) {
			defer func() { caught = recover() }()
			return bad(tx)
		}, put("b", "2"))
		if caught != "boom" || errs[0] != nil || errs[1] != nil || errs[2] != nil {
			t.Errorf("caught %v, outcomes %v", caught, errs)
		}
		func() {
			defer func() {
				p, _ := recover().(*store.Panic)
				if caught = p.Value; !strings.Contains(p.String(), "TestPanicTakesItsCourseAtTheCaller") {
					t.Errorf("the callback is not in its stack: %s", p)
				}
			}()
			caught = nil
			_ = s.Update(t.Context(), func(tx *store.Tx) error {
				_ = tx.Put("worse", []byte("x"))
				panic("bang")
			})
		}()
		leaves := func(tx *store.Tx) error {
			_ = tx.Put("worse", []byte("x"))
			runtime.Goexit()
			return nil
		}
		for _, with := range [][]func(*store.Tx) error{{leaves}, {put("d", "4"), leaves, put("e", "5")}} {
			if errs := together(t, s, with...); len(errs) == 3 && (errs[0] != nil || errs[2] != nil) {
				t.Errorf("beside one that ended its goroutine: %v", errs)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = s.Update(t.Context(), leaves)
			t.Error("Update came back from a callback that ended its goroutine")
		})
		wg.Wait()
		wantRecord(t, s, "d", "4")
		wantRecord(t, s, "e", "5")
		if caught != "bang" {
			t.Errorf("caught %v", caught)
		}
		update(t, s, put("c", "3"))
		wantRecord(t, s, "worse", "")
		wantRecord(t, s, "c", "3")
	})
}

func TestContextEndsOnlyTheWait(t *testing.T) {
	s := storetest.Open(t, "sqlite:"+t.TempDir()+"/store.db")
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, func(tx *store.Tx) error {
		cancel() // too late: the callback has begun
		return tx.Put("a", []byte("1"))
	})
	if err != nil {
		t.Errorf("cancelled inside the callback: %v", err)
	}
	wantRecord(t, s, "a", "1")

	err = s.Update(ctx, put("b", "2"))
	wantError(t, err, context.Canceled)

	ctx, cancel = context.WithCancel(t.Context())
	waited := make(chan error)
	update(t, s, func(*store.Tx) error {
		go func() { waited <- s.Update(ctx, put("b", "2")) }()
		for s.Waiting() == 0 {
			runtime.Gosched()
		}
		cancel()
		wantError(t, <-waited, context.Canceled)
		return nil
	})
	update(t, s, put("c", "3")) // behind the one that left
	wantRecord(t, s, "b", "")
}

func TestQueueIsBounded(t *testing.T) {
	s := storetest.Open(t, "sqlite:"+t.TempDir()+"/store.db")
	var wg sync.WaitGroup
	update(t, s, func(*store.Tx) error {
		for range store.QueueLength {
			wg.Go(func() { _ = s.Update(t.Context(), put("a", "1")) })
		}
		for s.Waiting() < store.QueueLength {
			runtime.Gosched()
		}
		ctx, cancel := context.WithCancel(t.Context())
		late := make(chan error)
		go func() { late <- s.Update(ctx, put("late", "1")) }()
		cancel()
		wantError(t, <-late, context.Canceled)
		return nil
	})
	wg.Wait()
	wantRecord(t, s, "a", "1")
	wantRecord(t, s, "late", "")
}

func TestCloseLetsTheRunningFinishAndRefusesTheRest(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		var wg sync.WaitGroup
		errs := make([]error, 20)
		closed := make(chan error, 1)
		update(t, s, func(tx *store.Tx) error {
			for i := range errs {
				wg.Go(func() { errs[i] = s.Update(t.Context(), put(fmt.Sprint("r", i), "1")) })
			}
			for s.Waiting() < len(errs) {
				runtime.Gosched()
			}
			go func() { closed <- s.Close() }()
			return tx.Put("a", []byte("1"))
		})
		wg.Wait()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		wantError(t, s.Update(t.Context(), put("late", "1")), store.ErrClosed)
		wantError(t, s.View(t.Context(), func(*store.Reader) error { return nil }), store.ErrClosed)
		if err := s.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
		s = storetest.Open(t, dsn)
		wantRecord(t, s, "a", "1")
		for i, err := range errs {
			want := "1"
			if errors.Is(err, store.ErrClosed) {
				want = ""
			} else if err != nil {
				t.Error(err)
			}
			wantRecord(t, s, fmt.Sprint("r", i), want)
		}
	})
}

func TestViewSeesOneState(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		update(t, s, put("a", "1"))
		view(t, s, func(r *store.Reader) error {
			before, err := r.Get("a")
			if err != nil {
				return err
			}
			update(t, s, put("a", "2"))
			after, err := r.Get("a")
			if string(before) != "1" || string(after) != "1" {
				t.Errorf("read %q, then %q", before, after)
			}
			return err
		})
		wantRecord(t, s, "a", "2")
	})
}

func TestViewCannotWrite(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		err := s.View(t.Context(), func(r *store.Reader) error {
			var name string
			return r.QueryRow(`INSERT INTO records (name, value) VALUES ('a', $1) RETURNING name`,
				[]byte("1")).Scan(&name)
		})
		if err == nil {
			t.Error("a View wrote")
		}
		wantRecord(t, s, "a", "")
	})
}

func TestViewEndsWithItsContext(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		ctx, cancel := context.WithCancel(t.Context())
		err := s.View(ctx, func(r *store.Reader) error {
			cancel()
			_, err := r.Get("a")
			return err
		})
		wantError(t, err, context.Canceled)
		wantRecord(t, s, "a", "") // the pool has recovered
	})
}

func TestMisuseIsRefused(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		update(t, s, put("a", "1"))
		var kept *store.Tx
		update(t, s, func(tx *store.Tx) error {
			kept = tx
			for row := range tx.Query("SELECT name FROM records") {
				var name string
				if err := row.Scan(&name); err != nil {
					return err
				}
				_, err := tx.Exec("DELETE FROM records WHERE name = $1", name)
				wantError(t, err, store.ErrMisuse)
			}
			_, err := tx.Exec("UPDATE records SET value = $1", []byte("2")) // outside again
			return err
		})
		_, err := kept.Exec("DELETE FROM records")
		wantError(t, err, store.ErrMisuse)
		var reader *store.Reader
		view(t, s, func(r *store.Reader) error { reader = r; return nil })
		_, err = reader.Get("a")
		wantError(t, err, store.ErrMisuse)
		wantRecord(t, s, "a", "2")
	})
}

func TestOnlyPortableValuesAreStored(t *testing.T) {
	type amount int64
	for _, tt := range []struct {
		name  string
		value any
		ok    bool
	}{
		{"an int", 7, true},
		{"an int64", int64(7), true},
		{"text", "Zürich", true},
		{"bytes", []byte{0, 255}, true},
		{"nothing", nil, true},
		{"a float", 0.1, false},
		{"a truth value", true, false},
		{"a named integer", amount(7), false},
		{"an unsigned integer", uint64(7), false},
		{"text with NUL", "a\x00b", false},
		{"text that is not UTF-8", "a\xff", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := storetest.Open(t, "sqlite:"+t.TempDir()+"/store.db")
			err := s.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec("SELECT $1", tt.value)
				return err
			})
			if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, store.ErrValue) {
				t.Error(err)
			}
		})
	}
}

func TestQueries(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		table(t, s)
		update(t, s, func(tx *store.Tx) error {
			for i := range 5 {
				n, err := tx.Exec("INSERT INTO parent (id) VALUES ($1)", i)
				if err != nil || n != 1 {
					return fmt.Errorf("%d rows: %w", n, err)
				}
			}
			var id int64
			err := tx.QueryRow("UPDATE parent SET id = 10 WHERE id = $1 RETURNING id", 4).Scan(&id)
			if err != nil || id != 10 {
				return fmt.Errorf("id %d: %w", id, err)
			}
			for row := range tx.Query("SELECT id FROM parent ORDER BY id") {
				if err := row.Scan(&id); err != nil {
					return err
				}
				break // the result is closed by leaving the loop
			}
			n, err := tx.Exec("UPDATE parent SET id = id + 100 WHERE id < $1", 3)
			if n != 3 {
				t.Errorf("changed %d rows, want 3", n)
			}
			return err
		})
		view(t, s, func(r *store.Reader) error {
			var id int64
			wantError(t, r.QueryRow("SELECT id FROM parent WHERE id = 77").Scan(&id), store.ErrNoRow)
			return r.QueryRow("SELECT id FROM parent WHERE id = 100").Scan(&id) // ErrNoRow is not final
		})
		err := s.View(t.Context(), func(r *store.Reader) error {
			for row := range r.Query("SELECT nothing FROM nowhere") {
				if err := row.Scan(); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			t.Error("a malformed query succeeded")
		}
	})
}

// TestManyStatements: the session forgets prepared statements before they pile up.
func TestManyStatements(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s := storetest.Open(t, dsn)
		update(t, s, func(tx *store.Tx) error {
			for i := range 2*store.MaxStatements + 10 {
				if kept := s.Statements(); kept > store.MaxStatements {
					return fmt.Errorf("%d statements are kept", kept)
				}
				var got int
				err := tx.QueryRow(fmt.Sprintf("SELECT %d", i)).Scan(&got)
				if err != nil || got != i {
					return fmt.Errorf("%d: %w", got, err)
				}
			}
			return nil
		})
	})
}
