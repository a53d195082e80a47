package bft

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrUnsafe means that a record must not follow the one before it: by it the member could
// contradict itself. Only a bug of the replica leads here.
var ErrUnsafe = errors.New("bft: unsafe record")

// Record is what a member has to remember of an epoch so that it never contradicts itself,
// whenever it crashes (I1). It is its sign-once table for votes, timeouts and proposals.
type Record struct {
	Epoch     uint64
	Committee cypherlink.Hash
	// VotedView is the view up to which it votes no more; a timeout raises it too.
	VotedView uint64
	// Vote is the last vote, zero before the first.
	Vote chain.Tuple
	// TimeoutView is the last view given up, TimeoutHigh the QC that was reported.
	TimeoutView uint64
	TimeoutHigh chain.QC
	// Proposal is the last block proposed, zero before the first.
	Proposal chain.Tuple
	// High is the highest QC known when the record was made, TC the highest TC or nil.
	High chain.QC
	TC   *chain.TC
	// Retired says that this member's key was seen in use elsewhere: it signs no more.
	Retired bool
}

// NewRecord is the record of a member that has signed nothing in the epoch.
func NewRecord(c *chain.Committee) Record {
	return Record{
		Epoch: c.Epoch(), Committee: c.Roster().Root(),
		TimeoutHigh: c.Genesis(), High: c.Genesis(),
	}
}

// AppendWire appends the canonical form.
func (r Record) AppendWire(w *wire.Writer) {
	w.U64(r.Epoch)
	w.Fixed(r.Committee[:])
	w.U64(r.VotedView)
	r.Vote.AppendWire(w)
	w.U64(r.TimeoutView)
	r.TimeoutHigh.AppendWire(w)
	r.Proposal.AppendWire(w)
	r.High.AppendWire(w)
	w.Bool(r.TC != nil)
	if r.TC != nil {
		r.TC.AppendWire(w)
	}
	w.Bool(r.Retired)
}

// ReadRecord reads what AppendWire wrote.
func ReadRecord(rd *wire.Reader) Record {
	r := Record{Epoch: rd.U64()}
	rd.Fixed(r.Committee[:])
	r.VotedView = rd.U64()
	r.Vote = chain.ReadTuple(rd)
	r.TimeoutView = rd.U64()
	r.TimeoutHigh = chain.ReadQC(rd)
	r.Proposal = chain.ReadTuple(rd)
	r.High = chain.ReadQC(rd)
	if rd.Bool() {
		tc := chain.ReadTC(rd)
		r.TC = &tc
	}
	r.Retired = rd.Bool()
	return r
}

func (r Record) tcView() uint64 {
	if r.TC == nil {
		return 0
	}
	return r.TC.View
}

// admits reports ErrUnsafe unless next may follow r under the rules of committee c, where
// blocks are those made durable together with next.
func (r Record) admits(next Record, blocks []chain.Block, c *chain.Committee) error {
	switch {
	case r.Retired:
		return fmt.Errorf("the key is retired: %w", ErrUnsafe)
	case next.Epoch != r.Epoch || next.Committee != r.Committee:
		return fmt.Errorf("epoch %d after %d: %w", next.Epoch, r.Epoch, ErrUnsafe)
	case next.High.Tuple.View < r.High.Tuple.View || next.tcView() < r.tcView():
		return fmt.Errorf("certificates of views %d, %d after %d, %d: %w", next.High.Tuple.View,
			next.tcView(), r.High.Tuple.View, r.tcView(), ErrUnsafe)
	case next.VotedView != max(r.VotedView, next.Vote.View, next.TimeoutView):
		return fmt.Errorf("voted view %d: %w", next.VotedView, ErrUnsafe)
	case next.High.Tuple.View < next.Vote.ParentView:
		return fmt.Errorf("QC of view %d, voted on %d: %w",
			next.High.Tuple.View, next.Vote.ParentView, ErrUnsafe)
	case next.Proposal != r.Proposal && next.Proposal.View <= r.Proposal.View:
		return fmt.Errorf("proposal %+v after %+v: %w", next.Proposal, r.Proposal, ErrUnsafe)
	}
	if err := r.admitsVote(next, blocks); err != nil {
		return err
	}
	return r.admitsTimeout(next, c)
}

// admitsVote is V1 and V2 once more, and I3: the block is stored with the record.
func (r Record) admitsVote(next Record, blocks []chain.Block) error {
	if next.Vote == r.Vote {
		return nil
	}
	for _, b := range blocks {
		if b.Header.Tuple() != next.Vote {
			continue
		}
		if !mayVote(r.VotedView, next.Vote.View, next.Vote.ParentView, b.TC) {
			return fmt.Errorf("vote %+v after view %d: %w", next.Vote, r.VotedView, ErrUnsafe)
		}
		return nil
	}
	return fmt.Errorf("vote %+v for a block that is not stored: %w", next.Vote, ErrUnsafe)
}

// admitsTimeout is the timeout rule once more; the lock is the highest QC ever recorded.
func (r Record) admitsTimeout(next Record, c *chain.Committee) error {
	view, high := next.TimeoutView, next.TimeoutHigh.Tuple.View
	if view == r.TimeoutView {
		if next.TimeoutHigh.Tuple != r.TimeoutHigh.Tuple {
			return fmt.Errorf("timeout of view %d over another QC: %w", view, ErrUnsafe)
		}
		return nil
	}
	lock := max(r.High.Tuple.View, next.Vote.ParentView)
	if view != c.LastOfTerm(view) || !mayTimeout(0, r.VotedView, r.TimeoutView, view, high, lock) {
		return fmt.Errorf("timeout of view %d over a QC of view %d, after %d, %d, lock %d: %w",
			view, high, r.VotedView, r.TimeoutView, lock, ErrUnsafe)
	}
	return nil
}
