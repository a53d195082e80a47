package connector

import (
	"bytes"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// Stage is how far a crossing has come.
type Stage uint8

// The stages. The last two are ends.
const (
	// Leaving: its owner wants it, and its Leave may be on its way.
	Leaving Stage = 1
	// Arriving: it has left, finally, and its Enter may be on its way.
	Arriving Stage = 2
	// Arrived: it has come in, finally.
	Arrived Stage = 3
	// Lapsed: it has not left, and never will.
	Lapsed Stage = 4
)

// String is the stage's name.
func (s Stage) String() string {
	switch s {
	case Leaving:
		return "leaving"
	case Arriving:
		return "arriving"
	case Arrived:
		return "arrived"
	case Lapsed:
		return "lapsed"
	}
	return fmt.Sprintf("stage(%d)", uint8(s))
}

// Stride is one entry of a Carrier's log.
type Stride struct {
	Stage Stage
	// Crossing is set with Leaving.
	Crossing ledger.Crossing
	// Evidence is set with Arriving: that it has left.
	Evidence []byte
}

// CarrierInput is what a Carrier is told: Carry, Passed, Overdue or a CarrierTick.
//
//sumtype:decl
type CarrierInput interface{ carrierInput() }

// Carry says that the owner wants the crossing. It is the first input; a repetition changes nothing.
type Carry struct{ Crossing ledger.Crossing }

// Passed is a final and verified passage, at either ledger.
type Passed struct{ Passage ledger.Passage }

// Overdue says that the ledger refused the Leave with ledger.CodeLapsed.
type Overdue struct{}

// CarrierTick says that time has passed. A shell sends one after a start and at each WakeAt.
type CarrierTick struct{}

func (Carry) carrierInput()       {}
func (Passed) carrierInput()      {}
func (Overdue) carrierInput()     {}
func (CarrierTick) carrierInput() {}

// CarrierEffects are carried out in the order of the fields.
type CarrierEffects struct {
	// Persist is appended to the log.
	Persist []Stride
	// Submit goes to its ledger, if it is not nil: a Leave to the one of the crossing's asset, an
	// Enter to the other. It may be repeated, and must not begin before Persist is durable.
	Submit ledger.Command
	// WakeAt: call Step with CarrierTick no later than this; zero means never.
	WakeAt time.Time
}

// Carrier carries one crossing over the ramp. It is level-triggered: whatever is lost, repeated or
// interrupted, it hands in what its stage asks for until a ledger has told the next stage. A
// refusal other than ledger.CodeLapsed tells nothing: a copy of the command may yet take effect.
type Carrier struct {
	resend   time.Duration
	crossing ledger.Crossing
	stage    Stage // zero before Carry
	evidence []byte
	// sent is when the stage's command last went out; zero after a start.
	sent time.Time
}

// NewCarrier restores a carrier from its log, empty for a new one, that hands in a command at most
// once per resend interval. A log that no carrier wrote is ErrEvent.
func NewCarrier(resend time.Duration, log []Stride) (*Carrier, error) {
	c := &Carrier{resend: resend}
	for i, s := range log {
		follows := s.Stage == Leaving && c.stage == 0 || s.Stage == Arriving && c.stage == Leaving ||
			s.Stage == Arrived && c.stage == Arriving || s.Stage == Lapsed && c.stage == Leaving
		if !follows {
			return nil, fmt.Errorf("stride %d is %s after %s: %w", i, s.Stage, c.stage, ErrEvent)
		}
		c.apply(s)
	}
	return c, nil
}

func (c *Carrier) apply(s Stride) {
	if s.Stage == Leaving {
		c.crossing = s.Crossing
	}
	c.stage, c.evidence, c.sent = s.Stage, s.Evidence, time.Time{}
}

// Crossing is what is carried.
func (c *Carrier) Crossing() ledger.Crossing { return c.crossing }

// Stage is how far it has come.
func (c *Carrier) Stage() Stage { return c.stage }

// Over tells whether the carrier wants nothing any more.
func (c *Carrier) Over() bool { return c.stage == Arrived || c.stage == Lapsed }

// Step tells the carrier something. A refused input leaves it unchanged.
func (c *Carrier) Step(now time.Time, in CarrierInput) (CarrierEffects, error) {
	strides, err := c.hear(in)
	if err != nil {
		return CarrierEffects{}, err
	}
	for _, s := range strides {
		c.apply(s)
	}
	effects := CarrierEffects{Persist: strides}
	c.want(now, &effects)
	return effects, nil
}

func (c *Carrier) hear(in CarrierInput) ([]Stride, error) {
	switch in := in.(type) {
	case Carry:
		if c.stage != 0 {
			if in.Crossing != c.crossing {
				return nil, fmt.Errorf("crossing %d: %w", in.Crossing.Nonce, ErrBegun)
			}
			return nil, nil
		}
		return []Stride{{Stage: Leaving, Crossing: in.Crossing}}, nil
	case Passed:
		return c.pass(in.Passage)
	case Overdue:
		switch c.stage {
		case Leaving:
			return []Stride{{Stage: Lapsed}}, nil
		case Arriving, Arrived:
			return nil, fmt.Errorf("crossing %d has left, then lapsed: %w", c.crossing.Nonce, ErrLedger)
		case Lapsed:
		}
	case CarrierTick:
	}
	return nil, nil
}

func (c *Carrier) pass(p ledger.Passage) ([]Stride, error) {
	switch {
	case c.stage == 0 || p.Crossing != c.crossing:
		return nil, fmt.Errorf("crossing %d: %w", p.Crossing.Nonce, ErrForeign)
	case c.stage == Lapsed:
		return nil, fmt.Errorf("crossing %d has lapsed, then passed: %w", c.crossing.Nonce, ErrLedger)
	case c.stage == Leaving && p.Left():
		return []Stride{{Stage: Arriving, Evidence: p.Evidence}}, nil
	case c.stage == Arriving && !p.Left():
		return []Stride{{Stage: Arrived}}, nil
	}
	return nil, nil // repeated, or told out of order: the stage asks again
}

// want states what the stage asks for.
func (c *Carrier) want(now time.Time, effects *CarrierEffects) {
	var command ledger.Command
	switch c.stage {
	case Leaving:
		command = &ledger.Leave{Crossing: c.crossing}
	case Arriving:
		command = &ledger.Enter{Crossing: c.crossing, Evidence: c.evidence}
	case Arrived, Lapsed:
		return
	default:
		return // nothing is wanted yet
	}
	if c.sent.IsZero() || !now.Before(c.sent.Add(c.resend)) {
		c.sent = now
		effects.Submit = command
	}
	effects.WakeAt = c.sent.Add(c.resend)
}

// Encode is the canonical form.
func (s Stride) Encode() []byte {
	w := wire.NewWriter(256 + len(s.Evidence))
	w.U8(uint8(s.Stage))
	switch s.Stage {
	case Leaving:
		s.Crossing.AppendWire(w)
	case Arriving:
		w.Var(s.Evidence)
	case Arrived, Lapsed:
	}
	return w.Bytes()
}

// DecodeStride takes exactly the form of Encode; otherwise ErrEvent.
func DecodeStride(b []byte) (Stride, error) {
	r := wire.NewReader(b)
	s := Stride{Stage: Stage(r.U8())}
	switch s.Stage {
	case Leaving:
		s.Crossing = ledger.ReadCrossing(r)
	case Arriving:
		s.Evidence = bytes.Clone(r.Var(ledger.MaxEvidence))
	case Arrived, Lapsed:
	default:
		r.Fail(fmt.Errorf("stage %d: %w", s.Stage, ErrEvent))
	}
	if err := r.End(); err != nil {
		return Stride{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return s, nil
}
