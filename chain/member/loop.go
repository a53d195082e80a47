package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
)

const (
	// recheckAfter is how long a transaction may wait before it is tried again, recheckMost
	// how many are tried again after a block.
	recheckAfter = time.Second
	recheckMost  = 64
)

// Run takes part until ctx ends, which is no error. Any error is final: the member is broken,
// or its disk is, and only a new start can tell.
func (m *Member) Run(ctx context.Context) error {
	if m.runs.Swap(true) {
		return fmt.Errorf("a member runs once: %w", ErrOptions)
	}
	defer close(m.ended)
	g, inner := errgroup.WithContext(ctx)
	g.Go(m.herald)
	g.Go(func() error { return m.verify(inner) })
	g.Go(func() error { return m.measure(inner) })
	g.Go(func() error {
		defer close(m.jobs)
		return m.loop(inner)
	})
	if err := g.Wait(); err != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
		return err
	}
	return nil
}

func (m *Member) loop(ctx context.Context) error {
	m.inputs = append(m.inputs, bft.Tick{})
	var wake time.Time
	for {
		in, err := m.next(ctx, wake)
		if err != nil {
			return err
		}
		effects, err := m.replica.Step(m.now(), in)
		if err != nil {
			return fmt.Errorf("consensus: %w", err)
		}
		if err := m.perform(ctx, effects); err != nil {
			return err
		}
		wake = effects.WakeAt
	}
}

// next is the next input: the member's own first, then the timer, then messages of consensus
// and batches of transactions in turn.
func (m *Member) next(ctx context.Context, wake time.Time) (bft.Input, error) {
	for ctx.Err() == nil {
		if len(m.inputs) > 0 {
			in := m.inputs[0]
			m.inputs = m.inputs[1:]
			return in, nil
		}
		if !wake.IsZero() && !m.now().Before(wake) {
			return bft.Tick{}, nil
		}
		m.admitted = !m.admitted
		if m.admitted {
			if err := m.admitWaiting(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if in, ok := m.network.inbox.take(); ok {
			return in, nil
		}
		if err := m.sleep(ctx, wake); err != nil {
			return nil, err
		}
	}
	return nil, ctx.Err()
}

func (m *Member) admitWaiting(ctx context.Context) error {
	select {
	case batch := <-m.verified:
		return m.admit(ctx, batch)
	default:
		return nil
	}
}

// sleep waits until there is something to do, and admits transactions if that is what it is.
func (m *Member) sleep(ctx context.Context, wake time.Time) error {
	var alarm <-chan time.Time
	if !wake.IsZero() {
		timer := time.NewTimer(wake.Sub(m.now()))
		defer timer.Stop()
		alarm = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-alarm:
	case <-m.network.inbox.ready:
	case longest := <-m.trips:
		m.inputs = append(m.inputs, bft.RoundTrip{Largest: longest})
	case batch := <-m.verified:
		return m.admit(ctx, batch)
	}
	return nil
}

// perform does what a step asks for, in the order of the fields.
func (m *Member) perform(ctx context.Context, e bft.Effects) error {
	if err := m.persist(e.Persist); err != nil {
		return err
	}
	for _, intent := range e.Sign {
		own, err := m.safety.Sign(intent)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		m.countSigned(intent)
		m.inputs = append(m.inputs, own)
	}
	for _, s := range e.Send {
		m.network.send(ctx, s, m.committee.Epoch())
	}
	for _, f := range e.Apply {
		if err := m.apply(ctx, f); err != nil {
			return err
		}
	}
	if len(e.Apply) > 0 {
		if err := m.recheck(m.now()); err != nil {
			return err
		}
		m.inputs = append(m.inputs, bft.Pool{Pending: m.pool.len() > 0})
	}
	for _, fault := range e.Evidence {
		if err := m.accuse(ctx, fault); err != nil {
			return err
		}
	}
	if e.Alarm != nil {
		m.observe(e.Alarm)
	}
	if e.Refused != nil {
		m.meters.ineffective.Add(1)
		m.log.LogAttrs(ctx, slog.LevelDebug, "message without effect", slog.Any("error", e.Refused))
	}
	return nil
}

// persist writes record and blocks at once and waits for both (I1, I3).
func (m *Member) persist(p bft.Persist) error {
	if p.Record == nil && len(p.Blocks) == 0 {
		return nil
	}
	saved := make(chan error, 1)
	if m.safety != nil && p.Record != nil {
		m.meters.view.Store(max(p.Record.VotedView, p.Record.High.Tuple.View+1))
		go func() { saved <- m.safety.Save(p) }()
	} else {
		saved <- nil
	}
	err := m.proposals.put(p.Blocks)
	if err := errors.Join(err, <-saved); err != nil {
		return fmt.Errorf("persist: %w", err)
	}
	return nil
}

func (m *Member) countSigned(i bft.Intent) {
	switch i {
	case bft.SignProposal:
		m.meters.proposals.Add(1)
	case bft.SignVote:
		m.meters.votes.Add(1)
	case bft.SignTimeout:
		m.meters.timeouts.Add(1)
	}
}

// apply makes a block final. The herald announces it once it is written (I4).
func (m *Member) apply(ctx context.Context, f bft.Final) error {
	final := state.Final{Block: f.Block, Proof: f.Proof, Sequence: m.state.Sequence()}
	if m.safety != nil { // an observer keeps what the store knows of the record
		final.Sequence = m.safety.Sequence()
	}
	lost, err := m.machine.commit(final)
	if err != nil {
		return fmt.Errorf("final block: %w", err)
	}
	h := f.Block.Header
	m.proposals.final(h.Height)
	var settled []*entry
	for _, raw := range f.Block.Payload {
		if tx, err := state.DecodeTransaction(raw); err == nil { // a key block is none
			if e := m.pool.remove(tx.Hash); e != nil && len(e.waiters) > 0 {
				settled = append(settled, e)
			}
		}
	}
	for _, p := range lost {
		m.recover(p)
	}
	m.jobs <- job{wait: m.store.durable(), do: func() {
		m.news.publish(h.Height)
		for _, e := range settled {
			e.tell(answer{outcome: follow.Outcome{Status: follow.Final, Height: h.Height}})
		}
		took := m.now().Sub(time.UnixMilli(h.TimeMS))
		m.countFinal(h, took)
		m.log.LogAttrs(ctx, slog.LevelDebug, "block final", slog.Uint64("height", h.Height),
			slog.Uint64("view", h.View), slog.Uint64("transactions", uint64(h.PayloadCount)),
			slog.Int64("finality_ms", took.Milliseconds()))
	}}
	return nil
}

func (m *Member) countFinal(h chain.Header, took time.Duration) {
	c := &m.meters
	c.height.Store(h.Height)
	c.blocks.Add(1)
	c.transactions.Add(uint64(h.PayloadCount))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finality.add(took)
}

func (m *Member) countPool() {
	m.meters.pool.Store(int64(m.pool.len()))
	m.meters.poolBytes.Store(int64(m.pool.bytes))
}

// recover takes the transactions of a block that will not become final into the pool, as far
// as they are not there and there is room. They are tried again before anything else.
func (m *Member) recover(p chain.Payload) {
	for _, raw := range p {
		tx, err := state.DecodeTransaction(slices.Clone(raw)) // the block's memory goes with it
		if err != nil || m.pool.get(tx.Hash) != nil {
			continue
		}
		if _, evicted := m.pool.add(tx, m.now()); len(evicted) > 0 {
			m.evict(evicted)
		}
		m.pool.doubt(tx.Hash)
	}
}

// recheck tries transactions again that were left out of a block or have waited long: what
// has expired, or lost to another one, goes.
func (m *Member) recheck(now time.Time) error {
	for range recheckMost {
		e := m.pool.due(now.Add(-recheckAfter))
		if e == nil {
			break
		}
		outcome, err := m.judge(e.tx, now)
		if err != nil {
			return err
		}
		if outcome.Status == follow.Pending {
			m.pool.passed(e, now)
			continue
		}
		m.pool.remove(e.tx.Hash)
		m.jobs <- job{do: func() { e.tell(answer{outcome: outcome}) }}
	}
	m.countPool()
	return nil
}

// accuse keeps the evidence of a fault.
func (m *Member) accuse(ctx context.Context, e chain.Evidence) error {
	who, err := putEvidence(m.store.Pebble, m.committee, e)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	m.meters.faults.Add(1)
	m.log.LogAttrs(ctx, slog.LevelError, "member proved faulty", slog.Int("member", who),
		slog.String("member_id", m.id(who).String()), slog.String("fault", fmt.Sprintf("%T", e)))
	return nil
}

func (m *Member) id(member int) cypherlink.ParticipantID {
	return m.committee.KeyBlock().Members[member].ID
}
