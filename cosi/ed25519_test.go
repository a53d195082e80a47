package cosi_test

import (
	stdlib "crypto/ed25519"
	"crypto/sha512"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

func testIdentity(tb testing.TB, name string) *sign.Identity {
	tb.Helper()
	id, err := sign.GenerateIdentity(newSeed(name))
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func TestWycheproofEd25519(t *testing.T) {
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			PublicKey struct{ PK string }
			Tests     []struct {
				TcID              int `json:"tcId"`
				Comment, Msg, Sig string
				Result            string
			}
		}
	}
	vectors.JSON(t, "vectors/ed25519/wycheproof_ed25519.json", &file)
	ran := 0
	for _, g := range file.TestGroups {
		key := [32]byte(unhex(t, g.PublicKey.PK))
		for _, tt := range g.Tests {
			ran++
			sig, msg := unhex(t, tt.Sig), unhex(t, tt.Msg)
			if len(sig) != 64 {
				if tt.Result != "invalid" { // such bytes are no [64]byte
					t.Errorf("%d %s: a signature of %d bytes is valid", tt.TcID, tt.Comment, len(sig))
				}
				continue
			}
			// The cofactored rule differs from the expected results nowhere in this file.
			single := cosi.VerifyEd25519Message(key, msg, [64]byte(sig))
			if single != (tt.Result == "valid") {
				t.Errorf("%d %s: %t, want %s", tt.TcID, tt.Comment, single, tt.Result)
			}
			one := []cosi.IdentitySignature{{Key: key, Signature: [64]byte(sig)}}
			if batch := len(cosi.VerifyEd25519Messages(one, [][]byte{msg})) == 0; batch != single {
				t.Errorf("%d %s: batch says %t", tt.TcID, tt.Comment, batch)
			}
		}
	}
	if ran != file.NumberOfTests || ran == 0 {
		t.Fatalf("%d of %d tests ran", ran, file.NumberOfTests)
	}
}

// edge is a signature at the edge of the rule.
type edge struct {
	key     [32]byte
	message []byte
	sig     [64]byte
	want    bool
}

// edges are signatures with parts of small and of mixed order, and with encodings that are
// not canonical. Mallory knows every secret.
func edges(t *testing.T) map[string]edge {
	t.Helper()
	message := []byte("a frame")
	torsion := func(i int) *curve.EdwardsPoint { return curve.EIGHT_TORSION[i] }
	out := map[string]edge{
		"honest":                        crafted(t, message, nil, nil),
		"R of mixed order":              withWant(crafted(t, message, nil, torsion(1)), true),
		"A of mixed order":              withWant(crafted(t, message, torsion(1), nil), true),
		"A and R of mixed order":        withWant(crafted(t, message, torsion(1), torsion(3)), true),
		"A of mixed order 2":            withWant(crafted(t, message, torsion(4), nil), true),
		"another message":               withMessage(crafted(t, message, torsion(1), torsion(3)), "another"),
		"zero key, zero signature":      {},
		"R is the identity, A honest":   smallR(t, message, torsion(0), true),
		"R of small order, A honest":    smallR(t, message, torsion(5), true),
		"S is the group order too much": malleated(crafted(t, message, nil, nil)),
	}
	for i := range 8 {
		// S = 0 and R of small order satisfy the cofactored equation for every message.
		e := edge{message: message}
		e.key, e.sig = encode(torsion(i)), [64]byte{}
		r := encode(torsion((i + 3) % 8))
		copy(e.sig[:], r[:])
		out[fmt.Sprint("A of small order ", i)] = e
	}
	// y = p+1 decodes to the identity, y = 2^255-19 = p to (x, 0).
	one, p := [32]byte{0: 0xee, 31: 0x7f}, [32]byte{0: 0xed, 31: 0x7f}
	for i := 1; i < 31; i++ {
		one[i], p[i] = 0xff, 0xff
	}
	honest := crafted(t, message, nil, nil).key
	e := finishBytes(t, message, number(t, "a"), scalar.New(), honest, one)
	out["R is the identity, not canonical"] = withWant(e, false)
	out["A is the identity, not canonical"] = edge{key: one, message: message, sig: [64]byte{0: 1}}
	out["A is p, not canonical"] = edge{key: p, message: message, sig: [64]byte{0: 1}}
	return out
}

func withWant(e edge, want bool) edge { e.want = want; return e }

func withMessage(e edge, m string) edge { e.message, e.want = []byte(m), false; return e }

func encode(p *curve.EdwardsPoint) [32]byte {
	var c curve.CompressedEdwardsY
	c.SetEdwardsPoint(p)
	return [32]byte(c)
}

func number(t *testing.T, seed string) *scalar.Scalar {
	t.Helper()
	h := sha512.Sum512([]byte(seed))
	s, err := scalar.New().SetBytesModOrderWide(h[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// crafted signs with A = aB + tA and R = rB + tR, S = r + ka, which satisfies the cofactored
// equation for every tA and tR of small order.
func crafted(t *testing.T, message []byte, tA, tR *curve.EdwardsPoint) edge {
	t.Helper()
	a, r := number(t, "a"), number(t, "r")
	var bigA, bigR curve.EdwardsPoint
	bigA.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, a)
	bigR.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, r)
	if tA != nil {
		bigA.Add(&bigA, tA)
	}
	if tR != nil {
		bigR.Add(&bigR, tR)
	}
	return finish(t, message, a, r, &bigA, &bigR)
}

// smallR signs with R of small order, r = 0.
func smallR(t *testing.T, message []byte, bigR *curve.EdwardsPoint, want bool) edge {
	t.Helper()
	a := number(t, "a")
	var bigA curve.EdwardsPoint
	bigA.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, a)
	return withWant(finish(t, message, a, scalar.New(), &bigA, bigR), want)
}

func finish(t *testing.T, message []byte, a, r *scalar.Scalar, bigA, bigR *curve.EdwardsPoint) edge {
	t.Helper()
	return finishBytes(t, message, a, r, encode(bigA), encode(bigR))
}

func finishBytes(t *testing.T, message []byte, a, r *scalar.Scalar, key, encodedR [32]byte) edge {
	t.Helper()
	e := edge{key: key, message: message, want: true}
	h := sha512.New()
	h.Write(encodedR[:])
	h.Write(e.key[:])
	h.Write(message)
	k, err := scalar.New().SetBytesModOrderWide(h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	s := scalar.New().Mul(k, a)
	s.Add(s, r)
	copy(e.sig[:], encodedR[:])
	if err := s.ToBytes(e.sig[32:]); err != nil {
		t.Fatal(err)
	}
	return e
}

// malleated adds the group order to S.
func malleated(e edge) edge {
	order := []byte{
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
		31: 0x10,
	}
	carry := 0
	for i, v := range order {
		carry += int(e.sig[32+i]) + int(v)
		e.sig[32+i] = byte(carry)
		carry >>= 8
	}
	e.want = false
	return e
}

// Single and batch verification give one verdict, alone and beside any other signature, and
// it is the cofactored one with a key that is not of small order.
func TestEd25519OneVerdictAtTheEdges(t *testing.T) {
	all := edges(t)
	names := slices.Sorted(maps.Keys(all))
	differs := 0
	for _, name := range names {
		e := all[name]
		if got := cosi.VerifyEd25519Message(e.key, e.message, e.sig); got != e.want {
			t.Errorf("%s: %t, want %t", name, got, e.want)
		}
		if stdlib.Verify(e.key[:], e.message, e.sig[:]) != e.want {
			differs++
			t.Logf("%s: the standard library's cofactorless rule says %t", name, !e.want)
		}
	}
	if differs == 0 {
		t.Error("no case tells the cofactored rule from the cofactorless one")
	}
	rapid.Check(t, func(t *rapid.T) {
		picked := rapid.SliceOfN(rapid.SampledFrom(names), 1, 12).Draw(t, "batch")
		var batch []cosi.IdentitySignature
		var messages [][]byte
		var want []int
		for i, name := range picked {
			e := all[name]
			batch = append(batch, cosi.IdentitySignature{Key: e.key, Signature: e.sig})
			messages = append(messages, append([]byte{}, e.message...))
			if !e.want {
				want = append(want, i)
			}
		}
		if got := cosi.VerifyEd25519Messages(batch, messages); !slices.Equal(got, want) {
			t.Fatalf("%v: wrong are %v, want %v", picked, got, want)
		}
	})
}

func TestEd25519BatchNamesTheWrongOnes(t *testing.T) {
	ids := []*sign.Identity{testIdentity(t, "alice"), testIdentity(t, "bob"), testIdentity(t, "carol")}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "n")
		batch := make([]cosi.IdentitySignature, n)
		var want []int
		for i := range batch {
			id := ids[i%len(ids)]
			f := cosi.Frame{Type: cosi.Command, Sequence: uint64(i)}
			sig, err := id.Sign(f)
			if err != nil {
				t.Fatal(err)
			}
			batch[i] = cosi.IdentitySignature{Key: id.Public(), Frame: f, Signature: sig}
			switch rapid.IntRange(0, 9).Draw(t, "fault") {
			case 0:
				batch[i].Signature[rapid.IntRange(0, 63).Draw(t, "byte")] ^= 1
			case 1:
				batch[i].Frame.Sequence++
			case 2:
				batch[i].Key = ids[(i+1)%len(ids)].Public()
			case 3:
				batch[i].Frame.Type = 0
			default:
				continue
			}
			want = append(want, i)
		}
		if got := cosi.VerifyEd25519Batch(batch); !slices.Equal(got, want) {
			t.Fatalf("wrong are %v, want %v", got, want)
		}
		verify := cosi.Remembering()
		for range 2 { // the second time most are remembered
			if got := verify(batch); !slices.Equal(got, want) {
				t.Fatalf("with a memory wrong are %v, want %v", got, want)
			}
		}
		for i, s := range batch {
			single := cosi.VerifyEd25519(s.Key, s.Frame, s.Signature)
			if (single != nil) != slices.Contains(want, i) {
				t.Fatalf("%d alone: %v", i, single)
			}
		}
	})
}

func TestEd25519RefusesWhatIsNoFrame(t *testing.T) {
	id := testIdentity(t, "alice")
	f := cosi.Frame{Type: cosi.Quote, Epoch: 1}
	if err := cosi.VerifyEd25519(id.Public(), f, [64]byte{}); !errors.Is(err, cosi.ErrFrame) {
		t.Fatal(err)
	}
	b := f.Encode()
	e := crafted(t, b[:], nil, nil) // a right signature over the bytes of that frame
	if !cosi.VerifyEd25519Message(e.key, b[:], e.sig) {
		t.Fatal("the signature is wrong")
	}
	if err := cosi.VerifyEd25519(e.key, f, e.sig); !errors.Is(err, cosi.ErrFrame) {
		t.Fatal(err)
	}
	batch := []cosi.IdentitySignature{{Key: e.key, Frame: f, Signature: e.sig}}
	if got := cosi.VerifyEd25519Batch(batch); !slices.Equal(got, []int{0}) {
		t.Fatal(got)
	}
}

// Two wrong signatures whose errors cancel in a sum without weights are both named.
func TestEd25519CancellingSignaturesInABatch(t *testing.T) {
	message := []byte("a frame")
	a, b := crafted(t, message, nil, nil), crafted(t, message, nil, nil)
	shift := func(e *edge, by *scalar.Scalar) {
		s, err := scalar.New().SetBytesModOrder(e.sig[32:])
		if err != nil {
			t.Fatal(err)
		}
		s.Add(s, by)
		if err := s.ToBytes(e.sig[32:]); err != nil {
			t.Fatal(err)
		}
	}
	by := number(t, "shift")
	shift(&a, by)
	shift(&b, scalar.New().Neg(by))
	batch := []cosi.IdentitySignature{{Key: a.key, Signature: a.sig}, {Key: b.key, Signature: b.sig}}
	got := cosi.VerifyEd25519Messages(batch, [][]byte{message, message})
	if !slices.Equal(got, []int{0, 1}) {
		t.Fatal(got)
	}
}
