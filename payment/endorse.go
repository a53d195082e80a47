package payment

import (
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

// Warrant is why a payment may stand in a lane: the leg that moves, and the verdicts on it.
type Warrant struct {
	Subject validator.Subject
	// Terms are those of a Pay, whose UETR nothing else says; nil for a Lock.
	Terms    *terms.Terms
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
		e.Warrants[i].appendWire(w)
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
	const least = 128 // a subject alone has more
	for n := r.Count(channels.MaxOperations, least); n > 0 && r.Err() == nil; n-- {
		e.Warrants = append(e.Warrants, readWarrant(r))
	}
	return e, finish(r)
}

func (w *Warrant) appendWire(to *wire.Writer) {
	w.Subject.AppendWire(to)
	to.Bool(w.Terms != nil)
	if w.Terms != nil {
		to.Var(w.Terms.Encode())
	}
	appendVerdicts(to, w.Verdicts)
}

func readWarrant(r *wire.Reader) Warrant {
	w := Warrant{Subject: validator.ReadSubject(r)}
	if r.Bool() {
		encoded := r.Var(terms.MaxSize)
		if r.Err() != nil {
			return Warrant{}
		}
		var err error
		if w.Terms, err = terms.Decode(encoded); err != nil {
			r.Fail(err)
			return Warrant{}
		}
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
