package follow

import (
	"context"
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/merkle"
)

// Entry is an event of the feed, whatever it is about, with what shows to whoever holds the
// genesis that it stands there.
type Entry struct {
	// Event is at Index, from 0, of the feed under the first block of Finality, by Path.
	Event    *state.Event
	Index    uint64
	Path     []merkle.Hash
	Finality chain.FinalityProof
}

// Entry is the event at an index of the feed; state.ErrUnknown past its end. It waits as Receipt
// does.
func (f *Follower) Entry(ctx context.Context, index uint64) (Entry, error) {
	return proved(ctx, f, func() (Entry, error) { return f.mirror.entry(index) })
}

// Anchoring is the first event by which the chain has the head of a channel's lane at that sequence or
// beyond: what it has there, and in which generation, the event says. As long as there is none it is
// state.ErrUnknown; it waits as Receipt does.
func (f *Follower) Anchoring(
	ctx context.Context, id channels.ID, lane channels.Side, seq uint32,
) (Entry, error) {
	return proved(ctx, f, func() (Entry, error) {
		index, err := f.mirror.anchoring(id, lane, seq)
		if err != nil {
			return Entry{}, err
		}
		return f.mirror.entry(index)
	})
}

// Evidence is the entry as evidence, which stands in one piece.
func (e *Entry) Evidence() *Evidence {
	custody, _ := e.Event.Custody()
	return &Evidence{
		Proof: e.Finality, Event: e.Event, Index: e.Index, Path: e.Path, Custody: custody.ID,
	}
}

// Finality proves the first block from a height on that has a proof here: whatever the feed held
// at that height, it holds under that block too. Above Head it is state.ErrUnknown; it waits as
// Receipt does.
func (f *Follower) Finality(ctx context.Context, height uint64) (chain.FinalityProof, error) {
	return proved(ctx, f, func() (chain.FinalityProof, error) { return f.mirror.finality(height) })
}

// finality is errUnproved if no proof covers the height yet.
func (m *mirror) finality(height uint64) (chain.FinalityProof, error) {
	if last := m.state.Header().Height; height > last {
		return chain.FinalityProof{}, fmt.Errorf("height %d of %d: %w", height, last, state.ErrUnknown)
	}
	proof, err := m.state.ProofFrom(height)
	if errors.Is(err, state.ErrUnknown) {
		err = fmt.Errorf("height %d: %w", height, errUnproved)
	}
	return proof, err
}

// entry is errUnproved if no proof covers the event yet.
func (m *mirror) entry(index uint64) (Entry, error) {
	e, err := m.state.EventAt(index)
	if err != nil {
		return Entry{}, err
	}
	proof, err := m.finality(e.Height)
	if err != nil {
		return Entry{}, fmt.Errorf("event %d: %w", index, err)
	}
	path, err := m.state.EventPath(index, proof.Headers[0].Roots.FeedSize)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Event: e, Index: index, Path: path, Finality: proof}, nil
}
