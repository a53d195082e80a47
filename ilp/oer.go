package ilp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

var (
	errTruncated    = errors.New("truncated")
	errTrailing     = errors.New("trailing bytes")
	errNotCanonical = errors.New("not canonical")
	errTooLong      = errors.New("too long")
)

// Canonical OER (RFC 30, X.696): the length determinant is one byte below 128, otherwise
// 0x80+k and k big-endian bytes without a leading zero; a variable unsigned integer is a
// length determinant and its shortest big-endian form, zero being one zero byte.

// lengthSize is the number of bytes of the length determinant for n.
func lengthSize(n int) int {
	if n < 0x80 {
		return 1
	}
	return 1 + uintSize(uint64(n))
}

// uintSize is the number of bytes of the shortest big-endian form of v, at least 1.
func uintSize(v uint64) int { return max(1, (bits.Len64(v)+7)/8) }

func appendLength(b []byte, n int) []byte {
	if n < 0x80 {
		return append(b, byte(n)) //nolint:gosec // below 128
	}
	u := uint64(n)
	return appendShortest(append(b, 0x80|byte(uintSize(u))), u) //nolint:gosec // at most 8
}

func appendShortest(b []byte, v uint64) []byte {
	var full [8]byte
	binary.BigEndian.PutUint64(full[:], v)
	return append(b, full[8-uintSize(v):]...)
}

func appendVarUint(b []byte, v uint64) []byte {
	return appendShortest(append(b, byte(uintSize(v))), v) //nolint:gosec // at most 8
}

func appendVar[T ~string | ~[]byte](b []byte, v T) []byte {
	return append(appendLength(b, len(v)), v...)
}

// varSize is the number of bytes that appendVar adds for n bytes.
func varSize(n int) int { return lengthSize(n) + n }

// decoder takes fields in order. After the first error every read gives a zero value.
type decoder struct {
	buf []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// end reports the first error, or errTrailing if bytes are left.
func (d *decoder) end() error {
	if d.err == nil && len(d.buf) > 0 {
		d.err = fmt.Errorf("%d %w", len(d.buf), errTrailing)
	}
	return d.err
}

// take is the next n bytes, a part of the input.
func (d *decoder) take(n int) []byte {
	if d.err != nil {
		return nil
	}
	if n > len(d.buf) {
		d.err = fmt.Errorf("want %d bytes, have %d: %w", n, len(d.buf), errTruncated)
		return nil
	}
	b := d.buf[:n:n]
	d.buf = d.buf[n:]
	return b
}

func (d *decoder) u8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) fixed(dst []byte) { copy(dst, d.take(len(dst))) }

// length reads a length determinant, of any value below 2^64.
func (d *decoder) length() uint64 {
	first := d.u8()
	if first < 0x80 {
		return uint64(first)
	}
	k := int(first & 0x7f)
	var n uint64 // wraps above 8 bytes, and then is not of k bytes
	for _, c := range d.take(k) {
		n = n<<8 | uint64(c)
	}
	if d.err == nil && (n < 0x80 || uintSize(n) != k) {
		d.err = fmt.Errorf("length %d in %d bytes: %w", n, k, errNotCanonical)
	}
	if d.err != nil {
		return 0
	}
	return n
}

// variable reads a byte string of at most limit bytes, a part of the input.
func (d *decoder) variable(limit int) []byte {
	n := d.length()
	if d.err == nil && n > uint64(limit) { //nolint:gosec // a constant bound, not negative
		d.err = fmt.Errorf("%d bytes, at most %d: %w", n, limit, errTooLong)
	}
	if d.err != nil {
		return nil
	}
	return d.take(int(n)) //nolint:gosec // at most limit
}

// varUint reads an unsigned integer of at most 8 bytes.
func (d *decoder) varUint() uint64 {
	v, fits := d.varUintClamped()
	if !fits {
		d.fail(fmt.Errorf("integer of more than 64 bits: %w", errTooLong))
		return 0
	}
	return v
}

// varUintClamped reads an unsigned integer; one of more than 64 bits is 2^64-1 and does not
// fit.
func (d *decoder) varUintClamped() (v uint64, fits bool) {
	b := d.variable(255)
	if d.err != nil {
		return 0, true
	}
	if len(b) == 0 || len(b) > 1 && b[0] == 0 {
		d.err = fmt.Errorf("integer %x: %w", b, errNotCanonical)
		return 0, true
	}
	if len(b) > 8 {
		return 1<<64 - 1, false
	}
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v, true
}
