package payment

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
)

// What opens a channel is signed once for each counter, and the counters rise: a bank that makes up others
// gets no second signature, and fills no store.
func TestOpeningCountersRise(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		asks := func(counter uint64, late int64) error {
			j, err := a.Tellers.openingOf(&Opening{Peer: w.b.id(), Asset: assetDCEP()})
			if err != nil {
				t.Fatal(err)
			}
			j.Counter, j.ValidUntil = counter, j.ValidUntil+late
			roster, err := w.joints(j)
			if err != nil {
				t.Fatal(err)
			}
			r := &JoinRequest{Joint: *j}
			frame := j.Frame(w.genesis.Network(), roster.Root())
			if r.Shares[j.Proposer], err = w.a.key.SignRecorded(frame); err != nil {
				t.Fatal(err)
			}
			raw, err := b.Serve(t.Context(), w.a.id(), KindJoin, r.Encode())
			if err == nil {
				err = roster.VerifyShare(frame, int(j.Proposer.Other()), cosi.Signature(raw))
			}
			return err
		}
		for i, tt := range []struct {
			counter uint64
			late    int64
			ok      bool
		}{{5, 0, true}, {5, 0, true}, {5, 1, false}, {4, 0, false}, {6, 1, true}, {5, 0, false}} {
			err := asks(tt.counter, tt.late)
			if (err == nil) != tt.ok || err != nil && cypherlink.ErrorCode(err) != channels.T0.Code() {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

// A channel with itself, or with somebody that holds none, is refused to a bank's operator by a code that the
// interface knows, and nothing is kept of it.
func TestOpenWithNobody(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		for range 2 {
			for _, peer := range []cypherlink.ParticipantID{w.a.id(), w.validators[0].id(), {7}} {
				_, replayed, err := a.Tellers.Open(t.Context(), Opening{peer, assetDCEP()}, []byte("open"), "open")
				if cypherlink.ErrorCode(err) != CodeAgent || replayed {
					t.Errorf("%s: replayed %v, %v", peer, replayed, err)
				}
			}
		}
	})
}

// Terms of a payment over a channel that would keep it open for longer than the bank holds money are not
// signed.
func TestDirectTermsExpire(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		a.Bank.DirectHold = w.margins.MaxHold + 5*time.Second
		p := w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusRejected)
		if p.Refusal.Reason != "TM01" {
			t.Errorf("%v", p.Refusal)
		}
		a.Bank.DirectHold = w.margins.MaxHold - time.Second
		w.until(a, w.pays(a, 2, w.a, w.b, "10.00"), StatusCompleted)
	})
}
