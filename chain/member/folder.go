package member

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/state"
)

var (
	// ErrFolder means that a data folder cannot be used, or must not be made.
	ErrFolder = errors.New("member: wrong data folder")
	// ErrLocked means that another process has the data folder.
	ErrLocked = errors.New("member: the data folder is in use")
)

// What a data folder holds.
const (
	lockName   = "lock"
	safetyName = "safety"
	storeName  = "store"
	folderMode = 0o700
	fileMode   = 0o600
)

// lockFolder makes this process the folder's only one. The lock ends with the process,
// however that ends.
func lockFolder(data string) (*os.File, error) {
	name := filepath.Join(data, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode) //nolint:gosec // the operator's path
	if err != nil {
		return nil, fmt.Errorf("lock: %w: %w", ErrFolder, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 16)
		n, _ := f.ReadAt(holder, 0) // whatever stands there is all that can be told
		err = fmt.Errorf("%s, by process %s: %w", data, strings.TrimSpace(string(holder[:n])), ErrLocked)
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), f.Close())
	}
	return f, nil
}

// Create makes the data folder of a member whose key has never signed: a store with the
// genesis state, and an empty safety record. A folder that is one already is ErrFolder:
// forgetting what a key signed is how a member comes to contradict itself. For the same
// reason Open makes nothing: a member whose folder was lost starts on an empty one as an
// observer.
func Create(data string, genesis *chain.Genesis, log *slog.Logger) (err error) {
	if err := os.MkdirAll(data, folderMode); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	lock, err := lockFolder(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	name := filepath.Join(data, safetyName)
	if _, err := os.Lstat(name); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s exists (%w): %w", name, err, ErrFolder)
	}
	committee, err := createStore(data, genesis, log)
	if err != nil {
		return err
	}
	return createSafety(name, committee)
}

func createStore(data string, genesis *chain.Genesis, log *slog.Logger) (_ *chain.Committee, err error) {
	store, err := openStore(data, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	s, err := state.Open(store, genesis)
	if err != nil {
		return nil, err
	}
	if height := s.Header().Height; height > 0 {
		return nil, fmt.Errorf("%s holds %d blocks: %w", data, height, ErrFolder)
	}
	return genesis.Committee(s.Header().Roots)
}

// createSafety writes the record beside its place and then moves it there, whole.
func createSafety(name string, c *chain.Committee) error {
	draft := name + ".new"
	//nolint:gosec // the operator's path
	f, err := os.OpenFile(draft, os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	err = f.Truncate(bft.DiskSize)
	if err == nil {
		err = bft.Format(f, c)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("safety record: %w", err)
	}
	if err := os.Rename(draft, name); err != nil {
		return fmt.Errorf("safety record: %w", err)
	}
	folder, err := os.Open(filepath.Dir(name))
	if err != nil {
		return fmt.Errorf("safety record: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func openStore(data string, log *slog.Logger) (*state.Pebble, error) {
	return state.OpenPebble(filepath.Join(data, storeName), state.PebbleOptions{
		Log: log, Exit: func() { os.Exit(exitStore) },
	})
}

// exitStore is the process's exit code after the store's log could not be written.
const exitStore = 3

// hasStore tells whether a store was made in the folder.
func hasStore(data string) (bool, error) {
	entries, err := os.ReadDir(filepath.Join(data, storeName))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return len(entries) > 0, nil
}
