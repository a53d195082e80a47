package terms

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrBatch means that terms may not be signed together, or that bytes are not a batch.
var ErrBatch = errors.New("terms: not a batch")

// MaxBatch is the most terms that one signature covers.
const MaxBatch = 256

// MaxBatchSize bounds the canonical bytes of a batch.
const MaxBatchSize = 8 + 4 + MaxBatch*(4+MaxSize)

// Batch is what one set of parties signs together, proposed by the bank that pays.
type Batch struct {
	// Sequence is the proposer's own counter: it never proposes two batches under one.
	Sequence uint64
	// Terms are 1 to MaxBatch terms of one network, one payer and one set of parties, of
	// different payments.
	Terms []*Terms
}

// Signers are the parties in the order in which they stand in the roster that signs: by id.
func (t *Terms) Signers() []cypherlink.ParticipantID {
	parties := t.Parties()
	slices.SortFunc(parties, func(a, b cypherlink.ParticipantID) int { return bytes.Compare(a[:], b[:]) })
	return parties
}

// Valid reports ErrBatch unless the batch is as its fields say. It takes the terms themselves
// for valid.
func (b *Batch) Valid() error {
	if len(b.Terms) < 1 || len(b.Terms) > MaxBatch {
		return fmt.Errorf("%d terms: %w", len(b.Terms), ErrBatch)
	}
	first := b.Terms[0]
	signers := first.Signers()
	seen := make(map[cypherlink.UETR]bool, len(b.Terms))
	for i, t := range b.Terms {
		switch {
		case t.Network != first.Network || t.Payer != first.Payer || !slices.Equal(t.Signers(), signers):
			return fmt.Errorf("terms %d are of other parties: %w", i, ErrBatch)
		case seen[t.UETR]:
			return fmt.Errorf("terms %d: payment %s stands twice: %w", i, t.UETR, ErrBatch)
		}
		seen[t.UETR] = true
	}
	return nil
}

// Encode is the canonical form.
func (b *Batch) Encode() []byte {
	w := wire.NewWriter(12 + 512*len(b.Terms))
	w.U64(b.Sequence)
	w.U32(uint32(len(b.Terms))) //nolint:gosec // at most MaxBatch
	for _, t := range b.Terms {
		w.Var(t.Encode())
	}
	return w.Bytes()
}

// DecodeBatch takes exactly the form of Encode and checks Valid, of the batch and of all terms;
// otherwise ErrBatch or ErrTerms.
func DecodeBatch(raw []byte) (*Batch, error) {
	if len(raw) > MaxBatchSize {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(raw), MaxBatchSize, ErrBatch)
	}
	const least = 4 + 8 + 16 + 3*32 + 1 + 3*32 // no terms are shorter
	r := wire.NewReader(raw)
	b := Batch{Sequence: r.U64(), Terms: make([]*Terms, r.Count(MaxBatch, least))}
	for i := range b.Terms {
		encoded := r.Var(MaxSize)
		if r.Err() != nil {
			break
		}
		t, err := Decode(encoded)
		if err != nil {
			return nil, fmt.Errorf("terms %d: %w", i, err)
		}
		b.Terms[i] = t
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBatch, err)
	}
	if err := b.Valid(); err != nil {
		return nil, err
	}
	return &b, nil
}

// leaves are the leaves of the batch's tree: the terms' hashes, so that a path shows that
// terms are in a batch without showing the terms.
func (b *Batch) leaves() []merkle.Hash {
	leaves := make([]merkle.Hash, len(b.Terms))
	for i, t := range b.Terms {
		hash := t.Hash()
		leaves[i] = merkle.Leaf(hash[:])
	}
	return leaves
}

// paths are the inclusion proofs of all leaves of an RFC 6962 tree. It goes up level by level,
// so the whole costs as much as one root.
func paths(leaves []merkle.Hash) [][]cypherlink.Hash {
	out := make([][]cypherlink.Hash, len(leaves))
	for level, height := leaves, 0; len(level) > 1; height++ {
		for i := range leaves {
			if sibling := i>>height ^ 1; sibling < len(level) {
				out[i] = append(out[i], level[sibling])
			}
		}
		above := make([]merkle.Hash, 0, len(level)/2+1)
		for pair := range slices.Chunk(level, 2) {
			above = append(above, merkle.Root(pair))
		}
		level = above
	}
	return out
}
