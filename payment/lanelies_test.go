package payment

import (
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// A bank that signs what cannot be is not believed: every lie is under its own good signature.
func TestLaneLies(t *testing.T) {
	n := chaintest.New(t, nil)
	w := n.World
	w.Number = ledger.ChannelNumber
	v := LaneVerifier{Network: w.Network, Ledger: w.Ledger, Roll: n.Genesis.Registry().At(chaintest.Start / 1000)}
	p := w.Payment("one", 700, chaintest.Start/1000+20)
	other := w.Payment("other", 700, chaintest.Start/1000+20)
	lock, _ := LockOf(w.Network, &p.Subject)
	otherLock, _ := LockOf(w.Network, &other.Subject)
	lane := channels.A
	if n.Banks()[channels.A].ID != w.Alice.ID {
		lane = channels.B
	}
	proof := func(lane channels.Side, op channels.Operation) *LockProof {
		u := chaintest.Sealed(channels.Update{Lane: lane, Body: channels.BodyRoot([]channels.Operation{op}), Head: channels.Head{Seq: 1}})
		proof, f := &LockProof{Operation: op, Updates: []channels.Update{u}}, u.Frame(w.Network)
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
	good := func() (*LaneReceipt, ledgertest.Actor) {
		e := &LaneReceipt{Network: w.Network, Bank: w.Bob.ID, Proof: proof(lane, settle), Receipt: ledger.Receipt{
			Ledger: w.Ledger, Sequence: 1, Custody: ledger.Custody{
				ID: w.ID(p), Subject: p.Subject, State: ledger.Confirmed, Preimage: p.Preimage,
			},
		}}
		return e, w.Bob
	}
	verify := func(e *LaneReceipt, by ledgertest.Actor) error {
		e.Signature, _ = by.Sign(e.Frame())
		_, err := v.Verify(e.Encode())
		return err
	}
	if err := verify(good()); err != nil {
		t.Fatal(err)
	}
	absent := ledger.Custody{ID: w.ID(p)}
	for name, lie := range map[string]func(e *LaneReceipt, by *ledgertest.Actor){
		"another network":      func(e *LaneReceipt, _ *ledgertest.Actor) { e.Network[0]++ },
		"another ledger":       func(e *LaneReceipt, _ *ledgertest.Actor) { e.Receipt.Ledger = "other" },
		"a stranger's word":    func(e *LaneReceipt, by *ledgertest.Actor) { *by, e.Bank = w.Stranger, w.Stranger.ID },
		"another bank's word":  func(e *LaneReceipt, by *ledgertest.Actor) { *by, e.Bank = w.Mallory, w.Mallory.ID },
		"under another's name": func(_ *LaneReceipt, by *ledgertest.Actor) { *by = w.Mallory },
		"no sequence":          func(e *LaneReceipt, _ *ledgertest.Actor) { e.Receipt.Sequence = 0 },
		"another id":           func(e *LaneReceipt, _ *ledgertest.Actor) { e.Receipt.Custody.ID[0]++; e.Proof = nil },
		"another ledger's leg": func(e *LaneReceipt, _ *ledgertest.Actor) {
			e.Receipt.Custody.Subject.Fields.Asset.Ledger = "other"
			e.Proof = nil
		},
		"a wrong preimage":      func(e *LaneReceipt, _ *ledgertest.Actor) { e.Receipt.Custody.Preimage[0]++; e.Proof = nil },
		"a proof of an absence": func(e *LaneReceipt, _ *ledgertest.Actor) { e.Receipt.Custody = absent },
		"an absence on another network": func(e *LaneReceipt, _ *ledgertest.Actor) {
			e.Receipt.Custody, e.Proof = absent, nil
			e.Network[0]++
		},
		"an absence on another ledger": func(e *LaneReceipt, _ *ledgertest.Actor) {
			e.Receipt.Custody, e.Proof, e.Receipt.Ledger = absent, nil, "other"
		},
		"another lock": func(e *LaneReceipt, _ *ledgertest.Actor) { e.Proof = proof(lane, otherLock) },
		"another preimage": func(e *LaneReceipt, _ *ledgertest.Actor) {
			e.Proof = proof(lane, channels.Settle{Lock: lock.ID, Preimage: other.Preimage})
		},
		"unlocked and paid": func(e *LaneReceipt, _ *ledgertest.Actor) { e.Proof = proof(lane, channels.Unlock{Lock: lock.ID}) },
		"settled and returned": func(e *LaneReceipt, _ *ledgertest.Actor) {
			e.Receipt.Custody.State, e.Receipt.Custody.Preimage = ledger.Returned, cypherlink.Preimage{}
		},
		"a payment":       func(e *LaneReceipt, _ *ledgertest.Actor) { e.Proof = proof(lane, channels.Pay{Amount: 700}) },
		"the other lane":  func(e *LaneReceipt, _ *ledgertest.Actor) { e.Proof = proof(lane.Other(), settle) },
		"not in channels": func(e *LaneReceipt, _ *ledgertest.Actor) { e.Receipt.Custody.Subject.Fields.Debit.Number = 0 },
		"not endorsed":    func(e *LaneReceipt, _ *ledgertest.Actor) { e.Proof.Endorsements = e.Proof.Endorsements[:1] },
		"no such asset":   func(e *LaneReceipt, _ *ledgertest.Actor) { e.Receipt.Custody.Subject.Fields.Asset.Code = "XYZ" },
	} {
		e, by := good()
		lie(e, &by)
		if err := verify(e, by); !errors.Is(err, ErrLaneEvidence) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
