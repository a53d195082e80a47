package chain

import (
	"errors"
	"fmt"
)

// ErrEvidence means that two messages do not show a fault.
var ErrEvidence = errors.New("chain: no evidence of a fault")

// Evidence is two signed messages of one member that no honest one signs both. It is the
// ground on which a committee may remove a member.
//
//sumtype:decl
type Evidence interface{ evidence() }

type (
	// DoubleVote is two votes in one view.
	DoubleVote struct{ First, Second Vote }
	// DoubleTimeout is two timeouts of one view over QCs of different views.
	DoubleTimeout struct{ First, Second Timeout }
	// DoubleProposal is two blocks proposed in one view.
	DoubleProposal struct{ First, Second SignedHeader }
	// BrokenLock is a vote on top of a QC, and a timeout of that view or a later one that
	// denies to know that QC.
	BrokenLock struct {
		Vote    Vote
		Timeout Timeout
	}
)

func (DoubleVote) evidence()     {}
func (DoubleTimeout) evidence()  {}
func (DoubleProposal) evidence() {}
func (BrokenLock) evidence()     {}

// VerifyEvidence gives the index of the member that e convicts, or says why it convicts none:
// ErrEvidence, or the error of a message's own check.
func (c *Committee) VerifyEvidence(e Evidence) (int, error) {
	switch e := e.(type) {
	case DoubleVote:
		a, b := e.First, e.Second
		if a.Member != b.Member || a.Tuple.View != b.Tuple.View || a.Tuple == b.Tuple {
			return 0, fmt.Errorf("votes for %+v and %+v: %w", a.Tuple, b.Tuple, ErrEvidence)
		}
		return a.Member, errors.Join(c.VerifyVote(a), c.VerifyVote(b))
	case DoubleTimeout:
		a, b := e.First, e.Second
		if a.Member != b.Member || a.View != b.View || a.High.Tuple.View == b.High.Tuple.View {
			return 0, fmt.Errorf("timeouts of %d and %d: %w", a.View, b.View, ErrEvidence)
		}
		return a.Member, errors.Join(c.VerifyTimeout(a), c.VerifyTimeout(b))
	case DoubleProposal:
		a, b := e.First.Header, e.Second.Header
		if a.Proposer != b.Proposer || a.View != b.View || a.Epoch != b.Epoch || a == b {
			return 0, fmt.Errorf("blocks %s and %s: %w", a.ID(), b.ID(), ErrEvidence)
		}
		member, _ := c.roster.Index(a.Proposer)
		return member, errors.Join(c.VerifyProposer(e.First), c.VerifyProposer(e.Second))
	case BrokenLock:
		v, t := e.Vote, e.Timeout
		if v.Member != t.Member || t.View < v.Tuple.View || t.High.Tuple.View >= v.Tuple.ParentView {
			return 0, fmt.Errorf("vote %+v, timeout of %d: %w", v.Tuple, t.View, ErrEvidence)
		}
		return v.Member, errors.Join(c.VerifyVote(v), c.VerifyTimeout(t))
	}
	return 0, fmt.Errorf("%T: %w", e, ErrEvidence)
}
