package payment

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/terms"
)

// laneWorld is a chain with a channel of two banks: A's lane has updates 1 to 4, of which the fourth is
// anchored in block 3; a cut at the fifth ends the generation in block 4, and the sixth, of the next one,
// is anchored in block 5. The second update carries three payments, of which the terms' is the second.
type laneWorld struct {
	*chaintest.Network
	state *state.State
	qc    chain.QC
	id    channels.ID
	// parties are the banks with their keys, in the order of the sides, and Mallory.
	parties *network

	terms      *terms.Proof
	operations [][]channels.Operation
	updates    []channels.Update // those of lane A
}

var oneLaneWorld struct {
	sync.Once
	made *laneWorld
}

// newLaneWorld is always the same one, which does not change.
func newLaneWorld(tb testing.TB) *laneWorld {
	tb.Helper()
	oneLaneWorld.Do(func() { oneLaneWorld.made = makeLaneWorld(tb) })
	return oneLaneWorld.made
}

func makeLaneWorld(tb testing.TB) *laneWorld {
	tb.Helper()
	l := &laneWorld{Network: chaintest.New(tb, nil)}
	var err error
	if l.state, err = state.Open(state.NewMemory(), l.Genesis); err != nil {
		tb.Fatal(err)
	}
	l.SetRoots(tb, l.state.Header().Roots)
	l.qc = l.Committee.Genesis()
	var players [3]*player
	banks := l.Banks()
	for i, bank := range append(banks[:], l.World.Mallory) {
		key, err := sign.GenerateKey(rand.NewChaCha8(bank.Key)) // as chaintest made it
		if err != nil {
			tb.Fatal(err)
		}
		players[i] = &player{Participant: chain.Participant{ID: bank.ID}, key: key}
	}
	l.parties = &network{
		genesis: l.Genesis, a: players[0], b: players[1], clearing: players[2], mallory: players[2],
	}
	l.terms = l.parties.prove(tb, l.agreed(1, 70))
	l.open(tb)
	l.pay(tb)
	return l
}

// agreed are terms by which bank A pays bank B.
func (l *laneWorld) agreed(n byte, amount cypherlink.Amount) *terms.Terms {
	banks := l.Banks()
	id := cypherlink.UETR{0: n, 6: 0x40, 8: 0x80}
	return &terms.Terms{
		Network: l.World.Network, UETR: id, Payer: banks[0].ID, Payee: banks[1].ID,
		KYC: cypherlink.Hash{n},
		Legs: []terms.Leg{{
			Asset: l.World.Asset, Amount: amount, Expiry: chaintest.Start/1000 + 600,
			Debit: ledgertest.Account(banks[0]), Credit: ledgertest.Account(banks[1]),
		}},
	}
}

// open opens and funds the channel.
func (l *laneWorld) open(tb testing.TB) {
	tb.Helper()
	open := l.Open(1)
	l.id = channels.NewID(l.World.Network, open.Banks, open.Asset, 1)
	l.together(tb, channels.Joint{Do: open})
	l.block(tb, l.act(0, 1, channels.Fund{Channel: l.id, Amount: 1000, Number: 1}))
}

// pay writes lane A.
func (l *laneWorld) pay(tb testing.TB) {
	tb.Helper()
	other := func(n byte) channels.Operation {
		return channels.Pay{Payment: cypherlink.UETR{n}, Amount: 1, Terms: cypherlink.Hash{n}}
	}
	own := channels.Pay{Payment: l.terms.Terms.UETR, Amount: 70, Terms: l.terms.Terms.Hash()}
	for seq, operations := range [][]channels.Operation{
		{other(11)}, {other(21), own, other(23)}, {other(31), other(32)}, {other(41)}, {other(51)}, {other(61)},
	} {
		gen := uint32(seq / 5)
		l.updates = append(l.updates, l.after(gen, operations))
		l.operations = append(l.operations, operations)
	}
	a := channels.Anchor{Channel: l.id}
	a.Heads[channels.A] = l.Certificate(l.updates[3])
	l.block(tb, l.act(1, 1, a))
	l.together(tb, channels.Joint{
		Do: channels.Cut{Lane: channels.A}, Counter: 1, Points: [2]channels.Point{
			l.updates[4].Point(), {Head: channels.Head{Hash: cypherlink.Hash(l.id), Locks: channels.LockRoot(nil)}},
		},
	})
	a.Heads[channels.A] = l.Certificate(l.updates[5])
	l.block(tb, l.act(0, 2, a))
}

// after is the update that follows the last one of lane A.
func (l *laneWorld) after(gen uint32, operations []channels.Operation) channels.Update {
	u := channels.Update{Channel: l.id, Lane: channels.A, Gen: gen, Prev: cypherlink.Hash(l.id)}
	if n := len(l.updates); n > 0 {
		u.Prev, u.Head = l.updates[n-1].Hash, l.updates[n-1].Head
	}
	u.Seq++
	u.Body, u.Locks = channels.BodyRoot(operations), channels.LockRoot(nil)
	for _, op := range operations {
		u.Paid += op.(channels.Pay).Amount
	}
	return chaintest.Sealed(u)
}

func (l *laneWorld) act(side channels.Side, sequence uint64, a channels.Action) state.Body {
	return state.ChannelAction{Signed: l.Act(l.Banks()[side], sequence, a)}
}

func (l *laneWorld) together(tb testing.TB, j channels.Joint) {
	tb.Helper()
	j.Channel, j.ValidUntil = l.id, chaintest.Start/1000+20
	open := l.Open(1)
	roster, err := state.JointRoster(l.state.Final().Registry(), open.Banks, open.Asset)
	if err != nil {
		tb.Fatal(err)
	}
	l.block(tb, state.ChannelJoint{Joint: j, Certificate: l.Cosign(tb, roster, j, 0, 1, 2, 3)})
}

// block makes a final block, a second after the last one.
func (l *laneWorld) block(tb testing.TB, body state.Body) {
	tb.Helper()
	height := l.state.Header().Height + 1
	at := chaintest.Start + int64(height)*1000
	built, err := l.state.Build(l.state.Final(), height, at, []*state.Transaction{state.NewTransaction(body)})
	if err != nil || len(built.LeftOut) > 0 {
		tb.Fatalf("%v, left out %v", err, built.LeftOut)
	}
	b := l.Block(l.qc, at, built.Payload, built.Version.Roots())
	l.qc = l.Certify(tb, b.Header)
	if err := l.state.Commit(built.Version, state.Final{Block: b, Proof: l.final(tb, b.Header)}); err != nil {
		tb.Fatal(err)
	}
}

// final is a proof that a block is final, by a child of it.
func (l *laneWorld) final(tb testing.TB, h chain.Header) chain.FinalityProof {
	tb.Helper()
	child := l.Block(l.Certify(tb, h), h.TimeMS+1, nil, h.Roots)
	return chain.FinalityProof{
		Headers: []chain.Header{h, child.Header}, QC: l.Certify(tb, child.Header),
	}
}

// entry is an event as a follower gives it.
func (l *laneWorld) entry(tb testing.TB, index uint64) follow.Entry {
	tb.Helper()
	e, err := l.state.EventAt(index)
	if err != nil {
		tb.Fatal(err)
	}
	proof, err := l.state.ProofAt(e.Height)
	if err != nil {
		tb.Fatal(err)
	}
	path, err := l.state.EventPath(index, proof.Headers[0].Roots.FeedSize)
	if err != nil {
		tb.Fatal(err)
	}
	return follow.Entry{Event: e, Index: index, Path: path, Finality: proof}
}

// says is evidence of a fact that no rule has made: what a committee could certify nevertheless.
func (l *laneWorld) says(tb testing.TB, fact state.Fact) *follow.Evidence {
	tb.Helper()
	last := l.state.Header()
	e := &state.Event{Height: last.Height + 1, TimeMS: last.TimeMS + 1000, Fact: fact}
	leaf := merkle.Leaf(e.Encode())
	roots := chain.Roots{Feed: leaf, FeedSize: 1}
	b := l.Block(l.qc, e.TimeMS, nil, roots)
	return &follow.Evidence{Event: e, Proof: l.final(tb, b.Header)}
}

// The events of the world that matter here.
const (
	eventOpened, eventAnchored, eventCut, eventNext = 0, 2, 3, 4
)

// proof is that of the payment, by the updates from its own to the one that an event anchors.
func (l *laneWorld) proof(tb testing.TB, event uint64, last int) *LaneProof {
	tb.Helper()
	verdicts := l.World.Verdicts(subject(l.terms.Terms, terms.Source))
	p, err := NewLaneProof(l.terms, verdicts, l.operations[1], l.updates[1:last], l.entry(tb, event))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
