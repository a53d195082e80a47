package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/chainledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/kafkaledger"
	"github.com/cypherlink/cypherlink/payment"
)

// identity is an institution's Ed25519 key under its name. It implements connector.Signer.
type identity struct {
	*sign.Identity
	id cypherlink.ParticipantID
}

// ID is the institution.
func (i identity) ID() cypherlink.ParticipantID { return i.id }

// Sign signs a frame of a type that may be signed more than once.
func (i identity) Sign(f cosi.Frame) ([64]byte, error) { return i.Identity.Sign(f) }

// institutionConfig is what a bank and a clearing bank have in common.
type institutionConfig struct {
	Node node `json:"node"`
	// Store is a DSN; empty for the embedded store in the data folder.
	Store   string       `json:"store"`
	Kafka   kafkaConfig  `json:"kafka"`
	API     apiConfig    `json:"api"`
	Margins marginConfig `json:"margins"`
}

// institution is a bank or a clearing bank that reaches both ledgers: the chain through its
// own follower, the external one through its Kafka gateway.
type institution struct {
	config  *institutionConfig
	keys    *keys
	log     *slog.Logger
	names   *directory
	store   *store.Store
	callers *callers
	follow  *follow.Follower
	chain   *chainledger.Ledger
	gateway *kafkaledger.Gateway
	ledgers map[cypherlink.LedgerID]ledger.Ledger
	ramps   map[cypherlink.LedgerID]ledger.Ramp
	ramp    *connector.Ramp
	socket  net.Listener // of the API
	close   []func() error
}

// lens is what an institution sees and hears through: bare, but in the demonstration.
type lens struct {
	// ledger is for its ledgers. One that is a ledger.Ramp too is what crosses goes through.
	ledger func(ledger.Ledger) ledger.Ledger
	// peers is for what it asks other institutions, answer for what they ask it.
	peers  func(payment.Peers) payment.Peers
	answer func(answer) answer
	// told is told of each payment of a bank after each durable change; nil if nobody is.
	told func(*payment.Payment)
}

func bare() lens {
	return lens{
		ledger: func(l ledger.Ledger) ledger.Ledger { return l },
		peers:  func(p payment.Peers) payment.Peers { return p },
		answer: func(a answer) answer { return a },
	}
}

// newInstitution opens everything that an institution works with. What it returns with an
// error is closed.
func newInstitution(
	ctx context.Context, c *institutionConfig, log *slog.Logger, through lens,
) (_ *institution, err error) {
	i := &institution{
		config: c, log: log,
		ledgers: map[cypherlink.LedgerID]ledger.Ledger{}, ramps: map[cypherlink.LedgerID]ledger.Ramp{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.Close())
		}
	}()
	if i.keys, err = c.Node.load(); err != nil {
		return nil, err
	}
	i.names = newDirectory(i.keys.genesis)
	if i.store, err = openStore(ctx, c.Store, c.Node.Data); err != nil {
		return nil, err
	}
	i.close = append(i.close, i.store.Close)
	i.callers = newCallers(i.keys.tls, i.keys.genesis, c.Node.Peers)
	i.close = append(i.close, i.callers.Close)
	if err = i.openChain(); err != nil {
		return nil, err
	}
	if err = i.openKafka(); err != nil {
		return nil, err
	}
	for id, l := range i.ledgers {
		i.ledgers[id] = through.ledger(l)
		if r, ok := i.ledgers[id].(ledger.Ramp); ok {
			i.ramps[id] = r
		}
	}
	i.openRamp()
	if i.socket, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.API.Listen); err != nil {
		return nil, err
	}
	i.close = append(i.close, func() error {
		if err := i.socket.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil // the server closed it
	})
	return i, nil
}

// openChain opens the follower and the chain as a ledger.
func (i *institution) openChain() error {
	g := i.keys.genesis
	c, err := openChainCopy(&i.config.Node, i.keys, i.log)
	if err != nil {
		return err
	}
	i.close = append(i.close, c.Close)
	i.follow = c.follow
	if i.chain, err = chainledger.New(g, c.follow, c.members); err != nil {
		return err
	}
	i.ledgers[g.Chain()], i.ramps[g.Chain()] = i.chain, i.chain
	return nil
}

// openKafka opens the gateway of the one external ledger.
func (i *institution) openKafka() error {
	g, k := i.keys.genesis, i.config.Kafka
	tls, err := k.security()
	if err != nil {
		return err
	}
	for _, l := range g.File().Ledgers {
		if l.Kind != chain.External {
			continue
		}
		key, ok := g.Key(l.Operator)
		if !ok {
			return fmt.Errorf("no operator of ledger %s: %w", l.ID, errConfig)
		}
		i.gateway = kafkaledger.NewGateway(i.store, kafkaledger.Options{
			Broker:   kafkaledger.Broker{Addresses: []string{k.Bootstrap}, TLS: tls},
			Commands: k.Commands, Events: k.Events,
			Operator:    ledger.Operator{Network: g.Network(), Ledger: l.ID, Key: key},
			Participant: i.keys.self.ID, Signer: i.keys.identity, Log: i.log,
		})
		i.close = append(i.close, i.gateway.Close)
		i.ledgers[l.ID], i.ramps[l.ID] = i.gateway, i.gateway
		return nil
	}
	return fmt.Errorf("genesis has no external ledger: %w", errConfig)
}

// crossingResend is how long a crossing's command may stay unanswered before another is handed in.
const crossingResend = 5 * time.Second

// openRamp makes what carries the institution's value between the external ledger and the chain.
func (i *institution) openRamp() {
	o := connector.RampOptions{
		Store: i.store, Ledgers: i.ramps, To: map[cypherlink.Asset]cypherlink.LedgerID{},
		Signer: i.identity(), Network: i.keys.genesis.Network(), Resend: crossingResend, Log: i.log,
	}
	assets := i.keys.genesis.File().Assets
	for n := range assets {
		if a := &assets[n]; a.Backed() {
			o.To[a.Asset], o.To[a.Backing] = a.Backing.Ledger, a.Asset.Ledger
		}
	}
	i.ramp = connector.NewRamp(o)
}

func (i *institution) identity() identity { return identity{i.keys.identity, i.keys.self.ID} }

// serve listens for the talk of other institutions.
func (i *institution) serve(ctx context.Context, a answer) error {
	l, err := i.names.serve(ctx, i.config.Node.Listen, i.keys.tls, i.log, a)
	if err != nil {
		return err
	}
	i.close = append(i.close, l.Close)
	return nil
}

// run works until ctx ends: the follower, the gateway, the REST API, and work.
func (i *institution) run(ctx context.Context, o api.Options, work func(context.Context) error) error {
	tls, err := i.config.API.TLS.config()
	if err != nil {
		return err
	}
	o.TLS, o.Log, o.Genesis, o.Crossings = tls, i.log, i.keys.genesis, &keyedRamp{ramp: i.ramp}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return i.follow.Run(ctx) })
	group.Go(func() error { return i.gateway.Run(ctx) })
	group.Go(func() error { return i.ramp.Run(ctx) })
	group.Go(func() error { return api.Serve(ctx, i.socket, o) })
	group.Go(func() error { return work(ctx) })
	return group.Wait()
}

// Close releases everything, the last opened first.
func (i *institution) Close() error { return closeAll(i.close) }
