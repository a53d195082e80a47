package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/tap"
)

// process is the tap while it runs: a follower, and the listener for readers.
type process struct {
	follower *follow.Follower
	socket   net.Listener
	options  tap.Options
	closers  []func() error
}

// open opens everything. What it returns with an error is closed.
func open(ctx context.Context, c *tap.Config, log *slog.Logger) (_ *process, err error) {
	p := &process{options: tap.DefaultOptions()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	raw, err := os.ReadFile(c.Genesis)
	if err != nil {
		return nil, err
	}
	genesis, err := chain.ParseGenesis(raw)
	if err != nil {
		return nil, err
	}
	id, err := identity(c, genesis)
	if err != nil {
		return nil, err
	}
	if p.options.TLS, err = c.TLS(); err != nil {
		return nil, err
	}
	disk, err := state.OpenPebble(c.Data, state.PebbleOptions{
		Log: log, Exit: func() { os.Exit(exitFailed) },
	})
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, disk.Close)
	o := follow.DefaultOptions(genesis)
	o.Store, o.Log = disk, log
	if o.Sources, err = p.dial(c.Members, genesis, id); err != nil {
		return nil, err
	}
	if p.follower, err = follow.Open(o); err != nil {
		return nil, err
	}
	p.options.Feed, p.options.Log = p.follower, log
	p.socket, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	return p, err
}

// identity is the tap's transport key, by which genesis has to know a regulator: as anybody else
// the members would let it submit.
func identity(c *tap.Config, genesis *chain.Genesis) (peer.Identity, error) {
	id, err := peer.LoadIdentity(c.TLSCert, c.TLSKey)
	if err != nil {
		return peer.Identity{}, err
	}
	for _, p := range genesis.File().Participants {
		if p.TLS == cypherlink.Hash(id.SPKI()) && p.Role == chain.RoleRegulator {
			return id, nil
		}
	}
	return peer.Identity{}, fmt.Errorf("genesis knows no regulator by the TLS key: %w", tap.ErrConfig)
}

// dial starts the connections to the members.
func (p *process) dial(
	addresses map[cypherlink.ParticipantID]string, genesis *chain.Genesis, id peer.Identity,
) ([]follow.Source, error) {
	var sources []follow.Source
	for _, one := range genesis.File().Participants {
		addr, ok := addresses[one.ID]
		if !ok || one.Role != chain.RoleMember {
			continue
		}
		m, err := follow.DialMember(one.Name, addr, peer.SPKI(one.TLS), id)
		if err != nil {
			return nil, err
		}
		p.closers = append(p.closers, m.Close)
		sources = append(sources, m)
	}
	if len(sources) != len(addresses) {
		return nil, fmt.Errorf("an address of who is no member: %w", tap.ErrConfig)
	}
	return sources, nil
}

// run works until ctx ends, which is no error.
func (p *process) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.follower.Run(ctx) })
	group.Go(func() error { return tap.Serve(ctx, p.socket, p.options) })
	return group.Wait()
}

// close releases everything but the socket, which is run's, the last opened first.
func (p *process) close() error {
	var errs []error
	for i := range p.closers {
		errs = append(errs, p.closers[len(p.closers)-1-i]())
	}
	return errors.Join(errs...)
}
