package bft

import (
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
)

// ballot is the votes of one view: the first of each member.
type ballot struct {
	votes map[int]chain.Vote
	// wrong are members whose signature was wrong: their votes do not count in this view.
	wrong map[int]bool
}

// onVote counts a vote. Signatures are summed and verified once there is a quorum.
func (r *Replica) onVote(v chain.Vote) {
	view := v.Tuple.View
	if view+window < r.view || view > r.view+window {
		return
	}
	b := r.ballots[view]
	if b == nil {
		b = &ballot{votes: map[int]chain.Vote{}, wrong: map[int]bool{}}
		r.ballots[view] = b
	}
	if b.wrong[v.Member] {
		return
	}
	if first, ok := b.votes[v.Member]; ok {
		if first.Tuple != v.Tuple {
			r.report(chain.DoubleVote{First: first, Second: v})
		}
		return
	}
	b.votes[v.Member] = v
	if t := r.timeouts[v.Member]; t != nil {
		r.checkLock(v, *t)
	}
	if view > r.high.Tuple.View {
		r.tally(b, v.Tuple)
	}
}

func (r *Replica) tally(b *ballot, t chain.Tuple) {
	shares := map[int]cosi.Signature{}
	for i, v := range b.votes {
		if v.Tuple == t {
			shares[i] = v.Signature
		}
	}
	if len(shares) < r.committee.Quorum() {
		return
	}
	if n := r.tree.nodes[t.Block]; n != nil && n.tuple != t {
		return // a tuple that the block does not have
	}
	qc, wrong, err := r.committee.AggregateVotes(t, shares)
	for _, i := range wrong {
		b.wrong[i] = true
		delete(b.votes, i)
	}
	if err != nil {
		r.refuse(err)
		return
	}
	r.formed = true
	r.learnQC(qc)
}
