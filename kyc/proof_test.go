package kyc_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/kyc"
)

// The root of the main job's file, computed by a second implementation (Python's hashlib, from
// the package's documentation): a change of the form is a change of every commitment.
func TestRootIsPinned(t *testing.T) {
	const want = "65019c7beca44e840a32eb78500ae7c41fdaa6872aac07a6c8590383622deb5d"
	if got := file(t).Root().String(); got != want {
		t.Fatalf("root %s, want %s", got, want)
	}
}

func TestEveryFieldOpensAlone(t *testing.T) {
	f := file(t)
	for field := range kyc.Field(kyc.FieldCount) {
		told, err := kyc.Verify(f.Root(), []kyc.Proof{open(t, f, field)})
		if err != nil {
			t.Fatalf("%s: %v", field, err)
		}
		for other := range kyc.Field(kyc.FieldCount + 1) {
			text, known := told.Text(other)
			if known != (other == field) || known && text != texts()[field] || !known && text != "" {
				t.Fatalf("%s opened, %s is known: %v", field, other, known)
			}
		}
	}
	if _, err := f.Open(kyc.FieldCount); !errors.Is(err, kyc.ErrField) {
		t.Fatal(err)
	}
}

func TestAnySelectionOpens(t *testing.T) {
	f := file(t)
	all := openAll(t, f)
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfDistinct(rapid.IntRange(0, kyc.FieldCount-1), rapid.ID).Draw(t, "fields")
		slices.Sort(chosen)
		var proofs []kyc.Proof
		for _, i := range chosen {
			proofs = append(proofs, all[i])
		}
		told, err := kyc.Verify(f.Root(), proofs)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range texts() {
			text, known := told.Text(kyc.Field(i))
			if known != slices.Contains(chosen, i) || known && text != want {
				t.Fatalf("field %d: known %v", i, known)
			}
		}
	})
}

// K2 and K5: nothing but the committed text under its salt, in its place, is accepted.
func TestAlteredProofsAreRefused(t *testing.T) {
	f := file(t)
	one := func(field kyc.Field, edit func(*kyc.Proof)) []kyc.Proof {
		p := open(t, f, field)
		p.Path = slices.Clone(p.Path)
		edit(&p)
		return []kyc.Proof{p}
	}
	name, country := open(t, f, kyc.DebtorName), open(t, f, kyc.DebtorCountry)
	tests := []struct {
		name   string
		proofs []kyc.Proof
		want   error
	}{
		{"another text", one(kyc.DebtorCountry, func(p *kyc.Proof) { p.Text = "FR" }), kyc.ErrProof},
		{"an empty text", one(kyc.DebtorCountry, func(p *kyc.Proof) { p.Text = "" }), kyc.ErrProof},
		{"a text for an empty field", one(kyc.CreditorLEI, func(p *kyc.Proof) {
			p.Text = "7LTWFZYICNSX8D621K86"
		}), kyc.ErrProof},
		{"a text of no form", one(kyc.DebtorCountry, func(p *kyc.Proof) { p.Text = "DEU" }), kyc.ErrField},
		{"another salt", one(kyc.DebtorCountry, func(p *kyc.Proof) { p.Salt[31] ^= 1 }), kyc.ErrProof},
		{"no salt", one(kyc.DebtorCountry, func(p *kyc.Proof) { p.Salt = kyc.Salt{} }), kyc.ErrProof},
		{"another field's place", one(kyc.DebtorCountry, func(p *kyc.Proof) {
			p.Field = kyc.CreditorCountry
		}), kyc.ErrProof},
		{"the neighbour's place and path", one(kyc.DebtorName, func(p *kyc.Proof) {
			p.Field, p.Path = kyc.DebtorTown, open(t, f, kyc.DebtorTown).Path
		}), kyc.ErrProof},
		{"a field that does not exist", one(kyc.PayeeMatch, func(p *kyc.Proof) {
			p.Field = kyc.FieldCount
		}), kyc.ErrField},
		{"a changed path", one(kyc.DebtorName, func(p *kyc.Proof) { p.Path[2][0] ^= 1 }), kyc.ErrProof},
		{"a shorter path", one(kyc.DebtorName, func(p *kyc.Proof) { p.Path = p.Path[1:] }), kyc.ErrProof},
		{"a longer path", one(kyc.DebtorName, func(p *kyc.Proof) {
			p.Path = append(p.Path, merkle.Hash{})
		}), kyc.ErrProof},
		{"no path", one(kyc.DebtorName, func(p *kyc.Proof) { p.Path = nil }), kyc.ErrProof},
		{"one field twice", []kyc.Proof{name, name}, kyc.ErrProof},
		{"fields out of order", []kyc.Proof{country, name}, kyc.ErrProof},
		{"a wrong one among right ones", append(
			[]kyc.Proof{name}, one(kyc.DebtorCountry, func(p *kyc.Proof) { p.Text = "FR" })...,
		), kyc.ErrProof},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			told, err := kyc.Verify(f.Root(), tt.proofs)
			if !errors.Is(err, tt.want) || told != (kyc.Told{}) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
		})
	}
	t.Run("another payment's commitment", func(t *testing.T) {
		if _, err := kyc.Verify(cypherlink.Hash{1}, []kyc.Proof{name}); !errors.Is(err, kyc.ErrProof) {
			t.Fatal(err)
		}
	})
}

// leafOf is a leaf as the package documents it, made by hand.
func leafOf(field uint8, text string, salt kyc.Salt) merkle.Hash {
	w := wire.NewWriter(0)
	w.Str("cypherlink/kyc-field/v1")
	w.U8(field)
	w.Fixed(salt[:])
	w.Str(text)
	return merkle.Leaf(w.Bytes())
}

// K2: mallory commits to a larger tree, in which a second value for a field stands as a decoy
// after the last leaf, and opens whichever suits her.
func TestDecoysAreRefused(t *testing.T) {
	f := file(t)
	var leaves []merkle.Hash
	for _, p := range openAll(t, f) {
		leaves = append(leaves, leafOf(uint8(p.Field), p.Text, p.Salt))
	}
	if merkle.Root(leaves) != f.Root() {
		t.Fatal("the leaves by hand are not the file's")
	}
	decoy := kyc.Proof{Field: kyc.DebtorCountry, Text: "FR", Salt: kyc.Salt{9}}
	leaves = append(leaves, leafOf(uint8(decoy.Field), decoy.Text, decoy.Salt))
	root := cypherlink.Hash(merkle.Root(leaves))
	for index := range leaves {
		decoy.Path = merkle.Inclusion(leaves, index)
		if _, err := kyc.Verify(root, []kyc.Proof{decoy}); !errors.Is(err, kyc.ErrProof) {
			t.Fatalf("the decoy is taken with the path of leaf %d: %v", index, err)
		}
	}
	decoy.Field = kyc.FieldCount
	decoy.Path = merkle.Inclusion(leaves, kyc.FieldCount)
	if _, err := kyc.Verify(root, []kyc.Proof{decoy}); !errors.Is(err, kyc.ErrField) {
		t.Fatal(err)
	}
}

// K5: a node of the tree is no leaf, whatever it is called.
func TestNodesAreNoLeaves(t *testing.T) {
	f := file(t)
	name, account := open(t, f, kyc.DebtorName), open(t, f, kyc.DebtorAccount)
	left, right := account.Path[0], name.Path[0] // each is the other's neighbour
	node := sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
	if node == merkle.Leaf(slices.Concat(left[:], right[:])) {
		t.Fatal("leaves and nodes are hashed alike")
	}
	forged := kyc.Proof{
		Field: kyc.DebtorName, Salt: kyc.Salt(left), Text: string(right[:]), Path: name.Path[1:],
	}
	if _, err := kyc.Verify(f.Root(), []kyc.Proof{forged}); err == nil {
		t.Fatal("a node passes as a leaf")
	}
}

// K4: whoever has the root and every other field opened, and so the leaf of the hidden one,
// does not find the hidden one by trying all that it can be.
func TestBruteForceFindsNothing(t *testing.T) {
	f := file(t)
	var countries []string
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			countries = append(countries, string([]rune{a, b}))
		}
	}
	hidden := open(t, f, kyc.DebtorCountry)
	neighbour := open(t, f, kyc.DebtorTown)
	target := neighbour.Path[0]
	find := func(salts []kyc.Salt) (found string) {
		for _, salt := range salts {
			for _, country := range countries {
				if leafOf(uint8(kyc.DebtorCountry), country, salt) == target {
					found = country
				}
			}
		}
		return found
	}
	known := []kyc.Salt{{}, kyc.Salt(f.Root())}
	for _, p := range openAll(t, f) {
		if p.Field != kyc.DebtorCountry {
			known = append(known, p.Salt)
		}
	}
	if got := find(known); got != "" {
		t.Fatalf("found %q without its salt", got)
	}
	for _, country := range countries {
		for _, bare := range [][]byte{[]byte(country), []byte("debtor.country" + country)} {
			if merkle.Leaf(bare) == target || sha256.Sum256(bare) == target {
				t.Fatalf("found %q as an unsalted hash", country)
			}
		}
	}
	if got := find([]kyc.Salt{hidden.Salt}); got != "DE" {
		t.Fatalf("with its salt it is found: %q", got)
	}
}

// Two payments between the same parties have nothing in common that is seen outside, and the
// leaf of an empty field looks like any other.
func TestFilesOfTheSamePartiesShareNothing(t *testing.T) {
	first, second := laptop(t), laptop(t)
	if err := second.DrawSalts(chance(2)); err != nil {
		t.Fatal(err)
	}
	a, b := accepted(), accepted()
	b.Salt = kyc.Salt{8}
	seen := map[merkle.Hash]bool{}
	for i, pair := range []struct {
		d kyc.Disclosure
		a kyc.Answer
	}{{first, a}, {second, b}} {
		f, err := kyc.NewFile(&pair.d, &pair.a)
		if err != nil {
			t.Fatal(err)
		}
		hashes := map[merkle.Hash]bool{merkle.Hash(f.Root()): true}
		for _, p := range openAll(t, f) {
			for _, h := range p.Path {
				hashes[h] = true
			}
		}
		for h := range hashes {
			if seen[h] {
				t.Fatalf("file %d shows %x again", i, h)
			}
			seen[h] = true
		}
	}
}

func TestEveryFieldIsUnderTheRoot(t *testing.T) {
	edits := map[string]func(*kyc.Disclosure, *kyc.Answer){
		"debtor name":      func(d *kyc.Disclosure, _ *kyc.Answer) { d.Debtor.Name += "x" },
		"debtor account":   func(d *kyc.Disclosure, _ *kyc.Answer) { d.Debtor.Account = d.Creditor.Account },
		"debtor country":   func(d *kyc.Disclosure, _ *kyc.Answer) { d.Debtor.Country = "AT" },
		"debtor town":      func(d *kyc.Disclosure, _ *kyc.Answer) { d.Debtor.Town += "x" },
		"debtor lei":       func(d *kyc.Disclosure, _ *kyc.Answer) { d.Debtor.LEI = cypherlink.LEI{} },
		"creditor name":    func(d *kyc.Disclosure, _ *kyc.Answer) { d.Creditor.Name += "x" },
		"creditor account": func(d *kyc.Disclosure, _ *kyc.Answer) { d.Creditor.Account.Other += "1" },
		"creditor country": func(d *kyc.Disclosure, _ *kyc.Answer) { d.Creditor.Country = "HK" },
		"creditor town":    func(d *kyc.Disclosure, _ *kyc.Answer) { d.Creditor.Town += "x" },
		"creditor lei":     func(d *kyc.Disclosure, _ *kyc.Answer) { d.Creditor.LEI = d.Debtor.LEI },
		"purpose":          func(d *kyc.Disclosure, _ *kyc.Answer) { d.Purpose = "" },
		"remittance":       func(d *kyc.Disclosure, _ *kyc.Answer) { d.Remittance += "x" },
		"reference":        func(d *kyc.Disclosure, _ *kyc.Answer) { d.Reference += "x" },
		"match":            func(_ *kyc.Disclosure, a *kyc.Answer) { a.Match = kyc.CloseMatch },
		"answer's salt":    func(_ *kyc.Disclosure, a *kyc.Answer) { a.Salt[5]++ },
	}
	for i := range kyc.FieldCount - 1 {
		edits["salt "+kyc.Field(i).String()] = func(d *kyc.Disclosure, _ *kyc.Answer) { d.Salts[i][9]++ }
	}
	roots := map[cypherlink.Hash]string{file(t).Root(): "nothing"}
	for name, edit := range edits {
		d, a := laptop(t), accepted()
		edit(&d, &a)
		f, err := kyc.NewFile(&d, &a)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, twice := roots[f.Root()]; twice {
			t.Fatalf("%s and %s give one root", name, other)
		}
		roots[f.Root()] = name
	}
}

func TestFileNeedsAnAcceptance(t *testing.T) {
	d := laptop(t)
	tests := []struct {
		name   string
		answer kyc.Answer
		want   error
	}{
		{"a refusal", kyc.Answer{Reason: "AC04", Salt: kyc.Salt{1}}, kyc.ErrAnswer},
		{"an answer that is none", kyc.Answer{Salt: kyc.Salt{1}}, kyc.ErrAnswer},
		{"an unsalted answer", kyc.Answer{Match: kyc.FullMatch}, kyc.ErrSalt},
		{"a salt that the disclosure has", kyc.Answer{Match: kyc.FullMatch, Salt: d.Salts[2]}, kyc.ErrSalt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := kyc.NewFile(&d, &tt.answer); !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			b := append(d.Encode(), tt.answer.Encode()...)
			if _, err := kyc.DecodeFile(b); !errors.Is(err, tt.want) {
				t.Fatalf("decoded: %v, want %v", err, tt.want)
			}
		})
	}
}

func encodeProof(p kyc.Proof) []byte {
	var w wire.Writer
	p.AppendWire(&w)
	return w.Bytes()
}

func TestProofAndToldAreReadBack(t *testing.T) {
	f := file(t)
	for _, want := range openAll(t, f) {
		b := encodeProof(want)
		r := wire.NewReader(b)
		got := kyc.ReadProof(r)
		if err := r.End(); err != nil || !bytes.Equal(encodeProof(got), b) {
			t.Fatalf("%s: %v", want.Field, err)
		}
		if _, err := kyc.Verify(f.Root(), []kyc.Proof{got}); err != nil || len(b) > kyc.MaxProof {
			t.Fatalf("%s: %v", want.Field, err)
		}
	}
	told, err := kyc.Verify(f.Root(), openAll(t, f)[2:11])
	if err != nil {
		t.Fatal(err)
	}
	var w wire.Writer
	told.AppendWire(&w)
	r := wire.NewReader(w.Bytes())
	if got := kyc.ReadTold(r); r.End() != nil || got != told {
		t.Fatalf("told is read otherwise: %v", r.End())
	}
}

func FuzzReadProof(f *testing.F) {
	for _, p := range openAll(f, file(f)) {
		f.Add(encodeProof(p))
	}
	f.Add([]byte{kyc.FieldCount})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		p := kyc.ReadProof(r)
		if r.End() == nil && !bytes.Equal(encodeProof(p), b) {
			t.Fatalf("%x has another form %x", b, encodeProof(p))
		}
	})
}

func FuzzReadTold(f *testing.F) {
	told, err := kyc.Verify(file(f).Root(), openAll(f, file(f)))
	if err != nil {
		f.Fatal(err)
	}
	var w wire.Writer
	told.AppendWire(&w)
	f.Add(w.Bytes())
	f.Add(make([]byte, kyc.FieldCount))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		told := kyc.ReadTold(r)
		if r.End() != nil {
			return
		}
		var w wire.Writer
		told.AppendWire(&w)
		if !bytes.Equal(w.Bytes(), b) {
			t.Fatalf("%x has another form %x", b, w.Bytes())
		}
	})
}

func BenchmarkNewFile(b *testing.B) {
	d, a := laptop(b), accepted()
	b.ReportAllocs()
	for b.Loop() {
		f, err := kyc.NewFile(&d, &a)
		if err != nil || f.Root() == (cypherlink.Hash{}) {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyAllFields(b *testing.B) {
	f := file(b)
	proofs, root := openAll(b, f), f.Root()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := kyc.Verify(root, proofs); err != nil {
			b.Fatal(err)
		}
	}
}
