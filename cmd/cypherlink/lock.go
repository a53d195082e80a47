package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// errRunning means that a process of the network runs already.
var errRunning = errors.New("runs already")

const (
	lockName  = "lock"
	readyName = "ready"
)

// lock is a process's hold on its folder. The file has its pid; the hold ends with the
// process, however that ends.
type lock struct {
	file   *os.File
	folder string
}

// hold takes the folder, or is errRunning with the pid of the process that has it.
func hold(folder string) (*lock, error) {
	f, err := tryLock(folder)
	if err != nil {
		return nil, err
	}
	l := &lock{f, folder}
	if err := l.write(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// tryLock takes the lock and writes nothing.
func tryLock(folder string) (*os.File, error) {
	name := filepath.Join(folder, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode) //nolint:gosec // the operator's folder
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		running := fmt.Errorf("%s, pid %d: %w", filepath.Base(folder), readPID(name), errRunning)
		return nil, errors.Join(running, f.Close())
	}
	return f, nil
}

func (l *lock) write() error {
	if err := os.Remove(filepath.Join(l.folder, readyName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// ready tells whoever waits that the process does its work.
func (l *lock) ready() error {
	name := filepath.Join(l.folder, readyName)
	return os.WriteFile(name, []byte(strconv.Itoa(os.Getpid())+"\n"), fileMode)
}

func (l *lock) release() error {
	err := os.Remove(filepath.Join(l.folder, readyName))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.file.Close())
}

// holder is the pid of the process that has the folder, or 0 if none does.
func holder(folder string) (int, error) {
	f, err := tryLock(folder)
	switch {
	case errors.Is(err, errRunning):
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
