package cosi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"testing"

	circl "github.com/cloudflare/circl/ecc/bls12381"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

// vectorFile is testdata/min_sig_pop.json, made with npm @noble/curves.
type vectorFile struct {
	DstSig string `json:"dst_sig"`
	DstPop string `json:"dst_pop"`
	Keys   []struct{ SK, PK, PoP string }
	Sign   []struct {
		Key      int
		Msg, Sig string
		HashToG1 string `json:"hash_to_g1"`
	}
	AggregateSameMessage []struct {
		Keys         []int
		Msg, PK, Sig string
	} `json:"aggregate_same_message"`
	SplittingZero struct{ SK, PK, PoP string } `json:"splitting_zero"`
}

func loadVectors(tb testing.TB) vectorFile {
	tb.Helper()
	b, err := os.ReadFile("testdata/min_sig_pop.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatal(err)
	}
	if len(v.Keys) == 0 || len(v.Sign) == 0 || len(v.AggregateSameMessage) == 0 {
		tb.Fatal("the vectors are empty")
	}
	return v
}

func vectorKey(tb testing.TB, pk string) cosi.PublicKey {
	tb.Helper()
	k, err := cosi.ParsePublicKey(unhex(tb, pk))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestMinSigPopVectors(t *testing.T) {
	v := loadVectors(t)
	if v.DstSig != cosi.SignatureSuite || v.DstPop != cosi.PossessionSuite {
		t.Fatalf("suites %s, %s", v.DstSig, v.DstPop)
	}
	var keys []cosi.PublicKey
	for i, row := range v.Keys {
		k := vectorKey(t, row.PK)
		keys = append(keys, k)
		if b := k.Bytes(); !bytes.Equal(b[:], unhex(t, row.PK)) {
			t.Fatalf("key %d encodes as %x", i, b)
		}
		pop := cosi.Possession(unhex(t, row.PoP))
		if err := cosi.VerifyPossession(k, pop); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
		other := cosi.Possession(unhex(t, v.Keys[(i+1)%len(v.Keys)].PoP))
		if err := cosi.VerifyPossession(k, other); !errors.Is(err, cosi.ErrPossession) {
			t.Fatalf("key %d with another key's proof: %v", i, err)
		}
	}
	for i, row := range v.Sign {
		sig := cosi.Signature(unhex(t, row.Sig))
		msg := unhex(t, row.Msg)
		if err := cosi.VerifyMessage(keys[row.Key], msg, v.DstSig, sig); err != nil {
			t.Fatalf("signature %d: %v", i, err)
		}
		err := cosi.VerifyMessage(keys[row.Key], append(msg, 0), v.DstSig, sig)
		if !errors.Is(err, cosi.ErrSignature) {
			t.Fatalf("signature %d over a longer message: %v", i, err)
		}
		h, err := bls.HashToG1(msg, []byte(v.DstSig))
		if err != nil {
			t.Fatal(err)
		}
		if b := h.Bytes(); !bytes.Equal(b[:], unhex(t, row.HashToG1)) {
			t.Fatalf("hash %d is %x", i, b)
		}
	}
	for i, row := range v.AggregateSameMessage {
		var signers []cosi.PublicKey
		for _, k := range row.Keys {
			signers = append(signers, keys[k])
		}
		total := cosi.SumKeys(signers...)
		if total != vectorKey(t, row.PK) {
			t.Fatalf("aggregate %d: the keys sum to %s", i, total)
		}
		sig := cosi.Signature(unhex(t, row.Sig))
		if err := cosi.VerifyMessage(total, unhex(t, row.Msg), v.DstSig, sig); err != nil {
			t.Fatalf("aggregate %d: %v", i, err)
		}
		if len(row.Msg) != 2*cosi.FrameSize {
			t.Fatalf("aggregate %d signs %d bytes", i, len(row.Msg)/2)
		}
	}
}

// RFC 9380 appendix J.9.1, in both libraries.
func TestHashToCurveVectors(t *testing.T) {
	var file struct {
		DST     string
		Vectors []struct {
			Msg string
			P   struct{ X, Y string }
		}
	}
	vectors.JSON(t, "vectors/bls/hash_to_curve_g1_ro.json", &file)
	for _, row := range file.Vectors {
		t.Run(fmt.Sprintf("%.20q", row.Msg), func(t *testing.T) {
			p, err := bls.HashToG1([]byte(row.Msg), []byte(file.DST))
			if err != nil {
				t.Fatal(err)
			}
			got := []*big.Int{p.X.BigInt(new(big.Int)), p.Y.BigInt(new(big.Int))}
			for i, want := range []string{row.P.X, row.P.Y} {
				if w, ok := new(big.Int).SetString(want, 0); !ok || w.Cmp(got[i]) != 0 {
					t.Fatalf("coordinate %d is %#x, want %s", i, got[i], want)
				}
			}
			var q circl.G1
			q.Hash([]byte(row.Msg), []byte(file.DST))
			if b := p.Bytes(); !bytes.Equal(q.BytesCompressed(), b[:]) {
				t.Fatal("the libraries differ")
			}
		})
	}
	if len(file.Vectors) != 5 {
		t.Fatalf("%d vectors", len(file.Vectors))
	}
}

// The multiples 0 to 999 of both generators, in the encoding of zkcrypto.
func TestCompressedMultiples(t *testing.T) {
	_, _, g1, g2 := bls.Generators()
	data1 := vectors.Read(t, "vectors/bls/g1_compressed.dat")
	data2 := vectors.Read(t, "vectors/bls/g2_compressed.dat")
	var p1 bls.G1Affine
	var p2 bls.G2Affine
	for i := range 1000 {
		s := cosi.Signature(data1[48*i:])
		k := data2[96*i : 96*(i+1)]
		point, err := cosi.DecodeSignature(s)
		key, keyErr := cosi.ParsePublicKey(k)
		if i == 0 {
			if !errors.Is(err, cosi.ErrSignature) || !errors.Is(keyErr, cosi.ErrKey) {
				t.Fatalf("the identity: %v, %v", err, keyErr)
			}
		} else {
			if err != nil || keyErr != nil || !point.Equal(&p1) {
				t.Fatalf("multiple %d: %v, %v", i, err, keyErr)
			}
			want := p2.Bytes()
			if b := key.Bytes(); !bytes.Equal(b[:], k) || b != want || point.Bytes() != s {
				t.Fatalf("multiple %d does not encode as it was", i)
			}
		}
		p1.Add(&p1, &g1)
		p2.Add(&p2, &g2)
	}
}

// The signer's library and the verifier's give the same bytes, and the signer's library
// verifies what the verifier's has added up.
func TestCirclIsASecondOracle(t *testing.T) {
	n := 25
	if testing.Short() {
		n = 5
	}
	c := newCommittee(t, n, cosi.Threshold(1))
	f := c.vote(3)
	message := f.Encode()
	for i, k := range c.keys {
		var hash, sig circl.G1
		hash.Hash(message[:], []byte(cosi.SignatureSuite))
		s := c.share(t, i, f)
		if err := sig.SetBytes(s[:]); err != nil {
			t.Fatal(err)
		}
		if !circlVerifies(t, &sig, &hash, k.Public()) {
			t.Fatalf("circl refuses share %d", i)
		}
	}
	cert := c.certify(t, f, upTo(n)[n/2:]...)
	var keys []cosi.PublicKey
	for _, i := range cert.Signers() {
		keys = append(keys, c.Member(i).Key)
	}
	var hash, sig circl.G1
	hash.Hash(message[:], []byte(cosi.SignatureSuite))
	if err := sig.SetBytes(cert.Signature[:]); err != nil {
		t.Fatal(err)
	}
	if !circlVerifies(t, &sig, &hash, cosi.SumKeys(keys...)) {
		t.Fatal("circl refuses the certificate")
	}
	if circlVerifies(t, &sig, &hash, keys[0]) {
		t.Fatal("circl accepts the certificate under one key")
	}
	for i := range n {
		raw := newRawKey(fmt.Sprint("raw ", i))
		b := raw.number().FillBytes(make([]byte, 32))
		var secret circl.Scalar
		secret.SetBytes(b)
		var p circl.G2
		p.ScalarMult(&secret, circl.G2Generator())
		var s circl.G1
		s.ScalarMult(&secret, &hash)
		pub, want := raw.public(t).Bytes(), raw.signFrame(t, f)
		if !bytes.Equal(p.BytesCompressed(), pub[:]) || !bytes.Equal(s.BytesCompressed(), want[:]) {
			t.Fatalf("key %d: the libraries differ", i)
		}
	}
}

func circlVerifies(t *testing.T, sig, hash *circl.G1, key cosi.PublicKey) bool {
	t.Helper()
	b := key.Bytes()
	var k circl.G2
	if err := k.SetBytes(b[:]); err != nil {
		t.Fatal(err)
	}
	g := circl.G2Generator()
	return circl.ProdPairFrac([]*circl.G1{sig, hash}, []*circl.G2{g, &k}, []int{1, -1}).IsIdentity()
}

var _ sign.Signer[cosi.Signature] = (*sign.Key)(nil)
