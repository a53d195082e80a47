package cypherlink

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrLEI means that text is not a legal entity identifier.
var ErrLEI = errors.New("not an LEI")

// LEI is a legal entity identifier (ISO 17442): 18 capital letters and digits, and two check
// digits. The zero value is no LEI.
type LEI [20]byte

// ParseLEI reads 20 characters and checks the last two (ISO 7064, mod 97-10). Otherwise
// ErrLEI.
func ParseLEI(s string) (LEI, error) {
	if len(s) != len(LEI{}) {
		return LEI{}, fmt.Errorf("%.24q has not 20 characters: %w", s, ErrLEI)
	}
	for i, c := range []byte(s) {
		letter, digit := 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
		if check := i >= 18; !digit && (check || !letter) {
			return LEI{}, fmt.Errorf("%q, character %d: %w", s, i+1, ErrLEI)
		}
	}
	if c := s[18:]; c < "02" || c > "98" || mod97(s) != 1 {
		return LEI{}, fmt.Errorf("%q, check digits: %w", s, ErrLEI)
	}
	return LEI([]byte(s)), nil
}

// IsZero tells whether l is no LEI.
func (l LEI) IsZero() bool { return l == LEI{} }

// String is the 20 characters, or "" for the zero value.
func (l LEI) String() string {
	if l.IsZero() {
		return ""
	}
	return string(l[:])
}

// MarshalText is the form of String, or ErrLEI for the zero value.
func (l LEI) MarshalText() ([]byte, error) {
	if _, err := ParseLEI(string(l[:])); err != nil {
		return nil, err
	}
	return l[:], nil
}

// UnmarshalText takes what ParseLEI takes.
func (l *LEI) UnmarshalText(text []byte) error {
	v, err := ParseLEI(string(text))
	if err != nil {
		return err
	}
	*l = v
	return nil
}

// AppendWire appends the 20 characters.
func (l LEI) AppendWire(w *wire.Writer) { w.Fixed(l[:]) }

// ReadLEI reads what AppendWire wrote and checks it.
func ReadLEI(r *wire.Reader) LEI {
	var l LEI
	r.Fixed(l[:])
	if r.Err() == nil {
		if _, err := ParseLEI(string(l[:])); err != nil {
			r.Fail(err)
		}
	}
	return l
}
