package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// fakeLedger is the rules over a book in memory, behind a lock, by the clock. It answers each
// command after latency, and loses every lossy-th answer.
type fakeLedger struct {
	charter *ledger.Charter
	latency time.Duration
	lossy   int

	mu      sync.Mutex
	book    *ledgertest.Memory
	events  []ledger.Receipt
	more    chan struct{}
	answers int
}

var errLost = errors.New("the answer is lost")

func (l *fakeLedger) record(c ledger.Custody) ledger.Receipt {
	r := ledger.Receipt{
		Ledger: l.charter.Ledger, Custody: c, Sequence: uint64(len(l.events) + 1),
		TimeMS: time.Now().UnixMilli(),
	}
	l.events = append(l.events, r)
	close(l.more)
	l.more = make(chan struct{})
	return r
}

func (l *fakeLedger) expire() {
	nowMS := time.Now().UnixMilli()
	for _, id := range l.book.Due(nowMS) {
		if c, changed, err := ledger.Expire(l.book, nowMS, id); err == nil && changed {
			l.record(c)
		}
	}
}

func (l *fakeLedger) standing(id ledger.CustodyID) ledger.Receipt {
	for _, r := range slices.Backward(l.events) {
		if r.Custody.ID == id {
			return r
		}
	}
	return ledger.Receipt{
		Ledger: l.charter.Ledger, Custody: ledger.Custody{ID: id}, TimeMS: time.Now().UnixMilli(),
	}
}

func (l *fakeLedger) Submit(ctx context.Context, c *ledger.SignedCommand) (ledger.Receipt, error) {
	select {
	case <-time.After(l.latency):
	case <-ctx.Done():
		return ledger.Receipt{}, ctx.Err()
	}
	if err := l.charter.Authenticate(c)[0]; err != nil {
		return ledger.Receipt{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	custody, err := l.charter.Apply(l.book, time.Now().UnixMilli(), c)
	var r ledger.Receipt
	switch {
	case errors.Is(err, ledger.ErrRepeated):
		r = l.standing(custody.ID)
	case err != nil:
		return ledger.Receipt{}, err
	default:
		r = l.record(custody)
	}
	if l.answers++; l.lossy > 0 && l.answers%l.lossy == 0 {
		return ledger.Receipt{}, errLost
	}
	return r, nil
}

func (l *fakeLedger) Lookup(_ context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire()
	return l.standing(id), nil
}

func (l *fakeLedger) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for ctx.Err() == nil {
			l.mu.Lock()
			fresh, more := slices.Clone(l.events[after:]), l.more
			l.mu.Unlock()
			for _, r := range fresh {
				after++
				if !yield(ledger.Event{Cursor: after, Receipt: r}, nil) {
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
			}
		}
	}
}

type actorSigner struct{ ledgertest.Actor }

func (a actorSigner) ID() cypherlink.ParticipantID                { return a.Actor.ID }
func (a actorSigner) Sign(f cosi.Frame) (sig [64]byte, err error) { return a.Actor.Sign(f) }

// network is three institutions and two ledgers in one process.
type network struct {
	t        *testing.T
	dir      string
	ledgers  map[cypherlink.LedgerID]ledger.Ledger
	fake     [2]*fakeLedger
	actors   [parties]ledgertest.Actor
	margins  Margins
	secret   ilp.ServerSecret
	base     ilp.Address
	outcomes sync.Map // "role/terms" -> Outcome
}

const opening = 10_000_000

func newNetwork(t *testing.T) *network {
	n := &network{
		t: t, dir: t.TempDir(), ledgers: map[cypherlink.LedgerID]ledger.Ledger{},
		base: "private.cl.cypherium.bankb", secret: ilp.ServerSecret(bytes.Repeat([]byte{7}, 32)),
		margins: Margins{
			Resend: time.Second, SourceHold: 32 * time.Second, DestinationHold: 20 * time.Second,
			MaxHold: 40 * time.Second, RelayWindow: 12 * time.Second, AcceptWindow: 10 * time.Second,
			ConfirmWindow: 3 * time.Second, Restart: 5 * time.Second,
		},
	}
	for p, name := range []string{"bank-a", "clearing", "bank-b"} {
		n.actors[p] = ledgertest.NewActor(name)
	}
	keys := ledgertest.Keys{}
	for _, a := range n.actors {
		keys[a.ID] = a.Key
	}
	for i, asset := range n.assets() {
		charter := &ledger.Charter{
			Ledger: asset.Ledger, Keys: keys, Policies: map[cypherlink.Asset]validator.Policy{asset: {}},
		}
		var balances []ledger.Balance
		for _, a := range n.actors {
			balances = append(balances, ledger.Balance{
				Account: cypherlink.Account{Owner: a.ID}, Asset: asset, Amount: opening,
			})
		}
		n.fake[i] = &fakeLedger{
			charter: charter, latency: 150 * time.Millisecond, book: ledgertest.NewMemory(balances),
			more: make(chan struct{}),
		}
		n.ledgers[asset.Ledger] = n.fake[i]
	}
	return n
}

func (n *network) assets() [2]cypherlink.Asset {
	return [2]cypherlink.Asset{
		{Ledger: "de", Code: "EUR", Scale: 2}, {Ledger: "cypherium", Code: "CNY", Scale: 2},
	}
}

// agree draws up the terms and the packet of payment i.
func (n *network) agree(i int) (*terms.Terms, []byte) {
	n.t.Helper()
	random := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), 1})
	uetr, err := cypherlink.NewUETR(random)
	if err != nil {
		n.t.Fatal(err)
	}
	account := func(p party) cypherlink.Account { return cypherlink.Account{Owner: n.actors[p].ID} }
	assets, now := n.assets(), time.Now()
	t := &terms.Terms{
		UETR: uetr, Payer: n.actors[payer].ID, Payee: n.actors[payee].ID, Connector: n.actors[relay].ID,
		Quote: cypherlink.Hash{byte(i), 1},
		Legs: []terms.Leg{
			{
				Asset: assets[0], Debit: account(payer), Credit: account(relay), Amount: 1001,
				Expiry: now.Add(n.margins.SourceHold).Unix(),
			},
			{
				Asset: assets[1], Debit: account(relay), Credit: account(payee), Amount: 2000,
				Expiry: now.Add(n.margins.DestinationHold).Unix(),
			},
		},
	}
	address, shared, err := n.secret.NewAddress(random, n.base)
	if err != nil {
		n.t.Fatal(err)
	}
	draft := t.Draft()
	p, err := shared.NewPrepare(random, address, 1001, time.Unix(t.Legs[0].Expiry, 0),
		ilp.Delivery{Minimum: 2000, Content: draft[:]})
	if err != nil {
		n.t.Fatal(err)
	}
	t.Condition = p.Condition
	packet, err := p.Encode()
	if err != nil {
		n.t.Fatal(err)
	}
	return t, packet
}

// office is one institution's process: its store and its engine.
type office struct {
	begin func(context.Context, Begin) error
	stop  func()
}

func open[M Machine](n *network, p party, role string, restore func([]Event) (M, error)) *office {
	n.t.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+filepath.Join(n.dir, role+".db"))
	if err != nil {
		n.t.Fatal(err)
	}
	e := NewEngine(Options[M]{
		Role: role, Restore: restore, Store: s, Venues: Venues{Ledgers: n.ledgers}, Signer: actorSigner{n.actors[p]},
		Changed: func(terms cypherlink.Hash, m M) { n.outcomes.Store(role+"/"+terms.String(), m.Outcome()) },
		Log:     slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- e.Run(ctx) }()
	return &office{begin: e.Begin, stop: func() {
		cancel()
		if err := <-finished; err != nil {
			n.t.Error(err)
		}
		if err := s.Close(); err != nil {
			n.t.Error(err)
		}
	}}
}

func (n *network) open(p party) *office {
	switch p {
	case payer:
		return open(n, p, "payer", func(log []Event) (*Payer, error) { return NewPayer(n.margins, log) })
	case relay:
		return open(n, p, "relay", func(log []Event) (*Relay, error) { return NewRelay(n.margins, log) })
	case payee, parties:
	}
	return open(n, p, "payee", func(log []Event) (*Payee, error) {
		return NewPayee(n.margins, n.base, n.secret, log)
	})
}

// begin makes the payment's terms known to everybody, the payer last.
func (n *network) begin(offices [parties]*office, t *terms.Terms, packet []byte) {
	n.t.Helper()
	for _, p := range []party{payee, relay, payer} {
		if err := offices[p].begin(n.t.Context(), Begin{Terms: t, Packet: packet}); err != nil {
			n.t.Errorf("%s: %v", p, err)
		}
	}
}

func (n *network) outcome(role string, t *terms.Terms) Outcome {
	v, _ := n.outcomes.Load(role + "/" + t.Hash().String())
	o, _ := v.(Outcome)
	return o
}

func (n *network) balance(p party, leg int) cypherlink.Amount {
	b := n.fake[leg].book
	v, _, _ := b.Balance(cypherlink.Account{Owner: n.actors[p].ID}, n.assets()[leg])
	return v
}

func TestEngineSettlesPayments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		offices := [parties]*office{n.open(payer), n.open(relay), n.open(payee)}
		const count = 20
		var all []*terms.Terms
		for i := range count {
			terms, packet := n.agree(i)
			n.begin(offices, terms, packet)
			all = append(all, terms)
		}
		time.Sleep(5 * time.Second) // of the bubble's clock
		for _, terms := range all {
			for _, role := range []string{"payer", "relay", "payee"} {
				if o := n.outcome(role, terms); o != Settled {
					t.Errorf("the %s says %s", role, o)
				}
			}
		}
		if got, want := n.balance(payer, 0), cypherlink.Amount(opening-count*1001); got != want {
			t.Errorf("the payer holds %d, not %d", got, want)
		}
		if got, want := n.balance(payee, 1), cypherlink.Amount(opening+count*2000); got != want {
			t.Errorf("the payee holds %d, not %d", got, want)
		}
		for _, o := range offices {
			o.stop()
		}
	})
}

// A process that goes down at any moment and comes back within its margin loses nothing; one
// that stays away leads to returns.
func TestEngineSurvivesRestarts(t *testing.T) {
	for seed := range uint64(scaled(60)) + 2 {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			n := newNetwork(t)
			n.fake[0].lossy, n.fake[1].lossy = 3, 4
			offices := [parties]*office{n.open(payer), n.open(relay), n.open(payee)}
			var all []*terms.Terms
			for i := range 6 {
				terms, packet := n.agree(int(seed)*100 + i)
				n.begin(offices, terms, packet)
				all = append(all, terms)
			}
			for range 4 {
				p := party(random.IntN(int(parties)))
				time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
				offices[p].stop()
				time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
				offices[p] = n.open(p)
			}
			time.Sleep(40 * time.Second)
			n.audit(t, all)
			for _, o := range offices {
				o.stop()
			}
		})
	}
}

// audit compares what the three say with both books.
func (n *network) audit(t *testing.T, all []*terms.Terms) {
	t.Helper()
	settled := 0
	for _, terms := range all {
		o := n.outcome("payer", terms)
		if o != Settled && o != Undone {
			t.Errorf("the payer says %s", o)
		}
		if r, e := n.outcome("relay", terms), n.outcome("payee", terms); r != o || e != o {
			t.Errorf("the payer says %s, the relay %s, the payee %s", o, r, e)
		}
		if o == Settled {
			settled++
		}
	}
	moved := cypherlink.Amount(settled)
	want := map[string]cypherlink.Amount{
		"payer de":  opening - 1001*moved,
		"relay de":  opening + 1001*moved,
		"relay cny": opening - 2000*moved,
		"payee cny": opening + 2000*moved,
	}
	got := map[string]cypherlink.Amount{
		"payer de": n.balance(payer, 0), "relay de": n.balance(relay, 0),
		"relay cny": n.balance(relay, 1), "payee cny": n.balance(payee, 1),
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("balances %v, want %v", got, want)
	}
}

func TestEngineRefusesOtherTerms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t)
		o := n.open(relay)
		terms, packet := n.agree(1)
		terms.Legs[1].Expiry = terms.Legs[0].Expiry - 1 // no window to carry the preimage back
		err := o.begin(t.Context(), Begin{Terms: terms, Packet: packet})
		if !errors.Is(err, ErrMargin) {
			t.Errorf("got %v", err)
		}
		o.stop()
		if err := o.begin(t.Context(), Begin{Terms: terms, Packet: packet}); !errors.Is(err, ErrStopped) {
			t.Errorf("after the stop: %v", err)
		}
	})
}
