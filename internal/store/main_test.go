package store_test

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink/internal/store"
)

// TestMain makes this binary the process that a crash test kills, if it is asked to.
func TestMain(m *testing.M) {
	if dsn := os.Getenv(childDSN); dsn != "" {
		os.Exit(child(dsn))
	}
	goleak.VerifyTestMain(m)
}

// update runs fn and fails the test on an error.
func update(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// view runs fn and fails the test on an error.
func view(t testing.TB, s *store.Store, fn func(r *store.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// together runs the callbacks in one transaction, in order, and returns their outcomes. It
// holds the writer in a callback of its own until all of them stand in line.
func together(t testing.TB, s *store.Store, fns ...func(tx *store.Tx) error) []error {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(fns))
	update(t, s, func(*store.Tx) error {
		for i, fn := range fns {
			wg.Go(func() { errs[i] = s.Update(t.Context(), fn) })
			for s.Waiting() <= i {
				runtime.Gosched()
			}
		}
		return nil
	})
	wg.Wait()
	return errs
}

// wantError fails the test unless err has want in its chain.
func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}
