package cosi_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// newSeed is 32 bytes of a name's hash, as a source of randomness.
func newSeed(name string) io.Reader {
	h := sha256.Sum256([]byte(name))
	return bytes.NewReader(h[:])
}

// subset draws some of 0 to n-1.
func subset(t *rapid.T, n int, label string) []int {
	var out []int
	for i, in := range rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, label) {
		if in {
			out = append(out, i)
		}
	}
	return out
}

// rounds bounds a property whose every case costs pairings.
func rounds(t *testing.T, cases int, check func(t *rapid.T)) {
	t.Helper()
	if testing.Short() {
		cases = max(1, cases/10)
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		if n++; n > cases {
			return
		}
		check(t)
	})
}

// I1: a certificate verifies iff every set bit's key signed that frame (and the policy
// holds). What else the signers signed, and who else signed, does not matter.
func TestI1VerifiesIffEverySignerSigned(t *testing.T) {
	c := newCommittee(t, 7, cosi.Threshold(2))
	f, other := c.vote(1), c.vote(2)
	right, wrong := c.shares(t, f, upTo(7)...), c.shares(t, other, upTo(7)...)
	rounds(t, 60, func(t *rapid.T) {
		claimed, signed := subset(t, 7, "claimed"), subset(t, 7, "signed")
		strangers := rapid.Bool().Draw(t, "strangers")
		want := len(claimed) >= 2
		var sigs []cosi.Signature
		for i := range 7 {
			switch {
			case slices.Contains(claimed, i) && slices.Contains(signed, i):
				sigs = append(sigs, right[i])
			case slices.Contains(claimed, i):
				sigs = append(sigs, wrong[i])
				want = false
			case strangers && slices.Contains(signed, i):
				sigs = append(sigs, right[i]) // its bit is not set
				want = false
			}
		}
		if len(sigs) == 0 {
			return
		}
		cert := cosi.Certificate{Bitmap: bitmapOf(7, claimed...), Signature: addUp(sigs)}
		if err := c.Verify(f, cert); (err == nil) != want {
			t.Fatalf("claimed %v, signed %v: %v", claimed, signed, err)
		}
		if err := c.VerifyMixed([]cosi.Frame{f}, [][]int{claimed}, cert.Signature); (err == nil) != want {
			t.Fatalf("mixed, claimed %v, signed %v: %v", claimed, signed, err)
		}
	})
}

// I1 for several frames: it verifies iff every signer signed the frame under which it stands.
func TestI1Mixed(t *testing.T) {
	c := newCommittee(t, 6, cosi.Threshold(3))
	frames := []cosi.Frame{c.vote(1), c.vote(2), c.vote(3)}
	var all []map[int]cosi.Signature
	for _, f := range frames {
		all = append(all, c.shares(t, f, upTo(6)...))
	}
	rounds(t, 60, func(t *rapid.T) {
		signed := rapid.SliceOfN(rapid.IntRange(-1, 2), 6, 6).Draw(t, "signed")
		shares := map[int]cosi.Share{}
		groups := map[int][]int{}
		for i, at := range signed {
			if at >= 0 {
				shares[i] = cosi.Share{Frame: frames[at], Signature: all[at][i]}
				groups[at] = append(groups[at], i)
			}
		}
		cert, blamed, err := c.AggregateMixed(shares)
		if len(shares) < 3 {
			if !errors.Is(err, cosi.ErrPolicy) {
				t.Fatal(err)
			}
			return
		}
		if err != nil || len(blamed) > 0 {
			t.Fatalf("blamed %v: %v", blamed, err)
		}
		said := func(groups map[int][]int) ([]cosi.Frame, [][]int) {
			var f []cosi.Frame
			var s [][]int
			for at := range frames {
				if len(groups[at]) > 0 {
					f, s = append(f, frames[at]), append(s, groups[at])
				}
			}
			return f, s
		}
		f, s := said(groups)
		if err := c.VerifyMixed(f, s, cert.Signature); err != nil {
			t.Fatal(err)
		}
		// One signer moved to a frame that it did not sign.
		i := cert.Signers()[0]
		from := signed[i]
		to := (from + 1) % 3
		groups[from] = slices.Delete(groups[from], 0, 1)
		groups[to] = append([]int{i}, groups[to]...)
		slices.Sort(groups[to])
		f, s = said(groups)
		if err := c.VerifyMixed(f, s, cert.Signature); !errors.Is(err, cosi.ErrSignature) {
			t.Fatal(err)
		}
	})
}

// addUp is sum, inside a property.
func addUp(sigs []cosi.Signature) cosi.Signature {
	total := cosi.Certificate{Bitmap: []byte{0, 0}, Signature: sigs[0]}
	for _, s := range sigs[1:] {
		m, err := cosi.Merge(total, cosi.Certificate{Bitmap: []byte{0, 0}, Signature: s})
		if err != nil {
			return cosi.Signature{}
		}
		total = m
	}
	return total.Signature
}

// I2: every bit of frame, bitmap and signature counts.
func TestI2EveryByteCounts(t *testing.T) {
	c := newCommittee(t, 11, cosi.Threshold(4))
	f := c.vote(1)
	cert := c.certify(t, f, 0, 2, 3, 5, 8, 9)
	frame := f.Encode()
	step := 1
	if testing.Short() {
		step = 5
	}
	for i := 0; i < cosi.FrameSize; i += step {
		b := frame
		b[i] ^= 1 << (i % 8)
		g, err := cosi.DecodeFrame(b[:])
		if err != nil {
			if i >= 14 {
				t.Errorf("frame byte %d: %v", i, err)
			}
			continue
		}
		if c.Verify(g, cert) == nil {
			t.Errorf("frame byte %d does not count", i)
		}
	}
	for i := range 16 {
		b := slices.Clone(cert.Bitmap)
		b[i/8] ^= 1 << (i % 8)
		if c.Verify(f, cosi.Certificate{Bitmap: b, Signature: cert.Signature}) == nil {
			t.Errorf("bit %d of the bitmap does not count", i)
		}
	}
	for i := range 8 * cosi.SignatureSize {
		b := cert.Signature
		b[i/8] ^= 1 << (i % 8)
		if i%step == 0 && c.Verify(f, cosi.Certificate{Bitmap: cert.Bitmap, Signature: b}) == nil {
			t.Errorf("bit %d of the signature does not count", i)
		}
	}
}

// I3: disjoint parts add up to the same certificate in every order and grouping.
func TestI3AggregationIsAssociativeAndCommutative(t *testing.T) {
	c := newCommittee(t, 9, cosi.Threshold(1))
	f := c.vote(1)
	shares := c.shares(t, f, upTo(9)...)
	rounds(t, 40, func(t *rapid.T) {
		signers := subset(t, 9, "signers")
		if len(signers) == 0 {
			return
		}
		mine := map[int]cosi.Signature{}
		var parts []cosi.Certificate
		for _, i := range signers {
			mine[i] = shares[i]
			parts = append(parts, cosi.Certificate{Bitmap: bitmapOf(9, i), Signature: shares[i]})
		}
		for len(parts) > 1 {
			i := rapid.IntRange(0, len(parts)-1).Draw(t, "left")
			left := parts[i]
			parts = slices.Delete(parts, i, i+1)
			j := rapid.IntRange(0, len(parts)-1).Draw(t, "right")
			merged, err := cosi.Merge(left, parts[j])
			if err != nil {
				t.Fatal(err)
			}
			parts[j] = merged
		}
		whole, blamed, err := c.Aggregate(f, mine)
		if err != nil || len(blamed) > 0 {
			t.Fatalf("blamed %v: %v", blamed, err)
		}
		if !bytes.Equal(parts[0].Bitmap, whole.Bitmap) || parts[0].Signature != whole.Signature {
			t.Fatalf("%v adds up differently", signers)
		}
		if !slices.Equal(whole.Signers(), signers) {
			t.Fatalf("%v, want %v", whole.Signers(), signers)
		}
	})
}

// I4: what is accepted satisfies the policy, as the test reads it.
func TestI4AcceptedBitmapSatisfiesThePolicy(t *testing.T) {
	const n = 6
	c := newCommittee(t, n, cosi.All())
	members := make([]cosi.Member, n)
	for i := range members {
		members[i] = c.Member(i)
	}
	rounds(t, 60, func(t *rapid.T) {
		owner := rapid.SliceOfN(rapid.IntRange(0, 2), n, n).Draw(t, "group of each")
		k := rapid.IntRange(1, n).Draw(t, "k")
		var groups []cosi.Group
		for g := range 2 { // group 2 is nobody's
			var in []int
			for i, o := range owner {
				if o == g {
					in = append(in, i)
				}
			}
			if len(in) > 0 {
				need := rapid.IntRange(1, len(in)).Draw(t, "need")
				groups = append(groups, cosi.Group{Role: string(rune('a' + g)), Need: need, Members: in})
			}
		}
		signers := subset(t, n, "signers")
		if len(signers) == 0 || len(groups) == 0 {
			return
		}
		roles := true
		for _, g := range groups {
			got := 0
			for _, m := range g.Members {
				if slices.Contains(signers, m) {
					got++
				}
			}
			roles = roles && got >= g.Need
		}
		for name, tt := range map[string]struct {
			policy cosi.Policy
			want   bool
		}{
			"all":       {cosi.All(), len(signers) == n},
			"threshold": {cosi.Threshold(k), len(signers) >= k},
			"roles":     {cosi.Roles(groups...), roles},
		} {
			r, err := cosi.NewRoster(members, tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			own := committee{Roster: r, keys: c.keys}
			f := own.vote(1)
			cert := cosi.Certificate{Bitmap: bitmapOf(n, signers...)}
			var sigs []cosi.Signature
			for _, i := range signers {
				s, err := c.keys[i].SignRecorded(f)
				if err != nil {
					t.Fatal(err)
				}
				sigs = append(sigs, s)
			}
			cert.Signature = addUp(sigs)
			err = r.Verify(f, cert)
			if (err == nil) != tt.want || err != nil && !errors.Is(err, cosi.ErrPolicy) {
				t.Fatalf("%s, %v: %v", name, signers, err)
			}
			if err := r.Satisfied(signers); (err == nil) != tt.want {
				t.Fatalf("%s, %v: satisfied: %v", name, signers, err)
			}
		}
	})
}

// The policy is checked before any arithmetic on points: a signature that is none of it.
func TestI4PolicyComesBeforeTheSignature(t *testing.T) {
	c := newCommittee(t, 4, cosi.Threshold(3))
	f := c.vote(1)
	err := c.Verify(f, cosi.Certificate{Bitmap: []byte{3}})
	if !errors.Is(err, cosi.ErrPolicy) {
		t.Fatal(err)
	}
	if err := c.VerifyMixed([]cosi.Frame{f}, [][]int{{0, 1}}, cosi.Signature{}); !errors.Is(
		err, cosi.ErrPolicy) {
		t.Fatal(err)
	}
}

// I6 for frames and certificates; policies and keys have it in their own tests.
func TestI6RoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := cosi.Frame{
			Type:     cosi.Type(rapid.IntRange(0, 0x20).Draw(t, "type")),
			Epoch:    rapid.Uint64Range(0, 3).Draw(t, "epoch"),
			Sequence: rapid.Uint64().Draw(t, "sequence"),
		}
		copy(f.Network[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "network"))
		copy(f.Scope[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "scope"))
		b := f.Encode()
		g, err := cosi.DecodeFrame(b[:])
		if (err == nil) != (f.Valid() == nil) || err == nil && g != f {
			t.Fatalf("%+v: %v", f, err)
		}
		for _, bad := range [][]byte{b[:cosi.FrameSize-1], append(b[:], 0), append([]byte{'c'}, b[1:]...)} {
			if _, err := cosi.DecodeFrame(bad); !errors.Is(err, cosi.ErrFrame) {
				t.Fatalf("%x: %v", bad, err)
			}
		}
		c := cosi.Certificate{Bitmap: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bitmap")}
		copy(c.Signature[:], rapid.SliceOfN(rapid.Byte(), 48, 48).Draw(t, "signature"))
		var w wire.Writer
		c.AppendWire(&w)
		encoded := w.Bytes()
		r := wire.NewReader(encoded)
		d := cosi.ReadCertificate(r)
		if err := r.End(); err != nil || !bytes.Equal(c.Bitmap, d.Bitmap) || c.Signature != d.Signature {
			t.Fatalf("%+v: %v", c, err)
		}
		clear(encoded) // the certificate owns its bitmap
		if !bytes.Equal(c.Bitmap, d.Bitmap) {
			t.Fatal("the bitmap is a part of the input")
		}
	})
}

// A roster is safe for concurrent use, and one verification does not spoil the next: the
// pairing multiplies into the lines that it is given.
func TestRosterIsUsedConcurrently(t *testing.T) {
	c := newCommittee(t, 4, cosi.Threshold(3))
	f := c.vote(1)
	full, some := c.certify(t, f, 0, 1, 2, 3), c.certify(t, f, 0, 1, 3)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				if err := c.Verify(f, full); err != nil {
					t.Error(err)
				}
				if err := c.Verify(f, some); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
