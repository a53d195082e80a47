package ilp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/internal/vectors"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestLengthVectors(t *testing.T) {
	var set struct {
		Lengths [][2]string `json:"length_determinants"`
		Address [][2]string `json:"address"`
	}
	vectors.JSON(t, "vectors/ilp/extracted/oer_rfc30.json", &set)
	if len(set.Lengths) != 5 || len(set.Address) != 1 {
		t.Fatal("vectors are missing")
	}
	for _, v := range set.Lengths {
		d := decoder{buf: unhex(t, v[0])}
		if got := d.length(); d.end() != nil || strconv.FormatUint(got, 10) != v[1] {
			t.Errorf("%s: %d, %v", v[0], got, d.err)
		}
	}
	for _, v := range set.Address {
		d := decoder{buf: unhex(t, v[0])}
		if got := d.address(false); d.end() != nil || string(got) != v[1] {
			t.Errorf("%s: %s, %v", v[0], got, d.err)
		}
	}
}

func TestVarUintVectors(t *testing.T) {
	var set struct {
		Valid         [][2]string
		Invalid       []string
		InvalidLength []string `json:"length_prefix_invalid"`
	}
	vectors.JSON(t, "vectors/ilp/extracted/oer_varuint.interledger-rs.json", &set)
	if len(set.Valid) != 9 || len(set.Invalid) != 4 || len(set.InvalidLength) != 5 {
		t.Fatal("vectors are missing")
	}
	for _, v := range set.Valid {
		d := decoder{buf: unhex(t, v[0])}
		got := d.varUint()
		if d.end() != nil || strconv.FormatUint(got, 10) != v[1] {
			t.Errorf("%s: %d, %v", v[0], got, d.err)
		}
		if b := appendVarUint(nil, got); hex.EncodeToString(b) != v[0] {
			t.Errorf("%d encodes as %x", got, b)
		}
	}
	for _, v := range append(set.Invalid, set.InvalidLength...) {
		d := decoder{buf: unhex(t, v)}
		if got := d.varUint(); d.err == nil || got != 0 {
			t.Errorf("%s accepted as %d", v, got)
		}
	}
	for _, v := range set.InvalidLength {
		d := decoder{buf: unhex(t, v)}
		if got := d.length(); d.err == nil || got != 0 {
			t.Errorf("%s accepted as length %d", v, got)
		}
	}
}

func TestDecoderRefuses(t *testing.T) {
	tests := []struct {
		name, in string
		read     func(*decoder)
		want     error
	}{
		{"the long form below 128", "817f", func(d *decoder) { d.length() }, errNotCanonical},
		{"a leading zero in a length", "820080", func(d *decoder) { d.length() }, errNotCanonical},
		{"the indefinite form", "80", func(d *decoder) { d.length() }, errNotCanonical},
		{"a length of 9 bytes", "89ffffffffffffffffff", func(d *decoder) { d.length() }, errNotCanonical},
		{"a length that is cut", "84ffffff", func(d *decoder) { d.length() }, errTruncated},
		{"a length of 2^64-1", "88ffffffffffffffff", func(d *decoder) { d.variable(9) }, errTooLong},
		{"an integer without bytes", "00", func(d *decoder) { d.varUint() }, errNotCanonical},
		{"a leading zero in an integer", "020001", func(d *decoder) { d.varUint() }, errNotCanonical},
		{"an integer of 9 bytes", "09010203040506070809", func(d *decoder) { d.varUint() }, errTooLong},
		{"bytes beyond the input", "0401", func(d *decoder) { d.variable(9) }, errTruncated},
		{"bytes beyond the bound", "0401020304", func(d *decoder) { d.variable(3) }, errTooLong},
		{"no address", "00", func(d *decoder) { d.address(false) }, ErrAddress},
		{"text that is not UTF-8", "01ff", func(d *decoder) { d.text() }, errNotCanonical},
		{"something left", "0102", func(d *decoder) { d.u8() }, errTrailing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decoder{buf: unhex(t, tt.in)}
			tt.read(&d)
			if err := d.end(); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestIntegersRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint64().Draw(t, "v")
		n := rapid.IntRange(0, 1<<20).Draw(t, "n")
		b := appendLength(appendVarUint(nil, v), n)
		d := decoder{buf: b}
		if got, length := d.varUint(), d.length(); d.end() != nil || got != v || length != uint64(n) {
			t.Fatalf("%d, %d: %v", got, length, d.err)
		}
		if want := 1 + uintSize(v) + lengthSize(n); len(b) != want {
			t.Fatalf("%d bytes, announced %d", len(b), want)
		}
	})
}

func FuzzVarUint(f *testing.F) {
	f.Add([]byte{1, 0})
	f.Add([]byte{0x81, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decoder{buf: b}
		if v := d.varUint(); d.err == nil && !bytes.HasPrefix(b, appendVarUint(nil, v)) {
			t.Fatalf("%x read as %d", b, v)
		}
		d = decoder{buf: b}
		if n := d.length(); d.err == nil && n < 1<<31 && !bytes.HasPrefix(b, appendLength(nil, int(n))) {
			t.Fatalf("%x read as length %d", b, n)
		}
	})
}
