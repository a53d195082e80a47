package cosi_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
)

// committee is a roster whose secret keys the test holds.
type committee struct {
	*cosi.Roster
	keys []*sign.Key
}

func testKey(tb testing.TB, name string) *sign.Key {
	tb.Helper()
	material := sha256.Sum256([]byte(name))
	k, err := sign.DeriveKey(material[:])
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func testID(name string) cypherlink.ParticipantID { return sha256.Sum256([]byte("id " + name)) }

func newCommittee(tb testing.TB, n int, policy cosi.Policy) committee {
	tb.Helper()
	var c committee
	members := make([]cosi.Member, n)
	for i := range members {
		name := fmt.Sprint("member ", i)
		k := testKey(tb, name)
		c.keys = append(c.keys, k)
		members[i] = cosi.Member{ID: testID(name), Key: k.Public()}
	}
	r, err := cosi.NewRoster(members, policy)
	if err != nil {
		tb.Fatal(err)
	}
	c.Roster = r
	return c
}

// vote is a frame that this committee may sign.
func (c committee) vote(view uint64) cosi.Frame {
	return cosi.Frame{
		Type: cosi.Vote, Network: cypherlink.NewNetworkID([]byte("{}")), Epoch: 7, Roster: c.Root(),
		Scope: sha256.Sum256([]byte("chain")), Sequence: view, Payload: sha256.Sum256([]byte("tuple")),
	}
}

func (c committee) share(tb testing.TB, i int, f cosi.Frame) cosi.Signature {
	tb.Helper()
	s, err := c.keys[i].SignRecorded(f)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func (c committee) shares(tb testing.TB, f cosi.Frame, signers ...int) map[int]cosi.Signature {
	tb.Helper()
	out := make(map[int]cosi.Signature, len(signers))
	for _, i := range signers {
		out[i] = c.share(tb, i, f)
	}
	return out
}

func (c committee) certify(tb testing.TB, f cosi.Frame, signers ...int) cosi.Certificate {
	tb.Helper()
	cert, blamed, err := c.Aggregate(f, c.shares(tb, f, signers...))
	if err != nil || len(blamed) > 0 {
		tb.Fatalf("blamed %v: %v", blamed, err)
	}
	return cert
}

// sum adds signatures without any check.
func sum(tb testing.TB, sigs ...cosi.Signature) cosi.Signature {
	tb.Helper()
	var total bls.G1Affine
	for _, s := range sigs {
		var p bls.G1Affine
		if _, err := p.SetBytes(s[:]); err != nil {
			tb.Fatal(err)
		}
		total.Add(&total, &p)
	}
	return total.Bytes()
}

// upTo is 0 to n-1.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// bitmapOf is the bitmap of signers in a roster of n.
func bitmapOf(n int, signers ...int) []byte {
	out := make([]byte, (n+7)/8)
	for _, i := range signers {
		out[i/8] |= 1 << (i % 8)
	}
	return out
}

// rawKey is a secret key as the attacker has it: a number, in the verifier's own library.
type rawKey struct{ fr.Element }

func newRawKey(seed string) rawKey {
	var k rawKey
	h := sha256.Sum256([]byte(seed))
	k.SetBytes(h[:])
	return k
}

func (k rawKey) number() *big.Int { return k.BigInt(new(big.Int)) }

// point is the public key, unchecked.
func (k rawKey) point() bls.G2Affine {
	_, _, _, g := bls.Generators()
	var p bls.G2Affine
	p.ScalarMultiplication(&g, k.number())
	return p
}

func (k rawKey) public(tb testing.TB) cosi.PublicKey {
	tb.Helper()
	return parse(tb, k.point())
}

func parse(tb testing.TB, p bls.G2Affine) cosi.PublicKey {
	tb.Helper()
	b := p.Bytes()
	k, err := cosi.ParsePublicKey(b[:])
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func (k rawKey) sign(tb testing.TB, message []byte, suite string) [48]byte {
	tb.Helper()
	h, err := bls.HashToG1(message, []byte(suite))
	if err != nil {
		tb.Fatal(err)
	}
	var s bls.G1Affine
	s.ScalarMultiplication(&h, k.number())
	return s.Bytes()
}

func (k rawKey) signFrame(tb testing.TB, f cosi.Frame) cosi.Signature {
	tb.Helper()
	b := f.Encode()
	return k.sign(tb, b[:], cosi.SignatureSuite)
}

func (k rawKey) possession(tb testing.TB) cosi.Possession {
	tb.Helper()
	p := k.point()
	b := p.Bytes()
	return k.sign(tb, b[:], cosi.PossessionSuite)
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b := make([]byte, len(s)/2)
	if err := cypherlink.DecodeHex(b, []byte(s)); err != nil {
		tb.Fatalf("%.40s: %v", s, err)
	}
	return b
}

// A certificate that was right is not verified again; whatever differs from it is.
func TestARosterRemembersNoOtherCertificate(t *testing.T) {
	c := newCommittee(t, 4, cosi.Threshold(3))
	f := c.vote(1)
	right := c.certify(t, f, 0, 1, 3)
	for range 2 {
		if err := c.Verify(f, right); err != nil {
			t.Fatal(err)
		}
		other := right
		other.Bitmap = bitmapOf(4, 0, 1, 2)
		if err := c.Verify(f, other); !errors.Is(err, cosi.ErrSignature) {
			t.Errorf("other signers: %v", err)
		}
		if err := c.Verify(c.vote(2), right); !errors.Is(err, cosi.ErrSignature) {
			t.Errorf("another frame: %v", err)
		}
		other = c.certify(t, c.vote(2), 0, 1, 3)
		if err := c.Verify(f, other); !errors.Is(err, cosi.ErrSignature) {
			t.Errorf("another signature: %v", err)
		}
	}
}
