package cypherlink_test

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

func TestParseBIC(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"the form of 8 is completed", "DEUTDEFF", "DEUTDEFFXXX"},
		{"the form of 11 stays", "DEUTDEFF500", "DEUTDEFF500"},
		{"the BIC of T2 has country XE", "TRGTXEPM", "TRGTXEPMXXX"},
		{"Kosovo", "NLBRXKPR", "NLBRXKPRXXX"},
		{"digits in the party prefix (ISO 9362:2014)", "B0B1GB2L", "B0B1GB2LXXX"},
		{"an unknown country", "DEUTZZFF", ""},
		{"a digit in the country", "DEUTD1FF", ""},
		{"half of two countries", "DEUTE FF", ""},
		{"lower case", "deutdeff", ""},
		{"9 characters", "DEUTDEFFX", ""},
		{"10 characters", "DEUTDEFFXX", ""},
		{"12 characters", "DEUTDEFFXXXX", ""},
		{"a hyphen", "DEUT-EFF", ""},
		{"a letter outside ASCII", "DEUTDEFÜ", ""},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cypherlink.ParseBIC(tt.in)
			if got.String() != tt.want || (tt.want == "") != errors.Is(err, cypherlink.ErrBIC) {
				t.Fatalf("got %q, %v", got, err)
			}
		})
	}
}

func TestBICTextIsTheLongForm(t *testing.T) {
	var b cypherlink.BIC
	if err := b.UnmarshalText([]byte("DEUTDEFF")); !errors.Is(err, cypherlink.ErrBIC) || !b.IsZero() {
		t.Fatalf("two texts for one BIC: %v", err)
	}
}

func TestParseIBAN(t *testing.T) {
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"Germany", "DE89370400440532013000", true},
		{"United Kingdom", "GB29NWBK60161331926819", true},
		{"Norway, the shortest", "NO9386011117947", true},
		{"Malta, long with letters", "MT84MALT011000012345MTLCAST001S", true},
		{"Saint Lucia, 32", "LC55HEMM000100010012001200023015", true},
		{"Switzerland", "CH9300762011623852957", true},
		{"Kosovo", "XK051212012345678906", true},
		{"a country that our table lacks", "CN" + checkDigits("CN", "123456789") + "123456789", true},
		{"wrong check digits", "GB29NWBK60161331926818", false},
		{"two digits exchanged", "DE89370400440532010300", false},
		{"check digits 00 with a right remainder", remainderAlias(t, "00"), false},
		{"check digits 01 with a right remainder", remainderAlias(t, "01"), false},
		{"check digits 99 with a right remainder", remainderAlias(t, "99"), false},
		{"a letter as check digit with a right remainder", remainderAlias(t, "5A"), false},
		{"a digit in the country", "D189370400440532013000", false},
		{"the print form with spaces", "DE89 3704 0044 0532 0130 00", false},
		{"lower case", "de89370400440532013000", false},
		{"one character short of the country's length", "DE" + checkDigits("DE", "37040044053201300") +
			"37040044053201300", false},
		{"an unknown country", "ZZ" + checkDigits("ZZ", "1234567890") + "1234567890", false},
		{"35 characters", "CN" + checkDigits("CN", strings.Repeat("1", 31)) + strings.Repeat("1", 31), false},
		{"34 characters", "CN" + checkDigits("CN", strings.Repeat("1", 30)) + strings.Repeat("1", 30), true},
		{"no account number", "DE68", false},
		{"letters as check digits", "DEAA370400440532013000", false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cypherlink.ParseIBAN(tt.in)
			if tt.ok && (err != nil || got.String() != tt.in) {
				t.Fatalf("%s: %v", tt.in, err)
			}
			if !tt.ok && (!errors.Is(err, cypherlink.ErrIBAN) || !got.IsZero()) {
				t.Fatalf("%s accepted: %v", tt.in, err)
			}
			if err != nil && len(tt.in) > 9 && strings.Contains(err.Error(), tt.in[4:]) {
				t.Fatalf("the error tells the number: %v", err)
			}
		})
	}
}

func TestIBANStaysOutOfLogs(t *testing.T) {
	i, err := cypherlink.ParseIBAN("DE89370400440532013000")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", slog.Any("account", i))
	if strings.Contains(out.String(), "3704") {
		t.Fatal(out.String())
	}
}

// remainder is mod 97 of a text of digits and capital letters, digit by digit: a second way
// beside that of the package.
func remainder(s string) int {
	rest := 0
	for _, c := range s {
		v := strings.IndexRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", c)
		if v > 9 {
			rest = (rest*10 + v/10) % 97
		}
		rest = (rest*10 + v%10) % 97
	}
	return rest
}

func checkDigits(country, account string) string {
	n := 98 - remainder(account+country+"00")
	return string([]byte{byte('0' + n/10), byte('0' + n%10)})
}

// remainderAlias is a German IBAN whose check digits are want and whose remainder is 1.
func remainderAlias(tb testing.TB, want string) string {
	tb.Helper()
	for n := range 1000 {
		account := fmt.Sprintf("370400440532013%03d", n)
		if remainder(account+"DE"+want) == 1 {
			return "DE" + want + account
		}
	}
	tb.Fatal("none found")
	return ""
}

func TestParseLEI(t *testing.T) {
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"Apple", "HWUPKR0MPOU8FGXBT394", true},
		{"Deutsche Bank", "7LTWFZYICNSX8D621K86", true},
		{"wrong check digits", "7LTWFZYICNSX8D621K87", false},
		{"two characters exchanged", "7TLWFZYICNSX8D621K86", false},
		{"lower case", "7ltwfzyicnsx8d621k86", false},
		{"19 characters", "7LTWFZYICNSX8D621K8", false},
		{"21 characters", "7LTWFZYICNSX8D621K860", false},
		{"a letter as check digit", "7LTWFZYICNSX8D621K8A", false},
		{"check digits 00 with a right remainder", leiAlias(t, "00"), false},
		{"check digits 99 with a right remainder", leiAlias(t, "99"), false},
		{"a letter as check digit with a right remainder", leiAlias(t, "5A"), false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cypherlink.ParseLEI(tt.in)
			if tt.ok && (err != nil || got.String() != tt.in) {
				t.Fatalf("%s: %v", tt.in, err)
			}
			if !tt.ok && (!errors.Is(err, cypherlink.ErrLEI) || !got.IsZero()) {
				t.Fatalf("%s accepted: %v", tt.in, err)
			}
		})
	}
}

func leiAlias(tb testing.TB, want string) string {
	tb.Helper()
	for n := range 1000 {
		s := fmt.Sprintf("7LTWFZYICNSX8D6%03d%s", n, want)
		if remainder(s) == 1 {
			return s
		}
	}
	tb.Fatal("none found")
	return ""
}

func TestParseUETR(t *testing.T) {
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"a version 4 UUID", "eb6305c9-1f7f-49de-aed0-16487c27b42d", true},
		{"upper case", "EB6305C9-1f7f-49de-aed0-16487c27b42d", false},
		{"version 1", "eb6305c9-1f7f-19de-aed0-16487c27b42d", false},
		{"version 7", "eb6305c9-1f7f-79de-aed0-16487c27b42d", false},
		{"variant of NCS", "eb6305c9-1f7f-49de-2ed0-16487c27b42d", false},
		{"variant of Microsoft", "eb6305c9-1f7f-49de-ced0-16487c27b42d", false},
		{"braces", "{eb6305c9-1f7f-49de-aed0-16487c27b42d}", false},
		{"no hyphens", "eb6305c91f7f49deaed016487c27b42d", false},
		{"a hyphen too many", "eb6305c9-1f7f-49de-aed0-16487c27-42d", false},
		{"a letter that is no digit", "gb6305c9-1f7f-49de-aed0-16487c27b42d", false},
		{"nil", "00000000-0000-0000-0000-000000000000", false},
		{"another character for the first hyphen", "eb6305c901f7f-49de-aed0-16487c27b42d", false},
		{"another character for the second hyphen", "eb6305c9-1f7f049de-aed0-16487c27b42d", false},
		{"another character for the third hyphen", "eb6305c9-1f7f-49de0aed0-16487c27b42d", false},
		{"another character for the fourth hyphen", "eb6305c9-1f7f-49de-aed0016487c27b42d", false},
		{"empty", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := cypherlink.ParseUETR(tt.in)
			if tt.ok && (err != nil || got.String() != tt.in) {
				t.Fatalf("%v", err)
			}
			if !tt.ok && (!errors.Is(err, cypherlink.ErrUETR) || !got.IsZero()) {
				t.Fatalf("accepted: %v", err)
			}
		})
	}
}

func TestNewUETR(t *testing.T) {
	u, err := cypherlink.NewUETR(bytes.NewReader(bytes.Repeat([]byte{0xff}, 16)))
	if err != nil || u.String() != "ffffffff-ffff-4fff-bfff-ffffffffffff" {
		t.Fatal(u, err)
	}
	u, err = cypherlink.NewUETR(bytes.NewReader(make([]byte, 16)))
	if err != nil || u.String() != "00000000-0000-4000-8000-000000000000" {
		t.Fatal(u, err)
	}
	u, err = cypherlink.NewUETR(bytes.NewReader(make([]byte, 15)))
	if !errors.Is(err, io.ErrUnexpectedEOF) || !u.IsZero() {
		t.Fatal("a short source of randomness:", u, err)
	}
}

func TestCurrencyDigits(t *testing.T) {
	for code, want := range map[string]uint8{
		"EUR": 2, "CNY": 2, "USD": 2, "JPY": 0, "KRW": 0, "XOF": 0, "BHD": 3, "TND": 3, "CLF": 4, "CHW": 2,
	} {
		if got, ok := cypherlink.CurrencyDigits(code); got != want || !ok {
			t.Errorf("%s: %d, %v", code, got, ok)
		}
	}
	for _, code := range []string{
		"XAU", "XAG", "XPT", "XPD", "XDR", "XSU", "XUA", "XBA", "XTS", "XXX", // settle nothing
		"DEM", "HRK", "BGN", "ANG", // withdrawn
		"eur", "EU", "EURO", "", "D A", "EUR ", "ZZZ", " AED",
	} {
		if got, ok := cypherlink.CurrencyDigits(code); got != 0 || ok {
			t.Errorf("%q accepted: %d", code, got)
		}
	}
}

// identifier is what all four have in common.
type identifier interface {
	comparable
	IsZero() bool
	String() string
	encoding.TextMarshaler
	AppendWire(w *wire.Writer)
}

// roundTrip checks that text and bytes are canonical for a text that parse accepted.
func roundTrip[T identifier](
	tb rapid.TB, s string, parse func(string) (T, error), read func(*wire.Reader) T,
) {
	v, err := parse(s)
	if err != nil {
		tb.Fatalf("%q: %v", s, err)
	}
	text, err := v.MarshalText()
	if err != nil || string(text) != v.String() || v.IsZero() {
		tb.Fatalf("%q has text %q: %v", s, text, err)
	}
	again := any(new(T)).(encoding.TextUnmarshaler)
	if err := again.UnmarshalText(text); err != nil || *any(again).(*T) != v {
		tb.Fatalf("%q: %v", text, err)
	}
	var w wire.Writer
	v.AppendWire(&w)
	r := wire.NewReader(w.Bytes())
	if got := read(r); r.End() != nil || got != v {
		tb.Fatalf("%q as bytes: %v", s, r.End())
	}
}

func TestIdentifiersRoundTrip(t *testing.T) {
	alphanumeric := func(n int) *rapid.Generator[string] {
		return rapid.StringOfN(rapid.RuneFrom([]rune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")), n, n, -1)
	}
	rapid.Check(t, func(t *rapid.T) {
		country := rapid.SampledFrom([]string{"DE", "CN", "XK", "ZW", "AD"}).Draw(t, "country")
		bic := alphanumeric(4).Draw(t, "prefix") + country + alphanumeric(5).Draw(t, "suffix")
		roundTrip(t, bic, cypherlink.ParseBIC, cypherlink.ReadBIC)
		account := alphanumeric(rapid.IntRange(1, 30).Draw(t, "n")).Draw(t, "account")
		iban := "CN" + checkDigits("CN", account) + account
		roundTrip(t, iban, cypherlink.ParseIBAN, cypherlink.ReadIBAN)
		lei := alphanumeric(18).Draw(t, "lei")
		roundTrip(t, lei+checkDigits("", lei), cypherlink.ParseLEI, cypherlink.ReadLEI)
		u, err := cypherlink.NewUETR(bytes.NewReader(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uetr")))
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, u.String(), cypherlink.ParseUETR, cypherlink.ReadUETR)

		// One wrong character is always found: mod 97 sees every single substitution.
		at := rapid.IntRange(4, len(iban)-1).Draw(t, "at")
		wrong := alphanumeric(1).Filter(func(s string) bool { return s[0] != iban[at] }).Draw(t, "wrong")
		_, err = cypherlink.ParseIBAN(iban[:at] + wrong + iban[at+1:])
		if err == nil && sameKind(wrong[0], iban[at]) {
			t.Fatalf("%q passes with %q at %d", iban, wrong, at)
		}
	})
}

// sameKind tells whether both are digits or both letters; a letter for a digit shifts the
// rest, which mod 97 does not always see.
func sameKind(a, b byte) bool { return (a >= 'A') == (b >= 'A') }

func TestZeroIdentifiersHaveNoText(t *testing.T) {
	for want, v := range map[error]interface {
		encoding.TextMarshaler
		String() string
	}{
		cypherlink.ErrBIC: cypherlink.BIC{}, cypherlink.ErrIBAN: cypherlink.IBAN{},
		cypherlink.ErrLEI: cypherlink.LEI{}, cypherlink.ErrUETR: cypherlink.UETR{},
	} {
		if text, err := v.MarshalText(); !errors.Is(err, want) || text != nil || v.String() != "" {
			t.Errorf("%T: %q, %v", v, text, err)
		}
	}
}

func TestReadRefusesInvalidIdentifiers(t *testing.T) {
	zero := make([]byte, 20)
	for want, read := range map[error]func(*wire.Reader){
		cypherlink.ErrBIC:  func(r *wire.Reader) { cypherlink.ReadBIC(r) },
		cypherlink.ErrIBAN: func(r *wire.Reader) { cypherlink.ReadIBAN(r) },
		cypherlink.ErrLEI:  func(r *wire.Reader) { cypherlink.ReadLEI(r) },
		cypherlink.ErrUETR: func(r *wire.Reader) { cypherlink.ReadUETR(r) },
	} {
		r := wire.NewReader(zero)
		if read(r); !errors.Is(r.Err(), want) {
			t.Errorf("%v: zero bytes give %v", want, r.Err())
		}
		r = wire.NewReader(zero[:1])
		if read(r); !errors.Is(r.Err(), wire.ErrTruncated) {
			t.Errorf("%v: one byte gives %v", want, r.Err())
		}
	}
}

// FuzzIdentifiers checks that what a parser takes, it also writes.
func FuzzIdentifiers(f *testing.F) {
	for _, s := range []string{
		"DEUTDEFF", "DEUTDEFF500", "TRGTXEPM", "DE89370400440532013000", "MT84MALT011000012345MTLCAST001S",
		"7LTWFZYICNSX8D621K86", "eb6305c9-1f7f-49de-aed0-16487c27b42d", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := cypherlink.ParseBIC(s); err == nil {
			if got := b.String(); got != s && got != s+"XXX" {
				t.Fatalf("%q is %q", s, got)
			}
			roundTrip(t, s, cypherlink.ParseBIC, cypherlink.ReadBIC)
		}
		if i, err := cypherlink.ParseIBAN(s); err == nil {
			if i.String() != s {
				t.Fatalf("%q is %q", s, i)
			}
			roundTrip(t, s, cypherlink.ParseIBAN, cypherlink.ReadIBAN)
		}
		if l, err := cypherlink.ParseLEI(s); err == nil {
			if l.String() != s {
				t.Fatalf("%q is %q", s, l)
			}
			roundTrip(t, s, cypherlink.ParseLEI, cypherlink.ReadLEI)
		}
		if u, err := cypherlink.ParseUETR(s); err == nil {
			if u.String() != s {
				t.Fatalf("%q is %q", s, u)
			}
			roundTrip(t, s, cypherlink.ParseUETR, cypherlink.ReadUETR)
		}
	})
}
