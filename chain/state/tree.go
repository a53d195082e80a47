package state

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrTree means that a stored node is missing or is not what its parent's hash says: the
// store is damaged.
var ErrTree = errors.New("state: damaged tree")

// The first byte under a hash tells a leaf from a node.
const (
	leafPrefix = 0x00
	nodePrefix = 0x01
)

// cachedBits is how many bits of the path the tree in memory covers, at most 2^cachedBits
// branchings: what is below is read when it is needed.
const cachedBits = 16

// leafBit is the bit index of a leaf: past the last bit of every path.
const leafBit = 256

// path is where a key stands in the tree: SHA-256 of the key, its first bit the most
// significant one.
type path = [32]byte

// emptyRoot is the root of a tree without a leaf, SHA-256 of nothing.
func emptyRoot() cypherlink.Hash { return sha256.Sum256(nil) }

// leafHash is SHA-256(0x00, length of key in 32 bits, key, value). The length makes it
// injective.
func leafHash(key, value []byte) cypherlink.Hash {
	w := wire.NewWriter(5 + len(key) + len(value))
	w.U8(leafPrefix)
	w.Var(key)
	w.Fixed(value)
	return sha256.Sum256(w.Bytes())
}

// nodeHash is SHA-256(0x01, bit in 8 bits, left, right).
func nodeHash(bit uint8, left, right cypherlink.Hash) cypherlink.Hash {
	var b [66]byte
	b[0], b[1] = nodePrefix, bit
	copy(b[2:], left[:])
	copy(b[34:], right[:])
	return sha256.Sum256(b[:])
}

// node is a leaf or a branching of the tree. A branching is where two paths below it first
// differ, so every node but a leaf has two children, and n leaves make n-1 branchings.
// Nodes are shared between versions and never change, except that children come and go.
type node struct {
	hash cypherlink.Hash
	// path is a leaf's own, or the path of any leaf below: all agree in the bits before bit.
	path path
	// bit is the index of the bit by which the children differ, 0 to 255, or leafBit.
	bit int
	// key is a leaf's own, nil at a branching.
	key []byte
	// left has a zero in that bit, right a one. Both are nil at a leaf, and at a branching
	// that has not been read in.
	left, right *node
}

func (n *node) leaf() bool { return n.bit == leafBit }

// rootHash is the hash that stands for the tree under n, which may be nil.
func rootHash(n *node) cypherlink.Hash {
	if n == nil {
		return emptyRoot()
	}
	return n.hash
}

// bitAt is the i-th bit of p.
func bitAt(p *path, i int) byte { return p[i/8] >> (7 - i%8) & 1 }

// firstDifference is the index of the first bit in which a and b differ, or leafBit.
func firstDifference(a, b *path) int {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return leafBit
}

// change puts a leaf, or removes the one at its path where the hash is zero.
type change struct {
	path path
	leaf cypherlink.Hash
	key  []byte
}

// newChange puts the value under the key, or removes the key where value is nil.
func newChange(key, value []byte) change {
	c := change{path: sha256.Sum256(key), key: key}
	if value != nil {
		c.leaf = leafHash(key, value)
	}
	return c
}

func (c *change) removes() bool { return c.leaf == cypherlink.Hash{} }

// update is one application of changes to a tree.
type update struct {
	nodes nodeReader
	// fresh are the branchings that the new tree has and the old one has not, stale the
	// hashes of those the other way round.
	fresh []*node
	stale []cypherlink.Hash
}

// nodeReader reads the record of a branching by its hash.
type nodeReader interface {
	node(hash cypherlink.Hash) ([]byte, error)
}

// apply returns the root of the tree under root after the changes, which must be sorted by
// path, none twice. What does not change is shared with the old tree.
func (u *update) apply(root *node, changes []change) (*node, error) {
	switch {
	case len(changes) == 0:
		return root, nil
	case root == nil:
		return u.build(changes), nil
	case root.leaf():
		return u.atLeaf(root, changes), nil
	}
	// The changes are sorted, so the one that leaves the common path first is first or last.
	d := firstDifference(&changes[0].path, &root.path)
	if d = min(d, firstDifference(&changes[len(changes)-1].path, &root.path)); d < root.bit {
		return u.above(root, d, changes)
	}
	oldLeft, oldRight, err := children(root, u.nodes)
	if err != nil {
		return nil, err
	}
	zeros, ones := splitAt(changes, root.bit)
	left, err := u.apply(oldLeft, zeros)
	if err != nil {
		return nil, err
	}
	right, err := u.apply(oldRight, ones)
	if err != nil {
		return nil, err
	}
	if left == oldLeft && right == oldRight {
		return root, nil
	}
	u.stale = append(u.stale, root.hash)
	return u.join(root.bit, left, right), nil
}

// above applies changes of which some branch off at bit d, before the root's own bit.
func (u *update) above(root *node, d int, changes []change) (*node, error) {
	zeros, ones := splitAt(changes, d)
	if bitAt(&root.path, d) == 0 {
		left, err := u.apply(root, zeros)
		if err != nil {
			return nil, err
		}
		return u.join(d, left, u.build(ones)), nil
	}
	right, err := u.apply(root, ones)
	if err != nil {
		return nil, err
	}
	return u.join(d, u.build(zeros), right), nil
}

// atLeaf applies changes to a tree of one leaf.
func (u *update) atLeaf(leaf *node, changes []change) *node {
	at, found := slices.BinarySearchFunc(changes, leaf.path, func(c change, p path) int {
		return slices.Compare(c.path[:], p[:])
	})
	if !found {
		changes = slices.Insert(slices.Clone(changes), at, change{leaf.path, leaf.hash, leaf.key})
	}
	built := u.build(changes)
	if built != nil && built.hash == leaf.hash {
		return leaf
	}
	return built
}

// build makes a tree of the changes that put a leaf.
func (u *update) build(changes []change) *node {
	switch len(changes) {
	case 0:
		return nil
	case 1:
		if changes[0].removes() {
			return nil
		}
		return &node{hash: changes[0].leaf, path: changes[0].path, bit: leafBit, key: changes[0].key}
	}
	d := firstDifference(&changes[0].path, &changes[len(changes)-1].path)
	zeros, ones := splitAt(changes, d)
	return u.join(d, u.build(zeros), u.build(ones))
}

// join makes the branching at bit over two trees; an empty one leaves the other alone.
func (u *update) join(bit int, left, right *node) *node {
	switch {
	case left == nil:
		return right
	case right == nil:
		return left
	}
	n := &node{
		hash: nodeHash(uint8(bit), left.hash, right.hash), //nolint:gosec // below 256
		path: left.path, bit: bit, left: left, right: right,
	}
	u.fresh = append(u.fresh, n)
	return n
}

// splitAt parts sorted changes that agree in the bits before bit.
func splitAt(changes []change, bit int) (zeros, ones []change) {
	at, _ := slices.BinarySearchFunc(changes, 1, func(c change, one int) int {
		return int(bitAt(&c.path, bit)) - one
	})
	return changes[:at], changes[at:]
}

// children are the two below a branching, read from the store if they are not in memory.
// They stay there only if the branching is one of the first cachedBits bits.
func children(n *node, nodes nodeReader) (left, right *node, err error) {
	if n.left != nil {
		return n.left, n.right, nil
	}
	record, err := nodes.node(n.hash)
	if err != nil {
		return nil, nil, fmt.Errorf("node %s: %w", n.hash, err)
	}
	left, right, err = decodeNode(record)
	if err != nil {
		return nil, nil, fmt.Errorf("node %s: %w: %w", n.hash, ErrTree, err)
	}
	if nodeHash(uint8(n.bit), left.hash, right.hash) != n.hash { //nolint:gosec // below 256: no leaf
		return nil, nil, fmt.Errorf("node %s: %w", n.hash, ErrTree)
	}
	if n.bit < cachedBits {
		n.left, n.right = left, right
	}
	return left, right, nil
}

// forget lets go of the children of a node that is stored, unless they are to stay in memory.
func (n *node) forget() {
	if n.bit >= cachedBits {
		n.left, n.right = nil, nil
	}
}

// encodeNode is the record of a branching: what it knows of its two children.
func encodeNode(n *node) []byte {
	w := wire.NewWriter(2 * (1 + 4 + MaxKey + 32))
	appendStub(w, n.left)
	appendStub(w, n.right)
	return w.Bytes()
}

func decodeNode(b []byte) (left, right *node, err error) {
	r := wire.NewReader(b)
	left, right = readStub(r), readStub(r)
	return left, right, r.End()
}

// appendStub appends a node without its children: hash, whether it is a leaf, and the leaf's
// key or the branching's path and bit.
func appendStub(w *wire.Writer, n *node) {
	w.Fixed(n.hash[:])
	w.Bool(n.leaf())
	if n.leaf() {
		w.Var(n.key)
		return
	}
	w.Fixed(n.path[:])
	w.U8(uint8(n.bit)) //nolint:gosec // below 256: no leaf
}

func readStub(r *wire.Reader) *node {
	n := new(node)
	r.Fixed(n.hash[:])
	if r.Bool() {
		n.bit, n.key = leafBit, slices.Clone(r.Var(MaxKey))
		n.path = sha256.Sum256(n.key)
		return n
	}
	r.Fixed(n.path[:])
	n.bit = int(r.U8())
	return n
}
