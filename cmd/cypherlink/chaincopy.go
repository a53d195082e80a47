package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/chain/submit"
	"github.com/cypherlink/cypherlink/internal/peer"
)

// chainCopy is a process's own verified copy of the chain, in its data folder, and the members that
// it asks.
type chainCopy struct {
	follow  *follow.Follower
	members []*submit.Member
	close   []func() error
}

// openChainCopy opens the copy; it keeps up with the chain while follow runs. The members are those
// of genesis that the node has an address of.
func openChainCopy(n *node, k *keys, log *slog.Logger) (_ *chainCopy, err error) {
	c := &chainCopy{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	disk, err := state.OpenPebble(filepath.Join(string(n.Data), "chain"), state.PebbleOptions{
		Log: log, Exit: func() { os.Exit(exitFailed) },
	})
	if err != nil {
		return nil, err
	}
	c.close = append(c.close, disk.Close)
	o := follow.DefaultOptions(k.genesis)
	o.Store, o.Log = disk, log
	for _, p := range k.genesis.File().Participants {
		addr, ok := n.Peers[p.ID]
		if p.Role != chain.RoleMember || !ok {
			continue
		}
		m, err := submit.Dial(p.Name, addr, peer.SPKI(p.TLS), k.tls)
		if err != nil {
			return nil, err
		}
		c.close = append(c.close, m.Close)
		c.members = append(c.members, m)
		o.Sources = append(o.Sources, m)
	}
	c.follow, err = follow.Open(o)
	return c, err
}

// Close releases everything, the last opened first.
func (c *chainCopy) Close() error { return closeAll(c.close) }
