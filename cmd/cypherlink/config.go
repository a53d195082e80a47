package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/peer"
)

// errConfig means that a configuration file cannot be used as it stands.
var errConfig = errors.New("unusable configuration")

// path is a file or folder of a configuration; one that is not absolute counts from the
// configuration file's own folder.
type path string

// node is what every process of a network needs. Keys lie in files that only their owner may
// read.
type node struct {
	Genesis  path `json:"genesis"`
	Identity path `json:"identity_key"`
	// Cosigning is the BLS key; an operator has one in genesis and signs nothing with it.
	Cosigning path `json:"cosigning_key"`
	TLSCert   path `json:"tls_cert"`
	TLSKey    path `json:"tls_key"`
	// Data is the process's own folder.
	Data path `json:"data"`
	// Listen is the address for other institutions; empty for a process that only calls.
	Listen string `json:"listen"`
	// Peers are the addresses of those that the process calls.
	Peers map[cypherlink.ParticipantID]string `json:"peers"`
}

type memberConfig struct {
	Node node `json:"node"`
}

type validatorConfig struct {
	Node node `json:"node"`
	// Assets are those that the Validator judges, all by the one rule set.
	Assets  []assetName `json:"assets"`
	RuleSet path        `json:"rule_set"`
	// Screening are the names against which parties are held.
	Screening []string `json:"screening"`
	// Store is a DSN; empty for the embedded store in the data folder.
	Store string `json:"store"`
	// Valid is how long a verdict is good.
	Valid jsonDuration `json:"verdicts_valid_for"`
}

// assetName names an asset of genesis.
type assetName struct {
	Ledger cypherlink.LedgerID `json:"ledger"`
	Code   string              `json:"code"`
}

// kafkaConfig is how a process reaches a broker: by TLS with certificates on both sides, or in
// the clear where no TLS files are named and the broker is on loopback.
type kafkaConfig struct {
	Bootstrap string   `json:"bootstrap"`
	TLS       tlsFiles `json:"tls"`
	Commands  string   `json:"commands_topic"`
	Events    string   `json:"events_topic"`
}

// security is the broker's TLS; nil is in the clear.
func (k kafkaConfig) security() (*tls.Config, error) {
	if k.TLS != (tlsFiles{}) {
		return k.TLS.config()
	}
	host, _, err := net.SplitHostPort(k.Bootstrap)
	if err != nil {
		return nil, fmt.Errorf("broker %q: %w: %w", k.Bootstrap, errConfig, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("no TLS files for broker %s, which is not on loopback: %w", k.Bootstrap, errConfig)
	}
	return nil, nil
}

// apiConfig is where the REST API listens, and whose callers it accepts.
type apiConfig struct {
	Listen string   `json:"listen"`
	TLS    tlsFiles `json:"tls"`
}

// marginConfig is connector.Margins, and what they rest on.
type marginConfig struct {
	Resend          jsonDuration                         `json:"resend"`
	SourceHold      jsonDuration                         `json:"source_hold"`
	DestinationHold jsonDuration                         `json:"destination_hold"`
	MaxHold         jsonDuration                         `json:"max_hold"`
	RelayWindow     jsonDuration                         `json:"relay_window"`
	AcceptWindow    jsonDuration                         `json:"accept_window"`
	ConfirmWindow   jsonDuration                         `json:"confirm_window"`
	Restart         jsonDuration                         `json:"restart"`
	Measured        map[cypherlink.LedgerID]timingConfig `json:"measured"`
}

// timingConfig is connector.Timing but for what genesis says.
type timingConfig struct {
	Inclusion jsonDuration `json:"inclusion"`
	Answer    jsonDuration `json:"answer"`
	Skew      jsonDuration `json:"skew"`
}

// jsonDuration is a duration in the form of time.ParseDuration, such as "1.5s".
type jsonDuration time.Duration

// MarshalText is the form of time.Duration.
//
//nolint:unparam // encoding.TextMarshaler
func (d jsonDuration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText takes the form of time.ParseDuration.
func (d *jsonDuration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = jsonDuration(v)
	return err
}

// margins checks every relation for the two ledgers and gives the margins. Where legs on the chain may move in
// channels, so long before the expiry of a lock it is too late to be paid: for a payee, and for a relay's source.
func (c marginConfig) margins(
	g *chain.Genesis, source, destination cypherlink.LedgerID, late time.Duration,
) (connector.Margins, error) {
	m := connector.Margins{
		Resend: time.Duration(c.Resend), SourceHold: time.Duration(c.SourceHold),
		DestinationHold: time.Duration(c.DestinationHold), MaxHold: time.Duration(c.MaxHold),
		RelayWindow: time.Duration(c.RelayWindow), AcceptWindow: time.Duration(c.AcceptWindow),
		ConfirmWindow: time.Duration(c.ConfirmWindow), Restart: time.Duration(c.Restart),
	}
	s, err := c.timing(g, source)
	if err != nil {
		return m, err
	}
	d, err := c.timing(g, destination)
	if err != nil {
		return m, err
	}
	if source == g.Chain() {
		s.Inclusion = max(s.Inclusion, late)
	}
	if destination == g.Chain() && m.ConfirmWindow < late {
		return m, fmt.Errorf("confirm window is %s, at least %s in channels: %w",
			m.ConfirmWindow, late, connector.ErrMargin)
	}
	return m, m.Valid(s, d)
}

func (c marginConfig) timing(g *chain.Genesis, id cypherlink.LedgerID) (connector.Timing, error) {
	t, ok := c.Measured[id]
	if !ok {
		return connector.Timing{}, fmt.Errorf("no times are measured for ledger %s: %w", id, errConfig)
	}
	charter, err := g.Charter(id)
	if err != nil {
		return connector.Timing{}, err
	}
	return connector.Timing{
		Inclusion: time.Duration(t.Inclusion), Answer: time.Duration(t.Answer), Skew: time.Duration(t.Skew),
		MinExpiry: time.Duration(charter.MinExpiry) * time.Second,
	}, nil
}

// readConfig reads a strict JSON file into c and makes its paths absolute.
func readConfig(file string, c any) error {
	b, err := os.ReadFile(file) //nolint:gosec // the operator's file
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return fmt.Errorf("%s: %w: %w", file, errConfig, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: something follows the object: %w", file, errConfig)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	absolute(reflect.ValueOf(c).Elem(), dir)
	return nil
}

// absolute completes every path in v.
func absolute(v reflect.Value, dir string) {
	switch v.Kind() { //nolint:exhaustive // what cannot hold a path is left alone
	case reflect.Struct:
		for _, field := range v.Fields() {
			absolute(field, dir)
		}
	case reflect.String:
		if v.Type() == reflect.TypeFor[path]() && v.String() != "" && !filepath.IsAbs(v.String()) {
			v.SetString(filepath.Join(dir, v.String()))
		}
	default:
	}
}

func writeConfig(file string, c any) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), fileMode)
}

// keys are a process's own.
type keys struct {
	genesis   *chain.Genesis
	self      *chain.Participant
	identity  *sign.Identity
	cosigning *sign.Key
	tls       peer.Identity
}

// load reads genesis and keys, and checks that genesis knows exactly these keys.
func (n node) load() (*keys, error) {
	raw, err := os.ReadFile(string(n.Genesis))
	if err != nil {
		return nil, err
	}
	k := &keys{}
	if k.genesis, err = chain.ParseGenesis(raw); err != nil {
		return nil, err
	}
	if k.identity, err = sign.LoadIdentity(string(n.Identity)); err != nil {
		return nil, err
	}
	if k.cosigning, err = sign.LoadKey(string(n.Cosigning)); err != nil {
		return nil, err
	}
	if k.tls, err = peer.LoadIdentity(string(n.TLSCert), string(n.TLSKey)); err != nil {
		return nil, err
	}
	self, ok := k.genesis.Participant(cypherlink.NewParticipantID(k.identity.Public()))
	switch {
	case !ok:
		return nil, fmt.Errorf("genesis does not know the identity key: %w", errConfig)
	case self.Key != k.cosigning.Public():
		return nil, fmt.Errorf("genesis has another cosigning key for %s: %w", self.Name, errConfig)
	case self.TLS != cypherlink.Hash(k.tls.SPKI()):
		return nil, fmt.Errorf("genesis has another TLS key for %s: %w", self.Name, errConfig)
	}
	k.self = self
	return k, nil
}
