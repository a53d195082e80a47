package channels

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

const jointDomain wire.Domain = "cypherlink/joint/v1"

// Point is a head at its generation, with what it relies on of the reverse lane.
type Point struct {
	Gen uint32
	Dep cypherlink.Amount
	Head
}

// Slot is the point's place.
func (p Point) Slot() Slot { return Slot{p.Gen, p.Seq} }

// Point is the update as a point.
func (u *Update) Point() Point { return Point{Gen: u.Gen, Dep: u.Dep, Head: u.Head} }

// Joint is what both banks, and the asset's Validators, do together, under one BLS certificate.
type Joint struct {
	Channel ID
	// Proposer wrote it, as his Counter's.
	Proposer Side
	Counter  uint64
	// Points are the lanes' heads that both banks hold certified; of lane A first. They are zero
	// where a channel opens.
	Points [2]Point
	Do     JointAction
	// ValidUntil, in seconds since 1970: by block time, from then on it is too late.
	ValidUntil int64
}

// JointAction is Open, Record, Release, Cut or Settlement.
//
//sumtype:decl
type JointAction interface {
	appendWire(w *wire.Writer)
	joint()
}

// Open opens a channel (T0).
type Open struct {
	Banks    [2]cypherlink.ParticipantID
	Accounts [2]cypherlink.Account
	Asset    cypherlink.Asset
	Nonce    uint64
	Limits   Limits
}

// Record anchors the points and does nothing else (T2).
type Record struct{}

// Release pays a part of a bank's funds, or of what it received, out to its account (T5).
type Release struct {
	By     Side
	Amount cypherlink.Amount
	// Number is one above the releases before.
	Number uint64
}

// Cut ends a generation of a lane (T4): what is not anchored in it is void.
type Cut struct {
	Lane Side
	Gen  uint32
}

// Settlement closes the channel and pays it out (T6).
type Settlement struct{}

const (
	jointOpen uint8 = iota + 1
	jointRecord
	jointRelease
	jointCut
	jointSettlement
)

func (Open) joint()       {}
func (Record) joint()     {}
func (Release) joint()    {}
func (Cut) joint()        {}
func (Settlement) joint() {}

func (o Open) appendWire(w *wire.Writer) {
	w.U8(jointOpen)
	for i := range o.Banks {
		w.Fixed(o.Banks[i][:])
		o.Accounts[i].AppendWire(w)
	}
	o.Asset.AppendWire(w)
	w.U64(o.Nonce)
	o.Limits.appendWire(w)
}

func (Record) appendWire(w *wire.Writer) { w.U8(jointRecord) }

func (r Release) appendWire(w *wire.Writer) {
	w.U8(jointRelease)
	w.U8(uint8(r.By))
	w.I64(int64(r.Amount))
	w.U64(r.Number)
}

func (c Cut) appendWire(w *wire.Writer) {
	w.U8(jointCut)
	w.U8(uint8(c.Lane))
	w.U32(c.Gen)
}

func (Settlement) appendWire(w *wire.Writer) { w.U8(jointSettlement) }

func readJointAction(r *wire.Reader) JointAction {
	switch kind := r.U8(); kind {
	case jointOpen:
		var o Open
		for i := range o.Banks {
			r.Fixed(o.Banks[i][:])
			o.Accounts[i] = cypherlink.ReadAccount(r)
		}
		o.Asset = cypherlink.ReadAsset(r)
		o.Nonce = r.U64()
		o.Limits = readLimits(r)
		return o
	case jointRecord:
		return Record{}
	case jointRelease:
		return Release{By: readSide(r), Amount: readAmount(r), Number: r.U64()}
	case jointCut:
		return Cut{Lane: readSide(r), Gen: r.U32()}
	case jointSettlement:
		return Settlement{}
	default:
		r.Fail(fmt.Errorf("joint action %d: %w", kind, ErrForm))
		return nil
	}
}

func (p Point) appendWire(w *wire.Writer) {
	w.U32(p.Gen)
	w.I64(int64(p.Dep))
	p.Head.appendWire(w)
}

func readPoint(r *wire.Reader) Point {
	return Point{Gen: r.U32(), Dep: readAmount(r), Head: readHead(r)}
}

func (h Head) appendWire(w *wire.Writer) {
	w.U32(h.Seq)
	w.Fixed(h.Hash[:])
	w.I64(int64(h.Paid))
	w.I64(int64(h.Locked))
	w.Fixed(h.Locks[:])
}

func readHead(r *wire.Reader) Head {
	h := Head{Seq: r.U32()}
	r.Fixed(h.Hash[:])
	h.Paid, h.Locked = readAmount(r), readAmount(r)
	r.Fixed(h.Locks[:])
	return h
}

// AppendWire appends the canonical form.
func (j *Joint) AppendWire(w *wire.Writer) {
	w.Fixed(j.Channel[:])
	w.U8(uint8(j.Proposer))
	w.U64(j.Counter)
	j.Points[A].appendWire(w)
	j.Points[B].appendWire(w)
	j.Do.appendWire(w)
	w.I64(j.ValidUntil)
}

// ReadJoint reads what AppendWire wrote.
func ReadJoint(r *wire.Reader) Joint {
	var j Joint
	r.Fixed(j.Channel[:])
	j.Proposer = readSide(r)
	j.Counter = r.U64()
	j.Points[A], j.Points[B] = readPoint(r), readPoint(r)
	j.Do = readJointAction(r)
	j.ValidUntil = r.I64()
	if r.Err() == nil && j.Counter>>63 != 0 {
		r.Fail(fmt.Errorf("counter %d: %w", j.Counter, ErrForm))
	}
	return j
}

// Frame is what both banks and the Validators sign; roster is the root of JointRoster. Its
// sequence is the proposer's counter, with his side in the top bit.
func (j *Joint) Frame(network cypherlink.NetworkID, roster cypherlink.Hash) cosi.Frame {
	w := wire.NewWriter(512)
	j.AppendWire(w)
	return cosi.Frame{
		Type: cosi.Anchor, Network: network, Roster: roster, Scope: cypherlink.Hash(j.Channel),
		Sequence: uint64(j.Proposer)<<63 | j.Counter, Payload: wire.Sum(jointDomain, w.Bytes()),
	}
}

// JointRoster is who may sign a joint action: both banks, and threshold of the Validators.
func JointRoster(banks [2]cosi.Member, validators []cosi.Member, threshold int) (*cosi.Roster, error) {
	members := append([]cosi.Member{banks[A], banks[B]}, validators...)
	groups := []cosi.Group{{Role: "banks", Need: 2, Members: []int{0, 1}}}
	if threshold > 0 {
		group := cosi.Group{Role: "validators", Need: threshold}
		for i := range validators {
			group.Members = append(group.Members, 2+i)
		}
		groups = append(groups, group)
	}
	return cosi.NewRoster(members, cosi.Roles(groups...))
}
