package channels

import (
	"math"
	"slices"
)

// adopt takes over what the chain shows.
func (p *Party) adopt() {
	c := &p.view.Channel
	p.d.joints = slices.DeleteFunc(slices.Clone(p.d.joints), func(j Joint) bool {
		return p.view.Now.S >= j.ValidUntil // it never happens any more
	})
	for _, lane := range []Side{A, B} {
		l, on := &p.d.lanes[lane], &c.Lanes[lane]
		l.refill(&on.Head)
		switch {
		case on.Gen < l.gen:
			p.view.Fresh = false // the follower began anew, and is behind the log
		case on.Gen > l.gen:
			p.end(lane, on)
		case on.Head.Seq > l.base.Seq:
			p.anchored(lane, on.Head)
		}
	}
	if c.State == Frozen || c.State == Closed {
		p.over()
	}
	if p.disturbed() && (c.State == Opened || c.State == Closing) {
		p.best()
	}
	if c.State == Frozen {
		p.supply()
	}
	if p.d.stopped && c.State == Opened {
		p.out.Submit = append(p.out.Submit, Close{p.s.Channel})
	}
	for _, lane := range []Side{A, B} {
		if p.d.lanes[lane].barred {
			p.raise(lane, math.MaxUint32)
		}
	}
}

// refill gives the head of a channel that has paid out what it had locked before: its hash says so.
func (l *laneLog) refill(h *Head) {
	if h.Seq < l.base.Seq || h.Seq > l.last.Seq {
		return
	}
	if known := l.head(h.Seq); known.Hash == h.Hash {
		*h = known
	}
}

// knows tells whether the log has the head.
func (l *laneLog) knows(h Head) bool {
	return l.base.Seq <= h.Seq && h.Seq <= l.last.Seq && l.head(h.Seq) == h
}

// anchored takes the lane's anchored head, in its generation.
func (p *Party) anchored(lane Side, head Head) {
	l := &p.d.lanes[lane]
	known := l.knows(head)
	p.tell(FactAnchored, lane, l.base.Seq+1, head.Seq)
	p.persist(Anchored{lane, head})
	p.disputed[lane] = false // that challenge is answered
	if !known {
		p.synced = p.synced && l.listed // the other bank tells the locks
		p.bar()
	}
}

// end takes the end of the lane's generation: what is not anchored is void (L7).
func (p *Party) end(lane Side, on *Lane) {
	l := &p.d.lanes[lane]
	p.tell(FactAnchored, lane, l.base.Seq+1, on.Head.Seq)
	p.tell(FactVoid, lane, on.Head.Seq+1, l.last.Seq)
	p.voidLocks(lane, on.Head.Seq)
	known := l.knows(on.Head)
	barred := l.barred
	p.persist(Ended{lane, on.Gen, on.Head})
	p.disputed[lane] = false
	p.synced = p.synced && l.listed
	if lane == p.s.Side {
		p.drop(0)
	} else {
		clear(p.waiting)
	}
	if !known && !barred {
		p.bar()
	}
}

// over tells what never will be anchored any more: the channel is frozen.
func (p *Party) over() {
	for _, lane := range []Side{A, B} {
		l := &p.d.lanes[lane]
		if l.last.Seq == l.base.Seq {
			continue
		}
		p.tell(FactVoid, lane, l.base.Seq+1, l.last.Seq)
		p.voidLocks(lane, l.base.Seq)
		p.persist(Ended{lane, l.gen, l.base.Head})
	}
	p.drop(0)
}

// bar signs nothing more in both lanes' generations, which were begun by another copy of the log.
func (p *Party) bar() {
	p.persist(Barred{[2]uint32{p.d.lanes[A].gen, p.d.lanes[B].gen}})
	if p.view != nil {
		p.raise(A, math.MaxUint32)
		p.raise(B, math.MaxUint32)
	}
}

// raise asks for the end of the lane's generation.
func (p *Party) raise(lane Side, seq uint32) {
	on := &p.view.Channel.Lanes[lane]
	if p.view.Channel.State != Opened || on.Challenge != (Challenge{}) || on.Gen != p.d.lanes[lane].gen ||
		p.disputed[lane] || seq <= on.Head.Seq {
		return
	}
	p.disputed[lane] = true
	p.out.Submit = append(p.out.Submit, Dispute{p.s.Channel, lane, Slot{on.Gen, seq}})
}

// best submits the best pair: the own lane's last certified update and the other's last
// countersigned one (L5).
func (p *Party) best() {
	if a, ok := p.pair(); ok {
		p.out.Submit = append(p.out.Submit, a)
	}
}

// Best is that pair, without the own signatures; ok tells whether it moves anything on. Any bank may
// anchor it at any time, alone.
func (p *Party) Best() (a Anchor, ok bool) { return p.pair() }

func (p *Party) pair() (a Anchor, ok bool) {
	a.Channel = p.s.Channel
	for i := range a.Heads {
		l := &p.d.lanes[i]
		e := l.at(l.certified)
		on := &p.view.Channel.Lanes[i]
		if e == nil || on.Gen != l.gen || on.Head.Seq >= l.certified {
			continue
		}
		ok = true
		a.Heads[i] = p.certificate(e)
	}
	return a, ok
}

// certificate has the other bank's signature; the own one the shell puts in.
func (p *Party) certificate(e *Entry) *Certificate {
	c := &Certificate{Update: e.Update, Endorsements: slices.Clone(e.Endorsements)}
	if e.Update.Lane == p.s.Side {
		c.Payee = e.Peer
	} else {
		c.Payer = e.Peer
	}
	return c
}
