package ledgertest

import (
	"context"
	"fmt"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

// Run is the contract. build makes a fresh ledger from the world, which it may complete
// (World.Network), and cleans up after itself with t.Cleanup; each clause has its own.
func Run(t *testing.T, build func(*testing.T, *World) Harness) {
	t.Helper()
	clauses := []struct {
		name string
		test func(*stand)
	}{
		{"a prepare takes the amount into custody and a confirm gives it on", prepareAndConfirm},
		{"a confirm one second before the expiry is in time", confirmBefore},
		{"a confirm at the expiry is too late", confirmAt},
		{"the expiry gives back without anybody asking", expiryReturns},
		{"before the expiry the credit account's owner alone gives back", creditReturns},
		{"a repeated command is answered with what stands", repeats},
		{"a refused prepare moves nothing", refusedPrepares},
		{"a prepare differs from its verdicts in no field", differentFields},
		{"a refused confirm or return moves nothing", refusedEnds},
		{"a condition and a custody are used once", usedOnce},
		{"an absent custody is told, with the ledger's time", absent},
		{"events are complete, in order and resumed anywhere", events},
		{"events come as they happen", liveEvents},
		{"evidence is about every field", evidence},
		{"many submitters of one account neither fail nor overdraw", manyPrepares},
		{"many submitters of one command have one effect", manyTimes},
		{"confirm and return race, and one wins", race},
		{"an ended context leaves the command to be repeated", endedContext},
		{"what was told stands after a crash", restart},
	}
	for _, c := range clauses {
		t.Run(c.name, func(t *testing.T) {
			w := NewWorld()
			s := &stand{World: w, h: build(t, w), t: t}
			c.test(s)
			s.conserved()
		})
	}
}

// conserved compares all events with the balances: what each account has is its opening and
// what the events moved.
func (s *stand) conserved() {
	s.t.Helper()
	last := s.lookup(ledger.CustodyID{0xff}, ledger.Absent).Sequence
	want := map[cypherlink.Account]cypherlink.Amount{}
	state := map[ledger.CustodyID]ledger.State{}
	for _, e := range s.events(0, int(last)) { //nolint:gosec // a few hundred
		c := e.Receipt.Custody
		leg := c.Leg()
		before := state[c.ID]
		state[c.ID] = c.State
		switch {
		case before == ledger.Absent && c.State == ledger.Prepared:
			want[leg.Debit] -= leg.Amount
		case before == ledger.Prepared && c.State == ledger.Confirmed:
			want[leg.Credit] += leg.Amount
		case before == ledger.Prepared && c.State == ledger.Returned:
			want[leg.Debit] += leg.Amount
		default:
			s.t.Fatalf("event %d: custody %s goes from %s to %s", e.Receipt.Sequence, c.ID, before, c.State)
		}
	}
	for _, a := range []Actor{s.Alice, s.Bob, s.Mallory} {
		got, err := s.h.Balance(s.Account(a), s.Asset)
		if err != nil || got != Opening+want[s.Account(a)] {
			s.t.Fatalf("%s has %d, %v; by the events %d", a.ID, got, err, Opening+want[s.Account(a)])
		}
	}
}

func prepareAndConfirm(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	before := s.h.Now().UnixMilli()
	r := s.submit(s.Prepare(p), ledger.Prepared)
	want := ledger.Receipt{
		Ledger: s.Ledger, Sequence: 1, TimeMS: r.TimeMS,
		Custody: ledger.Custody{
			ID: s.ID(p), Subject: p.Subject, Packet: p.Packet, State: ledger.Prepared,
		},
	}
	if !same(r, want) || r.TimeMS < before {
		s.t.Fatalf("prepared %+v, want %+v", r, want)
	}
	if got := s.lookup(s.ID(p), ledger.Prepared); !same(got, r) {
		s.t.Fatalf("looked up %+v, want %+v", got, r)
	}
	s.moved(-700, 0, 700)
	// whoever knows the preimage may confirm; the value goes to Bob all the same
	r = s.submit(s.Confirm(s.Mallory, p), ledger.Confirmed)
	want.Custody.State, want.Custody.Preimage = ledger.Confirmed, p.Preimage
	want.Sequence, want.TimeMS = 2, r.TimeMS
	if !same(r, want) {
		s.t.Fatalf("confirmed %+v, want %+v", r, want)
	}
	if got := s.lookup(s.ID(p), ledger.Confirmed); !same(got, r) {
		s.t.Fatalf("looked up %+v, want %+v", got, r)
	}
	s.moved(-700, 700, 0)
}

func confirmBefore(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	s.submit(s.Prepare(p), ledger.Prepared)
	s.until(p.Subject.Fields.Expiry - 1 - s.h.Margin)
	s.submit(s.Confirm(s.Bob, p), ledger.Confirmed)
	s.moved(-700, 700, 0)
	s.until(p.Subject.Fields.Expiry + 1)
	s.lookup(s.ID(p), ledger.Confirmed)
	s.moved(-700, 700, 0)
}

func confirmAt(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	s.submit(s.Prepare(p), ledger.Prepared)
	s.until(p.Subject.Fields.Expiry)
	_, err := s.h.Ledger.Submit(s.context(), s.Confirm(s.Bob, p))
	if code := refusal(s.t, err); code != ledger.CodeAlreadyReturned && code != ledger.CodeExpired {
		s.t.Fatal(err)
	}
	s.events(0, 2)
	s.lookup(s.ID(p), ledger.Returned)
	s.moved(0, 0, 0)
}

func expiryReturns(s *stand) {
	near, far := s.Payment("near", 700, s.in(20)), s.Payment("far", 300, s.in(40))
	s.submit(s.Prepare(far), ledger.Prepared)
	s.submit(s.Prepare(near), ledger.Prepared)
	s.until(near.Subject.Fields.Expiry)
	e := s.events(2, 1)[0]
	if e.Receipt.Custody.ID != s.ID(near) || e.Receipt.Custody.State != ledger.Returned {
		s.t.Fatalf("event %+v", e.Receipt)
	}
	if e.Receipt.TimeMS < near.Subject.Fields.Expiry*1000 {
		s.t.Fatalf("returned at %d, before the expiry", e.Receipt.TimeMS)
	}
	s.lookup(s.ID(near), ledger.Returned)
	s.lookup(s.ID(far), ledger.Prepared)
	s.moved(-300, 0, 300)
	s.until(far.Subject.Fields.Expiry)
	s.events(3, 1)
	s.moved(0, 0, 0)
}

func absent(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	id := s.ID(p)
	r := s.lookup(id, ledger.Absent)
	if want := (ledger.Custody{ID: id}); !same(r, ledger.Receipt{
		Ledger: s.Ledger, Custody: want, TimeMS: r.TimeMS,
	}) {
		s.t.Fatalf("absent: %+v", r)
	}
	s.submit(s.Prepare(s.Payment("another", 1, s.in(40))), ledger.Prepared)
	s.until(p.Subject.Fields.Expiry)
	r = s.lookup(id, ledger.Absent)
	if r.Sequence != 1 || r.TimeMS < p.Subject.Fields.Expiry*1000 {
		s.t.Fatalf("absent at the expiry: %+v", r)
	}
	s.refuse(s.Prepare(p), ledger.CodeExpiry)
}

func events(s *stand) {
	const n = 6
	var want []ledger.Receipt
	for i := range n {
		p := s.Payment(fmt.Sprint(i), 10, s.in(20))
		want = append(want, s.submit(s.Prepare(p), ledger.Prepared))
		switch i % 3 {
		case 0:
			want = append(want, s.submit(s.Confirm(s.Bob, p), ledger.Confirmed))
		case 1:
			want = append(want, s.submit(s.Return(s.Bob, p), ledger.Returned))
		}
	}
	all := s.events(0, len(want))
	for i, e := range all {
		if !same(e.Receipt, want[i]) || e.Receipt.Sequence != uint64(i)+1 {
			s.t.Fatalf("event %d: %+v, want %+v", i+1, e.Receipt, want[i])
		}
		rest := s.events(e.Cursor, len(all)-i-1)
		for j, other := range rest {
			if other.Cursor != all[i+1+j].Cursor || !same(other.Receipt, all[i+1+j].Receipt) {
				s.t.Fatalf("after %d: %+v, want %+v", e.Cursor, other, all[i+1+j])
			}
		}
	}
	ctx, cancel := context.WithCancel(s.context())
	cancel()
	for _, err := range s.h.Ledger.Events(ctx, all[len(all)-1].Cursor) {
		s.t.Fatalf("an event or an error after the end of ctx: %v", err)
	}
}

func evidence(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	r := s.submit(s.Prepare(p), ledger.Prepared)
	confirmed := s.submit(s.Confirm(s.Bob, p), ledger.Confirmed)
	edits := map[string]func(*ledger.Receipt){
		"ledger":    func(r *ledger.Receipt) { r.Ledger = "other" },
		"sequence":  func(r *ledger.Receipt) { r.Sequence++ },
		"time":      func(r *ledger.Receipt) { r.TimeMS++ },
		"state":     func(r *ledger.Receipt) { r.Custody.State = ledger.Returned },
		"id":        func(r *ledger.Receipt) { r.Custody.ID[0]++ },
		"terms":     func(r *ledger.Receipt) { r.Custody.Subject.Terms[0]++ },
		"leg":       func(r *ledger.Receipt) { r.Custody.Subject.Leg++ },
		"amount":    func(r *ledger.Receipt) { r.Custody.Subject.Fields.Amount++ },
		"credit":    func(r *ledger.Receipt) { r.Custody.Subject.Fields.Credit.Number++ },
		"expiry":    func(r *ledger.Receipt) { r.Custody.Subject.Fields.Expiry++ },
		"condition": func(r *ledger.Receipt) { r.Custody.Subject.Condition[0]++ },
		"packet":    func(r *ledger.Receipt) { r.Custody.Packet = []byte("another") },
		"no evidence": func(r *ledger.Receipt) {
			r.Evidence = nil
		},
		"another's evidence": func(r *ledger.Receipt) { r.Evidence = confirmed.Evidence },
	}
	for name, edit := range edits {
		changed := r
		edit(&changed)
		if s.h.Check(changed) == nil {
			s.t.Errorf("the evidence holds for another %s", name)
		}
	}
	confirmed.Custody.Preimage[0]++
	if s.h.Check(confirmed) == nil {
		s.t.Error("the evidence holds for another preimage")
	}
}

func restart(s *stand) {
	p, q := s.Payment("one", 700, s.in(20)), s.Payment("two", 300, s.in(20))
	prepare := s.Prepare(p)
	s.submit(prepare, ledger.Prepared)
	confirmed := s.submit(s.Confirm(s.Bob, p), ledger.Confirmed)
	s.submit(s.Prepare(q), ledger.Prepared)
	before := s.events(0, 3)
	s.h.Ledger = s.h.Restart()
	for i, e := range s.events(0, 3) {
		if e.Cursor != before[i].Cursor || !same(e.Receipt, before[i].Receipt) {
			s.t.Fatalf("event %d is now %+v, was %+v", i+1, e, before[i])
		}
	}
	if got := s.submit(prepare, ledger.Confirmed); !same(got, confirmed) {
		s.t.Fatalf("repeated: %+v, want %+v", got, confirmed)
	}
	s.moved(-1000, 700, 300)
	s.until(q.Subject.Fields.Expiry)
	s.events(before[2].Cursor, 1)
	s.lookup(s.ID(q), ledger.Returned)
	s.moved(-700, 700, 0)
}
