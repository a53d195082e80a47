// Package storetest gives tests a database of their own on every engine.
//
// Its noun is the fresh database: empty, and gone when the test ends. SQLite is always
// there; PostgreSQL is added by the build tag integration and reached at the DSN in the
// variable CYPHERLINK_TEST_POSTGRES. Only tests import it.
package storetest

import (
	"path/filepath"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
)

// runner is *testing.T or *testing.B.
type runner[T any] interface {
	testing.TB
	Run(name string, f func(T)) bool
}

// Engines runs test as one subtest for each engine, with the DSN of a fresh database. A test
// of restarts opens it more than once.
func Engines[T runner[T]](t T, test func(t T, dsn string)) {
	t.Helper()
	t.Run("sqlite", func(t T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "store.db")) })
	runPostgres(t, test)
}

// Open opens a database until the test ends.
func Open(tb testing.TB, dsn string) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}
