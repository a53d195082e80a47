package ilp_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

// number is an unsigned integer that the test data hold as text.
type number uint64

func (n *number) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 10, 64)
	*n = number(v)
	return err
}

// jsFrame is a frame as the fixtures of interledgerjs write it.
type jsFrame struct {
	Type                                         byte
	StreamID                                     number `json:"streamId"`
	ErrorCode                                    ilp.CloseCode
	ErrorMessage, SourceAccount, SourceAssetCode string
	SourceAssetScale                             uint8
	MaxOffset                                    number
	MaxStreamID                                  number `json:"maxStreamId"`
	Shares, ReceiveMax, TotalReceived            number
	SendMax, TotalSent, Offset                   number
	Data, Receipt                                []byte
}

func (f *jsFrame) frame(tb testing.TB) ilp.Frame {
	tb.Helper()
	id := uint64(f.StreamID)
	switch f.Type {
	case 0x01:
		return ilp.ConnectionClose{Code: f.ErrorCode, Message: f.ErrorMessage}
	case 0x02:
		return ilp.ConnectionNewAddress{Source: ilp.Address(f.SourceAccount)}
	case 0x03:
		return ilp.ConnectionMaxData{MaxOffset: uint64(f.MaxOffset)}
	case 0x04:
		return ilp.ConnectionDataBlocked{MaxOffset: uint64(f.MaxOffset)}
	case 0x05:
		return ilp.ConnectionMaxStreamID{MaxStreamID: uint64(f.MaxStreamID)}
	case 0x06:
		return ilp.ConnectionStreamIDBlocked{MaxStreamID: uint64(f.MaxStreamID)}
	case 0x07:
		return ilp.ConnectionAssetDetails{Code: f.SourceAssetCode, Scale: f.SourceAssetScale}
	case 0x10:
		return ilp.StreamClose{StreamID: id, Code: f.ErrorCode, Message: f.ErrorMessage}
	case 0x11:
		return ilp.StreamMoney{StreamID: id, Shares: uint64(f.Shares)}
	case 0x12:
		return ilp.StreamMaxMoney{
			StreamID: id, ReceiveMax: uint64(f.ReceiveMax), TotalReceived: uint64(f.TotalReceived),
		}
	case 0x13:
		return ilp.StreamMoneyBlocked{
			StreamID: id, SendMax: uint64(f.SendMax), TotalSent: uint64(f.TotalSent),
		}
	case 0x14:
		return ilp.StreamData{StreamID: id, Offset: uint64(f.Offset), Data: f.Data}
	case 0x15:
		return ilp.StreamMaxData{StreamID: id, MaxOffset: uint64(f.MaxOffset)}
	case 0x16:
		return ilp.StreamDataBlocked{StreamID: id, MaxOffset: uint64(f.MaxOffset)}
	case 0x17:
		return ilp.StreamReceipt{StreamID: id, Receipt: f.Receipt}
	default:
		tb.Fatalf("frame type %d", f.Type)
		return nil
	}
}

// TestStreamVectors runs the fixtures of interledgerjs, the RFC's copy of them and Quilt's.
func TestStreamVectors(t *testing.T) {
	for file, count := range map[string]int{
		"packets.interledgerjs.json": 53, "StreamPacketFixtures.rfcs.json": 53,
		"StreamPacketFixtures.quilt.json": 52,
	} {
		buffers := map[string][]byte{}
		for name, v := range fixtures(t, file) {
			t.Run(file+"/"+name, func(t *testing.T) {
				want := &ilp.StreamPacket{
					Carrier: v.Packet.PacketType, Sequence: uint64(v.Packet.Sequence),
					Amount: uint64(v.Packet.Amount),
				}
				for i := range v.Packet.Frames {
					want.Frames = append(want.Frames, v.Packet.Frames[i].frame(t))
				}
				got, err := ilp.DecodeStream(v.Buffer)
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Fatalf("%+v, want %+v: %v", got, want, err)
				}
				b, err := want.Encode()
				if err != nil || bytes.Equal(b, v.Buffer) == v.DecodeOnly {
					t.Fatalf("encodes as %x, want %x: %v", b, v.Buffer, err)
				}
			})
			buffers[name] = v.Buffer
		}
		if len(buffers) != count {
			t.Fatalf("%s has %d vectors", file, len(buffers))
		}
	}
}

type fixture struct {
	Packet struct {
		Sequence, Amount number
		PacketType       ilp.Type
		Frames           []jsFrame
	}
	Buffer     []byte
	DecodeOnly bool `json:"decode_only"`
}

// fixtures reads a file that is an object by name, or a list with names.
func fixtures(tb testing.TB, file string) map[string]fixture {
	tb.Helper()
	raw := vectors.Read(tb, "vectors/ilp/stream/"+file)
	byName := map[string]fixture{}
	if json.Unmarshal(raw, &byName) == nil {
		return byName
	}
	var list []struct {
		Name string
		fixture
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		tb.Fatal(err)
	}
	for _, v := range list {
		byName[v.Name] = v.fixture
	}
	return byName
}

func TestDecodeStreamRefuses(t *testing.T) {
	tests := []struct{ name, in string }{
		{"nothing", ""},
		{"version 2", "020c010101000100"},
		{"a carrier of type 11", "010b010101000100"},
		{"a sequence without bytes", "010c000101000100"},
		{"an amount with a leading zero", "010c0101020001 0100"},
		{"more frames than bytes", "010c010101000105"},
		{"2^64-1 frames", "010c0101010008ffffffffffffffff"},
		{"a frame that is cut", "010c0101010001011103010101"[:24]},
		{"a byte after the fields of a frame", "010c0101010001011105010101 01ff"},
		{"a message that is not UTF-8", "010c0101010001010103 0101ff"},
		{"an address that is none", "010c010101000101020201 2f"},
		{"shares of more than 64 bits", "010c010101000101 110c0101 09ffffffffffffffffff"},
		{"padding that is not zero", "010c01010100010000ff00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := unhex(t, string(bytes.ReplaceAll([]byte(tt.in), []byte(" "), nil)))
			if p, err := ilp.DecodeStream(in); !errors.Is(err, ilp.ErrStream) {
				t.Fatalf("accepted: %+v, %v", p, err)
			}
		})
	}
}

func TestFrameCountIsCheckedBeforeAllocation(t *testing.T) {
	in := unhex(t, "010c0101010003100000") // 2^20 frames
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ilp.DecodeStream(in)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; !errors.Is(err, ilp.ErrStream) || used > 1<<16 {
		t.Fatalf("%d bytes allocated, %v", used, err)
	}
}

func TestEncodeStreamRefuses(t *testing.T) {
	for _, p := range []ilp.StreamPacket{
		{Carrier: 11},
		{Carrier: 15},
		{Carrier: ilp.TypePrepare, Padding: -1},
		{Carrier: ilp.TypePrepare, Padding: ilp.MaxData + 1},
	} {
		if b, err := p.Encode(); !errors.Is(err, ilp.ErrStream) || b != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestUnknownFramesAndPaddingAreKept(t *testing.T) {
	want := &ilp.StreamPacket{
		Carrier: ilp.TypeFulfill, Sequence: 7, Amount: 9, Padding: 100,
		Frames: []ilp.Frame{
			ilp.UnknownFrame{Type: 0x7f, Contents: []byte("later")}, ilp.StreamMoney{StreamID: 1, Shares: 1},
		},
	}
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ilp.DecodeStream(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v: %v", got, err)
	}
}

func drawFrame(t *rapid.T) ilp.Frame {
	n := func(name string) uint64 { return rapid.Uint64().Draw(t, name) }
	text := rapid.StringN(0, 20, 80).Draw(t, "text")
	code := ilp.CloseCode(rapid.Byte().Draw(t, "code"))
	data := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "data")
	return rapid.SampledFrom([]ilp.Frame{
		ilp.ConnectionClose{Code: code, Message: text},
		ilp.ConnectionNewAddress{Source: drawAddress(t)},
		ilp.ConnectionMaxData{MaxOffset: n("a")},
		ilp.ConnectionDataBlocked{MaxOffset: n("a")},
		ilp.ConnectionMaxStreamID{MaxStreamID: n("a")},
		ilp.ConnectionStreamIDBlocked{MaxStreamID: n("a")},
		ilp.ConnectionAssetDetails{Code: text, Scale: uint8(code)},
		ilp.StreamClose{StreamID: n("a"), Code: code, Message: text},
		ilp.StreamMoney{StreamID: n("a"), Shares: n("b")},
		ilp.StreamMaxMoney{StreamID: n("a"), ReceiveMax: n("b"), TotalReceived: n("c")},
		ilp.StreamMoneyBlocked{StreamID: n("a"), SendMax: n("b"), TotalSent: n("c")},
		ilp.StreamData{StreamID: n("a"), Offset: n("b"), Data: data},
		ilp.StreamMaxData{StreamID: n("a"), MaxOffset: n("b")},
		ilp.StreamDataBlocked{StreamID: n("a"), MaxOffset: n("b")},
		ilp.StreamReceipt{StreamID: n("a"), Receipt: data},
		ilp.UnknownFrame{Type: 0x60, Contents: data},
	}).Draw(t, "frame")
}

func TestStreamRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &ilp.StreamPacket{
			Carrier:  rapid.SampledFrom([]ilp.Type{12, 13, 14}).Draw(t, "carrier"),
			Sequence: rapid.Uint64().Draw(t, "sequence"),
			Amount:   rapid.Uint64().Draw(t, "amount"),
			Padding:  rapid.IntRange(0, 40).Draw(t, "padding"),
		}
		for range rapid.IntRange(0, 5).Draw(t, "frames") {
			want.Frames = append(want.Frames, drawFrame(t))
		}
		b, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ilp.DecodeStream(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, want %+v: %v", got, want, err)
		}
	})
}

func FuzzDecodeStream(f *testing.F) {
	for _, s := range []string{
		"AQwBAAEAAQESDgF7CP//////////AgHI", "AQwBAAEAAQEUDAF7AgHIBmZvb2Jhcg==", "AQwBAAEAAQEBBgEEZmFpbA==",
		"AQwBAAEAAQESDwF7CQEAAAAAAAAAAAIByA==",
	} {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ilp.DecodeStream(b)
		if err != nil {
			if !errors.Is(err, ilp.ErrStream) {
				t.Fatal(err)
			}
			return
		}
		again, err := p.Encode()
		if err != nil || len(again) > len(b) {
			t.Fatalf("%x encodes as %x: %v", b, again, err)
		}
		if len(again) == len(b) && !bytes.Equal(again, b) {
			t.Fatalf("%x encodes as %x", b, again)
		}
		if q, err := ilp.DecodeStream(again); err != nil || !reflect.DeepEqual(p, q) {
			t.Fatalf("%+v, then %+v: %v", p, q, err)
		}
	})
}
