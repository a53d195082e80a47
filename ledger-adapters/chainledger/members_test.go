package chainledger_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/chain/submit"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/chainledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// Four members over TLS, each with its own store, and a bank that follows them, keep the whole
// contract. A short run has one payment of it.
func TestContractWithMembers(t *testing.T) {
	if testing.Short() {
		onePayment(t)
		return
	}
	ledgertest.Run(t, func(t *testing.T, w *ledgertest.World) ledgertest.Harness {
		c := found(t, slowly)
		w.Network = c.Genesis.Network()
		c.start()
		t.Cleanup(c.stop)
		return ledgertest.Harness{
			Ledger: c.ledger, Now: c.clock.now, Advance: c.advance, Check: c.check,
			Balance: balance(&c.follower),
			Restart: func() ledger.Ledger {
				c.stop()
				c.start()
				return c.ledger
			},
		}
	})
}

func onePayment(t *testing.T) {
	c := found(t, slowly)
	c.start()
	defer c.stop()
	w := c.World
	p := w.Payment("one", 100, c.clock.now().Unix()+20)
	for i, command := range []*ledger.SignedCommand{w.Prepare(p), w.Confirm(w.Bob, p)} {
		want := []ledger.State{ledger.Prepared, ledger.Confirmed}[i]
		r, err := c.ledger.Submit(t.Context(), command)
		if err != nil || r.Custody.State != want {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := c.check(r); err != nil {
			t.Fatal(err)
		}
	}
}

// slowly is how many times slower than the real one the clock of a tested city runs: what the
// contract does one second before an expiry has so many seconds for it.
const slowly = 8

// clock is what all members read.
type clock struct {
	mu     sync.Mutex
	origin time.Time
	slow   time.Duration
	jumped time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.UnixMilli(chaintest.Start + time.Minute.Milliseconds()).
		Add(c.jumped + time.Since(c.origin)/c.slow)
}

func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jumped += d
}

// city is a network of four members with a bank that follows it, all in this process.
type city struct {
	*chaintest.Network
	t     testing.TB
	dir   string
	clock clock
	tls   []peer.Identity // of the members
	bank  peer.Identity
	addrs map[cypherlink.ParticipantID]string

	verifier *follow.Verifier
	stops    []func()
	follower *follow.Follower
	ledger   *chainledger.Ledger
}

func found(t testing.TB, slow uint32) *city {
	t.Helper()
	c := &city{
		t: t, dir: t.TempDir(), addrs: map[cypherlink.ParticipantID]string{},
		clock: clock{origin: time.Now(), slow: time.Duration(slow)},
	}
	for range chaintest.Members {
		c.tls = append(c.tls, identity(t))
	}
	c.bank = identity(t)
	c.Network = chaintest.New(t, func(f *chain.GenesisFile) {
		f.KeyBlock.IdleMS = 100 / slow // and a base timeout of 500 ms at most
		for i := range f.KeyBlock.Members {
			pin := cypherlink.Hash(c.tls[i].SPKI())
			f.KeyBlock.Members[i].TLS, f.Participants[i].TLS = pin, pin
		}
		f.Participants[chaintest.Members].TLS = cypherlink.Hash(c.bank.SPKI()) // Alice's
	})
	committee, err := state.Committee(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	c.Committee = committee
	if c.verifier, err = follow.NewVerifier(c.Genesis); err != nil {
		t.Fatal(err)
	}
	for i, m := range committee.KeyBlock().Members {
		c.addrs[m.ID] = freeAddr(t)
		if err := member.Create(c.folder(i), c.Genesis, quiet()); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func identity(t testing.TB) peer.Identity {
	t.Helper()
	id, err := peer.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := peer.PickAddr(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (c *city) folder(i int) string { return filepath.Join(c.dir, strconv.Itoa(i)) }

// running runs something until the city stops; last is done after it.
func (c *city) running(run func(context.Context) error, last func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	c.stops = append(c.stops, func() {
		cancel()
		if err := errors.Join(<-ended, last()); err != nil {
			c.t.Error(err)
		}
	})
}

// start runs the members, the bank's follower and its ledger.
func (c *city) start() {
	c.t.Helper()
	for i, m := range c.Committee.KeyBlock().Members {
		one, err := member.Open(context.Background(), member.Options{
			Genesis: c.Genesis, Identity: c.Identities[i], Key: c.Keys[i], TLS: c.tls[i],
			Data: c.folder(i), Listen: c.addrs[m.ID], Peers: c.addrs, Now: c.clock.now,
			Log: quiet(), Limits: member.DefaultLimits(),
		})
		if err != nil {
			c.t.Fatal(err)
		}
		c.running(one.Run, one.Close)
	}
	store, err := state.OpenPebble(c.folder(chaintest.Members), state.PebbleOptions{
		Log: quiet(), Exit: func() { c.t.Error("the store gave up") },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	o := follow.DefaultOptions(c.Genesis)
	o.Store, o.Log, o.Wait = store, quiet(), 2*time.Second
	closers := []func() error{}
	var members []*submit.Member
	for _, m := range c.Committee.KeyBlock().Members {
		one, err := submit.Dial(m.ID.String()[:8], c.addrs[m.ID], peer.SPKI(m.TLS), c.bank)
		if err != nil {
			c.t.Fatal(err)
		}
		members, closers = append(members, one), append(closers, one.Close)
		o.Sources = append(o.Sources, one)
	}
	if c.follower, err = follow.Open(o); err != nil {
		c.t.Fatal(err)
	}
	c.running(c.follower.Run, func() (err error) {
		for _, closed := range append(closers, store.Close) {
			err = errors.Join(err, closed())
		}
		return err
	})
	if c.ledger, err = chainledger.New(c.Genesis, c.follower, members); err != nil {
		c.t.Fatal(err)
	}
}

// stop ends everything, the bank first.
func (c *city) stop() {
	for i := range c.stops {
		c.stops[len(c.stops)-1-i]()
	}
	c.stops = nil
}

// advance lets time pass until the bank has a final block of then.
func (c *city) advance(d time.Duration) {
	c.t.Helper()
	c.clock.jump(d)
	reach(c.t, c.follower, c.clock.now().UnixMilli())
}

func (c *city) check(r ledger.Receipt) error {
	_, err := c.verifier.Verify(r)
	return err
}
