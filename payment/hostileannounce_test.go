package payment

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
)

// announces has a bank announce a payment like one that was, with another UETR, and gives that and its bytes.
func (w *world) announces(from *player, to *Connect, like []byte) (cypherlink.UETR, []byte, error) {
	w.tb.Helper()
	s, err := DecodeSetup(like)
	if err != nil {
		w.tb.Fatal(err)
	}
	if s.UETR, err = cypherlink.NewUETR(rand.Reader); err != nil {
		w.tb.Fatal(err)
	}
	body := s.Encode()
	_, err = to.Serve(w.tb.Context(), from.id(), KindSetup, body)
	return s.UETR, body, err
}

// crowded tells whether a Setup is refused for there being too many, and by a reason with which it may be
// asked again.
func crowded(err error) bool {
	refusal, ok := err.(*cypherlink.Error) //nolint:errorlint // Serve gives nothing else
	return ok && refusal.Code == CodeCrowded && refusal.Reason == notYet
}

// A bank that announces payments without end costs announcedMost of them, also over a restart, until it has
// let them lapse; others are paid meanwhile. What is refused leaves nothing. All but some of them are counted and
// not there: the race detector does not bear as many goroutines that begin and end at once.
func TestFloodOfSetups(t *testing.T) {
	const some = 1 << 6
	others := func(w *world, b *Connect) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.announcer(w.mallory.id()).open += announcedMost - some
	}
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		tap := w.listen()
		w.until(a, w.submit(a, 1), StatusSettled)
		like := tap.bodies[KindSetup]
		var first []byte
		others(w, b)
		for i := range some {
			_, body, err := w.announces(w.mallory, b, like)
			if err != nil {
				t.Fatalf("payment %d: %v", i, err)
			}
			if i == 0 {
				first = body
			}
		}
		refused := func(b *Connect) {
			t.Helper()
			uetr, _, err := w.announces(w.mallory, b, like)
			if !crowded(err) {
				t.Fatal(err)
			}
			if _, err := b.Payment(t.Context(), uetr); cypherlink.ErrorCode(err) != CodeUnknown {
				t.Errorf("it leaves something: %v", err)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if n := len(b.byUETR); n > some+1 {
				t.Errorf("%d payments have a goroutine", n)
			}
		}
		refused(b)
		if _, err := b.Serve(t.Context(), w.mallory.id(), KindSetup, first); err != nil {
			t.Errorf("one of those that are open, again: %v", err)
		}
		w.until(a, w.submit(a, 2), StatusSettled)
		w.stop(w.b)
		b = w.startBank(w.b)
		others(w, b)
		refused(b)
		time.Sleep(b.Bank.Patience.Negotiate)
		if _, _, err := w.announces(w.mallory, b, like); err != nil {
			t.Errorf("all have lapsed: %v", err)
		}
	})
}

// Of payments that are refused for their parties' sake, of each of which a record stays, there are no more
// than announcedMost in the time of one.
func TestFloodOfRefusedSetups(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, _ *Connect) {
		tap := w.listen()
		w.until(a, w.submit(a, 1), StatusSettled)
		like := tap.bodies[KindSetup]
		w.stop(w.b)
		w.books.standing = kyc.Closed
		b := w.startBank(w.b)
		for range 2 {
			if _, _, err := w.announces(w.mallory, b, like); cypherlink.ErrorCode(err) != CodeCompliance {
				t.Fatal(err)
			}
			b.mu.Lock()
			b.announcer(w.mallory.id()).refused += announcedMost/2 - 1
			b.mu.Unlock()
		}
		uetr, _, err := w.announces(w.mallory, b, like)
		if !crowded(err) {
			t.Error(err)
		}
		if _, err := b.Payment(t.Context(), uetr); cypherlink.ErrorCode(err) != CodeUnknown {
			t.Errorf("it leaves something: %v", err)
		}
		time.Sleep(b.Bank.Patience.Negotiate)
		if _, _, err := w.announces(w.mallory, b, like); cypherlink.ErrorCode(err) != CodeCompliance {
			t.Errorf("later: %v", err)
		}
	})
}

// A bank to which the paid one says that too many are open asks again, and pays once there is room.
func TestCrowdedIsAskedAgain(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		b.mu.Lock()
		b.announcer(w.a.id()).open += announcedMost
		b.mu.Unlock()
		uetr := w.submit(a, 1)
		time.Sleep(2 * a.Bank.Patience.Resend)
		if p, err := a.Payment(t.Context(), uetr); err != nil || p.Status != StatusNegotiating {
			t.Errorf("%+v, %v", p, err)
		}
		b.mu.Lock()
		b.announcer(w.a.id()).open--
		b.mu.Unlock()
		done, refusal := b.admit(time.Now(), w.a.id(), cypherlink.UETR{1})
		if _, second := b.admit(time.Now(), w.a.id(), cypherlink.UETR{2}); refusal != nil || second == nil {
			t.Errorf("%v; while the last place is being taken: %v", refusal, second)
		}
		done(nil)
		w.until(a, uetr, StatusSettled)
	})
}
