package payment

import (
	"fmt"
	"math/bits"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// maxUpdates bounds the updates of a LaneProof, so that its receipt stays below MaxReceipt.
const maxUpdates = 2 * channels.MaxUncertified

// LaneProof is what a settled payment over a channel leaves behind: what both banks agreed, who
// approved it, and that the final chain has the payer's lane at an update which comes after the one
// that pays, or is it. Its file is receipt-channel.json.
type LaneProof struct {
	Terms *terms.Proof
	// Verdicts are those on the one leg.
	Verdicts []validator.Signed
	// Path leads from the operation that pays to the body of the first update. The operation is no part
	// of the proof: the terms say all of it.
	Path []PathStep
	// Updates begin with the one that pays, each the Prev of the next, and end with the head that is
	// anchored: 1 to 8192.
	Updates []channels.Update
	// Anchored is the event by which the chain has that head.
	Anchored *follow.Evidence
}

// PathStep is a step of a path in an RFC 6962 tree, from a leaf to the root.
type PathStep struct {
	// Sibling stands to the left of what came so far if Left, otherwise to the right.
	Sibling cypherlink.Hash
	Left    bool
}

// NewLaneProof puts a proof together: of the terms, the verdicts on them, the operations of the first of
// the updates, and the event by which the last of them is anchored. Operations that do not pay by these
// terms are ErrReceipt; whether the rest holds, Verify says.
func NewLaneProof(
	t *terms.Proof, verdicts []validator.Signed, operations []channels.Operation, updates []channels.Update,
	anchored follow.Entry,
) (*LaneProof, error) {
	p := &LaneProof{Terms: t, Verdicts: verdicts, Updates: updates, Anchored: anchored.Evidence()}
	if len(t.Terms.Legs) != 1 {
		return nil, fmt.Errorf("terms of %d legs: %w", len(t.Terms.Legs), ErrReceipt)
	}
	leaves := make([]merkle.Hash, len(operations))
	at := -1
	for i, operation := range operations {
		leaves[i] = merkle.Leaf(channels.OperationBytes(operation))
		if operation == channels.Operation(p.pay()) {
			at = i
		}
	}
	if at < 0 {
		return nil, fmt.Errorf("none of %d operations is payment %s: %w",
			len(operations), t.Terms.UETR, ErrReceipt)
	}
	p.Path = pathIn(leaves, at)
	return p, nil
}

// pay is the operation by which the terms are paid.
func (p *LaneProof) pay() channels.Pay {
	t := p.Terms.Terms
	return channels.Pay{Payment: t.UETR, Amount: t.Legs[terms.Source].Amount, Terms: t.Hash()}
}

// pathIn is the way from a leaf to the root. A place and a count would say less: the root does not
// commit to them.
func pathIn(leaves []merkle.Hash, at int) []PathStep {
	if len(leaves) == 1 {
		return nil
	}
	left := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	if at < left {
		return append(pathIn(leaves[:left], at), PathStep{Sibling: merkle.Root(leaves[left:])})
	}
	return append(pathIn(leaves[left:], at-left), PathStep{Sibling: merkle.Root(leaves[:left]), Left: true})
}

// root is where the path leads from the operation that pays.
func (p *LaneProof) root() cypherlink.Hash {
	return climb(merkle.Leaf(channels.OperationBytes(p.pay())), p.Path)
}

// climb is where a path leads from a leaf.
func climb(at merkle.Hash, path []PathStep) cypherlink.Hash {
	for _, step := range path {
		if step.Left {
			at = merkle.Root([]merkle.Hash{step.Sibling, at})
		} else {
			at = merkle.Root([]merkle.Hash{at, step.Sibling})
		}
	}
	return at
}

// Encode is the receipt's one form, as that of Proof.Encode. What is no proof of its form is
// ErrReceipt.
func (p *LaneProof) Encode() ([]byte, error) {
	if err := p.wellFormed(); err != nil {
		return nil, err
	}
	return encodeReceipt(p.json())
}

// wellFormed reports ErrReceipt for what has no JSON form.
func (p *LaneProof) wellFormed() error {
	switch {
	case len(p.Terms.Terms.Legs) != 1:
		return fmt.Errorf("terms of %d legs: %w", len(p.Terms.Terms.Legs), ErrReceipt)
	case len(p.Updates) == 0 || len(p.Updates) > maxUpdates:
		return fmt.Errorf("%d updates: %w", len(p.Updates), ErrReceipt)
	case p.Anchored.Event == nil:
		return fmt.Errorf("evidence of an absence: %w", ErrReceipt)
	}
	if _, ok := p.Anchored.Event.Fact.(state.ChannelFact); !ok {
		return fmt.Errorf("an event of no channel: %w", ErrReceipt)
	}
	return nil
}

// DecodeLaneProof takes exactly the form of Encode; otherwise ErrReceipt. It compares every byte; what
// it proves, Verify says.
func DecodeLaneProof(raw []byte) (*LaneProof, error) {
	return decodeReceipt(raw, (*laneReceiptJSON).proof, (*LaneProof).Encode)
}

// proof takes what is signed out of the JSON.
func (j *laneReceiptJSON) proof() (*LaneProof, error) {
	p := &LaneProof{}
	var err error
	if p.Terms, err = terms.DecodeProof(j.Terms.Signed); err != nil {
		return nil, err
	}
	if p.Verdicts, err = verdictsIn(j.Movement.Verdicts); err != nil {
		return nil, err
	}
	for _, step := range j.Pay.Path {
		p.Path = append(p.Path, PathStep{Sibling: step.Hash, Left: step.Side == sideLeft})
	}
	for _, signed := range append([]hexBytes{j.Update.Signed}, signedOf(j.Later)...) {
		r := wire.NewReader(signed)
		u := channels.ReadUpdate(r)
		if err := r.End(); err != nil {
			return nil, err
		}
		p.Updates = append(p.Updates, u)
	}
	p.Anchored, err = follow.DecodeEvidence(j.Anchored.Evidence)
	return p, err
}

func signedOf(later []laterJSON) []hexBytes {
	all := make([]hexBytes, len(later))
	for i := range later {
		all[i] = later[i].Signed
	}
	return all
}
