package sign

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFilesKeepTheKey(t *testing.T) {
	dir := t.TempDir()
	k, id := testKey(t, "alice"), testIdentity()
	kPath, idPath := filepath.Join(dir, "cosi.key"), filepath.Join(dir, "identity.key")
	if err := errors.Join(SaveKey(kPath, k), SaveIdentity(idPath, id)); err != nil {
		t.Fatal(err)
	}
	k2, err := LoadKey(kPath)
	if err != nil || k2.Public() != k.Public() || k2.Possession() != k.Possession() {
		t.Fatal(err)
	}
	id2, err := LoadIdentity(idPath)
	if err != nil || id2.Public() != id.Public() {
		t.Fatal(err)
	}
	for _, path := range []string{kPath, idPath} {
		at, err := os.Stat(path)
		if err != nil || at.Mode() != 0o600 || at.Size() != int64(keyTextSize) {
			t.Fatalf("%v: %v", at, err)
		}
	}
	before, err := os.ReadFile(kPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := SaveKey(kPath, testKey(t, "bob")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a key is replaced: %v", err)
	}
	if err := SaveIdentity(kPath, id); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a key is replaced: %v", err)
	}
	if after, err := os.ReadFile(kPath); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed: %v", err)
	}
	if _, err := LoadKey(idPath); !errors.Is(err, ErrKeyFile) {
		t.Errorf("an identity as a cosigning key: %v", err)
	}
	if _, err := LoadIdentity(kPath); !errors.Is(err, ErrKeyFile) {
		t.Errorf("a cosigning key as an identity: %v", err)
	}
	if _, err := LoadKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := LoadKey(dir); err == nil {
		t.Error("a folder")
	}
	if err := SaveKey(filepath.Join(dir, "none", "x"), k); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestKeyFilesThatOthersMayUseAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := SaveKey(path, testKey(t, "alice")); err != nil {
		t.Fatal(err)
	}
	for mode := range fs.FileMode(0o1000) {
		if mode&0o400 == 0 {
			continue // not readable by its owner, unless that is root
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := LoadKey(path)
		if open := mode&0o077 != 0; open != errors.Is(err, ErrKeyFile) || !open && err != nil {
			t.Fatalf("mode %#o: %v", mode, err)
		}
	}
}

func TestDamagedKeyFilesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	good := keyText(kindKey, [32]byte{31: 5})
	edits := map[string][]byte{
		"empty":              {},
		"cut":                good[:len(good)-1],
		"without line end":   append(bytes.Clone(good[:len(good)-1]), ' '),
		"one byte more":      append(bytes.Clone(good), '\n'),
		"upper case":         bytes.ToUpper(good),
		"upper case digits":  append([]byte(keyPrefix), bytes.ToUpper(good[len(keyPrefix):])...),
		"zero key":           keyText(kindKey, [32]byte{}),
		"key above r":        keyText(kindKey, [32]byte{0xff}),
		"unknown kind":       keyText(3, [32]byte{31: 5}),
		"larger than memory": bytes.Repeat(good, 1000),
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1
		edits["byte "+string(rune('a'+i%26))+strings.Repeat("'", i/26)] = b
	}
	for name, b := range edits {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := LoadKey(path)
		if !errors.Is(err, ErrKeyFile) && !errors.Is(err, ErrSecret) || k != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), string(good[len(keyPrefix)+2:len(keyPrefix)+66])) {
			t.Errorf("%s: the error tells the secret", name)
		}
	}
}

func FuzzKeyText(f *testing.F) {
	f.Add(keyText(kindIdentity, [32]byte{1, 2, 3}))
	f.Add([]byte(keyPrefix))
	f.Fuzz(func(t *testing.T, b []byte) {
		secret, err := parseKeyText(kindIdentity, b)
		if err == nil && !bytes.Equal(keyText(kindIdentity, secret), b) {
			t.Fatalf("%q encodes as %q", b, keyText(kindIdentity, secret))
		}
	})
}
