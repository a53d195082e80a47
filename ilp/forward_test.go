package ilp_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

func TestForwardChangesAmountAndExpiryAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPrepare(t)
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(b)
		want := *p
		want.Amount = rapid.Uint64().Draw(t, "next amount")
		want.ExpiresAt = time.UnixMilli(rapid.Int64Range(0, 2e14).Draw(t, "next expiry")).UTC()
		out, err := ilp.Forward(b, want.Amount, want.ExpiresAt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ilp.DecodePrepare(out)
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Fatalf("%+v, want %+v: %v", got, &want, err)
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the incoming packet changed")
		}
	})
}

func TestForwardRefuses(t *testing.T) {
	b, err := prepare().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ilp.Forward(b[:len(b)-1], 1, prepare().ExpiresAt); !errors.Is(err, ilp.ErrPacket) {
		t.Fatalf("a cut packet: %v", err)
	}
	if _, err := ilp.Forward(b, 1, time.Unix(0, 1)); !errors.Is(err, ilp.ErrPacket) {
		t.Fatalf("an expiry in nanoseconds: %v", err)
	}
}

func TestForwardExpiry(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	hold := ilp.Hold{Window: time.Second, Max: 30 * time.Second}
	tests := []struct {
		name    string
		source  time.Duration
		next    time.Duration
		refused bool
	}{
		{"a window is taken off", 10 * time.Second, 9 * time.Second, false},
		{"no later than the longest hold", time.Hour, 30 * time.Second, false},
		{"just at the longest hold", 31 * time.Second, 30 * time.Second, false},
		{"just enough for two windows", 2 * time.Second, time.Second, false},
		{"a millisecond less than two windows", 1999 * time.Millisecond, 0, true},
		{"rounded down to milliseconds", 10*time.Second + 999*time.Microsecond, 9 * time.Second, false},
		{"expires now", 0, 0, true},
		{"has expired", -time.Second, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, err := hold.ForwardExpiry(now, now.Add(tt.source))
			if !tt.refused {
				if err != nil || !next.Equal(now.Add(tt.next)) {
					t.Fatal(next, err)
				}
				return
			}
			reject, ok := errors.AsType[*ilp.Reject](err)
			if !ok || reject.Code != ilp.InsufficientTimeout || !next.IsZero() {
				t.Fatal(next, err)
			}
		})
	}
	hold.Window = 0
	if _, err := hold.ForwardExpiry(now, now); err == nil {
		t.Fatal("a packet that expires now passes where no window is asked for")
	}
}

func TestConfigVectors(t *testing.T) {
	var set struct {
		Clock   string
		Vectors []struct {
			Name, Hex, Expect, ExpiresAt, ClientAddress, AssetCode string
			AssetScale                                             uint8
		}
	}
	vectors.JSON(t, "vectors/ilp/extracted/ildcp.interledgerjs.json", &set)
	if len(set.Vectors) != 6 {
		t.Fatal("vectors are missing")
	}
	now := instant(t, set.Clock)
	for _, v := range set.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			p, err := ilp.Decode(unhex(t, v.Hex))
			if err != nil {
				t.Fatal(err)
			}
			switch p := p.(type) {
			case *ilp.Prepare:
				err = ilp.CheckConfigRequest(now, p)
				if v.Expect == "" {
					checkEncoding(t, ilp.NewConfigRequest(instant(t, v.ExpiresAt)), v.Hex)
				}
			case *ilp.Fulfill:
				var got ilp.Config
				got, err = ilp.DecodeConfig(p)
				want := ilp.Config{
					Client: ilp.Address(v.ClientAddress), AssetScale: v.AssetScale, AssetCode: v.AssetCode,
				}
				if got != want {
					t.Fatalf("%+v", got)
				}
				if v.Expect == "" {
					again, err := want.Fulfill()
					if err != nil {
						t.Fatal(err)
					}
					checkEncoding(t, again, v.Hex)
				}
			case *ilp.Reject:
				t.Fatal("no reject is in the set")
			}
			if (v.Expect == "error") != (err != nil) {
				t.Fatalf("expected %q, got %v", v.Expect, err)
			}
		})
	}
}

func checkEncoding(tb testing.TB, p ilp.Packet, want string) {
	tb.Helper()
	if b, err := p.Encode(); err != nil || !bytes.Equal(b, unhex(tb, want)) {
		tb.Fatalf("%x, want %s: %v", b, want, err)
	}
}

func TestConfigRequestRefuses(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name   string
		change func(*ilp.Prepare)
		want   ilp.ErrorCode
	}{
		{"an amount", func(p *ilp.Prepare) { p.Amount = 1 }, ilp.BadRequest},
		{"another destination", func(p *ilp.Prepare) { p.Destination = "peer.settle" }, ilp.BadRequest},
		{"data", func(p *ilp.Prepare) { p.Data = []byte{1} }, ilp.BadRequest},
		{"another condition", func(p *ilp.Prepare) { p.Condition[0]++ }, ilp.WrongCondition},
		{"expires now", func(p *ilp.Prepare) { p.ExpiresAt = now }, ilp.TransferTimedOut},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := ilp.NewConfigRequest(now.Add(time.Minute))
			if err := ilp.CheckConfigRequest(now, p); err != nil {
				t.Fatal(err)
			}
			tt.change(p)
			reject, ok := errors.AsType[*ilp.Reject](ilp.CheckConfigRequest(now, p))
			if !ok || reject.Code != tt.want {
				t.Fatalf("%+v", reject)
			}
		})
	}
}

func TestConfigRefuses(t *testing.T) {
	good, err := ilp.Config{Client: "example.client", AssetScale: 2, AssetCode: "EUR"}.Fulfill()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"a byte too many":         append(bytes.Clone(good.Data), 0),
		"a byte too few":          good.Data[:len(good.Data)-1],
		"a code that is not UTF8": append(bytes.Clone(good.Data[:len(good.Data)-1]), 0xff),
		"no address":              good.Data[1:],
	} {
		if c, err := ilp.DecodeConfig(&ilp.Fulfill{Data: data}); !errors.Is(err, ilp.ErrPacket) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := ilp.DecodeConfig(&ilp.Fulfill{
		Preimage: cypherlink.Preimage{1}, Data: good.Data,
	}); !errors.Is(err, ilp.ErrPacket) {
		t.Error("another preimage")
	}
	for _, c := range []ilp.Config{{Client: "bank"}, {Client: "g.a", AssetCode: "\xff"}} {
		if _, err := c.Fulfill(); !errors.Is(err, ilp.ErrPacket) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
