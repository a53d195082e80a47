package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrProof means that bytes are not a proof, or that a proof does not lead to the root.
var ErrProof = errors.New("state: wrong proof")

// Bounds of an entry of the state, in bytes.
const (
	MaxKey   = 128
	MaxValue = 48 << 10
)

// Proof shows by a state root what the state holds under a key, or that it holds nothing
// there. It is the one leaf at which the search for the key ends, and the way to it.
type Proof struct {
	// Key and Value are that leaf's. Key is empty where the whole state is.
	Key, Value []byte
	// Steps lead from the root to the leaf.
	Steps []Step
}

// Step is a branching on the way.
type Step struct {
	// Bit is the index of the bit of SHA-256(key) that chooses the way here.
	Bit uint8
	// Sibling is the root of the tree on the other way.
	Sibling cypherlink.Hash
}

// Verify returns the value that the state with this root holds under the key; ok tells
// whether it holds one. A proof that does not lead to the root, or that is about another
// key, is ErrProof.
func (p *Proof) Verify(root cypherlink.Hash, key []byte) (value []byte, ok bool, err error) {
	if len(p.Key) == 0 {
		if root != emptyRoot() || len(p.Steps) > 0 || len(p.Value) > 0 {
			return nil, false, fmt.Errorf("the state is not empty: %w", ErrProof)
		}
		return nil, false, nil
	}
	asked, found := sha256.Sum256(key), sha256.Sum256(p.Key)
	hash := leafHash(p.Key, p.Value)
	for _, s := range slices.Backward(p.Steps) {
		way := bitAt(&found, int(s.Bit))
		if bitAt(&asked, int(s.Bit)) != way {
			return nil, false, fmt.Errorf("the search for the key leaves at bit %d: %w", s.Bit, ErrProof)
		}
		if way == 0 {
			hash = nodeHash(s.Bit, hash, s.Sibling)
		} else {
			hash = nodeHash(s.Bit, s.Sibling, hash)
		}
	}
	if hash != root {
		return nil, false, fmt.Errorf("root %s, not %s: %w", hash, root, ErrProof)
	}
	if !bytes.Equal(p.Key, key) {
		return nil, false, nil
	}
	return p.Value, true, nil
}

// Encode is the canonical form.
func (p *Proof) Encode() []byte {
	w := wire.NewWriter(12 + len(p.Key) + len(p.Value) + 33*len(p.Steps))
	w.Var(p.Key)
	w.Var(p.Value)
	w.U32(uint32(len(p.Steps))) //nolint:gosec // at most 256
	for _, s := range p.Steps {
		w.U8(s.Bit)
		w.Fixed(s.Sibling[:])
	}
	return w.Bytes()
}

// DecodeProof takes exactly the form of Encode; otherwise ErrProof. The result shares memory
// with b.
func DecodeProof(b []byte) (*Proof, error) {
	r := wire.NewReader(b)
	p := Proof{Key: r.Var(MaxKey), Value: r.Var(MaxValue)}
	p.Steps = make([]Step, r.Count(leafBit, 33))
	for i := range p.Steps {
		p.Steps[i].Bit = r.U8()
		r.Fixed(p.Steps[i].Sibling[:])
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return &p, nil
}

// search walks from root towards the path and returns the leaf where it ends and the steps
// to it.
func search(root *node, to path, nodes nodeReader) (*node, []Step, error) {
	var steps []Step
	for n := root; n != nil; {
		if n.leaf() {
			return n, steps, nil
		}
		way, other, err := children(n, nodes)
		if err != nil {
			return nil, nil, err
		}
		if bitAt(&to, n.bit) == 1 {
			way, other = other, way
		}
		steps = append(steps, Step{Bit: uint8(n.bit), Sibling: other.hash}) //nolint:gosec // below 256
		n = way
	}
	return nil, nil, nil
}
