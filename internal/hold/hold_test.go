package hold_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/internal/hold"
)

// A folder has one holder, who is known by his pid, and is free again when he lets go.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, hold.ReadyName)
	if err := os.WriteFile(ready, []byte("1\n"), 0o600); err != nil { // of one that was killed
		t.Fatal(err)
	}
	h, err := hold.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ready); !errors.Is(err, os.ErrNotExist) {
		t.Error("who has just begun is ready")
	}
	if err := h.Ready(); err != nil {
		t.Fatal(err)
	}
	pid := fmt.Sprint(os.Getpid())
	if told, err := os.ReadFile(ready); err != nil || strings.TrimSpace(string(told)) != pid {
		t.Errorf("%q, %v", told, err)
	}
	for range 2 {
		if _, err := hold.Take(dir); !errors.Is(err, hold.ErrHeld) || !strings.Contains(err.Error(), "pid "+pid) {
			t.Error(err)
		}
		if _, err := hold.Try(dir); !errors.Is(err, hold.ErrHeld) {
			t.Error(err)
		}
		if got, err := hold.Holder(dir); err != nil || got != os.Getpid() {
			t.Errorf("%d, %v", got, err)
		}
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(ready); !errors.Is(err, os.ErrNotExist) {
		t.Error("who has ended is ready")
	}
	f, err := hold.Try(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := hold.Holder(dir); err != nil || got != 0 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := hold.Take(filepath.Join(dir, "nothing")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
