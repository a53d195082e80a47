package bft

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink/chain"
)

// Bounds of a block's time against a voter's clock.
const (
	maxAhead  = 500 * time.Millisecond
	maxBehind = 5 * time.Second
)

// candidate is the proposal that is kept of a view.
type candidate struct {
	proposal chain.Proposal
	tuple    chain.Tuple
	// node is nil until the parent is known.
	node *node
	// late: the header first came more than maxBehind after its time.
	late bool
	// rejected: it contradicts its parent, or does not execute to its roots.
	rejected bool
}

func newCandidate(p chain.Proposal) *candidate {
	return &candidate{proposal: p, tuple: p.Block.Header.Tuple()}
}

func (c *candidate) header() chain.Header { return c.proposal.Block.Header }

func clock(ms int64) time.Time { return time.UnixMilli(ms) }

// onProposal keeps the first proposal of a view. It may come from anybody: it is signed.
func (r *Replica) onProposal(p chain.Proposal) {
	h := p.Block.Header
	if c := r.candidates[h.View]; c != nil {
		if c.tuple == h.Tuple() {
			r.voteAgain(c)
			return
		}
		r.report(chain.DoubleProposal{First: c.proposal.Signed(), Second: p.Signed()})
		return
	}
	if h.View+window < r.view || h.Height <= r.tree.final.height() {
		return
	}
	if err := r.admitProposal(p); err != nil {
		r.refuse(err)
		return
	}
	if r.tree.final.height() >= h.Height {
		return // its QC made a block of its height final
	}
	c := newCandidate(p)
	c.late = clock(h.TimeMS).Before(r.now.Add(-maxBehind))
	r.candidates[h.View] = c
	r.voteAgain(c)
}

// admitProposal is what V0 asks of the proposal alone. Its certificates take effect even if
// the block does not. By V2 its view is then not above the current one.
func (r *Replica) admitProposal(p chain.Proposal) error {
	if err := r.committee.CheckHeader(p.Block.Header); err != nil {
		return err
	}
	if err := r.committee.VerifyProposer(p.Signed()); err != nil {
		return err
	}
	if err := r.committee.CheckBlock(p.Block); err != nil {
		return err
	}
	if r.committee.Leader(p.Block.Header.View) == r.self {
		r.checkOwnProposal(p.Block.Header.Tuple())
	}
	if err := r.admitQC(p.Block.QC()); err != nil {
		return err
	}
	if p.Block.TC != nil {
		return r.admitTC(*p.Block.TC)
	}
	return nil
}

// connect puts proposals into the tree whose parents are in it, in the order of their views.
func (r *Replica) connect() {
	for _, view := range r.views() {
		c := r.candidates[view]
		if c == nil || c.node != nil || c.rejected {
			continue
		}
		if _, ok := r.tree.nodes[c.header().Parent.Block]; ok {
			c.node = r.insert(c.proposal.Block)
			c.rejected = c.node == nil
		}
	}
}

// views lists the candidates' views, ascending.
func (r *Replica) views() []uint64 { return slices.Sorted(maps.Keys(r.candidates)) }

// insert executes a block whose parent is in the tree and puts it there; nil if it
// contradicts its parent or does not execute to its roots. That is fatal for a certified one.
func (r *Replica) insert(b chain.Block) *node {
	h := b.Header
	n := &node{block: b, tuple: h.Tuple(), parent: r.tree.nodes[h.Parent.Block]}
	if known := r.tree.nodes[n.tuple.Block]; known != nil {
		return known
	}
	qc, certified := r.certified[n.tuple]
	if err := r.execute(n); err != nil {
		if certified {
			r.fail(fmt.Errorf("block %+v: %w: %w", n.tuple, ErrDiverged, err))
		} else if !errors.Is(err, ErrInvalid) && !errors.Is(err, chain.ErrHeader) {
			r.fail(fmt.Errorf("execute block %+v: %w", n.tuple, err))
		}
		r.refuse(err)
		return nil
	}
	r.tree.add(n)
	if certified {
		r.commit(n, qc)
	}
	return n
}

func (r *Replica) execute(n *node) error {
	h, p := n.block.Header, n.block.Payload
	if err := r.committee.CheckChild(h, n.parent.block.Header, n.parent.ends); err != nil {
		return err
	}
	key, err := p.KeyBlock()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	n.ends = key != nil
	roots, err := r.machine.Execute(h, p)
	if err != nil {
		return err
	}
	if roots != h.Roots {
		return fmt.Errorf("roots %+v, header has %+v: %w", roots, h.Roots, ErrInvalid)
	}
	return nil
}

// vote votes for the proposal of the highest view that the rules allow. A lower one can no
// longer get a QC that matters.
func (r *Replica) vote() {
	if r.mode != voting {
		return
	}
	for _, view := range slices.Backward(r.views()) {
		c := r.candidates[view]
		b := c.proposal.Block
		if c.node == nil || c.late || !mayVote(r.record.VotedView, view, b.Header.Parent.View, b.TC) {
			continue
		}
		if due := clock(b.Header.TimeMS).Add(-maxAhead); r.now.Before(due) {
			r.wake(due) // kept, and judged again when its time comes
			continue
		}
		r.record.Vote, r.record.VotedView = c.tuple, view
		r.persist(b)
		r.out.Sign = append(r.out.Sign, SignVote)
		return
	}
}

// voteAgain repeats the last vote when its proposal comes again, unless the view was given up
// since: the proposer has restarted and lacks it, or this member has and lacks the block (I3).
func (r *Replica) voteAgain(c *candidate) {
	if r.mode == voting && r.record.Vote == c.tuple && r.record.TimeoutView < c.tuple.View {
		r.out.Persist.Blocks = append(r.out.Persist.Blocks, c.proposal.Block)
		r.out.Sign = append(r.out.Sign, SignVote)
	}
}

// persist makes the record durable in this step, with a block.
func (r *Replica) persist(blocks ...chain.Block) {
	r.dirty = true
	for _, b := range blocks {
		same := func(other chain.Block) bool { return other.Header == b.Header }
		if !slices.ContainsFunc(r.out.Persist.Blocks, same) {
			r.out.Persist.Blocks = append(r.out.Persist.Blocks, b)
		}
	}
}

// propose proposes in a view of this member's own, once, and tells whether it did so now. It
// votes for its block in the same step; so a view that it has not voted in, it has not
// proposed in either.
func (r *Replica) propose() bool {
	if r.mode != voting || r.committee.Leader(r.view) != r.self || r.record.VotedView >= r.view {
		return false
	}
	var tc *chain.TC
	if r.high.Tuple.View+1 != r.view {
		if r.tc == nil || r.tc.View+1 != r.view {
			return false // entered by f+1 timeouts: nothing justifies a block
		}
		tc = r.tc
	}
	parent := r.tree.nodes[r.high.Tuple.Block]
	if parent == nil {
		return false
	}
	idle := !r.unfinished() && r.now.Before(r.pace.entered.Add(r.pace.idle))
	timeMS := max(r.now.UnixMilli(), parent.block.Header.TimeMS+1)
	if due := clock(timeMS).Add(-maxAhead); r.now.Before(due) {
		r.wake(due)
		return false
	}
	if idle && !r.pool {
		r.wake(r.pace.entered.Add(r.pace.idle))
		return false
	}
	block, err := r.build(parent, tc, timeMS)
	if err != nil {
		r.fail(err)
		return false
	}
	if idle && len(block.Payload) == 0 {
		// What waits in the pool is not for this block.
		r.pool = false
		r.wake(r.pace.entered.Add(r.pace.idle))
		return false
	}
	return r.proposeBlock(block)
}

func (r *Replica) build(parent *node, tc *chain.TC, timeMS int64) (chain.Block, error) {
	c := r.committee
	h := chain.Header{
		Network: c.Network(), Epoch: c.Epoch(), Committee: c.Roster().Root(),
		View: r.view, Height: parent.height() + 1, TimeMS: timeMS, Parent: r.high.Tuple,
		Ending:   c.EndingAfter(parent.block.Header, parent.ends),
		Proposer: c.KeyBlock().Members[r.self].ID,
	}
	if tc != nil {
		h.TCView = tc.View
	}
	payload, roots, err := r.machine.Build(h)
	if err != nil {
		return chain.Block{}, fmt.Errorf("build a block of view %d: %w", r.view, err)
	}
	h.PayloadRoot, h.Roots = payload.Root(), roots
	h.PayloadCount = uint32(len(payload)) //nolint:gosec // CheckBlock refuses more than 1,024
	b := chain.Block{Header: h, Votes: r.high.Votes, TC: tc, Payload: payload}
	if err := c.CheckBlock(b); err != nil {
		return chain.Block{}, fmt.Errorf("built for view %d: %w", r.view, err)
	}
	return b, nil
}

func (r *Replica) proposeBlock(b chain.Block) bool {
	c := newCandidate(chain.Proposal{Block: b})
	if c.node = r.insert(b); c.node == nil {
		r.fail(fmt.Errorf("own block %+v: %w", c.tuple, ErrInvalid))
		return false
	}
	r.candidates[r.view] = c
	r.record.Proposal = c.tuple
	r.persist(b)
	r.out.Sign = append(r.out.Sign, SignProposal)
	return true
}

// onOwnProposal sends the proposal that Safety signed.
func (r *Replica) onOwnProposal(in OwnProposal) {
	if c := r.candidates[in.Tuple.View]; c != nil && c.tuple == in.Tuple {
		c.proposal.Signature = in.Signature
		r.send(Everyone, Proposal{c.proposal})
	}
}
