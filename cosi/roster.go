package cosi

import (
	"errors"
	"fmt"
	"slices"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

var (
	// ErrRoster means that members may not stand together in a roster, or that a frame names
	// another roster.
	ErrRoster = errors.New("cosi: wrong roster")
	// ErrMember means that an index is not of this roster.
	ErrMember = errors.New("cosi: no such member")
)

// Member is a participant and the key by which it cosigns. Whoever makes a roster of it has
// verified the key's proof of possession before.
type Member struct {
	ID  cypherlink.ParticipantID
	Key PublicKey
}

// Roster is who may sign certain frames, in the order of the bits of a certificate, and the
// policy that a certificate has to satisfy. What it says never changes, and it is safe for
// concurrent use. It keeps 48 to 432 KiB of precomputed lines, and remembers certificates that
// were right: make it once, use it often.
type Roster struct {
	members []Member
	index   map[cypherlink.ParticipantID]int
	policy  Policy
	root    cypherlink.Hash
	// full is the sum of all keys.
	full bls.G2Affine
	// fullLines are the lines of full, negated those of -G2.
	fullLines, negated *lineTable
	partial            tables
	right              memory
}

// NewRoster refuses with ErrRoster an empty roster, one above MaxMembers, an id twice, a key
// twice, a key and its negation, and keys that sum to the identity; with ErrKey the zero
// key; with ErrPolicy a policy that no set of these members satisfies. The members are copied.
func NewRoster(members []Member, policy Policy) (*Roster, error) {
	n := len(members)
	if n < 1 || n > MaxMembers {
		return nil, fmt.Errorf("%d members: %w", n, ErrRoster)
	}
	if err := policy.valid(n); err != nil {
		return nil, err
	}
	r := &Roster{
		members: slices.Clone(members),
		index:   make(map[cypherlink.ParticipantID]int, n),
		policy:  policy,
		right:   memory{size: rememberCertificates},
	}
	// A key and its negation share the abscissa. Together they verify the identity as a
	// signature on every frame ("splitting zero", Quan, ePrint 2021/323).
	abscissas := make(map[[PublicKeySize]byte]int, n)
	var sum bls.G2Jac
	for i, m := range r.members {
		if m.Key.point.IsInfinity() {
			return nil, fmt.Errorf("member %d, the identity: %w", i, ErrKey)
		}
		if j, ok := r.index[m.ID]; ok {
			return nil, fmt.Errorf("members %d and %d, id %s: %w", j, i, m.ID, ErrRoster)
		}
		x := m.Key.abscissa()
		if j, ok := abscissas[x]; ok {
			return nil, fmt.Errorf("members %d and %d, same or negated key: %w", j, i, ErrRoster)
		}
		r.index[m.ID], abscissas[x] = i, i
		sum.AddMixed(&m.Key.point)
	}
	r.full.FromJacobian(&sum)
	if r.full.IsInfinity() {
		return nil, fmt.Errorf("the keys sum to the identity: %w", ErrRoster)
	}
	r.fullLines, r.negated = lines(r.full), negatedGenerator()
	r.root = root(r.members, policy)
	return r, nil
}

// root is the RFC 6962 root over one leaf a member, id (32 bytes) then key (96 bytes), in
// order, and a last leaf with the canonical bytes of the policy.
func root(members []Member, policy Policy) cypherlink.Hash {
	leaves := make([]merkle.Hash, 0, len(members)+1)
	for _, m := range members {
		w := wire.NewWriter(len(m.ID) + PublicKeySize)
		key := m.Key.Bytes()
		w.Fixed(m.ID[:])
		w.Fixed(key[:])
		leaves = append(leaves, merkle.Leaf(w.Bytes()))
	}
	var w wire.Writer
	policy.AppendWire(&w)
	return merkle.Root(append(leaves, merkle.Leaf(w.Bytes())))
}

// Root is what a frame's Roster field holds: the RFC 6962 root over the leaves {id, key} in
// order, then the policy's canonical bytes.
func (r *Roster) Root() cypherlink.Hash { return r.root }

// Len is the number of members.
func (r *Roster) Len() int { return len(r.members) }

// Policy is what a certificate has to satisfy.
func (r *Roster) Policy() Policy { return r.policy }

// Member is the member whose bit is i. It panics unless 0 <= i < Len, as indexing does.
func (r *Roster) Member(i int) Member { return r.members[i] }

// Sum is the sum of all members' keys.
func (r *Roster) Sum() PublicKey { return PublicKey{point: r.full} }

// Index is the bit of a participant, and whether it is a member.
func (r *Roster) Index(id cypherlink.ParticipantID) (int, bool) {
	i, ok := r.index[id]
	return i, ok
}

// Satisfied reports ErrPolicy unless these members satisfy the policy, and ErrMember for an
// index that is not of this roster. Order and repetition do not matter.
func (r *Roster) Satisfied(signers []int) error {
	set := newBitmap(len(r.members))
	for _, i := range signers {
		if i < 0 || i >= len(r.members) {
			return fmt.Errorf("%d of %d: %w", i, len(r.members), ErrMember)
		}
		set.set(i)
	}
	return r.policy.holds(set, len(r.members))
}

// Verify accepts a certificate over f, or says why not: ErrFrame or ErrRoster for the frame,
// ErrBitmap, ErrPolicy, ErrSignature. The cheap checks come first; one pairing check is last, and
// not made again for a certificate that was right before.
func (r *Roster) Verify(f Frame, c Certificate) error {
	if err := r.admits(f); err != nil {
		return err
	}
	signers := bitmap(c.Bitmap)
	if err := signers.valid(len(r.members)); err != nil {
		return err
	}
	if err := r.policy.holds(signers, len(r.members)); err != nil {
		return err
	}
	name := []cypherlink.Hash{certificateHash(f, c)}
	if len(r.right.unknown(name)) == 0 {
		return nil
	}
	if err := r.verify(f, signers, c.Signature); err != nil {
		return err
	}
	r.right.add(name, []int{0})
	return nil
}

func (r *Roster) verify(f Frame, signers bitmap, s Signature) error {
	sig, err := s.decode()
	if err != nil {
		return err
	}
	key, err := r.keyOf(signers)
	if err != nil {
		return err
	}
	hash, err := hashFrame(f)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return check(sig, r.negated, []statement{{hash, key}}, ErrSignature)
}

// VerifyShare accepts one member's signature over f; otherwise ErrFrame, ErrRoster, ErrMember
// or ErrSignature.
func (r *Roster) VerifyShare(f Frame, index int, s Signature) error {
	if err := r.admits(f); err != nil {
		return err
	}
	if index < 0 || index >= len(r.members) {
		return fmt.Errorf("%d of %d: %w", index, len(r.members), ErrMember)
	}
	sig, err := s.decode()
	if err != nil {
		return err
	}
	hash, err := hashFrame(f)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return check(sig, r.negated, []statement{{hash, lines(r.members[index].Key.point)}}, ErrSignature)
}

// VerifyMixed accepts one sum of signatures over several frames, where signers[i] signed
// frames[i], such as timeouts that report different certificates. The frames are distinct;
// each set of signers is ascending, not empty, and disjoint from the others; together they
// satisfy the policy. Errors as in Verify.
func (r *Roster) VerifyMixed(frames []Frame, signers [][]int, s Signature) error {
	sets, all, err := r.disjoint(frames, signers)
	if err != nil {
		return err
	}
	if err := r.policy.holds(all, len(r.members)); err != nil {
		return err
	}
	sig, err := s.decode()
	if err != nil {
		return err
	}
	said := make([]statement, len(frames))
	for i, f := range frames {
		if said[i].key, err = r.keyOf(sets[i]); err != nil {
			return err
		}
		if said[i].hash, err = hashFrame(f); err != nil {
			return fmt.Errorf("%w: %w", ErrSignature, err)
		}
	}
	return check(sig, r.negated, said, ErrSignature)
}

// disjoint checks the shape of VerifyMixed's arguments and gives the sets and their union.
func (r *Roster) disjoint(frames []Frame, signers [][]int) ([]bitmap, bitmap, error) {
	n := len(r.members)
	if len(frames) != len(signers) || len(frames) > n {
		return nil, nil, fmt.Errorf("%d frames, %d sets of signers: %w",
			len(frames), len(signers), ErrBitmap)
	}
	sets, all := make([]bitmap, len(signers)), newBitmap(n)
	seen := make(map[Frame]bool, len(frames))
	for i, f := range frames {
		if err := r.admits(f); err != nil {
			return nil, nil, err
		}
		if seen[f] || len(signers[i]) == 0 {
			return nil, nil, fmt.Errorf("frame %d is repeated or has no signer: %w", i, ErrBitmap)
		}
		seen[f] = true
		sets[i] = newBitmap(n)
		for j, m := range signers[i] {
			if m < 0 || m >= n {
				return nil, nil, fmt.Errorf("%d of %d: %w", m, n, ErrMember)
			}
			if all.has(m) || j > 0 && signers[i][j-1] >= m {
				return nil, nil, fmt.Errorf("frame %d, member %d: %w", i, m, ErrBitmap)
			}
			all.set(m)
			sets[i].set(m)
		}
	}
	return sets, all, nil
}

// admits reports ErrFrame for a frame that is none, and ErrRoster for one of another roster.
func (r *Roster) admits(f Frame) error {
	if err := f.Valid(); err != nil {
		return err
	}
	if f.Roster != r.root {
		return fmt.Errorf("frame for %s, not %s: %w", f.Roster, r.root, ErrRoster)
	}
	return nil
}

// keyOf is the line table of the sum of the signers' keys, or ErrSignature if that is the identity.
func (r *Roster) keyOf(signers bitmap) (*lineTable, error) {
	present, n := signers.count(), len(r.members)
	if present == n {
		return r.fullLines, nil
	}
	var sum bls.G2Jac
	if present <= n/2 {
		for _, i := range signers.members() {
			sum.AddMixed(&r.members[i].Key.point)
		}
	} else {
		var absent bls.G2Jac
		for i := range r.members {
			if !signers.has(i) {
				absent.AddMixed(&r.members[i].Key.point)
			}
		}
		sum.FromAffine(&r.full)
		sum.SubAssign(&absent)
	}
	var key bls.G2Affine
	key.FromJacobian(&sum)
	if key.IsInfinity() {
		return nil, fmt.Errorf("the signers' keys sum to the identity: %w", ErrSignature)
	}
	return r.tableOf(signers, key), nil
}

// tableOf is the line table of key, the sum of the signers' keys.
func (r *Roster) tableOf(signers bitmap, key bls.G2Affine) *lineTable {
	if signers.count() == len(r.members) {
		return r.fullLines
	}
	return r.partial.of(signers, key)
}
