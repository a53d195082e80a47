package state_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// FuzzTransaction checks that a transaction that is accepted has one form, and that no payload
// makes execution fail other than by refusing the block.
func FuzzTransaction(f *testing.F) {
	chained := weave(f, state.NewMemory())
	w := chained.World
	p := w.Payment("one", 100, start+60)
	r := ledgertest.NewRamp("cypherium")
	x := r.Deposit(1, 5, start+60)
	for _, c := range []*ledger.SignedCommand{
		w.Prepare(p), w.Confirm(w.Bob, p), w.Return(w.Bob, p),
		r.Leave(r.Alice, x), r.Enter(r.Alice, x, r.Record(x, 1, 5).Encode()),
	} {
		f.Add(state.NewTransaction(state.Command{Signed: c}).Encode())
	}
	for _, c := range changes(f, chained) {
		f.Add(chained.change(f, c).Encode())
	}
	b := newBanking(f, state.NewMemory())
	f.Add(b.joint(b.opening(), 0, 1, 2, 3).Encode())
	b.opened()
	f.Add(b.act(b.banks[0], b.anchor(b.certificate(0, 3, 200))).Encode())
	f.Add(b.act(b.banks[0], channels.Reveal{Preimage: cypherlink.Preimage{1}}).Encode())
	kind := state.NewTransaction(state.Command{Signed: w.Prepare(p)}).Encode()
	kind[0] = 0xff
	f.Add(kind)
	f.Add([]byte{})
	f.Add([]byte{1})
	at := int64(start+1) * 1000
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := state.DecodeTransaction(b)
		switch {
		case err != nil && !errors.Is(err, state.ErrTransaction):
			t.Fatal(err)
		case err == nil && !bytes.Equal(state.NewTransaction(tx.Body).Encode(), b):
			t.Fatalf("%x encodes as %x", b, state.NewTransaction(tx.Body).Encode())
		}
		header := chain.Header{Height: 1, TimeMS: at}
		_, err = chained.Execute(chained.Final(), header, chain.Payload{b})
		if !errors.Is(err, state.ErrBlock) {
			t.Fatalf("a block without its roots is executed: %v", err)
		}
	})
}

// FuzzEvent checks that an event that is accepted has one form.
func FuzzEvent(f *testing.F) {
	w := ledgertest.NewWorld()
	p := w.Payment("one", 100, start+60)
	c := ledger.Custody{ID: w.ID(p), Subject: p.Subject, Packet: p.Packet, State: ledger.Prepared}
	f.Add((&state.Event{Height: 1, TimeMS: 2, Fact: state.CustodyFact{Custody: c}}).Encode())
	c.State, c.Preimage = ledger.Confirmed, p.Preimage
	f.Add((&state.Event{Height: 3, TimeMS: 4, Fact: state.CustodyFact{Custody: c}}).Encode())
	for i, change := range changes(f, weave(f, state.NewMemory())) {
		fact := state.RegistryFact{Version: uint64(i), Change: change}
		f.Add((&state.Event{Height: 5, TimeMS: 6, Fact: fact}).Encode())
	}
	b := newBanking(f, state.NewMemory())
	b.opened()
	for _, fact := range []state.Fact{
		state.ChannelFact{By: w.Alice.ID, Channel: *b.channel()}, state.RevealFact{Preimage: p.Preimage},
	} {
		f.Add((&state.Event{Height: 5, TimeMS: 6, Fact: fact}).Encode())
	}
	kind := (&state.Event{Height: 3, TimeMS: 4, Fact: state.CustodyFact{Custody: c}}).Encode()
	kind[0] = 0xff
	f.Add(kind)
	for _, fact := range rampFacts() {
		f.Add((&state.Event{Height: 1, TimeMS: 2, Fact: fact}).Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := state.DecodeEvent(b)
		switch {
		case err != nil && !errors.Is(err, state.ErrEvent):
			t.Fatal(err)
		case err == nil && !bytes.Equal(e.Encode(), b):
			t.Fatalf("%x encodes as %x", b, e.Encode())
		}
	})
}
