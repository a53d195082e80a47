// Package merkle is the Merkle tree of RFC 6962 section 2.1 over SHA-256.
//
// Its noun is the root of an ordered list of leaves: leaf = H(0x00, data), node = H(0x01,
// left, right), the empty root = H(). It gives roots, inclusion proofs and consistency
// proofs, and their verification. It refuses to store anything.
package merkle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
)

// ErrProof means that a proof does not lead to the root.
var ErrProof = errors.New("merkle: proof does not lead to the root")

// Hash is a node of the tree.
type Hash = [32]byte

// Leaf is the hash of one entry, H(0x00, data).
func Leaf(data []byte) Hash {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(data)
	return Hash(h.Sum(nil))
}

func node(left, right Hash) Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// split is the largest power of two below n, for n > 1.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// Root is the tree hash of the leaf hashes, in order.
func Root(leaves []Hash) Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := split(len(leaves))
	return node(Root(leaves[:k]), Root(leaves[k:]))
}

// Inclusion is the audit path of leaf index, from the leaf to the root. It panics if index
// is not below len(leaves), as indexing does.
func Inclusion(leaves []Hash, index int) []Hash {
	_ = leaves[index]
	if len(leaves) == 1 {
		return nil
	}
	k := split(len(leaves))
	if index < k {
		return append(Inclusion(leaves[:k], index), Root(leaves[k:]))
	}
	return append(Inclusion(leaves[k:], index-k), Root(leaves[:k]))
}

// VerifyInclusion checks that leaf stands at index of the tree of size leaves with that
// root, by RFC 9162 section 2.1.3.2. Every wrong proof is ErrProof.
func VerifyInclusion(leaf Hash, index, size uint64, path []Hash, root Hash) error {
	if index >= size {
		return fmt.Errorf("index %d of %d: %w", index, size, ErrProof)
	}
	fn, sn, r := index, size-1, leaf
	for _, p := range path {
		if sn == 0 {
			return fmt.Errorf("path of %d hashes: %w", len(path), ErrProof)
		}
		if fn&1 == 1 || fn == sn {
			r = node(p, r)
			if fn&1 == 0 {
				shift := bits.TrailingZeros64(fn)
				fn >>= shift
				sn >>= shift
			}
		} else {
			r = node(r, p)
		}
		fn >>= 1
		sn >>= 1
	}
	if sn != 0 || r != root {
		return fmt.Errorf("index %d of %d: %w", index, size, ErrProof)
	}
	return nil
}

// Consistency proves that the tree of the first size leaves is a prefix of the whole. It
// panics unless 0 < size <= len(leaves).
func Consistency(leaves []Hash, size int) []Hash {
	if size == len(leaves) {
		return nil
	}
	return subproof(leaves, size, true)
}

func subproof(leaves []Hash, m int, whole bool) []Hash {
	if m == len(leaves) {
		if whole {
			return nil
		}
		return []Hash{Root(leaves)}
	}
	k := split(len(leaves))
	if m <= k {
		return append(subproof(leaves[:k], m, whole), Root(leaves[k:]))
	}
	return append(subproof(leaves[k:], m-k, false), Root(leaves[:k]))
}

// VerifyConsistency checks, by RFC 9162 section 2.1.4.2, that the tree of size1 leaves with
// root1 is a prefix of the tree of size2 leaves with root2, for 0 < size1.
func VerifyConsistency(size1, size2 uint64, root1, root2 Hash, path []Hash) error {
	bad := fmt.Errorf("from %d to %d leaves: %w", size1, size2, ErrProof)
	switch {
	case size1 == 0 || size1 > size2:
		return bad
	case size1 == size2:
		if len(path) != 0 || root1 != root2 {
			return bad
		}
		return nil
	case len(path) == 0:
		return bad
	}
	if size1&(size1-1) == 0 {
		path = append([]Hash{root1}, path...)
	}
	fn, sn := size1-1, size2-1
	shift := bits.TrailingZeros64(^fn)
	fn >>= shift
	sn >>= shift
	fr, sr := path[0], path[0]
	for _, c := range path[1:] {
		if sn == 0 {
			return bad
		}
		if fn&1 == 1 || fn == sn {
			fr, sr = node(c, fr), node(c, sr)
			if fn&1 == 0 {
				shift := bits.TrailingZeros64(fn)
				fn >>= shift
				sn >>= shift
			}
		} else {
			sr = node(sr, c)
		}
		fn >>= 1
		sn >>= 1
	}
	if sn != 0 || fr != root1 || sr != root2 {
		return bad
	}
	return nil
}
