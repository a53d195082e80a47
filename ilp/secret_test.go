package ilp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

func TestEnvelopeVectorOfInterledgerRS(t *testing.T) {
	var set struct {
		Vectors []struct {
			SharedSecret, Plaintext, IV string
			Envelope                    string `json:"envelope_iv_tag_ciphertext"`
		}
	}
	vectors.JSON(t, "vectors/ilp/extracted/stream_crypto.interledger-rs.json", &set)
	if len(set.Vectors) != 1 {
		t.Fatal("vectors are missing")
	}
	for _, v := range set.Vectors {
		checkEnvelope(t, v.SharedSecret, v.IV, v.Plaintext, v.Envelope)
	}
}

func checkEnvelope(tb testing.TB, secret, iv, plaintext, envelope string) {
	tb.Helper()
	s := ilp.SharedSecret(unhex(tb, secret))
	got, err := s.Seal(bytes.NewReader(unhex(tb, iv)), unhex(tb, plaintext))
	if err != nil || !bytes.Equal(got, unhex(tb, envelope)) {
		tb.Fatalf("sealed %x, want %s: %v", got, envelope, err)
	}
	opened, err := s.Open(got)
	if err != nil || !bytes.Equal(opened, unhex(tb, plaintext)) {
		tb.Fatalf("opened %x, want %s: %v", opened, plaintext, err)
	}
}

func TestDerivationVectors(t *testing.T) {
	var set struct {
		Vectors []struct {
			SharedSecret, IV, Plaintext, Fulfillment, Condition string

			Envelope string `json:"data_iv_tag_ct"`
			Sequence number
			Amount   number `json:"prepareAmount"`
		}
	}
	vectors.JSON(t, "vectors/ilp/generated/stream_derivations.json", &set)
	if len(set.Vectors) != 12 {
		t.Fatal("vectors are missing")
	}
	for _, v := range set.Vectors {
		checkEnvelope(t, v.SharedSecret, v.IV, v.Plaintext, v.Envelope)
		preimage := ilp.SharedSecret(unhex(t, v.SharedSecret)).Preimage(unhex(t, v.Envelope))
		same := bytes.Equal(preimage[:], unhex(t, v.Fulfillment))
		if !same || preimage.Condition().String() != v.Condition {
			t.Errorf("sequence %d has another preimage", v.Sequence)
		}
		p, err := ilp.DecodeStream(unhex(t, v.Plaintext))
		if err != nil || p.Sequence != uint64(v.Sequence) || p.Amount != uint64(v.Amount) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

func TestSharedSecretVectors(t *testing.T) {
	var set struct {
		Vectors []struct{ ServerSecret, Token, SharedSecret string }
	}
	vectors.JSON(t, "vectors/ilp/generated/stream_shared_secret.json", &set)
	if len(set.Vectors) != 6 {
		t.Fatal("vectors are missing")
	}
	for _, v := range set.Vectors {
		got := ilp.ServerSecret(unhex(t, v.ServerSecret)).SharedSecret(unhex(t, v.Token))
		if got != ilp.SharedSecret(unhex(t, v.SharedSecret)) {
			t.Errorf("token %s", v.Token)
		}
	}
}

func TestOpenRefusesEveryChangedBit(t *testing.T) {
	s := ilp.SharedSecret{1}
	envelope, err := s.Seal(bytes.NewReader(make([]byte, 12)), []byte("terms"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(envelope) * 8 {
		changed := bytes.Clone(envelope)
		changed[i/8] ^= 1 << (i % 8)
		if _, err := s.Open(changed); !errors.Is(err, ilp.ErrDecrypt) {
			t.Fatalf("bit %d: %v", i, err)
		}
	}
	for n := range envelope {
		if _, err := s.Open(envelope[:n]); !errors.Is(err, ilp.ErrDecrypt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := (ilp.SharedSecret{2}).Open(envelope); !errors.Is(err, ilp.ErrDecrypt) {
		t.Fatalf("another secret: %v", err)
	}
}

func TestShortRandomnessIsAnError(t *testing.T) {
	_, err := ilp.SharedSecret{}.Seal(bytes.NewReader(make([]byte, 11)), nil)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	_, _, err = ilp.ServerSecret{}.NewAddress(bytes.NewReader(make([]byte, 17)), "g.bank")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	server, shared := ilp.ServerSecret{0xab, 171}, ilp.SharedSecret{0xab, 171}
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", slog.Any("server", server), slog.Any("shared", shared))
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+verb+"\n", server, &shared)
		fmt.Fprintf(&out, verb+"\n", struct{ S ilp.SharedSecret }{shared})
	}
	if s := out.String(); strings.Contains(s, "171") || strings.Contains(strings.ToLower(s), "ab0") ||
		strings.Contains(strings.ToLower(s), "ab") {
		t.Fatal(s)
	}
}

func TestSharedSecretText(t *testing.T) {
	want := ilp.SharedSecret{1, 2, 0xff}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got ilp.SharedSecret
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Fatalf("%v", err)
	}
	if err := got.UnmarshalText(bytes.ToUpper(b[1 : len(b)-1])); !errors.Is(err, cypherlink.ErrHex) {
		t.Fatal("two texts for one secret")
	}
}

func TestRecover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		server := ilp.ServerSecret(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "server"))
		nonce := rapid.SliceOfN(rapid.Byte(), 18, 18).Draw(t, "nonce")
		base := drawAddress(t)
		address, secret, err := server.NewAddress(bytes.NewReader(nonce), base)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ilp.ParseAddress(string(address)); err != nil || len(address) != len(base)+49 {
			t.Fatal(address, err)
		}
		got, err := server.Recover(base, address)
		if err != nil || got != secret {
			t.Fatalf("%v", err)
		}
		other := server
		other[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1
		if _, err := other.Recover(base, address); !errors.Is(err, ilp.ErrToken) {
			t.Fatalf("another server: %v", err)
		}
	})
}

func TestRecoverRefuses(t *testing.T) {
	server, base := ilp.ServerSecret{9}, ilp.Address("private.cl.bankb")
	address, _, err := server.NewAddress(bytes.NewReader(make([]byte, 18)), base)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := ilp.Address("private.cl.banka" + strings.TrimPrefix(string(address), string(base)))
	tests := []struct {
		name          string
		base, address ilp.Address
	}{
		{"the base itself", base, base},
		{"another base", "private.cl.bankc", address},
		{"the token below another base", "private.cl.banka", elsewhere},
		{"a segment after the token", base, address + ".x"},
		{"a token that is cut", base, address[:len(address)-1]},
		{"a longer token", base, address + "AAAA"},
		{"a foreign token of the right length", base, base + "." + ilp.Address(strings.Repeat("A", 48))},
		{"a token with a line break", base, address[:30] + "\n" + address[30:]},
		{"no base64url", base, base + ".~"},
		{"no base", "", address},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			secret, err := server.Recover(tt.base, tt.address)
			if !errors.Is(err, ilp.ErrToken) || secret != (ilp.SharedSecret{}) {
				t.Fatalf("accepted: %v", err)
			}
		})
	}
	_, _, err = server.NewAddress(bytes.NewReader(make([]byte, 18)), "bank")
	if !errors.Is(err, ilp.ErrAddress) {
		t.Fatalf("a base that is no address: %v", err)
	}
}

const base ilp.Address = "private.cl.cypherium.bankbxxx"

func TestDelivery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		server := ilp.ServerSecret(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "server"))
		random := bytes.NewReader(rapid.SliceOfN(rapid.Byte(), 30, 30).Draw(t, "random"))
		want := ilp.Delivery{
			Minimum: cypherlink.Amount(rapid.Int64Min(0).Draw(t, "minimum")),
			Content: rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "content"),
		}
		address, secret, err := server.NewAddress(random, base)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := secret.NewPrepare(random, address, 100100, prepare().ExpiresAt, want)
		if err != nil {
			t.Fatal(err)
		}
		b, err := sent.Encode()
		if err != nil {
			t.Fatal(err)
		}
		arrived := uint64(want.Minimum) + rapid.Uint64Range(0, 1<<62).Draw(t, "surplus")
		b, err = ilp.Forward(b, arrived, prepare().ExpiresAt.Add(-time.Second))
		if err != nil {
			t.Fatal(err)
		}
		received, err := ilp.DecodePrepare(b)
		if err != nil {
			t.Fatal(err)
		}
		got, preimage, err := server.Receive(base, received)
		if err != nil || got.Minimum != want.Minimum || !bytes.Equal(got.Content, want.Content) {
			t.Fatalf("%+v: %v", got, err)
		}
		if !sent.Condition.FulfilledBy(preimage) {
			t.Fatal("the preimage does not fulfil the condition")
		}
	})
}

// sealed is a Prepare to an address of server whose envelope holds that STREAM packet.
func sealed(tb testing.TB, server ilp.ServerSecret, packet *ilp.StreamPacket) *ilp.Prepare {
	tb.Helper()
	random := bytes.NewReader(make([]byte, 30))
	address, secret, err := server.NewAddress(random, base)
	if err != nil {
		tb.Fatal(err)
	}
	plaintext, err := packet.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	envelope, err := secret.Seal(random, plaintext)
	if err != nil {
		tb.Fatal(err)
	}
	p := prepare()
	p.Amount, p.Destination, p.Data = 200000, address, envelope
	p.Condition = secret.Preimage(envelope).Condition()
	return p
}

func TestReceiveRefuses(t *testing.T) {
	server := ilp.ServerSecret{7}
	money := ilp.StreamMoney{StreamID: 1, Shares: 1}
	content := ilp.StreamData{StreamID: 1, Data: []byte("terms")}
	good := ilp.StreamPacket{
		Carrier: ilp.TypePrepare, Sequence: 1, Amount: 200000, Frames: []ilp.Frame{money, content},
	}
	tests := []struct {
		name   string
		packet func(*ilp.StreamPacket)
		outer  func(*ilp.Prepare)
		want   ilp.ErrorCode
	}{
		{"nothing wrong", nil, nil, ""},
		{"more than the minimum", nil, func(p *ilp.Prepare) { p.Amount++ }, ""},
		{
			"frames of a later version are ignored",
			func(s *ilp.StreamPacket) { s.Frames = append(s.Frames, ilp.UnknownFrame{Type: 0x70}) }, nil, "",
		},
		{
			"one unit less than the minimum", nil, func(p *ilp.Prepare) { p.Amount-- },
			ilp.InsufficientDestinationAmount,
		},
		{"another condition", nil, func(p *ilp.Prepare) { p.Condition[0] ^= 1 }, ilp.WrongCondition},
		{"other data", nil, func(p *ilp.Prepare) { p.Data[0] ^= 1 }, ilp.WrongCondition},
		{"data that does not open", nil, func(p *ilp.Prepare) {
			p.Data[0] ^= 1
			secret, err := server.Recover(base, p.Destination)
			if err != nil {
				t.Fatal(err)
			}
			p.Condition = secret.Preimage(p.Data).Condition()
		}, ilp.UnexpectedPayment},
		{
			"somebody else's address", nil, func(p *ilp.Prepare) { p.Destination = base + ".x" },
			ilp.UnexpectedPayment,
		},
		{
			"an envelope that was made for a Fulfill",
			func(s *ilp.StreamPacket) { s.Carrier = ilp.TypeFulfill }, nil, ilp.UnexpectedPayment,
		},
		{
			"a minimum above 2^63-1",
			func(s *ilp.StreamPacket) { s.Amount = 1 << 63 },
			func(p *ilp.Prepare) { p.Amount = 1<<64 - 1 }, ilp.UnexpectedPayment,
		},
		{
			"no content",
			func(s *ilp.StreamPacket) { s.Frames = []ilp.Frame{money} }, nil, ilp.UnexpectedPayment,
		},
		{
			"content in two pieces",
			func(s *ilp.StreamPacket) { s.Frames = append(s.Frames, content) }, nil, ilp.UnexpectedPayment,
		},
		{
			"content on another stream",
			func(s *ilp.StreamPacket) { s.Frames[1] = ilp.StreamData{StreamID: 3} }, nil,
			ilp.UnexpectedPayment,
		},
		{
			"content that does not begin at 0",
			func(s *ilp.StreamPacket) { s.Frames[1] = ilp.StreamData{StreamID: 1, Offset: 1} }, nil,
			ilp.UnexpectedPayment,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			packet := good
			packet.Frames = append([]ilp.Frame(nil), good.Frames...)
			if tt.packet != nil {
				tt.packet(&packet)
			}
			p := sealed(t, server, &packet)
			if tt.outer != nil {
				tt.outer(p)
			}
			_, preimage, err := server.Receive(base, p)
			if tt.want == "" {
				if err != nil || !p.Condition.FulfilledBy(preimage) {
					t.Fatal(err)
				}
				return
			}
			reject, ok := errors.AsType[*ilp.Reject](err)
			if !ok || reject.Code != tt.want || preimage != (cypherlink.Preimage{}) {
				t.Fatalf("got %v, want %s", err, tt.want)
			}
			if _, err := reject.Encode(); err != nil {
				t.Fatalf("the reject cannot be sent: %v", err)
			}
		})
	}
}

func TestNewPrepareRefuses(t *testing.T) {
	s, at := ilp.SharedSecret{}, prepare().ExpiresAt
	random := func() io.Reader { return bytes.NewReader(make([]byte, 12)) }
	tests := []struct {
		name     string
		to       ilp.Address
		amount   cypherlink.Amount
		delivery ilp.Delivery
		want     error
	}{
		{"nothing wrong", base, 1, ilp.Delivery{Minimum: 1}, nil},
		{"a negative amount", base, -1, ilp.Delivery{}, cypherlink.ErrAmountRange},
		{"a negative minimum", base, 1, ilp.Delivery{Minimum: -1}, cypherlink.ErrAmountRange},
		{"a destination that is no address", "bank", 1, ilp.Delivery{}, ilp.ErrPacket},
		{"content that does not fit", base, 1, ilp.Delivery{Content: make([]byte, 32740)}, ilp.ErrPacket},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := s.NewPrepare(random(), tt.to, tt.amount, at, tt.delivery)
			if !errors.Is(err, tt.want) || (p == nil) != (err != nil) {
				t.Fatal(p, err)
			}
		})
	}
	p, err := s.NewPrepare(random(), base, 1, at.Add(time.Microsecond), ilp.Delivery{})
	if p != nil || !errors.Is(err, ilp.ErrPacket) {
		t.Fatal("an expiry in microseconds", err)
	}
}
