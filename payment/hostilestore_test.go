package payment

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// keep copies a stopped bank's store, and gives what puts the copy back.
func (w *channelWorld) keep(of *player) (restore func()) {
	w.tb.Helper()
	file := filepath.Join(w.dir, of.BIC.String()+".db")
	raw, err := os.ReadFile(file)
	if err != nil {
		w.tb.Fatal(err)
	}
	return func() {
		for _, suffix := range []string{"-wal", "-shm"} {
			if err := os.Remove(file + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				w.tb.Fatal(err)
			}
		}
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			w.tb.Fatal(err)
		}
	}
}

// once lets a Validator sign each payment in one update only, as rule V asks where no generation ends.
func once() fault {
	var mu sync.Mutex
	carried := map[cypherlink.UETR]cypherlink.Hash{}
	return func(c call) ([]byte, error) {
		if c.kind != KindEndorse {
			return c.serve()
		}
		r, err := DecodeEndorseRequest(c.body)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		for _, w := range r.Warrants {
			if in, ok := carried[w.Terms.UETR]; ok && in != r.Update.Hash {
				return nil, unwarranted("AM05", "it is carried already", nil)
			}
		}
		for _, w := range r.Warrants {
			carried[w.Terms.UETR] = r.Update.Hash
		}
		return c.serve()
	}
}

// B9, A11: either bank's store is an old copy of itself, and says so or not. Nothing is signed twice: the
// lanes go on in the next generation, and with the money that the chain has. A payment that the copy
// believes to be unsigned, and that was paid, is neither paid again nor refunded.
func TestRestoredStore(t *testing.T) {
	for name, flag := range map[string]bool{"told": true, "not told": false} {
		t.Run("the payer's, "+name, func(t *testing.T) { playChannel(t, restoredPayer(flag)) })
		t.Run("the payee's, "+name, func(t *testing.T) { playChannel(t, restoredPayee(flag)) })
	}
}

func restoredPayer(flag bool) func(t *testing.T, w *channelWorld, a, b *Connect) {
	return func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.setFault(unwritten)
		uetr := w.pays(a, 1, w.a, w.b, "10.00")
		w.until(a, uetr, StatusReserved)
		w.stop(w.a)
		restore := w.keep(w.a)
		w.setFault(once())
		a = w.startBank(w.a)
		w.until(a, uetr, StatusCompleted)
		w.until(b, uetr, StatusCompleted)
		w.stop(w.a)
		restore()
		w.restored = flag
		a = w.startBank(w.a)
		w.restored = false
		w.eventually("the generations are new", func() bool {
			ch, err := a.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Synced && ch.Lanes[0].Gen > 0 && ch.Lanes[1].Gen > 0
		})
		w.until(a, w.pays(a, 2, w.a, w.b, "20.00"), StatusCompleted)
		w.until(b, w.pays(b, 3, w.b, w.a, "5.00"), StatusCompleted)
		time.Sleep(20 * time.Second)
		p, err := a.Payment(t.Context(), uetr)
		if err != nil || p.Status != StatusReserved {
			t.Errorf("the payment that was lost is %+v, %v", p, err)
		}
		ch, err := a.Tellers.Channel(t.Context(), id)
		if err != nil || ch.Balance(ch.Own) != funds-25_00 || len(ch.Alerts) == 0 {
			t.Errorf("%+v, %v", ch, err)
		}
		if got := w.books[w.a.id()]; got.count("release") != 0 || got.balance != -25_00 {
			t.Errorf("%d releases, the books moved by %d", got.count("release"), got.balance)
		}
	}
}

func restoredPayee(flag bool) func(t *testing.T, w *channelWorld, a, b *Connect) {
	return func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.until(b, w.pays(a, 1, w.a, w.b, "10.00"), StatusCompleted)
		w.stop(w.b)
		restore := w.keep(w.b)
		b = w.startBank(w.b)
		w.until(b, w.pays(a, 2, w.a, w.b, "20.00"), StatusCompleted)
		w.until(a, w.pays(b, 3, w.b, w.a, "5.00"), StatusCompleted)
		w.stop(w.b)
		restore()
		w.restored = flag
		b = w.startBank(w.b)
		w.restored = false
		w.eventually("the generations are new", func() bool {
			ch, err := b.Tellers.Channel(t.Context(), id)
			return err == nil && ch.Synced && ch.Lanes[0].Gen > 0 && ch.Lanes[1].Gen > 0
		})
		for i, from := range []*player{w.a, w.b} {
			c, to := a, w.b
			if from == w.b {
				c, to = b, w.a
			}
			w.until(c, w.pays(c, 10+i, from, to, "1.00"), StatusCompleted)
		}
		ch, err := b.Tellers.Channel(t.Context(), id)
		if err != nil || ch.Balance(ch.Own) != funds+25_00 || ch.State != channels.Opened {
			t.Errorf("%+v, %v", ch, err)
		}
	}
}
