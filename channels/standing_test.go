package channels

import "testing"

// What an operator sees of a Party follows what it has written, bound and anchored; and what a
// Validator is told with an update is the one before it, also across an anchor.
func TestStanding(t *testing.T) {
	p := meet(t)
	before := p.parties[A].Standing()
	if !before.Synced || before.Stopped || before.Lanes[A].Suspended || before.Lanes[A].Written != 0 {
		t.Fatalf("%+v after meeting", before)
	}
	if prev, locks := p.parties[A].Before(1); prev != nil || len(locks) != 0 {
		t.Fatalf("%+v, %v before the first update", prev, locks)
	}
	p.pays(A, 5)
	p.arrive()
	p.pays(A, 3)
	s := p.parties[A].Standing()
	if l := s.Lanes[A]; l.Written != 2 || l.Certified != 1 || l.Bound != 1 || l.Anchored != 0 {
		t.Fatalf("%+v after two payments, the second on its way", l)
	}
	if s.Free != before.Free-8 {
		t.Fatalf("free is %d, was %d, and 8 are paid", s.Free, before.Free)
	}
	first := p.parties[A].own().at(1).Update
	if prev, _ := p.parties[A].Before(2); prev == nil || *prev != first {
		t.Fatalf("%+v before the second update", prev)
	}
	p.settle()
	if l := p.parties[A].Standing().Lanes[A]; l.Bound != 2 {
		t.Fatalf("%+v when all has arrived", l)
	}
	p.include(A, mustBest(t, p.parties[A]))
	p.block()
	if l := p.parties[A].Standing().Lanes[A]; l.Anchored != 2 {
		t.Fatalf("%+v after the anchor", l)
	}
	if prev, _ := p.parties[A].Before(3); prev == nil || prev.Seq != 2 {
		t.Fatalf("%+v before the first update after the anchor", prev)
	}
}

// A time at which a party wants to be woken lies ahead: else its shell would never rest.
func TestWakeLiesAhead(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	p.flying[B] = nil // the other bank never hears of it
	for range 50 {
		p.ms += 300
		p.must(A, func(q *Party) (Effects, error) {
			e, err := q.Tick(p.ms)
			if e.WakeMS != 0 && e.WakeMS <= p.ms {
				t.Fatalf("wakes at %d, and it is %d", e.WakeMS, p.ms)
			}
			return e, err
		})
		p.flying[B] = nil
	}
}
