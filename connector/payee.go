package connector

import (
	"bytes"
	"errors"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// Payee is the paid bank's machine for one payment. It derives preimage and condition itself
// from the packet that the destination custody carries, accepts or gives back, and hands out
// the preimage only while its margin lasts.
type Payee struct {
	position
	margins Margins
	base    ilp.Address
	secret  ilp.ServerSecret
	box     outbox
}

// NewPayee restores a payee from its log, which is empty for a new one. Base and secret are
// those from which the payee's addresses were made (ilp.ServerSecret.NewAddress).
func NewPayee(margins Margins, base ilp.Address, secret ilp.ServerSecret, log []Event) (*Payee, error) {
	m := &Payee{margins: margins, base: base, secret: secret, box: outbox{resend: margins.Resend}}
	return m, m.restore(log)
}

// Step tells the machine something at the owner's time now.
func (m *Payee) Step(now time.Time, in Input) (Effects, error) { return m.run(now, in, &m.box, m) }

// Outcome is where the payment stands on the payee's own leg.
func (m *Payee) Outcome() Outcome {
	destination := m.legs[terms.Destination]
	switch {
	case destination.state == ledger.Confirmed:
		return Settled
	case destination.over():
		return Undone
	case destination.state == ledger.Prepared:
		return Reserved
	}
	return Pending
}

// Over tells whether the payee's leg has ended.
func (m *Payee) Over() bool { return m.Outcome().end() }

// Declined is why the payee gave the custody back; empty if it did not.
func (m *Payee) Declined() Reason {
	if m.decided == nil {
		return ""
	}
	return m.decided.Reason
}

func (m *Payee) admit(time.Time, Begun) error { return nil }

func (m *Payee) decide(now time.Time) *Decided {
	destination := m.legs[terms.Destination]
	if m.begun == nil || m.decided != nil || destination.state != ledger.Prepared {
		return nil
	}
	preimage, reason := m.judge(now, destination)
	return &Decided{Accept: reason == "", Reason: reason, Preimage: preimage}
}

// judge is step 9 of the main job: the payee derives preimage and condition itself, compares
// the condition and the amount, and accepts or rejects.
func (m *Payee) judge(now time.Time, destination leg) (cypherlink.Preimage, Reason) {
	var none cypherlink.Preimage
	if destination.differs {
		return none, ReasonCustody
	}
	leg := m.leg(terms.Destination)
	packet, err := ilp.DecodePrepare(destination.packet)
	if err != nil || !says(packet, m.begun.Terms, leg) {
		return none, ReasonPacket
	}
	delivery, preimage, err := m.secret.Receive(m.base, packet)
	draft := m.begun.Terms.Draft()
	switch {
	case err != nil && isWrongCondition(err):
		return none, ReasonCondition
	case err != nil, delivery.Minimum > leg.Amount, !bytes.Equal(delivery.Content, draft[:]):
		return none, ReasonPacket
	case !now.Before(m.last()):
		return none, ReasonLate
	}
	return preimage, ""
}

func isWrongCondition(err error) bool {
	reject, ok := errors.AsType[*ilp.Reject](err)
	return ok && reject.Code == ilp.WrongCondition
}

// last is the end of the payee's margin: from then on it hands out no preimage.
func (m *Payee) last() time.Time {
	return time.Unix(m.leg(terms.Destination).Expiry, 0).Add(-m.margins.ConfirmWindow)
}

func (m *Payee) want(a plan) {
	switch {
	case m.decided == nil:
		a.awaitEnd(terms.Destination)
	case m.decided.Accept && !m.legs[terms.Destination].over() && a.now.Before(m.last()):
		a.confirm(terms.Destination, m.decided.Preimage)
	case m.decided.Accept:
		a.awaitEnd(terms.Destination)
	case !m.legs[terms.Destination].over():
		a.giveBack(terms.Destination)
	}
}
