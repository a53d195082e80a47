package bft

import (
	"time"

	"github.com/cypherlink/cypherlink/chain"
)

// minRoundTrip is added to twice the largest round trip for the least base timeout.
const minRoundTrip = 200 * time.Millisecond

// pacemaker measures views and says how long to wait for the next.
type pacemaker struct {
	idle, maxBase time.Duration
	// smoothed is the exponential mean (1/8) of the time from entering a view to its QC,
	// without idle waiting.
	smoothed  time.Duration
	roundTrip time.Duration
	// failed counts the terms that ended by a TC since the last new QC.
	failed int
	// entered is when the view began, deadline when its member gives up the term.
	entered, deadline time.Time
	// busy says that this view has not waited idly for a transaction.
	busy bool
}

func newPacemaker(k chain.KeyBlock) pacemaker {
	// Until views are measured the base is its upper bound.
	return pacemaker{idle: k.Idle(), maxBase: k.MaxBase(), smoothed: k.MaxBase() / 4}
}

// base is clamp(4 x smoothed view time, 2 x largest round trip + 200 ms, max base).
func (p *pacemaker) base() time.Duration {
	return min(max(4*p.smoothed, 2*p.roundTrip+minRoundTrip), p.maxBase)
}

// enter begins a view.
func (p *pacemaker) enter(now time.Time, busy bool) {
	wait := p.base()
	if !busy {
		wait += p.idle
	}
	p.entered, p.busy = now, busy
	p.deadline = now.Add(chain.Grow(wait, p.failed))
}

// work says that there is something to order. A view that waited idly is due one base
// timeout from now, not from when it began.
func (p *pacemaker) work(now time.Time) {
	if p.busy {
		return
	}
	p.busy = true
	if due := now.Add(chain.Grow(p.base(), p.failed)); due.Before(p.deadline) {
		p.deadline = due
	}
}

// certified says that a new QC was seen; measured is whether it is of the view that began at
// entered. Progress resets the growth of timeouts; a ping does not.
func (p *pacemaker) certified(now time.Time, measured bool) {
	p.failed = 0
	if !measured {
		return
	}
	took := now.Sub(p.entered)
	if !p.busy {
		took -= p.idle
	}
	if took >= 0 {
		p.smoothed += (took - p.smoothed) / 8
	}
}
