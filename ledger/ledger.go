package ledger

import (
	"context"
	"iter"

	"github.com/cypherlink/cypherlink"
)

// Cursor is a position in a ledger's sequence of events. Zero is before the first.
type Cursor uint64

// Receipt is a final fact about one custody, as one ledger tells it.
type Receipt struct {
	Ledger  cypherlink.LedgerID
	Custody Custody
	// Sequence is the ledger's own number of the event that led to this state: from 1, ascending.
	Sequence uint64
	// TimeMS is the ledger's time of that event, in milliseconds since 1970, UTC.
	TimeMS int64
	// Evidence lets a third party check the receipt: a finality proof on the chain, the
	// operator's signed record elsewhere. The adapter that returns it has verified it.
	Evidence []byte
}

// Event is a receipt at its place in the ledger's sequence.
type Event struct {
	Cursor  Cursor
	Receipt Receipt
}

// Ledger is the published contract: a ledger that can hold custody. Every implementation
// passes ledgertest. Whatever it returns is final and verified.
type Ledger interface {
	// Submit hands in a signed command and returns the receipt of its effect once that is
	// final. A repeated command has no further effect and is answered with the receipt that
	// stands. A refusal is a *cypherlink.Error with one of this package's codes, and nothing
	// moved. Any other error, and the end of ctx, leave the outcome unknown: the caller asks
	// Lookup or submits the same command again.
	Submit(ctx context.Context, command *SignedCommand) (Receipt, error)
	// Lookup returns the latest final receipt of a custody. Of a custody that the ledger does
	// not have it returns a receipt in state Absent, whose custody has the id alone, whose
	// sequence is the ledger's last (0 before the first), and whose TimeMS is the ledger's
	// present final time: at or after the expiry, a Prepare of it will never be accepted any
	// more. An absent custody's receipt has evidence too.
	Lookup(ctx context.Context, id CustodyID) (Receipt, error)
	// Events yields every final event after the cursor, in order and without a gap, and then
	// waits for the next one until ctx ends, which ends the sequence without an error. An
	// error ends it too; the caller begins again at the last cursor that it has dealt with.
	Events(ctx context.Context, after Cursor) iter.Seq2[Event, error]
}

// Passage is a final fact about one crossing, as one ledger tells it: it left there, or it came in.
type Passage struct {
	Ledger   cypherlink.LedgerID
	Crossing Crossing
	// Sequence is the ledger's own number of the fact: from 1, ascending. An external ledger counts
	// passages apart from the events of custodies.
	Sequence uint64
	// TimeMS is the ledger's time of it, in milliseconds since 1970, UTC.
	TimeMS int64
	// Evidence is as that of a Receipt. That of a crossing that left is what an Enter on the other
	// ledger carries.
	Evidence []byte
}

// Left tells whether the crossing left the ledger; otherwise it came in.
func (p *Passage) Left() bool { return p.Crossing.Asset.Ledger == p.Ledger }

// Ramp is a ledger as it deals with what leaves it and comes in.
type Ramp interface {
	// Cross hands in a signed Leave or Enter and returns the passage once that is final and
	// verified. A repeated command has no further effect and is answered with the passage that
	// stands. A refusal is a *cypherlink.Error with one of this package's codes, and nothing moved.
	// CodeLapsed alone is for good: the crossing has not left and never will. After any other
	// refusal or error a copy of the command may still take effect: the caller hands it in again.
	Cross(ctx context.Context, command *SignedCommand) (Passage, error)
}
