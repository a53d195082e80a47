package ilp_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

func TestAddressVectors(t *testing.T) {
	var set struct{ Valid, Invalid []string }
	vectors.JSON(t, "vectors/ilp/extracted/ilp_addresses.interledger-rs.json", &set)
	if len(set.Valid) != 13 || len(set.Invalid) != 13 {
		t.Fatal("vectors are missing")
	}
	for _, s := range set.Valid {
		if a, err := ilp.ParseAddress(s); err != nil || string(a) != s {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range set.Invalid {
		if a, err := ilp.ParseAddress(s); !errors.Is(err, ilp.ErrAddress) || a != "" {
			t.Errorf("%q accepted: %v", s, err)
		}
	}
}

// FuzzAddress compares with the expression of RFC 15.
func FuzzAddress(f *testing.F) {
	rfc := regexp.MustCompile(`^(g|private|example|peer|self|test[1-3]?|local)([.][a-zA-Z0-9_~-]+)+$`)
	for _, s := range []string{"g.a", "test3.a.b", "g", "g.", "g.a.", "g..a", ".g.a", "g.a\n", "self.~_-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := ilp.ParseAddress(s)
		if want := len(s) <= ilp.MaxAddress && rfc.MatchString(s); (err == nil) != want {
			t.Fatalf("%q: %v", s, err)
		}
	})
}

func TestWithin(t *testing.T) {
	tests := []struct {
		address, prefix ilp.Address
		within          bool
		below           string
	}{
		{"g.bank1", "g.bank1", true, ""},
		{"g.bank1.a.b", "g.bank1", true, "a.b"},
		{"g.bank10", "g.bank1", false, ""},
		{"g.bank10.a", "g.bank1", false, ""},
		{"g.bank1", "g.bank1.a", false, ""},
		{"g.Bank1.a", "g.bank1", false, ""},
		{"g.a", "g", true, "a"},
		{"g.a", "", false, ""},
		{"test1.a", "test", false, ""},
	}
	for _, tt := range tests {
		if got := tt.address.Within(tt.prefix); got != tt.within {
			t.Errorf("%s within %s: %v", tt.address, tt.prefix, got)
		}
		if got, ok := tt.address.Below(tt.prefix); got != tt.below || ok != (tt.below != "") {
			t.Errorf("%s below %s: %q, %v", tt.address, tt.prefix, got, ok)
		}
	}
}

func TestChild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parent := drawAddress(t)
		child, err := parent.Child("x")
		if err != nil || !child.Within(parent) || child.Scheme() != parent.Scheme() {
			t.Fatal(child, err)
		}
	})
	for _, segment := range []string{"", "a.b", "a b", strings.Repeat("x", ilp.MaxAddress)} {
		if a, err := ilp.Address("g.a").Child(segment); !errors.Is(err, ilp.ErrAddress) {
			t.Errorf("%.20q accepted as %.20s", segment, a)
		}
	}
}
