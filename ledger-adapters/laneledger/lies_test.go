package laneledger

import (
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/payment"
)

// A bank that signs what cannot be is not believed: every lie is under its own good signature.
func TestLies(t *testing.T) {
	n := chaintest.New(t, nil)
	w := n.World
	w.Number = ledger.ChannelNumber
	v := Verifier{Network: w.Network, Ledger: w.Ledger, Roll: n.Genesis.Registry().At(chaintest.Start / 1000)}
	p := w.Payment("one", 700, chaintest.Start/1000+20)
	other := w.Payment("other", 700, chaintest.Start/1000+20)
	lock, _ := payment.LockOf(w.Network, &p.Subject)
	otherLock, _ := payment.LockOf(w.Network, &other.Subject)
	lane := channels.A
	if n.Banks()[channels.A].ID != w.Alice.ID {
		lane = channels.B
	}
	proof := func(lane channels.Side, op channels.Operation) *payment.LockProof {
		u := channels.Update{Lane: lane, Body: channels.BodyRoot([]channels.Operation{op}), Head: channels.Head{Seq: 1}}
		b := wire.NewWriter(256)
		u.AppendWire(b)
		u = channels.ReadUpdate(wire.NewReader(b.Bytes()))
		proof, f := &payment.LockProof{Operation: op, Updates: []channels.Update{u}}, u.Frame(w.Network)
		proof.Payer, _ = w.Alice.Sign(f)
		proof.Payee, _ = w.Bob.Sign(f)
		for _, by := range w.Validators[:2] {
			e := channels.Endorsement{Validator: by.ID}
			e.Signature, _ = by.Sign(f)
			proof.Endorsements = append(proof.Endorsements, e)
		}
		return proof
	}
	settle := channels.Settle{Lock: lock.ID, Preimage: p.Preimage}
	good := func() (*told, ledgertest.Actor) {
		e := &told{network: w.Network, bank: w.Bob.ID, proof: proof(lane, settle), receipt: ledger.Receipt{
			Ledger: w.Ledger, Sequence: 1, Custody: ledger.Custody{
				ID: w.ID(p), Subject: p.Subject, State: ledger.Confirmed, Preimage: p.Preimage,
			},
		}}
		return e, w.Bob
	}
	verify := func(e *told, by ledgertest.Actor) error {
		e.signature, _ = by.Sign(e.frame())
		_, err := v.Verify(e.encode())
		return err
	}
	if err := verify(good()); err != nil {
		t.Fatal(err)
	}
	absent := ledger.Custody{ID: w.ID(p)}
	for name, lie := range map[string]func(e *told, by *ledgertest.Actor){
		"another network":      func(e *told, _ *ledgertest.Actor) { e.network[0]++ },
		"another ledger":       func(e *told, _ *ledgertest.Actor) { e.receipt.Ledger = "other" },
		"a stranger's word":    func(e *told, by *ledgertest.Actor) { *by, e.bank = w.Stranger, w.Stranger.ID },
		"another bank's word":  func(e *told, by *ledgertest.Actor) { *by, e.bank = w.Mallory, w.Mallory.ID },
		"under another's name": func(_ *told, by *ledgertest.Actor) { *by = w.Mallory },
		"no sequence":          func(e *told, _ *ledgertest.Actor) { e.receipt.Sequence = 0 },
		"another id":           func(e *told, _ *ledgertest.Actor) { e.receipt.Custody.ID[0]++; e.proof = nil },
		"another ledger's leg": func(e *told, _ *ledgertest.Actor) {
			e.receipt.Custody.Subject.Fields.Asset.Ledger = "other"
			e.proof = nil
		},
		"a wrong preimage":      func(e *told, _ *ledgertest.Actor) { e.receipt.Custody.Preimage[0]++; e.proof = nil },
		"a proof of an absence": func(e *told, _ *ledgertest.Actor) { e.receipt.Custody = absent },
		"an absence on another network": func(e *told, _ *ledgertest.Actor) {
			e.receipt.Custody, e.proof = absent, nil
			e.network[0]++
		},
		"an absence on another ledger": func(e *told, _ *ledgertest.Actor) {
			e.receipt.Custody, e.proof, e.receipt.Ledger = absent, nil, "other"
		},
		"another lock": func(e *told, _ *ledgertest.Actor) { e.proof = proof(lane, otherLock) },
		"another preimage": func(e *told, _ *ledgertest.Actor) {
			e.proof = proof(lane, channels.Settle{Lock: lock.ID, Preimage: other.Preimage})
		},
		"unlocked and paid": func(e *told, _ *ledgertest.Actor) { e.proof = proof(lane, channels.Unlock{Lock: lock.ID}) },
		"settled and returned": func(e *told, _ *ledgertest.Actor) {
			e.receipt.Custody.State, e.receipt.Custody.Preimage = ledger.Returned, cypherlink.Preimage{}
		},
		"a payment":       func(e *told, _ *ledgertest.Actor) { e.proof = proof(lane, channels.Pay{Amount: 700}) },
		"the other lane":  func(e *told, _ *ledgertest.Actor) { e.proof = proof(lane.Other(), settle) },
		"not in channels": func(e *told, _ *ledgertest.Actor) { e.receipt.Custody.Subject.Fields.Debit.Number = 0 },
		"not endorsed":    func(e *told, _ *ledgertest.Actor) { e.proof.Endorsements = e.proof.Endorsements[:1] },
		"no such asset":   func(e *told, _ *ledgertest.Actor) { e.receipt.Custody.Subject.Fields.Asset.Code = "XYZ" },
	} {
		e, by := good()
		lie(e, &by)
		if err := verify(e, by); !errors.Is(err, ErrEvidence) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
