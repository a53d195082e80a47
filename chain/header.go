package chain

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrHeader means that bytes are not a header, or that a header contradicts its committee or
// its parent.
var ErrHeader = errors.New("chain: wrong header")

const headerDomain wire.Domain = "cypherlink/header/v1"

// HeaderSize is the length of every header's canonical form, in bytes.
const HeaderSize = 8 + 8 + 32 + 8 + 8 + 8 + tupleSize + 8 + 32 + 4 + 32 + 32 + 8 + 32 + 32

const tupleSize = 8 + 8 + 32 + 8

// Tuple is what a vote says of a block, and so what a QC certifies.
type Tuple struct {
	View   uint64
	Height uint64
	// Block is the block's id.
	Block cypherlink.Hash
	// ParentView is the view of the QC that the block carries.
	ParentView uint64
}

// Roots are what execution leaves behind.
type Roots struct {
	// State is the root of the state after the block.
	State cypherlink.Hash
	// Feed is the RFC 6962 root of all events since genesis, FeedSize their number.
	Feed     cypherlink.Hash
	FeedSize uint64
}

// Header is a block without its payload and without the signatures that travel beside it.
type Header struct {
	Network cypherlink.NetworkID
	// Epoch is the term of office of the committee, from 1.
	Epoch uint64
	// Committee is the root of the roster that certifies the block.
	Committee cypherlink.Hash
	// View counts the attempts of the epoch, from 1. Blocks skip views, never heights.
	View   uint64
	Height uint64
	// TimeMS is the block's time in milliseconds since 1970 UTC, above its parent's.
	TimeMS int64
	// Parent is the tuple that the carried QC certifies. So the parent's id is the QC's
	// block, by construction.
	Parent Tuple
	// TCView is the view of the carried TC, or zero. There is one iff View > Parent.View+1.
	TCView uint64
	// PayloadRoot is the RFC 6962 root over the included transactions, PayloadCount their
	// number, however they travel (see Payload).
	PayloadRoot  cypherlink.Hash
	PayloadCount uint32
	// Roots are those after this block.
	Roots Roots
	// Ending is the id of the oldest key block among the ancestors of this epoch, or zero. A
	// block with it carries no payload and never becomes final.
	Ending cypherlink.Hash
	// Proposer is the leader of the view.
	Proposer cypherlink.ParticipantID
}

// ID names the block: the hash of the header's canonical bytes.
func (h Header) ID() cypherlink.Hash {
	b := h.Encode()
	return wire.Sum(headerDomain, b[:])
}

// Tuple is what a vote for this block signs.
func (h Header) Tuple() Tuple {
	return Tuple{View: h.View, Height: h.Height, Block: h.ID(), ParentView: h.Parent.View}
}

// Seconds is the block's time as every expiry on the chain and in lanes reads it: floor of
// the time in seconds.
func (h Header) Seconds() int64 { return h.TimeMS / 1000 }

// Encode is the canonical form.
func (h Header) Encode() [HeaderSize]byte {
	w := wire.NewWriter(HeaderSize)
	h.AppendWire(w)
	return [HeaderSize]byte(w.Bytes())
}

// DecodeHeader takes exactly the form of Encode; otherwise ErrHeader.
func DecodeHeader(b []byte) (Header, error) {
	r := wire.NewReader(b)
	h := ReadHeader(r)
	if err := r.End(); err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	return h, nil
}

// AppendWire appends the canonical form.
func (h Header) AppendWire(w *wire.Writer) {
	w.Fixed(h.Network[:])
	w.U64(h.Epoch)
	w.Fixed(h.Committee[:])
	w.U64(h.View)
	w.U64(h.Height)
	w.I64(h.TimeMS)
	h.Parent.AppendWire(w)
	w.U64(h.TCView)
	w.Fixed(h.PayloadRoot[:])
	w.U32(h.PayloadCount)
	w.Fixed(h.Roots.State[:])
	w.Fixed(h.Roots.Feed[:])
	w.U64(h.Roots.FeedSize)
	w.Fixed(h.Ending[:])
	w.Fixed(h.Proposer[:])
}

// ReadHeader reads what AppendWire wrote. A time before 1970 fails the reader.
func ReadHeader(r *wire.Reader) Header {
	var h Header
	r.Fixed(h.Network[:])
	h.Epoch = r.U64()
	r.Fixed(h.Committee[:])
	h.View = r.U64()
	h.Height = r.U64()
	h.TimeMS = r.I64()
	if h.TimeMS < 0 {
		r.Fail(fmt.Errorf("time %d: %w", h.TimeMS, ErrHeader))
	}
	h.Parent = ReadTuple(r)
	h.TCView = r.U64()
	r.Fixed(h.PayloadRoot[:])
	h.PayloadCount = r.U32()
	r.Fixed(h.Roots.State[:])
	r.Fixed(h.Roots.Feed[:])
	h.Roots.FeedSize = r.U64()
	r.Fixed(h.Ending[:])
	r.Fixed(h.Proposer[:])
	return h
}

// AppendWire appends the canonical form, which is also what a vote's frame hashes.
func (t Tuple) AppendWire(w *wire.Writer) {
	w.U64(t.View)
	w.U64(t.Height)
	w.Fixed(t.Block[:])
	w.U64(t.ParentView)
}

// ReadTuple reads what AppendWire wrote.
func ReadTuple(r *wire.Reader) Tuple {
	t := Tuple{View: r.U64(), Height: r.U64()}
	r.Fixed(t.Block[:])
	t.ParentView = r.U64()
	return t
}

// follows reports ErrHeader unless h can stand directly on parent, whose tuple is at: the
// one that the epoch's genesis QC names if parent began the epoch, else parent's own.
func (h Header) follows(parent Header, at Tuple) error {
	switch {
	case h.Network != parent.Network:
		return fmt.Errorf("network %s on %s: %w", h.Network, parent.Network, ErrHeader)
	case h.Parent != at:
		return fmt.Errorf("parent %+v, not %+v: %w", h.Parent, at, ErrHeader)
	case h.TimeMS <= parent.TimeMS:
		return fmt.Errorf("time %d after %d: %w", h.TimeMS, parent.TimeMS, ErrHeader)
	}
	return nil
}
