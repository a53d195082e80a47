package laneledger_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/laneledger"
	"github.com/cypherlink/cypherlink/ledger/book"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// passage is a world of payments of which one leg is a lane of Alice to Bob, and the other a custody on a
// ledger in SQL on which Mallory is at the other end.
type passage struct {
	*strait
	other cypherlink.Asset
	book  *book.Book
	// payer, relay and payee are who has which role.
	payer, relay, payee ledgertest.Actor
	offices             map[cypherlink.ParticipantID]*office
	margins             connector.Margins
	base                ilp.Address
	secret              ilp.ServerSecret

	mu       sync.Mutex
	outcomes map[string]connector.Outcome
}

// office is an institution's engine as it runs.
type office struct {
	begin func(context.Context, connector.Begin) error
	stop  func()
}

// play runs a test of a passage in virtual time: with the lane as the source leg, or as the destination
// leg.
func play(t *testing.T, source bool, test func(p *passage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := ledgertest.NewWorld()
		p := &passage{
			strait: openStrait(t, w, true), outcomes: map[string]connector.Outcome{},
			other:   cypherlink.Asset{Ledger: "other", Code: "CNY", Scale: 2},
			offices: map[cypherlink.ParticipantID]*office{},
			base:    "private.cl.payee", secret: ilp.ServerSecret{7},
			margins: connector.Margins{
				Resend: time.Second, SourceHold: 38 * time.Second, DestinationHold: 24 * time.Second,
				MaxHold: 40 * time.Second, RelayWindow: 12 * time.Second, AcceptWindow: 12 * time.Second,
				ConfirmWindow: 4 * time.Second, Restart: 5 * time.Second,
			},
		}
		p.payer, p.relay, p.payee = w.Mallory, w.Alice, w.Bob
		if source {
			p.payer, p.relay, p.payee = w.Alice, w.Bob, w.Mallory
		}
		ctx, cancel := context.WithCancel(context.Background())
		ticking := make(chan struct{})
		go func() {
			defer close(ticking)
			p.chain.Run(ctx, 100*time.Millisecond)
		}()
		done := p.openBook()
		defer func() {
			for _, of := range []ledgertest.Actor{p.payer, p.relay, p.payee} {
				p.fire(of)
			}
			p.stop()
			done()
			cancel()
			<-ticking
		}()
		for _, of := range []ledgertest.Actor{p.payee, p.relay, p.payer} {
			p.hire(of)
		}
		p.seen(0)
		test(p)
	})
}

// openBook runs the other ledger.
func (p *passage) openBook() (done func()) {
	p.Helper()
	keys, opening := ledgertest.Keys{}, []ledger.Balance(nil)
	for _, a := range []ledgertest.Actor{p.payer, p.relay, p.payee} {
		keys[a.ID] = a.Key
		opening = append(opening, ledger.Balance{
			Account: ledgertest.Account(a), Asset: p.other, Amount: ledgertest.Opening,
		})
	}
	st := p.store("book")
	b, err := book.Open(context.Background(), st, book.Options{
		Charter: ledger.Charter{
			Network: p.world.Network, Ledger: p.other.Ledger, Keys: keys, MinExpiry: 2,
			Policies: map[cypherlink.Asset]validator.Policy{p.other: {}},
		},
		Opening: opening, Signer: p.world.Operator,
	})
	if err != nil {
		p.Fatal(err)
	}
	p.book = b
	return func() {
		if err := errors.Join(b.Close(), st.Close()); err != nil {
			p.Error(err)
		}
	}
}

// hire starts a party: its end of the channel, if it has one, and its engine.
func (p *passage) hire(of ledgertest.Actor) {
	p.Helper()
	venues := connector.Venues{Ledgers: map[cypherlink.LedgerID]ledger.Ledger{p.other.Ledger: p.book}}
	if of.ID != p.world.Mallory.ID {
		p.start(of)
		venues.Lanes = p.end(of).ledger
	} else {
		venues.Witness = &laneledger.Witness{
			Network: p.world.Network, Ledger: p.world.Ledger, Bank: p.relay.ID, Peers: link{p.strait, of.ID},
			Roll: p.chain.Registry,
		}
	}
	switch of.ID {
	case p.payer.ID:
		p.offices[of.ID] = engine(p, of, "payer", venues, func(log []connector.Event) (*connector.Payer, error) {
			return connector.NewPayer(p.margins, log)
		})
	case p.relay.ID:
		p.offices[of.ID] = engine(p, of, "relay", venues, func(log []connector.Event) (*connector.Relay, error) {
			return connector.NewRelay(p.margins, log)
		})
	default:
		p.offices[of.ID] = engine(p, of, "payee", venues, func(log []connector.Event) (*connector.Payee, error) {
			return connector.NewPayee(p.margins, p.base, p.secret, log)
		})
	}
}

// fire stops a party, as a crash does but for what is being written.
func (p *passage) fire(of ledgertest.Actor) {
	if o := p.offices[of.ID]; o != nil {
		delete(p.offices, of.ID)
		o.stop()
		p.halt(of)
	}
}

func engine[M connector.Machine](
	p *passage, of ledgertest.Actor, role string, venues connector.Venues,
	restore func([]connector.Event) (M, error),
) *office {
	p.Helper()
	st := p.store(role)
	e := connector.NewEngine(connector.Options[M]{
		Role: role, Restore: restore, Store: st, Venues: venues, Signer: player{of}, Network: p.world.Network,
		Log: slog.New(slog.DiscardHandler),
		Changed: func(terms cypherlink.Hash, m M) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.outcomes[role+terms.String()] = m.Outcome()
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- e.Run(ctx) }()
	return &office{begin: e.Begin, stop: func() {
		cancel()
		if err := errors.Join(<-finished, st.Close()); err != nil {
			p.Error(err)
		}
	}}
}

// agree draws up the terms and the packet of a payment, with the verdicts on its lane.
func (p *passage) agree(i int) (t *terms.Terms, packet []byte, verdicts [2][]validator.Signed) {
	p.Helper()
	random := rand.NewChaCha8([32]byte{byte(i), 1})
	uetr, err := cypherlink.NewUETR(random)
	if err != nil {
		p.Fatal(err)
	}
	now, lane, other := time.Now(), p.world.Account, ledgertest.Account
	legs := [2]terms.Leg{
		{Asset: p.other, Amount: 1001, Expiry: now.Add(p.margins.SourceHold).Unix()},
		{Asset: p.world.Asset, Amount: 2000, Expiry: now.Add(p.margins.DestinationHold).Unix()},
	}
	account := [2]func(ledgertest.Actor) cypherlink.Account{other, lane}
	if p.payer.ID == p.world.Alice.ID {
		legs[0].Asset, legs[1].Asset = legs[1].Asset, legs[0].Asset
		account = [2]func(ledgertest.Actor) cypherlink.Account{lane, other}
	}
	legs[0].Debit, legs[0].Credit = account[0](p.payer), account[0](p.relay)
	legs[1].Debit, legs[1].Credit = account[1](p.relay), account[1](p.payee)
	t = &terms.Terms{
		Network: p.world.Network, UETR: uetr, Payer: p.payer.ID, Payee: p.payee.ID, Connector: p.relay.ID,
		Quote: cypherlink.Hash{byte(i), 1}, Legs: legs[:],
	}
	address, shared, err := p.secret.NewAddress(random, p.base)
	if err != nil {
		p.Fatal(err)
	}
	draft := t.Draft()
	prepare, err := shared.NewPrepare(random, address, 1001, time.Unix(legs[0].Expiry, 0),
		ilp.Delivery{Minimum: 2000, Content: draft[:]})
	if err != nil {
		p.Fatal(err)
	}
	t.Condition = prepare.Condition
	if packet, err = prepare.Encode(); err != nil {
		p.Fatal(err)
	}
	for leg := range legs {
		if legs[leg].Asset == p.world.Asset {
			s := validator.Subject{Terms: t.Hash(), Leg: uint8(leg), Fields: legs[leg], Condition: t.Condition}
			verdicts[leg] = p.world.Verdicts(s)
		}
	}
	return t, packet, verdicts
}

// pay makes a payment's terms known to everybody, the payer last.
func (p *passage) pay(i int) *terms.Terms {
	p.Helper()
	t, packet, verdicts := p.agree(i)
	p.begin(p.payee, connector.Begin{Terms: t})
	p.begin(p.relay, connector.Begin{Terms: t, Verdicts: verdicts[terms.Destination]})
	p.begin(p.payer, connector.Begin{Terms: t, Packet: packet, Verdicts: verdicts[terms.Source]})
	return t
}

func (p *passage) begin(of ledgertest.Actor, b connector.Begin) {
	p.Helper()
	if o := p.offices[of.ID]; o != nil {
		if err := o.begin(context.Background(), b); err != nil {
			p.Fatalf("%s: %v", of.ID, err)
		}
	}
}

// ends waits until every role says that a payment has ended so.
func (p *passage) ends(t *terms.Terms, want connector.Outcome) {
	p.Helper()
	p.eventually(fmt.Sprintf("payment %s is %s", t.UETR, want), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, role := range []string{"payer", "relay", "payee"} {
			if p.outcomes[role+t.Hash().String()] != want {
				return false
			}
		}
		return true
	})
}

// moved wants that much of the lane's asset to have gone from Alice to Bob.
func (p *passage) moved(amount cypherlink.Amount) {
	p.Helper()
	p.eventually(fmt.Sprintf("%d is moved in the lane", amount), func() bool {
		a, err := p.end(p.world.Alice).connect.Tellers.Channel(context.Background(), p.id)
		b, errB := p.end(p.world.Bob).connect.Tellers.Channel(context.Background(), p.id)
		return err == nil && errB == nil &&
			a.Free == ledgertest.Opening-amount && b.Free == ledgertest.Opening+amount
	})
}

// onBook wants those balances on the other ledger, as differences.
func (p *passage) onBook(payer, relay, payee cypherlink.Amount) {
	p.Helper()
	all, err := p.book.Balances(context.Background())
	if err != nil {
		p.Fatal(err)
	}
	for i, of := range []ledgertest.Actor{p.payer, p.relay, p.payee} {
		want := ledgertest.Opening + []cypherlink.Amount{payer, relay, payee}[i]
		for _, got := range all {
			if got.Account == ledgertest.Account(of) && got.Amount != want {
				p.Errorf("%s has %d on the other ledger, want %d", of.ID, got.Amount, want)
			}
		}
	}
}

// legs runs a test with the lane as either leg.
func legs(t *testing.T, test func(p *passage, source bool)) {
	t.Helper()
	for name, source := range map[string]bool{"lane as source": true, "lane as destination": false} {
		t.Run(name, func(t *testing.T) { play(t, source, func(p *passage) { test(p, source) }) })
	}
}

// A payment across two ledgers of which one is a lane, as either leg: both move, and both banks of the lane
// say so.
func TestPaymentWithALaneAsALeg(t *testing.T) {
	legs(t, func(p *passage, source bool) {
		var all []*terms.Terms
		for i := range 5 {
			all = append(all, p.pay(i))
		}
		for _, t := range all {
			p.ends(t, connector.Settled)
		}
		if source {
			p.moved(5 * 1001)
			p.onBook(0, -5*2000, 5*2000)
		} else {
			p.moved(5 * 2000)
			p.onBook(-5*1001, 5*1001, 0)
		}
	})
}

// A payee that does not answer: both legs lapse, nobody has lost anything, and the lane unlocks.
func TestSilentPayee(t *testing.T) {
	legs(t, func(p *passage, _ bool) {
		p.fire(p.payee)
		if p.payee.ID == p.world.Bob.ID {
			p.start(p.world.Bob) // its end of the lane runs, its machine does not
		}
		t := p.pay(1)
		p.eventually("payer and relay have given up", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			h := t.Hash().String()
			return p.outcomes["payer"+h] == connector.Undone && p.outcomes["relay"+h] == connector.Undone
		})
		p.moved(0)
		p.onBook(0, 0, 0)
	})
}

// Whoever has a lane stops and starts again at any moment of a payment: both legs end the same way.
func TestCrashesOnTheWay(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	legs(t, func(p *passage, source bool) {
		settled := cypherlink.Amount(0)
		for seed := range seeds {
			random := rand.New(rand.NewPCG(uint64(seed), 1))
			t := p.pay(seed)
			for range 3 {
				time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
				of := []ledgertest.Actor{p.payer, p.relay, p.payee}[random.IntN(3)]
				p.fire(of)
				time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
				p.hire(of)
			}
			h := t.Hash().String()
			p.eventually("it ends", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				a, b, c := p.outcomes["payer"+h], p.outcomes["relay"+h], p.outcomes["payee"+h]
				return a == b && b == c && (a == connector.Settled || a == connector.Undone)
			})
			if p.outcomes["payee"+h] == connector.Settled {
				settled++
			}
		}
		if source {
			p.moved(settled * 1001)
			p.onBook(0, -settled*2000, settled*2000)
		} else {
			p.moved(settled * 2000)
			p.onBook(-settled*1001, settled*1001, 0)
		}
		if settled == 0 {
			p.Error("none was settled")
		}
	})
}
