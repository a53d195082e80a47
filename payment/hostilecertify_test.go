package payment

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
)

// The payer's bank has a payment over a channel certified as if it went over ledgers: it is refused, and a paid
// bank whose log has such a proof starts again all the same.
func TestCertifiedOverChannel(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		w.setFault(unwritten)
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		w.promised(b, uetr)
		w.until(a, uetr, StatusApproved, StatusReserved)
		log, err := a.logOf(t.Context(), uetr)
		if err != nil {
			t.Fatal(err)
		}
		o, err := NewOutgoing(a.Bank, a.Random, log)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Serve(t.Context(), w.a.id(), KindCertify, o.proof.Encode())
		if code := cypherlink.ErrorCode(err); code != CodeTerms {
			t.Errorf("certified: %v", err)
		}
		err = b.Store.Update(t.Context(), func(tx *store.Tx) error { // as before it was refused
			last, err := tx.Last(streamOf(uetr))
			if err != nil {
				return err
			}
			agreed := Event{At: time.Now().UnixMilli(), Fact: Agreed{Proof: o.proof}}
			return appendEvents(tx, streamOf(uetr), last, []Event{agreed})
		})
		if err != nil {
			t.Fatal(err)
		}
		w.stop(w.b)
		b = w.startBank(w.b)
		w.setFault(nil)
		w.until(b, uetr, StatusCompleted)
	})
}
