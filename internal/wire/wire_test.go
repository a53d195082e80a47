package wire_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/internal/wire"
)

type record struct {
	a uint8
	b uint16
	c uint32
	d uint64
	e int64
	f bool
	g [5]byte
	h []byte
	i string
}

func (x *record) encode() []byte {
	var w wire.Writer
	w.U8(x.a)
	w.U16(x.b)
	w.U32(x.c)
	w.U64(x.d)
	w.I64(x.e)
	w.Bool(x.f)
	w.Fixed(x.g[:])
	w.Var(x.h)
	w.Str(x.i)
	return w.Bytes()
}

func decode(b []byte) (record, error) {
	r := wire.NewReader(b)
	x := record{a: r.U8(), b: r.U16(), c: r.U32(), d: r.U64(), e: r.I64(), f: r.Bool()}
	r.Fixed(x.g[:])
	x.h = r.Var(64)
	x.i = r.Str(64)
	return x, r.End()
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := record{
			a: rapid.Uint8().Draw(t, "a"), b: rapid.Uint16().Draw(t, "b"),
			c: rapid.Uint32().Draw(t, "c"), d: rapid.Uint64().Draw(t, "d"),
			e: rapid.Int64().Draw(t, "e"), f: rapid.Bool().Draw(t, "f"),
			g: [5]byte(rapid.SliceOfN(rapid.Byte(), 5, 5).Draw(t, "g")),
			h: rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "h"),
			i: rapid.StringN(0, 16, 64).Draw(t, "i"),
		}
		b := x.encode()
		y, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(y.encode(), b) {
			t.Fatalf("encode(decode(b)) != b")
		}
		for n := range b {
			if _, err := decode(b[:n]); !errors.Is(err, wire.ErrTruncated) {
				t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
			}
		}
		if _, err := decode(append(b, 0)); !errors.Is(err, wire.ErrTrailing) {
			t.Fatalf("trailing byte: %v", err)
		}
	})
}

func TestReaderRefuses(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		read func(*wire.Reader)
		want error
	}{
		{
			"a boolean of 2",
			[]byte{2},
			func(r *wire.Reader) { r.Bool() }, wire.ErrNotCanonical,
		},
		{
			"text that is not UTF-8",
			[]byte{0, 0, 0, 1, 0xff},
			func(r *wire.Reader) { r.Str(9) }, wire.ErrNotCanonical,
		},
		{
			"a length above the bound",
			[]byte{0, 0, 0, 3, 1, 2, 3},
			func(r *wire.Reader) { r.Var(2) }, wire.ErrTooLong,
		},
		{
			"a length of 4 GiB",
			[]byte{255, 255, 255, 255},
			func(r *wire.Reader) { r.Var(1 << 20) }, wire.ErrTooLong,
		},
		{
			"a length beyond the input",
			[]byte{0, 0, 0, 3, 1},
			func(r *wire.Reader) { r.Var(9) }, wire.ErrTruncated,
		},
		{
			"more items than allowed",
			[]byte{0, 0, 0, 3},
			func(r *wire.Reader) { r.Count(2, 1) }, wire.ErrTooLong,
		},
		{
			"more items than bytes",
			[]byte{0, 0, 0, 3, 1, 2},
			func(r *wire.Reader) { r.Count(9, 1) }, wire.ErrTruncated,
		},
		{
			"a negative bound",
			[]byte{0, 0, 0, 0},
			func(r *wire.Reader) { r.Var(-1) }, wire.ErrTooLong,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := wire.NewReader(tt.in)
			tt.read(r)
			if err := r.End(); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReaderKeepsFirstError(t *testing.T) {
	r := wire.NewReader([]byte{1})
	r.U64()
	first := r.Err()
	r.Fail(errors.New("second"))
	r.U8()
	if !errors.Is(r.End(), first) || first == nil {
		t.Fatalf("got %v, want %v", r.End(), first)
	}
}

func TestSumSeparatesDomains(t *testing.T) {
	if wire.Sum("ab", []byte("c")) == wire.Sum("a", []byte("bc")) {
		t.Fatal("the border between domain and data does not count")
	}
	if want := sha256.Sum256([]byte("\x02abc")); wire.Sum("ab", []byte("c")) != want {
		t.Fatal("layout changed")
	}
}

func FuzzReader(f *testing.F) {
	f.Add((&record{h: []byte{1, 2}, i: "x"}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decode(b)
		if err == nil && !bytes.Equal(x.encode(), b) {
			t.Fatalf("accepted %x, encodes as %x", b, x.encode())
		}
	})
}
