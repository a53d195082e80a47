package channels

import "github.com/cypherlink/cypherlink"

// Standing is how far a Party has come: what its operator sees, and nothing that it decides by.
type Standing struct {
	Lanes [2]LaneStanding
	// Free is what the own bank can pay now, after the reserve; negative where it is short of it.
	Free int64
	// Locks are open in the own lane, with those that are drafted.
	Locks int
	// Unsettled are the locks of the other lane that are this bank's by a reveal in time, and that the other
	// bank has not settled at their expiry: a Close pays them out (H6).
	Unsettled int
	// Synced: both banks have compared their logs since this one started. Stopped: the other bank
	// contradicts itself.
	Synced, Stopped bool
}

// LaneStanding is how far a lane has come, by sequence in its generation.
type LaneStanding struct {
	Gen                                 uint32
	Written, Certified, Bound, Anchored uint32
	// Suspended: nothing in the lane becomes bound now. Barred: nothing is signed in it, since the
	// own log is an old copy.
	Suspended, Barred bool
}

// Standing is where the party stands; before its first View it has no Free.
func (p *Party) Standing() Standing {
	s := Standing{Synced: p.synced, Stopped: p.d.stopped}
	for i := range p.d.lanes {
		l := &p.d.lanes[i]
		s.Lanes[i] = LaneStanding{
			Gen: l.gen, Written: l.last.Seq, Certified: l.certified, Bound: l.bound, Anchored: l.base.Seq,
			Suspended: p.suspended(Side(i)), Barred: l.barred,
		}
	}
	if p.view == nil {
		return s
	}
	for _, lock := range p.peer().last.locks {
		if r, ok := p.revealed(lock.Condition); ok && r.S < lock.Expiry && lock.Expiry <= p.view.Now.S {
			s.Unsettled++
		}
	}
	s.Locks = len(p.own().last.locks)
	for i := range p.drafts {
		for _, op := range p.drafts[i].Operations {
			if _, lock := op.(Lock); lock {
				s.Locks++
			}
		}
	}
	end := p.own().last.Head
	if n := len(p.drafts); n > 0 {
		end = p.drafts[n-1].Update.Head
	}
	s.Free = p.free(p.s.Side, p.peer().relied(), end)
	return s
}

// Conditions are those of the open locks of both lanes: a View tells what is revealed of them.
func (p *Party) Conditions() []cypherlink.Condition {
	var all []cypherlink.Condition
	for i := range p.d.lanes {
		for _, lock := range p.d.lanes[i].last.locks {
			all = append(all, lock.Condition)
		}
	}
	return all
}

// Before is the update before the own lane's of that sequence, written or drafted, with the locks that
// are open there: what a Validator is told with an update. It is nil where the lane begins, or where
// this bank has not got the anchored one.
func (p *Party) Before(seq uint32) (*Update, []Lock) {
	l := p.own()
	end := min(seq-1, l.last.Seq)
	at := tip{l.head(end), l.locksAt(end)}
	var prev *Update
	if e := l.at(end); e != nil {
		prev = &e.Update
	} else if from := l.from; from.Seq > 0 {
		prev = &from
	}
	for i := range p.drafts {
		if e := &p.drafts[i]; e.Update.Seq < seq {
			at, _ = at.apply(e.Operations) // it was applied when it was drafted
			prev = &e.Update
		}
	}
	return prev, at.locks
}
