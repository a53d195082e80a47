package payment

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// play runs a test among running processes, in virtual time.
func play(t *testing.T, test func(t *testing.T, w *world, a, b *Connect)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.start()
		defer w.stopAll()
		test(t, w, a, b)
	})
}

func TestMainJob(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		uetr := w.submit(a, 1)
		p := w.until(a, uetr, StatusSettled)
		if p.Loss || p.Refusal != nil || p.Direction != Out || p.Source.String() != "1001.00 EUR@de" ||
			p.Destination.String() != "2000.00 CNY@cypherium" || p.Terms == (cypherlink.Hash{}) {
			t.Errorf("%+v", p)
		}
		if p := w.until(b, uetr, StatusSettled); p.Direction != In || p.Source.String() != "1001.00 EUR@de" {
			t.Errorf("at the paid bank: %+v", p)
		}
		w.moved(1)
		w.evidence(a, uetr)
		entries, err := a.Events(t.Context(), uetr)
		if err != nil {
			t.Fatal(err)
		}
		var way []Status
		for _, e := range entries {
			if e.From != e.To {
				way = append(way, e.To)
			}
		}
		want := []Status{
			StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusValidating,
			StatusApproved, StatusReserved, StatusSettled,
		}
		if !slices.Equal(way, want) {
			t.Errorf("the way was %v, want %v", way, want)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if last := w.told[len(w.told)-1]; last.UETR != uetr || last.Status != StatusSettled {
			t.Errorf("told %+v last", last)
		}
	})
}

// evidence waits for the receipt of a settled payment and verifies it.
func (w *world) evidence(c *Connect, uetr cypherlink.UETR) []byte {
	w.tb.Helper()
	for range 100 {
		raw, err := c.Receipt(context.Background(), uetr)
		if cypherlink.ErrorCode(err) == CodeNoReceipt {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if err != nil {
			w.tb.Fatal(err)
		}
		f, err := VerifyReceipt(w.genesis, raw)
		if err != nil {
			w.tb.Fatal(err)
		}
		if f.UETR != uetr || len(f.Stated) != 1 || len(f.Proved) != 7 {
			w.tb.Errorf("findings %+v", f)
		}
		return raw
	}
	w.tb.Fatal("no receipt")
	return nil
}

func TestManyAtOnceShareSignatures(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		n := 40
		if testing.Short() {
			n = 12
		}
		uetrs := make([]cypherlink.UETR, n)
		var all sync.WaitGroup
		for i := range uetrs {
			all.Go(func() { uetrs[i] = w.submit(a, i) })
		}
		all.Wait()
		shared := uint32(0)
		for _, uetr := range uetrs {
			w.until(a, uetr, StatusSettled)
			w.until(b, uetr, StatusSettled)
			log, err := a.logOf(t.Context(), uetr)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range log {
				if f, ok := e.Fact.(Agreed); ok {
					shared = max(shared, f.Proof.Count)
				}
			}
		}
		w.moved(cypherlink.Amount(n))
		if shared < 2 {
			t.Error("no two payments shared a signature")
		}
	})
}

// TestSilence: whoever does not answer, the payment is rejected for a reason, nothing moves,
// and nothing is asked any more.
func TestSilence(t *testing.T) {
	for _, tt := range []struct {
		name   string
		kind   uint8
		to     func(w *world) []*player
		reason string
	}{
		{"the paid bank on the set-up", KindSetup, bankB, "AB05"},
		{"the connector on the quote", KindQuote, clearingBank, "AB06"},
		{"the paid bank on the terms", KindTerms, bankB, "AB05"},
		{"the connector on the terms", KindTerms, clearingBank, "AB06"},
		{
			"the validator of the source",
			KindVerdict, func(w *world) []*player { return w.validators[:1] }, "AB01",
		},
		{"two validators of the destination", KindVerdict, func(w *world) []*player {
			return w.validators[2:]
		}, "AB05"},
		{"the paid bank on the proof", KindCertify, bankB, "AB05"},
		{"the connector on the begin", KindBegin, clearingBank, "AB06"},
	} {
		if testing.Short() && tt.kind != KindTerms && tt.kind != KindCertify {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(t *testing.T, w *world, a, _ *Connect) {
				w.setFault(func(c call) ([]byte, error) {
					silent := slices.ContainsFunc(tt.to(w), func(p *player) bool { return p.id() == c.to })
					if silent && c.kind == tt.kind {
						return nil, errDown
					}
					return c.serve()
				})
				uetr := w.submit(a, 1)
				p := w.until(a, uetr, StatusRejected)
				if p.Refusal.Reason != tt.reason {
					t.Errorf("%v, want %s", p.Refusal, tt.reason)
				}
				w.setFault(nil)
				time.Sleep(time.Minute)
				w.moved(0)
				if p, _ := a.Payment(t.Context(), uetr); p.Status != StatusRejected {
					t.Errorf("the end was left: %s", p.Status)
				}
			})
		})
	}
}

func bankB(w *world) []*player        { return []*player{w.b} }
func clearingBank(w *world) []*player { return []*player{w.clearing} }

// TestOneSilentValidatorOfThree: DC/EP asks for two.
func TestOneSilentValidatorOfThree(t *testing.T) {
	play(t, func(_ *testing.T, w *world, a, _ *Connect) {
		w.setFault(func(c call) ([]byte, error) {
			if c.to == w.validators[2].id() {
				return nil, errDown
			}
			return c.serve()
		})
		w.until(a, w.submit(a, 1), StatusSettled)
		w.moved(1)
	})
}

func TestValidatorsDecide(t *testing.T) {
	source := func(r *VerdictRequest) bool { return r.Leg == terms.Source }
	for _, tt := range []struct {
		name    string
		outcome judgement
		want    Status
	}{
		{"the source's says no", func(_ *world, _ *player, r *VerdictRequest) validator.Outcome {
			if source(r) {
				return validator.Rejected
			}
			return validator.Approved
		}, StatusRejected},
		{"the source's holds", func(_ *world, _ *player, r *VerdictRequest) validator.Outcome {
			if source(r) {
				return validator.Held
			}
			return validator.Approved
		}, StatusRejected},
		{"one of the three says no", func(w *world, by *player, _ *VerdictRequest) validator.Outcome {
			if by == w.validators[1] {
				return validator.Rejected
			}
			return validator.Approved
		}, StatusSettled},
		{"two of the three say no", func(w *world, by *player, r *VerdictRequest) validator.Outcome {
			if !source(r) && by != w.validators[1] {
				return validator.Rejected
			}
			return validator.Approved
		}, StatusRejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(t *testing.T, w *world, a, _ *Connect) {
				w.outcome = tt.outcome
				p := w.until(a, w.submit(a, 1), tt.want)
				if tt.want == StatusRejected {
					if p.Refusal.Reason != "RR04" || p.Refusal.Code != CodeVerdict {
						t.Errorf("%v", p.Refusal)
					}
					time.Sleep(time.Minute)
					w.moved(0)
				}
			})
		})
	}
}

// TestThePaidBankDecides: its books and its screening.
func TestThePaidBankDecides(t *testing.T) {
	for _, tt := range []struct {
		name   string
		books  books
		reason string
	}{
		{"an account that is closed", books{standing: kyc.Closed}, "AC04"},
		{"an account of somebody else", books{standing: kyc.Open, holder: "Somebody Else"}, "BE01"},
		{"no such account", books{standing: kyc.Unknown}, "AC01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.books = tt.books
				a, b := w.start()
				defer w.stopAll()
				uetr := w.submit(a, 1)
				p := w.until(a, uetr, StatusRejected)
				if p.Refusal.Reason != tt.reason || p.Refusal.Code != CodeCompliance {
					t.Errorf("%v", p.Refusal)
				}
				if p := w.until(b, uetr, StatusRejected); p.Refusal.Reason != tt.reason {
					t.Errorf("at the paid bank: %v", p.Refusal)
				}
			})
		})
	}
}

func TestTheSourceLedgerRefuses(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		w.de.set(func(l *memoryLedger) {
			l.refuse = &cypherlink.Error{Code: ledger.CodeFunds, Reason: "AM04", Message: "not covered"}
		})
		uetr := w.submit(a, 1)
		p := w.until(a, uetr, StatusRejected)
		if p.Refusal.Reason != "AM04" || p.Refusal.Code != ledger.CodeFunds {
			t.Errorf("%v", p.Refusal)
		}
		if p := w.until(b, uetr, StatusExpired); p.Refusal.Reason != "TM01" {
			t.Errorf("at the paid bank: %v", p.Refusal)
		}
		w.moved(0)
	})
}

// TestPartiesThatStop: each stops at one point and stays away; the ledgers' word ends the
// payment.
func TestPartiesThatStop(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stops  func(w *world) *player
		at     Status
		reason string
	}{
		{
			"the connector, once the source custody is final",
			func(w *world) *player { return w.clearing }, "", "AB06",
		},
		{
			"the paid bank, once the destination custody is final",
			func(w *world) *player { return w.b }, "", "AB05",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, func(t *testing.T, w *world, a, _ *Connect) {
				// events reach the stopping party a second later than it is stopped
				who := tt.stops(w)
				w.de.set(func(l *memoryLedger) { l.delay = time.Second })
				w.cypherium.set(func(l *memoryLedger) { l.delay = time.Second })
				uetr := w.submit(a, 1)
				if who == w.clearing {
					w.untilEvents(w.de, 1)
				} else {
					w.untilEvents(w.cypherium, 1)
				}
				w.stop(who)
				p := w.until(a, uetr, StatusExpired)
				if p.Refusal.Reason != tt.reason {
					t.Errorf("%v, want %s", p.Refusal, tt.reason)
				}
				w.moved(0)
			})
		})
	}
}

// untilEvents waits until a ledger has that many events.
func (w *world) untilEvents(l *memoryLedger, n int) {
	w.tb.Helper()
	for range 10_000 {
		l.mu.Lock()
		got := len(l.events)
		l.mu.Unlock()
		if got >= n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.tb.Fatalf("not %d events", n)
}

// TestLossIsSettled: the preimage is out, and the connector stays away until the source
// custody has expired.
func TestLossIsSettled(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		w.de.set(func(l *memoryLedger) { l.delay = time.Second })
		w.cypherium.set(func(l *memoryLedger) { l.delay = time.Second })
		uetr := w.submit(a, 1)
		w.untilEvents(w.cypherium, 1)
		w.stop(w.clearing)
		w.until(b, uetr, StatusSettled)
		p := w.until(a, uetr, StatusSettled)
		if !p.Loss {
			t.Error("not marked as the connector's loss")
		}
		if got := w.de.balance(t, w.a, assetDE()); got != openingAmount {
			t.Errorf("bank A has %d", got)
		}
		if got := w.cypherium.balance(t, w.b, assetDCEP()); got != openingAmount+2000_00 {
			t.Errorf("bank B has %d", got)
		}
		if _, err := a.Receipt(t.Context(), uetr); cypherlink.ErrorCode(err) != CodeNoReceipt {
			t.Errorf("a receipt of a loss: %v", err)
		}
	})
}

// TestThePayeeDeclines: a payer that has another secret makes a condition that the payee
// does not derive.
func TestThePayeeDeclines(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		w.setFault(func(c call) ([]byte, error) {
			raw, err := c.serve()
			if c.kind == KindSetup && err == nil {
				answer, err := DecodeSetupAnswer(raw)
				if err != nil {
					return nil, err
				}
				answer.Secret[0] ^= 1
				return answer.Encode(), nil
			}
			return raw, err
		})
		uetr := w.submit(a, 1)
		p := w.until(a, uetr, StatusRejected)
		if p.Refusal.Code != CodeDeclined || p.Refusal.Reason != "MS03" {
			t.Errorf("%v", p.Refusal)
		}
		if p := w.until(b, uetr, StatusRejected); p.Refusal.Code != CodeDeclined {
			t.Errorf("at the paid bank: %v", p.Refusal)
		}
		w.moved(0)
	})
}

// TestLedgersThatAreAway: a payment waits for them.
func TestLedgersThatAreAway(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, _ *Connect) {
		down := func(down bool) func(*memoryLedger) { return func(l *memoryLedger) { l.down = down } }
		w.de.set(down(true))
		uetr := w.submit(a, 1)
		w.until(a, uetr, StatusApproved)
		time.Sleep(3 * time.Second)
		if p, _ := a.Payment(t.Context(), uetr); p.Status != StatusApproved {
			t.Errorf("%s while the ledger is away", p.Status)
		}
		w.de.set(down(false))
		w.until(a, uetr, StatusSettled)
		w.moved(1)
	})
}

func TestSubmitIsIdempotent(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		raw := w.json(1)
		first, err := a.Submit(t.Context(), raw, JSON, "k")
		if err != nil || first.Replayed {
			t.Fatal(first, err)
		}
		uetr := first.Payment.UETR
		w.until(a, uetr, StatusSettled)
		again, err := a.Submit(t.Context(), raw, JSON, "k")
		if err != nil || !again.Replayed || !reflect.DeepEqual(again.Payment, first.Payment) {
			t.Errorf("the same again: %+v, %v, first %+v", again, err, first)
		}
		withUETR := bytes.Replace(raw, []byte("{\n"), []byte(`{"uetr": "`+uetr.String()+`",`+"\n"), 1)
		for range 2 {
			same, err := a.Submit(t.Context(), withUETR, JSON, "another")
			if err != nil || !same.Replayed || same.Payment.UETR != uetr || same.Payment.Status != StatusSettled {
				t.Errorf("the same payment under another key: %+v, %v", same, err)
			}
		}
		other := bytes.Replace(withUETR, []byte("2000.00"), []byte("2000.01"), 1)
		for _, tt := range []struct {
			name string
			c    *Connect
			raw  []byte
			key  string
			want cypherlink.Code
		}{
			{"another body under the key", a, w.json(2), "k", CodeKeyReused},
			{"another payment of the UETR", a, other, "third", CodeUETR},
			{"no key", a, raw, "", CodeKey},
			{"a key with a blank", a, raw, "a b", CodeKey},
			{"a UETR that is an incoming payment's", b, withUETR, "x", CodeUETR},
		} {
			_, err := tt.c.Submit(t.Context(), tt.raw, JSON, tt.key)
			if cypherlink.ErrorCode(err) != tt.want {
				t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
			}
		}
		time.Sleep(time.Minute)
		w.moved(1)
	})
}

func TestConcurrentSubmissionsMakeOnePayment(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, _ *Connect) {
		var all sync.WaitGroup
		var mu sync.Mutex
		fresh, uetrs := 0, map[cypherlink.UETR]bool{}
		for range 8 {
			all.Go(func() {
				answer, err := a.Submit(t.Context(), w.json(1), JSON, "k")
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				uetrs[answer.Payment.UETR] = true
				if !answer.Replayed {
					fresh++
				}
			})
		}
		all.Wait()
		if fresh != 1 || len(uetrs) != 1 {
			t.Errorf("%d fresh, %d payments", fresh, len(uetrs))
		}
		for uetr := range uetrs {
			w.until(a, uetr, StatusSettled)
		}
		w.moved(1)
	})
}

func TestUnknownPaymentsAndCalls(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, _ *Connect) {
		none := w.instruction(t, 99).UETR
		_, err := a.Payment(t.Context(), none)
		_, err2 := a.Events(t.Context(), none)
		_, err3 := a.Receipt(t.Context(), none)
		_, err4 := a.Status002(t.Context(), none)
		for _, err := range []error{err, err2, err3, err4} {
			if cypherlink.ErrorCode(err) != CodeUnknown {
				t.Errorf("%v", err)
			}
		}
		if _, err := a.Serve(t.Context(), w.b.id(), 99, nil); !errors.Is(err, ErrMessage) {
			t.Errorf("an unknown call: %v", err)
		}
	})
}
