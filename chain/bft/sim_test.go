package bft_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/cosi"
)

// sim is a committee in one goroutine and virtual time, from one seed. Replica, codec, safety
// record and, with real keys, signatures are the real ones; network, disks and clocks are
// simulated. The checks look from outside at what is final and at what was signed.
type sim struct {
	t       testing.TB
	seed    uint64
	random  *rand.Rand
	now     time.Time
	events  events
	order   int
	genesis chain.Header
	*chain.Committee
	members []*member
	// network
	delay            func() time.Duration
	loss, duplicates float64
	cut              func(from, to int) bool
	// crashes is the chance that a member crashes at one of the points of a step.
	crashes float64
	restart func() time.Duration
	// what the checks have seen
	watch func(from int, m bft.Message)
	final map[uint64]cypherlink.Hash
	// trusting, the simulation does not verify the proofs of final blocks.
	trusting bool
	signed   map[slot]cosi.Frame
	faults   []chain.Evidence
	sent     int
	log      []string
}

type slot struct {
	member   int
	kind     cosi.Type
	sequence uint64
}

type config struct {
	n      int
	change func(*chain.KeyBlock)
	real   bool // real BLS signatures
}

type event struct {
	at    time.Time
	order int
	run   func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].order < e[j].order
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newSim(t testing.TB, seed uint64, cfg config) *sim {
	t.Helper()
	s := &sim{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)),
		now:   time.UnixMilli(1_800_000_000_000),
		final: map[uint64]cypherlink.Hash{}, signed: map[slot]cosi.Frame{},
		restart: func() time.Duration { return 2 * time.Second },
	}
	s.delay = func() time.Duration { return time.Duration(5+s.random.IntN(10)) * time.Millisecond }
	k, keys, identities := newKeyBlock(t, cfg.n)
	if cfg.change != nil {
		cfg.change(&k)
	}
	s.genesis = chain.GenesisHeader(cypherlink.NetworkID{7}, s.now.UnixMilli()-1000, k, chain.Roots{})
	c, ok := committees[s.genesis]
	if !ok {
		var err error
		if c, err = chain.NewCommittee(s.genesis, k); err != nil {
			t.Fatal(err)
		}
		committees[s.genesis] = c
	}
	s.Committee = c
	if !cfg.real {
		s.Committee = c.Using(fakeSignatures{c.Roster()})
	}
	for i := range cfg.n {
		m := &member{
			sim: s, index: i, identity: identities[i], key: fakeKey{i},
			disk: newFakeDisk(s.random), store: newFakeStore(),
		}
		if cfg.real {
			m.key = keys[i]
		}
		if err := bft.Format(m.disk, s.Committee); err != nil {
			t.Fatal(err)
		}
		s.members = append(s.members, m)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d, last events:", seed)
			for _, line := range s.log[max(0, len(s.log)-1500):] {
				t.Log(line)
			}
		}
	})
	return s
}

func (s *sim) logf(format string, args ...any) {
	s.log = append(s.log, fmt.Sprintf("%9.3f ", s.now.Sub(time.UnixMilli(1_800_000_000_000)).Seconds())+
		fmt.Sprintf(format, args...))
	if len(s.log) > 4000 {
		s.log = append([]string(nil), s.log[3000:]...)
	}
}

func (s *sim) at(t time.Time, run func()) {
	s.order++
	heap.Push(&s.events, event{t, s.order, run})
}

func (s *sim) after(d time.Duration, run func()) { s.at(s.now.Add(d), run) }

// run lets so much virtual time pass.
func (s *sim) run(d time.Duration) { s.runUntil(d, func() bool { return false }) }

// runUntil stops early once done, and tells whether it is.
func (s *sim) runUntil(d time.Duration, done func() bool) bool {
	end := s.now.Add(d)
	for !s.t.Failed() {
		if done() {
			return true
		}
		if s.events.Len() == 0 || s.events[0].at.After(end) {
			s.now = end
			return done()
		}
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.run()
	}
	return false
}

// startAll starts every member that is not up.
func (s *sim) startAll() {
	for _, m := range s.members {
		if !m.up {
			m.start()
		}
	}
}

// honest lists the members that run a replica.
func (s *sim) honest() []*member {
	var out []*member
	for _, m := range s.members {
		if m.actor == nil {
			out = append(out, m)
		}
	}
	return out
}

// height is the least final height of the honest members that are up.
func (s *sim) height() int {
	least := -1
	for _, m := range s.honest() {
		if n := len(m.store.final); m.up && (least < 0 || n < least) {
			least = n
		}
	}
	return least
}

// reaches demands that all honest members that are up get that much further in time.
func (s *sim) reaches(blocks int, within time.Duration) {
	s.t.Helper()
	goal := s.height() + blocks
	if !s.runUntil(within, func() bool { return s.height() >= goal }) && !s.t.Failed() {
		s.t.Fatalf("seed %d: height %d after %v, want %d", s.seed, s.height(), within, goal)
	}
}
