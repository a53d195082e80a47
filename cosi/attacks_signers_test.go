package cosi_test

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

// A6: one share through two parents, and overlapping subtrees.
func TestA6OverlappingSignersAreNotAdded(t *testing.T) {
	c := newCommittee(t, 10, cosi.Threshold(1))
	f := c.vote(1)
	left, right := c.certify(t, f, 0, 1, 9), c.certify(t, f, 2, 3)
	whole, err := cosi.Merge(left, right)
	if err != nil || c.Verify(f, whole) != nil {
		t.Fatalf("disjoint: %v", err)
	}
	for name, other := range map[string]cosi.Certificate{
		"the same twice":            left,
		"one share via two parents": {Bitmap: bitmapOf(10, 9), Signature: c.share(t, 9, f)},
		"a subtree that overlaps":   c.certify(t, f, 1, 2),
		"a shorter bitmap":          {Bitmap: []byte{4}, Signature: right.Signature},
		"a longer bitmap":           {Bitmap: []byte{4, 0, 0}, Signature: right.Signature},
	} {
		if _, err := cosi.Merge(left, other); !errors.Is(err, cosi.ErrBitmap) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What a sub-leader without that check would make never verifies.
	twice := cosi.Certificate{Bitmap: left.Bitmap, Signature: sum(t, left.Signature, c.share(t, 9, f))}
	if err := c.Verify(f, twice); !errors.Is(err, cosi.ErrSignature) {
		t.Fatalf("counted twice: %v", err)
	}
	for name, sets := range map[string][][]int{
		"in two frames":     {{0, 1}, {1, 2}},
		"twice in a frame":  {{0, 0}, {1}},
		"not ascending":     {{1, 0}, {2}},
		"a frame of nobody": {{0, 1}, {}},
	} {
		frames := []cosi.Frame{f, c.vote(2)}
		if err := c.VerifyMixed(frames, sets, left.Signature); !errors.Is(err, cosi.ErrBitmap) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.VerifyMixed([]cosi.Frame{f, f}, [][]int{{0, 1}, {9}}, left.Signature); !errors.Is(
		err, cosi.ErrBitmap) {
		t.Errorf("one frame as two: %v", err)
	}
	for _, bad := range []int{-1, 10} {
		err := c.VerifyMixed([]cosi.Frame{f}, [][]int{{bad}}, left.Signature)
		if !errors.Is(err, cosi.ErrMember) {
			t.Errorf("member %d: %v", bad, err)
		}
	}
	if err := c.VerifyMixed([]cosi.Frame{f}, [][]int{{0}, {1}}, left.Signature); !errors.Is(
		err, cosi.ErrBitmap) {
		t.Errorf("more sets than frames: %v", err)
	}
	if err := c.VerifyMixed(nil, nil, left.Signature); !errors.Is(err, cosi.ErrPolicy) {
		t.Errorf("nobody: %v", err)
	}
}

// A7: a bitmap has one form.
func TestA7BitmapHasOneForm(t *testing.T) {
	c := newCommittee(t, 12, cosi.Threshold(1))
	f := c.vote(1)
	cert := c.certify(t, f, upTo(12)...)
	if err := c.Verify(f, cert); err != nil {
		t.Fatal(err)
	}
	for name, bitmap := range map[string][]byte{
		"no bitmap for everybody": nil,
		"an empty one":            {},
		"shorter":                 {0xff},
		"longer by a zero":        {0xff, 0x0f, 0},
		"a padding bit":           {0xff, 0x1f},
		"the last padding bit":    {0xff, 0x8f},
		"all bits":                {0xff, 0xff},
	} {
		err := c.Verify(f, cosi.Certificate{Bitmap: bitmap, Signature: cert.Signature})
		if !errors.Is(err, cosi.ErrBitmap) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Where the members fill the bytes there is no padding.
	c8 := newCommittee(t, 8, cosi.All())
	if err := c8.Verify(c8.vote(1), c8.certify(t, c8.vote(1), upTo(8)...)); err != nil {
		t.Fatal(err)
	}
}

// A9: two wrong shares that cancel out leave a valid sum. With a third wrong one the search
// names all three, though the first two hide from a search without weights.
func TestA9CancellingSharesAreNamed(t *testing.T) {
	c := newCommittee(t, 8, cosi.Threshold(3))
	f := c.vote(1)
	shares := c.shares(t, f, upTo(8)...)
	shift := newRawKey("shift").signFrame(t, f)
	negated := shift
	negated[0] ^= 0x20
	shares[0], shares[1] = sum(t, shares[0], shift), sum(t, shares[1], negated)
	cert, blamed, err := c.Aggregate(f, shares)
	if err != nil || len(blamed) > 0 {
		t.Fatalf("blamed %v: %v", blamed, err)
	}
	if cert.Signature != c.certify(t, f, upTo(8)...).Signature {
		t.Fatal("the sum is another one")
	}
	if err := c.Verify(f, cert); err != nil {
		t.Fatal(err)
	}
	shares[6] = shift
	cert, blamed, err = c.Aggregate(f, shares)
	if err != nil || !slices.Equal(blamed, []int{0, 1, 6}) {
		t.Fatalf("blamed %v: %v", blamed, err)
	}
	if err := c.Verify(f, cert); err != nil || !slices.Equal(cert.Signers(), []int{2, 3, 4, 5, 7}) {
		t.Fatalf("%v: %v", cert.Signers(), err)
	}
}

// A10: a certificate counts for the one frame and roster that it was made for.
func TestA10ReplayIsRefusedForEachField(t *testing.T) {
	c := newCommittee(t, 4, cosi.Threshold(3))
	f := c.vote(5)
	cert := c.certify(t, f, 0, 1, 2)
	if err := c.Verify(f, cert); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		edit func(*cosi.Frame)
		want error
	}{
		{"another type", func(f *cosi.Frame) { f.Type = cosi.Timeout }, cosi.ErrSignature},
		{"no type", func(f *cosi.Frame) { f.Type = 0 }, cosi.ErrFrame},
		{"a type beyond the list", func(f *cosi.Frame) { f.Type = 0x14 }, cosi.ErrFrame},
		{"a type without epoch", func(f *cosi.Frame) { f.Type = cosi.Terms }, cosi.ErrFrame},
		{"another network", func(f *cosi.Frame) { f.Network[7]++ }, cosi.ErrSignature},
		{"another epoch", func(f *cosi.Frame) { f.Epoch++ }, cosi.ErrSignature},
		{"another scope", func(f *cosi.Frame) { f.Scope[31]++ }, cosi.ErrSignature},
		{"another sequence", func(f *cosi.Frame) { f.Sequence++ }, cosi.ErrSignature},
		{"another payload", func(f *cosi.Frame) { f.Payload[0]++ }, cosi.ErrSignature},
		{"another roster", func(f *cosi.Frame) { f.Roster[0]++ }, cosi.ErrRoster},
		{"no roster", func(f *cosi.Frame) { f.Roster = cypherlink.Hash{} }, cosi.ErrRoster},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := f
			tt.edit(&g)
			if err := c.Verify(g, cert); !errors.Is(err, tt.want) {
				t.Errorf("certificate: %v", err)
			}
			if err := c.VerifyShare(g, 0, c.share(t, 0, f)); !errors.Is(err, tt.want) {
				t.Errorf("share: %v", err)
			}
			err := c.VerifyMixed([]cosi.Frame{g}, [][]int{{0, 1, 2}}, cert.Signature)
			if !errors.Is(err, tt.want) {
				t.Errorf("mixed: %v", err)
			}
			want := tt.want
			if errors.Is(want, cosi.ErrSignature) {
				want = cosi.ErrPolicy // all three are blamed and nobody is left
			}
			_, _, err = c.Aggregate(g, c.shares(t, f, 0, 1, 2))
			if !errors.Is(err, want) {
				t.Errorf("aggregated: %v", err)
			}
		})
	}
	// The same members under another policy, in another order, or one more, are another roster.
	var members []cosi.Member
	for i := range c.Len() {
		members = append(members, c.Member(i))
	}
	reversed := slices.Clone(members)
	slices.Reverse(reversed)
	extra := cosi.Member{ID: testID("extra"), Key: testKey(t, "extra").Public()}
	renamed := slices.Clone(members)
	renamed[3].ID = testID("another")
	for name, other := range map[string]struct {
		members []cosi.Member
		k       int
	}{
		"another policy": {members, 2},
		"another order":  {reversed, 3},
		"one more":       {append(members, extra), 3},
		"one less":       {members[:3], 3},
		"another id":     {renamed, 3},
	} {
		r, err := cosi.NewRoster(other.members, cosi.Threshold(other.k))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Verify(f, cert); !errors.Is(err, cosi.ErrRoster) {
			t.Errorf("%s: %v", name, err)
		}
		g := f
		g.Roster = r.Root()
		if err := r.Verify(g, cert); !errors.Is(err, cosi.ErrSignature) && !errors.Is(err, cosi.ErrPolicy) {
			t.Errorf("%s, frame moved: %v", name, err)
		}
	}
}

// A12: the edge of the threshold.
func TestA12ThresholdEdge(t *testing.T) {
	sizes := []int{1, 2, 3, 4, 5, 6, 7, 10}
	if testing.Short() {
		sizes = []int{1, 4, 5}
	}
	for _, n := range sizes {
		q := cosi.Quorum(n)
		c := newCommittee(t, n, cosi.Threshold(q))
		f := c.vote(1)
		if err := c.Verify(f, c.certify(t, f, upTo(n)[n-q:]...)); err != nil {
			t.Fatalf("%d of %d: %v", q, n, err)
		}
		few := c.shares(t, f, upTo(q-1)...)
		if _, blamed, err := c.Aggregate(f, few); !errors.Is(err, cosi.ErrPolicy) || len(blamed) > 0 {
			t.Fatalf("%d of %d, blamed %v: %v", q-1, n, blamed, err)
		}
		if q == 1 {
			continue
		}
		var sigs []cosi.Signature
		for _, s := range few {
			sigs = append(sigs, s)
		}
		cert := cosi.Certificate{Bitmap: bitmapOf(n, upTo(q-1)...), Signature: sum(t, sigs...)}
		if err := c.Verify(f, cert); !errors.Is(err, cosi.ErrPolicy) {
			t.Fatalf("%d of %d: %v", q-1, n, err)
		}
		err := c.VerifyMixed([]cosi.Frame{f}, [][]int{upTo(q - 1)}, cert.Signature)
		if !errors.Is(err, cosi.ErrPolicy) {
			t.Fatalf("%d of %d, mixed: %v", q-1, n, err)
		}
		// A set bit without a signature does not help.
		cert.Bitmap = bitmapOf(n, upTo(q)...)
		if err := c.Verify(f, cert); !errors.Is(err, cosi.ErrSignature) {
			t.Fatalf("%d of %d and an empty bit: %v", q-1, n, err)
		}
	}
}

// A12: two quorums share an honest member, and a quorum without the faulty ones exists.
func TestA12QuorumsIntersectInAnHonestMember(t *testing.T) {
	for n, want := range []int{0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7} {
		if got := cosi.Quorum(n); got != want {
			t.Errorf("Quorum(%d) = %d, want %d", n, got, want)
		}
	}
	for n := 1; n <= 1000; n++ {
		f, q := cosi.MaxFaulty(n), cosi.Quorum(n)
		if 3*f >= n || 3*(f+1) < n {
			t.Fatalf("MaxFaulty(%d) = %d", n, f)
		}
		if 2*q-n <= f || 2*(q-1)-n > f || q > n-f {
			t.Fatalf("n %d, f %d, q %d", n, f, q)
		}
	}
	if cosi.Quorum(-3) != 0 || cosi.MaxFaulty(-3) != 0 {
		t.Fatal("a negative number of members")
	}
}

// A15: a flood of wrong shares costs a bounded number of checks.
func TestA15SearchIsBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(15, 0))
	search := func(m int, wrong ...int) (asked int) {
		found := cosi.Bisect(0, m, func(from, to int) bool {
			asked++
			return !slices.ContainsFunc(wrong, func(i int) bool { return from <= i && i < to })
		})
		if !slices.Equal(found, wrong) {
			t.Fatalf("%d shares, wrong %v, found %v", m, wrong, found)
		}
		return asked
	}
	for m := 1; m <= 91; m++ {
		for i := range m {
			if got, most := search(m, i), 2*bits.Len(uint(m-1)); got > most {
				t.Fatalf("%d shares, %d wrong: %d checks, at most %d", m, i, got, most)
			}
		}
	}
	for range 2000 {
		m := 1 + random.IntN(128)
		k := 1 + random.IntN(m)
		wrong := random.Perm(m)[:k]
		slices.Sort(wrong)
		// 2k*ceil(log2(m/k)) and the k-1 nodes above, each asked twice at most.
		most := 2*k*bits.Len(uint((m+k-1)/k-1)) + 2*k
		if got := search(m, wrong...); got > most {
			t.Fatalf("%d shares, %d wrong: %d checks, at most %d", m, k, got, most)
		}
	}
	t.Logf("of 91 shares: 1 wrong %d checks, 2 wrong %d", search(91, 0), search(91, 0, 46))

	c := newCommittee(t, 21, cosi.Threshold(5))
	f := c.vote(1)
	shares := c.shares(t, f, upTo(21)...)
	wrong := []int{0, 3, 4, 5, 11, 19, 20}
	for _, i := range wrong {
		shares[i] = c.share(t, (i+1)%21, f) // another member's good share
	}
	shares[7] = cosi.Signature{} // no point
	cert, blamed, err := c.Aggregate(f, shares)
	if want := []int{0, 3, 4, 5, 7, 11, 19, 20}; err != nil || !slices.Equal(blamed, want) {
		t.Fatalf("blamed %v: %v", blamed, err)
	}
	if err := c.Verify(f, cert); err != nil {
		t.Fatal(err)
	}
	_, blamed, err = c.Aggregate(f, c.shares(t, c.vote(2), upTo(21)...))
	if !errors.Is(err, cosi.ErrPolicy) || !slices.Equal(blamed, upTo(21)) {
		t.Fatalf("all wrong, blamed %v: %v", blamed, err)
	}
	for _, i := range []int{-1, 21} {
		_, _, err := c.Aggregate(f, map[int]cosi.Signature{i: shares[0]})
		if !errors.Is(err, cosi.ErrMember) {
			t.Errorf("member %d: %v", i, err)
		}
		if err := c.VerifyShare(f, i, shares[0]); !errors.Is(err, cosi.ErrMember) {
			t.Errorf("member %d: %v", i, err)
		}
	}
}
