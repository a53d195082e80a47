package sign

// This file is the package's shell: the only one that touches the disk.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// SaveKey writes k to a new file with mode 0600, durably. A file of that name is never
// replaced: that is fs.ErrExist.
func SaveKey(path string, k *Key) error {
	b, err := k.secret.MarshalBinary()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return saveText(path, keyText(kindKey, [secretSize]byte(b)))
}

// SaveIdentity is SaveKey for an identity key.
func SaveIdentity(path string, k *Identity) error {
	return saveText(path, keyText(kindIdentity, [secretSize]byte(k.private.Seed())))
}

// LoadKey reads what SaveKey wrote; otherwise ErrKeyFile or ErrSecret. It refuses a file that
// group or others may access in any way.
func LoadKey(path string) (*Key, error) {
	secret, err := loadSecret(path, kindKey)
	if err != nil {
		return nil, err
	}
	k, err := parseKey(secret)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// LoadIdentity is LoadKey for an identity key.
func LoadIdentity(path string) (*Identity, error) {
	secret, err := loadSecret(path, kindIdentity)
	if err != nil {
		return nil, err
	}
	return parseIdentity(secret), nil
}

func saveText(path string, text []byte) (err error) {
	const create = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(path, create, 0o600) //nolint:gosec // the operator's own path
	if err != nil {
		return err
	}
	defer func() {
		if err != nil { // a torn file holds no key that anybody knows of
			err = errors.Join(err, os.Remove(path))
		}
	}()
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a new name durable.
func syncFolder(path string) error {
	d, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func loadSecret(path string, kind uint8) ([secretSize]byte, error) {
	var none [secretSize]byte
	f, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return none, err
	}
	text, err := readPrivate(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return none, fmt.Errorf("%s: %w", path, err)
	}
	secret, err := parseKeyText(kind, text)
	if err != nil {
		return none, fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// readPrivate judges the open file, not its name, so that nobody can swap it in between.
func readPrivate(f *os.File) ([]byte, error) {
	at, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !at.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file: %w", ErrKeyFile)
	}
	if at.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("mode %#o, want 0600 or less: %w", at.Mode().Perm(), ErrKeyFile)
	}
	return io.ReadAll(io.LimitReader(f, int64(keyTextSize)+1))
}
