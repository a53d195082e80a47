package channels

import (
	"slices"

	"github.com/cypherlink/cypherlink"
)

// Event is what a Party persists. Its state is the fold of its events, and of what the chain shows.
//
//sumtype:decl
type Event interface{ event() }

// Wrote says that the own signature on this update of the own lane may leave.
type Wrote struct{ Entry Entry }

// Countersigned says that the own signature on this update of the other lane may leave.
type Countersigned struct{ Entry Entry }

// Certified says that the payee's signature on the own lane's update of that sequence came.
type Certified struct {
	Seq   uint32
	Payee [64]byte
}

// Bound says that the lane is bound up to that sequence.
type Bound struct {
	Lane Side
	Seq  uint32
}

// Anchored says that the chain has the lane at this head, in the same generation.
type Anchored struct {
	Lane Side
	Head Head
}

// Ended says that the lane's generation has ended at this head, and the generation Gen begun: the same one
// if it was the channel's last.
type Ended struct {
	Lane Side
	Gen  uint32
	Head Head
}

// Joined says that the own signature on this joint action may leave.
type Joined struct{ Joint Joint }

// Barred says that the own log lacks what this bank has signed (L10).
type Barred struct{ Gens [2]uint32 }

// Stopped says that the other bank has signed what contradicts itself, or what this bank has signed is not
// what it has written. Nothing more is signed.
type Stopped struct{ Evidence Evidence }

// Listed says that these are the locks at the anchored head.
type Listed struct {
	Lane  Side
	Locks []Lock
}

// Learned says that this preimage is known.
type Learned struct{ Preimage cypherlink.Preimage }

// Released says that the preimage of the lock may leave.
type Released struct{ Lock LockID }

// Failed says that the lock will never be claimed.
type Failed struct{ Lock LockID }

// Gone says that what stands behind the lock in the own lane may fail, so it is not settled any more.
type Gone struct{ Lock LockID }

// Evidence are two updates in one slot, each signed by the bank that it accuses.
type Evidence struct{ One, Other Signed }

func (Wrote) event()         {}
func (Countersigned) event() {}
func (Certified) event()     {}
func (Bound) event()         {}
func (Anchored) event()      {}
func (Ended) event()         {}
func (Joined) event()        {}
func (Barred) event()        {}
func (Stopped) event()       {}
func (Listed) event()        {}
func (Learned) event()       {}
func (Released) event()      {}
func (Failed) event()        {}
func (Gone) event()          {}

// durable is the fold of the events.
type durable struct {
	lanes   [2]laneLog
	joints  []Joint // but for those that were too late in a View
	counter uint64  // of the own proposals
	stopped bool
	// preimages are known; released, failed and gone are the outcomes to which the own bank is bound.
	preimages              []secret
	released, failed, gone []LockID
}

// secret is a preimage with its condition, which takes a hash.
type secret struct {
	condition cypherlink.Condition
	preimage  cypherlink.Preimage
}

func (d *durable) fold(own Side, e Event) {
	switch e := e.(type) {
	case Wrote:
		d.lanes[own].push(e.Entry)
	case Countersigned:
		l := &d.lanes[own.Other()]
		l.push(e.Entry)
		l.certified = l.last.Seq
	case Certified:
		l := &d.lanes[own]
		l.certified = e.Seq
		l.at(e.Seq).Peer = e.Payee
	case Bound:
		d.lanes[e.Lane].bound = e.Seq
	case Anchored:
		l := &d.lanes[e.Lane]
		if e.Head.Seq <= l.last.Seq && l.head(e.Head.Seq) == e.Head {
			l.rebase(e.Head.Seq)
		} else {
			l.begin(l.gen, e.Head, nil, false)
		}
	case Ended:
		l := &d.lanes[e.Lane]
		last := e.Gen == l.gen // its slots were used
		if l.base.Seq <= e.Head.Seq && e.Head.Seq <= l.last.Seq && l.head(e.Head.Seq) == e.Head {
			from := l.updateAt(e.Head.Seq)
			l.begin(e.Gen, e.Head, l.locksAt(e.Head.Seq), l.listed)
			l.from = from
		} else {
			l.begin(e.Gen, e.Head, nil, false)
		}
		l.barred = l.barred || last
	case Joined:
		d.joints = append(slices.Clip(d.joints), e.Joint)
		if e.Joint.Proposer == own {
			d.counter = e.Joint.Counter
		}
	case Barred:
		for i := range d.lanes {
			d.lanes[i].barred = d.lanes[i].barred || d.lanes[i].gen == e.Gens[i]
		}
	case Stopped:
		d.stopped = true
	case Listed:
		l := &d.lanes[e.Lane]
		l.base.locks, l.listed = e.Locks, true
		if len(l.entries) == 0 {
			l.last = l.base
		}
	case Learned:
		d.preimages = append(d.preimages, secret{e.Preimage.Condition(), e.Preimage})
	case Released:
		d.released = append(d.released, e.Lock)
	case Failed:
		d.failed = append(d.failed, e.Lock)
	case Gone:
		d.gone = append(d.gone, e.Lock)
	}
}
