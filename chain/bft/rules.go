package bft

import "github.com/cypherlink/cypherlink/chain"

// mayVote is V1 and V2 for a block of a view on a QC of view high: a member votes in rising
// views alone, and only for a block that directly follows its QC's view, or follows a TC and
// stands on a QC at least as high as each that the TC's signers reported.
func mayVote(voted, view, high uint64, tc *chain.TC) bool {
	if view <= voted {
		return false
	}
	if view == high+1 {
		return true
	}
	return tc != nil && tc.View+1 == view && high >= tc.MaxHigh()
}

// mayTimeout is the timeout rule for view, the last of its term: not below what the member
// has done, once a view, and reporting a QC at least as high as each that it voted on top of
// (lock). The lock is what makes two quorums meet: a member that helped to certify a block's
// child cannot later deny the block's QC.
func mayTimeout(current, voted, timedOut, view, high, lock uint64) bool {
	return view >= current && view >= voted && view > timedOut && high < view && high >= lock
}

// commits tells whether a QC on the last of these views, of blocks linked parent to child,
// commits the first: they are consecutive.
func commits(views []uint64) bool {
	for i := 1; i < len(views); i++ {
		if views[i] != views[i-1]+1 {
			return false
		}
	}
	return true
}
