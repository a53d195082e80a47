package payment

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow/followtest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/kyc"
)

// ledgerOfCustomers are a bank's books in memory, as the port asks: one customer with money enough,
// who can be made to refuse.
type ledgerOfCustomers struct {
	mu      sync.Mutex
	done    map[string]Posting
	refuse  map[string]*cypherlink.Error // by step
	balance cypherlink.Amount
}

func newLedgerOfCustomers() *ledgerOfCustomers {
	return &ledgerOfCustomers{done: map[string]Posting{}, refuse: map[string]*cypherlink.Error{}}
}

func (b *ledgerOfCustomers) enter(step string, p Posting, plus cypherlink.Amount) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := fmt.Sprint(step, p.Payment, p.Direction)
	if _, done := b.done[key]; done {
		return nil
	}
	if e := b.refuse[step]; e != nil {
		return e
	}
	b.done[key] = p
	b.balance += plus
	return nil
}

func (b *ledgerOfCustomers) Hold(_ context.Context, p Posting) error {
	return b.enter("hold", p, -p.Money.Amount)
}

func (b *ledgerOfCustomers) Post(_ context.Context, p Posting) error {
	if p.Direction == In {
		return b.enter("credit", p, p.Money.Amount)
	}
	return b.enter("post", p, 0)
}

func (b *ledgerOfCustomers) Release(_ context.Context, p Posting) error {
	return b.enter("release", p, p.Money.Amount)
}

func (b *ledgerOfCustomers) Refuse(_ context.Context, p Posting) error {
	return b.enter("refuse", p, p.Money.Amount)
}

func (b *ledgerOfCustomers) count(step string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for key := range b.done {
		if len(key) > len(step) && key[:len(step)] == step {
			n++
		}
	}
	return n
}

// binder is a player as what signs what binds it.
type binder struct{ *player }

func (s binder) SignRecorded(f cosi.Frame) ([64]byte, error) { return s.identity.SignRecorded(f) }

// channelWorld is the world of two banks that have a channel in DC/EP.
type channelWorld struct {
	*world
	chain *followtest.Chain
	books map[cypherlink.ParticipantID]*ledgerOfCustomers
	lanes Lanes
	band  Band
	// restored: the next start is told that its store was restored.
	restored bool
	// log is that of the banks that start.
	log *slog.Logger
}

func lanes() Lanes {
	l := Lanes{
		Limits: channels.DefaultLimits(), LagS: 3, InclusionS: 2, JointS: 3, Certify: 2 * time.Second,
		Resend: 500 * time.Millisecond, Anchor: 200 * time.Millisecond,
	}
	l.Limits.WindowS, l.Limits.Blocks = 8, 5
	return l
}

// tellers are somebody's channels on his store.
func (w *channelWorld) tellers(of *player, s *store.Store) *Tellers {
	w.tb.Helper()
	made, err := NewTellers(w.tellersOptions(of, s))
	if err != nil {
		w.tb.Fatal(err)
	}
	return made
}

func (w *channelWorld) tellersOptions(of *player, s *store.Store) TellersOptions {
	how := w.lanes
	how.Bands = map[cypherlink.Asset]Band{assetDCEP(): w.band}
	return TellersOptions{
		Genesis: w.genesis, ID: of.id(), Assets: []cypherlink.Asset{assetDCEP()}, Lanes: how,
		Resend: 200 * time.Millisecond, Store: s, Chain: w.chain, Committee: w.chain, Identity: signer{of},
		LaneSigner: binder{of}, JointSigner: of.key, Peers: wireTo{w.world, of.id()}, Restored: w.restored,
		Log: w.log,
	}
}

// bothWays is a price in both directions.
type bothWays struct{ *network }

func (p bothWays) Price(context.Context, cypherlink.Asset, cypherlink.Asset) (connector.Price, bool) {
	return p.price, true
}

// startClearing starts the clearing bank with channels.
func (w *channelWorld) startClearing() *Clearing {
	w.tb.Helper()
	c := w.newClearing()
	w.run(w.clearing, c.Store, &process{clearing: c, serve: c.Serve}, c.Run)
	return c
}

// newClearing is the clearing bank with channels, which does not run.
func (w *channelWorld) newClearing() *Clearing {
	w.tb.Helper()
	s := w.open(w.clearing)
	c, err := NewClearing(ClearingOptions{
		Dealer: w.dealer(), Store: s, Identity: signer{w.clearing}, Cosigner: w.clearing.key,
		Prices: bothWays{w.network}, Tellers: w.tellers(w.clearing, s), Random: rand.Reader, Log: quiet(),
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	return c
}

func (w *channelWorld) startBank(of *player) *Connect {
	w.tb.Helper()
	s := w.open(of)
	bank := w.bank(of)
	bank.Direct, bank.DirectHold = []cypherlink.Asset{assetDCEP()}, 20*time.Second
	o := Options{
		Bank: bank, Store: s, Identity: signer{of}, Cosigner: of.key, Peers: wireTo{w.world, of.id()},
		Customers: w.world.books, Random: rand.Reader, Log: w.log,
		Tellers: w.tellers(of, s), Anchors: w.chain, Books: w.books[of.id()],
		Changed: func(p *Payment) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, *p)
		},
	}
	c, err := NewConnect(o)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.run(of, s, &process{connect: c, serve: c.Serve}, c.Run)
	return c
}

// newChannelWorld is a world in which nothing runs yet.
func newChannelWorld(tb testing.TB, n *network) *channelWorld {
	tb.Helper()
	w := &channelWorld{
		world: newWorldOf(tb, n), lanes: lanes(), books: map[cypherlink.ParticipantID]*ledgerOfCustomers{}, log: quiet(),
	}
	w.world.books.standing = kyc.Open
	w.chain = followtest.New(tb, n.committee)
	w.joints = func(j *channels.Joint) (*cosi.Roster, error) {
		banks := channels.InOrder([2]cypherlink.ParticipantID{w.a.id(), w.b.id()})
		if open, opens := j.Do.(channels.Open); opens {
			banks = open.Banks
		} else if v, err := w.chain.View(j.Channel, nil); err == nil {
			banks = v.Channel.Banks
		}
		return state.JointRoster(w.chain.Registry().Registry, banks, assetDCEP())
	}
	for _, of := range []*player{w.a, w.b} {
		w.books[of.id()] = newLedgerOfCustomers()
	}
	return w
}

// playChannel runs a test between two banks, in virtual time.
func playChannel(t *testing.T, test func(t *testing.T, w *channelWorld, a, b *Connect)) {
	t.Helper()
	playLanes(t, lanes(), test)
}

// playLanes is playChannel of banks that run their channels so.
func playLanes(t *testing.T, l Lanes, test func(t *testing.T, w *channelWorld, a, b *Connect)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newChannelWorld(t, newNetwork(t, nil))
		w.lanes = l
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go w.chain.Run(ctx, 100*time.Millisecond)
		a, b := w.startBank(w.a), w.startBank(w.b)
		defer w.stopAll()
		test(t, w, a, b)
	})
}

// opened opens and funds the channel: by either bank.
func (w *channelWorld) opened(a, b *Connect) channels.ID {
	w.tb.Helper()
	return w.openedBy(a.Tellers, b.Tellers)
}

func (w *channelWorld) openedBy(a, b *Tellers) channels.ID {
	w.tb.Helper()
	ctx := context.Background()
	id, _, err := a.Open(ctx, Opening{Peer: b.ID, Asset: assetDCEP()}, []byte("open"), "open-1")
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, s := range []*Tellers{a, b} {
		w.eventually("the channel is there", func() bool {
			ch, err := s.Channel(ctx, id)
			return err == nil && ch.Synced
		})
		if _, err := s.Order(ctx, id, FundOrder{funds}, []byte("fund"), "fund-1"); err != nil {
			w.tb.Fatal(err)
		}
	}
	for _, s := range []*Tellers{a, b} {
		w.eventually("the channel is funded", func() bool {
			ch, err := s.Channel(ctx, id)
			return err == nil && ch.Funds == [2]int64{funds, funds}
		})
	}
	return id
}

const funds = 100_000_00

// eventually waits in virtual time.
func (w *channelWorld) eventually(what string, ok func() bool) {
	w.tb.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.tb.Fatalf("not in a minute: %s", what)
}

// pays hands in a payment from one bank to the other.
func (w *channelWorld) pays(c *Connect, i int, from, to *player, amount string) cypherlink.UETR {
	w.tb.Helper()
	raw := fmt.Appendf(nil, `{
  "end_to_end_id": "E2E-%d",
  "debtor": {"name": "Müller GmbH", "iban": "DE89370400440532013000", "agent": %q, "country": "DE"},
  "creditor": {"name": "北京电脑有限公司", "account": "6222021001098765432", "agent": %q},
  "destination": {"asset": "DC/EP", "amount": %q}
}`, i, from.BIC, to.BIC, amount)
	a, err := c.Submit(context.Background(), raw, JSON, fmt.Sprint("pay-", i))
	if err != nil {
		w.tb.Fatal(err)
	}
	return a.Payment.UETR
}
