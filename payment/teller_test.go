package payment

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/iso20022"
)

// The second job: terms, verdict, hold, lane update, bound, anchored, both banks' books, and what each
// customer's bank is told on the way.
func TestChannelPayment(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		uetr := w.pays(a, 1, w.a, w.b, "2000.00")
		back := w.pays(b, 2, w.b, w.a, "500.00")
		for _, c := range []*Connect{a, b} {
			w.until(c, uetr, StatusCompleted)
			w.until(c, back, StatusCompleted)
		}
		way := w.way(a, uetr)
		want := []Status{
			StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusApproved, StatusReserved,
			StatusSigned1, StatusSigned2, StatusSettled, StatusPosted, StatusCompleted,
		}
		if !slices.Equal(way, want) {
			t.Errorf("the way was %v, want %v", way, want)
		}
		for who, want := range map[*player]int64{w.a: -1500_00, w.b: 1500_00} {
			if got := w.books[who.id()].balance; int64(got) != want {
				t.Errorf("the books of %s moved by %d, want %d", who.Name, got, want)
			}
		}
	})
}

// way is how a payment's status went at a bank.
func (w *channelWorld) way(c *Connect, uetr cypherlink.UETR) []Status {
	w.tb.Helper()
	entries, err := c.Events(context.Background(), uetr)
	if err != nil {
		w.tb.Fatal(err)
	}
	var way []Status
	for _, e := range entries {
		if e.From != e.To {
			way = append(way, e.To)
		}
	}
	return way
}

// A counterparty that is silent in the channel: what is signed and unbound is in doubt while the chain
// decides, and then void: the customer has the money back. The lane goes on in the next generation.
func TestSilentCounterparty(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindLane {
				return nil, errDown
			}
			return c.serve()
		})
		uetr := w.pays(a, 2, w.a, w.b, "20.00")
		w.until(a, uetr, StatusInDoubt)
		w.until(a, uetr, StatusAborted)
		w.setFault(nil)
		w.until(b, uetr, StatusAborted, StatusExpired)
		if way := w.way(a, uetr); !slices.Contains(way, StatusSigned1) || slices.Contains(way, StatusSigned2) {
			t.Errorf("the way was %v", way)
		}
		w.eventually("the hold is released", func() bool { return w.books[w.a.id()].count("release") == 1 })
		w.until(a, w.pays(a, 3, w.a, w.b, "30.00"), StatusCompleted)
		c, err := a.Tellers.Channel(t.Context(), id)
		if err != nil || c.Lanes[c.Own].Gen != 1 || c.Balance(c.Own) != funds-40_00 {
			t.Errorf("%+v, %v", c, err)
		}
		if got := w.books[w.a.id()].balance; got != -40_00 {
			t.Errorf("the books of A moved by %d", got)
		}
	})
}

// A creditor's account that takes nothing: the money goes back by a payment of its own, and both banks
// say so of the first one.
func TestReturn(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		w.books[w.b.id()].refuse["credit"] = refuse("account_closed", "AC04", "closed", nil)
		uetr := w.pays(a, 1, w.a, w.b, "70.00")
		for _, c := range []*Connect{a, b} {
			w.until(c, uetr, StatusReturned)
		}
		for who, c := range map[*player]*Connect{w.a: a, w.b: b} {
			way := w.way(c, uetr)
			if n := len(way); way[n-2] != StatusReturnPending {
				t.Errorf("%s: the way was %v", who.Name, way)
			}
			if got := w.books[who.id()].balance; got != 0 {
				t.Errorf("the books of %s moved by %d", who.Name, got)
			}
		}
		w.returned004(b, uetr)
	})
}

// returned004 wants the payment that brought the other one back as a pacs.004, and no other.
func (w *channelWorld) returned004(c *Connect, uetr cypherlink.UETR) {
	w.tb.Helper()
	entries, err := c.Events(context.Background(), uetr)
	if err != nil {
		w.tb.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind != "returning" {
			continue
		}
		back, err := cypherlink.ParseUETR(e.Detail)
		if err != nil {
			w.tb.Fatal(err)
		}
		raw, err := c.Return004(context.Background(), back)
		if err != nil {
			w.tb.Fatal(err)
		}
		m, err := iso20022.Parse(raw)
		if err == nil {
			err = m.CheckUsage()
		}
		r, ok := m.Document.(*iso20022.PaymentReturn)
		if err != nil || !ok || r.OriginalUETR != uetr || r.Returned.Amount != 70_00 || r.Reasons[0].Code != "AC04" {
			w.tb.Fatalf("%s\n%v", raw, err)
		}
	}
	if _, err := c.Return004(context.Background(), uetr); cypherlink.ErrorCode(err) != CodeNoReturn {
		w.tb.Fatalf("of a payment that brings nothing back: %v", err)
	}
}

// A payment for which the customer has no money, or the channel none, or whose update the Validators do
// not endorse, never is signed; what else waits is not held up.
func TestNeverSigned(t *testing.T) {
	t.Run("no money of the customer's", func(t *testing.T) {
		playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
			w.opened(a, b)
			w.books[w.a.id()].refuse["hold"] = refuse("funds_insufficient", "AM04", "not enough", nil)
			p := w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusRejected)
			if p.Refusal.Reason != "AM04" {
				t.Errorf("%v", p.Refusal)
			}
		})
	})
	t.Run("no money in the channel", func(t *testing.T) {
		playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
			w.opened(a, b)
			poor := w.pays(a, 1, w.a, w.b, "100000.01")
			w.until(a, w.pays(a, 2, w.a, w.b, "10.00"), StatusCompleted)
			p := w.until(a, poor, StatusRejected)
			if p.Refusal.Reason != "AM04" || w.books[w.a.id()].balance != -10_00 {
				t.Errorf("%v, %d", p.Refusal, w.books[w.a.id()].balance)
			}
		})
	})
	t.Run("not endorsed", func(t *testing.T) {
		playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
			w.opened(a, b)
			w.setFault(func(c call) ([]byte, error) {
				if c.kind != KindEndorse {
					return c.serve()
				}
				r, err := DecodeEndorseRequest(c.body)
				if err != nil {
					return nil, err
				}
				for _, warrant := range r.Warrants {
					if warrant.Subject.Fields.Amount == 13_00 {
						return nil, refuse(channels.V.Code(), "DS0A", "V: not this one", nil)
					}
				}
				return c.serve()
			})
			var good []cypherlink.UETR
			bad := w.pays(a, 1, w.a, w.b, "13.00")
			for i := range 5 {
				good = append(good, w.pays(a, 10+i, w.a, w.b, "10.00"))
			}
			if p := w.until(a, bad, StatusRejected); p.Refusal.Reason != "DS0A" {
				t.Errorf("%v", p.Refusal)
			}
			for _, uetr := range good {
				w.until(a, uetr, StatusCompleted)
			}
		})
	})
}

// Both banks are stopped and started again and again while payments go both ways: each payment ends, once,
// and the channel and both banks' books say the same.
func TestPaymentsOverCrashes(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		all := map[cypherlink.UETR]*player{}
		for i := range 30 {
			from, to, c := w.a, w.b, a
			if i%3 == 0 {
				from, to, c = w.b, w.a, b
			}
			all[w.pays(c, i, from, to, fmt.Sprintf("%d.00", 10+i))] = from
			time.Sleep(40 * time.Millisecond)
			switch i % 7 {
			case 3:
				w.stop(w.a)
				a = w.startBank(w.a)
			case 5:
				w.stop(w.b)
				b = w.startBank(w.b)
			}
		}
		var moved cypherlink.Amount
		for uetr, from := range all {
			c := map[*player]*Connect{w.a: a, w.b: b}[from]
			p := w.until(c, uetr, StatusCompleted, StatusRejected)
			if p.Status == StatusCompleted && from == w.a {
				moved += p.Source.Amount
			} else if p.Status == StatusCompleted {
				moved -= p.Source.Amount
			}
		}
		w.eventually("both books have it", func() bool {
			return w.books[w.a.id()].balance == -moved && w.books[w.b.id()].balance == moved
		})
		c, err := a.Tellers.Channel(t.Context(), id)
		if err != nil || c.Balance(c.Own) != int64(funds-moved) {
			t.Errorf("%d, want %d: %v", c.Balance(c.Own), funds-moved, err)
		}
	})
}

// A bank whose own money in the channel leaves its band brings it back, from its account and to it; the
// other bank's is none of its business.
func TestRebalance(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.stop(w.a)
		w.band = Band{Low: 50_000_00, Target: 80_000_00, High: 150_000_00}
		a = w.startBank(w.a)
		w.until(a, w.pays(a, 1, w.a, w.b, "60000.00"), StatusCompleted)
		w.eventually("A has topped up", func() bool {
			c, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && c.Free == 80_000_00 && c.Fundings[c.Own] == 2
		})
		w.until(b, w.pays(b, 2, w.b, w.a, "90000.00"), StatusCompleted)
		w.eventually("A has released", func() bool {
			c, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && c.Free == 80_000_00 && c.Releases == 1
		})
		account := cypherlink.Account{Owner: w.a.id()}
		has, _, err := w.chain.Balance(account, assetDCEP())
		if want := cypherlink.Amount(openingAmount - funds - 40_000_00 + 90_000_00); has != want || err != nil {
			t.Errorf("A's account has %d, want %d: %v", has, want, err)
		}
		c, err := b.Tellers.Channel(t.Context(), id)
		if err != nil || c.Fundings[c.Own] != 1 || c.Free != funds-30_000_00 {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

func TestBands(t *testing.T) {
	for band, ok := range map[Band]bool{
		{}: true, {1, 2, 3}: true, {2, 2, 3}: false, {1, 3, 3}: false, {-1, 2, 3}: false, {Target: 1}: false,
	} {
		if err := band.Valid(); (err == nil) != ok {
			t.Errorf("%+v: %v", band, err)
		}
	}
}

// A bank takes instructions only once it has its channels again, so none is refused for want of one; and it
// fills in the banks that an instruction leaves out.
func TestReadyWithItsChannels(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		instruct := func(c *Connect, key string) (*Answer, error) {
			return c.Submit(t.Context(), []byte(`{"end_to_end_id": "E2E", "destination": {"asset": "DC/EP", "amount": "5.00"},
"debtor": {"name": "Müller GmbH", "iban": "DE89370400440532013000"},
"creditor": {"name": "北京电脑有限公司", "account": "6222021001098765432"}}`), JSON, key)
		}
		_, err := instruct(a, "0")
		if refusal, ok := errors.AsType[*cypherlink.Error](err); !ok || refusal.Pointer != "/creditor/agent" {
			t.Fatalf("before there is a channel: %v", err)
		}
		w.opened(a, b)
		for i, who := range []*player{w.a, w.b} {
			w.stop(who)
			c := w.startBank(who)
			answer, err := instruct(c, fmt.Sprint("again-", i))
			if err != nil {
				t.Fatal(err)
			}
			w.until(c, answer.Payment.UETR, StatusCompleted)
		}
	})
}

// Who leaves the creditor's bank out is told what is wrong with that: the asset, or how many banks it could be.
func TestCreditorsBankLeftOut(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		for asset, want := range map[string]*cypherlink.Error{
			"DE/EP": {Code: CodeMalformed, Reason: "AM03", Pointer: "/destination/asset"},
			"DE":    {Code: iso20022.CodeBIC, Reason: "RC04", Pointer: "/creditor/agent"},
		} {
			_, err := a.Submit(t.Context(), []byte(`{"end_to_end_id": "E2E", "destination": {"asset": "`+asset+
				`", "amount": "5.00"}, "debtor": {"name": "A", "account": "1"}, "creditor": {"name": "B", "account": "2"}}`),
				JSON, asset)
			got, ok := errors.AsType[*cypherlink.Error](err)
			if !ok || got.Code != want.Code || got.Reason != want.Reason || got.Pointer != want.Pointer {
				t.Errorf("%s: %v, want %v", asset, err, want)
			}
		}
	})
}

// A payment that is not settled yet has no receipt yet; one that comes in, or has ended otherwise, never gets
// one, and nobody is told to ask again.
func TestReceiptThatWillNeverBe(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		receipt := func(c *Connect, uetr cypherlink.UETR) cypherlink.Code {
			_, err := c.Receipt(t.Context(), uetr)
			return cypherlink.ErrorCode(err)
		}
		w.setFault(hush)
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		w.until(a, uetr, StatusSigned1)
		if got := receipt(a, uetr); got != CodeNoReceipt {
			t.Errorf("of one that is under way: %s", got)
		}
		w.setFault(nil)
		w.until(a, uetr, StatusCompleted)
		if got := receipt(b, uetr); got != CodeReceiptless {
			t.Errorf("of one that comes in: %s", got)
		}
		uetr = w.pays(a, 2, w.a, w.b, "0.00")
		w.until(a, uetr, StatusRejected)
		if got := receipt(a, uetr); got != CodeReceiptless {
			t.Errorf("of one that is rejected: %s", got)
		}
	})
}

// Only the creditor's bank can say that a payment is credited, and not before it is booked here.
func TestWordOfCredit(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		says := func(who *player, uetr cypherlink.UETR) cypherlink.Code {
			_, err := a.Serve(t.Context(), who.id(), KindCredit, (&Credit{UETR: uetr}).Encode())
			return cypherlink.ErrorCode(err)
		}
		done := w.pays(a, 1, w.a, w.b, "10.00")
		w.until(a, done, StatusCompleted)
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindLane {
				return nil, errDown
			}
			return c.serve()
		})
		early := w.pays(a, 2, w.a, w.b, "20.00")
		w.until(a, early, StatusSigned1)
		for _, tt := range []struct {
			who  *player
			uetr cypherlink.UETR
			want cypherlink.Code
		}{
			{w.b, early, CodeUnready},
			{w.clearing, early, CodeParty},
			{w.a, early, CodeParty},
			{w.b, done, ""},
			{w.clearing, done, CodeParty},
			{w.b, cypherlink.UETR{1}, CodeUnknown},
		} {
			if got := says(tt.who, tt.uetr); got != tt.want {
				t.Errorf("%s of %s: %s, want %s", tt.who.Name, tt.uetr, got, tt.want)
			}
		}
	})
}

// What a taking up wrote and was rolled back is not remembered; what stands is, and over its end nothing.
func TestRecall(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(unwritten)
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		hash := w.promised(b, uetr)
		in := InLane{
			Laned: Laned{Stage: Binding, Channel: id, Slot: channels.Slot{Seq: 1}}, Payer: w.a.id(), Terms: hash,
			Money: Money{assetDCEP(), 10_00},
		}
		broken := errors.New("rolled back")
		err := b.Store.Update(t.Context(), func(tx *store.Tx) error {
			if _, e, err := b.takeUp(tx, uetr, in); err != nil || len(e.Persist) != 1 {
				t.Errorf("%+v, %v", e, err)
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		again := func() (events int) {
			err := b.Store.Update(t.Context(), func(tx *store.Tx) error {
				_, e, err := b.takeUp(tx, uetr, in)
				events = len(e.Persist)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return events
		}
		if n := again(); n != 1 {
			t.Errorf("after what was rolled back %d events", n)
		}
		if n := again(); n != 0 {
			t.Errorf("a repetition has %d events", n)
		}
		log, err := b.logOf(t.Context(), uetr)
		if err != nil {
			t.Fatal(err)
		}
		want, err := NewIncoming(b.Bank, log)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.recent[uetr]; got.events != len(log) || !reflect.DeepEqual(got.machine, want) {
			t.Errorf("remembered after %d events\n%+v\nthe log of %d folds to\n%+v", got.events, got.machine, len(log), want)
		}
		b.remember(uetr, &Incoming{bank: b.Bank, incoming: incoming{status: StatusRejected}}, 9)
		if _, ok := b.recent[uetr]; ok {
			t.Error("what is over is remembered")
		}
	})
}
