package member

import (
	"container/list"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
)

// maxWaiters bounds the calls that wait for one transaction.
const maxWaiters = 16

// pool is the transactions that are not final. A transaction stays until it is final or can
// never be, also while it is in a block: so a block that does not become final needs nobody
// to bring its transactions back. Signers get their turns one after another, each with his
// oldest transaction first; when there is no room, whoever holds most gives way.
type pool struct {
	limits  Limits
	bytes   int
	entries map[cypherlink.Hash]*entry
	queues  map[cypherlink.ParticipantID]*queue
	// turns are the signers with a queue; the next block begins with the one at turn.
	turns []cypherlink.ParticipantID
	turn  int
	// tried has every entry, the one that was tried longest ago first.
	tried *list.List
}

// entry is one transaction in the pool.
type entry struct {
	tx *state.Transaction
	// queued and tried are its places.
	queued, tried *list.Element
	// triedAt is when it last could succeed on the final state; zero: doubtful, try again.
	triedAt time.Time
	waiters []chan<- answer
}

// queue is the transactions of one signer, oldest first.
type queue struct {
	list  *list.List
	bytes int
}

// answer is what a submitter is told.
type answer struct {
	outcome follow.Outcome
	err     error
}

func newPool(limits Limits) *pool {
	return &pool{
		limits: limits, entries: map[cypherlink.Hash]*entry{},
		queues: map[cypherlink.ParticipantID]*queue{}, tried: list.New(),
	}
}

func (p *pool) len() int { return len(p.entries) }

func (p *pool) get(h cypherlink.Hash) *entry { return p.entries[h] }

// add takes a transaction that is not there yet, and tells whether there was room for it.
// What had to give way is in evicted.
func (p *pool) add(tx *state.Transaction, now time.Time) (e *entry, evicted []*entry) {
	size, signer := len(tx.Encode()), tx.Body.Sender()
	for len(p.entries)+1 > p.limits.Transactions || p.bytes+size > p.limits.Bytes {
		heaviest := p.heaviest()
		own := p.weight(p.queues[signer]) + int64(p.limits.Bytes) + int64(size)*int64(p.limits.Transactions)
		if heaviest == nil || p.weight(heaviest) <= own {
			return nil, evicted
		}
		newest, _ := heaviest.list.Back().Value.(*entry)
		p.remove(newest.tx.Hash)
		evicted = append(evicted, newest)
	}
	q := p.queues[signer]
	if q == nil {
		q = &queue{list: list.New()}
		p.queues[signer] = q
		p.turns = append(p.turns, signer)
	}
	e = &entry{tx: tx, triedAt: now}
	e.queued, e.tried = q.list.PushBack(e), p.tried.PushBack(e)
	q.bytes += size
	p.bytes += size
	p.entries[tx.Hash] = e
	return e, evicted
}

// weight is a queue's share of both limits, in units that fit an integer.
func (p *pool) weight(q *queue) int64 {
	if q == nil {
		return 0
	}
	return int64(q.list.Len())*int64(p.limits.Bytes) + int64(q.bytes)*int64(p.limits.Transactions)
}

func (p *pool) heaviest() *queue {
	var heaviest *queue
	for _, signer := range p.turns {
		if q := p.queues[signer]; heaviest == nil || p.weight(q) > p.weight(heaviest) {
			heaviest = q
		}
	}
	return heaviest
}

// remove gives the entry that was there, or nil.
func (p *pool) remove(h cypherlink.Hash) *entry {
	e := p.entries[h]
	if e == nil {
		return nil
	}
	delete(p.entries, h)
	size, signer := len(e.tx.Encode()), e.tx.Body.Sender()
	q := p.queues[signer]
	q.list.Remove(e.queued)
	p.tried.Remove(e.tried)
	q.bytes -= size
	p.bytes -= size
	if q.list.Len() == 0 {
		delete(p.queues, signer)
		at := slices.Index(p.turns, signer)
		p.turns = slices.Delete(p.turns, at, at+1)
		if p.turn > at {
			p.turn--
		}
	}
	return e
}

// candidates lists at most count transactions that skip does not name, one of each signer in
// turn; it stops before their bytes exceed limit.
func (p *pool) candidates(skip map[cypherlink.Hash]bool, count, limit int) []*state.Transaction {
	next := make([]*list.Element, len(p.turns))
	for i := range p.turns {
		next[i] = p.queues[p.turns[(p.turn+i)%len(p.turns)]].list.Front()
	}
	if len(p.turns) > 0 {
		p.turn = (p.turn + 1) % len(p.turns)
	}
	var txs []*state.Transaction
	for len(next) > 0 {
		kept := next[:0]
		for _, at := range next {
			for at != nil && skip[entryOf(at).tx.Hash] {
				at = at.Next()
			}
			if at == nil {
				continue
			}
			tx := entryOf(at).tx
			if limit -= len(tx.Encode()); limit < 0 || len(txs) == count {
				return txs
			}
			txs = append(txs, tx)
			kept = append(kept, at.Next())
		}
		next = kept
	}
	return txs
}

func entryOf(at *list.Element) *entry {
	e, _ := at.Value.(*entry) // the lists hold nothing else
	return e
}

// doubt makes a transaction the first to be tried again.
func (p *pool) doubt(h cypherlink.Hash) {
	if e := p.entries[h]; e != nil {
		e.triedAt = time.Time{}
		p.tried.MoveToFront(e.tried)
	}
}

// due gives the transaction that was tried longest ago, if that was at before or earlier.
func (p *pool) due(before time.Time) *entry {
	if front := p.tried.Front(); front != nil {
		if e := entryOf(front); !e.triedAt.After(before) {
			return e
		}
	}
	return nil
}

// passed says that the transaction still can succeed.
func (p *pool) passed(e *entry, now time.Time) {
	e.triedAt = now
	p.tried.MoveToBack(e.tried)
}

// wait adds a call that waits for the transaction. The oldest of too many is told Pending.
func (e *entry) wait(w chan<- answer) {
	if len(e.waiters) == maxWaiters {
		e.waiters[0] <- answer{outcome: follow.Outcome{Status: follow.Pending}}
		e.waiters = slices.Delete(e.waiters, 0, 1)
	}
	e.waiters = append(e.waiters, w)
}

// tell answers everybody who waits. Each waiter has room for its one answer.
func (e *entry) tell(a answer) {
	for _, w := range e.waiters {
		w <- a
	}
	e.waiters = nil
}
