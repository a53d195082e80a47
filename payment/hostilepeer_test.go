package payment

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
)

// B1: two contents in one slot, both signed by their payer: the second is refused and kept as evidence,
// nothing more is signed, the operator is told, and the chain closes the channel with what is certified.
func TestEquivocation(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(unwritten)
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		one := channels.Pay{Payment: uetr, Amount: 10_00, Terms: w.promised(b, uetr)}
		other := channels.Pay{Payment: uetr, Amount: 1, Terms: one.Terms}
		for _, pay := range []channels.Pay{one, other} {
			if err := w.speaks(w.a, b, id, channels.Offer{Entry: w.writes(w.a, id, pay)}); err != nil {
				t.Fatal(err)
			}
			w.eventually("the first is countersigned", func() bool {
				shown := b.Tellers.teller(id).shown.Load()
				return shown.Lanes[shown.Own.Other()].Certified == 1
			})
		}
		w.eventually("the operator is told", func() bool { return len(b.Tellers.teller(id).shown.Load().Alerts) > 0 })
		w.eventually("the channel is closed", func() bool {
			ch, err := b.Tellers.Channel(t.Context(), id)
			return err == nil && ch.State == channels.Closed
		})
		w.until(b, uetr, StatusPosted, StatusCompleted)
		if got := w.books[w.b.id()].balance; got != 10_00 {
			t.Errorf("the creditor has %d", got)
		}
	})
}

// C5, B5, K10: everything that a bank has ever said in a channel, said again in any order, also by another
// bank or in another channel, changes nothing.
func TestReplayOfTalk(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		var said [][]byte
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindLane && c.to == w.b.id() {
				w.mu.Lock()
				said = append(said, c.body)
				w.mu.Unlock()
			}
			return c.serve()
		})
		for i := range 4 {
			w.until(a, w.pays(a, i, w.a, w.b, "10.00"), StatusCompleted)
			w.until(b, w.pays(b, 10+i, w.b, w.a, "1.00"), StatusCompleted)
		}
		w.mu.Lock()
		all := said
		w.mu.Unlock()
		before, err := b.Tellers.Channel(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			body := all[len(all)-1-i]
			if _, err := b.Serve(t.Context(), w.clearing.id(), KindLane, body); err == nil {
				t.Fatal("another bank's talk is taken")
			}
			if _, err := b.Serve(t.Context(), w.a.id(), KindLane, body); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		after, err := b.Tellers.Channel(t.Context(), id)
		if err != nil || after.Lanes != before.Lanes || len(after.Alerts) > 0 {
			t.Errorf("%+v, then %+v: %v, %v", before.Lanes, after.Lanes, after.Alerts, err)
		}
		for who, want := range map[*player]cypherlink.Amount{w.a: -36_00, w.b: 36_00} {
			if got := w.books[who.id()].balance; got != want {
				t.Errorf("the books of %s moved by %d, want %d", who.Name, got, want)
			}
		}
		w.until(a, w.pays(a, 20, w.a, w.b, "10.00"), StatusCompleted)
	})
}

// A5: a share on a joint action that is not the other bank's is refused before anything hears of it, and
// answered by no signature of this bank's.
func TestForgedShares(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		ch, err := b.Tellers.Channel(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		start := channels.Point{Head: channels.Head{Hash: cypherlink.Hash(id), Locks: channels.LockRoot(nil)}}
		j := channels.Joint{
			Channel: id, Proposer: ch.Own.Other(), Counter: 1 << 40, Do: channels.Settlement{},
			Points: [2]channels.Point{start, start}, ValidUntil: ch.Now.S + 2,
		}
		roster, err := b.Tellers.teller(id).roster()
		if err != nil {
			t.Fatal(err)
		}
		for name, by := range map[string]*player{"nobody's": nil, "mallory's": w.mallory, "its own": w.b} {
			var share cosi.Signature
			if by != nil {
				share, err = by.key.SignRecorded(j.Frame(w.genesis.Network(), roster.Root()))
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, m := range []channels.Message{channels.Proposal{Joint: j, Share: share}, channels.Consent{Joint: j, Share: share}} {
				if err := w.speaks(w.a, b, id, m); err == nil {
					t.Errorf("%s: %T is taken", name, m)
				}
			}
		}
		time.Sleep(3 * time.Second)
		if ch, err := b.Tellers.Channel(t.Context(), id); err != nil || ch.State != channels.Opened {
			t.Errorf("%+v, %v", ch, err)
		}
	})
}

// B11, and the chain down for a while: what is signed meanwhile waits, nobody is told that it will settle
// by a view that is too old, and all of it ends once there are blocks again.
func TestChainDown(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
		w.chain.Halt(true)
		time.Sleep(time.Duration(lanes().LagS+2) * time.Second)
		var all []cypherlink.UETR
		for i := range 5 {
			all = append(all, w.pays(a, 10+i, w.a, w.b, "10.00"))
		}
		time.Sleep(10 * time.Second)
		for _, uetr := range all {
			if p, err := a.Payment(t.Context(), uetr); err != nil || p.Status == StatusSigned2 || p.Status.Final() {
				t.Errorf("%+v, %v", p, err)
			}
		}
		w.chain.Halt(false)
		moved := cypherlink.Amount(10_00)
		for _, uetr := range all {
			if p := w.until(a, uetr, StatusCompleted, StatusAborted, StatusRejected); p.Status == StatusCompleted {
				moved += 10_00
			}
		}
		w.eventually("both books have it", func() bool {
			return w.books[w.a.id()].balance == -moved && w.books[w.b.id()].balance == moved
		})
		ch, err := a.Tellers.Channel(t.Context(), id)
		if err != nil || ch.Balance(ch.Own) != int64(funds-moved) {
			t.Errorf("%+v, %v", ch, err)
		}
	})
}

// B8: a release to which the other bank does not consent moves nothing, and what it set aside is free again
// when it is too late for it.
func TestReleaseWithSilentBank(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(func(c call) ([]byte, error) {
			if c.kind == KindLane {
				return nil, errDown
			}
			return c.serve()
		})
		if _, err := order(t, a, id, ReleaseOrder{funds}, "all"); err != nil {
			t.Fatal(err)
		}
		if free := a.Tellers.teller(id).shown.Load().Free; free != 0 {
			t.Errorf("%d are free while a release may happen", free)
		}
		time.Sleep(time.Duration(lanes().JointS+2) * time.Second)
		w.setFault(nil)
		w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
		if ch, err := a.Tellers.Channel(t.Context(), id); err != nil || ch.Releases != 0 || ch.Funds[ch.Own] != funds {
			t.Errorf("%+v, %v", ch, err)
		}
	})
}

// A bank is revoked: its channels close of themselves, what both have signed is settled, what was signed and
// is not bound is not, and both banks' money is where it belongs.
func TestRevocationCloses(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.until(a, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
		w.setFault(func(c call) ([]byte, error) { // the last payment is signed by its payer alone
			if c.kind == KindLane {
				return nil, errDown
			}
			return c.serve()
		})
		uetr := w.pays(b, 2, w.b, w.a, "3.00")
		w.until(b, uetr, StatusSigned1)
		revoke := &chain.Revoke{ID: w.a.id()}
		registry := w.chain.Registry().Registry
		change := chaintest.Certify(t, registry, registry.Version()+1, revoke, w.authority.key)
		err := w.chain.HandIn(t.Context(), state.RegistryChange{Certified: change}, func() (bool, error) {
			return w.chain.Registry().Version() > registry.Version(), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.eventually("the channel is closed", func() bool {
			ch, err := b.Tellers.Channel(t.Context(), id)
			return err == nil && ch.State == channels.Closed
		})
		w.until(b, uetr, StatusAborted)
		for who, want := range map[*player]cypherlink.Amount{w.a: -10_00, w.b: 10_00} {
			if got := w.account(who); got != openingAmount+want {
				t.Errorf("the account of %s has %d, want %d", who.Name, got, openingAmount+want)
			}
		}
		w.eventually("the hold is released", func() bool { return w.books[w.b.id()].balance == 10_00 })
	})
}
