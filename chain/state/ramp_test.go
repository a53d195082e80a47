package state_test

import (
	"bytes"
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

// port is a chain with a ramp.
type port struct {
	*fabric
	ramp *ledgertest.Ramp
}

func weavePort(t testing.TB, store state.Store) *port {
	t.Helper()
	n, ramp := chaintest.NewRamp(t)
	f := &fabric{Network: n, State: open(t, store, n)}
	n.SetRoots(t, f.Header().Roots)
	f.qc = n.Committee.Genesis()
	return &port{f, ramp}
}

// credit is the Enter of a deposit that the operator has recorded.
func (p *port) credit(x ledger.Crossing, sequence uint64) *ledger.SignedCommand {
	record := p.ramp.Record(x, sequence, (start+1)*1000)
	return p.ramp.Enter(p.World.Bob, x, record.Encode())
}

// stands wants so much on Alice's account and as the supply.
func (p *port) stands(t testing.TB, want cypherlink.Amount) {
	t.Helper()
	got, _, err := p.Balance(ledgertest.Account(p.World.Alice), p.ramp.Claim)
	if err != nil || got != want {
		t.Fatalf("Alice holds %d, %v, want %d", got, err, want)
	}
	if supply, err := p.Supply(p.ramp.Claim); err != nil || supply != want {
		t.Fatalf("the supply is %d, %v, want %d", supply, err, want)
	}
}

// refused wants the command left out of a block, for that code.
func (p *port) refused(t testing.TB, seconds int64, c *ledger.SignedCommand, want cypherlink.Code) {
	t.Helper()
	built, _ := p.build(t, seconds, c)
	if len(built.LeftOut) != 1 || answer(built.LeftOut[0].Err) != want || len(built.Version.Events()) > 0 {
		t.Fatalf("left out %+v, want %s", built.LeftOut, want)
	}
	b := p.Block(p.qc, (start+seconds)*1000, chain.Payload{transactions(c)[0].Encode()}, built.Version.Roots())
	if _, err := p.Execute(p.Final(), b.Header, b.Payload); !errors.Is(err, state.ErrBlock) {
		t.Fatalf("a block with it: %v", err)
	}
}

func TestCreditAndBurn(t *testing.T) {
	store := state.NewMemory()
	p := weavePort(t, store)
	in := p.ramp.Deposit(1, 10_000, start+60)
	if _, open, err := p.Balance(in.Credit(), p.ramp.Claim); open || err != nil {
		t.Fatal("the account is open before the first credit", err)
	}
	v := p.block(t, 1, p.credit(in, 1))
	p.stands(t, 10_000)
	id := in.ID(p.Network.Genesis.Network())
	credited, ok := v.Events()[0].Fact.(state.CreditFact)
	if !ok || credited.Crossing != in || credited.ID != id || len(v.Events()) != 1 {
		t.Fatalf("events %+v", v.Events())
	}
	p.refused(t, 2, p.credit(in, 1), "repeated")
	p.refused(t, 2, p.credit(in, 2), "repeated") // the same deposit under another record

	out := p.ramp.Burn(1, 4_000, start+60)
	p.refused(t, 2, p.ramp.Leave(p.World.Mallory, out), ledger.CodeNotAllowed)
	v = p.block(t, 2, p.ramp.Leave(p.World.Alice, out))
	p.stands(t, 6_000)
	burned, ok := v.Events()[0].Fact.(state.BurnFact)
	if !ok || burned.Crossing != out || len(v.Events()) != 1 {
		t.Fatalf("events %+v", v.Events())
	}
	p.refused(t, 3, p.ramp.Leave(p.World.Alice, out), "repeated")
	p.refused(t, 3, p.ramp.Leave(p.World.Alice, p.ramp.Burn(2, 6_001, start+60)), ledger.CodeFunds)
	p.refused(t, 3, p.ramp.Leave(p.World.Alice, p.ramp.Burn(2, 1, start+3)), ledger.CodeLapsed)

	index, err := p.LatestEvent(burned.Subject())
	if err != nil || index != 1 {
		t.Fatalf("event %d, %v", index, err)
	}
	reopened := open(t, store, p.Network)
	for _, s := range []*state.State{p.State, reopened} {
		var passed []state.Passed
		if err := s.Crossings(func(one state.Passed) bool {
			passed = append(passed, one)
			return true
		}); err != nil || len(passed) != 2 {
			t.Fatalf("%+v, %v", passed, err)
		}
		for key, want := range map[string][]byte{
			string(state.CrossingKey(burned.ID)):   nil,
			string(state.CrossingKey(credited.ID)): nil,
			string(state.SupplyKey(p.ramp.Claim)):  {0, 0, 0, 0, 0, 0, 6_000 >> 8, 6_000 & 255},
		} {
			proof, err := s.Prove([]byte(key))
			if err != nil {
				t.Fatal(err)
			}
			value, ok, err := proof.Verify(s.Header().Roots.State, []byte(key))
			if err != nil || !ok || want != nil && !bytes.Equal(value, want) {
				t.Fatalf("%x: %x, %v, %v", key, value, ok, err)
			}
		}
	}
}

// A credited amount is money like any other: it pays a custody to an account that is open.
func TestCreditedMoneyPays(t *testing.T) {
	p := weavePort(t, state.NewMemory())
	w := p.World
	p.block(t, 1, p.credit(p.ramp.Deposit(1, 10_000, start+60), 1))
	pay := w.Payment("one", 700, start+60)
	pay.Subject.Fields.Asset = p.ramp.Claim
	prepare := w.Sign(w.Alice, &ledger.Prepare{Subject: pay.Subject, Packet: pay.Packet})
	p.refused(t, 2, prepare, ledger.CodeUnknownAccount) // Bob has never been credited
	bob := p.ramp.Deposit(1, 5, start+60)
	bob.Owner = w.Bob.ID
	p.block(t, 2, p.credit(bob, 2), prepare)
	p.block(t, 3, w.Confirm(w.Bob, pay))
	out := p.ramp.Burn(1, 705, start+60)
	out.Owner = w.Bob.ID
	p.block(t, 4, p.ramp.Leave(w.Bob, out))
	p.holdsClaim(t, w.Alice, 9_300)
	p.holdsClaim(t, w.Bob, 0)
	if supply, err := p.Supply(p.ramp.Claim); err != nil || supply != 9_300 {
		t.Fatalf("supply %d, %v", supply, err)
	}
}

func (p *port) holdsClaim(t testing.TB, who ledgertest.Actor, want cypherlink.Amount) {
	t.Helper()
	got, ok, err := p.Balance(ledgertest.Account(who), p.ramp.Claim)
	if err != nil || !ok || got != want {
		t.Fatalf("%s holds %d, %v, %v, want %d", who.ID, got, ok, err, want)
	}
}

func TestForgedCredits(t *testing.T) {
	p := weavePort(t, state.NewMemory())
	in := p.ramp.Deposit(1, 10_000, start+60)
	for name, edit := range map[string]func(r *ledger.RampRecord, x *ledger.Crossing) ledgertest.Actor{
		"another operator": func(*ledger.RampRecord, *ledger.Crossing) ledgertest.Actor { return p.World.Mallory },
		"another ledger": func(r *ledger.RampRecord, _ *ledger.Crossing) ledgertest.Actor {
			r.Passage.Ledger = p.World.Ledger
			return p.World.Operator
		},
		"another network": func(r *ledger.RampRecord, _ *ledger.Crossing) ledgertest.Actor {
			r.Network[0] ^= 1
			return p.World.Operator
		},
		"another amount": func(_ *ledger.RampRecord, x *ledger.Crossing) ledgertest.Actor {
			x.Amount++
			return p.World.Operator
		},
	} {
		record, x := p.ramp.Record(in, 1, (start+1)*1000), in
		by := edit(record, &x)
		record.Signature, _ = by.Sign(record.Frame())
		t.Run(name, func(t *testing.T) {
			p.refused(t, 1, p.ramp.Enter(p.World.Alice, x, record.Encode()), ledger.CodeEvidence)
		})
	}
	p.refused(t, 1, p.ramp.Enter(p.World.Stranger, in, p.ramp.Record(in, 1, 0).Encode()), ledger.CodeUnknownSigner)
	p.block(t, 1, p.credit(in, 1)) // the control
}

// Of two forks each credits once, and none sees the other's.
func TestForksCreditApart(t *testing.T) {
	p := weavePort(t, state.NewMemory())
	in := p.ramp.Deposit(1, 10_000, start+60)
	one, block := p.build(t, 1, p.credit(in, 1))
	two, _ := p.build(t, 1)
	for fork, want := range map[*state.Version]int{one.Version: 1, two.Version: 0} {
		again, err := p.Build(fork, 2, (start+2)*1000, transactions(p.credit(in, 1)))
		if err != nil || len(again.LeftOut) != want {
			t.Fatalf("%+v, %v", again, err)
		}
	}
	if _, err := p.Build(p.Final(), 1, (start+1)*1000, transactions(p.credit(in, 1), p.credit(in, 1))); err != nil {
		t.Fatal(err)
	}
	p.commit(t, block)
	p.stands(t, 10_000)
}

// The chain does what the rules do on a plain book, over forks and restarts.
func TestRampIsTheModel(t *testing.T) {
	n, ramp := chaintest.NewRamp(t)
	rapid.Check(t, func(t *rapid.T) {
		store := state.NewMemory()
		s, err := state.Open(store, n.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		charter, err := n.Genesis.Charter(n.World.Ledger)
		if err != nil {
			t.Fatal(err)
		}
		m := ledgertest.NewMemory(n.World.Balances())
		m.AddRamp(charter)
		now, tip := int64(chaintest.Start), s.Header()
		for range rapid.IntRange(1, 8).Draw(t, "blocks") {
			now += rapid.Int64Range(1, 9_000).Draw(t, "wait")
			var commands []*ledger.SignedCommand
			for range rapid.IntRange(0, 5).Draw(t, "commands") {
				commands = append(commands, drawCrossing(t, ramp))
			}
			built, err := s.Build(s.Final(), s.Header().Height+1, now, transactions(commands...))
			if err != nil {
				t.Fatal(err)
			}
			want := make([]cypherlink.Code, len(commands))
			for i, c := range commands {
				err := charter.Authenticate(c)[0]
				if err == nil {
					_, err = charter.Cross(m, now, c)
				}
				want[i] = answer(err)
			}
			checkAnswers(t, want, commands, built)
			block := chain.Block{Payload: built.Payload, Header: chain.Header{
				Height: s.Header().Height + 1, TimeMS: now, Parent: chain.Tuple{Block: tip.ID()},
				PayloadRoot: built.Payload.Root(), Roots: built.Version.Roots(),
			}}
			tip = block.Header
			commitAll(t, s, []executed{{built.Version, block}})
			if rapid.Bool().Draw(t, "restart") {
				if s, err = state.Open(store, n.Genesis); err != nil {
					t.Fatal(err)
				}
			}
			checkSupply(t, s, m, ramp)
		}
	})
}

// drawCrossing draws few, so that they meet.
func drawCrossing(t *rapid.T, r *ledgertest.Ramp) *ledger.SignedCommand {
	x := r.Deposit(rapid.Uint64Range(1, 4).Draw(t, "nonce"),
		rapid.SampledFrom([]cypherlink.Amount{0, 1, 700, 1 << 62}).Draw(t, "amount"), start+40)
	x.To = rapid.Uint32Range(0, 1).Draw(t, "to")
	if rapid.Bool().Draw(t, "enter") {
		return r.Enter(r.Bob, x, r.Record(x, 1, (start+1)*1000).Encode())
	}
	x.Asset, x.From = r.Claim, x.To
	return r.Leave(r.Alice, x)
}

func checkSupply(t rapid.TB, s *state.State, m *ledgertest.Memory, r *ledgertest.Ramp) {
	balances, err := s.Balances()
	if err != nil {
		t.Fatal(err)
	}
	var sum cypherlink.Amount
	for _, b := range balances {
		if want, ok, _ := m.Balance(b.Account, b.Asset); !ok || want != b.Amount {
			t.Fatalf("%s holds %d of %s, the model says %d", b.Account, b.Amount, b.Asset, want)
		}
		if b.Asset == r.Claim {
			sum += b.Amount
		}
	}
	want, _ := m.Held(r.Claim)
	if supply, err := s.Supply(r.Claim); err != nil || supply != want || sum != want {
		t.Fatalf("supply %d, accounts %d, the model says %d, %v", supply, sum, want, err)
	}
}

// rampFacts are one of each kind.
func rampFacts() []state.Fact {
	r := ledgertest.NewRamp("cypherium")
	in, out := r.Deposit(1, 5, start+60), r.Burn(2, 6, start+60)
	return []state.Fact{
		state.CreditFact{Passed: state.Passed{ID: in.ID(r.Network), Crossing: in}},
		state.BurnFact{Passed: state.Passed{ID: out.ID(r.Network), Crossing: out}},
	}
}

func TestRampEventsEncodeAndDecode(t *testing.T) {
	for _, f := range rampFacts() {
		e := state.Event{Height: 3, TimeMS: 4, Fact: f}
		b := e.Encode()
		got, err := state.DecodeEvent(b)
		if err != nil || fmt.Sprint(*got) != fmt.Sprint(e) {
			t.Fatalf("%+v became %+v, %v", e, got, err)
		}
		if p, ok := got.Passed(); !ok || p.Subject() != f.Subject() {
			t.Fatalf("%+v", got)
		}
		if _, ok := got.Custody(); ok {
			t.Error("it is of a custody")
		}
		if _, err := state.DecodeEvent(b[:len(b)-1]); !errors.Is(err, state.ErrEvent) {
			t.Error(err)
		}
	}
}

// Records of an operator count by the registry of the block's parent: not while it is suspended, and
// after a rotation by its new key alone.
func TestAnOperatorInTheRegistry(t *testing.T) {
	p := weavePort(t, state.NewMemory())
	operator := p.World.Operator.ID
	in := p.ramp.Deposit(1, 10_000, start+60)
	p.blockOf(t, 1, p.change(t, &chain.Suspend{ID: operator}))
	p.refuses(t, 2, command(p.credit(in, 1)), ledger.CodeEvidence)
	p.blockOf(t, 2, p.change(t, &chain.Resume{ID: operator}))
	p.block(t, 3, p.credit(in, 1))
	keys, actor := chaintest.Keys(t, "operator, again")
	p.blockOf(t, 4, p.change(t, &chain.Rotate{ID: operator, KeySet: keys}))
	later := p.ramp.Deposit(2, 500, start+60)
	p.refuses(t, 5, command(p.credit(later, 2)), ledger.CodeEvidence)
	record := p.ramp.Record(later, 2, (start+1)*1000)
	record.Signature, _ = actor.Sign(record.Frame())
	p.block(t, 5, p.ramp.Enter(p.World.Bob, later, record.Encode()))
	p.stands(t, 10_500)
	// the owner's, while it is suspended: nothing leaves, and what has left is its own to bring
	p.blockOf(t, 6, p.change(t, &chain.Suspend{ID: p.World.Alice.ID}))
	p.refuses(t, 7, command(p.ramp.Leave(p.World.Alice, p.ramp.Burn(1, 1, start+60))), ledger.CodeSuspended)
}
