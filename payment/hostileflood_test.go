package payment

import (
	"errors"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// A bank that says more than can be heard costs no more than the queue, and is told so; what it says after
// that is heard again.
func TestFloodOfTalk(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		v, err := a.Tellers.Chain.View(id, nil)
		if err != nil {
			t.Fatal(err)
		}
		idle, err := a.Tellers.newTeller(t.Context(), &v) // nobody runs it: it hears, and takes nothing
		if err != nil {
			t.Fatal(err)
		}
		talk := &LaneTalk{Channel: id}
		for range maxLaneMessages {
			talk.Messages = append(talk.Messages, channels.Refusal{Text: string(make([]byte, 100))})
		}
		size := len(talk.Encode())
		refused := 0
		for range 3 * heardQueued / size {
			if err := idle.heardFrom(talk, size); err != nil {
				refusal, ok := errors.AsType[*cypherlink.Error](err)
				if !ok || refusal.Code != CodeUnready {
					t.Fatal(err)
				}
				refused++
			}
		}
		if most := heardQueued / size * maxLaneMessages; len(idle.inbox) > most || refused == 0 {
			t.Errorf("%d messages wait, %d talks were refused", len(idle.inbox), refused)
		}
		idle.takeAll()
		if err := idle.heardFrom(talk, size); err != nil {
			t.Error(err)
		}
	})
}

// B1: a bank that asks again and again what it lacks is not sent a window of it each time.
func TestFloodOfResyncs(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		id := w.opened(a, b)
		sent := 0
		w.setFault(func(c call) ([]byte, error) {
			if c.kind != KindLane || c.from != w.a.id() {
				return c.serve()
			}
			talk, err := DecodeLaneTalk(c.body)
			if err == nil {
				w.mu.Lock()
				sent += len(talk.Messages)
				w.mu.Unlock()
			}
			return nil, err // and lost
		})
		for i := range 8 {
			w.until(a, w.pays(a, i, w.a, w.b, "1.00"), StatusSigned1)
		}
		w.mu.Lock()
		before := sent
		w.mu.Unlock()
		resync := channels.Resync{Session: 1, Echo: a.Tellers.session}
		for range 20 {
			if err := w.speaks(w.b, a, id, resync, resync, resync, resync, resync); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		w.mu.Lock()
		after := sent
		w.mu.Unlock()
		if after-before > 4*8 {
			t.Errorf("80 questions brought %d messages", after-before)
		}
	})
}
