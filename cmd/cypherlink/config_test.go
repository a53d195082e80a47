package main

import (
	"errors"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/connector"
)

func TestABrokerInTheClearIsOnLoopback(t *testing.T) {
	some := tlsFiles{Cert: "nowhere.pem", Key: "nowhere.key", CA: "nowhere.ca"}
	for _, tt := range []struct {
		name   string
		config kafkaConfig
		want   error
	}{
		{"loopback without TLS files", kafkaConfig{Bootstrap: "127.0.0.1:9092"}, nil},
		{"loopback of IPv6 without TLS files", kafkaConfig{Bootstrap: "[::1]:9092"}, nil},
		{"another machine without TLS files", kafkaConfig{Bootstrap: "10.0.0.1:9092"}, errConfig},
		{"a name without TLS files", kafkaConfig{Bootstrap: "localhost:9092"}, errConfig},
		{"no port", kafkaConfig{Bootstrap: "127.0.0.1"}, errConfig},
		{"loopback with TLS files that are not there", kafkaConfig{Bootstrap: "127.0.0.1:9092", TLS: some}, errTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tls, err := tt.config.security()
			if !errors.Is(err, tt.want) || tls != nil {
				t.Errorf("%v, %v", tls, err)
			}
		})
	}
}

// Where legs may move in channels the margins cover that nothing is released late in a lock's life. Attack H6, a
// difference of the two expiries that is too small for the ledgers' clocks, is refused before anything runs.
func TestMarginsInChannels(t *testing.T) {
	dir := t.TempDir()
	file, _, err := draw(dir, ruleSets{cypherlink.Hash{1}, cypherlink.Hash{2}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := file.Encode()
	if err != nil {
		t.Fatal(err)
	}
	g, err := chain.ParseGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	with, without := localChannels(1, assetDCEP()), channelsConfig{}
	for _, tt := range []struct {
		name                string
		edit                func(m *marginConfig)
		source, destination cypherlink.LedgerID
		channels, chain     bool // whether they hold in channels, and on the chain alone
	}{
		{"as they are", func(*marginConfig) {}, ledgerDE, ledgerCypherium, true, true},
		{"as they are, from a channel", func(*marginConfig) {}, ledgerCypherium, ledgerDE, true, true},
		{
			"a payee that confirms late", func(m *marginConfig) { m.ConfirmWindow -= jsonDuration(time.Second) },
			ledgerDE, ledgerCypherium, false, true,
		},
		{
			"a relay that takes its source late", func(m *marginConfig) { m.RelayWindow -= jsonDuration(time.Second) },
			ledgerCypherium, ledgerDE, false, true,
		},
		{
			"a relay that has too little time", func(m *marginConfig) { m.RelayWindow /= 2 },
			ledgerDE, ledgerCypherium, false, false,
		},
		{"H6: clocks an hour apart", func(m *marginConfig) {
			t := m.Measured[ledgerDE]
			t.Skew = jsonDuration(time.Hour)
			m.Measured[ledgerDE] = t
		}, ledgerDE, ledgerCypherium, false, false},
	} {
		m := localMargins()
		tt.edit(&m)
		_, err := m.margins(g, tt.source, tt.destination, with.late())
		if (err == nil) != tt.channels || err != nil && !errors.Is(err, connector.ErrMargin) {
			t.Errorf("%s, in channels: %v", tt.name, err)
		}
		_, err = m.margins(g, tt.source, tt.destination, without.late())
		if (err == nil) != tt.chain || err != nil && !errors.Is(err, connector.ErrMargin) {
			t.Errorf("%s, on the chain: %v", tt.name, err)
		}
	}
}
