package member

import (
	"context"
	"errors"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
)

const (
	// arrivalsInQueue is how many transactions wait for the loop, admittedAtOnce how many of
	// them it takes together.
	arrivalsInQueue = 1024
	admittedAtOnce  = 64
)

// CodePoolFull is the refusal of a member that has no room for a transaction of this signer.
// Nothing is decided about the transaction: try again, or another member.
const CodePoolFull cypherlink.Code = "pool_full"

func errPoolFull() error {
	return &cypherlink.Error{Code: CodePoolFull, Message: "no room for another transaction of this signer"}
}

// arrival is a transaction on its way into the pool.
type arrival struct {
	tx *state.Transaction
	// reply has room for the one answer, and is nil for what another member has forwarded.
	reply chan<- answer
	// waits says that Pending is no answer yet.
	waits bool
}

func (a *arrival) answer(outcome follow.Outcome, err error) {
	if a.reply != nil {
		a.reply <- answer{outcome, err}
	}
}

// verify checks the signatures of arrivals, those that wait together in one go, and hands the
// good ones to the loop.
func (m *Member) verify(ctx context.Context) error {
	for {
		batch, err := m.batch(ctx)
		if err != nil {
			return err
		}
		txs := make([]*state.Transaction, len(batch))
		for i := range batch {
			txs[i] = batch[i].tx
		}
		good := batch[:0]
		for i, err := range m.state.Verify(txs) {
			if err != nil {
				m.refuse(&batch[i], err)
			} else {
				good = append(good, batch[i])
			}
		}
		if len(good) == 0 {
			continue
		}
		select {
		case m.verified <- good:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *Member) batch(ctx context.Context) ([]arrival, error) {
	var batch []arrival
	select {
	case a := <-m.arrivals:
		batch = append(batch, a)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for len(batch) < admittedAtOnce {
		select {
		case a := <-m.arrivals:
			batch = append(batch, a)
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// admit takes transactions of good signature: what the ledger refuses is answered and
// forgotten, the rest goes into the pool, and on to the other members if a participant brought
// it here.
func (m *Member) admit(ctx context.Context, batch []arrival) error {
	now := m.now()
	var fresh []*state.Transaction
	added := false
	for i := range batch {
		a := &batch[i]
		kept, err := m.take(a, now)
		if err != nil {
			return err
		}
		if added = added || kept; kept && a.reply != nil {
			fresh = append(fresh, a.tx)
		}
	}
	if added {
		m.countPool()
		m.inputs = append(m.inputs, bft.Pool{Pending: true})
	}
	m.network.gossip(ctx, fresh)
	return nil
}

// refuse answers with a refusal of the ledger.
func (m *Member) refuse(a *arrival, err error) {
	m.meters.refused.Add(1)
	refusal, _ := errors.AsType[*cypherlink.Error](err)
	head, _ := m.news.latest()
	a.answer(follow.Outcome{Status: follow.Refused, Height: head, Refusal: refusal}, nil)
}

// take puts a transaction of a good signature into the pool, and tells whether it did. The
// error is the store's.
func (m *Member) take(a *arrival, now time.Time) (kept bool, err error) {
	e := m.pool.get(a.tx.Hash)
	if e != nil && a.reply == nil {
		return false, nil
	}
	outcome, err := m.judge(a.tx, now)
	if err != nil {
		a.answer(follow.Outcome{}, errStopped)
		return false, err
	}
	if outcome.Status != follow.Pending {
		if outcome.Status == follow.Refused {
			m.meters.refused.Add(1)
		}
		gone := m.pool.remove(a.tx.Hash)
		m.jobs <- job{do: func() {
			a.answer(outcome, nil)
			if gone != nil {
				gone.tell(answer{outcome: outcome})
			}
		}}
		return false, nil
	}
	if e == nil {
		var evicted []*entry
		if e, evicted = m.pool.add(a.tx, now); len(evicted) > 0 {
			m.evict(evicted)
		}
		if e == nil {
			m.meters.dropped.Add(1)
			a.answer(follow.Outcome{}, errPoolFull())
			return false, nil
		}
		m.meters.admitted.Add(1)
		kept = true
	}
	if a.waits {
		e.wait(a.reply)
	} else {
		a.answer(outcome, nil)
	}
	return kept, nil
}

func (m *Member) evict(evicted []*entry) {
	for _, e := range evicted {
		m.meters.dropped.Add(1)
		e.tell(answer{err: errPoolFull()})
	}
}

// judge tells what a transaction of a good signature can expect. A refusal is told only if
// the final state bears it out; it stays pending if either the final state or the newest one
// takes it. The error is the store's.
func (m *Member) judge(tx *state.Transaction, now time.Time) (follow.Outcome, error) {
	pending := follow.Outcome{Status: follow.Pending}
	onFinal := m.state.Try(m.state.Final(), now.UnixMilli(), tx)
	if onFinal == nil {
		return pending, nil
	}
	if errors.Is(onFinal, ledger.ErrRepeated) {
		height, err := m.heightOf(tx)
		return follow.Outcome{Status: follow.Final, Height: height}, err
	}
	refusal, ok := errors.AsType[*cypherlink.Error](onFinal)
	if !ok {
		return follow.Outcome{}, onFinal
	}
	onNewest := m.state.Try(m.machine.newest, now.UnixMilli(), tx)
	if onNewest == nil || errors.Is(onNewest, ledger.ErrRepeated) {
		return pending, nil
	}
	if _, ok := errors.AsType[*cypherlink.Error](onNewest); !ok {
		return follow.Outcome{}, onNewest
	}
	height := m.state.Header().Height
	return follow.Outcome{Status: follow.Refused, Height: height, Refusal: refusal}, nil
}

// heightOf is that of the latest event about what the transaction changed.
func (m *Member) heightOf(tx *state.Transaction) (uint64, error) {
	index, err := m.state.LatestEvent(tx.Body.Subject(m.genesis.Network()))
	if err != nil {
		return 0, err
	}
	event, err := m.state.EventAt(index)
	if err != nil {
		return 0, err
	}
	return event.Height, nil
}
