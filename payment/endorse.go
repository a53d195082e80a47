package payment

import (
	"fmt"

	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// EndorseRequest asks a Validator to sign an update, before its payer does (rule V).
type EndorseRequest struct {
	Update     channels.Update
	Operations []channels.Operation
	// Prev is the update before; nil where the lane begins, or where the payer has lost the anchored
	// one. Locks are those that are open there.
	Prev  *channels.Update
	Locks []channels.Lock
	// Warrants are one for each Pay and Lock of the operations, in their order.
	Warrants []Warrant
}

// Warrant is why a payment may stand in a lane: its terms, and the verdicts on that leg of them.
type Warrant struct {
	Terms    *terms.Terms
	Leg      uint8
	Verdicts []validator.Signed
}

// JoinRequest asks for a signature on a joint action. Shares are those of both banks, in the order
// of the channel's sides; a bank that is asked to open a channel gets the asking bank's alone, and
// zero for its own.
type JoinRequest struct {
	Joint  channels.Joint
	Shares [2]cosi.Signature
}

// Encode is the canonical form.
func (e *EndorseRequest) Encode() []byte {
	w := wire.NewWriter(4096)
	e.Update.AppendWire(w)
	channels.AppendOperations(w, e.Operations)
	w.Bool(e.Prev != nil)
	if e.Prev != nil {
		e.Prev.AppendWire(w)
	}
	channels.AppendLocks(w, e.Locks)
	w.U32(uint32(len(e.Warrants))) //nolint:gosec // at most channels.MaxOperations
	for i := range e.Warrants {
		w.Var(e.Warrants[i].Terms.Encode())
		w.U8(e.Warrants[i].Leg)
		appendVerdicts(w, e.Warrants[i].Verdicts)
	}
	return w.Bytes()
}

// DecodeEndorseRequest takes exactly the form of Encode; otherwise ErrMessage.
func DecodeEndorseRequest(raw []byte) (*EndorseRequest, error) {
	r := wire.NewReader(raw)
	e := &EndorseRequest{Update: channels.ReadUpdate(r), Operations: channels.ReadOperations(r)}
	if r.Bool() {
		prev := channels.ReadUpdate(r)
		e.Prev = &prev
	}
	e.Locks = channels.ReadLocks(r)
	const least = 4 + 1 + 4
	for n := r.Count(channels.MaxOperations, least); n > 0 && r.Err() == nil; n-- {
		e.Warrants = append(e.Warrants, readWarrant(r))
	}
	return e, finish(r)
}

func readWarrant(r *wire.Reader) Warrant {
	encoded := r.Var(terms.MaxSize)
	if r.Err() != nil {
		return Warrant{}
	}
	t, err := terms.Decode(encoded)
	if err != nil {
		r.Fail(err)
		return Warrant{}
	}
	w := Warrant{Terms: t, Leg: r.U8()}
	if r.Err() == nil && int(w.Leg) >= len(t.Legs) {
		r.Fail(fmt.Errorf("leg %d of %d: %w", w.Leg, len(t.Legs), ErrMessage))
	}
	w.Verdicts = readVerdicts(r)
	return w
}

// Encode is the canonical form.
func (j *JoinRequest) Encode() []byte {
	w := wire.NewWriter(1024)
	j.Joint.AppendWire(w)
	for i := range j.Shares {
		w.Fixed(j.Shares[i][:])
	}
	return w.Bytes()
}

// DecodeJoinRequest takes exactly the form of Encode; otherwise ErrMessage.
func DecodeJoinRequest(raw []byte) (*JoinRequest, error) {
	r := wire.NewReader(raw)
	j := &JoinRequest{Joint: channels.ReadJoint(r)}
	for i := range j.Shares {
		r.Fixed(j.Shares[i][:])
	}
	return j, finish(r)
}
