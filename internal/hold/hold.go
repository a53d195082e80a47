// Package hold is how the processes of one machine keep out of each other's folders.
//
// Its noun is the Hold: a process's claim on its folder, an advisory lock on a file that has the
// process's pid. It ends with the process, however that ends, and it says when the process does
// its work. It refuses to wait and to know what the folder holds.
// Source: flock(2).
package hold

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrHeld means that a process has the folder already.
var ErrHeld = errors.New("runs already")

const (
	lockName = "lock"
	// ReadyName is the file, with the pid, by which a process tells that it does its work.
	ReadyName = "ready"
	fileMode  = 0o600
)

// Hold is a process's hold on its folder.
type Hold struct {
	file   *os.File
	folder string
}

// Take takes the folder, or is ErrHeld with the pid of the process that has it.
func Take(folder string) (*Hold, error) {
	f, err := Try(folder)
	if err != nil {
		return nil, err
	}
	h := &Hold{f, folder}
	if err := h.write(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

// Try takes the folder until the file is closed, and writes nothing: the pid of the last process
// stays.
func Try(folder string) (*os.File, error) {
	name := filepath.Join(folder, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode) //nolint:gosec // the operator's folder
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		running := fmt.Errorf("%s, pid %d: %w", filepath.Base(folder), readPID(name), ErrHeld)
		return nil, errors.Join(running, f.Close())
	}
	return f, nil
}

func (h *Hold) write() error {
	if err := os.Remove(filepath.Join(h.folder, ReadyName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := h.file.Truncate(0); err != nil {
		return err
	}
	_, err := h.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// Ready tells whoever waits that the process does its work.
func (h *Hold) Ready() error {
	name := filepath.Join(h.folder, ReadyName)
	return os.WriteFile(name, []byte(strconv.Itoa(os.Getpid())+"\n"), fileMode)
}

// Release gives the folder back.
func (h *Hold) Release() error {
	err := os.Remove(filepath.Join(h.folder, ReadyName))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, h.file.Close())
}

// Holder is the pid of the process that has the folder, or 0 if none does.
func Holder(folder string) (int, error) {
	f, err := Try(folder)
	switch {
	case errors.Is(err, ErrHeld):
		return readPID(filepath.Join(folder, lockName)), nil
	case err != nil:
		return 0, err
	}
	return 0, f.Close()
}

func readPID(name string) int {
	b, err := os.ReadFile(name) //nolint:gosec // a lock of the operator's folder
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return pid
}
