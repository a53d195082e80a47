// Package wire is the one canonical form of every byte that CypherLink signs or hashes.
//
// Its noun is the layout: big-endian integers of fixed width, fixed byte fields, and byte
// strings behind a 32-bit length. A Writer cannot fail; a Reader is strict: it refuses a
// truncated field, a length above its bound, a boolean other than 0 or 1, text that is not
// UTF-8, and (by End) anything that follows. So for every accepted input b,
// encode(decode(b)) == b.
//
// It refuses to know a message: what the fields mean stands beside the types. JSON and XML
// live at the edges and never under a signature.
package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

var (
	// ErrTruncated means that the input ended inside a field.
	ErrTruncated = errors.New("wire: truncated")
	// ErrTrailing means that bytes follow the last field.
	ErrTrailing = errors.New("wire: trailing bytes")
	// ErrTooLong means that a length exceeds the field's bound.
	ErrTooLong = errors.New("wire: field too long")
	// ErrNotCanonical means that a value has another, canonical encoding.
	ErrNotCanonical = errors.New("wire: not canonical")
)

// Domain separates one kind of hashed bytes from every other, such as "cypherlink/terms/v1".
// It has at most 255 bytes.
type Domain string

// Sum is SHA-256(len(domain) as one byte, domain, data). The length makes it injective.
func Sum(domain Domain, data []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte{byte(len(domain))})
	h.Write([]byte(domain))
	h.Write(data)
	return [32]byte(h.Sum(nil))
}

// Writer appends fields in the canonical form. Its zero value is ready to use.
type Writer struct{ buf []byte }

// NewWriter returns a writer with room for size bytes.
func NewWriter(size int) *Writer { return &Writer{buf: make([]byte, 0, size)} }

// Bytes returns what was written. The writer must not be used after it.
func (w *Writer) Bytes() []byte { return w.buf }

// U8 appends one byte.
func (w *Writer) U8(v uint8) { w.buf = append(w.buf, v) }

// U16 appends two bytes.
func (w *Writer) U16(v uint16) { w.buf = binary.BigEndian.AppendUint16(w.buf, v) }

// U32 appends four bytes.
func (w *Writer) U32(v uint32) { w.buf = binary.BigEndian.AppendUint32(w.buf, v) }

// U64 appends eight bytes.
func (w *Writer) U64(v uint64) { w.buf = binary.BigEndian.AppendUint64(w.buf, v) }

// I64 appends eight bytes in two's complement.
func (w *Writer) I64(v int64) { w.U64(uint64(v)) }

// Bool appends 1 for true and 0 for false.
func (w *Writer) Bool(v bool) {
	if v {
		w.U8(1)
		return
	}
	w.U8(0)
}

// Fixed appends the bytes of a field whose length the layout fixes.
func (w *Writer) Fixed(b []byte) { w.buf = append(w.buf, b...) }

// Var appends a byte string behind its 32-bit length. The caller keeps it below 4 GiB.
func (w *Writer) Var(b []byte) {
	w.U32(uint32(len(b)))
	w.buf = append(w.buf, b...)
}

// Str appends text behind its 32-bit length.
func (w *Writer) Str(s string) {
	w.U32(uint32(len(s)))
	w.buf = append(w.buf, s...)
}

// Reader takes fields in the order of the layout. After the first error every read returns
// a zero value; End reports that error.
type Reader struct {
	buf []byte
	err error
}

// NewReader reads b, which must not change while the reader or what it returned is in use:
// Var returns parts of b.
func NewReader(b []byte) *Reader { return &Reader{buf: b} }

// Err returns the first error.
func (r *Reader) Err() error { return r.err }

// Fail records err, if no error stands yet: for a value that has the right shape and is
// not allowed.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// End reports the first error, or ErrTrailing if bytes are left.
func (r *Reader) End() error {
	if r.err == nil && len(r.buf) > 0 {
		r.err = fmt.Errorf("%d bytes: %w", len(r.buf), ErrTrailing)
	}
	return r.err
}

func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if len(r.buf) < n {
		r.err = fmt.Errorf("want %d bytes, have %d: %w", n, len(r.buf), ErrTruncated)
		return nil
	}
	b := r.buf[:n:n]
	r.buf = r.buf[n:]
	return b
}

// U8 reads one byte.
func (r *Reader) U8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// U16 reads two bytes.
func (r *Reader) U16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// U32 reads four bytes.
func (r *Reader) U32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// U64 reads eight bytes.
func (r *Reader) U64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// I64 reads eight bytes in two's complement.
func (r *Reader) I64() int64 { return int64(r.U64()) }

// Bool reads one byte, 0 or 1.
func (r *Reader) Bool() bool {
	v := r.U8()
	if v > 1 {
		r.Fail(fmt.Errorf("boolean %d: %w", v, ErrNotCanonical))
	}
	return v == 1
}

// Fixed fills dst.
func (r *Reader) Fixed(dst []byte) { copy(dst, r.take(len(dst))) }

// Var reads a byte string of at most limit bytes. It allocates nothing: the length is
// checked against the bound and the input first, and the result is a part of the input.
func (r *Reader) Var(limit int) []byte {
	n := r.U32()
	if r.err != nil {
		return nil
	}
	if limit < 0 || limit > math.MaxInt32 || n > uint32(limit) {
		r.err = fmt.Errorf("%d bytes, at most %d: %w", n, limit, ErrTooLong)
		return nil
	}
	return r.take(int(n))
}

// Str reads UTF-8 text of at most limit bytes.
func (r *Reader) Str(limit int) string {
	b := r.Var(limit)
	if !utf8.Valid(b) {
		r.Fail(fmt.Errorf("text is not UTF-8: %w", ErrNotCanonical))
		return ""
	}
	return string(b)
}

// Count reads a 32-bit count of items that take at least size bytes each, at most limit of
// them. A count that the rest of the input cannot hold is refused before anything is
// allocated for it.
func (r *Reader) Count(limit, size int) int {
	n := r.U32()
	if r.err != nil {
		return 0
	}
	if limit < 0 || limit > math.MaxInt32 || n > uint32(limit) {
		r.err = fmt.Errorf("%d items, at most %d: %w", n, limit, ErrTooLong)
		return 0
	}
	if size > 0 && int(n) > len(r.buf)/size {
		r.err = fmt.Errorf("%d items of %d bytes in %d: %w", n, size, len(r.buf), ErrTruncated)
		return 0
	}
	return int(n)
}
