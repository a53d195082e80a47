package cypherlink

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

var (
	// ErrAmountRange means that a sum, difference or conversion leaves 0 to 2^63-1.
	ErrAmountRange = errors.New("amount out of range")
	// ErrAmountText means that text is not an amount of its scale.
	ErrAmountText = errors.New("not a decimal amount")
	// ErrRate means that a rate is not a fraction of two positive integers.
	ErrRate = errors.New("a rate is a fraction of two positive integers")
)

// MaxScale is the largest number of digits after the decimal point that an asset may have.
const MaxScale = 18

// Amount is money in minor units of its asset (cents of EUR), from 0 to 2^63-1. Its sums are
// checked; it never meets a float. An amount says nothing without its Asset.
type Amount int64

// Add is a+b, or ErrAmountRange.
func (a Amount) Add(b Amount) (Amount, error) {
	if a < 0 || b < 0 || a > math.MaxInt64-b {
		return 0, fmt.Errorf("%d + %d: %w", a, b, ErrAmountRange)
	}
	return a + b, nil
}

// Sub is a-b, or ErrAmountRange if it would be negative.
func (a Amount) Sub(b Amount) (Amount, error) {
	if a < 0 || b < 0 || a < b {
		return 0, fmt.Errorf("%d - %d: %w", a, b, ErrAmountRange)
	}
	return a - b, nil
}

// Format is the decimal form with exactly scale digits after the point: 200000 at scale 2 is
// "2000.00", at scale 0 "200000". A negative amount (a difference between two balances) has a
// leading minus.
func (a Amount) Format(scale uint8) string {
	sign, u := "", uint64(a) //nolint:gosec // two's complement, negated below
	if a < 0 {
		sign, u = "-", -u
	}
	s := strconv.FormatUint(u, 10)
	if scale == 0 {
		return sign + s
	}
	if pad := int(scale) + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	point := len(s) - int(scale)
	return sign + s[:point] + "." + s[point:]
}

// ParseAmount reads a decimal of at most scale digits after the point, such as "2000", "0.5"
// or "2000.00". It refuses signs, exponents, spaces, a bare point and leading zeros, with
// ErrAmountText, and what exceeds 2^63-1 minor units, with ErrAmountRange.
func ParseAmount(s string, scale uint8) (Amount, error) {
	whole, fraction, point := strings.Cut(s, ".")
	switch {
	case scale > MaxScale:
		return 0, fmt.Errorf("scale %d, at most %d: %w", scale, MaxScale, ErrAmountText)
	case !digits(whole) || point && !digits(fraction):
		return 0, fmt.Errorf("%.40q: %w", s, ErrAmountText)
	case len(whole) > 1 && whole[0] == '0':
		return 0, fmt.Errorf("%.40q has a leading zero: %w", s, ErrAmountText)
	case len(fraction) > int(scale):
		return 0, fmt.Errorf("%.40q has more than %d digits after the point: %w", s, scale, ErrAmountText)
	case len(whole) > 19:
		return 0, fmt.Errorf("%.40q: %w", s, ErrAmountRange)
	}
	v, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", int(scale)-len(fraction)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40q: %w", s, ErrAmountRange)
	}
	return Amount(v), nil
}

// digits tells whether s is one or more ASCII digits.
func digits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// Rate is an exact fraction of minor units of one asset per minor unit of another. Both parts
// are positive.
type Rate struct{ Num, Den int64 }

// Valid reports ErrRate unless both parts are positive.
func (r Rate) Valid() error {
	if r.Num <= 0 || r.Den <= 0 {
		return fmt.Errorf("%d/%d: %w", r.Num, r.Den, ErrRate)
	}
	return nil
}

// Floor is a*r rounded down.
func (r Rate) Floor(a Amount) (Amount, error) {
	q, _, err := r.mul(a)
	return q, err
}

// Ceil is a*r rounded up.
func (r Rate) Ceil(a Amount) (Amount, error) {
	q, rest, err := r.mul(a)
	if err != nil || rest == 0 {
		return q, err
	}
	return q.Add(1)
}

// mul is the quotient and remainder of a*Num/Den, computed in 128 bits.
func (r Rate) mul(a Amount) (Amount, uint64, error) {
	if err := r.Valid(); err != nil {
		return 0, 0, err
	}
	if a < 0 {
		return 0, 0, fmt.Errorf("%d at a rate: %w", a, ErrAmountRange)
	}
	den := uint64(r.Den)                           //nolint:gosec // positive: Valid
	hi, lo := bits.Mul64(uint64(a), uint64(r.Num)) //nolint:gosec // both positive: checked above
	if hi >= den {
		return 0, 0, fmt.Errorf("%d * %d/%d: %w", a, r.Num, r.Den, ErrAmountRange)
	}
	q, rest := bits.Div64(hi, lo, den)
	if q > math.MaxInt64 {
		return 0, 0, fmt.Errorf("%d * %d/%d: %w", a, r.Num, r.Den, ErrAmountRange)
	}
	return Amount(q), rest, nil
}
