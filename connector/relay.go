package connector

import (
	"time"

	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// Relay is the clearing bank's machine for one payment. It makes the destination custody only
// when the source custody is final, carries the preimage back, and gives the source custody
// back only when the destination custody is over or was never asked for. It delivers exactly
// the destination amount of the terms; it computes nothing again from the packet.
type Relay struct {
	position
	margins Margins
	box     outbox
}

// NewRelay restores a relay from its log, which is empty for a new one.
func NewRelay(margins Margins, log []Event) (*Relay, error) {
	m := &Relay{margins: margins, box: outbox{resend: margins.Resend}}
	return m, m.restore(log)
}

// Step tells the machine something at the owner's time now.
func (m *Relay) Step(now time.Time, in Input) (Effects, error) { return m.run(now, in, &m.box, m) }

// Outcome is where the payment stands. A relay that never saw a source custody, or declined
// it, is Undone when the source is over.
func (m *Relay) Outcome() Outcome {
	source := m.legs[terms.Source]
	if m.begun != nil && source.over() && source.state != ledger.Confirmed && !m.asked() {
		return Undone
	}
	return bothLegs(&m.position)
}

// Over tells whether the payment has ended for the relay: both custodies are over, or the
// source is and no destination custody was asked for.
func (m *Relay) Over() bool { return m.Outcome().end() }

// Declined is why the relay did not make the destination custody; empty if it did or has not
// decided.
func (m *Relay) Declined() Reason {
	if m.decided == nil {
		return ""
	}
	return m.decided.Reason
}

// asked tells whether a Prepare of the destination custody may be out.
func (m *Relay) asked() bool { return m.decided != nil && m.decided.Accept }

// admit checks the margin between the two custodies before the owner signs the terms.
func (m *Relay) admit(_ time.Time, b Begun) error { return m.margins.Cascade(b.Terms) }

func (m *Relay) decide(now time.Time) *Decided {
	source := m.legs[terms.Source]
	if m.begun == nil || m.decided != nil || source.state == ledger.Absent {
		return nil
	}
	reason := m.objection(now, source)
	return &Decided{Accept: reason == "", Reason: reason}
}

func (m *Relay) objection(now time.Time, source leg) Reason {
	last := time.Unix(m.leg(terms.Destination).Expiry, 0).Add(-m.margins.AcceptWindow)
	switch {
	case source.differs:
		return ReasonCustody
	case source.state != ledger.Prepared:
		return ReasonReturned
	case samePacket(source.packet, m.begun.Terms, m.leg(terms.Source)) != nil:
		return ReasonPacket
	case now.After(last):
		return ReasonLate
	}
	return ""
}

func (m *Relay) want(a plan) {
	source, destination := m.legs[terms.Source], m.legs[terms.Destination]
	switch {
	case !m.asked():
		if m.decided != nil && source.state == ledger.Prepared {
			a.giveBack(terms.Source)
			return
		}
		a.awaitEnd(terms.Source)
	case destination.state == ledger.Confirmed:
		if !source.over() {
			a.confirm(terms.Source, *m.preimage)
		}
	case destination.over():
		if !source.over() {
			a.giveBack(terms.Source)
		}
	default:
		m.wantDestination(a)
	}
}

// wantDestination sees the destination custody through. A Prepare is repeated only while the
// source custody stands and the accept window is open.
func (m *Relay) wantDestination(a plan) {
	last := time.Unix(m.leg(terms.Destination).Expiry, 0).Add(-m.margins.AcceptWindow)
	source, absent := m.legs[terms.Source], m.legs[terms.Destination].state == ledger.Absent
	if absent && m.refused == nil && source.state == ledger.Prepared && !a.now.After(last) {
		packet, err := m.forward()
		if err == nil { // it was so when the relay accepted
			a.submit(submitPrepare, terms.Destination, prepare(&m.position, terms.Destination, packet))
		}
	}
	a.awaitEnd(terms.Destination)
}

// forward is the packet for the destination custody: amount and expiry are the terms', the
// rest is what came.
func (m *Relay) forward() ([]byte, error) {
	leg := m.leg(terms.Destination)
	amount := uint64(leg.Amount) //nolint:gosec // positive: terms.Valid
	return ilp.Forward(m.legs[terms.Source].packet, amount, time.Unix(leg.Expiry, 0))
}
