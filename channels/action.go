package channels

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

const actionDomain wire.Domain = "cypherlink/channel-action/v1"

// Action is what one participant asks of the chain about channels: Fund, Anchor, Dispute, Close,
// Supply or Reveal.
//
//sumtype:decl
type Action interface {
	// Of is the channel that it is about; for a Reveal the zero ID.
	Of() ID
	appendWire(w *wire.Writer)
}

// Fund moves an amount from the bank's account into its funds in the channel (T1). Number is one above the
// fundings of this bank before, so that it acts once.
type Fund struct {
	Channel ID
	Amount  cypherlink.Amount
	Number  uint64
}

// Anchor submits certified heads: of lane A first, nil for a lane that stays (T2).
type Anchor struct {
	Channel ID
	Heads   [2]*Certificate
}

// Dispute opens a Challenge of the lane, in this generation, at a sequence (T3).
type Dispute struct {
	Channel ID
	Lane    Side
	Slot    Slot
}

// Close begins to close the channel (T6).
type Close struct{ Channel ID }

// Supply lists the open locks of a lane of a frozen channel (T9).
type Supply struct {
	Channel ID
	Lane    Side
	Locks   []Lock
}

// Reveal puts a preimage on the chain (T8).
type Reveal struct{ Preimage cypherlink.Preimage }

// Of implements Action.
func (a Fund) Of() ID { return a.Channel }

// Of implements Action.
func (a Anchor) Of() ID { return a.Channel }

// Of implements Action.
func (a Dispute) Of() ID { return a.Channel }

// Of implements Action.
func (a Close) Of() ID { return a.Channel }

// Of implements Action.
func (a Supply) Of() ID { return a.Channel }

// Of implements Action.
func (Reveal) Of() ID { return ID{} }

const (
	actionFund uint8 = iota + 1
	actionAnchor
	actionDispute
	actionClose
	actionSupply
	actionReveal
)

func (a Fund) appendWire(w *wire.Writer) {
	w.U8(actionFund)
	w.Fixed(a.Channel[:])
	w.I64(int64(a.Amount))
	w.U64(a.Number)
}

func (a Anchor) appendWire(w *wire.Writer) {
	w.U8(actionAnchor)
	w.Fixed(a.Channel[:])
	for _, c := range a.Heads {
		w.Bool(c != nil)
		if c != nil {
			c.AppendWire(w)
		}
	}
}

func (a Dispute) appendWire(w *wire.Writer) {
	w.U8(actionDispute)
	w.Fixed(a.Channel[:])
	w.U8(uint8(a.Lane))
	w.U32(a.Slot.Gen)
	w.U32(a.Slot.Seq)
}

func (a Close) appendWire(w *wire.Writer) {
	w.U8(actionClose)
	w.Fixed(a.Channel[:])
}

func (a Supply) appendWire(w *wire.Writer) {
	w.U8(actionSupply)
	w.Fixed(a.Channel[:])
	w.U8(uint8(a.Lane))
	AppendLocks(w, a.Locks)
}

func (a Reveal) appendWire(w *wire.Writer) {
	w.U8(actionReveal)
	w.Fixed(a.Preimage[:])
}

func readAction(r *wire.Reader) Action {
	kind := r.U8()
	var id ID
	if kind != actionReveal {
		r.Fixed(id[:])
	}
	switch kind {
	case actionFund:
		return Fund{Channel: id, Amount: readAmount(r), Number: r.U64()}
	case actionAnchor:
		a := Anchor{Channel: id}
		for i := range a.Heads {
			if r.Bool() {
				c := ReadCertificate(r)
				a.Heads[i] = &c
			}
		}
		return a
	case actionDispute:
		return Dispute{Channel: id, Lane: readSide(r), Slot: Slot{Gen: r.U32(), Seq: r.U32()}}
	case actionClose:
		return Close{Channel: id}
	case actionSupply:
		return Supply{Channel: id, Lane: readSide(r), Locks: ReadLocks(r)}
	case actionReveal:
		var a Reveal
		r.Fixed(a.Preimage[:])
		return a
	default:
		r.Fail(fmt.Errorf("action %d: %w", kind, ErrForm))
		return nil
	}
}

// MaxAction bounds the canonical bytes of a signed action.
const MaxAction = 64 << 10

// SignedAction is an action under its sender's Ed25519 signature.
type SignedAction struct {
	Network cypherlink.NetworkID
	Signer  cypherlink.ParticipantID
	// Sequence is the signer's own counter. It tells apart two sendings.
	Sequence  uint64
	Action    Action
	Signature [64]byte
}

// Frame is what the signer signs. Its scope is the signer.
func (s *SignedAction) Frame() cosi.Frame {
	w := wire.NewWriter(512)
	s.Action.appendWire(w)
	return cosi.Frame{
		Type: cosi.Command, Network: s.Network, Scope: cypherlink.Hash(s.Signer), Sequence: s.Sequence,
		Payload: wire.Sum(actionDomain, w.Bytes()),
	}
}

// Encode is the canonical form.
func (s *SignedAction) Encode() []byte {
	w := wire.NewWriter(512)
	w.Fixed(s.Network[:])
	w.Fixed(s.Signer[:])
	w.U64(s.Sequence)
	s.Action.appendWire(w)
	w.Fixed(s.Signature[:])
	return w.Bytes()
}

// DecodeAction takes exactly the form of Encode; otherwise ErrForm. It checks the form, not the
// signature.
func DecodeAction(b []byte) (*SignedAction, error) {
	if len(b) > MaxAction {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxAction, ErrForm)
	}
	r := wire.NewReader(b)
	var s SignedAction
	r.Fixed(s.Network[:])
	r.Fixed(s.Signer[:])
	s.Sequence = r.U64()
	s.Action = readAction(r)
	r.Fixed(s.Signature[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return &s, nil
}
