package cypherlink

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrUETR means that a value is not a unique end-to-end transaction reference.
var ErrUETR = errors.New("not a UETR (a version 4 UUID in lower case)")

// UETR is the unique end-to-end transaction reference of a payment: a version 4 UUID (RFC
// 9562, 5.4). It stays the same on every leg. The zero value is no UETR.
type UETR [16]byte

// NewUETR draws a UETR from random, which has to be a cryptographic source.
func NewUETR(random io.Reader) (UETR, error) {
	var u UETR
	if _, err := io.ReadFull(random, u[:]); err != nil {
		return UETR{}, fmt.Errorf("draw a UETR: %w", err)
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u, nil
}

// ParseUETR reads the lower-case form of 36 characters with four hyphens and checks version
// and variant. Otherwise ErrUETR.
func ParseUETR(s string) (UETR, error) {
	var u UETR
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return UETR{}, fmt.Errorf("%.40q: %w", s, ErrUETR)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if DecodeHex(u[:], []byte(digits)) != nil || !u.valid() {
		return UETR{}, fmt.Errorf("%q: %w", s, ErrUETR)
	}
	return u, nil
}

// valid tells whether version and variant bits are those of RFC 9562, 5.4.
func (u UETR) valid() bool { return u[6]>>4 == 4 && u[8]>>6 == 2 }

// IsZero tells whether u is no UETR.
func (u UETR) IsZero() bool { return u == UETR{} }

// String is the form of 36 characters, such as "eb6305c9-1f7f-49de-aed0-16487c27b42d", or ""
// for the zero value.
func (u UETR) String() string {
	if u.IsZero() {
		return ""
	}
	b := make([]byte, 0, 36)
	b = append(hex.AppendEncode(b, u[:4]), '-')
	b = append(hex.AppendEncode(b, u[4:6]), '-')
	b = append(hex.AppendEncode(b, u[6:8]), '-')
	b = append(hex.AppendEncode(b, u[8:10]), '-')
	return string(hex.AppendEncode(b, u[10:]))
}

// MarshalText is the form of String, or ErrUETR if version or variant is wrong.
func (u UETR) MarshalText() ([]byte, error) {
	if !u.valid() {
		return nil, ErrUETR
	}
	return []byte(u.String()), nil
}

// UnmarshalText takes what ParseUETR takes.
func (u *UETR) UnmarshalText(text []byte) error {
	v, err := ParseUETR(string(text))
	if err != nil {
		return err
	}
	*u = v
	return nil
}

// AppendWire appends the 16 bytes.
func (u UETR) AppendWire(w *wire.Writer) { w.Fixed(u[:]) }

// ReadUETR reads what AppendWire wrote and checks it.
func ReadUETR(r *wire.Reader) UETR {
	var u UETR
	r.Fixed(u[:])
	if r.Err() == nil && !u.valid() {
		r.Fail(ErrUETR)
	}
	return u
}
