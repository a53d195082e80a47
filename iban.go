package cypherlink

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrIBAN means that text is not an international bank account number.
var ErrIBAN = errors.New("not an IBAN")

// MaxIBAN is the greatest length of an IBAN in characters.
const MaxIBAN = 34

// IBAN is an international bank account number (ISO 13616) in its electronic form: country
// (2), check digits (2), national account number (at most 30 capital letters and digits). The
// zero value is no IBAN. It names a customer's account: keep it out of logs.
type IBAN struct{ text string }

// ParseIBAN reads the electronic form, without spaces and in capital letters. It checks the
// country, the length that the country's format has, and the check digits (ISO 7064, mod
// 97-10). Otherwise ErrIBAN; the error does not quote the number.
func ParseIBAN(s string) (IBAN, error) {
	if len(s) < 5 || len(s) > MaxIBAN {
		return IBAN{}, fmt.Errorf("%d characters: %w", len(s), ErrIBAN)
	}
	for i, c := range []byte(s) {
		letter, digit := 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
		if (i == 2 || i == 3) && !digit || !letter && !digit {
			return IBAN{}, fmt.Errorf("character %d: %w", i+1, ErrIBAN)
		}
	}
	if !isCountry(s[:2]) {
		return IBAN{}, fmt.Errorf("unknown country: %w", ErrIBAN)
	}
	if want := ibanLength(s[:2]); want != 0 && len(s) != want {
		return IBAN{}, fmt.Errorf("%d characters, %s has %d: %w", len(s), s[:2], want, ErrIBAN)
	}
	if c := s[2:4]; c < "02" || c > "98" || mod97(s[4:]+s[:4]) != 1 {
		return IBAN{}, fmt.Errorf("check digits: %w", ErrIBAN)
	}
	return IBAN{s}, nil
}

// LogValue hides the number.
func (IBAN) LogValue() slog.Value { return slog.StringValue("iban(hidden)") }

// IsZero tells whether i is no IBAN.
func (i IBAN) IsZero() bool { return i.text == "" }

// String is the electronic form, or "" for the zero value.
func (i IBAN) String() string { return i.text }

// MarshalText is the electronic form, or ErrIBAN for the zero value.
func (i IBAN) MarshalText() ([]byte, error) {
	if i.IsZero() {
		return nil, ErrIBAN
	}
	return []byte(i.text), nil
}

// UnmarshalText takes what ParseIBAN takes.
func (i *IBAN) UnmarshalText(text []byte) error {
	v, err := ParseIBAN(string(text))
	if err != nil {
		return err
	}
	*i = v
	return nil
}

// AppendWire appends the electronic form behind its length.
func (i IBAN) AppendWire(w *wire.Writer) { w.Str(i.text) }

// ReadIBAN reads what AppendWire wrote and checks it.
func ReadIBAN(r *wire.Reader) IBAN {
	s := r.Str(MaxIBAN)
	if r.Err() != nil {
		return IBAN{}
	}
	i, err := ParseIBAN(s)
	if err != nil {
		r.Fail(err)
	}
	return i
}

// ibanLength is the length of the country's IBAN in the registry of ISO 13616, or 0 where the
// registry has no entry that we are sure of: there every length up to MaxIBAN passes.
func ibanLength(country string) int {
	const all = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 " +
		"DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 " +
		"IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 " +
		"MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 " +
		"SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
	at := strings.Index(all, country)
	if at < 0 {
		return 0
	}
	return int(all[at+2]-'0')*10 + int(all[at+3]-'0')
}

// mod97 is the remainder of ISO 7064 mod 97-10 over capital letters and digits: a letter
// counts as the two digits 10 (A) to 35 (Z).
func mod97(s string) int {
	rest := 0
	for _, c := range []byte(s) {
		if c >= 'A' {
			rest = (rest*100 + int(c-'A') + 10) % 97
		} else {
			rest = (rest*10 + int(c-'0')) % 97
		}
	}
	return rest
}
