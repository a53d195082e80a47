package connector

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// The explorer runs every order of deliveries, events, answers, ticks and seconds, every loss
// and repetition, and every crash between persisting and sending, over the real machines and
// the real rules. The checkers below know nothing of the machines' inside.

// watch checks a command at the moment it is sent, against what the ledgers really hold.
func (w *world) watch(s *scene, p party, leg uint8, kind string) {
	destination := w.books[terms.Destination]
	expiry := s.terms.Legs[terms.Destination].Expiry
	switch {
	case p == relay && leg == terms.Source && kind == "return":
		prepare := message{leg: terms.Destination, kind: "prepare", from: relay}
		mayPrepare := w.has(prepare) && destination.state() == ledger.Absent &&
			s.ledgerMS(terms.Destination, w.now)/1000 < expiry
		open := destination.state() == ledger.Prepared || destination.state() == ledger.Confirmed
		if open || mayPrepare {
			w.fail("the relay gives back the source while the destination may be confirmed")
		}
	case p == relay && leg == terms.Destination && kind == "prepare":
		if w.books[terms.Source].state() == ledger.Absent {
			w.fail("the relay prepares the destination without a source custody")
		}
	case p == payee && kind == "confirm":
		w.revealed = true
		c := destination.custody
		if c == nil || c.Leg() != s.terms.Legs[terms.Destination] {
			w.fail("the payee reveals without the custody that was agreed")
		}
		if int64(epoch+w.now) >= expiry-int64(s.margins.ConfirmWindow/time.Second) {
			w.fail("the payee reveals inside its margin")
		}
	case kind == "confirm" && !w.revealed:
		w.fail(fmt.Sprintf("the %s confirms before the preimage is out", p))
	}
}

func (w *world) has(m message) bool {
	_, found := slices.BinarySearchFunc(w.sent, m, message.compare)
	return found
}

func (w *world) fail(what string) {
	if w.trouble == "" {
		w.trouble = what
	}
}

// check holds the books and the machines' words against each other.
func (w *world) check(s *scene) {
	for i, b := range w.books {
		if b.debit < 0 || b.credit < 0 {
			w.fail("a balance is negative")
		}
		sum := b.debit + b.credit
		if b.state() == ledger.Prepared {
			sum += b.custody.Leg().Amount
		}
		if sum != 501000 {
			w.fail(fmt.Sprintf("ledger %d holds %d, not 501000", i, sum))
		}
	}
	source, destination := w.books[0].state(), w.books[1].state()
	if source == ledger.Confirmed && !w.revealed {
		w.fail("the source is confirmed although the payee never revealed")
	}
	outcome := s.outcome(payer, w.party[payer].log)
	if s.gullible && source == ledger.Returned {
		outcome = Undone
	}
	s.ends[outcome]++
	switch outcome {
	case Settled:
		if source != ledger.Confirmed || destination != ledger.Confirmed {
			w.fail("the payer says settled")
		}
	case Undone:
		late := s.ledgerMS(terms.Destination, w.now)/1000 >= s.terms.Legs[terms.Destination].Expiry
		if source == ledger.Confirmed || source == ledger.Prepared || destination == ledger.Confirmed ||
			destination == ledger.Prepared || destination == ledger.Absent && !late {
			w.fail("the payer says undone")
		}
	case Loss:
		if source == ledger.Confirmed || destination != ledger.Confirmed {
			w.fail("the payer says loss")
		}
	case Pending, Reserved:
	}
	if s.synchrony != nil && w.now >= s.horizon {
		w.checkEnd(s)
	}
}

// checkEnd is what synchrony promises: both or neither, and everybody knows.
func (w *world) checkEnd(s *scene) {
	source, destination := w.books[0].state(), w.books[1].state()
	if (source == ledger.Confirmed) != (destination == ledger.Confirmed) {
		w.fail(fmt.Sprintf("not atomic: source %s, destination %s", source, destination))
	}
	if source == ledger.Prepared || destination == ledger.Prepared {
		w.fail("value is stuck")
	}
	for p := range parties {
		o := s.outcome(p, w.party[p].log)
		if want := map[bool]Outcome{true: Settled, false: Undone}[source == ledger.Confirmed]; o != want {
			w.fail(fmt.Sprintf("at the end the %s says %s, not %s", p, o, want))
		}
	}
}

// outcome is what a machine restored from that log says, worked out once.
func (s *scene) outcome(p party, log int) Outcome {
	key := logKey{p, log}
	if o, ok := s.said[key]; ok {
		return o
	}
	var m interface{ Outcome() Outcome }
	var err error
	switch p {
	case payer:
		m, err = NewPayer(s.margins, s.logs[log])
	case relay:
		m, err = NewRelay(s.margins, s.logs[log])
	case payee, parties:
		m, err = NewPayee(s.margins, s.base, s.secret, s.logs[log])
	}
	if err != nil {
		panic(err)
	}
	s.said[key] = m.Outcome()
	return s.said[key]
}

// mayAdvance tells whether a synchronous world may let a second pass.
func (w *world) mayAdvance(s *scene) bool {
	if w.now >= s.horizon {
		return false
	}
	if s.synchrony == nil {
		return true
	}
	for _, m := range w.sent {
		if !m.delivered && m.kind != "attack-return" && m.kind != "attack-confirm" &&
			w.now-m.sentAt >= s.synchrony.inclusion {
			return false
		}
	}
	for p := range w.party {
		m := &w.party[p]
		if m.down {
			if w.now-m.downAt >= s.synchrony.restart {
				return false
			}
			continue
		}
		if m.wake <= w.now {
			return false
		}
		for leg, b := range w.books {
			if m.cursor[leg] < len(b.events) {
				age := s.ledgerMS(uint8(leg), w.now) - b.events[m.cursor[leg]].TimeMS
				if age >= int64(s.synchrony.answer)*1000 {
					return false
				}
			}
		}
	}
	return true
}

// actions are everything that can happen next.
func (w *world) actions(s *scene) []func(*world) {
	var out []func(*world)
	do := func(act func(*world)) { out = append(out, act) }
	for i, m := range w.sent {
		if m.delivered && m.kind != "prepare" {
			continue // its repetition changes nothing, or comes as a new sending
		}
		do(func(c *world) { c.deliver(s, i) })
	}
	for p := range parties {
		m := w.party[p]
		if m.down {
			do(func(c *world) {
				c.party[p].down = false
				c.tell(s, p, Tick{}, true)
			})
			continue
		}
		if m.wake <= w.now {
			do(func(c *world) {
				c.resend(p)
				c.tell(s, p, Tick{}, true)
			})
		}
		crash := m.crashes < s.crashes[p]
		for leg := range uint8(2) {
			if s.synchrony == nil {
				do(func(c *world) { c.answer(s, p, leg) })
			}
			if m.cursor[leg] < len(w.books[leg].events) {
				do(func(c *world) { c.observe(s, p, leg, true) })
				if crash {
					do(func(c *world) { c.observe(s, p, leg, false) })
				}
			}
		}
	}
	if w.mayAdvance(s) {
		do(func(c *world) { c.advance(s) })
	}
	return out
}

// resend forgets a party's answered questions and delivered commands, so that its next tick
// sends them anew.
func (w *world) resend(p party) {
	kept := w.sent[:0]
	for _, m := range w.sent {
		if m.from != p || !m.delivered || m.kind == "prepare" || m.kind == "attack-return" ||
			m.kind == "attack-confirm" {
			kept = append(kept, m)
		}
	}
	w.sent = kept
}

// explore visits every reachable world, at most limit of them, and gives the first trouble.
func explore(s *scene, limit int) (trouble string, visited int, complete bool) {
	first := s.start()
	seen := map[string]bool{first.key(): true}
	for queue := []*world{first}; len(queue) > 0; {
		w := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		visited++
		if w.trouble != "" {
			return w.trouble, visited, false
		}
		if visited >= limit {
			return "", visited, false
		}
		for _, act := range w.actions(s) {
			n := w.clone()
			act(n)
			n.check(s)
			if k := n.key(); !seen[k] {
				seen[k] = true
				queue = append(queue, n)
			}
		}
	}
	return "", visited, true
}

// tight are the smallest margins that Valid accepts for ledgers of one second each.
func tight() (m Margins, source, destination Timing) {
	m = Margins{
		Resend: time.Second, SourceHold: 9 * time.Second, DestinationHold: 5 * time.Second,
		MaxHold: 9 * time.Second, RelayWindow: 4 * time.Second, AcceptWindow: 3 * time.Second,
		ConfirmWindow: time.Second, Restart: time.Second,
	}
	one := Timing{Inclusion: time.Second, Answer: time.Second}
	return m, one, one
}

func TestExploreSynchronousWorld(t *testing.T) {
	m, source, destination := tight()
	if err := m.Valid(source, destination); err != nil {
		t.Fatal(err)
	}
	s := newScene(t, 9, 5, m)
	s.synchrony = &limits{inclusion: 1, answer: 1, restart: 1}
	report(t, s)
}

// loose are margins for asynchronous worlds, which promise no time: short lives make the
// exploration small.
func loose() Margins {
	return Margins{
		Resend: time.Second, MaxHold: 4 * time.Second, RelayWindow: 2 * time.Second,
		AcceptWindow: time.Second, ConfirmWindow: time.Second,
	}
}

// scaled is the bound on visited worlds, smaller under -short.
func scaled(n int) int {
	if testing.Short() {
		return n / 60
	}
	return n
}

func TestExploreWorldsWithCrashes(t *testing.T) {
	for p := range parties {
		t.Run(p.String(), func(t *testing.T) {
			m, _, _ := tight()
			s := newScene(t, 9, 5, m)
			s.synchrony = &limits{inclusion: 1, answer: 1, restart: 1}
			s.crashes[p] = 1
			report(t, s)
		})
	}
}

// walk follows one random path through an asynchronous world to its horizon and gives the
// first trouble.
func walk(s *scene, seed uint64) string {
	random := rand.New(rand.NewPCG(seed, 0))
	w := s.start()
	for w.now < s.horizon && w.trouble == "" {
		all := w.actions(s)
		all[random.IntN(len(all))](w)
		w.check(s)
	}
	return w.trouble
}

// walks follows paths of the seeds from 1 on; a failure names its seed.
func walks(s *scene, n uint64) (trouble string) {
	for seed := uint64(1); seed <= n; seed++ {
		if trouble := walk(s, seed); trouble != "" {
			return fmt.Sprintf("seed %d: %s", seed, trouble)
		}
	}
	return ""
}

func TestWalkAsynchronousWorlds(t *testing.T) {
	for _, tt := range []struct {
		name    string
		skew    [2]int
		crashes [parties]int
	}{
		{"clocks agree", [2]int{0, 0}, [parties]int{}},
		{"the source's clock is ahead", [2]int{1, -1}, [parties]int{1, 2, 1}},
		{"the destination's clock is ahead", [2]int{-1, 1}, [parties]int{2, 1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, 4, 2, loose())
			s.skew, s.crashes, s.attackers = tt.skew, tt.crashes, true
			if trouble := walks(s, uint64(scaled(16_000))); trouble != "" {
				t.Fatal(trouble)
			}
			t.Logf("the payer's words on the way: %v", s.ends)
			for _, o := range []Outcome{Settled, Undone, Loss} {
				if s.ends[o] == 0 {
					t.Errorf("no walk comes to %s", o)
				}
			}
		})
	}
}

// report explores a synchronous world, all of it but under -short.
func report(t *testing.T, s *scene) {
	t.Helper()
	limit := scaled(explorerLimit)
	trouble, n, complete := explore(s, limit)
	t.Logf("%d worlds, complete %t, the payer's words on the way: %v", n, complete, s.ends)
	if trouble != "" {
		t.Fatal(trouble)
	}
	if !complete && !testing.Short() {
		t.Fatalf("more than %d worlds", limit)
	}
	if complete && (s.ends[Settled] == 0 || s.ends[Undone] == 0) {
		t.Fatal("a whole exploration comes to one end alone")
	}
}

// Each mutant is a machine or a ledger with one rule taken out. The checkers must catch it.
func TestExplorerCatchesMutants(t *testing.T) {
	m, _, _ := tight()
	for _, tt := range []struct {
		name  string
		scene func() *scene
	}{
		{"the relay does not wait for the source custody", func() *scene {
			return withRelay(newScene(t, 4, 2, loose()), func(r *Relay) machine { return &hastyRelay{r} })
		}},
		{"the relay gives back when its Prepare is refused", func() *scene {
			s := withRelay(newScene(t, 4, 2, loose()), func(r *Relay) machine { return &refusedRelay{r} })
			s.poor = true
			return s
		}},
		{"the relay gives back by its own clock", func() *scene {
			s := withRelay(newScene(t, 4, 2, loose()), func(r *Relay) machine { return &clockRelay{r} })
			s.skew = [2]int{0, -1}
			return s
		}},
		{"the payee reveals until the expiry", func() *scene {
			s := newScene(t, 9, 5, m)
			s.synchrony = &limits{inclusion: 1, answer: 1, restart: 1}
			honestStep := s.step
			s.step = func(s *scene, p party, log []Event, now time.Time, in Input) (Effects, error) {
				if p != payee {
					return honestStep(s, p, log, now, in)
				}
				bold := *s
				bold.margins.ConfirmWindow = 0
				return honestStep(&bold, p, log, now, in)
			}
			s.crashes[payee] = 1
			return s
		}},
		{"the custodies expire together", func() *scene {
			m.RelayWindow = 0
			s := newScene(t, 6, 5, m)
			s.synchrony = &limits{inclusion: 1, answer: 1, restart: 1}
			s.crashes[relay] = 1
			return s
		}},
		{"the payer trusts the source alone", func() *scene {
			s := newScene(t, 4, 2, loose())
			s.gullible = true
			return s
		}},
		{"the ledger does not check the preimage", func() *scene {
			s := newScene(t, 4, 2, loose())
			s.attackers = true
			s.apply = func(s *scene, leg uint8, b *book, ms int64, c *signed) (ledger.Custody, error) {
				if body, ok := c.Command.(*ledger.Confirm); ok && b.state() == ledger.Prepared {
					paid := *b.custody
					paid.State, paid.Preimage = ledger.Confirmed, body.Preimage
					return paid, b.Write(paid)
				}
				return rules(s, leg, b, ms, c)
			}
			return s
		}},
		{"the ledger confirms twice", func() *scene {
			s := newScene(t, 4, 2, loose())
			s.apply = func(s *scene, leg uint8, b *book, ms int64, c *signed) (ledger.Custody, error) {
				if _, ok := c.Command.(*ledger.Confirm); ok && b.state() == ledger.Confirmed {
					return *b.custody, b.Write(*b.custody)
				}
				return rules(s, leg, b, ms, c)
			}
			return s
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trouble := walks(tt.scene(), 50_000)
			t.Log(trouble)
			if trouble == "" {
				t.Fatal("not caught")
			}
		})
	}
}

// withRelay puts a mutant in the relay's place.
func withRelay(s *scene, mutate func(*Relay) machine) *scene {
	honestStep := s.step
	s.step = func(s *scene, p party, log []Event, now time.Time, in Input) (Effects, error) {
		if p != relay {
			return honestStep(s, p, log, now, in)
		}
		r, err := NewRelay(s.margins, log)
		if err != nil {
			return Effects{}, err
		}
		return r.run(now, in, &r.box, mutate(r))
	}
	return s
}

type hastyRelay struct{ *Relay }

func (r *hastyRelay) want(a plan) {
	if r.legs[terms.Source].state == ledger.Absent {
		a.submit(submitPrepare, terms.Destination, prepare(&r.position, terms.Destination, nil))
		return
	}
	r.Relay.want(a)
}

type refusedRelay struct{ *Relay }

func (r *refusedRelay) want(a plan) {
	if r.refused != nil && !r.legs[terms.Source].over() {
		a.giveBack(terms.Source)
		return
	}
	r.Relay.want(a)
}

type clockRelay struct{ *Relay }

func (r *clockRelay) want(a plan) {
	late := !a.now.Before(time.Unix(r.leg(terms.Destination).Expiry, 0))
	if r.asked() && late && r.legs[terms.Destination].state != ledger.Confirmed {
		a.giveBack(terms.Source)
		return
	}
	r.Relay.want(a)
}

const explorerLimit = 3_000_000
