package cypherlink

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrBIC means that text is not a business identifier code.
var ErrBIC = errors.New("not a BIC")

// BIC is a business identifier code (ISO 9362) in its form of 11 characters: party prefix (4),
// country (2), party suffix (2), branch (3, "XXX" for the head office). The zero value is no
// BIC.
type BIC [11]byte

// ParseBIC reads 8 or 11 capital letters and digits; the form of 8 is completed with "XXX".
// The country has to be one of ISO 3166-1, or one of the codes that SWIFT uses beside it (XK
// for Kosovo, XE for the Eurosystem: TRGTXEPM). Otherwise ErrBIC.
func ParseBIC(s string) (BIC, error) {
	if len(s) == 8 {
		s += "XXX"
	}
	if len(s) != len(BIC{}) {
		return BIC{}, fmt.Errorf("%.20q has not 8 or 11 characters: %w", s, ErrBIC)
	}
	for i, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return BIC{}, fmt.Errorf("%q, character %d: %w", s, i+1, ErrBIC)
		}
	}
	if c := s[4:6]; !isCountry(c) && c != "XE" {
		return BIC{}, fmt.Errorf("%q has unknown country %s: %w", s, c, ErrBIC)
	}
	return BIC([]byte(s)), nil
}

// IsZero tells whether b is no BIC.
func (b BIC) IsZero() bool { return b == BIC{} }

// String is the form of 11 characters, or "" for the zero value.
func (b BIC) String() string {
	if b.IsZero() {
		return ""
	}
	return string(b[:])
}

// MarshalText is the form of String, or ErrBIC for the zero value.
func (b BIC) MarshalText() ([]byte, error) {
	if _, err := ParseBIC(string(b[:])); err != nil {
		return nil, err
	}
	return b[:], nil
}

// UnmarshalText takes exactly the form of MarshalText, 11 characters; otherwise ErrBIC.
func (b *BIC) UnmarshalText(text []byte) error {
	v, err := ParseBIC(string(text))
	if err == nil && len(text) != len(v) {
		err = fmt.Errorf("%q is not the form of 11 characters: %w", text, ErrBIC)
	}
	if err != nil {
		return err
	}
	*b = v
	return nil
}

// AppendWire appends the 11 characters.
func (b BIC) AppendWire(w *wire.Writer) { w.Fixed(b[:]) }

// ReadBIC reads what AppendWire wrote and checks it.
func ReadBIC(r *wire.Reader) BIC {
	var b BIC
	r.Fixed(b[:])
	if r.Err() == nil {
		if _, err := ParseBIC(string(b[:])); err != nil {
			r.Fail(err)
		}
	}
	return b
}

// isCountry tells whether two capital letters or digits are a country code of ISO 3166-1
// alpha-2, or XK (Kosovo), which SWIFT and the IBAN registry use.
func isCountry(code string) bool {
	const all = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ " +
		"BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ " +
		"EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY " +
		"HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA " +
		"LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY " +
		"MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS " +
		"RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM " +
		"TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW"
	return strings.Contains(all, code)
}
