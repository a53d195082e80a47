package cosi

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrFrame means that bytes are not a frame.
var ErrFrame = errors.New("cosi: malformed frame")

// FrameSize is the length of every frame: no signed message has any other.
const FrameSize = 134

const frameMagic = "CYPH-COSI-v1\x00"

// Type says what a frame's payload is, so that a signature over one kind of message never
// stands for another.
type Type uint8

// The frame types.
const (
	Checkpoint     Type = 0x01 // session checkpoint
	Anchor         Type = 0x02 // channel open, anchor, release, cut or close
	Vote           Type = 0x03 // block vote; the sequence is the view
	Netting        Type = 0x04 // netting batch
	Approval       Type = 0x05
	RegistryChange Type = 0x06
	FeedCheckpoint Type = 0x07
	IdentityAnchor Type = 0x08
	Timeout        Type = 0x09 // the sequence is the view
	Proposal       Type = 0x0a // the sequence is the view
	Availability   Type = 0x0b
	Terms          Type = 0x0c // a batch of terms
	Verdict        Type = 0x0d
	Refusal        Type = 0x0e
	Stop           Type = 0x0f
	Command        Type = 0x10 // ledger command: one signed form for every ledger
	Record         Type = 0x11 // ledger receipt or event, signed by the ledger's operator
	Quote          Type = 0x12
	LaneUpdate     Type = 0x13
)

// ofEpoch tells whether the committee's epoch is part of frames of this type.
func (t Type) ofEpoch() bool {
	return t == Vote || t == Timeout || t == Proposal || t == Availability
}

// Frame is what is signed, whatever the message: 134 bytes of fixed layout. It is the same
// for every signer, so BLS signatures over it add up.
type Frame struct {
	Type    Type
	Network cypherlink.NetworkID
	// Epoch is the committee's; zero but in Vote, Timeout, Proposal and Availability.
	Epoch uint64
	// Roster is the root of the roster that may sign this frame, so that a bitmap cannot be
	// replayed under another one. It is zero for a frame that one Ed25519 key signs, except for
	// a Proposal.
	Roster cypherlink.Hash
	// Scope is the channel, session, chain, payment or signer that the sequence counts in.
	Scope cypherlink.Hash
	// Sequence is the signer's position within (Type, Scope).
	Sequence uint64
	// Payload is SHA-256 of the payload's canonical bytes.
	Payload cypherlink.Hash
}

// Encode is the frame's signed form.
func (f Frame) Encode() [FrameSize]byte {
	w := wire.NewWriter(FrameSize)
	w.Fixed([]byte(frameMagic))
	w.U8(uint8(f.Type))
	w.Fixed(f.Network[:])
	w.U64(f.Epoch)
	w.Fixed(f.Roster[:])
	w.Fixed(f.Scope[:])
	w.U64(f.Sequence)
	w.Fixed(f.Payload[:])
	return [FrameSize]byte(w.Bytes())
}

// DecodeFrame takes exactly the form of Encode; otherwise ErrFrame.
func DecodeFrame(b []byte) (Frame, error) {
	r := wire.NewReader(b)
	var magic [len(frameMagic)]byte
	r.Fixed(magic[:])
	f := Frame{Type: Type(r.U8())}
	r.Fixed(f.Network[:])
	f.Epoch = r.U64()
	r.Fixed(f.Roster[:])
	r.Fixed(f.Scope[:])
	f.Sequence = r.U64()
	r.Fixed(f.Payload[:])
	if err := r.End(); err != nil {
		return Frame{}, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if string(magic[:]) != frameMagic {
		return Frame{}, fmt.Errorf("magic %q: %w", magic[:], ErrFrame)
	}
	if err := f.Valid(); err != nil {
		return Frame{}, err
	}
	return f, nil
}

// Valid reports ErrFrame for a type that is not in the list, and for an epoch in a type that
// has none. Such a frame is neither signed nor verified.
func (f Frame) Valid() error {
	if f.Type < Checkpoint || f.Type > LaneUpdate {
		return fmt.Errorf("type %#x: %w", uint8(f.Type), ErrFrame)
	}
	if f.Epoch != 0 && !f.Type.ofEpoch() {
		return fmt.Errorf("type %#x, epoch %d: %w", uint8(f.Type), f.Epoch, ErrFrame)
	}
	return nil
}
