package channels

import (
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

// Settings are how one bank's Party runs.
type Settings struct {
	Network cypherlink.NetworkID
	Channel ID
	Side    Side
	// LagS is how far, in seconds of block time, the own follower may be behind; InclusionS how
	// long the chain takes to include what is submitted.
	LagS, InclusionS int64
	// CertifyMS is how long an update may wait for the payee's signature before its payer wants a
	// cut, in milliseconds; ResendMS how long anything may wait before it is sent again.
	CertifyMS, ResendMS int64
	// JointS is how long a joint action is valid, in seconds of block time: shorter than the
	// channel's window.
	JointS int64
	// OffChain is the largest lock whose preimage is told to the payer without revealing it on the
	// chain first (H1). Zero: none.
	OffChain cypherlink.Amount
	// Verify checks Ed25519 signatures.
	Verify cosi.Verifier
}

// View is what the bank's own follower shows: final, and verified.
type View struct {
	Channel Channel
	Now     Time
	// Fresh tells whether the follower is no further behind than LagS.
	Fresh bool
	// Revealed are the preimages on the chain, first revealed at S, whose conditions locks of this
	// channel may have.
	Revealed []Revealed
}

// Revealed is a preimage on the chain.
type Revealed struct {
	Preimage cypherlink.Preimage
	S        int64
}

// Effects are what a step wants done, in this order.
type Effects struct {
	// Persist comes first: nothing of the rest happens before it is durable.
	Persist []Event
	Send    []Message
	// Endorse are updates that the Validators are asked to sign, with what they do.
	Endorse []Entry
	// Submit goes to the chain.
	Submit []Action
	// Together goes to the chain with both banks' and the Validators' signatures.
	Together []Joint
	Facts    []Fact
	// WakeMS is when Tick is wanted, in milliseconds; zero: not by time.
	WakeMS int64
}

// Fact is what the payments of a channel learn.
type Fact struct {
	Kind FactKind
	Lane Side
	// Update is the one that it is about, and Operations what that does.
	Update     Update
	Operations []Operation
	// Lock and Preimage are a lock's, for the kinds that are about one.
	Lock     Lock
	Preimage cypherlink.Preimage
}

// FactKind is the kind of a Fact.
type FactKind uint8

// The kinds.
const (
	// FactBound: the update binds both banks.
	FactBound FactKind = iota + 1
	// FactAnchored: the update is in a final block.
	FactAnchored
	// FactVoid: the update's generation ended without it. It never was, and never will be, paid.
	FactVoid
	// FactDropped: the update was not signed, and will not be: what it does may be ordered again.
	FactDropped
	// FactSecret: the lock in the own lane is paid for, with this preimage (H3).
	FactSecret
	// FactGone: the lock in the own lane will never be paid: what stands behind it may fail (H5).
	FactGone
)

// Party is one bank's side of a channel: a pure machine. One goroutine owns it.
type Party struct {
	s Settings
	d durable
	// What follows is lost by a crash, and comes again.
	view    *View
	session uint64
	synced  bool
	// waiting are offers that cannot be countersigned yet, by sequence.
	waiting map[uint32]Entry
	// drafts are updates of the own lane that wait for endorsements. They are not signed.
	drafts []Entry
	// told are locks of which FactSecret was told.
	told []LockID
	// disputed are the lanes whose generation's end was asked for, since their head moved.
	disputed [2]bool
	proposal *Joint
	now      int64 // milliseconds
	since    int64 // when the oldest uncertified update was written, another certified, or this bank started
	resend   int64
	out      Effects
}

// NewParty is the party after those events: of a new channel none. It signs nothing before it has
// a View and the other bank's Resync.
func NewParty(s Settings, channel *Channel, events []Event) *Party {
	p := &Party{s: s, waiting: map[uint32]Entry{}}
	for i := range p.d.lanes {
		p.d.lanes[i].begin(0, channel.start(), nil, true)
	}
	for _, e := range events {
		p.d.fold(s.Side, e)
	}
	return p
}

func (p *Party) own() *laneLog  { return &p.d.lanes[p.s.Side] }
func (p *Party) peer() *laneLog { return &p.d.lanes[p.s.Side.Other()] }

// step runs one step and gives its effects.
func (p *Party) step(nowMS int64, do func() error) (Effects, error) {
	p.now, p.out = nowMS, Effects{}
	err := do()
	if err == nil {
		p.react()
	}
	p.out.WakeMS = p.wake()
	return p.out, err
}

func (p *Party) persist(e Event) {
	p.d.fold(p.s.Side, e)
	p.out.Persist = append(p.out.Persist, e)
}

func (p *Party) send(m Message) { p.out.Send = append(p.out.Send, m) }

// Start is the first step after a start, whose number is positive and no other start's.
func (p *Party) Start(nowMS int64, session uint64) (Effects, error) {
	return p.step(nowMS, func() error {
		p.session, p.since = session, nowMS
		p.send(p.resync(0))
		return nil
	})
}

// Restored says that the store was restored from a backup: nothing is signed in either lane before
// its generation has ended (L10).
func (p *Party) Restored(nowMS int64) (Effects, error) {
	return p.step(nowMS, func() error {
		p.bar()
		return nil
	})
}

// Tick lets time pass.
func (p *Party) Tick(nowMS int64) (Effects, error) {
	return p.step(nowMS, func() error { return nil })
}

// See takes the next view of the chain. The views come in the chain's order.
func (p *Party) See(nowMS int64, v View) (Effects, error) {
	return p.step(nowMS, func() error {
		p.view = &v
		p.adopt()
		return nil
	})
}

// Hear takes a message of the other bank's. The error says by which rule it is refused; it changes
// nothing then, but where it is evidence: effects that come with an error are done all the same.
func (p *Party) Hear(nowMS int64, m Message) (Effects, error) {
	return p.step(nowMS, func() error {
		switch m := m.(type) {
		case Offer:
			return p.offered(m.Entry)
		case Countersignature:
			return p.countersigned(m)
		case Refusal:
			return nil // advisory; the shell tells the operator
		case Resync:
			return p.compare(m)
		case Proposal:
			return p.proposed(m.Joint)
		case Consent:
			return p.consented(m.Joint)
		case Secret:
			return p.secret(m)
		case Failure:
			return p.failure(m)
		}
		return refuse(L4, reasonForm, "%T", m)
	})
}

// ready reports why nothing may be signed in the lane now.
func (p *Party) ready(rule Rule, lane Side) error {
	l := &p.d.lanes[lane]
	switch {
	case p.d.stopped:
		return refuse(rule, reasonFailed, "the other bank contradicts itself")
	case !p.synced || p.view == nil:
		return refuse(L10, reasonOffline, "not synchronised with the other bank")
	case l.barred:
		return refuse(L10, reasonFailed, "this bank's log is an old copy, in generation %d", l.gen)
	case p.view.Channel.State != Opened:
		return refuse(rule, reasonFailed, "the channel is %s", p.view.Channel.State)
	case p.view.Channel.Lanes[lane].Gen != l.gen || !l.listed:
		return refuse(rule, reasonOffline, "lane %s: the log is in generation %d", lane, l.gen)
	}
	return nil
}

// suspended tells whether nothing in the lane becomes bound now.
func (p *Party) suspended(lane Side) bool {
	if p.view == nil || !p.view.Fresh {
		return true
	}
	c := &p.view.Channel
	on := &c.Lanes[lane]
	if c.State != Opened || on.Challenge != (Challenge{}) || on.Gen != p.d.lanes[lane].gen {
		return true
	}
	return slices.ContainsFunc(p.d.joints, func(j Joint) bool {
		switch do := j.Do.(type) {
		case Cut:
			return p.live(&j) && do.Lane == lane
		case Settlement:
			return p.live(&j)
		default:
			return false
		}
	})
}

// live tells whether a joint action that this bank has signed may still happen, and has not.
func (p *Party) live(j *Joint) bool {
	c := &p.view.Channel
	if p.view.Now.S >= j.ValidUntil {
		return false
	}
	switch do := j.Do.(type) {
	case Release:
		return c.Releases < do.Number
	case Cut:
		return c.Lanes[do.Lane].Gen == do.Gen
	default:
		return c.State == Opened
	}
}

// disturbed tells whether this bank sees a challenge or a closing.
func (p *Party) disturbed() bool {
	c := &p.view.Channel
	return c.State != Opened || c.Lanes[A].Challenge != (Challenge{}) || c.Lanes[B].Challenge != (Challenge{})
}

// free is what a side may still spend at a head of its lane that relies on dep (L3).
func (p *Party) free(side Side, dep cypherlink.Amount, head Head) int64 {
	funds := p.view.Channel.Funds[side]
	for i := range p.d.joints {
		if r, ok := p.d.joints[i].Do.(Release); ok && r.By == side && p.live(&p.d.joints[i]) {
			funds -= int64(r.Amount)
		}
	}
	b, ok := balance(funds, dep, head)
	if !ok {
		return -1
	}
	return b - int64(p.view.Channel.Limits.Reserve)
}

// bind notes what has become bound.
func (p *Party) bind() {
	for _, lane := range []Side{A, B} {
		l := &p.d.lanes[lane]
		if l.certified > l.bound && !p.suspended(lane) {
			from := l.bound
			p.persist(Bound{lane, l.certified})
			p.tell(FactBound, lane, from+1, l.certified)
		}
	}
}

// tell tells a fact of each of the lane's updates in the range.
func (p *Party) tell(kind FactKind, lane Side, from, to uint32) {
	l := &p.d.lanes[lane]
	for seq := from; seq <= to; seq++ {
		e := l.at(seq)
		if e == nil {
			continue
		}
		p.out.Facts = append(p.out.Facts,
			Fact{Kind: kind, Lane: lane, Update: e.Update, Operations: e.Operations})
		if lane == p.s.Side && kind != FactVoid {
			p.unlocked(e)
		}
	}
}

// react does what the rules ask for after anything has happened.
func (p *Party) react() {
	if p.view == nil {
		return
	}
	p.accept()
	p.bind()
	p.duties()
	p.promote()
	p.impatient()
}
