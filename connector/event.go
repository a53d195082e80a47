// Package connector carries a payment across two ledgers, atomically.
//
// Its noun is the machine: Payer (the bank that pays), Relay (the clearing bank between) and
// Payee (the bank that is paid), each for one payment. A machine is told what its owner
// agreed, what became final on the two ledgers, and the time; it answers what to write down
// first, and then which commands to hand to which ledger. The order of things is the
// whitepaper's: custody on the source ledger, custody on the destination ledger under the
// same condition with a shorter timeout, the preimage on the destination, the preimage on the
// source. Also here: the connector's signed quotes, and the margins by which it and the payee
// bound their risk.
//
// It refuses to act on anything that is not final, to hand out a preimage too late, and to
// give back a source custody while the destination custody may still be confirmed. It knows
// no clock, network, key or store: the shell that drives it does. Sources: Cypherium
// Whitepaper 2.0, main job; ILP RFC 22 (conditional transfers) and RFC 18 (risk).
package connector

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrEvent means that bytes are not an event of a machine's log.
var ErrEvent = errors.New("connector: malformed event")

// Event is one entry of a machine's log. The fold of the log is the machine's state.
//
//sumtype:decl
type Event interface {
	appendEvent(w *wire.Writer)
}

// Begun says that the owner signed these terms. Packet and Verdicts are what its own Prepare will
// carry: the payer's packet and the source leg's verdicts, or the destination leg's verdicts
// of the relay. The payee has neither.
type Begun struct {
	Terms    *terms.Terms
	Packet   []byte
	Verdicts []validator.Signed
}

// Seen says that the custody of that leg is final in that state. Differs says that it is not what the
// terms say. A custody that is Absent after its expiry will never be.
type Seen struct {
	Leg      uint8
	State    ledger.State
	Differs  bool
	Packet   []byte              // with ledger.Prepared
	Preimage cypherlink.Preimage // with ledger.Confirmed
}

// Decided says that the relay or payee took its one decision. A payee that accepts fixes the preimage
// before anybody hears it.
type Decided struct {
	Accept   bool
	Reason   Reason
	Preimage cypherlink.Preimage // the payee's, if it accepts
}

// Refused says that a ledger refused the owner's Prepare. It is not sent again; whether the custody
// can still come to be is for the ledger's time to say.
type Refused struct {
	Leg    uint8
	Code   cypherlink.Code
	Reason string // ISO ExternalStatusReason
}

const (
	kindBegun   uint8 = 1
	kindSeen    uint8 = 2
	kindDecided uint8 = 3
	kindRefused uint8 = 4

	maxCode   = 64
	maxReason = 4
)

// EncodeEvent is the canonical form of an event.
func EncodeEvent(e Event) []byte {
	w := wire.NewWriter(256)
	e.appendEvent(w)
	return w.Bytes()
}

// DecodeEvent takes exactly the form of EncodeEvent; otherwise ErrEvent. The result shares
// memory with b.
func DecodeEvent(b []byte) (Event, error) {
	r := wire.NewReader(b)
	var e Event
	switch kind := r.U8(); kind {
	case kindBegun:
		e = readBegun(r)
	case kindSeen:
		e = readSeen(r)
	case kindDecided:
		d := Decided{Accept: r.Bool(), Reason: Reason(r.Str(maxCode))}
		r.Fixed(d.Preimage[:])
		e = d
	case kindRefused:
		e = Refused{Leg: r.U8(), Code: cypherlink.Code(r.Str(maxCode)), Reason: r.Str(maxReason)}
	default:
		r.Fail(fmt.Errorf("kind %d: %w", kind, ErrEvent))
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return e, nil
}

func (e Begun) appendEvent(w *wire.Writer) {
	w.U8(kindBegun)
	w.Var(e.Terms.Encode())
	w.Var(e.Packet)
	w.U32(uint32(len(e.Verdicts))) //nolint:gosec // at most validator.MaxValidators
	for i := range e.Verdicts {
		e.Verdicts[i].AppendWire(w)
	}
}

func readBegun(r *wire.Reader) Begun {
	var e Begun
	encoded := r.Var(terms.MaxSize)
	e.Packet = r.Var(ledger.MaxPacket)
	for n := r.Count(validator.MaxValidators, 64); n > 0; n-- {
		e.Verdicts = append(e.Verdicts, validator.ReadSigned(r))
	}
	if r.Err() != nil {
		return e
	}
	t, err := terms.Decode(encoded)
	if err != nil {
		r.Fail(err)
	}
	e.Terms = t
	return e
}

func (e Seen) appendEvent(w *wire.Writer) {
	w.U8(kindSeen)
	w.U8(e.Leg)
	w.U8(uint8(e.State))
	w.Bool(e.Differs)
	w.Var(e.Packet)
	w.Fixed(e.Preimage[:])
}

func readSeen(r *wire.Reader) Seen {
	e := Seen{Leg: r.U8(), State: ledger.State(r.U8()), Differs: r.Bool(), Packet: r.Var(ledger.MaxPacket)}
	r.Fixed(e.Preimage[:])
	if e.Leg > terms.Destination || e.State > ledger.Returned {
		r.Fail(fmt.Errorf("leg %d, state %d: %w", e.Leg, e.State, ErrEvent))
	}
	return e
}

func (e Decided) appendEvent(w *wire.Writer) {
	w.U8(kindDecided)
	w.Bool(e.Accept)
	w.Str(string(e.Reason))
	w.Fixed(e.Preimage[:])
}

func (e Refused) appendEvent(w *wire.Writer) {
	w.U8(kindRefused)
	w.U8(e.Leg)
	w.Str(string(e.Code))
	w.Str(e.Reason)
}
