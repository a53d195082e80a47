package cosi

import (
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
)

// lineTable holds the lines of the Miller loop for one point of G2, 24 KiB. It takes a sixth of a
// verification to compute, so a roster keeps those of the points that it meets again.
type lineTable = [2][len(bls.LoopCounter) - 1]bls.LineEvaluationAff

func lines(q bls.G2Affine) *lineTable {
	t := bls.PrecomputeLines(q)
	return &t
}

// negatedGenerator is the table of -G2.
func negatedGenerator() *lineTable {
	_, _, _, g := bls.Generators()
	g.Neg(&g)
	return lines(g)
}

// statement is a hashed message and the key, or sum of keys, that signed it.
type statement struct {
	hash bls.G1Affine
	key  *lineTable
}

// hashFrame is the hash of a frame to G1 under SignatureSuite (RFC 9380).
func hashFrame(f Frame) (bls.G1Affine, error) {
	b := f.Encode()
	return bls.HashToG1(b[:], []byte(SignatureSuite))
}

// check tells whether e(sig, -G2) * e(hash, key) * ... == 1, that is whether sig is the sum
// of what each key signed; otherwise wrong. Every point is in its subgroup already.
func check(sig bls.G1Affine, negated *lineTable, said []statement, wrong error) error {
	points := make([]bls.G1Affine, 1, len(said)+1)
	tables := make([]lineTable, 1, len(said)+1)
	points[0], tables[0] = sig, *negated
	for _, s := range said {
		points = append(points, s.hash)
		// A copy, because PairingCheckFixedQ multiplies into the lines that it is given.
		tables = append(tables, *s.key)
	}
	ok, err := bls.PairingCheckFixedQ(points, tables)
	if err != nil {
		return fmt.Errorf("%w: %w", wrong, err)
	}
	if !ok {
		return wrong
	}
	return nil
}
