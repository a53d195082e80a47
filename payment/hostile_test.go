package payment

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
)

// The tests of this file and its neighbours play a bank that does not keep to the rules: it says what it
// likes, under its own keys. Numbers are those of the attack lists.

// speaks has one bank say something in a channel, past its own Connect.
func (w *channelWorld) speaks(from *player, to *Connect, id channels.ID, all ...channels.Message) error {
	talk := LaneTalk{Channel: id, Messages: all}
	_, err := to.Serve(context.Background(), from.id(), KindLane, talk.Encode())
	return err
}

// writes is the first update of a bank's lane, signed by it and by as many Validators as it takes.
func (w *channelWorld) writes(by *player, id channels.ID, ops ...channels.Operation) channels.Entry {
	w.tb.Helper()
	v, err := w.chain.View(id, nil)
	if err != nil {
		w.tb.Fatal(err)
	}
	ch := &v.Channel
	side, _ := ch.Side(by.id())
	u := channels.Update{
		Channel: id, Lane: side, Gen: ch.Lanes[side].Gen, Prev: cypherlink.Hash(id), Body: channels.BodyRoot(ops),
	}
	u.Seq, u.Locks = 1, channels.LockRoot(nil)
	for _, op := range ops {
		u.Paid += op.(channels.Pay).Amount
	}
	e := channels.Entry{Update: chaintest.Sealed(u), Operations: ops}
	w.signs(by, &e)
	return e
}

// signs puts a bank's signature to what it writes in its lane, and those of as many Validators as it takes.
func (w *channelWorld) signs(by *player, e *channels.Entry) {
	w.tb.Helper()
	frame := e.Update.Frame(w.genesis.Network())
	var err error
	if e.Peer, err = by.identity.SignRecorded(frame); err != nil {
		w.tb.Fatal(err)
	}
	for _, v := range w.validators[1:3] {
		s, err := v.identity.SignRecorded(frame)
		if err != nil {
			w.tb.Fatal(err)
		}
		e.Endorsements = append(e.Endorsements, channels.Endorsement{Validator: v.id(), Signature: s})
	}
}

// promised is the hash of the terms that the paid bank has signed.
func (w *channelWorld) promised(c *Connect, uetr cypherlink.UETR) (hash cypherlink.Hash) {
	w.tb.Helper()
	w.until(c, uetr, StatusAgreed)
	log, err := c.logOf(context.Background(), uetr)
	if err != nil {
		w.tb.Fatal(err)
	}
	m, err := NewIncoming(c.Bank, log)
	if err != nil {
		w.tb.Fatal(err)
	}
	return m.promised.Hash()
}

// unwritten lets no payment be signed: the Validators do not answer.
func unwritten(c call) ([]byte, error) {
	if c.kind == KindEndorse {
		return nil, errDown
	}
	return c.serve()
}

// B12, and the payer that lies: an update that names the agreed terms and pays another amount, with
// Validators who endorse it all the same, credits nobody: it is money for which nobody asked.
func TestPayerPaysLess(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(unwritten)
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		less := channels.Pay{Payment: uetr, Amount: 1, Terms: w.promised(b, uetr)}
		if err := w.speaks(w.a, b, id, channels.Offer{Entry: w.writes(w.a, id, less)}); err != nil {
			t.Fatal(err)
		}
		w.eventually("it is anchored", func() bool {
			ch, err := b.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Lanes[ch.Own.Other()].Anchored == 1
		})
		time.Sleep(5 * time.Second)
		if got := w.books[w.b.id()].balance; got != 0 {
			t.Errorf("the creditor has %d of 1 that was paid", got)
		}
	})
}

// What a lane moves is what was agreed: each part of it counts, for either bank.
func TestInLanePays(t *testing.T) {
	l := newLaneWorld(t)
	agreed := l.agreed(1, 70)
	leg := agreed.Legs[0]
	good := InLane{Payer: agreed.Payer, Terms: agreed.Hash(), Money: Money{leg.Asset, leg.Amount}}
	if !good.pays(agreed) {
		t.Fatal("what was agreed is not")
	}
	for what, spoil := range map[string]func(in *InLane){
		"another bank's lane": func(in *InLane) { in.Payer = l.World.Mallory.ID },
		"other terms":         func(in *InLane) { in.Terms[0]++ },
		"another amount":      func(in *InLane) { in.Money.Amount-- },
		"another asset":       func(in *InLane) { in.Money.Asset.Code = "JPY" },
	} {
		in := good
		if spoil(&in); in.pays(agreed) {
			t.Errorf("%s: is taken for what was agreed", what)
		}
	}
	two := *agreed
	two.Legs = append(two.Legs, two.Legs[0])
	if in := good; in.pays(&two) {
		t.Error("terms of two legs are paid by a lane alone")
	}
}

// The own follower stands still while the other bank keeps talking (an eclipse): nothing is bound by a
// view of the chain that is older than the lag, however busy the channel is.
func TestFollowerStandsStill(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
		w.chain.Halt(true)
		begun := time.Now()
		for time.Since(begun) < time.Duration(lanes().LagS+2)*time.Second {
			_ = w.speaks(w.b, a, id, channels.Refusal{Rule: channels.L4}) // small talk
			time.Sleep(100 * time.Millisecond)
		}
		for side, lane := range a.Tellers.teller(id).shown.Load().Lanes {
			if !lane.Suspended {
				t.Errorf("lane %d is not suspended", side)
			}
		}
		uetr := w.pays(a, 2, w.a, w.b, "20.00")
		for range 30 {
			_ = w.speaks(w.b, a, id, channels.Refusal{Rule: channels.L4})
			time.Sleep(100 * time.Millisecond)
		}
		if way := w.way(a, uetr); slices.Contains(way, StatusSigned2) {
			t.Errorf("the way was %v", way)
		}
		w.chain.Halt(false)
		w.until(a, uetr, StatusCompleted, StatusAborted)
	})
}

// The Validators do not answer, while payments keep coming: the channel's goroutine is not held up by
// what waits for them, stops when it is told to, and once they are back what is asked is what is wanted
// now, not all that was given up meanwhile.
func TestValidatorsDown(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		var asked atomic.Int64
		w.setFault(func(c call) ([]byte, error) {
			if c.kind != KindEndorse {
				return c.serve()
			}
			asked.Add(1)
			<-c.ctx.Done()
			return nil, c.ctx.Err()
		})
		tell := a.Tellers.teller(id)
		var all []cypherlink.UETR
		for i := range 60 { // each in a draft of its own
			all = append(all, w.pays(a, i, w.a, w.b, "1.00"))
			time.Sleep(20 * time.Millisecond)
		}
		before := tell.shown.Load()
		time.Sleep(1500 * time.Millisecond)
		if tell.shown.Load() == before {
			t.Error("the channel's goroutine stands still")
		}
		w.until(a, all[0], StatusRejected)
		w.setFault(nil)
		last := w.pays(a, 1000, w.a, w.b, "1.00")
		begun := time.Now()
		w.until(a, last, StatusCompleted)
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("what the Validators were asked in vain held the next payment up for %v", took)
		}
	})
}

// B4, B9: the paid bank is down while the payer's closes the channel with what both have signed. When it
// is back, the channel is closed, and what is anchored is credited all the same. The payer's bank too
// still has its receipts.
func TestClosedMeanwhile(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(func(c call) ([]byte, error) { // nothing is anchored together
			if c.kind == KindJoin {
				return nil, errDown
			}
			return c.serve()
		})
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		w.until(a, uetr, StatusSigned2)
		w.stop(w.b)
		if _, err := a.Tellers.Order(t.Context(), id, CloseOrder{}, []byte("close"), "close"); err != nil {
			t.Fatal(err)
		}
		w.eventually("the channel is closed", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.State == channels.Closed
		})
		b = w.startBank(w.b)
		w.until(b, uetr, StatusCompleted)
		w.until(a, uetr, StatusCompleted)
		if got := w.books[w.b.id()].balance; got != 10_00 {
			t.Errorf("the creditor has %d", got)
		}
		w.stop(w.b)
		b = w.startBank(w.b)
		ch, err := b.Tellers.Channel(t.Context(), id)
		if err != nil || ch.State != channels.Closed || b.Tellers.teller(id) != nil {
			t.Errorf("a channel that is over is %+v, %v, and has the teller %v", ch, err, b.Tellers.teller(id))
		}
		w.stop(w.a)
		a = w.startBank(w.a)
		if _, err := a.Receipt(t.Context(), uetr); !errors.Is(err, state.ErrUnknown) { // of this world's feed
			t.Errorf("the receipt of a payment over a channel that is over: %v", err)
		}
	})
}

// act has a bank submit something to the chain, past its own Connect.
func (w *channelWorld) act(by *player, a channels.Action) {
	w.tb.Helper()
	s := &channels.SignedAction{
		Network: w.genesis.Network(), Signer: by.id(), Sequence: uint64(time.Now().UnixNano()), Action: a,
	}
	var err error
	if s.Signature, err = by.identity.SignRecorded(s.Frame()); err != nil {
		w.tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := w.chain.HandIn(ctx, state.ChannelAction{Signed: s}, func() (bool, error) { return false, nil }); err != nil &&
		ctx.Err() == nil {
		w.tb.Fatal(err)
	}
}

// B2, B4: the payer's bank has a generation end in which it has written a payment, while the other one is
// down, and then writes the same payment again: nobody is credited for what came to nothing, and what
// comes when nobody expects it any more goes back.
func TestWrittenAgainAfterVoid(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(unwritten)
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		pay := channels.Pay{Payment: uetr, Amount: 10_00, Terms: w.promised(b, uetr)}
		w.stop(w.a)
		w.chain.Halt(true)
		offer := channels.Offer{Entry: w.writes(w.a, id, pay)}
		if err := w.speaks(w.a, b, id, offer); err != nil {
			t.Fatal(err)
		}
		w.until(b, uetr, StatusSigned2)
		w.stop(w.b)
		w.chain.Halt(false)
		v, err := w.chain.View(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		side, _ := v.Channel.Side(w.a.id())
		w.act(w.a, channels.Dispute{Channel: id, Lane: side, Slot: channels.Slot{Seq: math.MaxUint32}})
		w.eventually("the generation has ended", func() bool {
			v, err := w.chain.View(id, nil)
			return err == nil && v.Channel.Lanes[side].Gen == 1
		})
		b = w.startBank(w.b)
		w.until(b, uetr, StatusAborted)
		w.startBank(w.a)
		w.eventually("both talk", func() bool { return b.Tellers.teller(id).shown.Load().Synced })
		offer = channels.Offer{Entry: w.writes(w.a, id, pay)}
		if err := w.speaks(w.a, b, id, offer); err != nil {
			t.Fatal(err)
		}
		w.until(b, uetr, StatusReturnPending)
		if got := w.books[w.b.id()].count("credit"); got != 0 {
			t.Errorf("%d credits", got)
		}
	})
}

// A payment that was given up and of which something is heard in the moment in which its goroutine ends
// gets another one: what has arrived is booked.
func TestHeardWhileDismissed(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		of := func(u cypherlink.UETR) *live {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.byUETR[u]
		}
		l := newLive(cypherlink.UETR{1})
		b.know(l)
		b.reach(l.uetr, l.announced, note{inputs: []Input{Tick{}}}, time.Now())
		b.dismiss(l)
		if now := of(l.uetr); now == nil || now == l {
			t.Error("what was heard is lost")
		}
		l = newLive(cypherlink.UETR{2})
		b.know(l)
		b.dismiss(l)
		if of(l.uetr) != nil {
			t.Error("a payment of which nothing was heard is taken up again")
		}
	})
}

// Validators that are not so far as the bank refuse nothing: the payment waits for them.
func TestValidatorsBehind(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		w.opened(a, b)
		behind := time.Now().Add(5 * time.Second)
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindEndorse && time.Now().Before(behind) {
				return nil, unwarranted("ED06", "the channel is not known here", nil)
			}
			return c.serve()
		})
		w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
	})
}

// An opening outlives an other bank, and Validators, that are not ready yet; one that is refused may be
// wanted again; and two banks that open at once open one channel.
func TestOpenings(t *testing.T) {
	t.Run("not ready yet", func(t *testing.T) {
		playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
			ready := time.Now().Add(5 * time.Second)
			w.setFault(func(c call) ([]byte, error) {
				if c.kind == KindJoin && time.Now().Before(ready) {
					return nil, refuse(CodeUnready, "ED06", "not yet", nil)
				}
				return c.serve()
			})
			w.opened(a, b)
		})
	})
	t.Run("wanted again", func(t *testing.T) {
		playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
			w.setFault(func(c call) ([]byte, error) {
				if c.kind == KindJoin {
					return nil, refuse(channels.T0.Code(), "NARR", "on other conditions", nil)
				}
				return c.serve()
			})
			want := Opening{Peer: w.b.id(), Asset: assetDCEP()}
			id, _, err := a.Tellers.Open(t.Context(), want, []byte("first"), "first")
			if err != nil {
				t.Fatal(err)
			}
			w.eventually("it is refused", func() bool {
				ch, err := a.Tellers.Channel(t.Context(), id)
				return err == nil && len(ch.Alerts) > 0
			})
			time.Sleep(time.Second)
			w.setFault(nil)
			if again := w.opened(a, b); again != id {
				t.Errorf("channel %s, then %s", id, again)
			}
		})
	})
	t.Run("both at once", func(t *testing.T) {
		playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
			if _, _, err := b.Tellers.Open(
				t.Context(), Opening{Peer: w.a.id(), Asset: assetDCEP()}, []byte("open"), "open-1"); err != nil {
				t.Fatal(err)
			}
			w.opened(a, b)
			all, err := a.Tellers.Channels(t.Context())
			if err != nil || len(all) != 1 || w.chain.Seen()["channels.Open"] != 1 {
				t.Errorf("%d channels, %v, of %v", len(all), err, w.chain.Seen())
			}
		})
	})
}
