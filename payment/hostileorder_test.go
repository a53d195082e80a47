package payment

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
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
			replayed, err := order(t, a, id, ReleaseOrder{2 * funds}, "too-much")
			if err == nil || replayed || !strings.Contains(err.Error(), "200000.00 are not free") {
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
			return err == nil && ch.Releases == 1 && ch.Funds[ch.Own] == funds-1
		})
	})
}

// hush has no bank's talk heard.
func hush(c call) ([]byte, error) {
	if c.kind == KindLane {
		return nil, errDown
	}
	return c.serve()
}

// A release to which the other bank does not consent in time is void. Until then its key stands for it, over a
// crash too, and there is no other one; after that the same request asks again, and stands for what it did.
func TestVoidReleaseIsAskedAgain(t *testing.T) {
	for name, crash := range map[string]bool{"in a process": false, "over a crash": true} {
		t.Run(name, func(t *testing.T) {
			playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
				id := w.opened(a, b)
				w.setFault(hush)
				if replayed, err := order(t, a, id, ReleaseOrder{7}, "seven"); err != nil || replayed {
					t.Fatal(replayed, err)
				}
				if crash {
					w.stop(w.a)
					a = w.startBank(w.a)
				}
				if replayed, err := order(t, a, id, ReleaseOrder{7}, "seven"); err != nil || !replayed {
					t.Errorf("while it may happen: replayed %v, %v", replayed, err)
				}
				_, err := order(t, a, id, ReleaseOrder{8}, "eight")
				if refusal, ok := errors.AsType[*cypherlink.Error](err); !ok || refusal.Code != channels.L8.Code() ||
					refusal.Reason != notYet {
					t.Errorf("another one: %v", err)
				}
				time.Sleep(time.Duration(lanes().JointS+2) * time.Second)
				w.setFault(nil)
				w.eventually("both talk", func() bool {
					ch, err := a.Tellers.Channel(t.Context(), id)
					return err == nil && ch.Synced
				})
				if replayed, err := order(t, a, id, ReleaseOrder{7}, "seven"); err != nil || replayed {
					t.Fatalf("when it is void: replayed %v, %v", replayed, err)
				}
				w.eventually("it has happened", func() bool {
					ch, err := a.Tellers.Channel(t.Context(), id)
					return err == nil && ch.Releases == 1
				})
				time.Sleep(time.Duration(lanes().JointS+2) * time.Second)
				if replayed, err := order(t, a, id, ReleaseOrder{7}, "seven"); err != nil || !replayed {
					t.Errorf("when it has happened: replayed %v, %v", replayed, err)
				}
				if _, err := order(t, a, id, ReleaseOrder{8}, "eight"); err != nil {
					t.Error(err)
				}
				if _, err := order(t, a, id, FundOrder{5}, "five"); err != nil {
					t.Error(err)
				}
				w.eventually("all has happened", func() bool {
					ch, err := a.Tellers.Channel(t.Context(), id)
					return err == nil && ch.Releases == 2 && ch.Funds[ch.Own] == funds-15+5
				})
			})
		})
	}
}

// A key stands for a release from the commit on that says that it was asked for, and not before: a crash
// between them leaves neither.
func TestReleaseStandsWithItsCommit(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		s := a.Tellers
		v, err := s.Chain.View(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.setFault(hush)
		w.stop(w.b)
		asked := &releaseOrder{release: release{Amount: 1}, key: "order/k", raw: []byte("k")}
		stands := func() (stream string) {
			t.Helper()
			err := s.Store.Update(t.Context(), func(tx *store.Tx) (err error) {
				stream, _, err = standingUnder(tx, asked.key, asked.raw)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return stream
		}
		idle, err := s.newTeller(t.Context(), &v)
		if err != nil {
			t.Fatal(err)
		}
		v.Fresh = true
		n := idle.begin()
		for _, step := range []func(now int64) (channels.Effects, error){
			func(now int64) (channels.Effects, error) { return idle.party.Start(now, s.session) },
			func(now int64) (channels.Effects, error) { return idle.party.See(now, v) },
			func(now int64) (channels.Effects, error) {
				ch := &v.Channel
				return idle.party.Hear(now, channels.Resync{
					Gens: [2]uint32{ch.Lanes[0].Gen, ch.Lanes[1].Gen}, Session: 1, Echo: s.session,
					Written: ch.Lanes[idle.own.Other()].Head,
				})
			},
		} {
			if err := idle.do(n, step); err != nil {
				t.Fatal(err)
			}
		}
		if err := idle.releases(t.Context(), n, asked); err != nil || asked.replayed || n.release == nil {
			t.Fatal(asked.replayed, err)
		}
		if stream := stands(); stream != "" {
			t.Errorf("before the commit the key stands for %s", stream)
		}
		if err := idle.commit(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if stream := stands(); stream != orderStream(id) {
			t.Errorf("after the commit the key stands for %s", stream)
		}
		other := *asked // whose key another request has taken since it was looked at
		other.raw = []byte("another")
		if err := s.Store.Update(t.Context(), func(tx *store.Tx) error { return other.keep(tx, id) }); err != nil {
			t.Error(err)
		}
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
			return err == nil && ch.Fundings[ch.Own] == 3 && ch.Funds[ch.Own] == funds+int64(left)
		})
		if got := w.account(w.a); got != 0 {
			t.Errorf("the account has %d", got)
		}
	})
}

// A funding that no side of a channel could hold is refused: the chain counts fundings, so what it never
// takes would keep all later ones out for good.
func TestFundingThatNoChannelHolds(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		tooMuch := func(amount cypherlink.Amount) {
			t.Helper()
			for range 2 { // of its key nothing is kept
				replayed, err := order(t, a, id, FundOrder{amount}, "no-channel-holds-it")
				refusal, ok := errors.AsType[*cypherlink.Error](err)
				if !ok || replayed || refusal.Code != channels.T1.Code() || refusal.Reason != "AM02" {
					t.Fatalf("replayed %v, %v", replayed, err)
				}
			}
		}
		tooMuch(math.MaxInt64)
		tooMuch(math.MaxInt64 - funds + 1)
		if _, err := order(t, a, id, FundOrder{w.account(w.a) + 5}, "waits"); err != nil {
			t.Fatal(err)
		}
		tooMuch(math.MaxInt64 - funds - w.account(w.a)) // beside the one that waits
		if _, err := order(t, a, id, FundOrder{3}, "a-little"); err != nil {
			t.Fatal(err)
		}
		if _, err := order(t, a, id, ReleaseOrder{8}, "the-rest"); err != nil {
			t.Fatal(err)
		}
		w.eventually("the others are in", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Fundings[ch.Own] == 3
		})
	})
}

// An operator sees that a funding waits, how much it is of, and why, for as long as it does; the log says it
// once, though it is handed in again and again.
func TestWaitingFundingIsShown(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, _, b *Connect) {
		var d diary
		w.stop(w.a)
		w.log = d.log()
		a := w.startBank(w.a)
		id := w.opened(a, b)
		alerts := func() []string {
			ch, err := a.Tellers.Channel(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return slices.DeleteFunc(ch.Alerts, func(s string) bool { return !strings.HasPrefix(s, "fundings wait") })
		}
		left := w.account(w.a)
		for i, amount := range []cypherlink.Amount{left + 5, 3} {
			if _, err := order(t, a, id, FundOrder{amount}, fmt.Sprint("waits-", i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * lanes().Resend)
		got, amount := alerts(), (left + 5).Format(assetDCEP().Scale)
		if len(got) != 1 || !strings.HasPrefix(got[0], "fundings wait: 2, the first of "+amount+": ") ||
			!strings.Contains(got[0], "does not cover "+amount) {
			t.Errorf("the operator is told %q", got)
		}
		if said := d.of(t, "the chain does not take what was handed in"); len(said) != 1 {
			t.Errorf("the log says %+v", said)
		}
		if _, err := order(t, a, id, ReleaseOrder{8}, "the-rest"); err != nil {
			t.Fatal(err)
		}
		w.eventually("both are in", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Fundings[ch.Own] == 3
		})
		if got := alerts(); len(got) > 0 {
			t.Errorf("the operator is told %q", got)
		}
	})
}

// Money in an alert is in units of the asset, as everywhere in the interface.
func TestLowSideIsShownInUnits(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		if _, err := order(t, a, id, ReleaseOrder{funds - 12_34}, "nearly-all"); err != nil {
			t.Fatal(err)
		}
		w.eventually("the operator is told", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			low := "this bank's side is low: 12.34 of 100012.34 are free"
			return err == nil && slices.Equal(ch.Alerts, []string{low})
		})
	})
}

// Each bank's operator is told of lanes by whose they are, as the interface has them, and not by their letters.
func TestAlertsNameLanesByTheirBank(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(hush)
		w.pays(a, 1, w.a, w.b, "10.00")
		w.eventually("a challenge is open, and both are told", func() bool {
			for c, want := range map[*Connect]string{a: "this bank's lane: ", b: "the other bank's lane: "} {
				ch, err := c.Tellers.Channel(t.Context(), id)
				if err != nil || !slices.Contains(ch.Alerts, want+"a challenge is open") {
					return false
				}
			}
			return true
		})
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
				if alone := w.chain.Seen()["channels.Close"]; (alone > 0) != silent {
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

// Two fundings that are ordered at once reach the channel's goroutine in any order, and are made in their own.
func TestFundingsOrderedAtOnce(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		tell := a.Tellers.teller(id)
		both := []*funding{{Amount: 3}, {Amount: 5}}
		for _, f := range both {
			if err := a.Store.Update(t.Context(), func(tx *store.Tx) error { return tell.order(tx, f) }); err != nil {
				t.Fatal(err)
			}
		}
		tell.tell(tellerInput{fund: both[1]})
		tell.tell(tellerInput{fund: both[0]})
		w.eventually("both are in", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Fundings[ch.Own] == 3 && ch.Funds[ch.Own] == funds+8
		})
	})
}

// A bank that tops a channel up while its operator orders the close leaves it, and goes on.
func TestTopUpOfWhatIsToBeClosed(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		s, tell := a.Tellers, a.Tellers.teller(id)
		writing, write := make(chan struct{}), make(chan struct{})
		closed, topped := make(chan error, 1), make(chan error, 1)
		go func() {
			closed <- s.Store.Update(t.Context(), func(tx *store.Tx) error {
				close(writing)
				<-write
				return tell.orderClose(tx)
			})
		}()
		<-writing
		go func() { topped <- s.topUp(t.Context(), tell, tell.shown.Load(), 1) }()
		synctest.Wait() // it has seen no order to close
		close(write)
		if err := errors.Join(<-closed, <-topped); err != nil {
			t.Error(err)
		}
	})
}
