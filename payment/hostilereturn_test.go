package payment

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
)

// paymentsOf counts the payments that a bank has ever had.
func (w *channelWorld) paymentsOf(c *Connect) int {
	w.tb.Helper()
	streams, err := streamsOf(c)
	if err != nil {
		w.tb.Fatal(err)
	}
	return len(streams)
}

// Neither account takes the money, at the creditor's bank nor, when it comes back, at the debtor's: the
// return is not returned in its turn, for ever, but stays with the debtor's bank, and both banks know.
func TestReturnOfReturn(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		for _, of := range []*player{w.a, w.b} {
			w.books[of.id()].refuse["credit"] = refuse("account_closed", "AC04", "closed", nil)
		}
		uetr := w.pays(a, 1, w.a, w.b, "70.00")
		for _, c := range []*Connect{a, b} {
			w.until(c, uetr, StatusReturned)
		}
		time.Sleep(10 * time.Second)
		for who, c := range map[*player]*Connect{w.a: a, w.b: b} {
			if n := w.paymentsOf(c); n != 2 {
				t.Errorf("%s has %d payments, want one and its return", who.Name, n)
			}
			if got := w.books[who.id()].balance; got != 0 {
				t.Errorf("the books of %s moved by %d", who.Name, got)
			}
		}
		if got := w.books[w.a.id()].count("refuse"); got != 1 {
			t.Errorf("%d returns are in the debtor's bank's own hands, want 1", got)
		}
	})
}

// The payment that brings money back is rejected: another one follows, and the money is back in the end.
func TestReturnFails(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		w.books[w.b.id()].refuse["credit"] = refuse("account_closed", "AC04", "closed", nil)
		var setups atomic.Int64
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindSetup && c.from == w.b.id() && setups.Add(1) == 1 {
				return nil, refuse(CodeCompliance, "MS03", "not now", nil)
			}
			return c.serve()
		})
		uetr := w.pays(a, 1, w.a, w.b, "70.00")
		w.until(b, uetr, StatusReturnPending)
		time.Sleep(time.Minute + 10*time.Second)
		for who, c := range map[*player]*Connect{w.a: a, w.b: b} {
			w.until(c, uetr, StatusReturned)
			if got := w.books[who.id()].balance; got != 0 {
				t.Errorf("the books of %s moved by %d", who.Name, got)
			}
			if n := w.paymentsOf(c); n > 3 {
				t.Errorf("%s has %d payments", who.Name, n)
			}
		}
	})
}

// The creditor's bank keeps the money, and names some other payment of its own as the one that has brought
// it back: it is not believed.
func TestForgedReturn(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		other := w.pays(b, 1, w.b, w.a, "70.00")
		w.until(a, other, StatusCompleted)
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindCredit {
				return nil, errDown
			}
			return c.serve()
		})
		uetr := w.pays(a, 2, w.a, w.b, "70.00")
		w.until(a, uetr, StatusPosted)
		w.chain.Halt(true) // it takes its time
		for _, by := range []cypherlink.UETR{other, uetr, {6: 0x40, 8: 0x80, 9: 1}} {
			credit := Credit{UETR: uetr, Returns: by}
			if _, err := a.Serve(context.Background(), w.b.id(), KindCredit, credit.Encode()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(returnPause)
			if p := w.until(a, uetr, StatusReturnPending, StatusReturned); p.Status == StatusReturned {
				t.Fatalf("a payment is returned by %s", by)
			}
		}
	})
}

// streamsOf are the streams of a bank's payments.
func streamsOf(c *Connect) (all []string, err error) {
	err = c.Store.View(context.Background(), func(r *store.Reader) error {
		all, err = r.Streams(paymentPrefix, "", 1<<10)
		return err
	})
	return all, err
}

// The creditor's bank names one payment after the other as the one that brings the money back: it costs an entry in
// each returnPause, which is how often an honest one has another.
func TestFloodOfReturns(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindCredit {
				return nil, errDown
			}
			return c.serve()
		})
		uetr := w.pays(a, 1, w.a, w.b, "70.00")
		w.until(a, uetr, StatusPosted)
		var named atomic.Uint32
		name := func() error {
			credit := Credit{UETR: uetr, Returns: cypherlink.UETR{0: byte(named.Add(1)), 6: 0x40, 8: 0x80}}
			_, err := a.Serve(t.Context(), w.b.id(), KindCredit, credit.Encode())
			return err
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { _ = name() })
		}
		all.Wait()
		if err := name(); cypherlink.ErrorCode(err) != CodeUnready {
			t.Errorf("one more: %v", err)
		}
		w.chain.Halt(true) // it takes its time
		time.Sleep(returnPause)
		if err := name(); err != nil {
			t.Errorf("later: %v", err)
		}
		entries, err := a.Events(t.Context(), uetr)
		if err != nil {
			t.Fatal(err)
		}
		returning := 0
		for _, e := range entries {
			if e.Kind == "returning" {
				returning++
			}
		}
		if returning != 2 {
			t.Errorf("%d entries", returning)
		}
	})
}
