package connector

import (
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// Outcome is where a payment stands, as one machine knows it from final facts alone.
type Outcome uint8

// The outcomes. Settled, Undone and Loss are ends.
const (
	// Pending: nothing of the owner's is in custody yet.
	Pending Outcome = 0
	// Reserved: the owner's own incoming or outgoing custody is final.
	Reserved Outcome = 1
	// Settled: what the terms say has happened; for the payee, on its own leg.
	Settled Outcome = 2
	// Undone: everybody has what he had, and it stays so.
	Undone Outcome = 3
	// Loss: the destination was confirmed and the source returned: the payment is settled,
	// at the connector's cost.
	Loss Outcome = 4
)

// String is the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Pending:
		return "pending"
	case Reserved:
		return "reserved"
	case Settled:
		return "settled"
	case Undone:
		return "undone"
	case Loss:
		return "loss"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Payer is the paying bank's machine for one payment: it prepares the source custody and
// learns how both legs end. It never cancels: once the Prepare may be out, only the ledgers'
// final word ends the payment.
type Payer struct {
	position
	margins Margins
	box     outbox
}

// NewPayer restores a payer from its log, which is empty for a new one.
func NewPayer(margins Margins, log []Event) (*Payer, error) {
	p := &Payer{margins: margins, box: outbox{resend: margins.Resend}}
	return p, p.restore(log)
}

// Step tells the machine something at the owner's time now.
func (m *Payer) Step(now time.Time, in Input) (Effects, error) { return m.run(now, in, &m.box, m) }

// Outcome is where the payment stands.
func (m *Payer) Outcome() Outcome { return bothLegs(&m.position) }

func bothLegs(p *position) Outcome {
	source, destination := p.legs[terms.Source], p.legs[terms.Destination]
	back := source.gone || source.state == ledger.Returned
	switch {
	case back && destination.state == ledger.Confirmed:
		return Loss
	case back && destination.over():
		return Undone
	case source.state == ledger.Confirmed && destination.state == ledger.Confirmed:
		return Settled
	case source.state != ledger.Absent:
		return Reserved
	}
	return Pending
}

// Over tells whether the payment has ended.
func (m *Payer) Over() bool { return m.Outcome().end() }

// end tells whether nothing can change any more.
func (o Outcome) end() bool { return o == Settled || o == Undone || o == Loss }

// Refusal is why the source ledger refused the Prepare; ok tells whether it did.
func (m *Payer) Refusal() (refusal Refused, ok bool) {
	if m.refused == nil {
		return Refused{}, false
	}
	return *m.refused, true
}

func (m *Payer) admit(now time.Time, b Begun) error {
	source := b.Terms.Legs[terms.Source]
	if err := samePacket(b.Packet, b.Terms, source); err != nil {
		return err
	}
	hold := time.Unix(source.Expiry, 0).Sub(now)
	if hold <= 0 || hold > m.margins.MaxHold {
		return fmt.Errorf("source custody for %s, at most %s: %w", hold, m.margins.MaxHold, ErrMargin)
	}
	return nil
}

func (m *Payer) decide(time.Time) *Decided { return nil }

func (m *Payer) want(a plan) {
	source := m.legs[terms.Source]
	if source.differs { // the owner's own Prepare, signed by his key, with other content
		a.awaitEnd(terms.Source)
		return
	}
	expiry := time.Unix(m.leg(terms.Source).Expiry, 0)
	if source.state == ledger.Absent && !source.gone && m.refused == nil && a.now.Before(expiry) {
		a.submit(submitPrepare, terms.Source, prepare(&m.position, terms.Source, m.begun.Packet))
		return
	}
	a.awaitEnd(terms.Source)
	switch {
	case !source.over():
	case source.state == ledger.Confirmed && m.legs[terms.Destination].state != ledger.Confirmed:
		a.ask(terms.Destination)
	default:
		a.awaitEnd(terms.Destination)
	}
}

// prepare is the owner's Prepare of that leg.
func prepare(p *position, index uint8, packet []byte) *ledger.Prepare {
	c := &ledger.Prepare{Packet: packet, Verdicts: p.begun.Verdicts}
	c.Subject.Terms, c.Subject.Leg = p.hash, index
	c.Subject.Fields, c.Subject.Condition = p.leg(index), p.begun.Terms.Condition
	return c
}

// samePacket checks that an encoded ILP Prepare says what the leg says.
func samePacket(packet []byte, t *terms.Terms, l terms.Leg) error {
	p, err := ilp.DecodePrepare(packet)
	if err != nil {
		return err
	}
	if !says(p, t, l) {
		return fmt.Errorf("amount, expiry or condition of the packet: %w", ErrForeign)
	}
	return nil
}

// says tells whether the packet has the amount, expiry and condition of the leg.
func says(p *ilp.Prepare, t *terms.Terms, l terms.Leg) bool {
	amount, err := ilp.ToAmount(p.Amount)
	return err == nil && amount == l.Amount && p.Condition == t.Condition &&
		p.ExpiresAt.Equal(time.Unix(l.Expiry, 0))
}
