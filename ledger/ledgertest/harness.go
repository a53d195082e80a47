package ledgertest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

// patience is how long a test waits, in real time, for what must come.
const patience = time.Minute

// Harness is one fresh ledger built from a World, and the test's hands on it.
type Harness struct {
	Ledger ledger.Ledger
	// Now is the ledger's time. It passes by Advance alone, but for milliseconds that the
	// ledger itself may add.
	Now func() time.Time
	// Advance lets that much ledger time pass.
	Advance func(time.Duration)
	// Margin is how many seconds before the expiry the ledger stops taking a confirm: zero where
	// confirm and expiry are decided in one place.
	Margin int64
	// Check verifies a receipt by its evidence alone, as a third party does.
	Check func(ledger.Receipt) error
	// Balance is what the account holds after everything that is final.
	Balance func(cypherlink.Account, cypherlink.Asset) (cypherlink.Amount, error)
	// Restart ends the ledger as a crash does, and starts it again on what it has stored.
	Restart func() ledger.Ledger
}

// stand is a world, a harness over it, and the test that uses them.
type stand struct {
	*World
	h Harness
	t *testing.T
}

// in is the second of ledger time, since 1970, that many seconds away.
func (s *stand) in(seconds int64) int64 { return s.h.Now().Unix() + seconds }

// until lets time pass until the beginning of the second.
func (s *stand) until(second int64) { s.h.Advance(time.Unix(second, 0).Sub(s.h.Now())) }

func (s *stand) context() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// submit wants a receipt of the command's custody in that state, with evidence.
func (s *stand) submit(c *ledger.SignedCommand, want ledger.State) ledger.Receipt {
	s.t.Helper()
	r, err := s.h.Ledger.Submit(s.context(), c)
	if err != nil {
		s.t.Fatalf("submit %T: %v", c.Command, err)
	}
	s.holds(r, ledger.CustodyID(c.Command.About(s.Network)), want)
	return r
}

// lookup wants a receipt of the custody in that state, with evidence.
func (s *stand) lookup(id ledger.CustodyID, want ledger.State) ledger.Receipt {
	s.t.Helper()
	r, err := s.h.Ledger.Lookup(s.context(), id)
	if err != nil {
		s.t.Fatalf("look up %s: %v", id, err)
	}
	s.holds(r, id, want)
	return r
}

// holds wants what every receipt has.
func (s *stand) holds(r ledger.Receipt, id ledger.CustodyID, want ledger.State) {
	s.t.Helper()
	if r.Ledger != s.Ledger || r.Custody.ID != id || r.Custody.State != want {
		s.t.Fatalf("receipt of %s: %s %s, want %s %s",
			r.Ledger, r.Custody.State, r.Custody.ID, want, id)
	}
	if r.TimeMS > s.h.Now().UnixMilli() {
		s.t.Fatalf("receipt of %s: from the future, %d", id, r.TimeMS)
	}
	if err := s.h.Check(r); err != nil {
		s.t.Fatalf("evidence of %s %s: %v", want, id, err)
	}
}

// refuse wants the command refused with that code, a reason and a message.
func (s *stand) refuse(c *ledger.SignedCommand, code cypherlink.Code) {
	s.t.Helper()
	_, err := s.h.Ledger.Submit(s.context(), c)
	if got := refusal(s.t, err); got != code {
		s.t.Fatalf("submit %T: %v, want %s", c.Command, err, code)
	}
}

// refusal is the code of a well-formed refusal, or "".
func refusal(t *testing.T, err error) cypherlink.Code {
	t.Helper()
	r, ok := errors.AsType[*cypherlink.Error](err)
	if !ok {
		return ""
	}
	if len(r.Reason) != 4 || r.Message == "" {
		t.Errorf("a refusal without a reason or a message: %v", err)
	}
	return r.Code
}

// moved wants these differences from the opening balances of Asset, and that no asset has
// more or less than at first, with that much in custody.
func (s *stand) moved(alice, bob, custody cypherlink.Amount) {
	s.t.Helper()
	var sum cypherlink.Amount
	for _, want := range []struct {
		actor  Actor
		amount cypherlink.Amount
	}{{s.Alice, alice}, {s.Bob, bob}, {s.Mallory, 0}} {
		got, err := s.h.Balance(s.Account(want.actor), s.Asset)
		if err != nil {
			s.t.Fatal(err)
		}
		if got != Opening+want.amount {
			s.t.Fatalf("%s has %d, want %d", want.actor.ID, got, Opening+want.amount)
		}
		sum += got
	}
	if sum+custody != 3*Opening {
		s.t.Fatalf("%d in accounts and %d in custody, at first %d", sum, custody, 3*Opening)
	}
}

// events reads n events after the cursor and wants them in order, without a gap and with
// evidence.
func (s *stand) events(after ledger.Cursor, n int) []ledger.Event {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.context())
	defer cancel()
	var got []ledger.Event
	if n == 0 {
		return got
	}
	cursor := after
	for e, err := range s.h.Ledger.Events(ctx, after) {
		if err != nil {
			s.t.Fatalf("event %d after %d: %v", len(got)+1, after, err)
		}
		if e.Cursor <= cursor {
			s.t.Fatalf("cursor %d after %d", e.Cursor, cursor)
		}
		cursor = e.Cursor
		if i := len(got); i > 0 && e.Receipt.Sequence != got[i-1].Receipt.Sequence+1 {
			s.t.Fatalf("sequence %d after %d", e.Receipt.Sequence, got[i-1].Receipt.Sequence)
		}
		if i := len(got); i > 0 && e.Receipt.TimeMS < got[i-1].Receipt.TimeMS {
			s.t.Fatalf("time %d after %d", e.Receipt.TimeMS, got[i-1].Receipt.TimeMS)
		}
		s.holds(e.Receipt, e.Receipt.Custody.ID, e.Receipt.Custody.State)
		if got = append(got, e); len(got) == n {
			return got
		}
	}
	s.t.Fatalf("the events after %d end with %d of %d: %v", after, len(got), n, ctx.Err())
	return nil
}

// same compares two receipts but for their evidence, of which there may be several.
func same(a, b ledger.Receipt) bool {
	a.Evidence, b.Evidence = nil, nil
	a.Custody.Packet = append([]byte{}, a.Custody.Packet...)
	b.Custody.Packet = append([]byte{}, b.Custody.Packet...)
	return reflect.DeepEqual(a, b)
}
