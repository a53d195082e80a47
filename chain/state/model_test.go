package state_test

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// model is the ledger as package ledger tells it, on a double-entry book in memory, and what
// its custodies said on the way.
type model struct {
	*ledgertest.Memory
	charter *ledger.Charter
	events  []string
}

// block applies what a block of that time would, and tells each command's answer.
func (m *model) block(t rapid.TB, nowMS int64, commands []*ledger.SignedCommand) []cypherlink.Code {
	for _, id := range m.Due(nowMS) {
		c, changed, err := ledger.Expire(m, nowMS, id)
		if err != nil || !changed {
			t.Fatal(err, changed)
		}
		m.events = append(m.events, said(c))
	}
	answers := make([]cypherlink.Code, len(commands))
	for i, command := range commands {
		c, err := m.charter.Apply(m, nowMS, command)
		if answers[i] = answer(err); err == nil {
			m.events = append(m.events, said(c))
		}
	}
	return answers
}

func said(c ledger.Custody) string { return fmt.Sprint(c.ID, c.State) }

func answer(err error) cypherlink.Code {
	if errors.Is(err, ledger.ErrRepeated) {
		return "repeated"
	}
	return cypherlink.ErrorCode(err)
}

// payments are few, so that commands meet: the same payment again, another one under the same
// condition, one that no account covers.
func payments(w *ledgertest.World) []ledgertest.Payment {
	var all []ledgertest.Payment
	for i := range 8 {
		amount := cypherlink.Amount(i+1) * ledgertest.Opening / 10
		p := w.Payment(fmt.Sprint("payment ", i), amount, start+20+int64(i)*7)
		if i%2 == 1 {
			p.Subject.Fields.Debit, p.Subject.Fields.Credit = p.Subject.Fields.Credit, p.Subject.Fields.Debit
		}
		all = append(all, p)
	}
	all[6].Subject.Condition, all[6].Preimage = all[5].Subject.Condition, all[5].Preimage
	all[7].Subject.Fields.Asset = w.Free
	return all
}

func drawCommand(t *rapid.T, w *ledgertest.World, all []ledgertest.Payment) *ledger.SignedCommand {
	p := rapid.SampledFrom(all).Draw(t, "payment")
	by := rapid.SampledFrom([]ledgertest.Actor{w.Alice, w.Bob, w.Mallory}).Draw(t, "by")
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0, 1, 2:
		c := w.Prepare(p)
		c.Signer = p.Subject.Fields.Debit.Owner
		owner := w.Alice
		if c.Signer == w.Bob.ID {
			owner = w.Bob
		}
		ledgertest.Resign(owner, c)
		return c
	case 3, 4:
		return w.Confirm(by, p)
	default:
		return w.Return(by, p)
	}
}

// The chain says what the rules say on a plain book: in every order of commands, forks,
// commits and restarts; two executions agree; and no money is made or lost.
func TestChainIsTheModel(t *testing.T) {
	n := chaintest.New(t, nil)
	rapid.Check(t, func(t *rapid.T) {
		store := state.NewMemory()
		s, err := state.Open(store, n.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		other, err := state.Open(state.NewMemory(), n.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		charter, err := n.Genesis.Charter(n.World.Ledger)
		if err != nil {
			t.Fatal(err)
		}
		m := &model{Memory: ledgertest.NewMemory(n.World.Balances()), charter: charter}
		all := payments(n.World)
		tip, now := s.Header(), int64(chaintest.Start)
		at, otherAt := s.Final(), other.Final()
		var waiting, otherWaiting []executed
		for range rapid.IntRange(1, 10).Draw(t, "blocks") {
			now += rapid.Int64Range(1, 15_000).Draw(t, "wait")
			var commands []*ledger.SignedCommand
			for range rapid.IntRange(0, 6).Draw(t, "commands") {
				commands = append(commands, drawCommand(t, n.World, all))
			}
			if rapid.Bool().Draw(t, "fork") { // a block that never becomes final
				fork := []*ledger.SignedCommand{drawCommand(t, n.World, all)}
				if _, err := s.Build(at, at.Height()+1, now, transactions(fork...)); err != nil {
					t.Fatal(err)
				}
			}
			built, err := s.Build(at, at.Height()+1, now, transactions(commands...))
			if err != nil {
				t.Fatal(err)
			}
			checkAnswers(t, m.block(t, now, commands), commands, built)
			block := chain.Block{Payload: built.Payload, Header: chain.Header{
				Height: at.Height() + 1, TimeMS: now, Parent: chain.Tuple{Block: tip.ID()},
				PayloadRoot: built.Payload.Root(), Roots: built.Version.Roots(),
			}}
			tip = block.Header
			again, err := other.Execute(otherAt, tip, built.Payload)
			if err != nil {
				t.Fatal(err)
			}
			at, otherAt = built.Version, again
			waiting = append(waiting, executed{at, block})
			otherWaiting = append(otherWaiting, executed{otherAt, block})
			if !rapid.Bool().Draw(t, "commit") {
				continue
			}
			commitAll(t, s, waiting)
			commitAll(t, other, otherWaiting)
			waiting, otherWaiting = nil, nil
			checkState(t, s, m, n.World)
			if rapid.Bool().Draw(t, "restart") {
				if s, err = state.Open(store, n.Genesis); err != nil {
					t.Fatal(err)
				}
				at = s.Final()
			}
		}
	})
}

type executed struct {
	version *state.Version
	block   chain.Block
}

func commitAll(t rapid.TB, s *state.State, waiting []executed) {
	for _, e := range waiting {
		proof := chain.FinalityProof{Headers: []chain.Header{e.block.Header}}
		if err := s.Commit(e.version, state.Final{Block: e.block, Proof: proof}); err != nil {
			t.Fatal(err)
		}
	}
}

func checkAnswers(
	t rapid.TB, want []cypherlink.Code, commands []*ledger.SignedCommand, built *state.Built,
) {
	left := map[*ledger.SignedCommand]error{}
	for _, l := range built.LeftOut {
		left[l.Transaction.Body.(state.Command).Signed] = l.Err
	}
	for i, c := range commands {
		if got := answer(left[c]); got != want[i] {
			t.Fatalf("%T: the chain says %q, the model %q", c.Command, got, want[i])
		}
	}
}

func checkState(t rapid.TB, s *state.State, m *model, w *ledgertest.World) {
	balances, err := s.Balances()
	if err != nil {
		t.Fatal(err)
	}
	totals := map[cypherlink.Asset]cypherlink.Amount{}
	for _, b := range balances {
		want, ok, _ := m.Balance(b.Account, b.Asset)
		if !ok || want != b.Amount {
			t.Fatalf("%s holds %d of %s, the model says %d", b.Account, b.Amount, b.Asset, want)
		}
		totals[b.Asset] += b.Amount
	}
	if err := s.Custodies(func(c ledger.Custody) bool {
		want, ok, _ := m.Custody(c.ID)
		if !ok || said(want) != said(c) || want.Preimage != c.Preimage || want.Subject != c.Subject {
			t.Fatalf("custody %s is %s, the model says %s", c.ID, c.State, want.State)
		}
		if c.State == ledger.Prepared {
			totals[c.Leg().Asset] += c.Leg().Amount
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for _, asset := range []cypherlink.Asset{w.Asset, w.Free} {
		if totals[asset] != 3*ledgertest.Opening {
			t.Fatalf("%d of %s in all, there were %d", totals[asset], asset, 3*ledgertest.Opening)
		}
	}
	size := s.Header().Roots.FeedSize
	if size != uint64(len(m.events)) {
		t.Fatalf("%d events, the model has %d", size, len(m.events))
	}
	for i, want := range m.events {
		e, err := s.EventAt(uint64(i))
		if err != nil || said(*custodyOf(*e)) != want {
			t.Fatalf("event %d is %v, %v; the model says %s", i, e, err, want)
		}
	}
}
