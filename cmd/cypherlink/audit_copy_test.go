package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

// copied is the last event of stream x in the copy of a store.
func copied(t *testing.T, dsn string) string {
	t.Helper()
	a := &audit{scratch: t.TempDir()}
	s, err := a.openCopy(t.Context(), "x", dsn, "")
	if err != nil {
		t.Fatal(err)
	}
	var last string
	err = s.View(t.Context(), func(r *store.Reader) error {
		events, err := r.Load("x", 0)
		if err == nil && len(events) > 0 {
			last = string(events[len(events)-1].Body)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := closeAll(a.closers); err != nil {
		t.Fatal(err)
	}
	return last
}

func appendBody(t *testing.T, s *store.Store, sequence int64, body string) {
	t.Helper()
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		return tx.Append("x", sequence-1, store.Event{Kind: "said", Body: []byte(body)})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestACopyHasEverything(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(copiedRows + 2) {
			appendBody(t, s, i+1, "one of many")
		}
		appendBody(t, s, copiedRows+3, "\x00last")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := copied(t, dsn); got != "\x00last" {
			t.Errorf("%q", got)
		}
	})
}

func TestACopyHasWhatIsInTheLogAlone(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "store.db")
	s := storetest.Open(t, "sqlite:"+name) // open like a process that is killed now
	appendBody(t, s, 1, "not in the file yet")
	if got := copied(t, "sqlite:"+name); got != "not in the file yet" {
		t.Errorf("%q", got)
	}
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}
	if got := copied(t, "sqlite:"+link); got != "not in the file yet" {
		t.Errorf("by a link %q", got)
	}
}

func TestNoStoreIsNoEmptyStore(t *testing.T) {
	a := &audit{scratch: t.TempDir()}
	if _, err := a.openCopy(t.Context(), "x", "", path(t.TempDir())); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAPasswordIsNotTold(t *testing.T) {
	a := &audit{scratch: t.TempDir()}
	_, err := a.openCopy(t.Context(), "x", "postgres://user:opensesame@host:port/%zz", "")
	if err == nil || strings.Contains(err.Error(), "opensesame") {
		t.Error(err)
	}
	if err := closeAll(a.closers); err != nil {
		t.Error(err)
	}
}
