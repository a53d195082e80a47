package laneledger_test

import (
	"context"
	"fmt"
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

// memoryChain is the chain without consensus and without a follower: what is handed in is final at once.
// Its time passes when a test says so, but for a millisecond a block.
type memoryChain struct {
	testing.TB
	network *chaintest.Network
	mu      sync.Mutex
	state   *state.State
	qc      chain.QC
	nowMS   int64
	changed chan struct{}
	// live: its time is the clock's.
	live bool
	// mute are the actions that the chain does not take in at present.
	mute func(a channels.Action) bool
	// waiting counts what waits for that to end.
	waiting int
}

func newChain(tb testing.TB, n *chaintest.Network) *memoryChain {
	tb.Helper()
	s, err := state.Open(state.NewMemory(), n.Genesis)
	if err != nil {
		tb.Fatal(err)
	}
	n.SetRoots(tb, s.Header().Roots)
	return &memoryChain{
		TB: tb, network: n, state: s, qc: n.Committee.Genesis(), changed: make(chan struct{}),
		nowMS: s.Header().TimeMS + 1000,
	}
}

// block makes a final block of at most one transaction, which may be refused.
func (c *memoryChain) block(body state.Body) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var txs []*state.Transaction
	if body != nil {
		txs = append(txs, state.NewTransaction(body))
	}
	if c.live {
		c.nowMS = time.Now().UnixMilli()
	}
	c.nowMS = max(c.nowMS, c.state.Header().TimeMS+1)
	built, err := c.state.Build(c.state.Final(), c.state.Header().Height+1, c.nowMS, txs)
	if err != nil {
		return err
	}
	for _, l := range built.LeftOut {
		return l.Err
	}
	b := c.network.Block(c.qc, c.nowMS, built.Payload, built.Version.Roots())
	c.qc = c.network.Certify(c.TB, b.Header)
	if err := c.state.Commit(built.Version, state.Final{Block: b}); err != nil {
		return err
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// run makes a block every so often, until ctx ends.
func (c *memoryChain) run(ctx context.Context, every time.Duration) {
	for tick := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			if err := c.block(nil); err != nil {
				c.Error(err)
			}
		}
	}
}

// HandIn is payment.Committee's.
func (c *memoryChain) HandIn(ctx context.Context, body state.Body, done func() (bool, error)) error {
	if ok, err := done(); ok || err != nil {
		return err
	}
	for c.mutes(body) {
		changed := c.Changed()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := c.block(body); err != nil {
		return err
	}
	if ok, err := done(); !ok {
		return fmt.Errorf("%T had no effect: %w", body, err)
	}
	return nil
}

// muted changes what the chain does not take in; nil: everything is.
func (c *memoryChain) muted(by func(a channels.Action) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mute = by
}

// mutes tells whether the chain leaves a transaction alone: a joint action, which anchors as well, always
// when an Anchor is muted.
func (c *memoryChain) mutes(body state.Body) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mute == nil {
		return false
	}
	var action channels.Action = channels.Anchor{}
	if a, ok := body.(state.ChannelAction); ok {
		action = a.Signed.Action
	}
	muted := c.mute(action)
	if muted {
		c.waiting++
	}
	return muted
}

// waits tells whether something waits to be taken in.
func (c *memoryChain) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting > 0
}

// Changed is payment.Chain's.
func (c *memoryChain) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Registry is payment.Chain's.
func (c *memoryChain) Registry() chain.Roll { return c.state.Registry() }

// Head is payment.Follower's.
func (c *memoryChain) Head() chain.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Header()
}

// Balance is Chain's.
func (c *memoryChain) Balance(
	account cypherlink.Account, asset cypherlink.Asset,
) (cypherlink.Amount, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Balance(account, asset)
}

// Channels is payment.Chain's.
func (c *memoryChain) Channels() (all []*channels.Channel, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = c.state.Channels(func(ch *channels.Channel) bool { all = append(all, ch); return true })
	return all, err
}

// Anchoring is payment.Anchors': nothing here asks for a payment's receipt.
func (c *memoryChain) Anchoring(
	context.Context, channels.ID, channels.Side, uint32,
) (follow.Entry, error) {
	return follow.Entry{}, state.ErrUnknown
}

// View is payment.Chain's.
func (c *memoryChain) View(id channels.ID, conditions []cypherlink.Condition) (v channels.View, err error) {
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
