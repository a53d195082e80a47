package payment

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// crash stops a participant from within one of its own or others' calls, and starts it again a
// second later. Whoever is in the midst of it learns nothing.
func (w *world) crash(of *player, restarted chan<- *Connect) {
	go func() {
		w.stop(of)
		time.Sleep(time.Second)
		if of == w.clearing {
			w.startClearing()
			restarted <- nil
			return
		}
		restarted <- w.startBank(of)
	}()
}

// recover runs a payment in which something crashes once, and wants it to come to an end on
// which all agree.
func (w *world) recovers(a, b *Connect, restarted <-chan *Connect, of *player) Status {
	w.tb.Helper()
	uetr := w.submit(a, 1)
	fresh := <-restarted
	switch of {
	case w.a:
		a = fresh
	case w.b:
		b = fresh
	}
	p := w.until(a, uetr, StatusSettled, StatusRejected, StatusExpired)
	time.Sleep(time.Minute) // whatever is still under way
	q, err := b.Payment(w.tb.Context(), uetr)
	switch {
	case p.Status == StatusSettled:
		w.moved(1)
		if err != nil || q.Status != StatusSettled {
			w.tb.Errorf("settled at the payer's, %+v, %v at the payee's", q, err)
		}
		w.evidence(a, uetr)
	case err == nil && q.Status == StatusSettled:
		w.tb.Errorf("%s at the payer's, settled at the payee's", p.Status)
	default:
		w.moved(0)
		if p.Refusal == nil || p.Refusal.Reason == "" {
			w.tb.Errorf("no reason: %+v", p)
		}
	}
	if again, _ := a.Payment(w.tb.Context(), uetr); again.Status != p.Status {
		w.tb.Errorf("the end was left: %s", again.Status)
	}
	return p.Status
}

// TestCrashAtEveryCall: at every call of a payment, before it arrives and after it was
// answered, each of the three goes down and comes back.
func TestCrashAtEveryCall(t *testing.T) {
	const calls = 10
	stride := 1
	if testing.Short() {
		stride = 17
	}
	run, settled := 0, 0
	for n := range calls {
		for _, answered := range []bool{false, true} {
			for who, name := range []string{"payer", "payee", "connector"} {
				if run++; run%stride != 0 {
					continue
				}
				t.Run(fmt.Sprintf("call %d, answered %v, %s", n+1, answered, name), func(t *testing.T) {
					play(t, func(_ *testing.T, w *world, a, b *Connect) {
						of := []*player{w.a, w.b, w.clearing}[who]
						restarted := make(chan *Connect, 1)
						var seen atomic.Int32
						w.setFault(func(c call) ([]byte, error) {
							if int(seen.Add(1)) != n+1 {
								return c.serve()
							}
							if answered {
								_, _ = c.serve()
							}
							w.crash(of, restarted)
							if c.from == of.id() {
								<-c.ctx.Done()
								return nil, c.ctx.Err()
							}
							return nil, errDown
						})
						if w.recovers(a, b, restarted, of) == StatusSettled {
							settled++
						}
					})
				})
			}
		}
	}
	if settled == 0 {
		t.Error("no payment survived")
	}
}

// TestCrashAtEveryCommand: before a command reaches its ledger, and after it took effect, whoever
// sends it goes down and comes back. From the preimage on, everything completes.
func TestCrashAtEveryCommand(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ledger cypherlink.LedgerID
		kind   string
		of     func(w *world) *player
	}{
		{"the payer's prepare", "de", "prepare", func(w *world) *player { return w.a }},
		{"the connector's prepare", "cypherium", "prepare", func(w *world) *player { return w.clearing }},
		{"the payee's confirm", "cypherium", "confirm", func(w *world) *player { return w.b }},
		{"the connector's confirm", "de", "confirm", func(w *world) *player { return w.clearing }},
	} {
		for _, applied := range []bool{false, true} {
			if testing.Short() && !applied {
				continue // the harder half
			}
			t.Run(fmt.Sprintf("%s, applied %v", tt.name, applied), func(t *testing.T) {
				play(t, func(t *testing.T, w *world, a, b *Connect) {
					of, restarted := tt.of(w), make(chan *Connect, 1)
					var once atomic.Bool
					hook := func(c *ledger.SignedCommand) error {
						if kindOf(c) != tt.kind || once.Swap(true) {
							return nil
						}
						w.crash(of, restarted)
						return errDown
					}
					l := w.de
					if tt.ledger == "cypherium" {
						l = w.cypherium
					}
					l.set(func(l *memoryLedger) {
						if applied {
							l.after = hook
						} else {
							l.before = hook
						}
					})
					if got := w.recovers(a, b, restarted, of); got != StatusSettled {
						t.Errorf("%s", got)
					}
				})
			})
		}
	}
}

func kindOf(c *ledger.SignedCommand) string {
	switch c.Command.(type) {
	case *ledger.Prepare:
		return "prepare"
	case *ledger.Confirm:
		return "confirm"
	case *ledger.Return, *ledger.Leave, *ledger.Enter:
	}
	return "return"
}

// TestBothBanksDownTogether, in the middle of many payments, again and again.
func TestBothBanksDownTogether(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		rounds, each := 4, 5
		if testing.Short() {
			rounds, each = 2, 3
		}
		w.de.set(func(l *memoryLedger) { l.delay = 300 * time.Millisecond })
		w.cypherium.set(func(l *memoryLedger) { l.delay = 300 * time.Millisecond })
		var uetrs []cypherlink.UETR
		for round := range rounds {
			for i := range each {
				uetrs = append(uetrs, w.submit(a, round*each+i))
			}
			time.Sleep(time.Duration(round*200) * time.Millisecond)
			w.stopAll()
			w.startClearing()
			b = w.startBank(w.b)
			a = w.startBank(w.a)
		}
		var settled cypherlink.Amount
		for _, uetr := range uetrs {
			if w.until(a, uetr, StatusSettled, StatusRejected, StatusExpired).Status == StatusSettled {
				settled++
				w.until(b, uetr, StatusSettled)
			}
		}
		time.Sleep(time.Minute)
		w.moved(settled)
		if settled == 0 {
			t.Error("no payment survived")
		}
	})
}

// TestAStoredProofIsActedOn: whoever presented it goes away as soon as it is stored, and never asks
// again. The paid bank's payment ends all the same.
func TestAStoredProofIsActedOn(t *testing.T) {
	play(t, func(t *testing.T, w *world, a, b *Connect) {
		patience, gone := context.WithCancel(t.Context())
		b.Changed = func(p *Payment) {
			if p.Status == StatusAgreed {
				gone()
			}
		}
		var once atomic.Bool
		w.setFault(func(c call) ([]byte, error) {
			if c.kind != KindCertify {
				return c.serve()
			}
			if !once.Swap(true) {
				_, _ = b.Serve(patience, c.from, c.kind, c.body)
			}
			return nil, errDown
		})
		uetr := w.submit(a, 1)
		w.until(a, uetr, StatusRejected)
		w.until(b, uetr, StatusExpired)
		w.moved(0)
	})
}

// TestTheCursorStaysBehindWhatIsStored: a receipt that a payment could not store is read again
// after the next start.
func TestTheCursorStaysBehindWhatIsStored(t *testing.T) {
	w := newWorld(t)
	c := w.newBank(w.a)
	defer func() {
		if err := c.Store.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := newScene(t, w.network)
	proof := s.agreed()
	l := newLive(proof.Terms.UETR)
	l.machine = s.out
	l.sequence = int64(len(s.events)) // that the store does not have, so it refuses what follows
	ids, _ := s.out.Custodies()
	c.enlist(l, proof.Terms.Hash(), ids[:]...)
	driven := make(chan error, 1)
	go func() {
		_, err := c.drive(t.Context(), l)
		driven <- err
	}()
	reader := &witness{connect: c, topic: "witness/de"}
	err := reader.see(t.Context(), ledger.Event{Cursor: witnessLag, Receipt: ledger.Receipt{
		Ledger: "de", Sequence: 1, TimeMS: sceneStart * 1000,
		Custody: ledger.Custody{ID: ids[terms.Source], State: ledger.Prepared},
	}})
	if err != nil {
		t.Error(err)
	}
	if err := <-driven; !errors.Is(err, store.ErrConflict) {
		t.Errorf("the payment goes on: %v", err)
	}
	if reader.stored != 0 {
		t.Errorf("the cursor is stored at %d", reader.stored)
	}
}
