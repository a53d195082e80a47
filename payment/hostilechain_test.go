package payment

import (
	"context"
	"crypto/rand"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
)

// The tests of this file play what a bank leans on and that fails it: its own follower, the committee, its
// own process.

// A follower that cannot be read is one that stands still: what it showed last counts until that is older
// than the lag, then nothing is bound any more and the operator is told, and all goes on once it can be
// read again.
func TestChainCannotBeRead(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
		w.chain.OnView(func() error { return errDown })
		begun := time.Now()
		w.until(a, w.pays(a, 2, w.a, w.b, "20.00"), StatusSigned2)
		if took := time.Since(begun); took >= time.Duration(lanes().LagS)*time.Second {
			t.Fatalf("bound after %v, by a view that is too old", took)
		}
		time.Sleep(time.Duration(lanes().LagS+2) * time.Second)
		for of, c := range map[string]*Connect{"A": a, "B": b} {
			shown := c.Tellers.teller(id).shown.Load()
			if shown.State != channels.Opened || shown.Funds != [2]int64{funds, funds} {
				t.Errorf("bank %s shows %+v", of, shown.Channel)
			}
			behind := func(alert string) bool { return strings.Contains(alert, "follower is behind") }
			if !slices.ContainsFunc(shown.Alerts, behind) {
				t.Errorf("the operator of bank %s is told %q", of, shown.Alerts)
			}
		}
		uetr := w.pays(a, 3, w.a, w.b, "30.00")
		time.Sleep(2 * time.Second)
		if way := w.way(a, uetr); slices.Contains(way, StatusSigned2) {
			t.Errorf("the way was %v", way)
		}
		w.chain.OnView(nil)
		w.until(a, uetr, StatusCompleted)
		if got := w.books[w.b.id()].balance; got != 60_00 {
			t.Errorf("the creditors have %d", got)
		}
	})
}

// Joint actions that the other bank has signed and this one refuses leave nothing behind in its teller,
// however many there are.
func TestRefusedSharesAreForgotten(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		tell := b.Tellers.teller(id)
		w.stop(w.a) // it says nothing else
		time.Sleep(5 * time.Second)
		roster, err := tell.roster()
		if err != nil {
			t.Fatal(err)
		}
		start := channels.Point{Head: channels.Head{Hash: cypherlink.Hash(id), Locks: channels.LockRoot(nil)}}
		hear := func(counter uint64) {
			j := channels.Joint{
				Channel: id, Proposer: tell.own.Other(), Counter: counter, Do: channels.Settlement{},
				Points: [2]channels.Point{start, start}, ValidUntil: 1, // long ago
			}
			share, err := w.a.key.SignRecorded(j.Frame(w.genesis.Network(), roster.Root()))
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []channels.Message{channels.Proposal{Joint: j, Share: share}, channels.Consent{Joint: j, Share: share}} {
				if err := w.speaks(w.a, b, id, m); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		hear(1)
		before := entries(reflect.ValueOf(tell).Elem())
		for counter := range uint64(30) {
			hear(2 + counter)
		}
		if after := entries(reflect.ValueOf(tell).Elem()); after > before {
			t.Errorf("the teller keeps %d entries, %d before", after, before)
		}
	})
}

// entries counts what is in the maps and lists of a struct, and of the party and the locks that it points to.
func entries(of reflect.Value) (n int) {
	for _, f := range of.Fields() {
		if f.Type() == reflect.TypeFor[*channels.Party]() || f.Type() == reflect.TypeFor[*tellerLocks]() {
			f = f.Elem()
		}
		if f.Kind() == reflect.Map || f.Kind() == reflect.Slice {
			n += f.Len()
		}
		if f.Kind() == reflect.Struct {
			n += entries(f)
		}
	}
	return n
}

// What the chain refuses is handed in again after a while, not at once: a funding for which the account has
// too little costs the committee two transactions a second, however many blocks there are.
func TestPauseAfterARefusal(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		before := w.chain.Refused()
		if _, err := order(t, a, id, FundOrder{w.account(w.a) + 1}, "too-much"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * lanes().Resend)
		if n := w.chain.Refused() - before; n < 5 || n > 20 {
			t.Errorf("handed in %d times in %v, with %v after each refusal", n, 20*lanes().Resend, lanes().Resend)
		}
	})
}

// An order that the bank has not carried out when it stops ends with it: whoever gave it is told that the
// bank has stopped, and not left to wait.
func TestOrderEndsWithTheBank(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		stands := make(chan struct{})
		w.chain.OnView(func() error { <-stands; return nil })
		time.Sleep(2 * freshness) // the teller looks, and stands still
		told := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := a.Tellers.Order(ctx, id, ReleaseOrder{1}, []byte("release"), "release")
			told <- err
		}()
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			w.stop(w.a)
			close(stopped)
		}()
		synctest.Wait()
		w.chain.OnView(nil)
		close(stands)
		if err := <-told; !errors.Is(err, connector.ErrStopped) {
			t.Errorf("told %v", err)
		}
		<-stopped
	})
}

// A payment whose machine does not take what its channel says is not the one in the store: nothing of that
// turn is written, and the bank stops with an error that names it.
func TestMachineAgainstChannel(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		w.until(a, uetr, StatusCompleted)
		log, err := a.logOf(t.Context(), uetr)
		if err != nil {
			t.Fatal(err)
		}
		reserved := slices.IndexFunc(log, func(e Event) bool { _, ok := e.Fact.(Held); return ok }) + 1
		m, err := NewOutgoing(a.Bank, rand.Reader, log[:reserved])
		if err != nil || !m.InChannel() {
			t.Fatal(m.Status(), err)
		}
		v, err := a.Tellers.Chain.View(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		idle, err := a.Tellers.newTeller(t.Context(), &v)
		if err != nil {
			t.Fatal(err)
		}
		pay := newOutgoingLive(uetr, m, reserved).operation()
		n, before := idle.begin(), idle.sequence
		n.persist = append(n.persist, channels.Learned{})
		told := InLane{ // bound, and never signed
			Laned{Binding, id, channels.Slot{Seq: 1}, cypherlink.Hash{1}},
			w.a.id(), pay.Terms,
			Money{assetDCEP(), pay.Amount},
		}
		n.pay(newOutgoingLive(uetr, m, reserved), told)
		if err := idle.end(t.Context(), n); !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), uetr.String()) {
			t.Error(err)
		}
		if again, err := a.Tellers.newTeller(t.Context(), &v); err != nil || again.sequence != before {
			t.Errorf("%d events, %d before: %v", again.sequence, before, err)
		}
	})
}
