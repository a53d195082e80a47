package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
	"github.com/cypherlink/cypherlink/ledger/book"
)

// ledgerCommand runs an external ledger behind Kafka.
type ledgerCommand struct {
	Config string `help:"Configuration file." required:"" type:"existingfile"`
}

// ledgerConfig configures the operator's process.
type ledgerConfig struct {
	Node   node                `json:"node"`
	Store  string              `json:"store"`
	Ledger cypherlink.LedgerID `json:"ledger"`
	Kafka  kafkaConfig         `json:"kafka"`
	// Embedded runs a broker of its own at the bootstrap address, with the Kafka TLS files as
	// the server's. Otherwise there is one.
	Embedded bool `json:"embedded_broker"`
	// Openings are the accounts with their first balances. They never change.
	Openings []openingConfig `json:"openings"`
}

type openingConfig struct {
	Account cypherlink.Account `json:"account"`
	Asset   assetName          `json:"asset"`
	Balance string             `json:"balance"`
}

// Run is the process.
func (c *ledgerCommand) Run(s *session) error {
	var config ledgerConfig
	if err := readConfig(c.Config, &config); err != nil {
		return refusal{err}
	}
	return runProcess(s, config.Node, func(ctx context.Context, log *slog.Logger) (process, error) {
		return newLedger(ctx, &config, log)
	})
}

// ledgerProcess is the operator's host, and its embedded broker where it has one.
type ledgerProcess struct {
	host  *kafkaledger.Host
	close []func() error
}

func newLedger(ctx context.Context, c *ledgerConfig, log *slog.Logger) (_ *ledgerProcess, err error) {
	p := &ledgerProcess{}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	k, err := c.Node.load()
	if err != nil {
		return nil, err
	}
	charter, err := k.genesis.Charter(c.Ledger)
	if err != nil {
		return nil, err
	}
	if charter.Burns, err = follow.NewVerifier(k.genesis); err != nil {
		return nil, err
	}
	opening, err := c.opening(k.genesis)
	if err != nil {
		return nil, err
	}
	tls, err := c.Kafka.security()
	if err != nil {
		return nil, err
	}
	db, err := openStore(ctx, c.Store, c.Node.Data)
	if err != nil {
		return nil, err
	}
	p.close = append(p.close, db.Close)
	if c.Embedded {
		broker, err := startBroker(c, tls)
		if err != nil {
			return nil, err
		}
		p.close = append(p.close, func() error { broker.Close(); return nil })
	}
	return p, p.open(ctx, c, k, db, tls, charter, opening, log)
}

func (p *ledgerProcess) open(
	ctx context.Context, c *ledgerConfig, k *keys, db *store.Store, tls *tls.Config,
	charter *ledger.Charter, opening []ledger.Balance, log *slog.Logger,
) (err error) {
	broker := kafkaledger.Broker{Addresses: []string{c.Kafka.Bootstrap}, TLS: tls}
	if err := kafkaledger.CreateTopics(ctx, broker, 1, c.Kafka.Commands, c.Kafka.Events); err != nil {
		return err
	}
	p.host, err = kafkaledger.NewHost(ctx, db, kafkaledger.HostOptions{
		Broker: broker, Commands: c.Kafka.Commands, Events: c.Kafka.Events,
		OperatorKey: k.identity.Public(), Log: log,
		Book: book.Options{Charter: *charter, Opening: opening, Signer: k.identity, Log: log},
	})
	if err == nil {
		p.close = append(p.close, p.host.Close)
	}
	return err
}

// Run applies commands until ctx ends.
func (p *ledgerProcess) Run(ctx context.Context) error { return p.host.Run(ctx) }

// Close ends host, broker and store.
func (p *ledgerProcess) Close() error { return closeAll(p.close) }

func (c *ledgerConfig) opening(g *chain.Genesis) ([]ledger.Balance, error) {
	var all []ledger.Balance
	for _, o := range c.Openings {
		asset, err := o.Asset.find(g)
		if err != nil {
			return nil, err
		}
		amount, err := cypherlink.ParseAmount(o.Balance, asset.Asset.Scale)
		if err != nil {
			return nil, fmt.Errorf("opening of %s: %w", o.Account, err)
		}
		all = append(all, ledger.Balance{Account: o.Account, Asset: asset.Asset, Amount: amount})
	}
	return all, nil
}
