package main

import (
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// ledgerOfChannels is a chain on which Alice and Bob had a channel that ended with a lock, and have
// another one.
func ledgerOfChannels(t *testing.T) (*chaintest.Network, *replica, []*state.Event) {
	t.Helper()
	n := chaintest.New(t, nil)
	store := state.NewMemory()
	s, err := state.Open(store, n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	n.SetRoots(t, s.Header().Roots)
	qc, at, sequence := n.Committee.Genesis(), int64(chaintest.Start), uint64(0)
	block := func(bodies ...state.Body) {
		t.Helper()
		at += 1000
		var txs []*state.Transaction
		for _, body := range bodies {
			txs = append(txs, state.NewTransaction(body))
		}
		built, err := s.Build(s.Final(), s.Header().Height+1, at, txs)
		if err != nil || len(built.LeftOut) > 0 {
			t.Fatalf("%v, left out %v", err, built.LeftOut)
		}
		b := n.Block(qc, at, built.Payload, built.Version.Roots())
		qc = n.Certify(t, b.Header)
		if err := s.Commit(built.Version, state.Final{Block: b, Proof: chain.FinalityProof{}}); err != nil {
			t.Fatal(err)
		}
	}
	banks, open := n.Banks(), n.Open(1)
	act := func(side int, a channels.Action) state.Body {
		sequence++
		return state.ChannelAction{Signed: n.Act(banks[side], sequence, a)}
	}
	roster, err := state.JointRoster(s.Final().Registry(), open.Banks, open.Asset)
	if err != nil {
		t.Fatal(err)
	}
	opens := func(nonce uint64) channels.ID {
		o := n.Open(nonce)
		j := channels.Joint{
			Channel: channels.NewID(n.World.Network, o.Banks, o.Asset, nonce), Do: o, ValidUntil: at/1000 + 20,
		}
		block(state.ChannelJoint{Joint: j, Certificate: n.Cosign(t, roster, j, 0, 1, 2, 3)})
		block(act(0, channels.Fund{Channel: j.Channel, Amount: 1000, Number: 1}),
			act(1, channels.Fund{Channel: j.Channel, Amount: 300, Number: 1}))
		return j.Channel
	}
	id := opens(1)
	preimage := cypherlink.Preimage{1}
	locks := []channels.Lock{
		{ID: channels.LockID{1}, Amount: 40, Condition: preimage.Condition(), Expiry: at/1000 + 5},
		{ID: channels.LockID{2}, Amount: 2, Condition: cypherlink.Condition{9}, Expiry: at/1000 + 5},
	}
	u := channels.Update{Channel: id}
	u.Seq, u.Paid, u.Locked, u.Locks = 1, 500, 42, channels.LockRoot(locks)
	block(act(1, channels.Anchor{Channel: id, Heads: [2]*channels.Certificate{n.Certificate(u), nil}}),
		act(0, channels.Close{Channel: id}), act(1, channels.Reveal{Preimage: preimage}))
	for range 6 {
		block()
	}
	block(act(0, channels.Supply{Channel: id, Lane: channels.A, Locks: locks}))
	block()
	opens(2)
	r := &replica{store: store, state: s}
	events, err := r.readEvents()
	if err != nil {
		t.Fatal(err)
	}
	return n, r, events
}

// What channels hold, and what they moved, explains every account.
func TestAnAuditCountsChannels(t *testing.T) {
	n, r, events := ledgerOfChannels(t)
	books, err := r.readChannels(events)
	if err != nil {
		t.Fatal(err)
	}
	b := &accounts{opening: n.Genesis.File().Openings, channels: books}
	if b.balances, err = r.readBalances(); err != nil {
		t.Fatal(err)
	}
	asset := chain.Asset{Asset: n.World.Asset, Label: "asset"}
	total, err := b.total(asset)
	if err != nil || total.fits() != nil || total.channels != 1300 {
		t.Fatalf("%+v, %v", total, err)
	}
	name := func(a cypherlink.Account) string { return a.String() }
	if all := b.unexplained(name); len(all) != 0 {
		t.Fatal(all)
	}
	bob, _, err := r.state.Balance(ledgertest.Account(n.Banks()[1]), n.World.Asset)
	if err != nil || bob != ledgertest.Opening+540-300 {
		t.Fatal(bob, err)
	}
	// A unit more or less anywhere is found.
	b.balances[0].Amount++
	if total, err := b.total(asset); err != nil || total.fits() == nil || len(b.unexplained(name)) != 1 {
		t.Fatalf("%+v, %v", total, err)
	}
}

// An event that is kept back or altered is found.
func TestAnAuditComparesChannels(t *testing.T) {
	_, r, events := ledgerOfChannels(t)
	last := len(events) - 1
	if _, err := r.readChannels(events[:last]); err == nil || !strings.Contains(err.Error(), "is not what the events say") {
		t.Fatal(err)
	}
	fact := events[last].Fact.(state.ChannelFact)
	fact.Channel.Funds[0]++
	events[last].Fact = fact
	if _, err := r.readChannels(events); err == nil || !strings.Contains(err.Error(), "is not what the events say") {
		t.Fatal(err)
	}
	var without []*state.Event
	for _, e := range events {
		if f, ok := e.Fact.(state.ChannelFact); !ok || f.Channel.ID != fact.Channel.ID {
			without = append(without, e)
		}
	}
	if _, err := r.readChannels(without); err == nil {
		t.Fatal("a channel of which no event tells is not found")
	}
}
