package laneledger

import (
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// receipt is that of an event, under the own bank's signature.
func (l *Ledger) receipt(r *payment.LockRecord) (ledger.Receipt, error) {
	e := payment.LaneReceipt{Proof: r.Last.Proof}
	e.Receipt.Custody, e.Receipt.Sequence, e.Receipt.TimeMS = custodyOf(r), r.Last.Sequence, r.Last.TimeMS
	return l.sign(&e)
}

// absent is the receipt of a custody that there is not, after so many events.
func (l *Ledger) absent(id ledger.CustodyID, count uint64, nowMS int64) (ledger.Receipt, error) {
	var e payment.LaneReceipt
	e.Receipt.Custody.ID, e.Receipt.Sequence, e.Receipt.TimeMS = id, count, nowMS
	return l.sign(&e)
}

func (l *Ledger) sign(e *payment.LaneReceipt) (ledger.Receipt, error) {
	e.Network, e.Bank, e.Receipt.Ledger = l.Genesis.Network(), l.Locks.Bank(), l.Genesis.Chain()
	var err error
	if e.Signature, err = l.Identity.Sign(e.Frame()); err != nil {
		return ledger.Receipt{}, err
	}
	e.Receipt.Evidence = e.Encode()
	return e.Receipt, nil
}
