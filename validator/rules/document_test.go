package rules_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/validator"
	"github.com/cypherlink/cypherlink/validator/rules"
)

func small() rules.Document {
	return rules.Document{Name: "small", Version: 1, Rules: []rules.Rule{
		{"limit", "At most 100.00, <\"&>.", "amount <= 10000 && leg >= 0", validator.Rejected, "AM02"},
		{"review", "Over 50.00 a person looks.", "amount <= 5000", validator.Held, "NARR"},
	}}
}

func TestDocumentIsStrict(t *testing.T) {
	long := strings.Repeat("x", 3000)
	rule := func(edit func(*rules.Rule)) func(*rules.Document) {
		return func(d *rules.Document) { edit(&d.Rules[1]) }
	}
	tests := []struct {
		name string
		edit func(*rules.Document)
	}{
		{"no name", func(d *rules.Document) { d.Name = "" }},
		{"a name in capitals", func(d *rules.Document) { d.Name = "DE" }},
		{"a name of 65 characters", func(d *rules.Document) { d.Name = long[:65] }},
		{"no version", func(d *rules.Document) { d.Version = 0 }},
		{"no rules", func(d *rules.Document) { d.Rules = nil }},
		{"too many rules", func(d *rules.Document) {
			for i := range rules.MaxRules {
				r := d.Rules[0]
				r.ID = fmt.Sprint(i)
				d.Rules = append(d.Rules, r)
			}
		}},
		{"a rule without an id", rule(func(r *rules.Rule) { r.ID = "" })},
		{"an id twice", rule(func(r *rules.Rule) { r.ID = "limit" })},
		{"an id with a blank", rule(func(r *rules.Rule) { r.ID = "a b" })},
		{"no description", rule(func(r *rules.Rule) { r.Description = "" })},
		{"a long description", rule(func(r *rules.Rule) { r.Description = long[:513] })},
		{"writing turned round", rule(func(r *rules.Rule) { r.Description = "a\u202eb" })},
		{"no expression", rule(func(r *rules.Rule) { r.Expression = "" })},
		{"a long expression", rule(func(r *rules.Rule) { r.Expression = long[:2049] })},
		{"an expression of two lines", rule(func(r *rules.Rule) { r.Expression = "true\n|| false" })},
		{"an invisible character", rule(func(r *rules.Rule) { r.Expression = "code != \"a\u200bb\"" })},
		{"not UTF-8", rule(func(r *rules.Rule) { r.Description = "a\xff" })},
		{"an outcome that approves", rule(func(r *rules.Rule) { r.Outcome = validator.Approved })},
		{"no outcome", rule(func(r *rules.Rule) { r.Outcome = 0 })},
		{"no reason", rule(func(r *rules.Rule) { r.Reason = "" })},
		{"a reason that ISO has not", rule(func(r *rules.Rule) { r.Reason = "LEGL" })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := small()
			tt.edit(&d)
			raw, err := d.Encode()
			if tt.name == "not UTF-8" {
				if err == nil { // written as the replacement character, which is another text
					if again, err := rules.Decode(raw); err == nil && again.Rules[1] == d.Rules[1] {
						t.Fatal("bytes that are no text survive")
					}
				}
				return
			}
			if !errors.Is(err, rules.ErrDocument) {
				t.Fatal(err)
			}
		})
	}
}

func TestDocumentHasOneForm(t *testing.T) {
	d := small()
	raw := encode(t, &d)
	got, err := rules.Decode(raw)
	if err != nil || !reflect.DeepEqual(*got, d) {
		t.Fatalf("%+v, %v", got, err)
	}
	replace := func(old, by string) []byte {
		if !bytes.Contains(raw, []byte(old)) {
			t.Fatalf("no %q in %s", old, raw)
		}
		return bytes.Replace(raw, []byte(old), []byte(by), 1)
	}
	tests := []struct {
		name   string
		raw    []byte
		author bool // an author may write it so
	}{
		{"another space", replace(`"version": 1`, `"version":  1`), true},
		{"no line feed at the end", raw[:len(raw)-1], true},
		{"a line feed too many", append(bytes.Clone(raw), '\n'), true},
		{"an escape that is not needed", replace(`&>`, `\u0026>`), true},
		{"the fields in another order", replace(
			"\"name\": \"small\",\n  \"version\": 1", "\"version\": 1,\n  \"name\": \"small\"",
		), true},
		{"a key in capitals", replace(`"version"`, `"Version"`), true},
		{"a key twice", replace(`"version": 1,`, `"version": 2, "version": 1,`), true},
		{"an unknown key", replace(`"version": 1,`, `"version": 1, "author": "x",`), false},
		{"a second value", append(bytes.Clone(raw), "{}"...), false},
		{"another format", replace("rules-v1", "rules-v2"), false},
		{"a version with a fraction", replace(`"version": 1`, `"version": 1.5`), false},
		{"a negative version", replace(`"version": 1`, `"version": -1`), false},
		{"an unknown outcome", replace(`"hold"`, `"approve"`), false},
		{"an unknown reason", replace(`"NARR"`, `"XXXX"`), false},
		{"bytes that are no text", replace(`Over`, "\xff"), true},
		{"nothing", nil, false},
		{"too much", bytes.Repeat([]byte{' '}, rules.MaxDocument+1), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := rules.Decode(tt.raw); !errors.Is(err, rules.ErrDocument) {
				t.Fatalf("decoded: %v", err)
			}
			d, err := rules.Read(tt.raw)
			if tt.author != (err == nil) || err != nil && !errors.Is(err, rules.ErrDocument) {
				t.Fatalf("an author's: %v", err)
			}
			if tt.author {
				if _, err := rules.Decode(encode(t, d)); err != nil {
					t.Fatalf("not mended: %v", err)
				}
			}
		})
	}
}

func TestHashIsOfEveryByte(t *testing.T) {
	hashes := map[cypherlink.Hash]string{}
	add := func(name string, edit func(*rules.Document)) {
		d := small()
		edit(&d)
		h := set(t, encode(t, &d)).Hash()
		if other, twice := hashes[h]; twice {
			t.Fatalf("%s has the hash of %s", name, other)
		}
		hashes[h] = name
	}
	add("the set", func(*rules.Document) {})
	add("another name", func(d *rules.Document) { d.Name = "other" })
	add("another version", func(d *rules.Document) { d.Version++ })
	add("another id", func(d *rules.Document) { d.Rules[0].ID = "other" })
	add("another description", func(d *rules.Document) { d.Rules[0].Description += "." })
	add("another limit", func(d *rules.Document) { d.Rules[1].Expression = "amount <= 5001" })
	add("another outcome", func(d *rules.Document) { d.Rules[1].Outcome = validator.Rejected })
	add("another reason", func(d *rules.Document) { d.Rules[1].Reason = "RR04" })
	add("another order", func(d *rules.Document) { d.Rules[0], d.Rules[1] = d.Rules[1], d.Rules[0] })
	add("a rule less", func(d *rules.Document) { d.Rules = d.Rules[:1] })
}

// A set's hash pins the meaning of its expressions: a change of the library, of the form or
// of the domain is a change of every hash that stands in a genesis.
func TestHashIsPinned(t *testing.T) {
	document, _ := rules.DigitalEuro()
	const want = "f844837b53bb90a2b5996cf16fdda7f377f44755f85a021c7beb7158fd481c80"
	if got := set(t, document).Hash().String(); got != want {
		t.Fatalf("hash %s, want %s", got, want)
	}
}

func TestLanguageIsTheOneInUse(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		module, _, _ := strings.Cut(strings.TrimSpace(line), " //")
		if strings.HasPrefix(module, "cel.dev/cel-go ") {
			if language := module + ", Unicode " + unicode.Version; language != rules.Language {
				t.Fatalf("%s is in use: sets under it are other sets", language)
			}
			return
		}
	}
	t.Fatal("go.mod names no cel.dev/cel-go")
}

func TestSetTellsWhatItIs(t *testing.T) {
	d := small()
	s := set(t, encode(t, &d))
	if s.Name() != "small" || s.Version() != 1 || !reflect.DeepEqual(s.Rules(), d.Rules) {
		t.Fatalf("%s %d %+v", s.Name(), s.Version(), s.Rules())
	}
	s.Rules()[0].Reason = "RR04"
	if s.Rules()[0].Reason != "AM02" {
		t.Fatal("a set can be changed from outside")
	}
}

func FuzzDecode(f *testing.F) {
	d := small()
	f.Add(encode(f, &d))
	for _, sets := range []func() ([]byte, []byte){rules.DigitalEuro, rules.DigitalYuan} {
		document, _ := sets()
		f.Add(document)
	}
	f.Add([]byte(`{"format":"cypherlink-rules-v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := rules.Decode(b)
		if err != nil {
			return
		}
		if again := encode(t, d); !bytes.Equal(again, b) {
			t.Fatalf("%s has another form %s", b, again)
		}
		if s, err := rules.Compile(b); err == nil && len(s.Rules()) != len(d.Rules) {
			t.Fatalf("%d rules became %d", len(d.Rules), len(s.Rules()))
		}
	})
}
