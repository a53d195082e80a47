package bft

import (
	"time"
)

// helloInterval is how often a member that has just started asks again.
const helloInterval = 200 * time.Millisecond

// hello is what a member does before its first signature after a start: it asks the others
// what they have of it. On an old copy of its disks, or beside a second process with its key,
// one of a quorum's honest members knows a signature that its record does not hold (I5).
type hello struct {
	answered []bool
	again    time.Time
}

func (r *Replica) sayHello() {
	if r.mode != probing {
		return
	}
	if !r.now.Before(r.hello.again) {
		r.hello.again = r.now.Add(helloInterval)
		r.send(Everyone, Hello{})
	}
	r.wake(r.hello.again)
}

// onHello answers with the certificates that move a member to the current view, and with the
// last vote, timeout and proposal of his that are kept here.
func (r *Replica) onHello(from int) {
	s := Status{High: r.high, TC: r.tc, Timeout: r.timeouts[from]}
	for _, b := range r.ballots {
		if v, ok := b.votes[from]; ok && (s.Vote == nil || v.Tuple.View > s.Vote.Tuple.View) {
			s.Vote = &v
		}
	}
	for _, view := range r.views() {
		if c := r.candidates[view]; r.committee.Leader(view) == from {
			signed := c.proposal.Signed()
			s.Proposal = &signed
		}
	}
	r.send(from, s)
}

// onStatus counts answers until a quorum, with this member, has given one.
func (r *Replica) onStatus(from int, s Status) {
	if r.mode != probing {
		return
	}
	if err := r.admitStatus(s); err != nil {
		r.refuse(err)
		return
	}
	r.hello.answered[from] = true
	answers := 1
	for _, ok := range r.hello.answered {
		if ok {
			answers++
		}
	}
	if r.mode == probing && answers >= r.committee.Quorum() {
		r.mode = voting
		r.resume()
	}
}

func (r *Replica) admitStatus(s Status) error {
	c := r.committee
	if v := s.Vote; v != nil && v.Member == r.self {
		if err := c.VerifyVote(*v); err != nil {
			return err
		}
		r.checkOwnVote(v.Tuple)
	}
	if t := s.Timeout; t != nil && t.Member == r.self {
		if err := c.VerifyTimeout(*t); err != nil {
			return err
		}
		r.checkOwnTimeout(t.View, t.High.Tuple.View)
	}
	if p := s.Proposal; p != nil && p.Header.Proposer == c.KeyBlock().Members[r.self].ID {
		if err := c.VerifyProposer(*p); err != nil {
			return err
		}
		r.checkOwnProposal(p.Header.Tuple())
	}
	if err := r.admitQC(s.High); err != nil {
		return err
	}
	if s.TC != nil {
		return r.admitTC(*s.TC)
	}
	return nil
}

// resume repeats what the record says was said in the current view: a crash may have lost it.
// A stored proposal whose time is over is given up with its term at once.
func (r *Replica) resume() {
	r.pace.enter(r.now, r.busy())
	if p := r.record.Proposal; p.View == r.view && r.record.TimeoutView < r.view {
		c := r.candidates[p.View]
		if c == nil || c.tuple != p || clock(c.header().TimeMS).Before(r.now.Add(-maxBehind)) {
			r.timeOut(r.committee.LastOfTerm(r.view))
			return
		}
		r.out.Sign = append(r.out.Sign, SignProposal)
	}
	// Record and block were written at once: the record alone may have been durable (I3).
	_, held := r.tree.nodes[r.record.Vote.Block]
	if v := r.record.Vote; held && v.View == r.view && r.record.TimeoutView < r.view {
		r.out.Sign = append(r.out.Sign, SignVote)
	}
}
