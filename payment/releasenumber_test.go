package payment

import (
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/channels"
)

// Of one number the chain takes one release, and does not say whose. A key stands for its own alone: what came to
// nothing is asked for again, whichever other one took its number, over a crash too.
func TestReleaseNumberIsTaken(t *testing.T) {
	void := func(t *testing.T, w *channelWorld, a *Connect, id channels.ID) {
		w.setFault(hush)
		if replayed, err := order(t, a, id, ReleaseOrder{7}, "seven"); err != nil || replayed {
			t.Fatal(replayed, err)
		}
		time.Sleep(time.Duration(lanes().JointS+2) * time.Second)
		w.setFault(nil)
	}
	for name, taken := range map[string]func(t *testing.T, w *channelWorld, a, b *Connect, id channels.ID){
		"by the other bank's later": func(t *testing.T, w *channelWorld, a, b *Connect, id channels.ID) {
			void(t, w, a, id)
			w.asks(b, id, ReleaseOrder{5}, "five")
		},
		"by an own later one": func(t *testing.T, w *channelWorld, a, _ *Connect, id channels.ID) {
			void(t, w, a, id)
			w.asks(a, id, ReleaseOrder{5}, "five")
		},
		"by the other bank's at once": func(t *testing.T, w *channelWorld, a, b *Connect, id channels.ID) {
			var both sync.WaitGroup
			both.Go(func() { _, _ = order(t, a, id, ReleaseOrder{7}, "seven") })
			both.Go(func() { _, _ = order(t, b, id, ReleaseOrder{5}, "five") })
			both.Wait()
			time.Sleep(time.Duration(lanes().JointS+2) * time.Second)
			w.asks(b, id, ReleaseOrder{5}, "five")
		},
	} {
		t.Run(name, func(t *testing.T) {
			playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
				id := w.opened(a, b)
				taken(t, w, a, b, id)
				w.stop(w.a)
				a = w.startBank(w.a)
				w.asks(a, id, ReleaseOrder{7}, "seven")
				v, err := w.chain.View(id, nil)
				if err != nil || v.Channel.Releases != 2 || v.Channel.Total() != 2*funds-12 {
					t.Errorf("%d releases, %d are left, %v", v.Channel.Releases, v.Channel.Total(), err)
				}
			})
		})
	}
}

// asks asks for a release until its key stands for it.
func (w *channelWorld) asks(c *Connect, id channels.ID, o ReleaseOrder, key string) {
	w.tb.Helper()
	w.eventually(key+" is released", func() bool {
		replayed, _ := c.Tellers.Order(w.tb.Context(), id, o, []byte(key), key)
		ch, err := c.Tellers.Channel(w.tb.Context(), id)
		return err == nil && replayed && ch.Synced
	})
	time.Sleep(time.Duration(lanes().JointS+2) * time.Second)
}

// Two banks that have more in their channel than they want release it one after the other.
func TestBothRebalanceAtOnce(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		w.stop(w.a)
		w.stop(w.b)
		w.band = Band{Low: 1, Target: 2, High: funds / 2}
		w.startBank(w.a)
		w.startBank(w.b)
		w.eventually("both have released", func() bool {
			v, err := w.chain.View(id, nil)
			return err == nil && v.Channel.Releases == 2
		})
	})
}
