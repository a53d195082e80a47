package laneledger_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/payment"
)

// logbook is what an operator reads.
type logbook struct {
	mu  sync.Mutex
	all strings.Builder
}

// Write is io.Writer's.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// says tells whether a line has all of it.
func (l *logbook) says(all ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.all.String()) {
		has := true
		for _, s := range all {
			has = has && strings.Contains(line, s)
		}
		if has {
			return true
		}
	}
	return false
}

// forged is the first update of a bank's lane, which makes a lock, with all signatures but its payee's: the
// bank's own, and those of Validators who sign whatever they are asked.
func (s *strait) forged(by ledgertest.Actor, lock channels.Lock) channels.Entry {
	s.Helper()
	v, err := s.chain.View(s.id, nil)
	if err != nil {
		s.Fatal(err)
	}
	side, _ := v.Channel.Side(by.ID)
	ops := []channels.Operation{lock}
	u := channels.Update{
		Channel: s.id, Lane: side, Prev: cypherlink.Hash(s.id), Body: channels.BodyRoot(ops),
		Head: channels.Head{Seq: 1, Locked: lock.Amount, Locks: channels.LockRoot([]channels.Lock{lock})},
	}
	c := s.Certificate(u)
	return channels.Entry{Update: c.Update, Operations: ops, Peer: c.Payer, Endorsements: c.Endorsements}
}

// says has one bank say something in the channel, past its own Connect.
func (s *strait) says(from, to ledgertest.Actor, m channels.Message) error {
	talk := payment.LaneTalk{Channel: s.id, Messages: []channels.Message{m}}
	_, err := s.end(to).connect.Serve(s.Context(), from.ID, payment.KindLane, talk.Encode())
	return err
}

// H9: the lock that comes is not the leg that was prepared: of another amount, until another time, under another
// condition. It is nobody's custody, and its preimage is not released for it.
func TestH9LockDiffersFromItsLeg(t *testing.T) {
	for name, change := range map[string]func(*channels.Lock){
		"amount": func(l *channels.Lock) { l.Amount = 1 },
		"expiry": func(l *channels.Lock) { l.Expiry-- },
		"condition": func(l *channels.Lock) {
			l.Condition = cypherlink.Preimage{9}.Condition()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := ledgertest.NewWorld()
			s := newStrait(t, w)
			book := &logbook{}
			s.halt(w.Bob)
			s.log = slog.New(slog.NewTextHandler(book, nil))
			s.start(w.Bob)
			s.seen(0)
			p := s.world.Payment("one", 700, s.now().Unix()+20)
			s.halt(w.Alice)
			if err := s.end(w.Bob).ledger.Take(t.Context(), w.Alice.ID, w.Prepare(p).Encode()); err != nil {
				t.Fatal(err)
			}
			lock, _ := payment.LockOf(w.Network, &p.Subject)
			change(&lock)
			if err := s.says(w.Alice, w.Bob, channels.Offer{Entry: s.forged(w.Alice, lock)}); err != nil {
				t.Fatal(err)
			}
			s.eventually("the update is signed", func() bool {
				ch, err := s.end(w.Bob).connect.Tellers.Channel(t.Context(), s.id)
				return err == nil && ch.Lanes[ch.Own.Other()].Certified == 1
			})
			if r, err := s.end(w.Bob).ledger.Lookup(t.Context(), w.ID(p)); err == nil && r.Custody.State != ledger.Absent {
				t.Errorf("it is a custody, %s", r.Custody.State)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if r, err := s.end(w.Bob).ledger.Submit(ctx, w.Confirm(w.Bob, p)); cypherlink.ErrorCode(err) != ledger.CodeUnknownCustody {
				t.Errorf("%s, %v", r.Custody.State, err)
			}
			v, err := s.chain.View(s.id, []cypherlink.Condition{p.Subject.Condition})
			if err != nil || len(v.Revealed) > 0 {
				t.Errorf("the preimage is on the chain: %v", err)
			}
			if !book.says("peer="+w.Alice.ID.String(), "not what was prepared") {
				t.Errorf("the operator is not told, in %s", book.all.String())
			}
		})
	}
}

// H8: the payee's process dies after it knows the preimage, and before the chain does: after its start it claims
// what it is owed without being told again.
func TestH8CrashBeforeTheClaim(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	s.muted(func(a channels.Action) bool { _, is := a.(channels.Reveal); return is })
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	s.submit(w.Alice, w.Prepare(p), ledger.Prepared)
	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan error, 1)
	go func() {
		_, err := s.end(w.Bob).ledger.Submit(ctx, w.Confirm(w.Bob, p))
		answer <- err
	}()
	s.eventually("the reveal is on its way", s.chain.Ignored)
	s.halt(w.Bob)
	cancel()
	if err := <-answer; err == nil {
		t.Error("it was confirmed before")
	}
	s.muted(nil)
	s.start(w.Bob)
	for _, of := range []ledgertest.Actor{w.Bob, w.Alice} {
		s.becomes(of, w.ID(p), ledger.Confirmed)
	}
}

// H2: the payer's bank takes the preimage from the chain, and never settles. Its payee is paid by the chain's word
// all the same, its operator is told, and closing the channel pays it out.
func TestH2PayerNeverSettles(t *testing.T) {
	w := ledgertest.NewWorld()
	s := newStrait(t, w)
	p := s.world.Payment("one", 700, s.now().Unix()+20)
	s.submit(w.Alice, w.Prepare(p), ledger.Prepared)
	s.setFault(func(from, _ cypherlink.ParticipantID, kind uint8) error {
		if from == w.Alice.ID && kind == payment.KindLane {
			return errDown
		}
		return nil
	})
	s.muted(func(a channels.Action) bool { _, is := a.(channels.Dispute); return is })
	s.submit(w.Bob, w.Confirm(w.Bob, p), ledger.Confirmed)
	s.until(p.Subject.Fields.Expiry + 1)
	bob := s.end(w.Bob).connect.Tellers
	s.eventually("the operator is told", func() bool {
		ch, err := bob.Channel(t.Context(), s.id)
		return err == nil && strings.Contains(strings.Join(ch.Alerts, "\n"), "does not settle")
	})
	before, _, err := s.chain.Balance(cypherlink.Account{Owner: w.Bob.ID}, w.Asset)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Order(t.Context(), s.id, payment.CloseOrder{}, []byte("close"), "close"); err != nil {
		t.Fatal(err)
	}
	s.eventually("the channel is closed", func() bool {
		v, err := s.chain.View(s.id, nil)
		if err != nil {
			t.Fatal(err)
		}
		side, _ := v.Channel.Side(w.Alice.ID)
		lane := &v.Channel.Lanes[side]
		// the window is longer than what Bob's bank takes to anchor the lock, and to list it
		awaited := v.Channel.State == channels.Closing && lane.Head.Locked != 700 ||
			v.Channel.State == channels.Frozen && lane.Listed == nil
		if !awaited {
			s.chain.Advance(time.Second)
		}
		if err := s.chain.Block(); err != nil {
			t.Fatal(err)
		}
		return v.Channel.State == channels.Closed
	})
	after, _, err := s.chain.Balance(cypherlink.Account{Owner: w.Bob.ID}, w.Asset)
	if err != nil || after != before+ledgertest.Opening+700 {
		t.Errorf("%d, then %d, %v", before, after, err)
	}
}
