package member

import (
	"sync"
	"sync/atomic"
	"time"
)

// Metrics is what a member has counted since it started.
type Metrics struct {
	// Height and View are where it is; Observer tells whether it signs nothing.
	Height, View uint64
	Observer     bool
	// Blocks and Transactions became final here.
	Blocks, Transactions uint64
	// Votes, Proposals and Timeouts were signed here.
	Votes, Proposals, Timeouts uint64
	// Pool and PoolBytes are what waits for a block.
	Pool, PoolBytes int
	// Admitted, Refused and Dropped are transactions that came in: taken into the pool,
	// refused by the ledger, and lost for want of room.
	Admitted, Refused, Dropped uint64
	// Malformed counts messages of members that were none, Ineffective those that the replica
	// refused, Faults the faults proved of other members.
	Malformed, Ineffective, Faults uint64
	// Finality counts final blocks by how long after their own time they were announced here.
	Finality Histogram
}

// Histogram counts durations in whole milliseconds: bucket i holds those up to Bound(i).
type Histogram struct {
	Counts [buckets]uint64
	// SumMS is the sum of all of them, MaxMS the longest.
	SumMS, MaxMS int64
}

const (
	exact   = 32
	steps   = 16
	buckets = exact + 12*steps
)

// Bound is the upper end of bucket i in milliseconds: 0 to 31 in steps of one, then 16 buckets
// to each doubling, up to 131 s.
func Bound(i int) int64 {
	if i < exact {
		return int64(i)
	}
	octave, step := (i-exact)/steps, (i-exact)%steps
	return (exact << octave) * int64(steps+1+step) / steps
}

func (h *Histogram) add(d time.Duration) {
	ms := max(d.Milliseconds(), 0)
	h.SumMS += ms
	h.MaxMS = max(h.MaxMS, ms)
	for i := range h.Counts {
		if ms <= Bound(i) || i == buckets-1 {
			h.Counts[i]++
			return
		}
	}
}

func (h *Histogram) merge(other *Histogram) {
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
	h.SumMS += other.SumMS
	h.MaxMS = max(h.MaxMS, other.MaxMS)
}

// Count is the number of durations.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Quantile is the bound below which percent of the durations lie, in milliseconds; 0 if there
// are none.
func (h *Histogram) Quantile(percent uint64) int64 {
	total := h.Count()
	var seen uint64
	for i, c := range h.Counts {
		if seen += c; total > 0 && seen*100 >= total*percent {
			return min(Bound(i), h.MaxMS)
		}
	}
	return 0
}

// meters are what Metrics reads, as the loop and the handlers write them.
type meters struct {
	height, blocks, transactions atomic.Uint64
	votes, proposals, timeouts   atomic.Uint64
	admitted, refused, dropped   atomic.Uint64
	malformed, ineffective       atomic.Uint64
	faults                       atomic.Uint64
	pool, poolBytes              atomic.Int64
	view                         atomic.Uint64
	observer                     atomic.Bool

	mu       sync.Mutex
	finality Histogram
}

// Metrics are those of now.
func (m *Member) Metrics() Metrics {
	c := &m.meters
	c.mu.Lock()
	defer c.mu.Unlock()
	return Metrics{
		Height: c.height.Load(), View: c.view.Load(), Observer: c.observer.Load(),
		Blocks: c.blocks.Load(), Transactions: c.transactions.Load(),
		Votes: c.votes.Load(), Proposals: c.proposals.Load(), Timeouts: c.timeouts.Load(),
		Pool: int(c.pool.Load()), PoolBytes: int(c.poolBytes.Load()),
		Admitted: c.admitted.Load(), Refused: c.refused.Load(), Dropped: c.dropped.Load(),
		Malformed: c.malformed.Load(), Ineffective: c.ineffective.Load(), Faults: c.faults.Load(),
		Finality: c.finality,
	}
}
