package channels

import (
	"slices"

	"github.com/cypherlink/cypherlink"
)

// Learn says that this bank knows a preimage: of a lock in the other lane, to be paid for it, or of
// one in the own lane, which it then settles. The preimage is released when H1 lets it.
func (p *Party) Learn(nowMS int64, preimage cypherlink.Preimage) (Effects, error) {
	return p.step(nowMS, func() error {
		p.learn(preimage)
		return nil
	})
}

// Fail gives up a lock in the other lane: this bank will never claim it (H4). After its preimage was
// released it is too late.
func (p *Party) Fail(nowMS int64, lock LockID) (Effects, error) {
	return p.step(nowMS, func() error {
		if slices.Contains(p.d.released, lock) {
			return refuse(H4, reasonFailed, "the preimage of lock %s is released", lock)
		}
		p.fail(lock)
		return nil
	})
}

func (p *Party) fail(lock LockID) {
	if !slices.Contains(p.d.failed, lock) {
		p.persist(Failed{lock})
	}
	p.send(Failure{lock})
}

func (p *Party) learn(preimage cypherlink.Preimage) {
	if _, known := p.known(preimage.Condition()); !known {
		p.persist(Learned{preimage})
	}
}

// known is the preimage of a condition, of those that this bank knows.
func (p *Party) known(c cypherlink.Condition) (cypherlink.Preimage, bool) {
	for i := range p.d.preimages {
		if s := &p.d.preimages[i]; s.condition == c {
			return s.preimage, true
		}
	}
	return cypherlink.Preimage{}, false
}

// revealed is when the condition's preimage was revealed on the chain.
func (p *Party) revealed(c cypherlink.Condition) (r Revealed, ok bool) {
	for _, r := range p.view.Revealed {
		if c.FulfilledBy(r.Preimage) {
			return r, true
		}
	}
	return Revealed{}, false
}

// lapsed tells whether a lock can be paid no more: final time is at its expiry or after, and no
// preimage was revealed before (H4, H5).
func (p *Party) lapsed(l *Lock) bool {
	r, ok := p.revealed(l.Condition)
	return p.view.Now.S >= l.Expiry && (!ok || r.S >= l.Expiry)
}

// mayUnlock tells whether the payee countersigns an Unlock.
func (p *Party) mayUnlock(l *laneLog, id LockID) bool {
	if slices.Contains(p.d.failed, id) {
		return true
	}
	i := slices.IndexFunc(l.last.locks, func(l Lock) bool { return l.ID == id })
	return i >= 0 && p.lapsed(&l.last.locks[i])
}

// secret takes a preimage that the payee tells off chain.
func (p *Party) secret(m Secret) error {
	for _, l := range p.own().last.locks {
		if l.ID == m.Lock && l.Condition.FulfilledBy(m.Preimage) {
			p.learn(m.Preimage)
			return nil
		}
	}
	return refuse(H1, reasonForm, "no lock %s is open under that preimage", m.Lock)
}

// failure takes the payee's consent to unlock.
func (p *Party) failure(m Failure) error {
	for _, l := range p.own().last.locks {
		if _, paid := p.known(l.Condition); l.ID == m.Lock && !paid {
			return p.order([]Operation{Unlock(m)})
		}
	}
	return nil // it is over
}

// duties does what open locks ask for.
func (p *Party) duties() {
	for _, r := range p.view.Revealed {
		p.learnIfLocked(r.Preimage)
	}
	p.payLocks()
	p.claimLocks()
}

// learnIfLocked keeps a preimage of an open lock.
func (p *Party) learnIfLocked(preimage cypherlink.Preimage) {
	for i := range p.d.lanes {
		for _, l := range p.d.lanes[i].last.locks {
			if l.Condition.FulfilledBy(preimage) {
				p.learn(preimage)
				return
			}
		}
	}
}

// payLocks settles the own lane's locks whose preimage is known (H3), and takes back those that can
// be paid no more (H4).
func (p *Party) payLocks() {
	var ops []Operation
	for _, l := range p.own().last.locks {
		if preimage, ok := p.known(l.Condition); ok && !slices.Contains(p.d.gone, l.ID) {
			p.tellSecret(l, preimage)
			ops = append(ops, Settle{l.ID, preimage})
		} else if p.lapsed(&l) {
			p.tellGone(l)
			ops = append(ops, Unlock{l.ID})
		}
	}
	if len(ops) > 0 && len(p.drafts) == 0 && p.mayWrite() == nil {
		_ = p.order(ops) // it asks for nothing that is not locked; else it is tried again
	}
}

func (p *Party) tellSecret(l Lock, preimage cypherlink.Preimage) {
	if !slices.Contains(p.told, l.ID) {
		p.told = append(p.told, l.ID)
		p.out.Facts = append(p.out.Facts,
			Fact{Kind: FactSecret, Lane: p.s.Side, Lock: l, Preimage: preimage})
	}
}

// tellGone tells that what stands behind a lock of the own lane may fail (H5). From then on a
// preimage comes too late, whoever tells it: a timely one would be on the chain.
func (p *Party) tellGone(l Lock) {
	if !slices.Contains(p.d.gone, l.ID) {
		p.persist(Gone{l.ID})
		p.out.Facts = append(p.out.Facts, Fact{Kind: FactGone, Lane: p.s.Side, Lock: l})
	}
}

// unlocked tells of locks that a bound or anchored update of the own lane takes back (H5).
func (p *Party) unlocked(e *Entry) {
	var open []Lock
	for _, op := range e.Operations {
		u, ok := op.(Unlock)
		if !ok {
			continue
		}
		if open == nil {
			open = p.own().locksAt(e.Update.Seq - 1)
		}
		if i := slices.IndexFunc(open, func(l Lock) bool { return l.ID == u.Lock }); i >= 0 {
			p.tellGone(open[i])
		}
	}
}

// voidLocks tells of the own lane's locks that were made after the anchored head.
func (p *Party) voidLocks(lane Side, head uint32) {
	if lane != p.s.Side {
		return
	}
	for i := range p.own().entries {
		e := &p.own().entries[i]
		for _, op := range e.Operations {
			if lock, ok := op.(Lock); ok && e.Update.Seq > head {
				p.tellGone(lock)
			}
		}
	}
}

// claimLocks releases the preimages of the other lane's locks, or reveals them (H1, H2).
func (p *Party) claimLocks() {
	l := p.peer()
	settled := l.locksAt(l.bound)
	for _, lock := range settled {
		preimage, ok := p.known(lock.Condition)
		if !ok || slices.Contains(p.d.failed, lock.ID) {
			continue
		}
		if _, done := p.revealed(lock.Condition); done {
			continue
		}
		if !slices.Contains(p.d.released, lock.ID) {
			p.release(lock, preimage)
			continue
		}
		// H2: what was told off chain and is not settled yet is revealed in time, from a view that may
		// be behind, too.
		due := lock.Amount > p.s.OffChain || p.view.Now.S+p.s.LagS+p.s.InclusionS+1 >= lock.Expiry
		if due && p.view.Now.S < lock.Expiry {
			p.out.Submit = append(p.out.Submit, Reveal{preimage})
		}
	}
}

// release lets a preimage out, if that is in time (H1).
func (p *Party) release(lock Lock, preimage cypherlink.Preimage) {
	if !p.view.Fresh || p.view.Now.S+p.s.LagS+p.s.InclusionS >= lock.Expiry {
		return
	}
	c := &p.view.Channel
	if c.State >= Frozen && c.Lanes[p.s.Side.Other()].Listed == nil {
		return // only by a list is it paid
	}
	p.persist(Released{lock.ID})
	if lock.Amount <= p.s.OffChain {
		p.send(Secret{lock.ID, preimage})
	} else {
		p.out.Submit = append(p.out.Submit, Reveal{preimage})
	}
}

// supply lists the open locks of a frozen channel (T9).
func (p *Party) supply() {
	for i := range p.d.lanes {
		l, on := &p.d.lanes[i], &p.view.Channel.Lanes[i]
		if on.Head.Locked > 0 && on.Listed == nil && l.listed && LockRoot(l.base.locks) == on.Head.Locks {
			p.out.Submit = append(p.out.Submit, Supply{p.s.Channel, Side(i), l.base.locks})
		}
	}
}
