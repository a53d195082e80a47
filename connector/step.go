package connector

import (
	"errors"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

var (
	// ErrBegun means that the machine has begun with other terms.
	ErrBegun = errors.New("connector: begun with other terms")
	// ErrForeign means that an input is about another payment.
	ErrForeign = errors.New("connector: another payment's")
	// ErrLedger means that a ledger contradicts itself: a custody left a final state, or the
	// owner's own Prepare stands with other content. The operator must look.
	ErrLedger = errors.New("connector: the ledger contradicts itself")
)

// Reason says why a relay or a payee declined, or is empty.
type Reason string

// The reasons.
const (
	ReasonCustody   Reason = "custody_differs"   // the custody is not what the terms say
	ReasonPacket    Reason = "packet_differs"    // the packet is not what the terms say
	ReasonCondition Reason = "condition_differs" // the payee derives another condition
	ReasonLate      Reason = "too_late"          // the margin is gone
	ReasonReturned  Reason = "custody_returned"  // the custody was given back before
)

// Input is what a machine is told: Begin, Final, Refusal or Tick.
//
//sumtype:decl
type Input interface{ input() }

// Begin says that the owner signed the terms. It is the first input; a repetition changes nothing.
type Begin Begun

// Final is a ledger's final and verified receipt, from its events or from a look-up. A custody
// that the ledger does not have is in state ledger.Absent, as of the receipt's time.
type Final struct{ Receipt ledger.Receipt }

// Refusal says that the ledger of that leg refused the owner's Prepare.
type Refusal struct {
	Leg    uint8
	Code   cypherlink.Code
	Reason string
}

// Tick says that time has passed. A shell sends one after a start and at each WakeAt.
type Tick struct{}

func (Begin) input()   {}
func (Final) input()   {}
func (Refusal) input() {}
func (Tick) input()    {}

// Effects are carried out in the order of the fields. Submit and Ask may be repeated, and
// must not begin before Persist is durable.
type Effects struct {
	// Persist is appended to the machine's log, all or nothing.
	Persist []Event
	// Submit goes to the ledgers; refusals of a Prepare come back as Refusal.
	Submit []Submission
	// Ask are custodies to look up; the answers come back as Final.
	Ask []Question
	// WakeAt: call Step with Tick no later than this; zero means never.
	WakeAt time.Time
}

// Submission is an unsigned command for where a leg moves; the shell signs it.
type Submission struct {
	Leg     terms.Leg
	Command ledger.Command
}

// Question is a look-up of a leg's custody.
type Question struct {
	Leg     terms.Leg
	Custody ledger.CustodyID
}

// leg is what a machine knows of one leg, all of it final.
type leg struct {
	state   ledger.State // Absent until a custody is seen
	differs bool
	gone    bool   // absent, and too late to come to be
	packet  []byte // what the custody carries
}

// over tells whether the leg can never change again.
func (l leg) over() bool {
	return l.gone || l.state == ledger.Confirmed || l.state == ledger.Returned
}

// position is the fold of a machine's log: what all three machines know.
type position struct {
	begun    *Begun
	hash     cypherlink.Hash
	legs     [2]leg
	preimage *cypherlink.Preimage
	decided  *Decided
	refused  *Refused
}

func (p *position) apply(e Event) {
	switch e := e.(type) {
	case Begun:
		p.begun, p.hash = &e, e.Terms.Hash()
	case Seen:
		l := &p.legs[e.Leg]
		l.state, l.differs = e.State, e.Differs
		switch e.State {
		case ledger.Absent:
			l.gone = true
		case ledger.Prepared:
			l.packet = e.Packet
		case ledger.Confirmed:
			p.preimage = &e.Preimage
		case ledger.Returned:
		}
	case Decided:
		p.decided = &e
	case Refused:
		p.refused = &e
	}
}

func (p *position) leg(i uint8) terms.Leg { return p.begun.Terms.Legs[i] }

func (p *position) custody(i uint8) ledger.CustodyID {
	return ledger.NewCustodyID(p.begun.Terms.Network, p.hash, i)
}

// begin checks the first input. It gives no event for a repetition.
func (p *position) begin(in Begin) ([]Event, error) {
	if p.begun != nil {
		if in.Terms.Hash() != p.hash {
			return nil, fmt.Errorf("terms %s, begun with %s: %w", in.Terms.Hash(), p.hash, ErrBegun)
		}
		return nil, nil
	}
	if err := in.Terms.Valid(); err != nil {
		return nil, err
	}
	if len(in.Terms.Legs) != 2 {
		return nil, fmt.Errorf("%d legs: %w", len(in.Terms.Legs), terms.ErrTerms)
	}
	return []Event{Begun(in)}, nil
}

// see turns a final receipt into an event, or into none if it says nothing new.
func (p *position) see(r ledger.Receipt) ([]Event, error) {
	c := &r.Custody
	for i := range p.begun.Terms.Legs {
		index := uint8(i)
		if c.ID != p.custody(index) || r.Ledger != p.leg(index).Asset.Ledger {
			continue
		}
		return p.seeLeg(index, r)
	}
	return nil, fmt.Errorf("custody %s on ledger %s: %w", c.ID, r.Ledger, ErrForeign)
}

func (p *position) seeLeg(index uint8, r ledger.Receipt) ([]Event, error) {
	known, want, c := p.legs[index], p.leg(index), &r.Custody
	switch {
	case c.State == ledger.Absent:
		if known.state == ledger.Absent && !known.gone && r.TimeMS/1000 >= want.Expiry {
			return []Event{Seen{Leg: index, State: ledger.Absent}}, nil
		}
		return nil, nil // an old answer, or too early to tell
	case known.gone:
		return nil, fmt.Errorf("leg %d came to be after its expiry: %w", index, ErrLedger)
	case known.state == c.State, known.over() && c.State == ledger.Prepared:
		return nil, nil // repeated, or older than what is known
	case known.over():
		return nil, fmt.Errorf("leg %d is %s, then %s: %w", index, known.state, c.State, ErrLedger)
	}
	s := c.Subject
	seen := Seen{
		Leg: index, State: c.State,
		Differs: s.Terms != p.hash || s.Leg != index || s.Fields != want ||
			s.Condition != p.begun.Terms.Condition,
	}
	switch c.State {
	case ledger.Prepared:
		seen.Packet = c.Packet
	case ledger.Confirmed:
		if !s.Condition.FulfilledBy(c.Preimage) {
			return nil, fmt.Errorf("leg %d: confirmed by another preimage: %w", index, ErrLedger)
		}
		seen.Preimage = c.Preimage
	case ledger.Returned, ledger.Absent:
	}
	return []Event{seen}, nil
}

// outbox paces what a machine repeats: each action at most once per resend interval. It is
// not persisted: after a start everything that is still wanted goes out again at once.
type outbox struct {
	resend time.Duration
	sent   map[action]time.Time
}

type verb uint8

const (
	submitPrepare verb = 1
	submitConfirm verb = 2
	submitReturn  verb = 3
	ask           verb = 4
)

type action struct {
	verb verb
	leg  uint8
}

// due tells whether the action should go out at now, and notes that it does.
func (o *outbox) due(now time.Time, a action) bool {
	if last, ok := o.sent[a]; ok && now.Before(last.Add(o.resend)) {
		return false
	}
	if o.sent == nil {
		o.sent = make(map[action]time.Time)
	}
	o.sent[a] = now
	return true
}

// plan collects the effects of one step.
type plan struct {
	now     time.Time
	p       *position
	box     *outbox
	effects *Effects
}

func (a plan) submit(v verb, index uint8, command ledger.Command) {
	a.wake(a.now.Add(a.box.resend))
	if a.box.due(a.now, action{v, index}) {
		a.effects.Submit = append(a.effects.Submit,
			Submission{Leg: a.p.leg(index), Command: command})
	}
}

func (a plan) confirm(index uint8, preimage cypherlink.Preimage) {
	a.submit(submitConfirm, index, &ledger.Confirm{ID: a.p.custody(index), Preimage: preimage})
}

func (a plan) giveBack(index uint8) {
	a.submit(submitReturn, index, &ledger.Return{ID: a.p.custody(index)})
}

func (a plan) ask(index uint8) {
	a.wake(a.now.Add(a.box.resend))
	if a.box.due(a.now, action{ask, index}) {
		a.effects.Ask = append(a.effects.Ask,
			Question{Leg: a.p.leg(index), Custody: a.p.custody(index)})
	}
}

// askOnce asks once after each start.
func (a plan) askOnce(index uint8) {
	if _, asked := a.box.sent[action{ask, index}]; !asked {
		a.ask(index)
	}
}

// wake asks for a tick no later than t.
func (a plan) wake(t time.Time) {
	if a.effects.WakeAt.IsZero() || t.Before(a.effects.WakeAt) {
		a.effects.WakeAt = t
	}
}

// awaitEnd sees to it that the leg ends: from its expiry on, a prepared custody is sent a
// Return, and an absent one is asked for until the ledger's own time has passed the expiry.
func (a plan) awaitEnd(index uint8) {
	l, expiry := a.p.legs[index], time.Unix(a.p.leg(index).Expiry, 0)
	switch {
	case l.over():
	case a.now.Before(expiry):
		if l.state == ledger.Absent {
			a.askOnce(index) // an event that was missed is heard of after a start
		}
		a.wake(expiry)
	case l.state == ledger.Prepared:
		a.giveBack(index)
		a.ask(index)
	default:
		a.ask(index)
	}
}

// run is one step of any machine: the input's events, the machine's own decision, then what
// the new state wants. A refused input leaves the machine unchanged.
func (p *position) run(now time.Time, in Input, box *outbox, m machine) (Effects, error) {
	var events []Event
	var err error
	if begin, ok := in.(Begin); ok {
		if events, err = p.begin(begin); err != nil {
			return Effects{}, err
		}
		if len(events) > 0 {
			if err := m.admit(now, Begun(begin)); err != nil {
				return Effects{}, err
			}
		}
	} else if p.begun == nil {
		return Effects{}, nil // nothing is agreed yet
	}
	switch in := in.(type) {
	case Final:
		events, err = p.see(in.Receipt)
	case Refusal:
		events = p.refuse(in)
	case Begin, Tick:
	}
	if err != nil {
		return Effects{}, err
	}
	for _, e := range events {
		p.apply(e)
	}
	if e := m.decide(now); e != nil {
		p.apply(*e)
		events = append(events, *e)
	}
	effects := Effects{Persist: events}
	m.want(plan{now: now, p: p, box: box, effects: &effects})
	return effects, nil
}

func (p *position) refuse(in Refusal) []Event {
	if p.refused != nil || in.Leg > terms.Destination || p.legs[in.Leg].state != ledger.Absent {
		return nil
	}
	return []Event{Refused(in)}
}

// machine is what differs between Payer, Relay and Payee.
type machine interface {
	// admit refuses terms that the owner should not have begun with.
	admit(now time.Time, b Begun) error
	// decide takes the owner's one decision when it is due, or gives nil.
	decide(now time.Time) *Decided
	// want states everything that the present state asks for; it may be asked again.
	want(a plan)
}

// restore folds a log.
func (p *position) restore(events []Event) error {
	for i, e := range events {
		if _, first := e.(Begun); first != (i == 0) {
			return fmt.Errorf("event %d of %d: %w", i, len(events), ErrEvent)
		}
		p.apply(e)
	}
	return nil
}
