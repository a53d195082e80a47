package cosi

import (
	"errors"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/cypherlink/cypherlink"
)

var (
	// ErrKey means that bytes are not a public key that may be registered.
	ErrKey = errors.New("cosi: not a public key")
	// ErrPossession means that a proof of possession does not belong to its key.
	ErrPossession = errors.New("cosi: wrong proof of possession")
	// ErrSignature means that bytes are not a signature, or not one by these keys over this
	// frame.
	ErrSignature = errors.New("cosi: wrong signature")
)

// Lengths of the compressed encodings, in bytes.
const (
	PublicKeySize = 96
	SignatureSize = 48
)

// The two ciphersuites of draft-irtf-cfrg-bls-signature-06 section 4.2.3, unchanged, so that
// other people's verifiers accept what we sign. They differ, so a signature is never a proof
// of possession, nor the reverse.
const (
	SignatureSuite  = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
	PossessionSuite = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_"
)

// PublicKey is a BLS12-381 key in G2 that passed KeyValidate (draft section 2.5): on the
// curve, in the subgroup, not the identity. Equal keys are ==. The zero value is no key and
// is refused wherever it is used.
type PublicKey struct{ point bls.G2Affine }

// Signature is a compressed point of G1. It is checked when it is used, not before.
type Signature [SignatureSize]byte

// Possession is the signature of a key over its own 96 bytes, under PossessionSuite: it
// shows that the registrant knows the secret key, which defeats rogue keys (draft section 3.3).
type Possession [SignatureSize]byte

// String is the lower-case hexadecimal form.
func (s Signature) String() string { return string(cypherlink.AppendHex(nil, s[:])) }

// String is the lower-case hexadecimal form.
func (p Possession) String() string { return string(cypherlink.AppendHex(nil, p[:])) }

// ParsePublicKey takes exactly the 96 bytes of Bytes; otherwise ErrKey.
func ParsePublicKey(b []byte) (PublicKey, error) {
	var k PublicKey
	if len(b) != PublicKeySize {
		return PublicKey{}, fmt.Errorf("%d bytes: %w", len(b), ErrKey)
	}
	// SetBytes refuses x >= p, wrong flags, points off the curve and outside the subgroup. It
	// accepts the identity. Uncompressed points are longer than what it is given here.
	if _, err := k.point.SetBytes(b); err != nil {
		return PublicKey{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if k.point.IsInfinity() {
		return PublicKey{}, fmt.Errorf("the identity: %w", ErrKey)
	}
	return k, nil
}

// Bytes is the compressed form.
func (k PublicKey) Bytes() [PublicKeySize]byte { return k.point.Bytes() }

// String is the lower-case hexadecimal form.
func (k PublicKey) String() string {
	b := k.Bytes()
	return string(cypherlink.AppendHex(nil, b[:]))
}

// abscissa is the x-coordinate, which a key shares with its negation alone.
func (k PublicKey) abscissa() [PublicKeySize]byte {
	b := k.point.Bytes()
	b[0] &= 0x1f // the three flag bits
	return b
}

// Rivals tells whether the two keys may not both be registered: they are the same, or one is the
// other's negation, so that their signatures cancel out ("splitting zero", Quan, ePrint 2021/323).
func (k PublicKey) Rivals(other PublicKey) bool { return k.point.X.Equal(&other.point.X) }

// VerifyPossession is PopVerify (draft section 3.3.3): nil, or ErrPossession. A key may join
// a roster only after it. Costs two pairings.
func VerifyPossession(k PublicKey, p Possession) error {
	if k.point.IsInfinity() {
		return fmt.Errorf("the identity: %w", ErrKey)
	}
	point, err := Signature(p).decode()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPossession, err)
	}
	b := k.Bytes()
	hash, err := bls.HashToG1(b[:], []byte(PossessionSuite))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPossession, err)
	}
	return check(point, negatedGenerator(), []statement{{hash, lines(k.point)}}, ErrPossession)
}

// decode is the point, or ErrSignature. It refuses the identity, which would verify under a
// set of keys that cancel out.
func (s Signature) decode() (bls.G1Affine, error) {
	var p bls.G1Affine
	if _, err := p.SetBytes(s[:]); err != nil {
		return bls.G1Affine{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if p.IsInfinity() {
		return bls.G1Affine{}, fmt.Errorf("the identity: %w", ErrSignature)
	}
	return p, nil
}
