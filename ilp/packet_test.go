package ilp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ilp"
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

func instant(tb testing.TB, s string) time.Time {
	tb.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		tb.Fatal(err)
	}
	return at
}

// vector is a packet in the test data; binary values are in hexadecimal or, in the files of
// ilp-packet, in base64.
type vector struct {
	Amount, ExpiresAt, Condition, ExecutionCondition, Destination string
	Fulfillment, Code, TriggeredBy, Message, Data, Hex            string
}

func (v *vector) packet(tb testing.TB, decode func(string) ([]byte, error)) ilp.Packet {
	tb.Helper()
	raw := func(s string) []byte {
		b, err := decode(s)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	switch {
	case v.Amount != "":
		amount, err := strconv.ParseUint(v.Amount, 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		return &ilp.Prepare{
			Amount: amount, ExpiresAt: instant(tb, v.ExpiresAt),
			Condition:   cypherlink.Condition(raw(v.Condition + v.ExecutionCondition)),
			Destination: ilp.Address(v.Destination), Data: raw(v.Data),
		}
	case v.Fulfillment != "":
		return &ilp.Fulfill{Preimage: cypherlink.Preimage(raw(v.Fulfillment)), Data: raw(v.Data)}
	default:
		return &ilp.Reject{
			Code: ilp.ErrorCode(v.Code), TriggeredBy: ilp.Address(v.TriggeredBy),
			Message: v.Message, Data: raw(v.Data),
		}
	}
}

// checkPacket checks that want is what b says, both ways.
func checkPacket(tb testing.TB, b []byte, want ilp.Packet) {
	tb.Helper()
	got, err := ilp.Decode(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		tb.Fatalf("%.100x: %+v, want %+v: %v", b, got, want, err)
	}
	again, err := want.Encode()
	if err != nil || !bytes.Equal(again, b) {
		tb.Fatalf("encodes as %x, want %x: %v", again, b, err)
	}
}

func TestPacketVectorsOfInterledgerJS(t *testing.T) {
	for _, name := range []string{"prepare", "fulfill", "reject"} {
		t.Run(name, func(t *testing.T) {
			var v struct {
				Binary string
				JSON   vector
			}
			vectors.JSON(t, "vectors/ilp/ilp-packet/ilp_"+name+"_example01.json", &v)
			checkPacket(t, unhex(t, v.Binary), v.JSON.packet(t, base64.StdEncoding.DecodeString))
		})
	}
}

func TestPacketVectorsOfInterledgerRS(t *testing.T) {
	var set struct{ Vectors []vector }
	vectors.JSON(t, "vectors/ilp/extracted/ilp_packet.interledger-rs.json", &set)
	if len(set.Vectors) != 3 {
		t.Fatal("vectors are missing")
	}
	for i := range set.Vectors {
		checkPacket(t, unhex(t, set.Vectors[i].Hex), set.Vectors[i].packet(t, hex.DecodeString))
	}
}

func TestGeneratedPacketVectors(t *testing.T) {
	var set struct{ Prepares, Fulfills, Rejects []vector }
	vectors.JSON(t, "vectors/ilp/generated/ilp_packets.json", &set)
	if len(set.Prepares) != 24 || len(set.Fulfills) != 10 || len(set.Rejects) != 21 {
		t.Fatal("vectors are missing")
	}
	for _, vs := range [][]vector{set.Prepares, set.Fulfills, set.Rejects} {
		for i := range vs {
			checkPacket(t, unhex(t, vs[i].Hex), vs[i].packet(t, hex.DecodeString))
		}
	}
	for _, v := range set.Fulfills {
		preimage, err := cypherlink.ParsePreimage(unhex(t, v.Fulfillment))
		if err != nil || preimage.Condition().String() != v.Condition {
			t.Errorf("condition of %s: %v", v.Fulfillment, err)
		}
	}
}

// TestNegativePacketVectors holds what npm ilp-packet 3.1.3 takes and we refuse.
func TestNegativePacketVectors(t *testing.T) {
	var set struct{ Vectors []struct{ Name, Hex string } }
	vectors.JSON(t, "vectors/ilp/extracted/ilp_packet.fuzz.interledger-rs.json", &set)
	if len(set.Vectors) != 3 {
		t.Fatal("vectors are missing")
	}
	for _, v := range set.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			if p, err := ilp.Decode(unhex(t, v.Hex)); !errors.Is(err, ilp.ErrPacket) {
				t.Fatalf("accepted: %+v, %v", p, err)
			}
		})
	}
}

// TestTimestampVectors runs RFC 30's timestamps of fixed length in a Prepare. Those of
// variable length occur in BTP alone, which we do not speak, and are left out.
func TestTimestampVectors(t *testing.T) {
	var set struct {
		Encode  [][2]string `json:"fixed_timestamp_encode"`
		Invalid []string    `json:"fixed_timestamp_invalid"`
	}
	vectors.JSON(t, "vectors/ilp/extracted/oer_rfc30.json", &set)
	if len(set.Encode) != 7 || len(set.Invalid) != 10 {
		t.Fatal("vectors are missing")
	}
	for _, v := range set.Encode {
		p := prepare()
		p.ExpiresAt = instant(t, v[0])
		b, err := p.Encode()
		if err != nil || string(b[10:27]) != v[1] {
			t.Errorf("%s is %s: %v", v[0], b[10:27], err)
		}
		checkPacket(t, b, p)
	}
	for _, v := range set.Invalid {
		b, err := prepare().Encode()
		if err != nil {
			t.Fatal(err)
		}
		body := append(append(append([]byte(nil), b[2:10]...), v...), b[27:]...)
		p, err := ilp.Decode(append([]byte{12, byte(len(body))}, body...))
		if !errors.Is(err, ilp.ErrPacket) {
			t.Errorf("%s accepted: %+v", v, p)
		}
	}
}

func prepare() *ilp.Prepare {
	return &ilp.Prepare{
		Amount: 107, ExpiresAt: time.Date(2026, 11, 24, 12, 0, 0, 549e6, time.UTC),
		Condition: cypherlink.Condition{1, 2, 3}, Destination: "private.cl.bank", Data: []byte("x"),
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	with := func(change func(*ilp.Prepare)) *ilp.Prepare {
		p := prepare()
		change(p)
		return p
	}
	reject := ilp.Reject{Code: "F00"}
	tests := []struct {
		name   string
		packet ilp.Packet
	}{
		{"data above 32767 bytes", with(func(p *ilp.Prepare) { p.Data = make([]byte, ilp.MaxData+1) })},
		{"no destination", with(func(p *ilp.Prepare) { p.Destination = "" })},
		{"a destination that is no address", with(func(p *ilp.Prepare) { p.Destination = "bank" })},
		{"an expiry with microseconds", with(func(p *ilp.Prepare) { p.ExpiresAt = time.Unix(0, 1000) })},
		{"an expiry in the year 10000", with(func(p *ilp.Prepare) {
			p.ExpiresAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
		})},
		{"a fulfill with too much data", &ilp.Fulfill{Data: make([]byte, ilp.MaxData+1)}},
		{"a reject with too much data", &ilp.Reject{Code: "F00", Data: make([]byte, ilp.MaxData+1)}},
		{"a reject without a code", &ilp.Reject{}},
		{"a code of an unknown class", &ilp.Reject{Code: "X00"}},
		{"a code with a letter", &ilp.Reject{Code: "F0A"}},
		{"a code of 4 characters", &ilp.Reject{Code: "F000"}},
		{"a message above 8191 bytes", &ilp.Reject{Code: "F00", Message: strings.Repeat("x", 8192)}},
		{"a message that is not UTF-8", &ilp.Reject{Code: "F00", Message: "\xff"}},
		{"triggered by what is no address", &ilp.Reject{Code: "F00", TriggeredBy: "bank"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if b, err := tt.packet.Encode(); !errors.Is(err, ilp.ErrPacket) || b != nil {
				t.Fatalf("%.40x, %v", b, err)
			}
		})
	}
	if _, err := reject.Encode(); err != nil {
		t.Fatal(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := prepare().Encode()
	if err != nil {
		t.Fatal(err)
	}
	reject, err := (&ilp.Reject{Code: "T01", Message: "é"}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	set := func(b []byte, at int, text string) []byte {
		b = bytes.Clone(b)
		copy(b[at:], text)
		return b
	}
	tests := []struct {
		name string
		in   []byte
	}{
		{"nothing", nil},
		{"type 11", set(good, 0, "\x0b")},
		{"type 0", set(good, 0, "\x00")},
		{"a byte after the packet", append(bytes.Clone(good), 0)},
		{"a byte after the data", append(set(good, 1, string(rune(good[1]+1))), 0)},
		{"a length in the long form", append([]byte{12, 0x81, good[1]}, good[2:]...)},
		{"month 13", set(good, 14, "13")},
		{"month 0", set(good, 14, "00")},
		{"30 February", set(good, 14, "0230")},
		{"29 February 2026", set(good, 14, "0229")},
		{"hour 24", set(good, 18, "24")},
		{"minute 60", set(good, 20, "60")},
		{"second 60", set(good, 22, "60")},
		{"a sign in the year", set(good, 10, "+")},
		{"a blank in the milliseconds", set(good, 26, " ")},
		{"a destination that is no address", set(good, 60, "/")},
		{"a code of an unknown class", set(reject, 2, "X")},
		{"a message that is not UTF-8", set(reject, 7, "\xff")},
		{"more than any packet has", make([]byte, ilp.MaxPacket+1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if p, err := ilp.Decode(tt.in); !errors.Is(err, ilp.ErrPacket) {
				t.Fatalf("accepted: %+v, %v", p, err)
			}
		})
	}
	for n := range good {
		if _, err := ilp.Decode(good[:n]); !errors.Is(err, ilp.ErrPacket) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := ilp.DecodePrepare(reject); !errors.Is(err, ilp.ErrPacket) {
		t.Fatal("a Reject passes as a Prepare")
	}
}

func TestLargestPackets(t *testing.T) {
	address := ilp.Address("g." + strings.Repeat("x", ilp.MaxAddress-2))
	p := prepare()
	p.Destination, p.Data = address, make([]byte, ilp.MaxData)
	b, err := p.Encode()
	if err != nil || len(b) != ilp.MaxPrepare {
		t.Fatal(len(b), err)
	}
	checkPacket(t, b, p)
	r := &ilp.Reject{
		Code: "F00", TriggeredBy: address, Message: strings.Repeat("x", ilp.MaxMessage),
		Data: make([]byte, ilp.MaxData),
	}
	b, err = r.Encode()
	if err != nil || len(b) != ilp.MaxPacket {
		t.Fatal(len(b), err)
	}
	checkPacket(t, b, r)
}

func TestToAmount(t *testing.T) {
	if a, err := ilp.ToAmount(math.MaxInt64); a != math.MaxInt64 || err != nil {
		t.Fatal(a, err)
	}
	if a, err := ilp.ToAmount(1 << 63); !errors.Is(err, cypherlink.ErrAmountRange) || a != 0 {
		t.Fatal(a, err)
	}
}

func TestAmountLimit(t *testing.T) {
	want := ilp.AmountLimit{Received: 1000, Maximum: 500}
	data := want.Encode()
	if hex.EncodeToString(data) != "00000000000003e800000000000001f4" { // in a generated vector
		t.Fatalf("%x", data)
	}
	if got, err := ilp.DecodeAmountLimit(data); got != want || err != nil {
		t.Fatal(got, err)
	}
	for _, bad := range [][]byte{data[:15], append(data, 0), nil} {
		if _, err := ilp.DecodeAmountLimit(bad); !errors.Is(err, ilp.ErrPacket) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func TestErrorCodeClass(t *testing.T) {
	for code, want := range map[ilp.ErrorCode]byte{
		ilp.WrongCondition: 'F', ilp.PeerBusy: 'T', ilp.InsufficientTimeout: 'R', "T42": 'T', "": 0, "X0": 0,
	} {
		if got := code.Class(); got != want {
			t.Errorf("%q: %q", code, got)
		}
	}
}

func drawAddress(t *rapid.T) ilp.Address {
	scheme := rapid.SampledFrom([]string{"g", "private", "test3", "peer"}).Draw(t, "scheme")
	return ilp.Address(scheme + rapid.StringMatching(`(\.[a-zA-Z0-9_~-]{1,20}){1,5}`).Draw(t, "segments"))
}

func drawPrepare(t *rapid.T) *ilp.Prepare {
	return &ilp.Prepare{
		Amount:      rapid.Uint64().Draw(t, "amount"),
		ExpiresAt:   time.UnixMilli(rapid.Int64Range(-6e13, 2e14).Draw(t, "expiry")).UTC(),
		Condition:   cypherlink.Condition(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "condition")),
		Destination: drawAddress(t),
		Data:        rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"),
	}
}

func TestPacketsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		code := ilp.ErrorCode(rapid.StringMatching(`[FTR][0-9][0-9]`).Draw(t, "code"))
		message := rapid.StringN(0, 60, 240).Draw(t, "message")
		for _, p := range []ilp.Packet{
			drawPrepare(t),
			&ilp.Fulfill{Data: data},
			&ilp.Reject{Code: code, TriggeredBy: drawAddress(t), Message: message, Data: data},
		} {
			b, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := ilp.Decode(b)
			if err != nil || !reflect.DeepEqual(got, p) {
				t.Fatalf("%+v, want %+v: %v", got, p, err)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"0e0d7477ff06746573742e7400002a", "0e06463030000000",
		"0d35" + strings.Repeat("00", 32) + "140e6578616d706c652e636c69656e740d0358414d",
	} {
		f.Add(unhex(f, s))
	}
	good, err := prepare().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ilp.Decode(b)
		if err != nil {
			if !errors.Is(err, ilp.ErrPacket) {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := p.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted %x, encodes as %x: %v", b, again, err)
		}
		if f, ok := p.(*ilp.Fulfill); ok {
			if c, err := ilp.DecodeConfig(f); err == nil {
				again, err := c.Fulfill()
				if err != nil || !reflect.DeepEqual(again, f) {
					t.Fatalf("configuration %+v: %v", c, err)
				}
			}
		}
	})
}
