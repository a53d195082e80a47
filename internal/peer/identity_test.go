package peer_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/internal/peer"
)

func TestIdentityIsSavedAndLoaded(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	id := identity(t)
	if err := id.Save(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{certFile, keyFile} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", name, info.Mode(), err)
		}
	}
	loaded, err := peer.LoadIdentity(certFile, keyFile)
	if err != nil || loaded.SPKI() != id.SPKI() {
		t.Errorf("loaded %v, saved %v (%v)", loaded.SPKI(), id.SPKI(), err)
	}
	if err := identity(t).Save(certFile, keyFile); !errors.Is(err, os.ErrExist) {
		t.Errorf("saved over a key: %v", err)
	}
	if again, err := peer.LoadIdentity(certFile, keyFile); err != nil || again.SPKI() != id.SPKI() {
		t.Errorf("the key has changed: %v", err)
	}
	if identity(t).SPKI() == id.SPKI() {
		t.Error("two identities are the same")
	}
}

// savePair writes a self-signed certificate of a key that NewIdentity does not make.
func savePair(t *testing.T, key any, public any) (certFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestKeysOfOthers(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.LoadIdentity(savePair(t, p256, p256.Public()))
	if err != nil {
		t.Fatalf("P-256: %v", err)
	}
	call(t, dialAs(t, listen(t, echo(t)), id), []byte("hello")) // and it works

	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.LoadIdentity(savePair(t, p384, p384.Public())); !errors.Is(err, peer.ErrIdentity) {
		t.Errorf("P-384: %v", err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := peer.LoadIdentity(savePair(t, old, old.Public())); !errors.Is(err, peer.ErrIdentity) {
		t.Errorf("RSA: %v", err)
	}
}

func TestUnusableIdentityFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := identity(t).Save(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	otherCert, otherKey := filepath.Join(dir, "cert2.pem"), filepath.Join(dir, "key2.pem")
	if err := identity(t).Save(otherCert, otherKey); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, cert, key string
		want            error
	}{
		{"no key", certFile, filepath.Join(dir, "none"), os.ErrNotExist},
		{"no certificate", filepath.Join(dir, "none"), keyFile, os.ErrNotExist},
		{"a key that everybody reads", certFile, file("open.pem", string(text), 0o644), peer.ErrIdentity},
		{"a key of another certificate", certFile, otherKey, peer.ErrIdentity},
		{"no PEM", file("text.pem", "hello", 0o600), keyFile, peer.ErrIdentity},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := peer.LoadIdentity(tt.cert, tt.key); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestSPKIHasOneText(t *testing.T) {
	id := identity(t).SPKI()
	if got, err := peer.ParseSPKI(id.String()); err != nil || got != id {
		t.Errorf("%v was read as %v: %v", id, got, err)
	}
	for _, text := range []string{
		"", "00", id.String()[1:], id.String() + "00", strings.ToUpper(strings.Repeat("ab", 32)),
		strings.Repeat("zz", 32), " " + id.String()[1:],
	} {
		if got, err := peer.ParseSPKI(text); !errors.Is(err, peer.ErrIdentity) {
			t.Errorf("%q was read as %v: %v", text, got, err)
		}
	}
}
