package bft

import (
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink/chain"
)

// fetch is the one request for blocks that is under way. Blocks that are fetched pass through
// the same insert and the same commit rule as those of proposals: a QC on a later block makes
// earlier ones final, however they came.
type fetch struct {
	active   bool
	peer     int
	from     uint64
	deadline time.Time
	attempts int
	// tip is the height up to which the last answer led.
	tip uint64
}

// wanted is the QC of a block that is missing: that of the highest QC, or the parent of the
// newest proposal. A QC below the final block's view is of an abandoned branch.
func (r *Replica) wanted() (chain.QC, bool) {
	missing := func(qc chain.QC) bool {
		_, ok := r.tree.nodes[qc.Tuple.Block]
		return !ok && qc.Tuple.View > r.tree.final.tuple.View
	}
	if missing(r.high) {
		return r.high, true
	}
	for _, view := range slices.Backward(r.views()) {
		c := r.candidates[view]
		if qc := c.proposal.Block.QC(); c.node == nil && !c.rejected && missing(qc) {
			return qc, true
		}
	}
	return chain.QC{}, false
}

// fetchMissing asks one after another of those who voted for a missing block: they hold it
// (I3).
func (r *Replica) fetchMissing() {
	qc, ok := r.wanted()
	if !ok || r.mode == ended {
		r.fetch = fetch{attempts: r.fetch.attempts}
		return
	}
	if r.fetch.active && r.now.Before(r.fetch.deadline) {
		r.wake(r.fetch.deadline)
		return
	}
	var peers []int
	for _, i := range qc.Votes.Signers() {
		if i != r.self {
			peers = append(peers, i)
		}
	}
	if len(peers) == 0 {
		return
	}
	f := &r.fetch
	f.active, f.peer = true, peers[f.attempts%len(peers)]
	f.attempts++
	f.from = max(f.tip, r.tree.final.height()) + 1
	f.deadline = r.now.Add(r.pace.base())
	r.wake(f.deadline)
	r.send(f.peer, Fetch{From: f.from, QC: qc})
}

// onFetch answers with as many blocks, oldest first, as one message takes.
func (r *Replica) onFetch(from int, m Fetch) {
	branch, ok := r.branch(m.QC.Tuple)
	if !ok || m.From > m.QC.Tuple.Height {
		return
	}
	answer, size := Blocks{QC: m.QC}, 0
	for height := m.From; height <= m.QC.Tuple.Height; height++ {
		b, ok := r.blockAt(height, branch)
		if !ok {
			return
		}
		size += chain.HeaderSize + b.Payload.Size()
		if len(answer.Blocks) == maxBlocks || len(answer.Blocks) > 0 && size > maxBlocksSize {
			answer.QC = b.QC() // it certifies the block before
			break
		}
		answer.Blocks = append(answer.Blocks, b)
	}
	r.send(from, answer)
}

// branch lists the blocks above the final one up to the block of t; none if it is final. It
// is not ok if there is no such block here.
func (r *Replica) branch(t chain.Tuple) ([]*node, bool) {
	if n := r.tree.nodes[t.Block]; n != nil {
		return r.tree.above(n), n.tuple == t
	}
	if t.Height > r.tree.final.height() {
		return nil, false
	}
	b, ok := r.blockAt(t.Height, nil)
	return nil, ok && b.Header.Tuple() == t
}

func (r *Replica) blockAt(height uint64, branch []*node) (chain.Block, bool) {
	final := r.tree.final.height()
	if height > final {
		return branch[height-final-1].block, true
	}
	b, ok, err := r.archive.Block(height)
	if err != nil {
		r.fail(fmt.Errorf("final block %d: %w", height, err))
	}
	return b, ok && err == nil
}

// onBlocks takes the answer to the request under way. The QC of the last block vouches for
// all of them, by their links.
func (r *Replica) onBlocks(from int, m Blocks) {
	if !r.fetch.active || from != r.fetch.peer || len(m.Blocks) == 0 {
		return
	}
	r.fetch.active = false
	if err := r.admitBlocks(m); err != nil {
		r.fetch.tip = 0
		r.refuse(err)
		return
	}
	for _, b := range m.Blocks {
		if r.failed != nil || b.Header.Height <= r.tree.final.height() {
			continue
		}
		if err := r.admitFetched(b); err != nil {
			r.fetch.tip = 0
			r.refuse(err)
			return
		}
		r.fetch.tip = b.Header.Height
	}
}

// admitBlocks checks that the blocks are linked, certified, and stand on one that is known.
func (r *Replica) admitBlocks(m Blocks) error {
	last := len(m.Blocks) - 1
	if t := m.Blocks[last].Header.Tuple(); t != m.QC.Tuple {
		return fmt.Errorf("blocks up to %+v under a QC on %+v: %w", t, m.QC.Tuple, chain.ErrCertificate)
	}
	for i, b := range m.Blocks {
		if err := r.committee.CheckBlock(b); err != nil {
			return err
		}
		if i > 0 && b.Header.Parent != m.Blocks[i-1].Header.Tuple() {
			return fmt.Errorf("block %d of an answer has another parent: %w", i, chain.ErrHeader)
		}
	}
	if err := r.admitQC(m.QC); err != nil {
		return err
	}
	return r.onFinal(m)
}

// onFinal checks that linked and certified blocks stand on the final one or on one above it.
// Every block that is certified in a later view than the final one's descends from it; so one
// that does not shows that the committee is broken.
func (r *Replica) onFinal(m Blocks) error {
	final := r.tree.final
	for _, b := range m.Blocks {
		h := b.Header
		if h.Height != final.height()+1 || h.Parent == final.tuple {
			continue
		}
		err := fmt.Errorf("block %+v beside the final %+v", h.Tuple(), final.tuple)
		if m.QC.Tuple.View < final.tuple.View {
			return fmt.Errorf("%w: %w", err, chain.ErrHeader)
		}
		r.fail(fmt.Errorf("%w, QC on %+v: %w", err, m.QC.Tuple, ErrFork))
		return r.failed
	}
	first := m.Blocks[0].Header
	if _, ok := r.tree.nodes[first.Parent.Block]; !ok && first.Height > final.height() {
		return fmt.Errorf("blocks from height %d on an unknown one: %w", first.Height, chain.ErrHeader)
	}
	return nil
}

// admitFetched takes a block that is certified through its descendants. Its own certificates
// are verified all the same: they will be served to others.
func (r *Replica) admitFetched(b chain.Block) error {
	if err := r.admitQC(b.QC()); err != nil {
		return err
	}
	if b.TC != nil {
		if err := r.admitTC(*b.TC); err != nil {
			return err
		}
	}
	if _, ok := r.tree.nodes[b.Header.Parent.Block]; !ok {
		return fmt.Errorf("block %+v on an abandoned branch: %w", b.Header.Tuple(), chain.ErrHeader)
	}
	if r.insert(b) == nil {
		r.fail(fmt.Errorf("block %+v: %w", b.Header.Tuple(), ErrDiverged))
	}
	return nil
}
