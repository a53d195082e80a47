package cosi

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrBitmap means that a bitmap is not the one form of a set of the roster's members, or
// that two sets of signers are not disjoint.
var ErrBitmap = errors.New("cosi: malformed bitmap")

// MaxMembers bounds a roster, so a bitmap takes at most 2 KiB.
const MaxMembers = 1 << 14

// Certificate is the sum of some members' signatures over one frame, and who they are. It
// says nothing before Roster.Verify has accepted it.
type Certificate struct {
	// Bitmap has ceil(n/8) bytes for a roster of n: member i is the bit 1<<(i%8) of byte
	// i/8, and the bits from n on are zero. There is no other form.
	Bitmap []byte
	// Signature is the sum of the signatures of those members.
	Signature Signature
}

// Signers lists the members whose bits are set, ascending.
func (c Certificate) Signers() []int { return bitmap(c.Bitmap).members() }

// AppendWire appends the bitmap behind its 32-bit length, and the signature.
func (c Certificate) AppendWire(w *wire.Writer) {
	w.Var(c.Bitmap)
	w.Fixed(c.Signature[:])
}

// ReadCertificate reads what AppendWire wrote. The bitmap is a copy. Whether it fits a
// roster, only Roster.Verify knows.
func ReadCertificate(r *wire.Reader) Certificate {
	c := Certificate{Bitmap: slices.Clone(r.Var(MaxMembers / 8))}
	r.Fixed(c.Signature[:])
	return c
}

// Merge adds two certificates over the same frame and roster whose signers are disjoint. It
// refuses a common signer with ErrBitmap, whose signature would count twice and never verify,
// and a signature that is no point with ErrSignature. It does not verify.
func Merge(a, b Certificate) (Certificate, error) {
	if len(a.Bitmap) != len(b.Bitmap) {
		return Certificate{}, fmt.Errorf("%d and %d bytes: %w", len(a.Bitmap), len(b.Bitmap), ErrBitmap)
	}
	both := make(bitmap, len(a.Bitmap))
	for i := range both {
		if twice := a.Bitmap[i] & b.Bitmap[i]; twice != 0 {
			m := 8*i + bits.TrailingZeros8(twice)
			return Certificate{}, fmt.Errorf("member %d is in both: %w", m, ErrBitmap)
		}
		both[i] = a.Bitmap[i] | b.Bitmap[i]
	}
	p, err := a.Signature.decode()
	if err != nil {
		return Certificate{}, err
	}
	q, err := b.Signature.decode()
	if err != nil {
		return Certificate{}, err
	}
	var sum bls.G1Affine
	sum.Add(&p, &q)
	return Certificate{Bitmap: both, Signature: sum.Bytes()}, nil
}

// bitmap is a set of members.
type bitmap []byte

func newBitmap(n int) bitmap { return make(bitmap, (n+7)/8) }

func (b bitmap) set(i int) { b[i/8] |= 1 << (i % 8) }

func (b bitmap) has(i int) bool { return b[i/8]>>(i%8)&1 == 1 }

func (b bitmap) count() int {
	n := 0
	for _, v := range b {
		n += bits.OnesCount8(v)
	}
	return n
}

func (b bitmap) members() []int {
	out := make([]int, 0, b.count())
	for i, v := range b {
		for ; v != 0; v &= v - 1 {
			out = append(out, 8*i+bits.TrailingZeros8(v))
		}
	}
	return out
}

// valid reports ErrBitmap unless b is the one form of a set of members of a roster of n.
func (b bitmap) valid(n int) error {
	if len(b) != (n+7)/8 {
		return fmt.Errorf("%d bytes for %d members: %w", len(b), n, ErrBitmap)
	}
	if n%8 != 0 && b[len(b)-1]>>(n%8) != 0 {
		return fmt.Errorf("a bit beyond %d members: %w", n, ErrBitmap)
	}
	return nil
}
