package cosi_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"

	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// A1 to A15 are the names of the attacks in the design; each test says what mallory does.

// A1: a signature obtained for one type of message never stands for another, whatever the
// attacker puts in the other fields that it may choose.
func TestA1SignatureOfOneTypeNeverStandsForAnother(t *testing.T) {
	c := newCommittee(t, 1, cosi.All())
	id, err := sign.GenerateIdentity(strings.NewReader(strings.Repeat("seed", 8)))
	if err != nil {
		t.Fatal(err)
	}
	for from := cosi.Checkpoint; from <= cosi.LaneUpdate; from++ {
		f := c.vote(1)
		f.Type, f.Epoch = from, 0
		s := c.share(t, 0, f)
		if err := c.VerifyShare(f, 0, s); err != nil {
			t.Fatalf("type %#x: %v", from, err)
		}
		own, err := id.SignRecorded(f)
		if err != nil || cosi.VerifyEd25519(id.Public(), f, own) != nil {
			t.Fatalf("type %#x: %v", from, err)
		}
		for to := cosi.Checkpoint; to <= cosi.LaneUpdate; to++ {
			if to == from {
				continue
			}
			other := f
			other.Type = to
			if err := cosi.VerifyEd25519(id.Public(), other, own); !errors.Is(err, cosi.ErrSignature) {
				t.Fatalf("type %#x verifies as %#x: %v", from, to, err)
			}
			near := to == from%cosi.LaneUpdate+1
			if testing.Short() && !near {
				continue
			}
			if err := c.VerifyShare(other, 0, s); !errors.Is(err, cosi.ErrSignature) {
				t.Fatalf("type %#x verifies as %#x: %v", from, to, err)
			}
		}
	}
}

// A1: a signature is never a proof of possession, and the reverse.
func TestA1SignatureIsNoProofOfPossession(t *testing.T) {
	k := newRawKey("mallory")
	b := k.public(t).Bytes()
	pop := cosi.Possession(k.sign(t, b[:], cosi.SignatureSuite))
	if err := cosi.VerifyPossession(k.public(t), pop); !errors.Is(err, cosi.ErrPossession) {
		t.Fatal(err)
	}
	err := cosi.VerifyMessage(k.public(t), b[:], cosi.SignatureSuite, cosi.Signature(k.possession(t)))
	if !errors.Is(err, cosi.ErrSignature) {
		t.Fatal(err)
	}
}

// A2: mallory registers x*G - victim and signs for both. It works if nobody asks for the
// proof of possession (the positive control), and she has none.
func TestA2RogueKeyHasNoProofOfPossession(t *testing.T) {
	victim := testKey(t, "victim").Public()
	x := newRawKey("mallory")
	victimPoint, point := pointOf(t, victim), x.point()
	point.Sub(&point, &victimPoint)
	rogue := parse(t, point)
	r, err := cosi.NewRoster([]cosi.Member{
		{ID: testID("victim"), Key: victim},
		{ID: testID("mallory"), Key: rogue},
	}, cosi.All())
	if err != nil {
		t.Fatal(err)
	}
	f := cosi.Frame{Type: cosi.Terms, Roster: r.Root()}
	forged := cosi.Certificate{Bitmap: []byte{3}, Signature: x.signFrame(t, f)}
	if err := r.Verify(f, forged); err != nil {
		t.Fatalf("the attack does not work even without proofs: %v", err)
	}
	b := rogue.Bytes()
	for name, pop := range map[string]cosi.Possession{
		"x over the rogue key":      x.sign(t, b[:], cosi.PossessionSuite),
		"x over its own key":        x.possession(t),
		"the victim's":              testKey(t, "victim").Possession(),
		"the difference of the two": subtract(t, x.possession(t), testKey(t, "victim").Possession()),
	} {
		if err := cosi.VerifyPossession(rogue, pop); !errors.Is(err, cosi.ErrPossession) {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func pointOf(tb testing.TB, k cosi.PublicKey) bls.G2Affine {
	tb.Helper()
	var p bls.G2Affine
	b := k.Bytes()
	if _, err := p.SetBytes(b[:]); err != nil {
		tb.Fatal(err)
	}
	return p
}

func subtract(tb testing.TB, a, b cosi.Possession) cosi.Possession {
	tb.Helper()
	var p, q bls.G1Affine
	if _, err := p.SetBytes(a[:]); err != nil {
		tb.Fatal(err)
	}
	if _, err := q.SetBytes(b[:]); err != nil {
		tb.Fatal(err)
	}
	p.Sub(&p, &q)
	return p.Bytes()
}

// A3: two keys with valid proofs that sum to zero.
func TestA3KeyAndItsNegationDoNotStandTogether(t *testing.T) {
	v := loadVectors(t)
	p := vectorKey(t, v.Keys[0].PK)
	n := vectorKey(t, v.SplittingZero.PK)
	if err := cosi.VerifyPossession(n, cosi.Possession(unhex(t, v.SplittingZero.PoP))); err != nil {
		t.Fatalf("the attacker's proof is valid: %v", err)
	}
	if cosi.SumKeys(p, n) != (cosi.PublicKey{}) {
		t.Fatal("the vector's keys do not sum to zero")
	}
	honest := cosi.Member{ID: testID("honest"), Key: testKey(t, "honest").Public()}
	if !p.Rivals(n) || !n.Rivals(p) || !p.Rivals(p) || p.Rivals(honest.Key) {
		t.Fatal("a registry cannot tell a key's rivals")
	}
	for _, members := range [][]cosi.Member{
		{{ID: testID("a"), Key: p}, {ID: testID("b"), Key: n}},
		{{ID: testID("a"), Key: p}, honest, {ID: testID("b"), Key: n}},
		{{ID: testID("a"), Key: p}, honest, {ID: testID("b"), Key: p}},
	} {
		if _, err := cosi.NewRoster(members, cosi.Threshold(1)); !errors.Is(err, cosi.ErrRoster) {
			t.Fatal(err)
		}
	}
}

// cancelling is a roster of three keys that sum to zero, beside honest ones.
func cancelling(t *testing.T, honest int, policy cosi.Policy) (committee, []rawKey) {
	t.Helper()
	p, q := newRawKey("p"), newRawKey("q")
	var r rawKey
	r.Add(&p.Element, &q.Element)
	r.Neg(&r.Element)
	bad := []rawKey{p, q, r}
	var c committee
	var members []cosi.Member
	for i, k := range bad {
		if err := cosi.VerifyPossession(k.public(t), k.possession(t)); err != nil {
			t.Fatal(err)
		}
		members = append(members, cosi.Member{ID: testID(fmt.Sprint("bad ", i)), Key: k.public(t)})
		c.keys = append(c.keys, nil)
	}
	for i := range honest {
		name := fmt.Sprint("honest ", i)
		k := testKey(t, name)
		members = append(members, cosi.Member{ID: testID(name), Key: k.Public()})
		c.keys = append(c.keys, k)
	}
	var err error
	if c.Roster, err = cosi.NewRoster(members, policy); err != nil {
		t.Fatal(err)
	}
	return c, bad
}

// A3: three keys with valid proofs that sum to zero. No pair of them shows it, so the sum is
// refused where it appears.
func TestA3ThreeKeysThatSumToTheIdentity(t *testing.T) {
	c, bad := cancelling(t, 2, cosi.Threshold(3))
	f := c.vote(9)
	identity := cosi.Signature{0xc0}
	zero := cosi.Certificate{Bitmap: bitmapOf(5, 0, 1, 2), Signature: identity}
	if err := c.Verify(f, zero); !errors.Is(err, cosi.ErrSignature) {
		t.Fatalf("identity signature: %v", err)
	}
	zero.Signature = c.share(t, 3, f)
	if err := c.Verify(f, zero); !errors.Is(err, cosi.ErrSignature) {
		t.Fatalf("identity key: %v", err)
	}
	members := []cosi.Member{c.Member(0), c.Member(1), c.Member(2)}
	if _, err := cosi.NewRoster(members, cosi.All()); !errors.Is(err, cosi.ErrRoster) {
		t.Fatalf("a roster whose keys sum to the identity: %v", err)
	}
	// In a mixed certificate they would stand for a frame that nothing binds them to.
	high := c.vote(10)
	if err := c.VerifyMixed([]cosi.Frame{f, high}, [][]int{{3}, {0, 1, 2}}, c.share(t, 3, f)); !errors.Is(
		err, cosi.ErrSignature) {
		t.Fatalf("mixed: %v", err)
	}
	// Nor do they spoil the certificate of the others.
	shares := map[int]cosi.Share{
		3: {Frame: f, Signature: c.share(t, 3, f)},
		4: {Frame: f, Signature: c.share(t, 4, f)},
	}
	for i, k := range bad {
		shares[i] = cosi.Share{Frame: high, Signature: k.signFrame(t, high)}
	}
	_, blamed, err := c.AggregateMixed(shares)
	if !slices.Equal(blamed, []int{0, 1, 2}) || !errors.Is(err, cosi.ErrPolicy) {
		t.Fatalf("blamed %v: %v", blamed, err)
	}
}

// A3: one wrong share beside them must not turn the search against an honest member.
func TestA3CancellingKeysDoNotHaveAnHonestMemberBlamed(t *testing.T) {
	c, bad := cancelling(t, 4, cosi.Threshold(3))
	f, high := c.vote(9), c.vote(10)
	shares := map[int]cosi.Share{6: {Frame: high, Signature: c.share(t, 6, f)}}
	for i := 3; i < 6; i++ {
		shares[i] = cosi.Share{Frame: f, Signature: c.share(t, i, f)}
	}
	for i, k := range bad {
		shares[i] = cosi.Share{Frame: high, Signature: k.signFrame(t, high)}
	}
	cert, blamed, err := c.AggregateMixed(shares)
	if err != nil || !slices.Equal(blamed, []int{0, 1, 2, 6}) {
		t.Fatalf("blamed %v: %v", blamed, err)
	}
	if err := c.Verify(f, cert); err != nil {
		t.Fatal(err)
	}
}

// A4: every malformed point is refused, as a key and as a signature.
func TestA4MalformedPoints(t *testing.T) {
	_, _, g1, g2 := bls.Generators()
	good1, good2 := g1.Bytes(), g2.Bytes()
	var e fp.Element
	e.SetUint64(5)
	outside1Jac, outside2Jac := bls.GeneratePointNotInG1(e), bls.GeneratePointNotInG2(bls.E2{A0: e})
	var outside1 bls.G1Affine
	var outside2 bls.G2Affine
	outside1.FromJacobian(&outside1Jac)
	outside2.FromJacobian(&outside2Jac)
	o1, o2 := outside1.Bytes(), outside2.Bytes()
	if !outside1.IsOnCurve() || !outside2.IsOnCurve() {
		t.Fatal("the points outside the subgroup are not on the curve")
	}
	type point struct {
		name string
		sig  []byte
		key  []byte
	}
	with := func(b []byte, edit func(b []byte)) []byte {
		b = slices.Clone(b)
		edit(b)
		return b
	}
	modulus := fp.Modulus().FillBytes(make([]byte, 48))
	tests := []point{
		{
			"the identity", append([]byte{0xc0}, make([]byte, 47)...),
			append([]byte{0xc0}, make([]byte, 95)...),
		},
		{
			"the identity with the sign flag", append([]byte{0xe0}, make([]byte, 47)...),
			append([]byte{0xe0}, make([]byte, 95)...),
		},
		{
			"the identity with another bit", append([]byte{0xc0}, append(make([]byte, 46), 1)...),
			append([]byte{0xc0}, append(make([]byte, 94), 1)...),
		},
		{
			"the identity without the compressed flag", append([]byte{0x40}, make([]byte, 47)...),
			append([]byte{0x40}, make([]byte, 95)...),
		},
		{"zeros", make([]byte, 48), make([]byte, 96)},
		{
			"x = p", with(modulus, func(b []byte) { b[0] |= 0x80 }),
			with(append(slices.Clone(modulus), good2[48:]...), func(b []byte) { b[0] |= 0x80 }),
		},
		{"the second half of x = p", nil, append(slices.Clone(good2[:48]), modulus...)},
		{
			"all ones", with(make([]byte, 48), func(b []byte) { fill(b, 0xff) }),
			with(make([]byte, 96), func(b []byte) { fill(b, 0xff) }),
		},
		{"a point outside the subgroup", o1[:], o2[:]},
		{"a point off the curve", offCurve(48), offCurve(96)},
		{"one byte less", good1[:47], good2[:95]},
		{"one byte more", append(slices.Clone(good1[:]), 0), append(slices.Clone(good2[:]), 0)},
		{"uncompressed", raw1(g1), raw2(g2)},
		{"a key for a signature and the reverse", good2[:], good1[:]},
		{"nothing", []byte{}, []byte{}},
	}
	for flags := range 8 {
		if flags == 4 || flags == 5 {
			continue // compressed, either sign
		}
		edit := func(b []byte) { b[0] = b[0]&0x1f | byte(flags)<<5 }
		name := fmt.Sprintf("flags %03b", flags)
		tests = append(tests, point{name, with(good1[:], edit), with(good2[:], edit)})
	}
	c := newCommittee(t, 1, cosi.All())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := cosi.ParsePublicKey(tt.key); !errors.Is(err, cosi.ErrKey) {
				t.Errorf("as a key: %v", err)
			}
			if len(tt.sig) != 48 {
				return // no cosi.Signature
			}
			s, f := cosi.Signature(tt.sig), c.vote(1)
			if err := c.VerifyShare(f, 0, s); !errors.Is(err, cosi.ErrSignature) {
				t.Errorf("as a share: %v", err)
			}
			err := c.Verify(f, cosi.Certificate{Bitmap: []byte{1}, Signature: s})
			if !errors.Is(err, cosi.ErrSignature) {
				t.Errorf("as a certificate: %v", err)
			}
			if err := c.VerifyMixed([]cosi.Frame{f}, [][]int{{0}}, s); !errors.Is(err, cosi.ErrSignature) {
				t.Errorf("as a mixed certificate: %v", err)
			}
			err = cosi.VerifyPossession(c.Member(0).Key, cosi.Possession(s))
			if !errors.Is(err, cosi.ErrPossession) {
				t.Errorf("as a proof: %v", err)
			}
			_, blamed, err := c.Aggregate(f, map[int]cosi.Signature{0: s})
			if !errors.Is(err, cosi.ErrPolicy) || !slices.Equal(blamed, []int{0}) {
				t.Errorf("aggregated, blamed %v: %v", blamed, err)
			}
			good := cosi.Certificate{Bitmap: []byte{2}, Signature: c.share(t, 0, f)}
			bad := cosi.Certificate{Bitmap: []byte{1}, Signature: s}
			if _, err := cosi.Merge(good, bad); !errors.Is(err, cosi.ErrSignature) {
				t.Errorf("merged: %v", err)
			}
			if _, err := cosi.Merge(bad, good); !errors.Is(err, cosi.ErrSignature) {
				t.Errorf("merged first: %v", err)
			}
		})
	}
	for _, b := range [][]byte{good1[:], with(good1[:], func(b []byte) { b[0] ^= 0x20 })} {
		if _, err := cosi.DecodeSignature(cosi.Signature(b)); err != nil {
			t.Fatal(err)
		}
	}
}

// A4: a zero PublicKey, which no parser gives, is refused where it is used.
func TestA4ZeroKey(t *testing.T) {
	var zero cosi.PublicKey
	if err := cosi.VerifyPossession(zero, cosi.Possession{0xc0}); !errors.Is(err, cosi.ErrKey) {
		t.Fatal(err)
	}
	if _, err := cosi.NewRoster([]cosi.Member{{Key: zero}}, cosi.All()); !errors.Is(err, cosi.ErrKey) {
		t.Fatal(err)
	}
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// offCurve is the first compressed x without a y.
func offCurve(size int) []byte {
	b := make([]byte, size)
	b[0] = 0x80
	for v := byte(1); ; v++ {
		b[size-1] = v
		var p1 bls.G1Affine
		var p2 bls.G2Affine
		_, err := p1.SetBytes(b)
		if size == 96 {
			_, err = p2.SetBytes(b)
		}
		if err != nil && err.Error() == "invalid compressed coordinate: square root doesn't exist" {
			return b
		}
	}
}

func raw1(p bls.G1Affine) []byte { b := p.RawBytes(); return b[:] }

func raw2(p bls.G2Affine) []byte { b := p.RawBytes(); return b[:] }

// A point of another encoding never reaches the wire format either.
func TestA4CertificateBytes(t *testing.T) {
	c := newCommittee(t, 4, cosi.Threshold(3))
	var w wire.Writer
	c.certify(t, c.vote(1), 0, 1, 2).AppendWire(&w)
	good := w.Bytes()
	for name, b := range map[string][]byte{
		"cut":                               good[:len(good)-1],
		"one byte more":                     append(slices.Clone(good), 0),
		"a bitmap of 4 GiB":                 append([]byte{255, 255, 255, 255}, good[4:]...),
		"a bitmap above the largest roster": append([]byte{0, 0, 8, 1}, make([]byte, 2049+48)...),
	} {
		r := wire.NewReader(b)
		cosi.ReadCertificate(r)
		if r.End() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
