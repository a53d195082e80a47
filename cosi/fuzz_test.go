package cosi_test

import (
	"bytes"
	"testing"

	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

func FuzzDecodeFrame(f *testing.F) {
	b := cosi.Frame{Type: cosi.Vote, Epoch: 1, Sequence: 2}.Encode()
	f.Add(b[:])
	f.Add([]byte("CYPH-COSI-v1\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := cosi.DecodeFrame(b)
		if err != nil {
			return
		}
		if e := g.Encode(); !bytes.Equal(e[:], b) {
			t.Fatalf("%x encodes as %x", b, e)
		}
	})
}

func FuzzParsePublicKey(f *testing.F) {
	b := testKey(f, "a").Public().Bytes()
	f.Add(b[:])
	f.Add(append([]byte{0xc0}, make([]byte, 95)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := cosi.ParsePublicKey(b)
		if err != nil {
			return
		}
		if e := k.Bytes(); !bytes.Equal(e[:], b) || k == (cosi.PublicKey{}) {
			t.Fatalf("%x encodes as %x", b, e)
		}
	})
}

func FuzzSignature(f *testing.F) {
	s := testKey(f, "a").Possession()
	f.Add(s[:])
	f.Add(append([]byte{0xc0}, make([]byte, 47)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != cosi.SignatureSize {
			return
		}
		p, err := cosi.DecodeSignature(cosi.Signature(b))
		if err != nil {
			return
		}
		if e := p.Bytes(); !bytes.Equal(e[:], b) || p.IsInfinity() || !p.IsInSubGroup() {
			t.Fatalf("%x encodes as %x", b, e)
		}
	})
}

func FuzzReadCertificate(f *testing.F) {
	c := newCommittee(f, 3, cosi.All())
	frame := c.vote(1)
	good := c.certify(f, frame, 0, 1, 2)
	var w wire.Writer
	good.AppendWire(&w)
	f.Add(w.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		cert := cosi.ReadCertificate(r)
		if r.End() != nil {
			return
		}
		var w wire.Writer
		cert.AppendWire(&w)
		if !bytes.Equal(w.Bytes(), b) {
			t.Fatalf("%x encodes as %x", b, w.Bytes())
		}
		if c.Verify(frame, cert) == nil && cert.Signature != good.Signature {
			t.Fatalf("%x verifies", b)
		}
	})
}

func FuzzReadPolicy(f *testing.F) {
	for _, p := range []cosi.Policy{
		cosi.All(), cosi.Threshold(3),
		cosi.Roles(cosi.Group{Role: "a", Need: 1, Members: []int{0, 3}}),
	} {
		var w wire.Writer
		p.AppendWire(&w)
		f.Add(w.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		p := cosi.ReadPolicy(r)
		if r.End() != nil {
			return
		}
		var w wire.Writer
		p.AppendWire(&w)
		if !bytes.Equal(w.Bytes(), b) {
			t.Fatalf("%x encodes as %x", b, w.Bytes())
		}
	})
}

func FuzzEd25519SingleAndBatchAgree(f *testing.F) {
	id := testIdentity(f, "alice")
	key := id.Public()
	sig, err := id.Sign(cosi.Frame{Type: cosi.Quote})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(key[:], sig[:], uint64(0))
	f.Add(key[:], sig[:], uint64(1))
	f.Add(make([]byte, 32), make([]byte, 64), uint64(0))
	f.Fuzz(func(t *testing.T, k, s []byte, sequence uint64) {
		if len(k) != 32 || len(s) != 64 {
			return
		}
		one := cosi.IdentitySignature{
			Key: [32]byte(k), Frame: cosi.Frame{Type: cosi.Quote, Sequence: sequence}, Signature: [64]byte(s),
		}
		good := cosi.IdentitySignature{Key: key, Frame: cosi.Frame{Type: cosi.Quote}, Signature: sig}
		single := cosi.VerifyEd25519(one.Key, one.Frame, one.Signature) == nil
		if got := cosi.VerifyEd25519Batch([]cosi.IdentitySignature{good, one}); (len(got) == 0) != single {
			t.Fatalf("alone %t, in a batch %v", single, got)
		}
	})
}
