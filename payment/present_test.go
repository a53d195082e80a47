package payment

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow/followtest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
)

// paidOut is a chain of which somebody sees that his channels have paid out.
type paidOut struct{ *followtest.Chain }

func (c paidOut) Channels() ([]*channels.Channel, error) {
	all, err := c.Chain.Channels()
	for i := range all {
		closed := *all[i]
		closed.State = channels.Closed
		all[i] = &closed
	}
	return all, err
}

// A bank that stopped after it had signed a lock does not know, when it starts, that there is no custody of it:
// whoever reads its channels before they have been looked at hears so, also when a channel has paid out meanwhile.
// Else a connector would give the other leg back, and the lock might be paid.
func TestLockOfBeforeAStartIsNotAbsent(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.stop(w.a)
		s := w.open(w.a)
		defer func() { _ = s.Close() }()
		ctx := context.Background()
		view, err := w.chain.View(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		lock, preimage := lockOf(1)
		lock.Expiry = time.Now().Unix() + 20
		own, _ := view.Channel.Side(w.a.id())
		ops := []channels.Operation{lock}
		u := channels.Update{
			Channel: id, Lane: own, Prev: cypherlink.Hash(id), Body: channels.BodyRoot(ops),
			Head: channels.Head{Seq: 1, Locked: lock.Amount, Locks: channels.LockRoot([]channels.Lock{lock})},
		}
		wrote := channels.Wrote{Entry: channels.Entry{Update: chaintest.Sealed(u), Operations: ops}}
		err = s.Update(ctx, func(tx *store.Tx) error {
			at, err := tx.Last(channelStream(id))
			if err != nil {
				return err
			}
			return tx.Append(channelStream(id), at, store.Event{Kind: "wrote", Body: channels.EncodeEvent(wrote)})
		})
		if err != nil {
			t.Fatal(err)
		}
		w.reveals(w.b, preimage)
		if view, err = w.chain.View(id, nil); err != nil {
			t.Fatal(err)
		}
		for name, chain := range map[string]Chain{"open": w.chain, "paid out": paidOut{w.chain}} {
			o := w.tellersOptions(w.a, s)
			o.Chain = chain
			tellers, err := NewTellers(o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tellers.Locks().Present(lock.ID); !errors.Is(err, ErrNotNow) {
				t.Errorf("%s, before it is taken up: %v", name, err)
			}
			if tellers.tellers[id], err = tellers.newTeller(ctx, &view); err != nil {
				t.Fatal(err)
			}
			if _, err := tellers.Locks().Present(lock.ID); !errors.Is(err, ErrNotNow) {
				t.Errorf("%s, before its first turn: %v", name, err)
			}
			if got := tellers.tellers[id].view.Revealed; len(got) != 1 || got[0].Preimage != preimage {
				t.Errorf("%s: if the chain is not readable at the first look, there is no reveal: %v", name, got)
			}
			if now, err := tellers.Locks().Present(channels.LockID{9}); err != nil || now != view.Now.S*1000 {
				t.Errorf("%s, another lock: %d, %v", name, now, err)
			}
		}
	})
}

// When the last channel has closed, its bank still knows what time it is: a payment that was to go on in it ends.
func TestTimePassesWithoutAChannel(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		if _, err := a.Tellers.Order(t.Context(), id, CloseOrder{}, []byte("close"), "close-1"); err != nil {
			t.Fatal(err)
		}
		w.eventually("it is closed", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.State == channels.Closed
		})
		w.stop(w.a)
		a = w.startBank(w.a)
		w.eventually("it is taken up", func() bool { return a.Tellers.ready(t.Context()) == nil })
		if a.Tellers.teller(id) != nil {
			t.Fatal("it has a teller")
		}
		for range 2 {
			now, err := a.Tellers.Locks().Present(channels.LockID{9})
			if behind := time.Now().Unix() - now/1000; err != nil || behind > 1 {
				t.Errorf("%d s behind, %v", behind, err)
			}
			time.Sleep(20 * time.Second)
		}
	})
}

// reveals has somebody put a preimage on the chain.
func (w *channelWorld) reveals(by *player, preimage cypherlink.Preimage) {
	w.tb.Helper()
	a := &channels.SignedAction{
		Network: w.genesis.Network(), Signer: by.id(), Sequence: 1, Action: channels.Reveal{Preimage: preimage},
	}
	var err error
	if a.Signature, err = by.identity.Sign(a.Frame()); err != nil {
		w.tb.Fatal(err)
	}
	err = w.chain.HandIn(w.tb.Context(), state.ChannelAction{Signed: a}, func() (ok bool, err error) {
		w.chain.Read(func(s *state.State) { _, ok, err = s.Reveal(preimage.Condition()) })
		return ok, err
	})
	if err != nil {
		w.tb.Fatal(err)
	}
}
