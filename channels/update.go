package channels

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrForm means that bytes are not what they should be.
var ErrForm = errors.New("channels: malformed")

const (
	channelDomain wire.Domain = "cypherlink/channel/v1"
	updateDomain  wire.Domain = "cypherlink/lane-update/v1"
	scopeDomain   wire.Domain = "cypherlink/lane/v1"
)

// ID names a channel.
type ID cypherlink.Hash

// NewID is the id of the channel of two banks in an asset, on one network. The nonce tells apart
// the channels that they have one after another. The order of the banks does not matter.
func NewID(
	network cypherlink.NetworkID, banks [2]cypherlink.ParticipantID, asset cypherlink.Asset, nonce uint64,
) ID {
	banks = InOrder(banks)
	w := wire.NewWriter(160)
	w.Fixed(network[:])
	w.Fixed(banks[0][:])
	w.Fixed(banks[1][:])
	asset.AppendWire(w)
	w.U64(nonce)
	return wire.Sum(channelDomain, w.Bytes())
}

// InOrder puts the banks of a channel into the order in which they have sides A and B.
func InOrder(banks [2]cypherlink.ParticipantID) [2]cypherlink.ParticipantID {
	if slices.Compare(banks[0][:], banks[1][:]) > 0 {
		return [2]cypherlink.ParticipantID{banks[1], banks[0]}
	}
	return banks
}

// String is the lower-case hexadecimal form.
func (id ID) String() string { return cypherlink.Hash(id).String() }

// MarshalText is the lower-case hexadecimal form.
func (id ID) MarshalText() ([]byte, error) { return cypherlink.AppendHex(nil, id[:]), nil }

// UnmarshalText takes exactly the form of MarshalText; otherwise cypherlink.ErrHex.
func (id *ID) UnmarshalText(text []byte) error { return cypherlink.DecodeHex(id[:], text) }

// Side tells the two banks of a channel apart. A lane has the side of the bank that writes it, its
// payer.
type Side uint8

// The sides.
const (
	A Side = 0
	B Side = 1
)

// Other is the other side.
func (s Side) Other() Side { return 1 - s }

// String is "A" or "B".
func (s Side) String() string { return string('A' + rune(s)) }

// Slot is a place in a lane, in which its payer signs one update for ever.
type Slot struct{ Gen, Seq uint32 }

// Compare orders slots by generation, then sequence.
func (s Slot) Compare(o Slot) int {
	return cmp.Or(cmp.Compare(s.Gen, o.Gen), cmp.Compare(s.Seq, o.Seq))
}

// Head is where a lane stands after an update: what the chain keeps of it.
type Head struct {
	Seq  uint32
	Hash cypherlink.Hash
	// Paid and Locked are cumulative: everything that was ever paid in the lane, and the sum of
	// its open locks.
	Paid, Locked cypherlink.Amount
	// Locks is the LockRoot of the open locks.
	Locks cypherlink.Hash
}

// Update is one step of a lane, which its payer signs.
type Update struct {
	Channel ID
	Lane    Side
	Gen     uint32
	// Prev is the hash of the update before, of the anchored head where a generation begins, and
	// of the channel where the first one does.
	Prev cypherlink.Hash
	// Dep is what the payer relies on of the reverse lane: its cumulative Paid.
	Dep cypherlink.Amount
	// Body is the RFC 6962 root over the operations.
	Body cypherlink.Hash
	// Head is where the lane stands with this update. Its Hash is that of all the rest.
	Head
}

// Slot is the update's place.
func (u *Update) Slot() Slot { return Slot{u.Gen, u.Seq} }

// seal sets the hash.
func (u *Update) seal() { u.Hash = u.sum() }

func (u *Update) sum() cypherlink.Hash {
	w := wire.NewWriter(updateSize)
	u.appendContent(w)
	return wire.Sum(updateDomain, w.Bytes())
}

// updateSize is the length of an update's canonical bytes.
const updateSize = 32 + 1 + 4 + 4 + 32 + 3*8 + 2*32

func (u *Update) appendContent(w *wire.Writer) {
	w.Fixed(u.Channel[:])
	w.U8(uint8(u.Lane))
	w.U32(u.Gen)
	w.U32(u.Seq)
	w.Fixed(u.Prev[:])
	w.I64(int64(u.Dep))
	w.I64(int64(u.Paid))
	w.I64(int64(u.Locked))
	w.Fixed(u.Locks[:])
	w.Fixed(u.Body[:])
}

// AppendWire appends the canonical form: everything but the hash.
func (u *Update) AppendWire(w *wire.Writer) { u.appendContent(w) }

// ReadUpdate reads what AppendWire wrote, and computes the hash.
func ReadUpdate(r *wire.Reader) Update {
	var u Update
	r.Fixed(u.Channel[:])
	u.Lane = readSide(r)
	u.Gen = r.U32()
	u.Seq = r.U32()
	r.Fixed(u.Prev[:])
	u.Dep = readAmount(r)
	u.Paid = readAmount(r)
	u.Locked = readAmount(r)
	r.Fixed(u.Locks[:])
	r.Fixed(u.Body[:])
	u.seal()
	return u
}

func readSide(r *wire.Reader) Side {
	s := Side(r.U8())
	if s > B {
		r.Fail(fmt.Errorf("side %d: %w", s, ErrForm))
		return A
	}
	return s
}

func readAmount(r *wire.Reader) cypherlink.Amount {
	a := cypherlink.Amount(r.I64())
	if a < 0 {
		r.Fail(fmt.Errorf("amount %d: %w", a, ErrForm))
		return 0
	}
	return a
}

// Frame is what payer, payee and Validators sign. Its scope is the lane, its sequence the slot, so
// two different updates in one slot are proof against whoever signed both.
func (u *Update) Frame(network cypherlink.NetworkID) cosi.Frame {
	return cosi.Frame{
		Type: cosi.LaneUpdate, Network: network, Scope: LaneScope(u.Channel, u.Lane),
		Sequence: uint64(u.Gen)<<32 | uint64(u.Seq), Payload: u.Hash,
	}
}

// LaneScope is the scope of the frames of a lane.
func LaneScope(channel ID, lane Side) cypherlink.Hash {
	return wire.Sum(scopeDomain, append(channel[:], byte(lane)))
}

// Endorsement is a Validator's signature on an update.
type Endorsement struct {
	Validator cypherlink.ParticipantID
	Signature [64]byte
}

// Certificate is an update with the signatures that bind both banks to it and to everything
// before it in its lane (by Prev).
type Certificate struct {
	Update       Update
	Payer, Payee [64]byte
	// Endorsements are those that the asset's policy asks for, at most MaxValidators.
	Endorsements []Endorsement
}

// AppendWire appends the canonical form.
func (c *Certificate) AppendWire(w *wire.Writer) {
	c.Update.AppendWire(w)
	w.Fixed(c.Payer[:])
	w.Fixed(c.Payee[:])
	appendEndorsements(w, c.Endorsements)
}

// ReadCertificate reads what AppendWire wrote. It checks the form, not the signatures.
func ReadCertificate(r *wire.Reader) Certificate {
	c := Certificate{Update: ReadUpdate(r)}
	r.Fixed(c.Payer[:])
	r.Fixed(c.Payee[:])
	c.Endorsements = readEndorsements(r)
	return c
}

func appendEndorsements(w *wire.Writer, all []Endorsement) {
	w.U32(uint32(len(all))) //nolint:gosec // at most MaxValidators
	for i := range all {
		w.Fixed(all[i].Validator[:])
		w.Fixed(all[i].Signature[:])
	}
}

func readEndorsements(r *wire.Reader) []Endorsement {
	var all []Endorsement
	for n := r.Count(MaxValidators, 96); n > 0; n-- {
		var e Endorsement
		r.Fixed(e.Validator[:])
		r.Fixed(e.Signature[:])
		all = append(all, e)
	}
	return all
}
