package store_test

import (
	"database/sql/driver"
	"errors"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
)

var errDisk = errors.New("disk on fire")

// TestUnknownOutcomeStopsTheStore: whether the COMMIT was carried out or not, an error that
// does not tell makes the store unusable until it is opened again.
func TestUnknownOutcomeStopsTheStore(t *testing.T) {
	for _, tt := range []struct {
		name    string
		ran     bool
		written string
	}{
		{"the commit was not carried out", false, ""},
		{"the commit was carried out", true, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dsn := "sqlite:" + t.TempDir() + "/store.db"
			s, err := store.Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			burning := false
			err = s.Intercept(func(query string, ran bool) error {
				if burning && ran == tt.ran && query == "COMMIT" {
					return errDisk
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			update(t, s, put("a", "0"))
			wake := s.Enqueued("q")
			enqueue := func(tx *store.Tx) error { return tx.Enqueue("q", nil, nil) }
			for i, err := range together(t, s, func(tx *store.Tx) error {
				burning = true
				return tx.Put("a", []byte("1"))
			}, enqueue, func(*store.Tx) error { return errNo }) {
				if !errors.Is(err, store.ErrBroken) || !errors.Is(err, errDisk) {
					t.Errorf("update %d: %v", i, err)
				}
			}
			select {
			case <-wake:
				t.Error("a relay was woken")
			default:
			}
			burning = false
			wantError(t, s.Update(t.Context(), put("a", "2")), store.ErrBroken)
			wantError(t, s.View(t.Context(), func(*store.Reader) error { return nil }), store.ErrBroken)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			s, err = store.Open(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			if tt.written == "" {
				tt.written = "0"
			}
			wantRecord(t, s, "a", tt.written)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFaultsBeforeTheCommit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		faulty string // the control statement that fails
		err    error
		more   string // another one that fails too
		broken bool
	}{
		{"the transaction cannot begin", "BEGIN IMMEDIATE", errDisk, "none", false},
		{"a savepoint cannot be released", "RELEASE", errDisk, "none", false},
		{"the session is lost", "BEGIN", driver.ErrBadConn, "ROLLBACK", true},
		{"the rollback fails", "RELEASE", errDisk, "ROLLBACK", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := store.Open(t.Context(), "sqlite:"+t.TempDir()+"/store.db")
			if err != nil {
				t.Fatal(err)
			}
			burning := false
			err = s.Intercept(func(query string, ran bool) error {
				meant := strings.HasPrefix(query, tt.faulty) || strings.Contains(query, tt.more)
				if burning && !ran && meant {
					return tt.err
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			update(t, s, put("a", "1"))
			undone := func(tx *store.Tx) error { // which gives the batch savepoints
				return errors.Join(put("a", "4")(tx), errNo)
			}
			begin := func(tx *store.Tx) error { burning = true; return put("a", "2")(tx) }
			if strings.HasPrefix(tt.faulty, "BEGIN") {
				burning = true
				err = s.Update(t.Context(), put("a", "2"))
			} else {
				err = together(t, s, begin, undone)[0]
			}
			wantError(t, err, tt.err)
			if got := errors.Is(err, store.ErrBroken); got != tt.broken {
				t.Errorf("broken is %v: %v", got, err)
			}
			burning = false
			if !tt.broken {
				wantRecord(t, s, "a", "1")
				update(t, s, put("a", "3"))
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
