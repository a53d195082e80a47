// Package ledger is any ledger that can hold value in custody.
//
// Its noun is the Custody: an amount that left one account and belongs to nobody until a
// preimage, before the expiry, gives it to another account, or the expiry gives it back. The
// package has the words of it (Command, Custody, Receipt, Event), the published contract
// (Ledger), and the one set of rules that every ledger of our own obeys (Charter). Beside it
// stands the ramp, over which an owner moves value between an external ledger and the chain
// (Crossing, Passage, Ramp). The package refuses to keep anything and to know a clock: balances,
// custodies and crossings come through Book and RampBook, time is an argument. ledgertest is the
// contract as tests; book is a durable ledger in SQL; the committee chain and external ledgers are
// others.
// Source: Cypherium Whitepaper 2.0, main job steps 4 to 13; ILP RFC 17 and 22.
package ledger

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

const custodyDomain wire.Domain = "cypherlink/custody/v1"

// MaxPacket is the largest ILP packet that a custody may carry, the largest legal ILPv4
// Prepare (RFC 27).
const MaxPacket = 33857

// CustodyID names a custody: a terms hash and a leg give one id on one network, so a verdict
// works once.
type CustodyID cypherlink.Hash

// NewCustodyID is the id of the custody of that leg.
func NewCustodyID(network cypherlink.NetworkID, termsHash cypherlink.Hash, leg uint8) CustodyID {
	w := wire.NewWriter(41)
	w.Fixed(network[:])
	w.Fixed(termsHash[:])
	w.U8(leg)
	return wire.Sum(custodyDomain, w.Bytes())
}

// String is the lower-case hexadecimal form.
func (id CustodyID) String() string { return cypherlink.Hash(id).String() }

// MarshalText is the lower-case hexadecimal form.
func (id CustodyID) MarshalText() ([]byte, error) { return cypherlink.AppendHex(nil, id[:]), nil }

// UnmarshalText takes exactly the form of MarshalText; otherwise cypherlink.ErrHex.
func (id *CustodyID) UnmarshalText(text []byte) error { return cypherlink.DecodeHex(id[:], text) }

// State is where a custody stands. It only ever leaves Prepared, once.
type State uint8

// The states. Absent is not a record: it is how a ledger says that it has none.
const (
	Absent    State = 0
	Prepared  State = 1
	Confirmed State = 2
	Returned  State = 3
)

// String is the state's name.
func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Prepared:
		return "prepared"
	case Confirmed:
		return "confirmed"
	case Returned:
		return "returned"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Custody is the whole record of one custody.
type Custody struct {
	ID CustodyID
	// Subject holds terms hash, leg, asset, accounts, amount, expiry and condition.
	Subject validator.Subject
	// Packet is the ILP Prepare that travels with the value, opaque to the ledger.
	Packet []byte
	State  State
	// Preimage is set exactly in state Confirmed.
	Preimage cypherlink.Preimage
}

// Leg is the movement that the custody secures.
func (c *Custody) Leg() terms.Leg { return c.Subject.Fields }

// Expired tells whether at ledger time nowMS, in milliseconds since 1970, it is too late to
// confirm: at the expiry it is.
func (c *Custody) Expired(nowMS int64) bool { return nowMS/1000 >= c.Subject.Fields.Expiry }

// AppendWire appends every field that the state has: of an absent custody the id alone.
func (c *Custody) AppendWire(w *wire.Writer) {
	w.Fixed(c.ID[:])
	w.U8(uint8(c.State))
	if c.State == Absent {
		return
	}
	c.Subject.AppendWire(w)
	w.Var(c.Packet)
	if c.State == Confirmed {
		w.Fixed(c.Preimage[:])
	}
}

// ReadCustody reads what AppendWire wrote. Packet is a part of the input.
func ReadCustody(r *wire.Reader) Custody {
	var c Custody
	r.Fixed(c.ID[:])
	c.State = State(r.U8())
	switch c.State {
	case Absent:
		return c
	case Prepared, Confirmed, Returned:
	default:
		r.Fail(fmt.Errorf("state %d: %w", c.State, ErrRecord))
	}
	c.Subject = validator.ReadSubject(r)
	c.Packet = r.Var(MaxPacket)
	if c.State == Confirmed {
		r.Fixed(c.Preimage[:])
	}
	return c
}
