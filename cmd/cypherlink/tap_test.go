package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/hold"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/tap"
)

// tapProcess is a tap that runs as a process of its own.
type tapProcess struct {
	command *exec.Cmd
	log     bytes.Buffer
}

// buildTap compiles the tap's binary.
func buildTap(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "cypherlink-tap")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cypherlink-tap").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// startTap starts it with nothing in its environment, and waits until it is ready.
func startTap(t *testing.T, binary, dir string) *tapProcess {
	t.Helper()
	folder := filepath.Join(dir, folderTap)
	p := &tapProcess{}
	p.command = exec.Command(binary, "--config", filepath.Join(folder, configName)) //nolint:noctx // stopped below
	p.command.Env, p.command.Stdout, p.command.Stderr = []string{}, &p.log, &p.log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.command.Wait() }()
	t.Cleanup(func() {
		if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the tap: %v\n%s", err, &p.log)
		}
	})
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the tap ended: %v\n%s", err, &p.log)
		case <-late.C:
			t.Fatal("the tap is not ready")
		case <-tick.C:
		}
		if _, err := os.Stat(filepath.Join(folder, hold.ReadyName)); err == nil {
			tick.Stop()
			return p
		}
	}
}

// reader is what a regulator reads by: what the environment of the network says.
func reader(t *testing.T, dir string) (env map[string]string, client *http.Client) {
	t.Helper()
	pairs, err := tapEnvironment(dir)
	if err != nil {
		t.Fatal(err)
	}
	env = map[string]string{}
	for _, pair := range pairs {
		env[pair[0]] = pair[1]
	}
	return env, caller(t, tlsFiles{Cert: path(env["TAP_CERT"]), Key: path(env["TAP_KEY"]), CA: path(env["TAP_CA"])})
}

// caller is an HTTP client with these files.
func caller(t *testing.T, files tlsFiles) *http.Client {
	t.Helper()
	config, err := files.config()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: config}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func fetched(t *testing.T, client *http.Client, method, url, body string) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, b
}

// saved follows the tap's pages after a record until there are so many more, and gives them with
// the head after them, one JSON value a line, as a regulator saves them.
func saved(t *testing.T, client *http.Client, url string, after, records int) []byte {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		var file []byte
		count := 0
		for next := fmt.Sprintf("/v1/events?after=%d&limit=2", after); next != ""; {
			status, body := fetched(t, client, http.MethodGet, url+next, "")
			if status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
			page := pageOf(t, body)
			file, next = append(file, body...), page.Next
			count += len(page.Records)
		}
		if count >= records {
			_, head := fetched(t, client, http.MethodGet, url+"/v1/head", "")
			return append(file, head...)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records", count)
		}
	}
}

func pageOf(t *testing.T, line []byte) tap.Page {
	t.Helper()
	var p tap.Page
	if err := json.Unmarshal(line, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// auditedFeed runs cypherlink audit --feed on a file's content.
func auditedFeed(t *testing.T, dir string, feed []byte, more ...string) (code int, out string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "feed.jsonl")
	if err := os.WriteFile(file, feed, fileMode); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	args := append([]string{"audit", "--feed", file, "--genesis", filepath.Join(dir, genesisName)}, more...)
	code = run(t.Context(), args, &b, &b)
	return code, b.String()
}

// TestTapOfANetwork runs the tap's binary beside a network with payments, reads it as a regulator
// does, audits what was read, and tries every write that the tap's credentials could (T1).
func TestTapOfANetwork(t *testing.T) {
	binary := buildTap(t)
	s, dir := raised(t, unwatched)
	startTap(t, binary, dir)
	env, client := reader(t, dir)
	paid(t, s, samplePayment, payment.StatusSettled)
	const records = 2 // the custody on the chain, prepared and confirmed
	feed := saved(t, client, env["TAP"], 0, records)
	kept := filepath.Join(t.TempDir(), "checkpoint")

	t.Run("what was saved is audited", func(t *testing.T) { auditSaved(t, dir, feed, kept) })
	t.Run("and what comes later from where that ended", func(t *testing.T) {
		paid(t, s, strings.ReplaceAll(samplePayment, "2000.00", "30.00"), payment.StatusSettled)
		later := saved(t, client, env["TAP"], records, records)
		code, out := auditedFeed(t, dir, later, "--checkpoint", kept)
		if code != 0 || !strings.Contains(out, "Records 3 to 4") || !strings.Contains(out, "the 2 events that were checked before") {
			t.Errorf("%d, %s", code, out)
		}
		if code, out := auditedFeed(t, dir, later, "--checkpoint", kept); code != exitFailed {
			t.Errorf("the same again: %d, %s", code, out)
		}
	})
	t.Run("the network's audit names the tap that runs", func(t *testing.T) {
		code, out := audited(t, dir)
		if code != exitRefused || !strings.Contains(out, "of a network that is down") || !strings.Contains(out, folderTap+", pid ") {
			t.Errorf("%d, %s", code, out)
		}
	})
	t.Run("its folder holds no key that signs", func(t *testing.T) { noSigningKey(t, dir) })
	t.Run("its binary has no code that submits", func(t *testing.T) { noSubmission(t, binary) })
	t.Run("its authority is not the banks'", func(t *testing.T) { otherAuthority(t, dir, env) })
	t.Run("its transport key writes nothing", func(t *testing.T) { noWriteByKey(t, dir) })
	t.Run("every verb but GET is refused", func(t *testing.T) {
		for _, route := range []string{"/v1/events", "/v1/events/1", "/v1/stream", "/v1/head", "/healthz", "/"} {
			for _, verb := range []string{"POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"} {
				if status, _ := fetched(t, client, verb, env["TAP"]+route, "{}"); status != http.StatusMethodNotAllowed {
					t.Errorf("%s %s: %d", verb, route, status)
				}
			}
		}
	})
	if status, body := fetched(t, client, http.MethodGet, env["TAP"]+"/healthz", ""); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
}

// auditSaved audits a feed as it is and with each kind of fault, and leaves a checkpoint after it.
func auditSaved(t *testing.T, dir string, feed []byte, kept string) {
	t.Helper()
	code, out := auditedFeed(t, dir, feed, "--checkpoint", kept)
	if code != 0 || !strings.Contains(out, "Records 1 to 2") || strings.Contains(out, "before") {
		t.Fatalf("%d, %s", code, out)
	}
	lines := bytes.SplitAfter(feed, []byte("\n"))
	head := lines[len(lines)-2] // what is behind the last line feed is empty
	var records [][]byte
	for _, line := range lines[:len(lines)-2] {
		for _, r := range pageOf(t, line).Records {
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, append(b, '\n'))
		}
	}
	file := func(lines ...[]byte) []byte { return slices.Concat(append(lines, head)...) }
	one, two := records[0], records[1]
	for _, tt := range []struct {
		name string
		feed []byte
		says string
	}{
		{"the first dropped", file(two), "record 1 was dropped"},
		{"the last dropped", file(one), "record 2 was dropped"},
		{"one edited", file(bytes.Replace(one, []byte(`"amount":"`), []byte(`"amount":"9`), 1), two), "record 1 was edited"},
		{"two exchanged", file(two, one), "record 1 was reordered"},
		{"one repeated", file(one, one, two), "record 1 was repeated"},
		{"noise", file([]byte("noise\n"), one, two), "where record 1 was due"},
		{"nothing", nil, "nothing that proves anything"},
	} {
		if code, out := auditedFeed(t, dir, tt.feed); code != exitFailed || !strings.Contains(out, tt.says) {
			t.Errorf("%s: %d, %s", tt.name, code, out)
		}
	}
	if code, out := auditedFeed(t, dir, file(one, []byte("\n"), two)); code != 0 {
		t.Errorf("record by record: %d, %s", code, out)
	}
}

// noSigningKey: beside its transport key and its listener's the tap's folder holds no key.
func noSigningKey(t *testing.T, dir string) {
	t.Helper()
	folder := filepath.Join(dir, folderTap)
	var names []string
	err := filepath.WalkDir(folder, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.Name() == dataName: // the copy of the chain
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		names = append(names, e.Name())
		if _, err := sign.LoadIdentity(name); err == nil {
			t.Errorf("%s is an identity key", e.Name())
		}
		if _, err := sign.LoadKey(name); err == nil {
			t.Errorf("%s is a cosigning key", e.Name())
		}
		return nil
	})
	want := []string{"ca.pem", "config.json", "lock", "ready", "server.key", "server.pem", "tls.key", "tls.pem"}
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("%v, %v", names, err)
	}
	if _, err := sign.LoadIdentity(filepath.Join(dir, folderRegulator, "identity.key")); err != nil {
		t.Errorf("the regulator's own folder: %v", err) // so that the check above could fail
	}
}

// noSubmission looks for what a submission is made of among the binary's symbols.
func noSubmission(t *testing.T, binary string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "tool", "nm", binary).Output()
	if err != nil || !bytes.Contains(out, []byte("chain/follow.(*Member).Fetch")) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	for _, symbol := range []string{"follow.Submission", "chain/submit", "state.NewTransaction", "cosi/sign", "circl"} {
		if bytes.Contains(out, []byte(symbol)) {
			t.Errorf("it has %s", symbol)
		}
	}
}

// otherAuthority: the regulator's certificate opens no bank's API, and a bank's customer's no tap.
func otherAuthority(t *testing.T, dir string, env map[string]string) {
	t.Helper()
	var bank connectConfig
	if err := readConfig(filepath.Join(dir, folderA, configName), &bank); err != nil {
		t.Fatal(err)
	}
	file := func(name string) path { return path(filepath.Join(dir, name)) }
	for url, files := range map[string]tlsFiles{
		env["TAP"] + "/v1/head":                       {Cert: file("client.pem"), Key: file("client.key"), CA: path(env["TAP_CA"])},
		"https://" + bank.API.Listen + "/v1/payments": {Cert: path(env["TAP_CERT"]), Key: path(env["TAP_KEY"]), CA: file("ca.pem")},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if res, err := caller(t, files).Do(r); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s: %s", url, res.Status)
		}
	}
}

// noWriteByKey: with the tap's transport key a member takes no submission, and no institution
// talks.
func noWriteByKey(t *testing.T, dir string) {
	t.Helper()
	id, err := peer.LoadIdentity(filepath.Join(dir, folderTap, "tls.pem"), filepath.Join(dir, folderTap, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, genesisName))
	if err != nil {
		t.Fatal(err)
	}
	genesis, err := chain.ParseGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	call := func(folder string, protocol peer.Protocol, kind uint8) error {
		var c struct {
			Node node `json:"node"`
		}
		b, err := os.ReadFile(filepath.Join(dir, folder, configName))
		if err == nil {
			err = json.Unmarshal(b, &c)
		}
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(genesis.File().Participants, func(p chain.Participant) bool {
			return cast()[slices.IndexFunc(cast(), func(a actor) bool { return a.folder == folder })].name == p.Name
		})
		client, err := peer.Dial(c.Node.Listen, peer.SPKI(genesis.File().Participants[i].TLS), id, protocol)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = client.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = client.Call(ctx, kind, nil)
		return err
	}
	var remote *peer.RemoteError
	for _, folder := range committee() {
		if err := call(folder, follow.Wire(), follow.KindSubmit); !errors.As(err, &remote) || remote.Code != member.CodeReader {
			t.Errorf("%s: %v", folder, err)
		}
	}
	for _, folder := range []string{folderA, folderB, folderClearing, folderVoteDE, folderVoteDCEP} {
		for kind := range uint8(8) {
			if err := call(folder, talk(), kind); errors.As(err, &remote) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s, kind %d: %v", folder, kind, err)
			}
			if testing.Short() {
				break // a refusal is a second of silence
			}
		}
	}
}

// TestAuditCommandLine: a network's folder or a feed, and what belongs to each.
func TestAuditCommandLine(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("{}"), fileMode); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := command(t, "audit", dir); code != exitRefused || !strings.Contains(errOut, "not the folder of a network") {
		t.Errorf("exit %d, %s", code, errOut)
	}
	for _, args := range [][]string{
		{},
		{dir, "--feed", file},
		{"--feed", file},
		{dir, "--genesis", file},
		{"--genesis", file},
		{dir, "--checkpoint", file},
		{"--feed", file, "--genesis", file + "x"},
		{"--feed", file, "--genesis", file},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"audit"}, args...), &out, &out); code != exitRefused {
			t.Errorf("%v: %d, %s", args, code, &out)
		}
	}
}
