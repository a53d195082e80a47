package payment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/terms"
)

// Serve answers a call of another institution, whom the caller has authenticated. A refusal that
// may be told is a *cypherlink.Error.
func (c *Connect) Serve(
	ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte,
) ([]byte, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	switch kind {
	case KindSetup:
		return c.setup(ctx, from, body)
	case KindTerms:
		return c.countersign(ctx, from, body)
	case KindCertify:
		return c.certify(ctx, from, body)
	}
	if kind == KindCredit && len(c.Bank.Direct) > 0 {
		return nil, c.credited(ctx, from, body)
	}
	if answer, ok, err := c.Tellers.serve(ctx, from, kind, body); ok {
		return answer, err
	}
	return nil, fmt.Errorf("call of kind %d: %w", kind, ErrMessage)
}

// setup is step 1 of the main job, on the paid bank's side.
func (c *Connect) setup(ctx context.Context, from cypherlink.ParticipantID, body []byte) ([]byte, error) {
	s, err := DecodeSetup(body)
	if err != nil {
		return nil, malformed(err)
	}
	done, refusal := c.admit(time.Now(), from, s.UETR)
	if refusal != nil {
		return nil, refusal
	}
	defer func() { done(refusal) }()
	in := Ask{From: from, Setup: s}
	if in.Standing, in.Holder, err = c.Customers.Standing(ctx, s.Disclosure.Creditor.Account); err != nil {
		return nil, err
	}
	if in.Address, _, err = c.Bank.Secret.NewAddress(c.Random, c.Bank.Base); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c.Random, in.Salt[:]); err != nil {
		return nil, err
	}
	m, refusal, err := c.incoming(ctx, s.UETR, in)
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	answer, err := m.SetupAnswer()
	if err != nil {
		return nil, err
	}
	return answer.Encode(), nil
}

// malformed is the refusal of bytes that are no message.
func malformed(err error) error {
	return refuse(CodeMessage, "FF01", "the message is malformed", err)
}

// countersign signs a batch of terms, if this bank is paid by all of them as was announced.
func (c *Connect) countersign(
	ctx context.Context, from cypherlink.ParticipantID, body []byte,
) ([]byte, error) {
	b, err := terms.DecodeBatch(body)
	if err != nil {
		return nil, malformed(err)
	}
	session, _, err := c.table.rosters.session(b.Terms[0])
	if err != nil {
		return nil, malformed(err)
	}
	answer, err := session.Countersign(b, c.Cosigner, func(b *terms.Batch) ([]terms.Refusal, error) {
		return c.judge(ctx, from, b)
	})
	if err != nil {
		return nil, err
	}
	return answer.Encode(), nil
}

// judge takes up every payment of the batch, in one commit.
func (c *Connect) judge(
	ctx context.Context, from cypherlink.ParticipantID, b *terms.Batch,
) ([]terms.Refusal, error) {
	var refusals []terms.Refusal
	var wakes []time.Time
	taken := make([]*Incoming, len(b.Terms))
	err := c.Store.Update(ctx, func(tx *store.Tx) error {
		refusals, wakes = nil, make([]time.Time, len(b.Terms))
		for i, t := range b.Terms {
			in := Propose{From: from, Terms: t, Channel: c.Tellers.across(t.Last()) != nil}
			m, e, err := c.takeUp(tx, t.UETR, in)
			if err != nil {
				return err
			}
			if taken[i], wakes[i] = m, e.WakeAt; e.Refusal != nil {
				refusals = append(refusals, refusalAt(i, e.Refusal))
			}
		}
		return nil
	})
	for i, wake := range wakes {
		if err == nil && !wake.IsZero() {
			c.rouse(taken[i], note{wake: &wake}, wake)
		}
	}
	return refusals, err
}

// refusalAt is the refusal of the terms at that place of a batch.
func refusalAt(i int, e *cypherlink.Error) terms.Refusal {
	return terms.Refusal{Index: uint16(i), Err: e} //nolint:gosec // below MaxBatch
}

// certify is the paid bank's part after the agreement: it keeps the proof, begins its machine
// on the ledgers, and gets the verdicts on its leg.
func (c *Connect) certify(ctx context.Context, from cypherlink.ParticipantID, body []byte) ([]byte, error) {
	proof, err := terms.DecodeProof(body)
	if err != nil {
		return nil, malformed(err)
	}
	if from != proof.Terms.Payer { // before the signatures, which cost more
		return nil, refuse(CodeParty, "AGNT", "the terms are of another bank's payment", nil)
	}
	if err := c.table.rosters.Verify(proof); err != nil {
		return nil, refuse(CodeTerms, "DS0B", "the proof does not hold", err)
	}
	uetr := proof.Terms.UETR
	m, refusal, err := c.incoming(ctx, uetr, Present{From: from, Proof: proof})
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	if verdicts, ok := m.Verdicts(); ok {
		return EncodeVerdicts(verdicts), nil
	}
	if m.Over() {
		return nil, refuse(CodeOver, "TM01", "the payment has ended", nil)
	}
	// the proof is stored: what follows from it does not end with the caller's patience
	if err := c.beginPayee(context.WithoutCancel(ctx), uetr, proof.Terms); err != nil {
		return nil, err
	}
	request, err := m.Request()
	if err != nil {
		return nil, err
	}
	verdicts, err := pollAll(ctx, c.Bank.Genesis, c.Peers, c.Log, request)
	if err != nil {
		return nil, err
	}
	_, _, err = c.incoming(ctx, uetr, GotVerdicts{Leg: terms.Destination, Verdicts: verdicts})
	return EncodeVerdicts(verdicts), err
}

// beginPayee starts the bank's machine on the ledgers, unless it was started before: then it
// tells the payment where that stands.
func (c *Connect) beginPayee(ctx context.Context, uetr cypherlink.UETR, t *terms.Terms) error {
	c.mu.Lock()
	l := c.byUETR[uetr]
	c.mu.Unlock()
	if l == nil {
		return connector.ErrStopped
	}
	c.enlist(l, t.Hash())
	_, err, _ := c.begins.Do(t.Hash().String(), func() (any, error) {
		log, err := c.payee.History(ctx, t.Hash())
		if err != nil {
			return nil, err
		}
		if len(log) == 0 {
			return nil, c.payee.Begin(ctx, connector.Begin{Terms: t})
		}
		m, err := c.restorePayee(log)
		if err == nil {
			l.tell(note{inputs: []Input{payeeMoves(m)}})
		}
		return nil, err
	})
	return err
}

// takeUp takes an incoming payment up, tells it something, and stores what it says. Nobody else writes
// into the log of an incoming payment. Nobody changes the machine that it gives.
func (c *Connect) takeUp(tx *store.Tx, uetr cypherlink.UETR, in Input) (*Incoming, Effects, error) {
	m, events, err := c.recall(tx, uetr)
	if errors.Is(err, errOwn) {
		return nil, Effects{Refusal: refuse(CodeUETR, "DU03", errOwn.Error(), nil)}, nil
	}
	if err != nil {
		return nil, Effects{}, err
	}
	was := events > 0 && !m.Over()
	e, err := m.Step(time.Now(), in)
	if err == nil {
		err = keep(tx, streamOf(uetr), events, was, m, e)
	}
	if err != nil {
		return nil, Effects{}, err
	}
	c.remember(uetr, m, events+len(e.Persist))
	return m, e, nil
}

var errOwn = errors.New("the UETR is that of a payment of this bank's own")

// recalled is an incoming payment after so many events of its log.
type recalled struct {
	machine *Incoming
	events  int
}

// recalledMost bounds the incoming payments whose machines are remembered.
const recalledMost = 1 << 12

// recall is an incoming payment's machine, and of how many events: as the last takeUp left it, if what that
// wrote stands, and otherwise by its log; errOwn if it is no incoming payment. It is called within an Update,
// of which there is one at a time.
func (c *Connect) recall(tx *store.Tx, uetr cypherlink.UETR) (*Incoming, int, error) {
	stream := streamOf(uetr)
	if r, ok := c.recent[uetr]; ok {
		last, err := tx.Last(stream)
		if err != nil {
			return nil, 0, err
		}
		if last == int64(r.events) {
			m := *r.machine
			return &m, r.events, nil
		}
	}
	log, err := loadLog(&tx.Reader, stream, c.Bank.Genesis)
	if err != nil {
		return nil, 0, err
	}
	if len(log) > 0 {
		if _, incoming := log[0].Fact.(Announced); !incoming {
			return nil, 0, errOwn
		}
	}
	m, err := NewIncoming(c.Bank, log)
	return m, len(log), err
}

// remember keeps a machine for the next takeUp, unless it is over. It is called within an Update.
func (c *Connect) remember(uetr cypherlink.UETR, m *Incoming, events int) {
	if m.Over() || events == 0 {
		delete(c.recent, uetr)
		return
	}
	if len(c.recent) >= recalledMost {
		clear(c.recent) // they are read again
	}
	c.recent[uetr] = recalled{m, events}
}

// incoming takes up one payment in a commit of its own.
func (c *Connect) incoming(
	ctx context.Context, uetr cypherlink.UETR, in Input,
) (*Incoming, *cypherlink.Error, error) {
	var m *Incoming
	var e Effects
	err := c.Store.Update(ctx, func(tx *store.Tx) (err error) {
		m, e, err = c.takeUp(tx, uetr, in)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if len(e.Persist) > 0 {
		if !m.Over() {
			c.rouse(m, note{wake: &e.WakeAt}, e.WakeAt)
		}
		if c.Changed != nil {
			c.Changed(m.payment())
		}
	}
	return m, e.Refusal, nil
}

// rouse leaves a note for an incoming payment, or gives it a goroutine that wakes at that time.
func (c *Connect) rouse(m *Incoming, n note, wake time.Time) {
	c.reach(m.announced.Setup.UETR, m.announced.Payer, n, wake)
}

// reach is rouse, of a payment that the bank announced.
func (c *Connect) reach(uetr cypherlink.UETR, announced cypherlink.ParticipantID, n note, wake time.Time) {
	c.mu.Lock()
	l := c.byUETR[uetr]
	if l != nil {
		l.tell(n) // before it can be dismissed
	}
	c.mu.Unlock()
	if l == nil {
		l = newLive(uetr)
		l.announced, l.first.WakeAt = announced, wake
		c.start(l)
	}
}

// attend is the goroutine of an incoming payment: it tells it the time, and what its machine on
// the ledgers says; and it books what came over a channel.
func (c *Connect) attend(ctx context.Context, l *live) error {
	wake := l.first.WakeAt
	if l.proof != nil { // taken up again after a start
		if err := c.beginPayee(ctx, l.uetr, l.proof.Terms); err != nil {
			return err
		}
	}
	for {
		notes, ok := l.wait(ctx, wake)
		if !ok {
			return nil
		}
		var in Input
		if in, wake = newest(notes, wake); in == nil {
			continue
		}
		m, _, err := c.incoming(ctx, l.uetr, in)
		if err != nil {
			return err
		}
		again := time.Time{}
		if m.direct() {
			if m, again, err = c.book(ctx, l, m); err != nil {
				return err
			}
		}
		if m.Over() {
			return nil
		}
		if wake, _ = m.deadline(); !again.IsZero() {
			wake = again
		}
	}
}

// newest is the furthest that the notes say, nil if they only move the time at which to wake;
// without notes that time has come. What is told last may have been read first.
func newest(notes []note, wake time.Time) (Input, time.Time) {
	if len(notes) == 0 {
		return Tick{}, wake
	}
	var in Input
	furthest := connector.Pending
	for _, n := range notes {
		if n.wake != nil && !n.wake.IsZero() { // a wake too many is harmless
			wake = *n.wake
		}
		for _, told := range n.inputs {
			if moves, ok := told.(Moves); ok && moves.Outcome >= furthest {
				in, furthest = moves, moves.Outcome
			} else if in == nil && !ok {
				in = told
			}
		}
	}
	return in, wake
}
