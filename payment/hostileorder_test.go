package payment

import (
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// order gives an order, and gives what it came to.
func order(t *testing.T, c *Connect, id channels.ID, o Order, key string) (replayed bool, err error) {
	t.Helper()
	return c.Tellers.Order(t.Context(), id, o, []byte(key), key)
}

// A release that is refused leaves nothing behind: the same key may be tried again, and is then told what
// becomes of it, not that all is well.
func TestRefusedOrderIsForgotten(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		for range 2 {
			if replayed, err := order(t, a, id, ReleaseOrder{2 * funds}, "too-much"); err == nil || replayed {
				t.Errorf("more than there is: replayed %v, %v", replayed, err)
			}
		}
		if replayed, err := order(t, a, id, ReleaseOrder{1}, "a-little"); err != nil || replayed {
			t.Errorf("replayed %v, %v", replayed, err)
		}
		if replayed, err := order(t, a, id, ReleaseOrder{1}, "a-little"); err != nil || !replayed {
			t.Errorf("again: replayed %v, %v", replayed, err)
		}
		w.eventually("it is released once", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Releases == 1 && ch.Escrow[ch.Own] == funds-1
		})
	})
}

// A funding for which the account has too little waits until it has enough, also over a crash, and those
// after it follow.
func TestFundingWaitsForMoney(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		left := w.account(w.a)
		if _, err := order(t, a, id, FundOrder{left + 5}, "too-much"); err != nil {
			t.Fatal(err)
		}
		if _, err := order(t, a, id, FundOrder{3}, "then-a-little"); err != nil {
			t.Fatal(err)
		}
		w.stop(w.a)
		a = w.startBank(w.a)
		w.eventually("both talk", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Synced
		})
		if _, err := order(t, a, id, ReleaseOrder{8}, "the-rest"); err != nil {
			t.Fatal(err)
		}
		w.eventually("both are in", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Fundings[ch.Own] == 3 && ch.Escrow[ch.Own] == funds+int64(left)
		})
		if got := w.account(w.a); got != 0 {
			t.Errorf("the account has %d", got)
		}
	})
}

// A close outlives the bank that was told to: together with the other one if it is there, alone if not.
func TestCloseIsKept(t *testing.T) {
	for name, silent := range map[string]bool{"together": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
				id := w.opened(a, b)
				w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
				if silent {
					w.stop(w.b)
				}
				if _, err := order(t, a, id, CloseOrder{}, "close"); err != nil {
					t.Fatal(err)
				}
				if silent {
					w.stop(w.a)
					a = w.startBank(w.a)
				}
				w.eventually("the channel is closed", func() bool {
					ch, err := a.Tellers.Channel(t.Context(), id)
					return err == nil && ch.State == channels.Closed
				})
				if got, want := w.account(w.a), openingAmount-10_00; int64(got) != int64(want) {
					t.Errorf("the account has %d, want %d", got, want)
				}
				if alone := w.chain.seen["channels.Close"]; (alone > 0) != silent {
					t.Errorf("%d closes by a bank alone", alone)
				}
			})
		})
	}
}

// account is what a bank has on its account on the chain.
func (w *channelWorld) account(of *player) cypherlink.Amount {
	w.tb.Helper()
	has, _, err := w.chain.Balance(cypherlink.Account{Owner: of.id()}, assetDCEP())
	if err != nil {
		w.tb.Fatal(err)
	}
	return has
}
