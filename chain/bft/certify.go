package bft

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
)

// admitQC verifies a QC, unless one on the same tuple was verified before, and acts on it.
func (r *Replica) admitQC(qc chain.QC) error {
	if _, ok := r.certified[qc.Tuple]; ok {
		return nil
	}
	if n := r.tree.nodes[qc.Tuple.Block]; n != nil && n.tuple != qc.Tuple {
		return fmt.Errorf("QC %+v for block %+v: %w", qc.Tuple, n.tuple, chain.ErrCertificate)
	}
	if err := r.committee.VerifyQC(qc); err != nil {
		return err
	}
	r.learnQC(qc)
	return nil
}

// learnQC acts on a QC that has been verified.
func (r *Replica) learnQC(qc chain.QC) {
	r.checkOwnQC(qc)
	if qc.Tuple.View >= r.tree.final.tuple.View {
		r.certified[qc.Tuple] = qc
	}
	if qc.Tuple.View > r.high.Tuple.View {
		r.high = qc
		r.pace.certified(r.now, qc.Tuple.View == r.view)
		r.enter(qc.Tuple.View + 1)
	}
	if n := r.tree.nodes[qc.Tuple.Block]; n != nil {
		r.commit(n, qc)
	}
}

// admitTC verifies a TC, unless it is the highest known, and acts on it.
func (r *Replica) admitTC(tc chain.TC) error {
	if r.tc != nil && sameTC(*r.tc, tc) {
		return nil
	}
	if err := r.admitQC(tc.High); err != nil {
		return err
	}
	if err := r.committee.VerifyTimeouts(tc); err != nil {
		return err
	}
	r.learnTC(tc)
	return nil
}

// learnTC acts on a TC that has been verified with its QC.
func (r *Replica) learnTC(tc chain.TC) {
	r.checkOwnTC(tc)
	if r.tc == nil || tc.View > r.tc.View {
		r.tc = &tc
	}
	if tc.View >= r.view {
		r.pace.failed++
		r.enter(tc.View + 1)
	}
}

// sameTC compares what VerifyTimeouts and admitQC look at.
func sameTC(a, b chain.TC) bool {
	return a.View == b.View && a.Timeouts.Signature == b.Timeouts.Signature &&
		string(a.Timeouts.Bitmap) == string(b.Timeouts.Bitmap) &&
		equalViews(a.HighViews, b.HighViews) && a.High.Tuple == b.High.Tuple
}

func equalViews(a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// commit is the commit rule on a QC for tip: if its D-1 ancestors and it have consecutive
// views, the first of them is final, with all before it, oldest first. The walk stops at the
// first key block: its descendants never become final.
func (r *Replica) commit(tip *node, qc chain.QC) {
	first, views := tip, []uint64{tip.tuple.View}
	for range r.committee.KeyBlock().Depth - 1 {
		if first = first.parent; first == nil {
			return
		}
		views = append([]uint64{first.tuple.View}, views...)
	}
	if !commits(views) {
		return
	}
	path := r.tree.above(tip)
	headers := make([]chain.Header, len(path))
	for i, n := range path {
		headers[i] = n.block.Header
	}
	var last *node
	for i, n := range r.tree.above(first) {
		if n.block.Header.Ending != (cypherlink.Hash{}) {
			break
		}
		r.out.Apply = append(r.out.Apply, Final{
			Block: n.block, Proof: chain.FinalityProof{Headers: headers[i:], QC: qc},
		})
		last = n
	}
	if last != nil {
		r.finalize(last)
	}
}

func (r *Replica) finalize(n *node) {
	r.tree.finalize(n)
	for t := range r.certified {
		if t.View < n.tuple.View {
			delete(r.certified, t)
		}
	}
	for v, c := range r.candidates {
		if c.tuple.Height <= n.height() {
			delete(r.candidates, v)
		} else if c.node != nil && r.tree.nodes[c.tuple.Block] != c.node {
			delete(r.candidates, v)
		}
	}
	if n.ends {
		r.mode = ended
	}
}
