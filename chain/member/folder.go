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
	// orphanName is a safety record whose store was lost. It never counts again.
	orphanName = "safety.orphan"
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
	for _, name := range []string{safetyName, orphanName} {
		if there, err := exists(filepath.Join(data, name)); there || err != nil {
			return errors.Join(fmt.Errorf("%s has a %s: %w", data, name, ErrFolder), err)
		}
	}
	committee, err := createStore(data, genesis, log)
	if err != nil {
		return err
	}
	return createSafety(filepath.Join(data, safetyName), committee)
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
	return rename(draft, name)
}

// rename moves a file inside its folder, durably.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	folder, err := os.Open(filepath.Dir(to))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
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

// exists tells whether there is something under the name.
func exists(name string) (bool, error) {
	_, err := os.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// orphan sets the safety record aside, for good, if the store that goes with it was lost: the
// blocks that this member has promised to hold (I3) went with it.
func orphan(data string) error {
	store, err := exists(filepath.Join(data, storeName))
	if err != nil || store {
		return err
	}
	record, err := exists(filepath.Join(data, safetyName))
	if err != nil || !record {
		return err
	}
	return rename(filepath.Join(data, safetyName), filepath.Join(data, orphanName))
}
