// Package followtest is the chain for the tests of what stands on it: without consensus, without
// members, and without the way to them.
//
// Its noun is the Chain: the real state of a chaintest.Network, with blocks that its committee
// certifies as soon as they are made, in the place of a follower and of those who submit. It also
// fails as they do, when a test says so. It refuses to prove what it shows: receipts need a real
// follower. Only tests import it.
package followtest

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
)

// Chain is the chain as a participant has it: what is handed in stands in the next block, which is
// final at once.
type Chain struct {
	// AtOnce makes a block of whatever is handed in, without waiting for one.
	AtOnce bool
	// Still makes its time pass only by Advance, and by a millisecond a block; it is the clock's otherwise.
	Still bool

	tb      testing.TB
	network *chaintest.Network

	mu      sync.Mutex
	state   *state.State
	qc      chain.QC
	nowMS   int64
	changed chan struct{}
	pool    map[cypherlink.Hash]*state.Transaction
	refused map[cypherlink.Hash]error
	seen    map[string]int
	halted  bool
	viewing func() error
	ignored func(state.Body) bool
	waiting bool
}

// New makes the chain of a network, and its committee, if it has none yet.
func New(tb testing.TB, n *chaintest.Network) *Chain {
	tb.Helper()
	s, err := state.Open(state.NewMemory(), n.Genesis)
	if err != nil {
		tb.Fatal(err)
	}
	if n.Committee == nil {
		n.SetRoots(tb, s.Header().Roots)
	}
	return &Chain{
		tb: tb, network: n, state: s, qc: n.Committee.Genesis(), nowMS: s.Header().TimeMS + 1000,
		changed: make(chan struct{}), pool: map[cypherlink.Hash]*state.Transaction{},
		refused: map[cypherlink.Hash]error{}, seen: map[string]int{},
	}
}

// Run makes a block every so often, unless it is halted, until ctx ends.
func (c *Chain) Run(ctx context.Context, every time.Duration) {
	for tick := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			if c.stands() {
				continue
			}
			if err := c.Block(); err != nil {
				c.tb.Error(err)
			}
		}
	}
}

func (c *Chain) stands() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.halted
}

// Halt has Run make no blocks, or go on.
func (c *Chain) Halt(halted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halted = halted
}

// Block makes a block of these and of what waits; there is none if one of these is refused.
func (c *Chain) Block(bodies ...state.Body) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	given := map[cypherlink.Hash]bool{}
	var txs []*state.Transaction
	for _, body := range bodies {
		tx := state.NewTransaction(body)
		given[tx.Hash], txs = true, append(txs, tx)
	}
	for _, tx := range c.pool {
		txs = append(txs, tx)
	}
	if !c.Still {
		c.nowMS = time.Now().UnixMilli()
	}
	c.nowMS = max(c.nowMS, c.state.Header().TimeMS+1)
	built, err := c.state.Build(c.state.Final(), c.state.Header().Height+1, c.nowMS, txs)
	if err != nil {
		return err
	}
	for _, l := range built.LeftOut {
		if given[l.Transaction.Hash] {
			return l.Err
		}
		c.refused[l.Transaction.Hash] = l.Err
	}
	for _, tx := range txs {
		if _, no := c.refused[tx.Hash]; !no {
			c.seen[kind(tx.Body)]++
		}
	}
	clear(c.pool)
	b := c.network.Block(c.qc, c.nowMS, built.Payload, built.Version.Roots())
	c.qc = c.network.Certify(c.tb, b.Header)
	if err := c.state.Commit(built.Version, state.Final{Block: b}); err != nil {
		return err
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// kind is what Seen calls a transaction.
func kind(b state.Body) string {
	switch b := b.(type) {
	case state.ChannelAction:
		return fmt.Sprintf("%T", b.Signed.Action)
	case state.ChannelJoint:
		return fmt.Sprintf("%T", b.Joint.Do)
	default:
		return fmt.Sprintf("%T", b)
	}
}

// Put leaves a transaction for the next block.
func (c *Chain) Put(body state.Body) {
	tx := state.NewTransaction(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.refused, tx.Hash)
	c.pool[tx.Hash] = tx
}

// HandIn is payment.Committee's.
func (c *Chain) HandIn(ctx context.Context, body state.Body, done func() (bool, error)) error {
	hash, taken := state.NewTransaction(body).Hash, false
	for {
		changed := c.Changed()
		if ok, err := done(); ok || err != nil {
			return err
		}
		switch {
		case taken:
			if err := c.refusal(hash); err != nil {
				return err
			}
		case c.ignores(body):
		case c.AtOnce:
			taken = true
			if err := c.Block(body); err != nil {
				return err
			}
		default:
			taken = true
			c.Put(body)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *Chain) refusal(tx cypherlink.Hash) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused[tx]
}

func (c *Chain) ignores(body state.Body) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	no := c.ignored != nil && c.ignored(body)
	c.waiting = c.waiting || no
	return no
}

// Ignore has members leave alone what is handed in and is so; nil for nothing. What waits is handed in
// after the next block.
func (c *Chain) Ignore(what func(state.Body) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ignored = what
}

// Ignored tells whether anything was left alone.
func (c *Chain) Ignored() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting
}

// Advance lets the time of a Still chain pass, which its next block shows.
func (c *Chain) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nowMS += d.Milliseconds()
}

// OnView has each View call first, whose error is the View's; nil for nothing.
func (c *Chain) OnView(viewing func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.viewing = viewing
}

// Seen counts the transactions in blocks, by the type of the action, or else of the body.
func (c *Chain) Seen() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.seen)
}

// Refused counts the transactions that were left out of blocks.
func (c *Chain) Refused() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.refused)
}

// Read shows the final state, between two blocks.
func (c *Chain) Read(read func(*state.State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	read(c.state)
}

// Changed is payment.Chain's.
func (c *Chain) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Registry is payment.Chain's.
func (c *Chain) Registry() chain.Roll { return c.state.Registry() }

// Head is payment.Follower's.
func (c *Chain) Head() chain.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Header()
}

// Balance is payment.Chain's.
func (c *Chain) Balance(
	account cypherlink.Account, asset cypherlink.Asset,
) (cypherlink.Amount, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Balance(account, asset)
}

// Channels is payment.Chain's.
func (c *Chain) Channels() (all []*channels.Channel, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.state.Channels(func(ch *channels.Channel) bool { all = append(all, ch); return true })
	return all, err
}

// Anchoring is payment.Anchors': it has no block that a receipt could name.
func (c *Chain) Anchoring(
	context.Context, channels.ID, channels.Side, uint32,
) (follow.Entry, error) {
	return follow.Entry{}, state.ErrUnknown
}

// View is payment.Chain's.
func (c *Chain) View(id channels.ID, conditions []cypherlink.Condition) (v channels.View, err error) {
	c.mu.Lock()
	viewing := c.viewing
	c.mu.Unlock()
	if viewing != nil {
		if err := viewing(); err != nil {
			return v, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ch, ok, err := c.state.Channel(id)
	if err != nil {
		return v, err
	}
	if !ok {
		return v, fmt.Errorf("channel %s: %w", id, state.ErrUnknown)
	}
	h := c.state.Header()
	v = channels.View{Channel: *ch, Now: channels.Time{S: h.TimeMS / 1000, Height: h.Height}}
	for _, condition := range conditions {
		if r, ok, err := c.state.Reveal(condition); err != nil {
			return v, err
		} else if ok {
			v.Revealed = append(v.Revealed, r)
		}
	}
	return v, nil
}
