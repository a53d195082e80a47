package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// scribe is an authority at its command line.
type scribe struct {
	t   *testing.T
	dir string
}

// registry runs a command of the registry and wants its exit code; it gives what was printed.
func (a *scribe) registry(want int, args ...string) string {
	a.t.Helper()
	var out, log bytes.Buffer
	args = append([]string{"registry"}, args...)
	args = append(args, "--config", filepath.Join(a.dir, folderAuthority, configName))
	if code := run(a.t.Context(), args, &out, &log); code != want {
		a.t.Fatalf("%v: exit code %d, want %d: %s%s", args, code, want, out.String(), log.String())
	}
	return out.String() + log.String()
}

// file is one for a change.
func (a *scribe) file(name string) string { return filepath.Join(a.dir, name) }

// spoil changes one field of a file of a change, and gives the file of the copy.
func (a *scribe) spoil(file string, spoil func(*draftJSON)) string {
	a.t.Helper()
	var j draftJSON
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &j)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	spoil(&j)
	copied := a.file("spoiled.json")
	if err := writeConfig(copied, j); err != nil {
		a.t.Fatal(err)
	}
	return copied
}

func (a *scribe) says(text string, want ...string) {
	a.t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			a.t.Errorf("not said: %q; said: %s", w, text)
		}
	}
}

// The authority of the local network suspends Bank B, by its command line, and makes it active again: what
// is not signed, is signed for something else, stands on an older registry, or is a second change for one
// version, is refused with what is wrong.
func TestRegistryCommand(t *testing.T) {
	_, dir := raised(t, unwatched)
	a := &scribe{t, dir}
	suspend, other := a.file("suspend.json"), a.file("other.json")
	a.says(a.registry(0, "show"), "version 0; a change takes 1 of 1 authorities", "CYPBCNBJXXX  active", "Validator of DC/EP")
	a.says(a.registry(0, "draft", "suspend", "CYPBCNBJ", "--out", suspend), "suspend Bank B (", "version 1 after 0")
	a.says(a.registry(exitRefused, "draft", "suspend", "CYPBCNBJ", "--out", suspend), "is there already")
	a.says(a.registry(exitRefused, "draft", "suspend", "Bank Z", "--out", other), `no participant is called "Bank Z"`)
	a.says(a.registry(exitRefused, "draft", "resume", "Bank B", "--out", other), "registry_status_differs")
	a.says(a.registry(exitRefused, "draft", "policy", "cypherium:CNY", "2", "Validator of DE", "--out", other), "the policy cannot be met")
	a.says(a.registry(exitRefused, "draft", "policy", "DC/EP", "2", "Validator of DE", "--out", other), "the policy cannot be met")
	a.says(a.registry(exitRefused, "draft", "policy", "DC", "1", "Validator of DE", "--out", other), `no asset is called "DC"`)
	a.says(a.registry(exitRefused, "submit", suspend), "1 of 1 authorities", "0 of 1")
	if said := a.registry(0, "read", suspend); !strings.Contains(said, "suspend Bank B (") || strings.Contains(said, "signed by") {
		t.Error(said)
	}
	a.says(a.registry(0, "sign", suspend), "suspend Bank B (", "signed by Authority of the scheme")
	a.says(a.registry(0, "read", suspend), "it takes 1 of 1 authorities; signed by Authority of the scheme")
	// a signature that is over something else is nobody's
	later := a.spoil(suspend, func(j *draftJSON) { j.Version++ })
	if said := a.registry(0, "read", later); strings.Contains(said, "signed by") {
		t.Error(said)
	}

	// an authority signs one change for a version
	a.registry(0, "draft", "revoke", "Bank B", "--out", other)
	a.says(a.registry(exitRefused, "sign", other), "has signed another change for version 1", "--version 2")

	revoked := a.spoil(suspend, func(j *draftJSON) { j.Change = "05" + j.Change[2:] })
	a.says(a.registry(exitRefused, "submit", revoked), "the signature of Authority of the scheme is not over this change")
	moved := a.spoil(suspend, func(j *draftJSON) { j.Version++ })
	a.says(a.registry(exitRefused, "submit", moved), "is not over this change")
	elsewhere := a.spoil(suspend, func(j *draftJSON) { j.Network[0]++ })
	a.says(a.registry(exitRefused, "submit", elsewhere), "the change is for network")
	short := a.spoil(suspend, func(j *draftJSON) { j.Change = j.Change[:10] })
	a.says(a.registry(exitRefused, "sign", short), "change")

	// no command drafts other keys for somebody, so who has made a file of that is not helped
	keyed := a.spoil(suspend, func(j *draftJSON) { j.Change = rotation(t, dir) })
	a.says(a.registry(exitRefused, "sign", keyed), "other keys for Bank B (", "no command drafts that")

	strange := a.spoil(suspend, func(j *draftJSON) {
		j.Signatures[cypherlink.ParticipantID{1}] = strings.Repeat("ab", cosi.SignatureSize)
	})
	a.says(a.registry(0, "submit", strange), "version 1: suspend Bank B")
	a.says(a.registry(0, "submit", suspend), "version 1 already")
	a.says(a.registry(0, "show"), "version 1", "CYPBCNBJXXX  suspended")
	a.says(a.registry(exitRefused, "submit", other), "stands on version 0 of the registry, which is at 1")

	resume, policy := a.file("resume.json"), a.file("policy.json")
	a.registry(0, "draft", "resume", "Bank B", "--out", resume, "--version", "3")
	a.registry(0, "sign", resume)
	a.says(a.registry(0, "submit", resume), "version 3: resume Bank B")
	a.registry(0, "draft", "policy", "cypherium:CNY", "1", "Validator of DC/EP", "Validator of DE", "--out", policy)
	a.registry(0, "sign", policy)
	a.says(a.registry(0, "submit", policy), "cypherium:CNY asks for 1 of Validator of DC/EP")
	a.says(a.registry(0, "show"), "version 4", "Validator of DC/EP, Validator of DE")
}

// rotation is a change, in hexadecimal, that gives Bank B another TLS key.
func rotation(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, genesisName))
	if err != nil {
		t.Fatal(err)
	}
	g, err := chain.ParseGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	bank, err := find(g.Registry(), "Bank B")
	if err != nil {
		t.Fatal(err)
	}
	keys := bank.KeySet
	keys.TLS[0]++
	var w wire.Writer
	chain.AppendChange(&w, &chain.Rotate{ID: bank.ID, KeySet: keys})
	return hex.EncodeToString(w.Bytes())
}
