package kafkaledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

var (
	// ErrOperator means that the operator contradicts itself under its own signature.
	ErrOperator = errors.New("kafkaledger: the operator contradicts itself")
	// ErrGap means that the operator's records skip an event: the topic has lost it.
	ErrGap = errors.New("kafkaledger: an event is missing")
)

// Run reads what the operator says until ctx ends, which is no error. It outlasts outages of
// the broker; any other error is one of the store, ErrTopic, ErrOperator or ErrGap, and the
// gateway has to be made anew. When Run has ended, every call returns ErrStopped.
func (g *Gateway) Run(ctx context.Context) error {
	err := g.listen(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	g.mu.Lock()
	g.why = ErrStopped
	if err != nil {
		err = fmt.Errorf("gateway to ledger %s: %w", g.operator.Ledger, err)
		g.why = fmt.Errorf("%w: %w", ErrStopped, err)
	}
	g.mu.Unlock()
	close(g.stopped)
	return err
}

func (g *Gateway) listen(ctx context.Context) error {
	name := offsetName(g.operator.Ledger, g.events.name)
	var offset int64
	err := g.store.View(ctx, func(r *store.Reader) (err error) {
		offset, err = r.Offset(name, 0)
		return err
	})
	if err != nil {
		return err
	}
	return g.events.follow(ctx, offset, func(ctx context.Context, r records) error {
		return g.take(ctx, g.parse(ctx, r.list), name, r.next)
	})
}

// statement is what the operator said: a receipt, a refusal, or a passage.
type statement struct {
	offset  int64
	receipt ledger.Receipt
	refusal *refusal
	passage *ledger.Passage
}

// parse keeps what the operator signed, and counts the rest (K5).
func (g *Gateway) parse(ctx context.Context, list []record) []statement {
	var statements []statement
	for _, r := range list {
		kind, body, err := unframe(r.value)
		s := statement{offset: r.offset}
		switch {
		case err != nil:
		case kind == kindRecord:
			s.receipt, err = g.operator.Receipt(body)
		case kind == kindRefusal:
			if s.refusal, err = decodeRefusal(body); err == nil {
				err = s.refusal.check(&g.operator)
			}
		case kind == kindPassage:
			var p ledger.Passage
			p, err = g.operator.Passage(body)
			s.passage = &p
		default:
			err = fmt.Errorf("kind %d: %w", kind, errValue)
		}
		if err == nil {
			statements = append(statements, s)
			continue
		}
		if n := g.ignored.Add(1); n&(n-1) == 0 {
			g.log.LogAttrs(ctx, slog.LevelWarn, "a value in the events topic is ignored",
				slog.Int64("offset", r.offset), slog.Uint64("ignored", n), slog.Any("error", err))
		}
	}
	return statements
}

// take stores the events together with the offset that follows them (K2, K3), and then tells
// whoever waits. What contradicts ends it, after everything before it was stored; its own
// offset is not passed.
func (g *Gateway) take(ctx context.Context, statements []statement, name string, next int64) error {
	var stored int // statements that stand
	var wrong error
	fresh := false
	err := g.store.Update(ctx, func(tx *store.Tx) error {
		stored, wrong, fresh = 0, nil, false
		last, err := g.latest(&tx.Reader)
		if err != nil {
			return err
		}
		next := next
		for _, s := range statements {
			event, err := g.keep(tx, &s, &last)
			if errors.Is(err, ErrOperator) || errors.Is(err, ErrGap) {
				wrong, next = err, s.offset
				break
			}
			if err != nil {
				return err
			}
			fresh = fresh || event
			stored++
		}
		return tx.SetOffset(name, 0, next)
	})
	if err != nil {
		return err
	}
	g.tell(statements[:stored], fresh)
	return wrong
}

// latest is the last that the operator told of each kind.
type latest struct {
	event   ledger.Receipt
	passage ledger.Passage
}

func (g *Gateway) latest(r *store.Reader) (l latest, err error) {
	if l.event, err = g.chronicle.last(r); err != nil {
		return l, err
	}
	l.passage, err = g.crossings().last(r)
	return l, err
}

// keep stores a statement that says something new, and tells whether that is an event.
func (g *Gateway) keep(tx *store.Tx, s *statement, last *latest) (event bool, err error) {
	if s.passage != nil {
		return false, g.pass(tx, s.passage, &last.passage)
	}
	if event, err = g.judge(&tx.Reader, s, &last.event); err != nil || !event {
		return false, err
	}
	last.event = s.receipt
	return true, g.chronicle.add(tx, s.receipt)
}

// judge compares a statement with everything that the operator said before, of which the last
// event is given, and tells whether it is the next event (K4).
func (g *Gateway) judge(r *store.Reader, s *statement, last *ledger.Receipt) (event bool, err error) {
	if s.refusal != nil {
		return false, nil
	}
	said := &s.receipt
	id := said.Custody.ID
	if said.Custody.State == ledger.Absent {
		first, err := g.chronicle.first(r, id)
		switch {
		case err != nil:
			return false, err
		case said.Sequence > last.Sequence:
			return false, fmt.Errorf("there are %d events, the last one told is %d: %w",
				said.Sequence, last.Sequence, ErrGap)
		case first.Sequence > 0 && first.Sequence <= said.Sequence:
			return false, fmt.Errorf("custody %s is absent at event %d, and began with event %d: %w",
				id, said.Sequence, first.Sequence, ErrOperator)
		}
		return false, nil
	}
	switch {
	case said.Sequence > last.Sequence+1:
		return false, fmt.Errorf("event %d follows event %d: %w", said.Sequence, last.Sequence, ErrGap)
	case said.Sequence <= last.Sequence:
		before, err := g.chronicle.at(r, said.Sequence)
		if err == nil && !sameWord(&before, said, g.operator.Network) {
			err = fmt.Errorf("event %d is said in two ways: %w", said.Sequence, ErrOperator)
		}
		return false, err
	case said.TimeMS < last.TimeMS:
		return false, fmt.Errorf("event %d at %d is before event %d at %d: %w",
			said.Sequence, said.TimeMS, last.Sequence, last.TimeMS, ErrOperator)
	}
	before, err := g.chronicle.standing(r, id)
	if err != nil {
		return false, err
	}
	if !follows(&before.Custody, &said.Custody) {
		return false, fmt.Errorf("event %d: custody %s goes from %s to %s: %w",
			said.Sequence, id, before.Custody.State, said.Custody.State, ErrOperator)
	}
	return true, nil
}

// sameWord tells whether two receipts are one statement, perhaps signed with two keys.
func sameWord(a, b *ledger.Receipt, network cypherlink.NetworkID) bool {
	x, y := ledger.Record{Network: network, Receipt: *a}, ledger.Record{Network: network, Receipt: *b}
	return x.Frame() == y.Frame()
}

// follows tells whether a custody can get from one record to the other.
func follows(before, after *ledger.Custody) bool {
	if before.State == ledger.Absent {
		return after.State == ledger.Prepared
	}
	return before.State == ledger.Prepared && after.State != ledger.Prepared &&
		before.Subject == after.Subject && bytes.Equal(before.Packet, after.Packet)
}

// tell wakes whoever waits for what was said.
func (g *Gateway) tell(statements []statement, fresh bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range statements {
		s := &statements[i]
		g.heardMS = max(g.heardMS, s.receipt.TimeMS)
		key := [32]byte(s.receipt.Custody.ID)
		switch {
		case s.refusal != nil:
			key = s.refusal.command
		case s.passage != nil:
			key = s.passage.Crossing.ID(g.operator.Network)
		}
		for _, w := range g.waiters[key] {
			switch {
			case s.refusal != nil:
				w.refused = s.refusal.err()
			case s.passage != nil: // the waiter looks it up
			case s.receipt.Custody.State == ledger.Absent && w.asks && s.receipt.TimeMS >= w.fromMS:
				w.absent = s.receipt
			}
			select {
			case w.signal <- struct{}{}:
			default: // it has not looked yet
			}
		}
	}
	if fresh {
		close(g.more)
		g.more = make(chan struct{})
	}
}
