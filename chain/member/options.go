package member

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/peer"
)

// ErrOptions means that a member cannot be run as it is asked to.
var ErrOptions = errors.New("member: unusable options")

// Options is what a member is made of.
type Options struct {
	Genesis *chain.Genesis
	// Identity signs proposals, Key votes and timeouts. Both are those of one member in
	// Genesis, as is TLS.
	Identity *sign.Identity
	Key      *sign.Key
	TLS      peer.Identity
	// Data is the folder of the member, made by Create.
	Data string
	// Listen is the address to serve on, such as "127.0.0.1:7001".
	Listen string
	// Peers are the addresses of the other members.
	Peers map[cypherlink.ParticipantID]string
	// Now is the clock by which blocks are timed and views run out, time.Now if nil. It never
	// goes back, and is within 500 ms of the other members'.
	Now func() time.Time
	// Log is told what happens.
	Log *slog.Logger
	// Limits bound what the member holds for others: DefaultLimits but for a reason.
	Limits Limits
}

// Limits bound what a member holds for others.
type Limits struct {
	// Transactions and Bytes bound the pool of transactions that are not final.
	Transactions int
	Bytes        int
	// Connections is the most connections of all participants, Calls the most calls of one
	// participant that run at a time.
	Connections int
	Calls       int
}

// DefaultLimits are a pool of 65,536 transactions or 64 MiB, 256 connections, and 256 calls of
// one participant.
func DefaultLimits() Limits {
	return Limits{Transactions: 1 << 16, Bytes: 64 << 20, Connections: 256, Calls: 256}
}

// Validate reports ErrOptions unless everything is set and the pool has room for a block.
func (o *Options) Validate() error {
	switch {
	case o.Genesis == nil || o.Identity == nil || o.Key == nil || o.Log == nil:
		return fmt.Errorf("genesis, key or log is missing: %w", ErrOptions)
	case o.Data == "" || o.Listen == "":
		return fmt.Errorf("folder %q, address %q: %w", o.Data, o.Listen, ErrOptions)
	case o.Limits.Transactions < 1 || o.Limits.Bytes < chain.MaxPayload ||
		o.Limits.Connections < 1 || o.Limits.Calls < 1:
		return fmt.Errorf("limits %+v: %w", o.Limits, ErrOptions)
	}
	return nil
}

// self is the member's index in the committee; ErrOptions if it is in none, or if genesis has
// other keys or no address for it.
func (o *Options) self(c *chain.Committee) (int, error) {
	id := cypherlink.NewParticipantID(o.Identity.Public())
	self, ok := c.Roster().Index(id)
	if !ok {
		return 0, fmt.Errorf("%s is no member of the committee: %w", id, ErrOptions)
	}
	members := c.KeyBlock().Members
	if members[self].Key != o.Key.Public() || members[self].TLS != cypherlink.Hash(o.TLS.SPKI()) {
		return 0, fmt.Errorf("genesis has other keys for member %s: %w", id, ErrOptions)
	}
	for i, m := range members {
		if i != self && o.Peers[m.ID] == "" {
			return 0, fmt.Errorf("no address of member %s: %w", m.ID, ErrOptions)
		}
	}
	return self, nil
}
