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
	"github.com/cypherlink/cypherlink/payment"
)

// connectCommand runs a bank's Cypherium Connect.
type connectCommand struct {
	Config string `help:"Configuration file." required:"" type:"existingfile"`
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
}

type customerConfig struct {
	Name   string `json:"name"`
	IBAN   string `json:"iban,omitempty"`
	Other  string `json:"other,omitempty"`
	Closed bool   `json:"closed,omitempty"`
}

// Run is the process.
func (c *connectCommand) Run(s *session) error {
	var config connectConfig
	if err := readConfig(c.Config, &config); err != nil {
		return refusal{err}
	}
	return runProcess(s, config.Node, func(ctx context.Context, log *slog.Logger) (process, error) {
		return newConnect(ctx, &config, log, bare)
	})
}

// connectProcess is a bank.
type connectProcess struct {
	*institution
	connect *payment.Connect
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
	customers, err := newCustomers(c.Customers)
	if err != nil {
		return nil, err
	}
	p := &connectProcess{institution: i}
	p.connect, err = payment.NewConnect(payment.Options{
		Bank: bank, Store: i.store, Ledgers: i.ledgers, Identity: i.identity(),
		Cosigner: i.keys.cosigning, Peers: i.callers, Customers: customers, Random: rand.Reader, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return p, i.serve(ctx, p.connect.Serve)
}

// Run works until ctx ends.
func (p *connectProcess) Run(ctx context.Context) error {
	o := api.DefaultOptions()
	o.Payments, o.Documents = p.connect, p.connect
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
	if b.Margins, err = c.Margins.margins(k.genesis, funding.Asset.Ledger, k.genesis.Chain()); err != nil {
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

// customers are a bank's customers' accounts, by their text.
type customers map[string]customerConfig

func newCustomers(all []customerConfig) (customers, error) {
	b := customers{}
	for _, c := range all {
		if c.IBAN != "" {
			if _, err := cypherlink.ParseIBAN(c.IBAN); err != nil {
				return nil, err
			}
			b["iban "+c.IBAN] = c
			continue
		}
		b["other "+c.Other] = c
	}
	return b, nil
}

// Standing implements payment.Customers.
func (b customers) Standing(_ context.Context, a kyc.Account) (kyc.Standing, string, error) {
	key := "other " + a.Other
	if !a.IBAN.IsZero() {
		key = "iban " + a.IBAN.String()
	}
	c, ok := b[key]
	switch {
	case !ok:
		return kyc.Unknown, "", nil
	case c.Closed:
		return kyc.Closed, c.Name, nil
	}
	return kyc.Open, c.Name, nil
}
