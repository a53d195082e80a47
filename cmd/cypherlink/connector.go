package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/payment"
)

// connectorCommand runs a clearing bank's connector.
type connectorCommand struct {
	Config   string `help:"Configuration file." required:"" type:"existingfile"`
	Restored bool   `help:"The store is an older copy: sign nothing in a channel before its generations have ended."`
}

// connectorConfig configures a clearing bank.
type connectorConfig struct {
	institutionConfig
	Prices []priceConfig `json:"prices"`
	// Valid is how long a quote may be used, Slack by how much a payer's clock may differ.
	Valid jsonDuration `json:"quotes_valid_for"`
	Slack jsonDuration `json:"clock_slack"`
	// Channels are how the clearing bank runs its channels; without assets it has none.
	Channels channelsConfig `json:"channels"`

	restored bool
}

// priceConfig is a price between two assets: Num minor units of To per Den minor units of
// From, and a fee in From.
type priceConfig struct {
	From assetName `json:"from"`
	To   assetName `json:"to"`
	Num  int64     `json:"numerator"`
	Den  int64     `json:"denominator"`
	Fee  string    `json:"fee"`
}

// Run is the process.
func (c *connectorCommand) Run(s *session) error {
	var config connectorConfig
	if err := readConfig(c.Config, &config); err != nil {
		return refusal{err}
	}
	config.restored = c.Restored
	return runProcess(s, config.Node, func(ctx context.Context, log *slog.Logger) (process, error) {
		return newConnector(ctx, &config, log, bare())
	})
}

// connectorProcess is a clearing bank.
type connectorProcess struct {
	*institution
	clearing *payment.Clearing
	// channels tells whether the clearing bank has any to serve.
	channels bool
}

func newConnector(
	ctx context.Context, c *connectorConfig, log *slog.Logger, through lens,
) (_ *connectorProcess, err error) {
	i, err := newInstitution(ctx, &c.institutionConfig, log, through)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	prices, err := pricesOf(c.Prices, i.keys)
	if err != nil {
		return nil, err
	}
	dealer := &payment.Dealer{
		Genesis: i.keys.genesis, ID: i.keys.self.ID,
		Valid: time.Duration(c.Valid), Slack: time.Duration(c.Slack),
	}
	for pair := range prices {
		dealer.Margins, err = c.Margins.margins(i.keys.genesis, pair[0].Ledger, pair[1].Ledger, c.Channels.late())
		if err != nil {
			return nil, err
		}
	}
	tellers, err := c.Channels.open(i, through.peers(i.callers), c.restored)
	if err != nil {
		return nil, err
	}
	venues, answer, err := i.venues(tellers, through)
	if err != nil {
		return nil, err
	}
	p := &connectorProcess{institution: i, channels: tellers != nil}
	p.clearing, err = payment.NewClearing(payment.ClearingOptions{
		Dealer: dealer, Store: i.store, Venues: venues, Identity: i.identity(),
		Cosigner: i.keys.cosigning, Prices: prices, Tellers: tellers,
		Random: rand.Reader, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return p, i.serve(ctx, through.answer(answer(p.clearing.Serve)))
}

// Run works until ctx ends.
func (p *connectorProcess) Run(ctx context.Context) error {
	o := api.DefaultOptions()
	o.Quotes = p.clearing
	if p.channels {
		o.Channels = p.clearing.Tellers
	}
	return p.run(ctx, o, p.clearing.Run)
}

// prices are fixed by configuration. It implements payment.Prices.
type prices map[[2]cypherlink.Asset]connector.Price

func pricesOf(configured []priceConfig, k *keys) (prices, error) {
	all := prices{}
	for _, p := range configured {
		from, err := p.From.find(k.genesis)
		if err != nil {
			return nil, err
		}
		to, err := p.To.find(k.genesis)
		if err != nil {
			return nil, err
		}
		fee, err := cypherlink.ParseAmount(p.Fee, from.Asset.Scale)
		if err != nil {
			return nil, err
		}
		rate := cypherlink.Rate{Num: p.Num, Den: p.Den}
		if err := rate.Valid(); err != nil {
			return nil, err
		}
		all[[2]cypherlink.Asset{from.Asset, to.Asset}] = connector.Price{Rate: rate, Fee: fee}
	}
	return all, nil
}

// Price is the configured price.
func (p prices) Price(_ context.Context, source, destination cypherlink.Asset) (connector.Price, bool) {
	price, ok := p[[2]cypherlink.Asset{source, destination}]
	return price, ok
}
