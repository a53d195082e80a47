package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
)

// toll stands between Bank A and the ramp. Once it is armed, one call to one ledger is not handed in,
// or its answer is lost, and so is every call from then on.
type toll struct {
	mu     sync.Mutex
	ledger cypherlink.LedgerID // empty while nothing is to happen
	before bool
	struck chan struct{}
}

// gate is one ledger through the toll.
type tollgate struct {
	ledger.Ledger
	ramp ledger.Ramp
	toll *toll
}

func (g *toll) watch(folder string, l ledger.Ledger) ledger.Ledger {
	if r, ok := l.(ledger.Ramp); ok && folder == folderA {
		return &tollgate{l, r, g}
	}
	return l
}

// arm makes the next call to the ledger go wrong.
func (g *toll) arm(id cypherlink.LedgerID, before bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ledger, g.before, g.struck = id, before, make(chan struct{})
	return g.struck
}

func (g *toll) disarm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ledger = ""
}

// strikes tells what happens to a call.
func (g *toll) strikes(id cypherlink.LedgerID) (strikes, before bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ledger == id, g.before
}

func (g *toll) strike() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.struck:
	default:
		close(g.struck)
	}
}

// Cross implements ledger.Ramp.
func (g *tollgate) Cross(ctx context.Context, c *ledger.SignedCommand) (ledger.Passage, error) {
	strikes, before := g.toll.strikes(c.Ledger)
	if strikes && before {
		g.toll.strike()
		return ledger.Passage{}, errSilent
	}
	p, err := g.ramp.Cross(ctx, c)
	if strikes && err == nil {
		g.toll.strike()
		return ledger.Passage{}, errSilent
	}
	return p, err
}

// crossingOf is Bank A's, of that many euro.
func crossingOf(t *testing.T, s *stage, nonce uint64, burn bool, euro cypherlink.Amount) ledger.Crossing {
	t.Helper()
	x := ledger.Crossing{
		Owner: bankA(t, s).keys.self.ID, Asset: assetDE(), Amount: 100 * euro, Nonce: nonce,
		Expiry: time.Now().Add(10 * time.Minute).Unix(),
	}
	if burn {
		x.Asset = assetClaim()
	}
	return x
}

func bankA(t *testing.T, s *stage) *connectProcess {
	t.Helper()
	bank, ok := s.plays[folderA].process.(*connectProcess)
	if !ok {
		t.Fatal("Bank A does not run")
	}
	return bank
}

// arrives waits until the crossing has come in.
func arrives(t *testing.T, s *stage, x ledger.Crossing) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bank := bankA(t, s)
	for {
		_, got, err := bank.ramp.Crossing(ctx, x.ID(bank.keys.genesis.Network()))
		if err != nil || got == connector.Lapsed {
			t.Fatal(got, err)
		}
		if got == connector.Arrived {
			return
		}
		select {
		case err := <-s.failed:
			t.Fatal(err)
		case <-time.After(pollEvery):
		}
	}
}

// backs is the line of an audit about DE.C.
func backs(escrow, accounts, arriving, leaving string) string {
	return fmt.Sprintf("%-8s  %-10s"+strings.Repeat("  %16s", 6)+"\n",
		labelClaim, labelDE, escrow, accounts, "0.00", "0.00", arriving, leaving)
}

// weighs wants an audit without a difference, with that line.
func weighs(t *testing.T, dir, want string) {
	t.Helper()
	if code, out := audited(t, dir); code != 0 || !strings.Contains(out, want) {
		t.Errorf("exit %d, want %q\n%s", code, want, out)
	}
}

// Bank A lets 10,000.00 DE onto the chain and takes 4,000.00 back: 6,000.00 lie in escrow. Then it is
// killed at every point of both ways, everybody with it; nothing is lost, and the audit says so.
func TestRampOfANetwork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	var g toll
	s, err := raise(t.Context(), dir, io.Discard, through(g.watch))
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range []ledger.Crossing{
		crossingOf(t, s, 1, false, 10_000), crossingOf(t, s, 1, true, 4_000),
	} {
		if err := bankA(t, s).ramp.Begin(t.Context(), x); err != nil {
			t.Fatal(i, err)
		}
		arrives(t, s, x)
	}
	down := func() {
		t.Helper()
		if err := s.stopAll(); err != nil {
			t.Fatal(err)
		}
	}
	down()
	weighs(t, dir, backs("6000.00", "6000.00", "0.00", "0.00"))

	points := []struct {
		burn   bool
		ledger cypherlink.LedgerID
		before bool
		down   string // what an audit says then
		up     string
	}{
		{false, ledgerDE, false, backs("6100.00", "6000.00", "100.00", "0.00"), backs("6100.00", "6100.00", "0.00", "0.00")},
		{true, ledgerCypherium, false, backs("6100.00", "6000.00", "0.00", "100.00"), backs("6000.00", "6000.00", "0.00", "0.00")},
		{false, ledgerDE, true, backs("6000.00", "6000.00", "0.00", "0.00"), backs("6100.00", "6100.00", "0.00", "0.00")},
		{false, ledgerCypherium, true, backs("6200.00", "6100.00", "100.00", "0.00"), backs("6200.00", "6200.00", "0.00", "0.00")},
		{false, ledgerCypherium, false, backs("6300.00", "6300.00", "0.00", "0.00"), backs("6300.00", "6300.00", "0.00", "0.00")},
		{true, ledgerCypherium, true, backs("6300.00", "6300.00", "0.00", "0.00"), backs("6200.00", "6200.00", "0.00", "0.00")},
		{true, ledgerDE, true, backs("6200.00", "6100.00", "0.00", "100.00"), backs("6100.00", "6100.00", "0.00", "0.00")},
		{true, ledgerDE, false, backs("6000.00", "6000.00", "0.00", "0.00"), backs("6000.00", "6000.00", "0.00", "0.00")},
	}
	if testing.Short() {
		points = points[:2]
	}
	for i, p := range points {
		t.Run(fmt.Sprintf("killed at %s, burn %v, before %v", p.ledger, p.burn, p.before), func(t *testing.T) {
			s = resumed(t, dir, through(g.watch))
			x := crossingOf(t, s, uint64(i)+2, p.burn, 100)
			struck := g.arm(p.ledger, p.before)
			if err := bankA(t, s).ramp.Begin(t.Context(), x); err != nil {
				t.Fatal(err)
			}
			<-struck
			down()
			g.disarm()
			weighs(t, dir, p.down)
			s = resumed(t, dir, through(g.watch))
			arrives(t, s, x)
			down()
			weighs(t, dir, p.up)
		})
	}
	auditFindsCrossings(t, dir)
}

// auditFindsCrossings doctors copies of a network by one unit or one record.
func auditFindsCrossings(t *testing.T, dir string) {
	t.Helper()
	const escrow = " WHERE place LIKE '%/4294967295'"
	claim := func(g *chain.Genesis, _ *state.Pebble) []byte {
		for _, o := range g.File().Openings {
			if p, _ := g.Participant(o.Account.Owner); o.Asset == assetClaim() && p.Name == "Bank A" {
				return append([]byte{'s'}, state.BalanceKey(o.Account, o.Asset)...)
			}
		}
		t.Fatal("Bank A has no account")
		return nil
	}
	supply := func(*chain.Genesis, *state.Pebble) []byte {
		return append([]byte{'s'}, state.SupplyKey(assetClaim())...)
	}
	stream := "stream = (SELECT MIN(stream) FROM events WHERE stream LIKE 'ramp/%')"
	for i, tt := range []tampering{
		{"one cent more in escrow", statement(folderLedger, "UPDATE book_places SET balance = balance + 1"+escrow), "the escrow holds 6000.01 DE"},
		{"one cent less in escrow", statement(folderLedger, "UPDATE book_places SET balance = balance - 1"+escrow), "the escrow holds 5999.99 DE"},
		{"one cent moved out of escrow", func(t *testing.T, dir string) {
			edit(t, dir, folderLedger, "UPDATE book_places SET balance = balance - 1"+escrow)
			edit(t, dir, folderLedger, `UPDATE book_places SET balance = balance + 1
				WHERE balance = (SELECT MAX(balance) FROM book_places)`)
		}, "Digital euro ledger, escrow"},
		{"one cent more on the chain", func(t *testing.T, dir string) { alter(t, dir, claim, flipped(-1)) }, "member-3\n  - account"},
		{"one cent more of supply", func(t *testing.T, dir string) { alter(t, dir, supply, flipped(-1)) }, "member-3\n  - key"},
		{"a crossing of the chain is edited", func(t *testing.T, dir string) { alter(t, dir, lastOf(t, 's', 6), flipped(-1)) }, "in the state is not what the events say"},
		{"a crossing of the chain is gone", func(t *testing.T, dir string) { alter(t, dir, lastOf(t, 's', 6), removed) }, "crossings in the state, by the events"},
		{"the ledger has lost a deposit", statement(folderLedger, "DELETE FROM book_crossings WHERE sequence = 1"), "came in and never left de"},
		{"a gateway has lost a passage", statement(folderB, "DELETE FROM kafka_crossings WHERE sequence = 1"), "of ledger de it lacks passage 1"},
		{"a gateway has another passage", statement(folderClearing, `UPDATE kafka_crossings SET record =
			(SELECT record FROM kafka_crossings WHERE sequence = 1) WHERE sequence = 2`), "it has another passage 2"},
		{"a crossing's log has lost its end", statement(folderA, "DELETE FROM events WHERE sequence = 3 AND "+stream), "the log has lost its end"},
		{"a crossing's log is another's", statement(folderA, `UPDATE events SET stream = 'ramp/' || substr(stream, 7) || substr(stream, 6, 1)
			WHERE `+stream), "it is of crossing"},
		{"a crossing that arrived is said to have lapsed", func(t *testing.T, dir string) {
			edit(t, dir, folderA, "DELETE FROM events WHERE sequence = 3 AND "+stream)
			edit(t, dir, folderA, "UPDATE events SET kind = 'lapsed', body = x'04' WHERE sequence = 2 AND "+stream)
		}, "is lapsed, but it left"},
	} {
		if testing.Short() && i%3 != 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			changed := duplicate(t, dir)
			tt.tamper(t, changed)
			code, out := audited(t, changed)
			if code != exitFailed || !strings.Contains(out, tt.found) {
				t.Error(code, out)
			}
		})
	}
}

// What a burn proves counts by genesis alone: the operator's process verifies it by itself.
func TestTheOperatorVerifiesBurns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	s, err := raise(t.Context(), dir, io.Discard, unwatched)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stopAll(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	bank := bankA(t, s)
	x := crossingOf(t, s, 1, true, 1)
	c := &ledger.SignedCommand{
		Network: bank.keys.genesis.Network(), Ledger: ledgerDE, Signer: x.Owner, Sequence: 1,
		Command: &ledger.Enter{Crossing: x, Evidence: []byte("no proof")},
	}
	if c.Signature, err = bank.keys.identity.Sign(c.Frame()); err != nil {
		t.Fatal(err)
	}
	_, err = bank.gateway.Cross(ctx, c)
	if refused, ok := errors.AsType[*cypherlink.Error](err); !ok || refused.Code != ledger.CodeEvidence {
		t.Fatal(err)
	}
}
