package payment

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/terms"
)

// tap keeps the last question of each kind, and lets everything pass.
type tap struct{ bodies map[uint8][]byte }

// listen lets the world's calls pass by a tap.
func (w *world) listen() *tap {
	t := &tap{bodies: map[uint8][]byte{}}
	w.setFault(func(c call) ([]byte, error) {
		w.mu.Lock()
		t.bodies[c.kind] = c.body
		w.mu.Unlock()
		return c.serve()
	})
	return t
}

// serve calls a participant in the name of another one.
func (w *world) serve(from, to *player, kind uint8, body []byte) ([]byte, error) {
	w.mu.Lock()
	p := w.processes[to.id()]
	w.mu.Unlock()
	return p.serve(w.tb.Context(), from.id(), kind, body)
}

// TestNobodySpeaksForAnother: every call of a whole payment, said again by another bank, is
// refused, and nothing is done for it.
func TestNobodySpeaksForAnother(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, _ *Connect) {
		tap := w.listen()
		w.until(a, w.submit(a, 1), StatusSettled)
		for _, tt := range []struct {
			name string
			to   *player
			kind uint8
			code cypherlink.Code
		}{
			{"the set-up", w.b, KindSetup, CodeUETR},
			{"the terms at the bank", w.b, KindTerms, CodeParty},
			{"the terms at the connector", w.clearing, KindTerms, CodeParty},
			{"the proof", w.b, KindCertify, CodeParty},
			{"the begin", w.clearing, KindBegin, CodeParty},
		} {
			raw, err := w.serve(w.mallory, tt.to, tt.kind, tap.bodies[tt.kind])
			if tt.kind == KindTerms && err == nil {
				var answer *terms.Answer
				if answer, err = terms.DecodeAnswer(raw); err == nil && len(answer.Refusals) > 0 {
					err = answer.Refusals[0].Err
				}
			}
			if cypherlink.ErrorCode(err) != tt.code {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.code)
			}
		}
		time.Sleep(time.Minute)
		w.moved(1)
	})
}

// TestEveryCallMayBeRepeated: said again by whom it was said, it has the answer that it had.
func TestEveryCallMayBeRepeated(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		bodies, answers := map[uint8][]byte{}, map[uint8][]byte{}
		w.setFault(func(c call) ([]byte, error) {
			raw, err := c.serve()
			w.mu.Lock()
			defer w.mu.Unlock()
			if c.kind == KindTerms && c.to == w.b.id() || c.kind == KindSetup || c.kind == KindCertify ||
				c.kind == KindBegin {
				bodies[c.kind], answers[c.kind] = c.body, raw
			}
			return raw, err
		})
		uetr := w.submit(a, 1)
		w.until(a, uetr, StatusSettled)
		w.until(b, uetr, StatusSettled)
		w.stop(w.b) // nothing of it is in memory alone
		w.startBank(w.b)
		time.Sleep(time.Hour)
		for kind, to := range map[uint8]*player{
			KindSetup: w.b, KindTerms: w.b, KindCertify: w.b, KindBegin: w.clearing,
		} {
			raw, err := w.serve(w.a, to, kind, bodies[kind])
			if err != nil || !slices.Equal(raw, answers[kind]) {
				t.Errorf("kind %d: %v", kind, err)
			}
		}
		time.Sleep(time.Minute)
		w.moved(1)
	})
}

// TestWrongAnswersStopThePayment before anything moves: each party lies once, in one place.
func TestWrongAnswersStopThePayment(t *testing.T) {
	type changing = func(w *world, raw []byte) []byte
	lie := func(kind uint8, to func(w *world) *player, change changing) func(w *world) fault {
		return func(w *world) fault {
			return func(c call) ([]byte, error) {
				raw, err := c.serve()
				if err == nil && c.kind == kind && c.to == to(w).id() {
					raw = change(w, slices.Clone(raw))
				}
				return raw, err
			}
		}
	}
	payee := func(w *world) *player { return w.b }
	dealer := func(w *world) *player { return w.clearing }
	flip := func(_ *world, raw []byte) []byte {
		raw[len(raw)-1] ^= 1
		return raw
	}
	for _, tt := range []struct {
		name   string
		fault  func(w *world) fault
		reason string
	}{
		{"the quote is not the connector's word", lie(KindQuote, dealer, flip), "AB06"},
		{"the paid bank's share is not its own", lie(KindTerms, payee, func(w *world, raw []byte) []byte {
			other, err := w.b.key.Sign(cosi.Frame{Type: cosi.Terms})
			if err != nil {
				w.tb.Error(err)
			}
			copy(raw[len(raw)-len(other):], other[:])
			return raw
		}), "DS0B"},
		{"the share is no point at all", lie(KindTerms, dealer, flip), "DS0B"},
		{"an answer to other terms", lie(KindTerms, payee, func(_ *world, raw []byte) []byte {
			raw[7]++
			return raw
		}), "AB05"},
		{"verdicts of another payment", lie(KindCertify, payee, func(w *world, _ []byte) []byte {
			other := newScene(w.tb, w.network).agreed().Terms
			return EncodeVerdicts(w.verdicts(w.tb, other, terms.Destination))
		}), "AB05"},
		{"a verdict less", lie(KindCertify, payee, func(_ *world, raw []byte) []byte {
			v, err := DecodeVerdicts(raw)
			if err != nil {
				return nil
			}
			return EncodeVerdicts(v[:1])
		}), "AB05"},
		{"a verdict that its validator did not sign", lie(KindVerdict, func(w *world) *player {
			return w.validators[0]
		}, flip), "AB01"},
		{
			"an answer that is none",
			lie(KindSetup, payee, func(_ *world, raw []byte) []byte { return raw[1:] }), "AB05",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(t *testing.T, w *world, a, _ *Connect) {
				w.setFault(tt.fault(w))
				p := w.until(a, w.submit(a, 1), StatusRejected)
				if p.Refusal.Reason != tt.reason {
					t.Errorf("%v, want %s", p.Refusal, tt.reason)
				}
				time.Sleep(time.Minute)
				w.moved(0)
			})
		})
	}
}

// TestTheConnectorIsNotTakenIn: a begin with verdicts of another payment, too few of them, or a
// proof that does not hold, carries nothing.
func TestTheConnectorIsNotTakenIn(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, _ *Connect) {
		var sent *BeginRequest
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindBegin {
				var err error
				if sent, err = DecodeBeginRequest(c.body); err != nil {
					t.Error(err)
				}
				return nil, errDown
			}
			return c.serve()
		})
		w.until(a, w.submit(a, 1), StatusRejected)
		other := newScene(t, w.network).agreed()
		forged := *sent.Proof
		forged.Sequence++
		for _, tt := range []struct {
			name string
			b    BeginRequest
			code cypherlink.Code
		}{
			{"another payment's verdicts", BeginRequest{
				Proof: sent.Proof, Verdicts: w.verdicts(t, other.Terms, terms.Destination),
			}, CodeVerdict},
			{"the other leg's verdicts", BeginRequest{
				Proof: sent.Proof, Verdicts: w.verdicts(t, sent.Proof.Terms, terms.Source),
			}, CodeVerdict},
			{"a verdict less", BeginRequest{Proof: sent.Proof, Verdicts: sent.Verdicts[:1]}, CodeVerdict},
			{"a proof that does not hold", BeginRequest{Proof: &forged, Verdicts: sent.Verdicts}, CodeTerms},
			{"a proof of terms that it did not sign", BeginRequest{
				Proof: other, Verdicts: w.verdicts(t, other.Terms, terms.Destination),
			}, CodeTerms},
		} {
			_, err := w.serve(w.a, w.clearing, KindBegin, tt.b.Encode())
			if cypherlink.ErrorCode(err) != tt.code {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.code)
			}
		}
		if _, err := w.serve(w.a, w.b, KindCertify, forged.Encode()); cypherlink.ErrorCode(err) != CodeTerms {
			t.Errorf("the paid bank: %v", err)
		}
		log, err := w.processes[w.clearing.id()].clearing.relay.History(t.Context(), sent.Proof.Terms.Hash())
		if err != nil || len(log) > 0 {
			t.Errorf("the connector has begun: %v", err)
		}
		time.Sleep(time.Minute)
		w.moved(0)
	})
}

// TestBytesThatAreNoMessage are refused as such, whoever sends them.
func TestBytesThatAreNoMessage(t *testing.T) {
	play(t, func(t *testing.T, w *world, _, _ *Connect) {
		for _, to := range []*player{w.b, w.clearing} {
			for kind := range uint8(8) {
				for _, body := range [][]byte{nil, {0}, make([]byte, 4096)} {
					_, err := w.serve(w.a, to, kind, body)
					if cypherlink.ErrorCode(err) != CodeMessage && !errors.Is(err, ErrMessage) {
						t.Errorf("%s, kind %d, %d bytes: %v", to.Name, kind, len(body), err)
					}
				}
			}
		}
	})
}

// closed asks nothing, since it deals in nothing.
type closed struct{}

func (closed) Price(context.Context, cypherlink.Asset, cypherlink.Asset) (connector.Price, bool) {
	return connector.Price{}, false
}

// TestQuotesOverTheAPI: one key gives one quote, and a quote is its asker's.
func TestQuotesOverTheAPI(t *testing.T) {
	play(t, func(t *testing.T, w *world, _, _ *Connect) {
		c := w.processes[w.clearing.id()].clearing
		r := &QuoteRequest{Source: assetDE(), Destination: assetDCEP(), Amount: 2000_00}
		first, replayed, err := c.QuoteOnce(t.Context(), w.a.id(), r, []byte("body"), "k")
		if err != nil || replayed || first.Quote.Source.Amount != 1001_00 || first.Quote.Asker != w.a.id() {
			t.Fatalf("%+v, %v, %v", first, replayed, err)
		}
		again, replayed, err := c.QuoteOnce(t.Context(), w.a.id(), r, []byte("body"), "k")
		if err != nil || !replayed || again.Quote.Hash() != first.Quote.Hash() {
			t.Errorf("the same again: %v, %v", replayed, err)
		}
		// a quote that was given is given again, whatever the connector deals in now
		c.Prices = closed{}
		again, replayed, err = c.QuoteOnce(t.Context(), w.a.id(), r, []byte("body"), "k")
		if err != nil || !replayed || again.Quote.Hash() != first.Quote.Hash() {
			t.Errorf("the same again, without a price: %v, %v", replayed, err)
		}
		_, _, err = c.QuoteOnce(t.Context(), w.a.id(), r, []byte("body"), "no-price")
		if cypherlink.ErrorCode(err) != CodeNoQuote {
			t.Errorf("without a price: %v", err)
		}
		c.Prices = prices{w.network}
		other := &QuoteRequest{Source: assetDCEP(), Destination: assetDE(), Amount: 1}
		tiny := &QuoteRequest{Source: assetDE(), Destination: assetDCEP(), Amount: 1 << 62}
		for _, tt := range []struct {
			name, key, body string
			r               *QuoteRequest
			code            cypherlink.Code
		}{
			{"another body under the key", "k", "other", r, CodeKeyReused},
			{"no key", "", "body", r, CodeKey},
			{"assets that it does not deal in", "x", "body", other, CodeNoQuote},
			{"an amount beyond all", "y", "body", &QuoteRequest{
				Source: assetDE(), Destination: assetDCEP(), Amount: -1,
			}, CodeNoQuote},
		} {
			_, _, err := c.QuoteOnce(t.Context(), w.a.id(), tt.r, []byte(tt.body), tt.key)
			if cypherlink.ErrorCode(err) != tt.code {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.code)
			}
		}
		if q, err := c.Quote(t.Context(), w.a.id(), tiny); err != nil || q.Quote.Valid() != nil {
			t.Errorf("a large amount: %v", err)
		}
		b, _, err := c.QuoteOnce(t.Context(), w.b.id(), r, []byte("body"), "b")
		if err != nil || b.Quote.Hash() == first.Quote.Hash() {
			t.Errorf("another asker: %v", err)
		}
	})
}
