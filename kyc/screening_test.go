package kyc_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/kyc"
)

// The pairs were scored by rapidfuzz 3.14.6 and, alike, by jellyfish 1.3.0, both in floating
// point; among them is the table of Winkler's papers.
func TestSimilarityAgreesWithOtherImplementations(t *testing.T) {
	raw, err := os.ReadFile("testdata/similarity.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][3]json.RawMessage
	if err := json.Unmarshal(raw, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		var a, b string
		var want int
		for i, out := range []any{&a, &b, &want} {
			if err := json.Unmarshal(row[i], out); err != nil {
				t.Fatal(err)
			}
		}
		if got := kyc.Similarity(a, b); got != want {
			t.Errorf("%s and %s: %d, want %d", a, b, got, want)
		}
	}
	if len(rows) < 300 {
		t.Fatalf("%d rows", len(rows))
	}
}

func TestNormalFormsOfNames(t *testing.T) {
	tests := []struct{ name, a, b string }{
		{"case", "ACME LTD", "acme ltd"},
		{"the order of words", "Kim Jong Un", "un, kim jong"},
		{"accents", "José Núñez", "Jose Nunez"},
		{"an accent composed and decomposed", "Núñez", "Nu\u0301n\u0303ez"},
		{"sharp s", "Straße", "STRASSE"},
		{"letters that do not decompose", "Łódź Ørsted Þór", "lodz orsted thor"},
		{"a ligature and full width", "ﬁnance ＡＢＣ", "finance abc"},
		{"apostrophes", "O'Neil d’Arc", "oneil darc"},
		{"punctuation and blanks", "A.B.C.-Trading   (HK)", "a b c trading hk"},
		{"Greek final sigma", "ΟΔΥΣΣΕΥΣ", "οδυσσευς"},
		{"Chinese", "深圳 电脑", "电脑 深圳"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := kyc.Similarity(tt.a, tt.b); got != kyc.MaxScore {
				t.Fatalf("%q and %q score %d", tt.a, tt.b, got)
			}
		})
	}
	t.Run("one umlaut, two spellings", func(t *testing.T) {
		if got := kyc.Similarity("müller", "mueller"); got < 900 { // 830 byte by byte
			t.Fatal(got)
		}
	})
	t.Run("different people", func(t *testing.T) {
		if got := kyc.Similarity("Ada Lovelace", "Charles Babbage"); got > 700 {
			t.Fatal(got)
		}
	})
	t.Run("nothing is like nothing", func(t *testing.T) {
		if got := kyc.Similarity("", "") + kyc.Similarity("--", "--") + kyc.Similarity("a", ""); got != 0 {
			t.Fatal(got)
		}
	})
}

func drawName(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.StringMatching(`[a-dA-Däß ]{0,20}`),
		rapid.StringMatching(`[a-z]{1,9} [a-z]{1,9}`),
		rapid.String(),
	).Draw(t, label)
}

func TestSimilarityIsSymmetricAndBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawName(t, "a"), drawName(t, "b")
		score := kyc.Similarity(a, b)
		if score != kyc.Similarity(b, a) {
			t.Fatalf("%q and %q: not symmetric", a, b)
		}
		if score < 0 || score > kyc.MaxScore {
			t.Fatalf("%q and %q: %d", a, b, score)
		}
		if same := kyc.Similarity(a, a); same != 0 && same != kyc.MaxScore {
			t.Fatalf("%q and itself: %d", a, same)
		}
	})
}

func list(tb testing.TB, names ...string) *kyc.List {
	tb.Helper()
	l, err := kyc.NewList(names)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// Pruning leaves the greatest similarity as it is.
func TestScoreIsTheGreatestSimilarity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.StringMatching(`[a-d0]([a-dß ]{0,12})`), 0, 12).Draw(t, "names")
		name := rapid.StringMatching(`[a-d]([a-däß ]{0,12})`).Draw(t, "name")
		l, err := kyc.NewList(names)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, n := range names {
			want = max(want, kyc.Similarity(n, name))
		}
		if got := l.Score(name); got != want {
			t.Fatalf("%q against %q: %d, want %d", name, names, got, want)
		}
	})
}

// A name that is long in its normal form fills the bags; it is compared all the same, also
// after one that comes near.
func TestLongNamesAreCompared(t *testing.T) {
	const ligature = "ﷺ" // 18 characters in its normal form
	long := strings.Repeat(ligature, kyc.MaxName)
	near := "a" + strings.Repeat(ligature, kyc.MaxName-1) // before long in the list's order
	if got := list(t, near).Score(long); got < 900 || got > 999 {
		t.Fatal(got)
	}
	if got := list(t, near, long).Score(long); got != kyc.MaxScore {
		t.Fatal(got)
	}
}

func TestListIsStrict(t *testing.T) {
	long := strings.Repeat("x", kyc.MaxName)
	for _, tt := range []struct {
		name  string
		names []string
		ok    bool
	}{
		{"no names", nil, true},
		{"a name of 140 characters", []string{long}, true},
		{"a name of 141", []string{long + "x"}, false},
		{"a name without a letter", []string{"Kim", "-?-"}, false},
		{"an empty name", []string{""}, false},
		{"too many names", make([]string, kyc.MaxList+1), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := kyc.NewList(tt.names)
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, kyc.ErrList) {
				t.Fatal(err)
			}
		})
	}
}

func TestListHashIsOfItsNames(t *testing.T) {
	l := list(t, "Kim Jong Un", "Ivan IV", "Al Capone")
	if list(t, "AL CAPONE", "kim JONG un", "Ivan IV", "ivan iv").Hash() != l.Hash() {
		t.Fatal("the same names have another hash")
	}
	if list(t, "Kim Jong Un", "Ivan IV").Hash() == l.Hash() || list(t, "Kim Jong Un Ivan", "IV").Hash() ==
		list(t, "Kim Jong Un", "Ivan IV").Hash() {
		t.Fatal("other names have the same hash")
	}
}

func TestUnscreenableNamesAreHits(t *testing.T) {
	for _, name := range []string{"", "-", "🙂", "\u0301"} {
		if got := list(t).Score(name); got != kyc.MaxScore {
			t.Fatalf("%q scores %d against an empty list", name, got)
		}
	}
	if got := list(t).Score("Kim"); got != 0 {
		t.Fatalf("an empty list hits with %d", got)
	}
}

func requirements(tb testing.TB) kyc.Requirements {
	tb.Helper()
	return kyc.Requirements{
		Needed: []kyc.Field{kyc.DebtorName, kyc.DebtorAccount, kyc.CreditorName, kyc.CreditorAccount},
		List:   list(tb, "Al Capone", "Kim Jong Un"),
		Hit:    920, Full: 950, Close: 850,
	}
}

func TestAnswer(t *testing.T) {
	none := func(*kyc.Disclosure) {}
	debtor := func(name string) func(*kyc.Disclosure) {
		return func(d *kyc.Disclosure) { d.Debtor.Name = name }
	}
	creditor := func(name string) func(*kyc.Disclosure) {
		return func(d *kyc.Disclosure) { d.Creditor.Name = name }
	}
	tests := []struct {
		name     string
		edit     func(*kyc.Disclosure)
		standing kyc.Standing
		holder   string
		reason   string
		match    kyc.Match
	}{
		{"the holder's name", none, kyc.Open, "SHENZHEN LAPTOP CO.", "", kyc.FullMatch},
		{"nearly the holder's name", none, kyc.Open, "Shenzhen Laptops Corporation", "", kyc.CloseMatch},
		{"books without a name", none, kyc.Open, "", "", kyc.NotChecked},
		{"another holder", none, kyc.Open, "Guangzhou Fruit", "BE01", ""},
		{"no such account", none, kyc.Unknown, "", "AC01", ""},
		{"a standing that does not exist", none, kyc.Blocked + 1, "", "AC01", ""},
		{"a closed account", none, kyc.Closed, "Shenzhen Laptop Co", "AC04", ""},
		{"a blocked account", none, kyc.Blocked, "Shenzhen Laptop Co", "AC06", ""},
		{"a listed debtor", debtor("CAPONE, Al"), kyc.Open, "", "RR04", ""},
		{"a listed creditor", creditor("Kim Yong Un"), kyc.Open, "", "RR04", ""},
		{"a name that cannot be screened", creditor("?"), kyc.Open, "?", "RR04", ""},
		{"no creditor name", creditor(""), kyc.Open, "x", "BE22", ""},
		{"a listed debtor and a closed account", debtor("Al Capone"), kyc.Closed, "", "AC04", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, q := laptop(t), requirements(t)
			tt.edit(&d)
			if err := q.Valid(); err != nil {
				t.Fatal(err)
			}
			salt := kyc.Salt{5}
			got := q.Answer(&d, tt.standing, tt.holder, salt)
			if got != (kyc.Answer{Reason: tt.reason, Match: tt.match, Salt: salt}) || got.Valid() != nil {
				t.Fatalf("%q %q, %v", got.Reason, got.Match, got.Valid())
			}
		})
	}
	t.Run("nobody needs a creditor's name", func(t *testing.T) {
		d, q := laptop(t), requirements(t)
		q.Needed, d.Creditor.Name = nil, ""
		if got := q.Answer(&d, kyc.Open, "Shenzhen", kyc.Salt{5}); got.Match != kyc.NotChecked {
			t.Fatalf("%q %q", got.Reason, got.Match)
		}
	})
}

// Every field can be asked for, and its own reason says that it is missing.
func TestMissingFieldsHaveReasons(t *testing.T) {
	for field, want := range map[kyc.Field]string{
		kyc.DebtorName: "RR02", kyc.DebtorAccount: "RR01", kyc.DebtorCountry: "RR02", kyc.DebtorTown: "RR02",
		kyc.DebtorLEI: "BE16", kyc.CreditorName: "BE22", kyc.CreditorAccount: "AC01",
		kyc.CreditorCountry: "RR03", kyc.CreditorTown: "RR03", kyc.CreditorLEI: "BE17",
		kyc.Purpose: "RR05", kyc.Remittance: "RR07", kyc.Reference: "RR09",
	} {
		d, q := laptop(t), requirements(t)
		q.Needed = []kyc.Field{field}
		d.Creditor.LEI = d.Debtor.LEI
		if got := q.Examine(&d); got != "" {
			t.Fatalf("%s is told: %s", field, got)
		}
		nothing := kyc.Disclosure{Salts: d.Salts}
		if got := q.Examine(&nothing); got != want {
			t.Fatalf("%s is missing: %s, want %s", field, got, want)
		}
	}
	d, q := kyc.Disclosure{}, requirements(t)
	q.Needed = []kyc.Field{kyc.CreditorAccount, kyc.DebtorName}
	if got := q.Examine(&d); got != "AC01" {
		t.Fatalf("the first missing field is named: %s", got)
	}
}

// No tipping off: whoever is hit, and however nearly, the answer is the same bytes.
func TestAHitSaysNothing(t *testing.T) {
	answers := map[string]bool{}
	for _, edit := range []func(*kyc.Disclosure){
		func(d *kyc.Disclosure) { d.Debtor.Name = "Al Capone" },
		func(d *kyc.Disclosure) { d.Debtor.Name = "Kim Jong Um" },
		func(d *kyc.Disclosure) { d.Creditor.Name = "Kim Jong Un" },
		func(d *kyc.Disclosure) { d.Debtor.Name, d.Creditor.Name = "Al Capone", "Al Capone" },
	} {
		d, q := laptop(t), requirements(t)
		edit(&d)
		a := q.Answer(&d, kyc.Open, d.Creditor.Name, kyc.Salt{5})
		answers[string(a.Encode())] = true
	}
	if len(answers) != 1 {
		t.Fatalf("%d different answers", len(answers))
	}
}

func TestRequirementsValid(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*kyc.Requirements)
	}{
		{"no list", func(q *kyc.Requirements) { q.List = nil }},
		{"the payee's own field", func(q *kyc.Requirements) { q.Needed = []kyc.Field{kyc.PayeeMatch} }},
		{"a field that does not exist", func(q *kyc.Requirements) { q.Needed = []kyc.Field{99} }},
		{"everybody is a hit", func(q *kyc.Requirements) { q.Hit = 0 }},
		{"nobody can be a hit", func(q *kyc.Requirements) { q.Hit = kyc.MaxScore + 1 }},
		{"every name matches", func(q *kyc.Requirements) { q.Close = 0 }},
		{"no name matches", func(q *kyc.Requirements) { q.Full = kyc.MaxScore + 1 }},
		{"full below close", func(q *kyc.Requirements) { q.Full = q.Close - 1 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := requirements(t)
			tt.edit(&q)
			if err := q.Valid(); !errors.Is(err, kyc.ErrRequirements) {
				t.Fatal(err)
			}
		})
	}
}

// people is n names that a seed fixes, built of syllables.
func people(n int) []string {
	random := rand.New(rand.NewPCG(1, 2))
	syllables := strings.Fields("an bel chu dor el fan gar hin is jo ka lem mo nar ol pet qua ri sen tu")
	word := func() string {
		var b strings.Builder
		for range 2 + random.IntN(3) {
			b.WriteString(syllables[random.IntN(len(syllables))])
		}
		return b.String()
	}
	names := make([]string, n)
	for i := range names {
		names[i] = word() + " " + word()
	}
	slices.Sort(names)
	return names
}

func BenchmarkScore(b *testing.B) {
	for _, n := range []int{100, 20_000} {
		b.Run(fmt.Sprintf("%d names", n), func(b *testing.B) {
			l := list(b, people(n)...)
			b.ReportAllocs()
			for b.Loop() {
				_ = l.Score("Shenzhen Laptop Company")
			}
		})
	}
}

func BenchmarkSimilarity(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = kyc.Similarity("Müller & Söhne GmbH", "Mueller und Soehne GmbH")
	}
}
