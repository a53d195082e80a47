package store_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

// wantHeld fails the test unless the database is refused in the name of process pid.
func wantHeld(t testing.TB, dsn string, pid int) {
	t.Helper()
	s, err := store.Open(t.Context(), dsn)
	if err == nil {
		t.Fatal("a second owner was let in", s.Close())
	}
	wantError(t, err, store.ErrHeld)
	held, ok := errors.AsType[*store.HeldError](err)
	if !ok || held.PID != pid {
		t.Errorf("%v does not name process %d", err, pid)
	}
}

func TestOneOwner(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		wantHeld(t, dsn, os.Getpid())
		update(t, s, put("a", "1")) // the refused one has done no harm
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wantRecord(t, storetest.Open(t, dsn), "a", "1")
	})
}

// TestOwnershipEndsWithTheProcess: another process owns the database until it is killed.
func TestOwnershipEndsWithTheProcess(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDSN+"="+dsn)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Error("the child wrote nothing")
		}
		var reading sync.WaitGroup
		reading.Go(func() {
			for lines.Scan() { // keep the child writing
			}
		})
		wantHeld(t, dsn, cmd.Process.Pid)
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		reading.Wait()
		if err := cmd.Wait(); err == nil {
			t.Error("the child ended by itself")
		}
		storetest.Open(t, dsn)
	})
}

func TestSQLiteFileIsOwnedByAnyName(t *testing.T) {
	dir := t.TempDir()
	s := storetest.Open(t, "sqlite:"+dir+"/store.db")
	if err := os.Symlink("store.db", dir+"/other.db"); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, "sqlite:"+dir+"/other.db", os.Getpid())
	t.Chdir(dir)
	wantHeld(t, "sqlite:store.db", os.Getpid())
	update(t, s, put("a", "1"))
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		s, err := store.Open(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		update(t, s, func(tx *store.Tx) error {
			_, err := tx.Exec("UPDATE goose_db_version SET version_id = 9999 WHERE version_id = 1")
			return err
		})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		_, err = store.Open(t.Context(), dsn)
		wantError(t, err, store.ErrNewer)
	})
}

func TestUnknownDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("this is no database\n", 100)
	if err := os.WriteFile(dir+"/text.db", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dsn string }{
		{"no scheme", dir + "/store.db"},
		{"another scheme", "mysql://localhost/x"},
		{"nothing", ""},
		{"no path", "sqlite:"},
		{"a folder", "sqlite:" + dir},
		{"a folder that does not exist", "sqlite:" + dir + "/none/store.db"},
		{"a file that is no database", "sqlite:" + dir + "/text.db"},
		{"memory", "sqlite::memory:"},
		{"no server", "postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable"},
		{"a malformed URL", "postgres://u:hunter2@127.0.0.1:port/x"},
		{"a malformed setting", "postgres://u:hunter2@127.0.0.1:1/x?sslmode=maybe"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			s, err := store.Open(t.Context(), tt.dsn)
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds the password: %v", err)
			}
			left, err := filepath.Glob("*")
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %q (%v)", left, err)
			}
		})
	}
}

// TestSQLiteIsDurableAndPrivate: what S4 stands on, and who may read it.
func TestSQLiteIsDurableAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c#d%41.db") // a path is not a URL
	s := storetest.Open(t, "sqlite:"+path)
	for pragma, want := range map[string]string{
		"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000",
	} {
		var got string
		if err := s.Writing("PRAGMA "+pragma, &got); err != nil || got != want {
			t.Errorf("%s is %q, want %q (%v)", pragma, got, want, err)
		}
	}
	update(t, s, put("a", "1"))
	for _, name := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
	}
}

// TestFullDiskFailsOnlyWhatDoesNotFit: the engine's own limit stands for the disk's.
func TestFullDiskFailsOnlyWhatDoesNotFit(t *testing.T) {
	s := storetest.Open(t, "sqlite:"+t.TempDir()+"/store.db")
	var pages int
	if err := s.Writing("PRAGMA page_count", &pages); err != nil {
		t.Fatal(err)
	}
	if err := s.Writing("PRAGMA max_page_count = 40", new(int)); err != nil {
		t.Fatal(err)
	}
	errs := together(t, s, put("a", "1"), put("big", strings.Repeat("x", 1<<20)), put("b", "2"))
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("outcomes %v", errs)
	}
	if err := s.Update(t.Context(), put("big", strings.Repeat("x", 1<<20))); err == nil {
		t.Error("what does not fit was written")
	}
	wantRecord(t, s, "a", "1")
	wantRecord(t, s, "b", "2")
	wantRecord(t, s, "big", "")
}
