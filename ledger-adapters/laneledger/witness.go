package laneledger

import (
	"context"
	"fmt"
	"iter"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// Witness is the channels of another bank as a party of a payment sees them that is at neither end of its
// lane: the payer whose connector pays on in a lane. It asks that bank, and verifies what it says. It is
// safe for concurrent use.
type Witness struct {
	Network cypherlink.NetworkID
	Ledger  cypherlink.LedgerID
	// Bank is the one that is asked, over Peers.
	Bank  cypherlink.ParticipantID
	Peers payment.Peers
	// Roll is who may speak now.
	Roll func() chain.Roll
}

var _ ledger.Ledger = (*Witness)(nil)

// Submit implements ledger.Ledger: it refuses every command.
func (w *Witness) Submit(context.Context, *ledger.SignedCommand) (ledger.Receipt, error) {
	return ledger.Receipt{}, refuse(ledger.CodeNotAllowed, "DS0H", "this bank is at no end of the lane", nil)
}

// Lookup implements ledger.Ledger: it is the word of the bank that is asked.
func (w *Witness) Lookup(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	raw, err := w.Peers.Call(ctx, w.Bank, payment.KindCustody, id[:])
	if err != nil {
		return ledger.Receipt{}, err
	}
	v := payment.LaneVerifier{Network: w.Network, Ledger: w.Ledger, Roll: w.Roll()}
	f, err := v.Verify(raw)
	switch {
	case err != nil:
		return ledger.Receipt{}, err
	case f.Bank != w.Bank || f.Receipt.Custody.ID != id:
		return ledger.Receipt{}, fmt.Errorf("a receipt of %s by %s: %w",
			f.Receipt.Custody.ID, f.Bank, payment.ErrLaneEvidence)
	}
	return f.Receipt, nil
}

// Events implements ledger.Ledger: there are none, whoever asks looks up.
func (w *Witness) Events(ctx context.Context, _ ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(func(ledger.Event, error) bool) { <-ctx.Done() }
}

// Show answers payment.KindCustody with the evidence of what Lookup says. Who knows the id of a custody is a
// party of its terms.
func (l *Ledger) Show(ctx context.Context, body []byte) ([]byte, error) {
	var id channels.LockID
	if copy(id[:], body) != len(id) || len(body) != len(id) {
		return nil, refuse(ledger.CodeMalformed, "FF01", "the message is malformed", nil)
	}
	r, err := l.Lookup(ctx, ledger.CustodyID(id))
	return r.Evidence, err
}
