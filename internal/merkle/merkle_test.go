package merkle_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

func leaves(n int) []merkle.Hash {
	out := make([]merkle.Hash, n)
	for i := range out {
		out[i] = merkle.Leaf(fmt.Append(nil, "leaf ", i))
	}
	return out
}

// toHash maps the vectors' roots of other lengths, which a Hash cannot hold, to other hashes.
func toHash(b []byte) merkle.Hash {
	if len(b) != 32 {
		return sha256.Sum256(append([]byte("other length"), b...))
	}
	return merkle.Hash(b)
}

func toPath(bs [][]byte) []merkle.Hash {
	out := make([]merkle.Hash, len(bs))
	for i, b := range bs {
		out[i] = toHash(b)
	}
	return out
}

func TestInclusionVectors(t *testing.T) {
	var rows []struct {
		Name              string
		LeafIdx, TreeSize uint64
		Root, LeafHash    []byte
		Proof             [][]byte
		WantErr           bool
	}
	vectors.JSON(t, "vectors/merkle/inclusion.json", &rows)
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			if len(row.LeafHash) != 32 {
				if !row.WantErr { // a leaf hash of another length is no merkle.Hash
					t.Fatal("a leaf hash of another length is accepted")
				}
				return
			}
			err := merkle.VerifyInclusion(toHash(row.LeafHash), row.LeafIdx, row.TreeSize,
				toPath(row.Proof), toHash(row.Root))
			if (err != nil) != row.WantErr {
				t.Fatalf("%v, wantErr: %t", err, row.WantErr)
			}
		})
	}
}

func TestConsistencyVectors(t *testing.T) {
	var rows []struct {
		Name         string
		Size1, Size2 uint64
		Root1, Root2 []byte
		Proof        [][]byte
		WantErr      bool
	}
	vectors.JSON(t, "vectors/merkle/consistency.json", &rows)
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			err := merkle.VerifyConsistency(row.Size1, row.Size2, toHash(row.Root1),
				toHash(row.Root2), toPath(row.Proof))
			if (err != nil) != row.WantErr {
				t.Fatalf("%v, wantErr: %t", err, row.WantErr)
			}
		})
	}
}

func TestProofsOfEveryShape(t *testing.T) {
	for n := 1; n <= 33; n++ {
		all := leaves(n)
		root := merkle.Root(all)
		for i := range all {
			path := merkle.Inclusion(all, i)
			if err := merkle.VerifyInclusion(all[i], uint64(i), uint64(n), path, root); err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
			for j := range all {
				if j == i {
					continue
				}
				err := merkle.VerifyInclusion(all[i], uint64(j), uint64(n), path, root)
				if !errors.Is(err, merkle.ErrProof) {
					t.Fatalf("leaf %d of %d passes as %d", i, n, j)
				}
			}
			size := i + 1
			proof := merkle.Consistency(all, size)
			old := merkle.Root(all[:size])
			if err := merkle.VerifyConsistency(uint64(size), uint64(n), old, root, proof); err != nil {
				t.Fatalf("%d leaves of %d: %v", size, n, err)
			}
			if size > 1 {
				wrong := merkle.Root(all[:size-1])
				err := merkle.VerifyConsistency(uint64(size), uint64(n), wrong, root, proof)
				if !errors.Is(err, merkle.ErrProof) {
					t.Fatalf("%d leaves of %d: wrong old root passes", size, n)
				}
			}
		}
	}
}

func TestLeafIsNotNode(t *testing.T) {
	all := leaves(2)
	var inner []byte
	inner = append(append(inner, all[0][:]...), all[1][:]...)
	if merkle.Leaf(inner) == merkle.Root(all) {
		t.Fatal("an inner node passes as a leaf")
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(uint64(3), uint64(7), []byte("x"))
	f.Fuzz(func(t *testing.T, a, b uint64, raw []byte) {
		var path []merkle.Hash
		for len(raw) >= 32 {
			path, raw = append(path, merkle.Hash(raw)), raw[32:]
		}
		root := merkle.Leaf(raw)
		if err := merkle.VerifyInclusion(root, a, b, path, root); err == nil && len(path) > 0 {
			t.Fatalf("a leaf is its own root over %d hashes", len(path))
		}
		if err := merkle.VerifyConsistency(a, b, root, root, path); err == nil && a != b {
			t.Fatal("one root for two sizes")
		}
	})
}
