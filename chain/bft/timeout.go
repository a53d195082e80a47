package bft

import (
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink/chain"
)

// onTimeout keeps the highest timeout of each member and forms the TC of its view.
func (r *Replica) onTimeout(t chain.Timeout) {
	last := r.timeouts[t.Member]
	if last != nil && t.View <= last.View {
		r.repeatedTimeout(*last, t)
		return
	}
	if err := r.admitTimeout(t); err != nil {
		r.refuse(err)
		return
	}
	r.timeouts[t.Member] = &t
	for _, view := range slices.Sorted(maps.Keys(r.ballots)) {
		if v, ok := r.ballots[view].votes[t.Member]; ok {
			r.checkLock(v, t)
		}
	}
	r.collect(t.View)
}

// repeatedTimeout takes what a resend brings that is new: a TC, or a contradiction.
func (r *Replica) repeatedTimeout(last, t chain.Timeout) {
	if t.View != last.View {
		return
	}
	if t.High.Tuple.View != last.High.Tuple.View {
		r.report(chain.DoubleTimeout{First: last, Second: t})
		return
	}
	if t.TC != nil && t.TC.View >= r.view {
		r.refuse(r.admitTC(*t.TC))
	}
}

// admitTimeout verifies a timeout with its certificates; the own one comes from Safety.
func (r *Replica) admitTimeout(t chain.Timeout) error {
	if t.Member == r.self {
		return nil
	}
	if err := r.committee.VerifyTimeout(t); err != nil {
		return err
	}
	if err := r.admitQC(t.High); err != nil {
		return err
	}
	if t.TC != nil && (r.tc == nil || t.TC.View > r.tc.View) {
		return r.admitTC(*t.TC)
	}
	return nil
}

// collect forms the TC of a view once a quorum has given it up, and tells everybody.
func (r *Replica) collect(view uint64) {
	if view < r.view {
		return
	}
	var same []chain.Timeout
	for _, t := range r.timeouts {
		if t != nil && t.View == view {
			same = append(same, *t)
		}
	}
	if len(same) < r.committee.Quorum() {
		return
	}
	tc, err := r.committee.AggregateTimeouts(view, same)
	if err != nil {
		r.refuse(err)
		return
	}
	r.learnTC(tc)
	r.send(Everyone, TimedOut{tc})
}

// join is the whitepaper's f+1 trigger: the (f+1)-th highest timed-out view was given up by
// at least one honest member, so this one goes there, without a certificate, and gives up too.
func (r *Replica) join() {
	if r.mode == ended {
		return
	}
	views := make([]uint64, len(r.timeouts))
	for i, t := range r.timeouts {
		if t != nil {
			views[i] = t.View
		}
	}
	slices.Sort(views)
	if v := views[len(views)-1-r.committee.MaxFaulty()]; v >= r.view {
		r.enter(v)
		r.timeOut(v)
	}
}

// giveUp gives up the term when its time is over, and says so again at every base timeout
// until the view moves on.
func (r *Replica) giveUp() {
	if r.mode != voting {
		return
	}
	if r.record.TimeoutView < r.view {
		if r.now.Before(r.pace.deadline) {
			r.wake(r.pace.deadline)
			return
		}
		r.timeOut(r.committee.LastOfTerm(r.view))
	} else if !r.now.Before(r.resendAt) {
		r.timeOutAgain()
	}
	r.wake(r.resendAt)
}

// timeOut signs the timeout of view, the last of its term.
func (r *Replica) timeOut(view uint64) {
	lock := max(r.record.High.Tuple.View, r.record.Vote.ParentView)
	if r.mode != voting || !mayTimeout(r.view, r.record.VotedView, r.record.TimeoutView,
		view, r.high.Tuple.View, lock) {
		return
	}
	r.record.TimeoutView, r.record.TimeoutHigh = view, r.high
	r.record.VotedView = max(r.record.VotedView, view)
	r.persist()
	r.out.Sign = append(r.out.Sign, SignTimeout)
	r.resendAt = r.now.Add(r.pace.base())
}

// timeOutAgain repeats the stored timeout, with the highest TC known by now.
func (r *Replica) timeOutAgain() {
	r.resendAt = r.now.Add(r.pace.base())
	own := r.timeouts[r.self]
	if own == nil || own.View != r.record.TimeoutView {
		r.out.Sign = append(r.out.Sign, SignTimeout) // the process has restarted
		return
	}
	again := *own
	again.TC = r.tc
	r.send(Everyone, Timeout{again})
}
