package payment

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// LockEvent is what has become final of a lock in one of a bank's channels, as that bank knows it.
type LockEvent struct {
	// Sequence counts the events of all of the bank's channels, from 1.
	Sequence uint64
	Channel  channels.ID
	// Lane is the one in which the lock stands.
	Lane  channels.Side
	Lock  channels.LockID
	State ledger.State
	// TimeMS is the final block time, in milliseconds since 1970, at which the bank knew it; it never
	// falls.
	TimeMS int64
	// Preimage is set exactly in state Confirmed.
	Preimage cypherlink.Preimage
	// Proof is of the Settle or Unlock that ends the lock, otherwise of the Lock: that it is revealed in
	// time, or not, the chain says. Nil where this bank holds no certificate.
	Proof *LockProof
	// lock is what stands in the lane: for whoever writes the event, not written.
	lock channels.Lock
}

func (e *LockEvent) encode() []byte {
	w := wire.NewWriter(1024)
	w.Fixed(e.Channel[:])
	w.U8(uint8(e.Lane))
	w.Fixed(e.Lock[:])
	w.U8(uint8(e.State))
	w.I64(e.TimeMS)
	w.Fixed(e.Preimage[:])
	w.Bool(e.Proof != nil)
	if e.Proof != nil {
		e.Proof.AppendWire(w)
	}
	return w.Bytes()
}

// decodeLockEvent takes exactly the form of encode, which has no Sequence; otherwise ErrLock.
func decodeLockEvent(raw []byte) (LockEvent, error) {
	r := wire.NewReader(raw)
	var e LockEvent
	r.Fixed(e.Channel[:])
	e.Lane = channels.Side(r.U8())
	r.Fixed(e.Lock[:])
	e.State = ledger.State(r.U8())
	e.TimeMS = r.I64()
	r.Fixed(e.Preimage[:])
	if r.Bool() {
		e.Proof = ReadLockProof(r)
	}
	if r.Err() == nil && (e.Lane > channels.B || e.State == ledger.Absent || e.State > ledger.Returned) {
		r.Fail(fmt.Errorf("lane %d, state %d: %w", e.Lane, e.State, ErrLock))
	}
	if err := r.End(); err != nil {
		return e, fmt.Errorf("%w: %w", ErrLock, err)
	}
	return e, nil
}
