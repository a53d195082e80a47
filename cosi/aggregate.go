package cosi

import (
	"crypto/sha256"
	"fmt"
	"math/big"
	"slices"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// weightDomain separates the weights of a search for bad shares.
const weightDomain wire.Domain = "cypherlink/cosi-weights/v1"

// Share is one member's signature and the frame that it stands on.
type Share struct {
	Frame     Frame
	Signature Signature
}

// Aggregate makes a certificate over f of the members' signatures. They are summed first and
// verified once; only if that fails is each wrong one found, named (ascending) and left out.
// So a certificate that it returns verifies. Without enough members it is ErrPolicy, before
// any pairing if the shares that are points are too few; an index that is not of this roster
// is ErrMember. The named members are valid beside an ErrPolicy too.
//
// Wrong shares that cancel out do no harm and are not searched for: their sum is the sum of
// the right ones.
func (r *Roster) Aggregate(f Frame, shares map[int]Signature) (Certificate, []int, error) {
	mixed := make(map[int]Share, len(shares))
	for i, s := range shares {
		mixed[i] = Share{Frame: f, Signature: s}
	}
	c, blamed, err := r.AggregateMixed(mixed)
	if err == nil && len(blamed) == 0 {
		r.right.add([]cypherlink.Hash{certificateHash(f, c)}, []int{0})
	}
	return c, blamed, err
}

// AggregateMixed is Aggregate for members that signed different frames; VerifyMixed accepts
// the sum. Which member signed which frame, the caller knows by its shares.
func (r *Roster) AggregateMixed(shares map[int]Share) (Certificate, []int, error) {
	points, hashes, blamed, err := r.decodeShares(shares)
	if err != nil {
		return Certificate{}, nil, err
	}
	points, blamed = dropCancelling(points, len(hashes), blamed)
	if err := r.satisfiedBy(points); err != nil {
		return Certificate{}, blamed, err
	}
	if !r.sound(points, hashes, r.tableOf) {
		heavy := r.weigh(points, shares)
		weighed := func(_ bitmap, key bls.G2Affine) *lineTable { return lines(key) }
		bad := bisect(0, len(heavy), func(from, to int) bool {
			return r.sound(heavy[from:to], hashes, weighed)
		})
		for _, i := range slices.Backward(bad) {
			blamed = append(blamed, points[i].member)
			points = slices.Delete(points, i, i+1)
		}
		points, blamed = dropCancelling(points, len(hashes), blamed)
		if err := r.satisfiedBy(points); err != nil {
			return Certificate{}, blamed, err
		}
	}
	signers, sum := newBitmap(len(r.members)), bls.G1Jac{}
	for _, p := range points {
		signers.set(p.member)
		sum.AddMixed(&p.sig)
	}
	var sig bls.G1Affine
	sig.FromJacobian(&sum)
	return Certificate{Bitmap: signers, Signature: sig.Bytes()}, blamed, nil
}

// sharePoint is a decoded share: sig = weight * H(frame) * secret key, if it is right.
type sharePoint struct {
	member int
	frame  int // index of its frame's hash
	sig    bls.G1Affine
	key    bls.G2Affine
}

// decodeShares gives the shares that are points, by ascending member, the hashes of their
// frames, and the members whose share is no point.
func (r *Roster) decodeShares(shares map[int]Share) ([]sharePoint, []bls.G1Affine, []int, error) {
	members := make([]int, 0, len(shares))
	for i := range shares {
		members = append(members, i)
	}
	slices.Sort(members)
	var blamed []int
	var hashes []bls.G1Affine
	points := make([]sharePoint, 0, len(shares))
	frames := make(map[Frame]int)
	for _, i := range members {
		if i < 0 || i >= len(r.members) {
			return nil, nil, nil, fmt.Errorf("%d of %d: %w", i, len(r.members), ErrMember)
		}
		f := shares[i].Frame
		if err := r.admits(f); err != nil {
			return nil, nil, nil, err
		}
		sig, err := shares[i].Signature.decode()
		if err != nil {
			blamed = append(blamed, i)
			continue
		}
		at, ok := frames[f]
		if !ok {
			hash, err := hashFrame(f)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("%w: %w", ErrSignature, err)
			}
			at = len(hashes)
			frames[f], hashes = at, append(hashes, hash)
		}
		points = append(points, sharePoint{member: i, frame: at, sig: sig, key: r.members[i].Key.point})
	}
	return points, hashes, blamed, nil
}

// dropCancelling leaves out and blames all that signed one frame if their keys sum to the
// identity, which no verifier accepts. An honest key is never among them: with it, the
// others' proofs of possession would prove its secret.
func dropCancelling(points []sharePoint, frames int, blamed []int) ([]sharePoint, []int) {
	keys := make([]bls.G2Jac, frames)
	for _, p := range points {
		keys[p.frame].AddMixed(&p.key)
	}
	kept := points[:0]
	for _, p := range points {
		if keys[p.frame].Z.IsZero() {
			blamed = append(blamed, p.member)
			continue
		}
		kept = append(kept, p)
	}
	slices.Sort(blamed)
	return kept, blamed
}

func (r *Roster) satisfiedBy(points []sharePoint) error {
	set := newBitmap(len(r.members))
	for _, p := range points {
		set.set(p.member)
	}
	return r.policy.holds(set, len(r.members))
}

// sound tells whether the sum of the shares is the sum of what their keys should have
// signed: one pairing check. table gives the lines of the sum of these members' keys.
func (r *Roster) sound(
	points []sharePoint, hashes []bls.G1Affine, table func(bitmap, bls.G2Affine) *lineTable,
) bool {
	var sum bls.G1Jac
	keys, sets := make([]bls.G2Jac, len(hashes)), make([]bitmap, len(hashes))
	for i := range sets {
		sets[i] = newBitmap(len(r.members))
	}
	for _, p := range points {
		sum.AddMixed(&p.sig)
		keys[p.frame].AddMixed(&p.key)
		sets[p.frame].set(p.member)
	}
	var sig bls.G1Affine
	sig.FromJacobian(&sum)
	if sig.IsInfinity() {
		return false
	}
	said := make([]statement, 0, len(hashes))
	for i := range keys {
		var key bls.G2Affine
		if key.FromJacobian(&keys[i]); !key.IsInfinity() {
			said = append(said, statement{hashes[i], table(sets[i], key)})
		}
	}
	return check(sig, r.negated, said, ErrSignature) == nil
}

// weigh multiplies every share and its key by a weight of 128 bits, so that wrong shares
// which cancel out show. The weights are a hash of all the shares: who could choose shares
// to fit their weights, to hide or to have an honest member blamed, could invert the hash.
func (r *Roster) weigh(points []sharePoint, shares map[int]Share) []sharePoint {
	w := wire.NewWriter(32 + len(points)*(4+FrameSize+SignatureSize))
	w.Fixed(r.root[:])
	for _, p := range points {
		s := shares[p.member]
		frame := s.Frame.Encode()
		w.U32(uint32(p.member)) //nolint:gosec // below MaxMembers
		w.Fixed(frame[:])
		w.Fixed(s.Signature[:])
	}
	seed := wire.Sum(weightDomain, w.Bytes())
	heavy := slices.Clone(points)
	for i := range heavy {
		p := &heavy[i]
		w := wire.NewWriter(36)
		w.Fixed(seed[:])
		w.U32(uint32(p.member)) //nolint:gosec // below MaxMembers
		h := sha256.Sum256(w.Bytes())
		weight := new(big.Int).SetBytes(h[:16])
		p.sig.ScalarMultiplication(&p.sig, weight)
		p.key.ScalarMultiplication(&p.key, weight)
	}
	return heavy
}

// bisect lists, ascending, the wrong places of [from, to), which holds at least one; sound
// tells whether a part holds none. Where the left half is sound, the right is known to be
// wrong. For k wrong of m it asks at most 2k*ceil(log2(ceil(m/k))) + 2k times.
func bisect(from, to int, sound func(from, to int) bool) []int {
	if to-from <= 1 {
		return []int{from}
	}
	mid := from + (to-from)/2
	if sound(from, mid) {
		return bisect(mid, to, sound)
	}
	wrong := bisect(from, mid, sound)
	if !sound(mid, to) {
		wrong = append(wrong, bisect(mid, to, sound)...)
	}
	return wrong
}
