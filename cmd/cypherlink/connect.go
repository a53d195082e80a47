package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger-adapters/laneledger"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/payment/books"
)

// connectCommand runs a bank's Cypherium Connect.
type connectCommand struct {
	Config   string `help:"Configuration file." required:"" type:"existingfile"`
	Restored bool   `help:"The store is an older copy: sign nothing in a channel before its generations have ended."`
}

// connectConfig configures a bank.
type connectConfig struct {
	institutionConfig
	// Funding is the asset with which the bank pays, Connector the clearing bank through
	// which it pays into others.
	Funding   assetName                `json:"funding"`
	Connector cypherlink.ParticipantID `json:"connector"`
	// Dearest are the dearest prices at which the bank pays from its funding into others.
	Dearest []priceConfig `json:"dearest_prices"`
	// Address is the ILP address below which the bank is paid; Secret is a file of 32 bytes
	// in lower-case hexadecimal, from which its addresses are made.
	Address string `json:"ilp_address"`
	Secret  path   `json:"ilp_secret"`
	// Customers are the accounts that the bank keeps.
	Customers []customerConfig `json:"customers"`
	// Screening are the names against which parties are held.
	Screening []string     `json:"screening"`
	Negotiate jsonDuration `json:"negotiate_within"`
	Approve   jsonDuration `json:"approve_within"`
	// Channels are how the bank runs its channels; without assets it has none.
	Channels channelsConfig `json:"channels"`

	restored bool
}

type customerConfig struct {
	Name   string `json:"name"`
	IBAN   string `json:"iban,omitempty"`
	Other  string `json:"other,omitempty"`
	Closed bool   `json:"closed,omitempty"`
	// Opening is what the account has when the bank first starts.
	Opening []balanceConfig `json:"opening,omitempty"`
}

type balanceConfig struct {
	Asset   assetName `json:"asset"`
	Balance string    `json:"balance"`
}

// Run is the process.
func (c *connectCommand) Run(s *session) error {
	var config connectConfig
	if err := readConfig(c.Config, &config); err != nil {
		return refusal{err}
	}
	config.restored = c.Restored
	return runProcess(s, config.Node, func(ctx context.Context, log *slog.Logger) (process, error) {
		return newConnect(ctx, &config, log, bare())
	})
}

// connectProcess is a bank.
type connectProcess struct {
	*institution
	connect *payment.Connect
	books   *books.Books
	// channels tells whether the bank has any to serve.
	channels bool
}

func newConnect(
	ctx context.Context, c *connectConfig, log *slog.Logger, through lens,
) (_ *connectProcess, err error) {
	i, err := newInstitution(ctx, &c.institutionConfig, log, through)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	bank, err := c.bank(i.keys)
	if err != nil {
		return nil, err
	}
	accounts, err := c.accounts(i.keys)
	if err != nil {
		return nil, err
	}
	customers, err := books.Open(ctx, i.store, accounts)
	if err != nil {
		return nil, err
	}
	peers := through.peers(i.callers)
	tellers, err := c.Channels.open(i, peers, c.restored)
	if err != nil {
		return nil, err
	}
	venues, answer, err := i.venues(tellers, through)
	if err != nil {
		return nil, err
	}
	venues.Witness = &laneledger.Witness{
		Network: bank.Genesis.Network(), Ledger: bank.Genesis.Chain(), Bank: bank.Connector, Peers: peers,
		Roll: i.follow.Registry,
	}
	p := &connectProcess{institution: i, books: customers, channels: tellers != nil}
	p.connect, err = payment.NewConnect(payment.Options{
		Bank: bank, Store: i.store, Venues: venues, Identity: i.identity(),
		Cosigner: i.keys.cosigning, Peers: peers, Customers: customers, Random: rand.Reader, Log: log,
		Changed: through.told, Tellers: tellers, Books: customers, Anchors: i.follow,
	})
	if err != nil {
		return nil, err
	}
	return p, i.serve(ctx, through.answer(answer(p.connect.Serve)))
}

// Run works until ctx ends.
func (p *connectProcess) Run(ctx context.Context) error {
	o := api.DefaultOptions()
	o.Payments, o.Documents = p.connect, p.connect
	if p.channels {
		o.Channels = p.connect.Tellers
	}
	return p.run(ctx, o, p.connect.Run)
}

// bank is who the bank is and how it deals.
func (c *connectConfig) bank(k *keys) (*payment.Bank, error) {
	funding, err := c.Funding.find(k.genesis)
	if err != nil {
		return nil, err
	}
	list, err := kyc.NewList(c.Screening)
	if err != nil {
		return nil, err
	}
	b := &payment.Bank{
		Genesis: k.genesis, ID: k.self.ID, Funding: funding.Asset, Connector: c.Connector,
		Dearest:      map[cypherlink.Asset]connector.Price{},
		Requirements: &kyc.Requirements{List: list, Hit: 900, Full: 950, Close: 850},
		Patience: payment.Patience{
			Negotiate: time.Duration(c.Negotiate), Approve: time.Duration(c.Approve),
			Resend: time.Duration(c.Margins.Resend),
		},
	}
	dearest, err := pricesOf(c.Dearest, k)
	if err != nil {
		return nil, err
	}
	for pair, price := range dearest {
		if pair[0] == funding.Asset {
			b.Dearest[pair[1]] = price
		}
	}
	if b.Margins, err = c.Margins.margins(k.genesis, funding.Asset.Ledger, k.genesis.Chain(), c.Channels.late()); err != nil {
		return nil, err
	}
	b.DirectHold = time.Duration(c.Channels.Hold)
	if b.Direct, err = c.Channels.assets(k.genesis); err != nil {
		return nil, err
	}
	if b.Base, err = ilp.ParseAddress(c.Address); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(string(c.Secret))
	if err != nil {
		return nil, err
	}
	return b, cypherlink.DecodeHex(b.Secret[:], text)
}

// accounts are the customers' accounts.
func (c *connectConfig) accounts(k *keys) ([]books.Account, error) {
	var all []books.Account
	for _, customer := range c.Customers {
		a := books.Account{Holder: customer.Name, Standing: kyc.Open, Number: kyc.Account{Other: customer.Other}}
		if customer.Closed {
			a.Standing = kyc.Closed
		}
		if customer.IBAN != "" {
			iban, err := cypherlink.ParseIBAN(customer.IBAN)
			if err != nil {
				return nil, err
			}
			a.Number.IBAN = iban
		}
		for _, b := range customer.Opening {
			asset, err := b.Asset.find(k.genesis)
			if err != nil {
				return nil, err
			}
			amount, err := cypherlink.ParseAmount(b.Balance, asset.Asset.Scale)
			if err != nil {
				return nil, err
			}
			a.Opening = append(a.Opening, payment.Money{Asset: asset.Asset, Amount: amount})
		}
		all = append(all, a)
	}
	return all, nil
}
