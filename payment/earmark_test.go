package payment

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// Money of a channel is promised once: until it is locked, or until the promise ends.
func TestEarmarks(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		s := a.Tellers
		spare := func(want cypherlink.Amount) {
			t.Helper()
			if got := s.spare(w.b.id(), assetDCEP()); got != want {
				t.Errorf("%d, want %d", got, want)
			}
		}
		promise := func(name byte, amount cypherlink.Amount) bool {
			return s.earmark(cypherlink.Hash{name}, earmark{
				w.b.id(), assetDCEP(), amount, time.Now().Add(10 * time.Second),
			})
		}
		spare(0)
		if promise(1, 1) {
			t.Error("promised without a channel")
		}
		w.opened(a, b)
		spare(funds)
		if s.spare(w.clearing.id(), assetDCEP()) != 0 || s.spare(w.b.id(), assetDE()) != 0 {
			t.Error("another's channel, or another asset's")
		}
		if !promise(1, funds-10) || promise(2, 11) || !promise(3, 10) {
			t.Error("promised twice, or not at all")
		}
		spare(0)
		s.locked(channels.LockID{3})
		spare(10)
		s.assign(cypherlink.Hash{1}, channels.LockID{4})
		s.assign(cypherlink.Hash{9}, channels.LockID{5}) // of no promise
		spare(10)
		s.locked(channels.LockID{4})
		spare(funds)
		for i := range byte(lanes().Limits.Locks) {
			if !promise(100+i, 1) {
				t.Fatalf("%d locks are too many", i+1)
			}
		}
		spare(0)
		if promise(99, 1) {
			t.Error("more locks are promised than there may be")
		}
		clear(s.earmarks)
		promise(6, 7)
		time.Sleep(9 * time.Second)
		spare(funds - 7)
		time.Sleep(time.Second)
		spare(funds)
	})
}

// Nothing of a channel is promised while the other bank is not there, or the lane is suspended.
func TestSpareOfLanesNotInOrder(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindLane {
				return nil, errDown
			}
			return c.serve()
		})
		w.pays(a, 1, w.a, w.b, "10.00")
		w.eventually("its lane is suspended", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Lanes[ch.Own].Suspended && ch.Free > 0
		})
		if got := a.Tellers.spare(w.b.id(), assetDCEP()); got != 0 {
			t.Errorf("%d are promised of a suspended lane", got)
		}
		w.stop(w.a)
		w.stop(w.b)
		a = w.startBank(w.a)
		w.eventually("it is back, without the other bank", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && !ch.Synced && ch.Free > 0 && !ch.Lanes[ch.Own].Suspended
		})
		if got := a.Tellers.spare(w.b.id(), assetDCEP()); got != 0 {
			t.Errorf("%d are promised without the other bank", got)
		}
	})
}

// A quote chooses channels that there are, with as much as it promises, once.
func TestQuotesChooseChannels(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, _, b *Connect) {
		c := w.startClearing()
		w.openedBy(c.Tellers, b.Tellers)
		leg := func(from, to *player) *terms.Leg {
			return &terms.Leg{
				Asset: assetDCEP(), Debit: cypherlink.Account{Owner: from.id()}, Credit: cypherlink.Account{Owner: to.id()},
			}
		}
		if c.Tellers.across(leg(w.clearing, w.b)) == nil || b.Tellers.across(leg(w.clearing, w.b)) == nil {
			t.Error("the channel is at one end of a leg, and not there")
		}
		if c.Tellers.across(leg(w.clearing, w.a)) != nil || b.Tellers.across(leg(w.a, w.b)) != nil {
			t.Error("a channel that there is not")
		}
		to := func(amount cypherlink.Amount, payee *player) *QuoteRequest {
			r := &QuoteRequest{Source: assetDE(), Destination: assetDCEP(), Amount: amount}
			if payee != nil {
				r.Payee = payee.id()
			}
			return r
		}
		from := func(lane cypherlink.Amount) *QuoteRequest {
			return &QuoteRequest{Source: assetDCEP(), Destination: assetDE(), Amount: 1000_00, Lane: lane}
		}
		costs, err := w.price.Source(1000_00)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name                string
			asker               *player
			request             *QuoteRequest
			source, destination bool
		}{
			{"more than the channel has", w.a, to(funds+1, w.b), false, false},
			{"as much as it has", w.a, to(funds-1, w.b), false, true},
			{"more than is left of it", w.a, to(2, w.b), false, false},
			{"what is left of it", w.a, to(1, w.b), false, true},
			{"to a bank without a channel", w.b, to(1, w.a), false, false},
			{"to nobody that is known", w.a, to(1, nil), false, false},
			{"out of a channel", w.b, from(costs), true, false},
			{"out of a channel with too little", w.b, from(costs - 1), false, false},
			{"out of a channel that there is not", w.a, from(costs), false, false},
		} {
			q, err := c.Quote(t.Context(), tt.asker.id(), tt.request)
			if err != nil {
				t.Fatal(tt.name, err)
			}
			if got := q.Quote.Source.Account.Number == ledger.ChannelNumber; got != tt.source {
				t.Errorf("%s: the source is in a channel: %v", tt.name, got)
			}
			if got := q.Quote.Destination.Account.Number == ledger.ChannelNumber; got != tt.destination {
				t.Errorf("%s: the destination is in a channel: %v", tt.name, got)
			}
		}
	})
}

// What is promised of a channel is not released to the bank's account, although it is above its band; and a
// quote that was given before, to the same request, promises nothing again.
func TestPromisedMoneyStays(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.stop(w.a)
		w.band = Band{Low: 1, Target: 2, High: funds}
		a = w.startBank(w.a)
		free := func(want cypherlink.Amount) {
			t.Helper()
			w.eventually("the channel has it", func() bool {
				ch, err := a.Tellers.Channel(t.Context(), id)
				return err == nil && ch.Synced && ch.Free == want
			})
		}
		free(funds)
		until := time.Now().Add(time.Hour)
		if !a.Tellers.earmark(cypherlink.Hash{1}, earmark{w.b.id(), assetDCEP(), funds, until}) {
			t.Fatal("the money is not there")
		}
		if _, err := a.Tellers.Order(t.Context(), id, FundOrder{funds}, []byte("more"), "fund-2"); err != nil {
			t.Fatal(err)
		}
		free(2 * funds)
		time.Sleep(time.Minute)
		ch, err := a.Tellers.Channel(t.Context(), id)
		if err != nil || ch.Releases != 0 {
			t.Errorf("%d releases, %v", ch.Releases, err)
		}
		a.Tellers.forgo(cypherlink.Hash{1})
		w.eventually("it is released", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Releases == 1
		})
	})
	playChannel(t, func(t *testing.T, w *channelWorld, _, b *Connect) {
		c := w.startClearing()
		w.openedBy(c.Tellers, b.Tellers)
		r := &QuoteRequest{Source: assetDE(), Destination: assetDCEP(), Amount: 10, Payee: w.b.id()}
		for range 3 {
			if _, _, err := c.QuoteOnce(t.Context(), w.a.id(), r, []byte("quote"), "key"); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.Tellers.spare(w.b.id(), assetDCEP()); got != funds-10 {
			t.Errorf("%d are left, want %d", got, funds-10)
		}
	})
}

// A connector that is asked while it starts answers once it has its channels: it would else refuse what it has
// quoted in them.
func TestConnectorReadyWithItsChannels(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, _, b *Connect) {
		w.openedBy(w.startClearing().Tellers, b.Tellers)
		w.stop(w.clearing)
		c := w.newClearing()
		answer := make(chan []byte, 1)
		go func() {
			request := QuoteRequest{Source: assetDE(), Destination: assetDCEP(), Amount: 1, Payee: w.b.id()}
			raw, err := c.Serve(t.Context(), w.a.id(), KindQuote, request.Encode())
			if err != nil {
				t.Error(err)
			}
			answer <- raw
		}()
		synctest.Wait()
		if len(answer) > 0 {
			t.Error("it answers before")
		}
		w.run(w.clearing, c.Store, &process{clearing: c, serve: c.Serve}, c.Run)
		q, err := connector.DecodeQuote(<-answer, w.genesis)
		if err != nil || q.Quote.Asker != w.a.id() {
			t.Errorf("%+v, %v", q, err)
		}
	})
}
