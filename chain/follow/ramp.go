package follow

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
)

// maxPassageHeaders bounds the finality proof in the evidence of a passage, so that it fits an
// ledger.Enter. Whatever the feed held under one block it holds under every later one: where a
// block's own proof is longer, since the leaders failed who followed it, a later block's serves.
const maxPassageHeaders = 120

var _ ledger.Burns = (*Verifier)(nil)

// Passed is the crossing that has passed under the id in the final state, without evidence; ok tells
// whether one has.
func (f *Follower) Passed(id ledger.CrossingID) (x ledger.Crossing, ok bool, err error) {
	passed, _, err := f.mirror.passed(id)
	if errors.Is(err, state.ErrUnknown) {
		return ledger.Crossing{}, false, nil
	}
	return passed.Crossing, err == nil, err
}

// passed is the event of a crossing, and its index; state.ErrUnknown if there is none.
func (m *mirror) passed(id ledger.CrossingID) (state.Passed, uint64, error) {
	index, err := m.state.LatestEvent(cypherlink.Hash(id))
	if err != nil {
		return state.Passed{}, 0, err
	}
	e, err := m.state.EventAt(index)
	if err != nil {
		return state.Passed{}, 0, err
	}
	p, ok := e.Passed()
	if !ok {
		return state.Passed{}, 0, fmt.Errorf("event %d is of no crossing: %w", index, state.ErrRecord)
	}
	return p, index, nil
}

// passage is how a crossing passed, with its evidence; ok tells whether it did. It is errUnproved if
// no proof that is short enough covers it yet.
func (m *mirror) passage(id ledger.CrossingID) (p ledger.Passage, ok bool, err error) {
	passed, index, err := m.passed(id)
	if errors.Is(err, state.ErrUnknown) {
		return ledger.Passage{}, false, nil
	}
	if err != nil {
		return ledger.Passage{}, false, err
	}
	e, err := m.state.EventAt(index)
	if err != nil {
		return ledger.Passage{}, false, err
	}
	proof, err := m.shortProof(e.Height)
	if err != nil {
		return ledger.Passage{}, false, fmt.Errorf("crossing %s: %w", id, err)
	}
	path, err := m.state.EventPath(index, proof.Headers[0].Roots.FeedSize)
	if err != nil {
		return ledger.Passage{}, false, err
	}
	evidence := Evidence{Proof: proof, Event: e, Index: index, Path: path}
	return ledger.Passage{
		Ledger: m.ledger, Crossing: passed.Crossing, Sequence: index + 1, TimeMS: e.TimeMS,
		Evidence: evidence.Encode(),
	}, true, nil
}

// shortProof proves a block from the height on, in at most maxPassageHeaders.
func (m *mirror) shortProof(height uint64) (chain.FinalityProof, error) {
	for {
		proof, err := m.state.ProofFrom(height)
		switch {
		case errors.Is(err, state.ErrUnknown):
			return proof, fmt.Errorf("height %d: %w", height, errUnproved)
		case err != nil || len(proof.Headers) <= maxPassageHeaders:
			return proof, err
		}
		height = proof.Headers[0].Height + 1
	}
}

// Passage is how the crossing passed that the evidence shows; otherwise ErrEvidence, or the error of
// the finality proof. Costs one pairing check.
func (v *Verifier) Passage(evidence []byte) (ledger.Passage, error) {
	e, _, err := v.open(evidence)
	if err != nil {
		return ledger.Passage{}, err
	}
	if e.Event != nil {
		if passed, ok := e.Event.Passed(); ok {
			return ledger.Passage{
				Ledger: v.ledger, Crossing: passed.Crossing, Sequence: e.Index + 1,
				TimeMS: e.Event.TimeMS, Evidence: evidence,
			}, nil
		}
	}
	return ledger.Passage{}, fmt.Errorf("it is of no crossing: %w", ErrEvidence)
}

// Burn implements ledger.Burns: the crossing whose burn the evidence shows to be final. That of a
// credit is ErrEvidence.
func (v *Verifier) Burn(evidence []byte) (ledger.Crossing, error) {
	p, err := v.Passage(evidence)
	if err != nil {
		return ledger.Crossing{}, err
	}
	if !p.Left() {
		return ledger.Crossing{}, fmt.Errorf("crossing %d came in: %w", p.Sequence, ErrEvidence)
	}
	return p.Crossing, nil
}
