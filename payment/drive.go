package payment

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// live is a payment that is not over: what its goroutine is told, and what it keeps.
type live struct {
	uetr cypherlink.UETR
	// machine, sequence and first belong to the goroutine of an outgoing payment; an incoming
	// one has no machine outside the store.
	machine  *Outgoing
	sequence int64
	first    Effects
	// creditor is the bank that an outgoing payment over a channel is to, otherwise zero.
	creditor cypherlink.ParticipantID
	// told: the debtor's bank knows which payment brings an incoming one back.
	told bool
	// waits is why a payment is not written into its channel yet; the channel's teller has it.
	waits error
	// announced is the bank that announced an incoming payment.
	announced cypherlink.ParticipantID
	// proof is that of an incoming payment that was taken up after a start.
	proof *terms.Proof
	// terms and custodies are the keys under which the payment is enlisted; under Connect.mu.
	terms     cypherlink.Hash
	custodies []ledger.CustodyID

	// shown is where an outgoing payment stands, as it is stored.
	shown atomic.Pointer[Payment]

	mu     sync.Mutex
	notes  []note
	closed bool
	signal chan struct{} // holds a value when there are notes
}

// note is something for a payment's machine.
type note struct {
	inputs []Input
	// wake is, for an incoming payment, when to look at it again.
	wake *time.Time
	// answers is the question whose task has ended, zero if none has.
	answers Question
	// taken is called when the inputs are durable or will never be; it may be nil.
	taken func()
}

func (n note) end() {
	if n.taken != nil {
		n.taken()
	}
}

func newLive(uetr cypherlink.UETR) *live {
	return &live{uetr: uetr, signal: make(chan struct{}, 1)}
}

// newOutgoingLive is the life of an outgoing payment with so many events.
func newOutgoingLive(uetr cypherlink.UETR, m *Outgoing, events int) *live {
	l := newLive(uetr)
	l.machine, l.sequence = m, int64(events)
	l.shown.Store(m.payment())
	if m.direct() {
		l.creditor = m.route.Payee
	}
	return l
}

// tell leaves a note, without waiting.
func (l *live) tell(n note) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.notes = append(l.notes, n)
	}
	l.mu.Unlock()
	if closed {
		n.end()
		return
	}
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// take takes all notes.
func (l *live) take() []note {
	l.mu.Lock()
	defer l.mu.Unlock()
	notes := l.notes
	l.notes = nil
	return notes
}

// close ends the payment's life here: no note is taken any more. It gives those that nobody has taken.
func (l *live) close() []note {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	return l.take()
}

// wait gives the notes that come before the time at, none at that time; ok is false at the end
// of ctx.
func (l *live) wait(ctx context.Context, at time.Time) (notes []note, ok bool) {
	var wake <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		wake = t.C
	}
	select {
	case <-ctx.Done():
		return nil, false
	case <-l.signal:
		return l.take(), true
	case <-wake:
		return nil, true
	}
}

// drive is the goroutine of an outgoing payment: it tells the machine what comes, stores what the
// machine says, and then does what it wants. It ends with the payment, with ctx, or with the
// store; and when a channel's teller has the payment: then entered is true.
func (c *Connect) drive(ctx context.Context, l *live) (entered bool, err error) {
	running := map[Question]bool{}
	effects := l.first
	for {
		c.carryOut(ctx, l, effects, running)
		if l.machine.Over() {
			return false, nil
		}
		notes, ok := l.wait(ctx, effects.WakeAt)
		if !ok {
			return false, nil
		}
		var inputs []Input
		for _, n := range notes {
			inputs = append(inputs, n.inputs...)
			delete(running, n.answers)
		}
		effects, err = c.advance(ctx, l, append(inputs, Tick{}))
		if err == nil && l.machine.InChannel() {
			l.first = Effects{}
			if entered = c.Tellers.enter(l); !entered {
				effects, err = c.advance(ctx, l, []Input{NotInLane{refuse(
					CodeNoWay, "ED06", "the channel is not kept here any more", nil)}})
			}
		}
		if err != nil {
			c.failed.Store(true)
		}
		for _, n := range notes {
			n.end()
		}
		if err != nil || entered {
			return entered, err
		}
	}
}

// advance tells the machine inputs and stores what it says to all of them in one commit.
func (c *Connect) advance(ctx context.Context, l *live, inputs []Input) (Effects, error) {
	var all Effects
	for _, in := range inputs {
		e, err := l.machine.Step(time.Now(), in)
		if err != nil {
			c.Log.WarnContext(ctx, "a payment refuses an answer", slog.String("uetr", l.uetr.String()),
				slog.String("cause", err.Error()))
			continue
		}
		all.Persist = append(all.Persist, e.Persist...)
		all.Do, all.WakeAt = append(all.Do, e.Do...), e.WakeAt
	}
	if len(all.Persist) == 0 {
		return all, nil
	}
	return all, c.append(ctx, l, all.Persist)
}

// append stores events of an outgoing payment, and tells of the change.
func (c *Connect) append(ctx context.Context, l *live, events []Event) error {
	err := c.Store.Update(ctx, func(tx *store.Tx) error { return keepOutgoing(tx, l, events) })
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	l.sequence += int64(len(events))
	if custodies, ok := l.machine.Custodies(); ok && len(l.custodies) == 0 && !l.machine.direct() {
		c.enlist(l, l.machine.drafted.Terms.Hash(), custodies[:]...)
	}
	c.shows(l)
	return nil
}

// shows publishes how an outgoing payment stands, after what it says is durable.
func (c *Connect) shows(l *live) {
	now := l.machine.payment()
	l.shown.Store(now)
	if c.Changed != nil {
		c.Changed(now)
	}
}

// carryOut begins the tasks of a durable step, but for those that run.
func (c *Connect) carryOut(ctx context.Context, l *live, e Effects, running map[Question]bool) {
	for _, t := range e.Do {
		if q := t.Question(); !running[q] {
			running[q] = true
			c.tasks.Go(func() {
				inputs := c.perform(ctx, l, t)
				l.tell(note{inputs: inputs, answers: q})
			})
		}
	}
}
