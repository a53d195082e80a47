package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/internal/hold"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/tap"
)

// The tap starts with a key that genesis knows as a regulator's, and with no other: members would
// let it submit.
func TestTheKeyIsARegulators(t *testing.T) {
	regulator, bank, stranger := key(t), key(t), key(t)
	n := chaintest.New(t, func(f *chain.GenesisFile) {
		last := len(f.Participants) - 1
		mallory := &f.Participants[chaintest.Members+2]
		mallory.Role, mallory.BIC, mallory.TLS = chain.RoleRegulator, cypherlink.BIC{}, pin(regulator)
		f.Participants[last].TLS = pin(bank)
	})
	for name, tt := range map[string]struct {
		key identityFiles
		ok  bool
	}{
		"a regulator's":       {regulator, true},
		"another's":           {bank, false},
		"of nobody":           {stranger, false},
		"with another's cert": {identityFiles{regulator.id, bank.cert, regulator.key}, false},
	} {
		_, err := identity(&tap.Config{TLSCert: tt.key.cert, TLSKey: tt.key.key}, n.Genesis)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := &process{}
	if _, err := p.dial(map[cypherlink.ParticipantID]string{n.World.Alice.ID: "127.0.0.1:1"}, n.Genesis, regulator.id); !errors.Is(err, tap.ErrConfig) {
		t.Errorf("the address of a bank: %v", err)
	}
}

type identityFiles struct {
	id        peer.Identity
	cert, key string
}

func key(t *testing.T) identityFiles {
	t.Helper()
	dir := t.TempDir()
	id, err := peer.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	f := identityFiles{id, filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")}
	if err := id.Save(f.cert, f.key); err != nil {
		t.Fatal(err)
	}
	return f
}

func pin(f identityFiles) cypherlink.Hash { return cypherlink.Hash(f.id.SPKI()) }

func TestWhatCannotBeRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	c := tap.Config{
		Genesis: "genesis.json", TLSCert: "tls.pem", TLSKey: "tls.key", Data: "data", Listen: "127.0.0.1:0",
		Members: map[cypherlink.ParticipantID]string{{1}: "x"}, Cert: "server.pem", Key: "server.key", CA: "ca.pem",
	}
	if err := c.Save(file); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"help", []string{"--help"}, 0, "for reading alone: /v1/events"},
		{"no configuration", nil, exitRefused, "-config"},
		{"an argument too many", []string{"--config", file, "x"}, exitRefused, "-config"},
		{"an unknown flag", []string{"--sign"}, exitRefused, "not defined"},
		{"no file", []string{"--config", file + "x"}, exitRefused, "no such file"},
		{"no genesis", []string{"--config", file}, exitFailed, "genesis.json"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), tt.args, &out); code != tt.code || !strings.Contains(out.String(), tt.says) {
			t.Errorf("%s: %d, %s", tt.name, code, &out)
		}
	}
	h, err := hold.Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--config", file}, &out); code != exitRefused || !strings.Contains(out.String(), "runs already") {
		t.Errorf("%d, %s", code, &out)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, hold.ReadyName)); !errors.Is(err, os.ErrNotExist) {
		t.Error("it was ready")
	}
}
