package tap

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
)

// A configuration that is saved is read again, with every path counted from its own folder; one
// with anything unknown, twice or missing is not read.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	saved := Config{
		Genesis: "../genesis.json", TLSCert: "tls.pem", TLSKey: "tls.key", Data: "data",
		Members: map[cypherlink.ParticipantID]string{{1}: "127.0.0.1:1", {2}: "127.0.0.1:2"},
		Listen:  "127.0.0.1:3", Cert: "/etc/server.pem", Key: "server.key", CA: "ca.pem",
	}
	if err := saved.Save(file); err != nil {
		t.Fatal(err)
	}
	want := saved
	want.Genesis = filepath.Join(filepath.Dir(dir), "genesis.json")
	for _, path := range []*string{&want.TLSCert, &want.TLSKey, &want.Data, &want.Key, &want.CA} {
		*path = filepath.Join(dir, *path)
	}
	c, err := LoadConfig(file)
	if err != nil || !reflect.DeepEqual(*c, want) {
		t.Fatalf("%+v, %v", c, err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	good := string(raw)
	for name, bad := range map[string]string{
		"nothing":          "",
		"an unknown field": strings.Replace(good, `"listen"`, `"x": 1, "listen"`, 1),
		"a field twice":    strings.Replace(good, `"listen"`, `"ca": "x", "listen"`, 1),
		"another case":     strings.Replace(good, `"listen"`, `"Listen"`, 1),
		"data behind":      good + "{}",
		"no key":           strings.Replace(good, `"tls.key"`, `""`, 1),
		"no address":       strings.Replace(good, `"127.0.0.1:3"`, `""`, 1),
	} {
		if bad == good {
			t.Fatalf("%s changes nothing", name)
		}
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadConfig(file); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := saved
	none.Members = nil
	if err := none.Save(file); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(file); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	if _, err := c.TLS(); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}
