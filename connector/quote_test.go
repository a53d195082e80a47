package connector

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/terms"
)

func TestPriceIsExactAndAgainstTheAsker(t *testing.T) {
	two := Price{Rate: cypherlink.Rate{Num: 2, Den: 1}, Fee: 100}
	for _, tt := range []struct {
		name         string
		price        Price
		deliver, pay cypherlink.Amount
	}{
		{"the main job: 2,000.00 at 2 for 1 and a fee of 1.00", two, 200000, 100100},
		{"a half cent is rounded up: 1,234.57 costs 618.29", two, 123457, 61829},
		{"the least amount costs a whole unit", two, 1, 101},
		{"a rate of thirds", Price{Rate: cypherlink.Rate{Num: 3, Den: 7}}, 100, 234},
		{"a rate above 2^32", Price{Rate: cypherlink.Rate{Num: 1 << 40, Den: 3}}, 1 << 41, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.price.Source(tt.deliver)
			if err != nil || got != tt.pay {
				t.Fatalf("got %d, %v, want %d", got, err, tt.pay)
			}
		})
	}
}

func TestPriceRefuses(t *testing.T) {
	one := cypherlink.Rate{Num: 1, Den: 1}
	for _, tt := range []struct {
		name    string
		price   Price
		deliver cypherlink.Amount
		want    error
	}{
		{"nothing to deliver", Price{Rate: one}, 0, cypherlink.ErrAmountRange},
		{"a negative amount", Price{Rate: one}, -1, cypherlink.ErrAmountRange},
		{"a negative fee", Price{Rate: one, Fee: -1}, 1, cypherlink.ErrAmountRange},
		{"no rate", Price{}, 1, cypherlink.ErrRate},
		{"a negative rate", Price{Rate: cypherlink.Rate{Num: -2, Den: 1}}, 1, cypherlink.ErrRate},
		{"a sum above the range", Price{Rate: one, Fee: 1}, 1<<63 - 1, cypherlink.ErrAmountRange},
		{
			"a product above the range",
			Price{Rate: cypherlink.Rate{Num: 1, Den: 1 << 40}},
			1 << 40,
			cypherlink.ErrAmountRange,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tt.price.Source(tt.deliver); !errors.Is(err, tt.want) {
				t.Fatalf("got %d, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// The connector never delivers more than it was paid for, and never takes a unit too much.
func TestPriceIsTheLeastThatCovers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Price{Rate: cypherlink.Rate{
			Num: rapid.Int64Range(1, 1<<30).Draw(t, "num"), Den: rapid.Int64Range(1, 1<<30).Draw(t, "den"),
		}}
		deliver := cypherlink.Amount(rapid.Int64Range(1, 1<<31).Draw(t, "deliver"))
		pay, err := p.Source(deliver)
		if err != nil {
			t.Fatal(err)
		}
		covers := func(a cypherlink.Amount) bool {
			worth, err := p.Rate.Floor(a)
			return err == nil && worth >= deliver
		}
		if !covers(pay) || covers(pay-1) {
			t.Fatalf("%d for %d at %v", pay, deliver, p.Rate)
		}
	})
}

func signedQuote(change func(*Quote)) (*SignedQuote, ledgertest.Keys) {
	a, c := ledgertest.NewActor("bank-a"), ledgertest.NewActor("clearing")
	q := Quote{
		Network: cypherlink.NetworkID{1}, ID: cypherlink.Hash{2}, Connector: c.ID, Asker: a.ID,
		Source: Movement{
			Asset: cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2}, Amount: 100100,
			Account: cypherlink.Account{Owner: c.ID},
		},
		Destination: Movement{
			Asset: cypherlink.Asset{Ledger: "cypherium", Code: "CNY", Scale: 2}, Amount: 200000,
			Account: cypherlink.Account{Owner: c.ID},
		},
		Price:      Price{Rate: cypherlink.Rate{Num: 2, Den: 1}, Fee: 100},
		SourceHold: 32, DestinationHold: 20, ValidUntil: 1060,
	}
	if change != nil {
		change(&q)
	}
	sig, _ := c.Sign(q.Frame())
	return &SignedQuote{Quote: q, Signature: sig}, ledgertest.Keys{c.ID: c.Key, a.ID: a.Key}
}

func TestQuoteRefusesEveryChangedByte(t *testing.T) {
	s, keys := signedQuote(nil)
	b := s.Encode()
	got, err := DecodeQuote(b, keys)
	if err != nil || *got != *s {
		t.Fatalf("got %v, %v", got, err)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 1
		if _, err := DecodeQuote(c, keys); err == nil {
			t.Errorf("byte %d may be changed", i)
		}
	}
	if _, err := DecodeQuote(append(b, 0), keys); err == nil {
		t.Error("a byte may follow")
	}
	if _, err := DecodeQuote(b, ledgertest.Keys{}); !errors.Is(err, ErrQuote) {
		t.Errorf("an unknown connector: %v", err)
	}
}

func TestQuoteRefusesContradictions(t *testing.T) {
	for name, change := range map[string]func(*Quote){
		"another price than its own":   func(q *Quote) { q.Source.Amount-- },
		"both assets on one ledger":    func(q *Quote) { q.Destination.Asset.Ledger = "de" },
		"somebody else's account":      func(q *Quote) { q.Source.Account.Owner = q.Asker },
		"holds in the wrong order":     func(q *Quote) { q.SourceHold = q.DestinationHold },
		"no hold":                      func(q *Quote) { q.DestinationHold = 0 },
		"nothing to deliver":           func(q *Quote) { q.Destination.Amount = 0 },
		"a malformed asset":            func(q *Quote) { q.Destination.Asset.Code = "cny" },
		"a fraction with nothing over": func(q *Quote) { q.Price.Rate.Den = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			s, keys := signedQuote(change)
			if _, err := DecodeQuote(s.Encode(), keys); !errors.Is(err, ErrQuote) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestQuoteCoversItsTermsAlone(t *testing.T) {
	s, _ := signedQuote(nil)
	q := &s.Quote
	draw := func() *terms.Terms {
		return &terms.Terms{
			Network: q.Network, Payer: q.Asker, Payee: cypherlink.ParticipantID{9}, Connector: q.Connector,
			Quote: q.Hash(), Legs: []terms.Leg{
				{Asset: q.Source.Asset, Amount: q.Source.Amount, Credit: q.Source.Account, Expiry: 1032},
				{
					Asset: q.Destination.Asset, Amount: q.Destination.Amount, Debit: q.Destination.Account,
					Expiry: 1020,
				},
			},
		}
	}
	if err := q.Covers(draw(), 1001, 2); err != nil {
		t.Fatal(err)
	}
	if err := q.Covers(draw(), 1060, 100); !errors.Is(err, ErrQuoteExpired) {
		t.Fatalf("at its end: %v", err)
	}
	for name, change := range map[string]func(*terms.Terms){
		"another source amount":      func(t *terms.Terms) { t.Legs[0].Amount-- },
		"another destination amount": func(t *terms.Terms) { t.Legs[1].Amount++ },
		"another asset":              func(t *terms.Terms) { t.Legs[1].Asset.Code = "EUR" },
		"another account":            func(t *terms.Terms) { t.Legs[0].Credit.Number = 1 },
		"another payer":              func(t *terms.Terms) { t.Payer[0]++ },
		"another quote":              func(t *terms.Terms) { t.Quote[0]++ },
		"a longer source hold":       func(t *terms.Terms) { t.Legs[0].Expiry++ },
		"a longer destination hold":  func(t *terms.Terms) { t.Legs[1].Expiry++ },
		"both holds from elsewhen":   func(t *terms.Terms) { t.Legs[0].Expiry += 9; t.Legs[1].Expiry += 9 },
		"another network":            func(t *terms.Terms) { t.Network[0]++ },
		"one leg":                    func(t *terms.Terms) { t.Legs = t.Legs[:1] },
	} {
		terms := draw()
		change(terms)
		if err := q.Covers(terms, 1001, 2); !errors.Is(err, ErrQuoteDiffers) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMarginsAreChecked(t *testing.T) {
	m, source, destination := tight()
	if err := m.Valid(source, destination); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Margins, *Timing, *Timing){
		"no resend":                        func(m *Margins, _, _ *Timing) { m.Resend = 0 },
		"an unmeasured ledger":             func(_ *Margins, s, _ *Timing) { s.Inclusion = 0 },
		"a payee that reveals too late":    func(m *Margins, _, _ *Timing) { m.ConfirmWindow-- },
		"a relay that accepts too late":    func(m *Margins, _, _ *Timing) { m.AcceptWindow-- },
		"a destination hold too short":     func(m *Margins, _, _ *Timing) { m.DestinationHold-- },
		"a relay window too short":         func(m *Margins, _, _ *Timing) { m.RelayWindow-- },
		"a source hold too short":          func(m *Margins, _, _ *Timing) { m.SourceHold-- },
		"a longest hold below the hold":    func(m *Margins, _, _ *Timing) { m.MaxHold-- },
		"clocks that differ (H6)":          func(_ *Margins, _, d *Timing) { d.Skew = time.Hour },
		"a slower source ledger":           func(_ *Margins, s, _ *Timing) { s.Inclusion++ },
		"a slower destination's events":    func(_ *Margins, _, d *Timing) { d.Answer++ },
		"a destination that asks for more": func(_ *Margins, _, d *Timing) { d.MinExpiry = 3 * time.Second },
		"a source that asks for more":      func(_ *Margins, s, _ *Timing) { s.MinExpiry = 10 * time.Second },
		"a restart longer than the window": func(m *Margins, _, _ *Timing) { m.Restart++ },
	} {
		m, s, d := m, source, destination
		change(&m, &s, &d)
		if err := m.Valid(s, d); !errors.Is(err, ErrMargin) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEventsRoundTrip(t *testing.T) {
	s := newScene(t, 10, 5, loose())
	w := ledgertest.NewWorld()
	for _, e := range []Event{
		Begun{Terms: s.terms, Packet: s.packet, Verdicts: w.Verdicts(w.Payment("p", 1, 2).Subject)},
		Begun{Terms: s.terms},
		Seen{Leg: 1, State: ledger.Prepared, Packet: []byte("packet")},
		Seen{Leg: 0, State: ledger.Confirmed, Preimage: cypherlink.Preimage{7}},
		Seen{Leg: 0, State: ledger.Absent},
		Decided{Accept: true, Preimage: cypherlink.Preimage{8}},
		Decided{Reason: ReasonLate},
		Refused{Leg: 1, Code: ledger.CodeFunds, Reason: "AM04"},
	} {
		b := EncodeEvent(e)
		got, err := DecodeEvent(b)
		if err != nil || !bytes.Equal(EncodeEvent(got), b) {
			t.Errorf("%T: %v", e, err)
		}
		for n := range b {
			if _, err := DecodeEvent(b[:n]); err == nil {
				t.Errorf("%T cut to %d bytes is accepted", e, n)
			}
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	s := newScene(f, 10, 5, loose())
	f.Add(EncodeEvent(Begun{Terms: s.terms, Packet: s.packet}))
	f.Add(EncodeEvent(Seen{Leg: 1, State: ledger.Prepared, Packet: []byte("packet")}))
	f.Add(EncodeEvent(Decided{Accept: true}))
	f.Add(EncodeEvent(Refused{Code: "x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvent(b)
		if err == nil && !bytes.Equal(EncodeEvent(e), b) {
			t.Fatalf("%x decodes, and encodes as %x", b, EncodeEvent(e))
		}
	})
}

func FuzzDecodeQuote(f *testing.F) {
	s, keys := signedQuote(nil)
	f.Add(s.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := DecodeQuote(b, keys)
		if err == nil && !bytes.Equal(q.Encode(), b) {
			t.Fatalf("%x decodes, and encodes as %x", b, q.Encode())
		}
	})
}

func BenchmarkQuote(b *testing.B) {
	s, keys := signedQuote(nil)
	encoded := s.Encode()
	b.Run("verify", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeQuote(encoded, keys); err != nil {
				b.Fatal(err)
			}
		}
	})
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("sign", func(b *testing.B) {
		for b.Loop() {
			f := s.Quote.Frame().Encode()
			ed25519.Sign(private, f[:])
		}
	})
}
