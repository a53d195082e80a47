package bft

import (
	"fmt"

	"github.com/cypherlink/cypherlink/chain"
)

// fault is a member and the kind of what he did. Each is reported once, so that nobody can
// make others verify his contradictions for ever.
type fault struct {
	member int
	kind   string
}

// report verifies evidence and tells the host, once a member and kind. Evidence against this
// member itself means that somebody else has its key.
func (r *Replica) report(e chain.Evidence) {
	f := r.accused(e)
	if r.reported[f] {
		return
	}
	if _, err := r.committee.VerifyEvidence(e); err != nil {
		r.refuse(err)
		return
	}
	if f.member == r.self {
		r.retire(fmt.Errorf("%s: %w", f.kind, ErrRetired))
		return
	}
	r.reported[f] = true
	r.out.Evidence = append(r.out.Evidence, e)
}

func (r *Replica) accused(e chain.Evidence) fault {
	switch e := e.(type) {
	case chain.DoubleVote:
		return fault{e.First.Member, "two votes in a view"}
	case chain.DoubleTimeout:
		return fault{e.First.Member, "two timeouts of a view"}
	case chain.DoubleProposal:
		return fault{r.committee.Leader(e.First.Header.View), "two proposals in a view"}
	case chain.BrokenLock:
		return fault{e.Vote.Member, "a vote on a QC denied later"}
	}
	return fault{}
}

// checkLock looks for a vote on a QC that the same member's timeout denies.
func (r *Replica) checkLock(v chain.Vote, t chain.Timeout) {
	if t.View >= v.Tuple.View && t.High.Tuple.View < v.Tuple.ParentView {
		r.report(chain.BrokenLock{Vote: v, Timeout: t})
	}
}

// retire ends this member's signing for good (I5): its key signed what its record does not
// hold, so the record is an old copy or another process has the key.
func (r *Replica) retire(why error) {
	if r.mode != probing && r.mode != voting {
		return
	}
	r.mode = observing
	r.record.Retired = true
	r.persist()
	r.out.Sign = nil
	r.out.Alarm = why
}

// checkOwnVote compares a verified vote of this member with its record.
func (r *Replica) checkOwnVote(t chain.Tuple) {
	last := r.record.Vote
	if t.View > last.View || t.View == last.View && t != last {
		r.retire(fmt.Errorf("vote %+v, record has %+v: %w", t, last, ErrRetired))
	}
}

func (r *Replica) checkOwnTimeout(view, high uint64) {
	last := r.record.TimeoutView
	if view > last || view == last && high != r.record.TimeoutHigh.Tuple.View {
		r.retire(fmt.Errorf("timeout of view %d, record has %d: %w", view, last, ErrRetired))
	}
}

func (r *Replica) checkOwnProposal(t chain.Tuple) {
	last := r.record.Proposal
	if t.View > last.View || t.View == last.View && t != last {
		r.retire(fmt.Errorf("proposal %+v, record has %+v: %w", t, last, ErrRetired))
	}
}

func (r *Replica) checkOwnQC(qc chain.QC) {
	for _, i := range qc.Votes.Signers() {
		if i == r.self {
			r.checkOwnVote(qc.Tuple)
		}
	}
}

func (r *Replica) checkOwnTC(tc chain.TC) {
	for at, i := range tc.Timeouts.Signers() {
		if i == r.self {
			r.checkOwnTimeout(tc.View, tc.HighViews[at])
		}
	}
}
