package channels

import (
	"fmt"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// MaxMessage bounds the canonical bytes of a message and of an event: an entry with all its
// operations, or both lanes' locks.
const MaxMessage = 96 << 10

const maxText = 256

// The first byte of a message.
const (
	sayOffer uint8 = iota + 1
	sayCountersignature
	sayRefusal
	sayResync
	sayProposal
	sayConsent
	saySecret
	sayFailure
)

// EncodeMessage is the canonical form of a message. Of a refusal's text it keeps 256 bytes.
func EncodeMessage(m Message) []byte {
	w := wire.NewWriter(1024)
	switch m := m.(type) {
	case Offer:
		w.U8(sayOffer)
		m.Entry.appendWire(w)
	case Countersignature:
		w.U8(sayCountersignature)
		m.Slot.appendWire(w)
		w.Fixed(m.Hash[:])
		w.Fixed(m.Payee[:])
	case Refusal:
		w.U8(sayRefusal)
		m.Slot.appendWire(w)
		w.Fixed(m.Hash[:])
		w.Str(string(m.Rule))
		w.Str(m.Text[:min(len(m.Text), maxText)])
	case Resync:
		w.U8(sayResync)
		m.appendWire(w)
	case Proposal:
		w.U8(sayProposal)
		m.Joint.AppendWire(w)
		w.Fixed(m.Share[:])
	case Consent:
		w.U8(sayConsent)
		m.Joint.AppendWire(w)
		w.Fixed(m.Share[:])
	case Secret:
		w.U8(saySecret)
		w.Fixed(m.Lock[:])
		w.Fixed(m.Preimage[:])
	case Failure:
		w.U8(sayFailure)
		w.Fixed(m.Lock[:])
	}
	return w.Bytes()
}

// DecodeMessage takes exactly the form of EncodeMessage; otherwise ErrForm. It checks the form, not
// the signatures.
func DecodeMessage(b []byte) (Message, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxMessage, ErrForm)
	}
	r := wire.NewReader(b)
	m := readMessage(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return m, nil
}

func readMessage(r *wire.Reader) Message {
	switch kind := r.U8(); kind {
	case sayOffer:
		return Offer{readEntry(r)}
	case sayCountersignature:
		m := Countersignature{Slot: readSlot(r)}
		r.Fixed(m.Hash[:])
		r.Fixed(m.Payee[:])
		return m
	case sayRefusal:
		m := Refusal{Slot: readSlot(r)}
		r.Fixed(m.Hash[:])
		m.Rule, m.Text = Rule(r.Str(8)), r.Str(maxText)
		return m
	case sayResync:
		return readResync(r)
	case sayProposal:
		m := Proposal{Joint: ReadJoint(r)}
		r.Fixed(m.Share[:])
		return m
	case sayConsent:
		m := Consent{Joint: ReadJoint(r)}
		r.Fixed(m.Share[:])
		return m
	case saySecret:
		var m Secret
		r.Fixed(m.Lock[:])
		r.Fixed(m.Preimage[:])
		return m
	case sayFailure:
		var m Failure
		r.Fixed(m.Lock[:])
		return m
	default:
		r.Fail(fmt.Errorf("message %d: %w", kind, ErrForm))
		return nil
	}
}

func (s Slot) appendWire(w *wire.Writer) {
	w.U32(s.Gen)
	w.U32(s.Seq)
}

func readSlot(r *wire.Reader) Slot { return Slot{Gen: r.U32(), Seq: r.U32()} }

func (e *Entry) appendWire(w *wire.Writer) {
	e.Update.AppendWire(w)
	AppendOperations(w, e.Operations)
	appendEndorsements(w, e.Endorsements)
	w.Fixed(e.Peer[:])
}

func readEntry(r *wire.Reader) Entry {
	e := Entry{Update: ReadUpdate(r), Operations: ReadOperations(r), Endorsements: readEndorsements(r)}
	r.Fixed(e.Peer[:])
	return e
}

func (s *Signed) appendWire(w *wire.Writer) {
	w.Bool(s != nil)
	if s != nil {
		s.Update.AppendWire(w)
		w.Fixed(s.Signature[:])
	}
}

func readSigned(r *wire.Reader) *Signed {
	if !r.Bool() {
		return nil
	}
	s := &Signed{Update: ReadUpdate(r)}
	r.Fixed(s.Signature[:])
	return s
}

func (m *Resync) appendWire(w *wire.Writer) {
	w.U32(m.Gens[A])
	w.U32(m.Gens[B])
	m.Written.appendWire(w)
	m.Certified.appendWire(w)
	m.Countersigned.appendWire(w)
	AppendLocks(w, m.Locks[A])
	AppendLocks(w, m.Locks[B])
	w.U64(m.Session)
	w.U64(m.Echo)
}

func readResync(r *wire.Reader) Resync {
	m := Resync{Gens: [2]uint32{r.U32(), r.U32()}, Written: readHead(r)}
	m.Certified, m.Countersigned = readSigned(r), readSigned(r)
	m.Locks = [2][]Lock{ReadLocks(r), ReadLocks(r)}
	m.Session, m.Echo = r.U64(), r.U64()
	return m
}

// The first byte of an event.
const (
	noteWrote uint8 = iota + 1
	noteCountersigned
	noteCertified
	noteBound
	noteAnchored
	noteEnded
	noteJoined
	noteBarred
	noteStopped
	noteListed
	noteLearned
	noteReleased
	noteFailed
	noteGone
)

// EncodeEvent is the canonical form of an event.
func EncodeEvent(e Event) []byte {
	w := wire.NewWriter(512)
	switch e := e.(type) {
	case Wrote:
		w.U8(noteWrote)
		e.Entry.appendWire(w)
	case Countersigned:
		w.U8(noteCountersigned)
		e.Entry.appendWire(w)
	case Certified:
		w.U8(noteCertified)
		w.U32(e.Seq)
		w.Fixed(e.Payee[:])
	case Bound:
		w.U8(noteBound)
		w.U8(uint8(e.Lane))
		w.U32(e.Seq)
	case Anchored:
		w.U8(noteAnchored)
		w.U8(uint8(e.Lane))
		e.Head.appendWire(w)
	case Ended:
		w.U8(noteEnded)
		w.U8(uint8(e.Lane))
		w.U32(e.Gen)
		e.Head.appendWire(w)
	case Joined:
		w.U8(noteJoined)
		e.Joint.AppendWire(w)
	case Barred:
		w.U8(noteBarred)
		w.U32(e.Gens[A])
		w.U32(e.Gens[B])
	case Stopped:
		w.U8(noteStopped)
		e.Evidence.One.appendWire(w)
		e.Evidence.Other.appendWire(w)
	case Listed:
		w.U8(noteListed)
		w.U8(uint8(e.Lane))
		AppendLocks(w, e.Locks)
	case Learned:
		w.U8(noteLearned)
		w.Fixed(e.Preimage[:])
	case Released:
		w.U8(noteReleased)
		w.Fixed(e.Lock[:])
	case Failed:
		w.U8(noteFailed)
		w.Fixed(e.Lock[:])
	case Gone:
		w.U8(noteGone)
		w.Fixed(e.Lock[:])
	}
	return w.Bytes()
}

// DecodeEvent takes exactly the form of EncodeEvent; otherwise ErrForm.
func DecodeEvent(b []byte) (Event, error) {
	if len(b) > MaxMessage {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxMessage, ErrForm)
	}
	r := wire.NewReader(b)
	e := readEvent(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return e, nil
}

func readEvent(r *wire.Reader) Event {
	kind := r.U8()
	switch kind {
	case noteWrote:
		return Wrote{readEntry(r)}
	case noteCountersigned:
		return Countersigned{readEntry(r)}
	case noteCertified:
		e := Certified{Seq: r.U32()}
		r.Fixed(e.Payee[:])
		return e
	case noteBound:
		return Bound{readSide(r), r.U32()}
	case noteAnchored:
		return Anchored{readSide(r), readHead(r)}
	case noteEnded:
		return Ended{readSide(r), r.U32(), readHead(r)}
	case noteJoined:
		return Joined{ReadJoint(r)}
	case noteBarred:
		return Barred{[2]uint32{r.U32(), r.U32()}}
	case noteStopped:
		return readStopped(r)
	case noteListed:
		return Listed{readSide(r), ReadLocks(r)}
	case noteLearned:
		var e Learned
		r.Fixed(e.Preimage[:])
		return e
	}
	return readOutcome(kind, r)
}

func readStopped(r *wire.Reader) Event {
	one, other := readSigned(r), readSigned(r)
	if one == nil || other == nil {
		r.Fail(fmt.Errorf("evidence without an update: %w", ErrForm))
		return nil
	}
	return Stopped{Evidence{*one, *other}}
}

// readOutcome reads an event that is about a lock alone.
func readOutcome(kind uint8, r *wire.Reader) Event {
	var lock LockID
	r.Fixed(lock[:])
	switch kind {
	case noteReleased:
		return Released{lock}
	case noteFailed:
		return Failed{lock}
	case noteGone:
		return Gone{lock}
	}
	r.Fail(fmt.Errorf("event %d: %w", kind, ErrForm))
	return nil
}
