//go:build integration

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/internal/hold"
)

// scriptWithin is how long up may take, the compiling included.
const scriptWithin = 3 * time.Minute

// script runs a script of deploy/local on the network in a folder.
func script(t *testing.T, name, dir string) {
	t.Helper()
	// not the test's own context: down is the last thing that a test does
	ctx, cancel := context.WithTimeout(context.Background(), scriptWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join("..", "..", "deploy", "local", name), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// up starts what does not run, and gives what network.env says.
func up(t *testing.T, dir string) map[string]string {
	t.Helper()
	script(t, "up", dir)
	raw, err := os.ReadFile(filepath.Join(dir, "network.env"))
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !ok || value == "" {
			t.Errorf("network.env has the line %q", line)
		}
		env[key] = value
	}
	return env
}

// posted posts pay.json and pay.xml to Bank A and pay-channel.json to both banks, and wants them taken. The same certificate opens the
// other APIs and the broker.
func posted(t *testing.T, dir string, env map[string]string, key string) {
	t.Helper()
	config, err := tlsFiles{
		Cert: path(env["CLIENT_CERT"]), Key: path(env["CLIENT_KEY"]), CA: path(env["CA_CERT"]),
	}.config()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: readyWithin}
	defer client.CloseIdleConnections()
	for _, tt := range []struct {
		file, kind, url string
		status          int
	}{
		{"pay.json", "application/json", env["API_BANK_A"] + "/v1/payments", http.StatusAccepted},
		{"pay.xml", "application/xml", env["API_BANK_A"] + "/v1/iso20022", http.StatusAccepted},
		{"pay-channel.json", "application/json", env["API_BANK_A"] + "/v1/payments", http.StatusAccepted},
		{"pay-channel.json", "application/json", env["API_BANK_B"] + "/v1/payments", http.StatusAccepted},
		{"", "", env["API_BANK_B"] + "/healthz", http.StatusOK},
		{"", "", env["API_CLEARING"] + "/healthz", http.StatusOK},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tt.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.file != "" {
			request.Method = http.MethodPost
			if request.Body, err = os.Open(filepath.Join(dir, tt.file)); err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", tt.kind)
		}
		if tt.kind == "application/json" {
			request.Header.Set("Idempotency-Key", key+tt.file)
		}
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != tt.status {
			t.Errorf("%s %s: %s, %v", tt.url, tt.file, answer.Status, err)
		}
	}
	broker, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", env["KAFKA_BOOTSTRAP"])
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.Close(); err != nil {
		t.Error(err)
	}
}

// kill ends the process that has a folder as a power failure does.
func kill(t *testing.T, folder string) {
	t.Helper()
	pid, err := hold.Holder(folder)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(readyWithin); pid != 0; <-time.After(pollEvery) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
		if pid, err = hold.Holder(folder); err != nil || time.Now().After(deadline) {
			t.Fatalf("%s is held by %d after a SIGKILL: %v", folder, pid, err)
		}
	}
}

// slowly makes whoever is started take his time, and every look of the scripts at a lock take longer:
// then the one finds the lock held by the other, if they meet.
func slowly(t *testing.T) {
	t.Helper()
	nohup, err := exec.LookPath("nohup")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	for name, script := range map[string]string{"true": "sleep 0.4", "nohup": "sleep 0.2; exec " + nohup + ` "$@"`} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestUpAndDown: the first up makes a network that can be paid by at once; a later one keeps
// everything and starts what does not run, be it that it was killed or stopped.
func TestUpAndDown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	t.Cleanup(func() { script(t, "down", dir) })
	first := up(t, dir)
	want := []string{
		"API_BANK_A", "API_BANK_B", "API_CLEARING", "CA_CERT", "CLIENT_CERT", "CLIENT_KEY", "GENESIS",
		"KAFKA_BOOTSTRAP", "KAFKA_COMMANDS", "KAFKA_EVENTS", "PID_CONNECTOR", "PID_CONNECT_A", "PID_CONNECT_B",
		"PID_LEDGER", "PID_MEMBER_1", "PID_MEMBER_2", "PID_MEMBER_3", "PID_MEMBER_4", "PID_TAP", "PID_VALIDATOR_DCEP",
		"PID_VALIDATOR_DE", "TAP", "TAP_CA", "TAP_CERT", "TAP_KEY",
	}
	if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, want) {
		t.Errorf("network.env has %v", got)
	}
	posted(t, dir, first, "1")

	killed := []string{"PID_LEDGER", "PID_MEMBER_2", "PID_CONNECTOR", "PID_CONNECT_A"}
	for _, p := range processes() {
		if slices.Contains(killed, "PID_"+p.name) {
			kill(t, filepath.Join(dir, p.folder))
		}
	}
	second := up(t, dir)
	for name := range first {
		if changed := first[name] != second[name]; changed != slices.Contains(killed, name) {
			t.Errorf("%s was %s and is %s", name, first[name], second[name])
		}
	}
	posted(t, dir, second, "2")

	t.Run("a look at a lock keeps nobody from starting", func(t *testing.T) {
		slowly(t)
		kill(t, filepath.Join(dir, folderA))
		up(t, dir)
	})

	script(t, "down", dir)
	for _, p := range processes() {
		if pid, err := hold.Holder(filepath.Join(dir, p.folder)); err != nil || pid != 0 {
			t.Errorf("%s runs as %d after down: %v", p.folder, pid, err)
		}
	}
	third := up(t, dir)
	for name := range first {
		if same := first[name] == third[name]; same == strings.HasPrefix(name, "PID_") {
			t.Errorf("%s was %s and is %s after down and up", name, first[name], third[name])
		}
	}
	posted(t, dir, third, "3")
}
