package bft_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
)

// These tests are the problems that users of other systems report, by their numbers in the
// project's notes on consensus, section 3.

// 1: a crash between the decision to vote and the vote, then another block in the same view.
// The first vote may be lost or sent; a second is never signed.
func TestCrashBeforeAVoteAllowsNoSecond(t *testing.T) {
	for crashAt := 1; ; crashAt++ {
		l := newLone(t, nil)
		a, b := l.block(l.genesis, 1, payload("a")), l.block(l.genesis, 1, payload("b"))
		l.alice.crashAt = crashAt
		l.propose(a)
		if l.alice.up {
			l.alice.crashAt = 0
			if crashAt < 8 {
				t.Fatalf("only %d points between a proposal and its vote", crashAt)
			}
			return
		}
		l.alice.start()
		l.greet(l.Genesis())
		l.propose(b) // watchedKey fails the test at a second signature
		l.propose(a)
		if l.voted(a) == l.voted(b) {
			t.Fatalf("point %d: votes for a %t, for b %t", crashAt, l.voted(a), l.voted(b))
		}
	}
}

// 2: an old copy of the disks, as from a backup, an image, or a second process with the key.
func TestOldCopyNeverSigns(t *testing.T) {
	ages := []time.Duration{time.Millisecond, 50 * time.Millisecond, time.Second}
	if !testing.Short() {
		ages = append(ages, time.Minute)
	}
	for _, ago := range ages {
		t.Run(fmt.Sprint(ago), func(t *testing.T) {
			s := newSim(t, 3, config{n: 4})
			s.startAll()
			s.load(20 * time.Millisecond)
			s.reaches(20, time.Minute)
			m := s.members[2]
			record, final := bytes.Clone(m.disk.durable), len(m.store.final)
			blocks, sequence := m.store.blocks, m.store.sequence
			m.store.blocks = map[cypherlink.Hash]chain.Block{}
			s.run(ago)
			s.reaches(1, time.Minute)
			m.crash()
			copy(m.disk.durable, record)
			copy(m.disk.written, record)
			m.store.final, m.store.sequence, m.store.blocks = m.store.final[:final], sequence, blocks
			m.start()
			s.run(5 * time.Second) // watchedKey fails the test if it signs otherwise than before
			if m.alarm == nil {
				t.Fatal("an old copy is not noticed")
			}
			s.reaches(20, time.Minute) // and it follows all the same
			m.crash()
			m.start()
			if m.observer == nil {
				t.Fatal("retired for one process only")
			}
		})
	}
}

// 2: a record that is gone, beside a store that is not, and the reverse.
func TestMissingRecordMakesAnObserver(t *testing.T) {
	s := newSim(t, 3, config{n: 4})
	s.startAll()
	s.load(20 * time.Millisecond)
	s.reaches(20, time.Minute)
	m := s.members[1]
	m.crash()
	if err := bft.Format(m.disk, s.Committee); err != nil {
		t.Fatal(err)
	}
	m.start()
	if m.observer == nil {
		t.Fatal("a record below the store's is accepted")
	}
	m.watch = func(from int, message bft.Message) {
		switch message.(type) {
		case bft.Vote, bft.Timeout, bft.Proposal:
			if from == m.index {
				t.Errorf("an observer sends %T", message)
			}
		default:
		}
	}
	s.reaches(20, time.Minute)
}

// 4: a proposer that crashes after it has shown its block to one of three sends the same
// block again.
func TestRestartedProposerSendsTheSameBlock(t *testing.T) {
	s := newSim(t, 4, config{n: 4})
	s.startAll()
	s.reaches(3, time.Minute)
	var shown []chain.Tuple
	m := s.members[1]
	s.watch = func(from int, message bft.Message) {
		if p, ok := message.(bft.Proposal); ok && from == m.index {
			shown = append(shown, p.Block.Header.Tuple())
		}
	}
	s.cut = func(from, to int) bool { return from == m.index && to != 2 }
	if !s.runUntil(time.Minute, func() bool { return len(shown) > 0 }) {
		t.Fatal("no proposal")
	}
	m.crash()
	s.cut = nil
	s.run(50 * time.Millisecond)
	m.start()
	view := shown[0].View
	s.reaches(3, 10*time.Second)
	if len(shown) < 2 || shown[1] != shown[0] {
		t.Fatalf("shown: %+v", shown)
	}
	for _, f := range s.members[0].store.final {
		if f.Block.Header.View == view && f.Block.Header.Tuple() == shown[0] {
			return
		}
	}
	t.Fatal("the block is lost, and the view with it")
}

// 4: if it was down too long, it gives up its term at once.
func TestProposerThatWasDownTooLongGivesUp(t *testing.T) {
	l := newLone(t, nil)
	b := l.block(l.genesis, 1)
	for view := uint64(2); view <= 4; view++ {
		l.propose(b)
		if view < 4 {
			b = l.block(b.Header, view)
		}
	}
	q := l.qc(b.Header)
	l.say(0, bft.Certified{QC: q})
	l.pass(1100 * time.Millisecond) // alice leads view 4 and proposes
	if l.alice.safety.Record().Proposal.View != 4 {
		t.Fatal("no proposal")
	}
	l.alice.crash()
	l.now = l.now.Add(6 * time.Second)
	l.events = nil
	l.sent = nil
	l.alice.start()
	l.greet(q)
	if got := l.timedOut(); len(got) != 1 || got[0].View != 4 {
		t.Fatalf("%+v", got)
	}
}

// 5: f+1 members restart in a run of timeouts; the TCs are not forgotten with them.
func TestRestartInARunOfTimeouts(t *testing.T) {
	for depth := uint8(2); depth <= 3; depth++ {
		s := newSim(t, 5, config{n: 4, change: func(k *chain.KeyBlock) { k.Depth = depth }})
		s.startAll()
		s.reaches(3, time.Minute)
		s.members[0].crash()
		s.silence(1) // nobody hears the proposals of 1 either: run after run of timeouts
		s.run(20 * time.Second)
		s.members[2].crash()
		s.members[3].crash()
		s.run(time.Second)
		s.members[2].start()
		s.members[3].start()
		s.run(5 * time.Second)
		s.cut = nil
		s.members[1].tap = nil
		for _, m := range s.members {
			m.tap = nil
		}
		s.members[0].start()
		s.reaches(2, 20*time.Second)
	}
}

// silence loses every proposal of a member; everything else of it arrives.
func (s *sim) silence(member int) {
	for _, m := range s.members {
		m.tap = func(from int, message bft.Message) bool {
			_, ok := message.(bft.Proposal)
			return ok && from == member
		}
	}
}

// 8, 11: every honest member applies the same blocks, in order, each once (checked at every
// apply), though every message comes twice and from two sources.
func TestDuplicatesChangeNothing(t *testing.T) {
	s := newSim(t, 8, config{n: 4})
	s.duplicates = 1
	s.startAll()
	s.load(30 * time.Millisecond)
	s.reaches(40, time.Minute)
	m, blocks := s.members[2], []chain.Block{}
	for _, f := range m.store.final[:20] {
		blocks = append(blocks, f.Block)
	}
	again := bft.Blocks{Blocks: blocks, QC: m.store.final[19].Proof.QC}
	for _, from := range []int{0, 1, 0, 1} {
		m.step(bft.Received{From: from, Message: again})
	}
	s.reaches(10, time.Minute)
}

// 9: one member floods another with everything that he can make up or sign. What is kept of
// it is bounded.
func TestFloodIsBounded(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	l.propose(one)
	heap := func() uint64 {
		l.log, l.sent, l.events = nil, nil, nil
		l.faults = nil
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	rounds := 12_000
	if testing.Short() {
		rounds = 1_000
	}
	flood := func(from, to int) {
		var next chain.Tuple
		for i := from; i < to; i++ {
			view := uint64(i)
			id := cypherlink.Hash{byte(i), byte(i >> 8), byte(i >> 16)}
			next = chain.Tuple{View: view + 2, Height: 2, Block: id}
			for _, m := range []bft.Message{
				bft.Vote{Vote: l.vote(1, next)},
				bft.Timeout{Timeout: l.timeout(1, view+1, l.Genesis())},
				bft.Certified{QC: chain.QC{Tuple: next, Votes: l.share(1, one)}},
				bft.Fetch{QC: chain.QC{Tuple: next}},
				bft.Hello{},
				bft.Blocks{Blocks: []chain.Block{one}, QC: l.Genesis()},
				l.proposal(l.unknown(one, view)),
			} {
				l.alice.step(bft.Received{From: 1, Message: m})
			}
		}
	}
	flood(0, rounds/10)
	before := heap()
	flood(rounds/10, rounds)
	after := heap()
	if after > before+2<<20 {
		t.Fatalf("heap grows from %d to %d KiB", before>>10, after>>10)
	}
	t.Logf("heap %d KiB, then %d KiB", before>>10, after>>10)
}

// 9: proposals that never get a QC are forgotten with their views.
func TestUncertifiedProposalsAreForgotten(t *testing.T) {
	l := newLone(t, nil)
	g := l.Genesis()
	large := func(b *chain.Block) { b.Payload = chain.Payload{make([]byte, 100_000)} }
	heap := func(from, to uint64) uint64 {
		for view := from; view < to; view++ {
			if view%4 != 0 { // those are alice's own
				l.propose(l.block(l.genesis, view, large, after(l.tc(view-1, g, g, g))))
			}
			l.say(0, bft.TimedOut{TC: l.tc(view, g, g, g)})
			for _, m := range []*fakeMachine{l.machine, l.alice.machine} {
				m.states = map[cypherlink.Hash]*fakeState{l.genesis.ID(): {}}
			}
			clear(l.alice.store.blocks)
			clear(l.blocks)
			l.log, l.sent, l.events = nil, nil, nil
		}
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap(2, 100)
	if after := heap(100, 200); after > before+2<<20 {
		t.Fatalf("heap grows from %d to %d KiB", before>>10, after>>10)
	}
}

// unknown is a proposal of member 1 for one of his views, on a block that nobody has, with a
// large payload.
func (l *lone) unknown(one chain.Block, i uint64) chain.Block {
	view := 4*i + 2
	b := chain.Block{Header: one.Header, Payload: chain.Payload{make([]byte, 10_000)}}
	b.Header.View, b.Header.Height = view, 7
	b.Header.Parent = chain.Tuple{View: view - 1, Height: 6, Block: cypherlink.Hash{byte(i), 7}}
	b.Header.Proposer = l.KeyBlock().Members[1].ID
	b.Header.PayloadCount, b.Header.PayloadRoot = 1, b.Payload.Root()
	b.Votes = l.share(1, one)
	return b
}

// load submits a transaction to every member at every interval, for good.
func (s *sim) load(interval time.Duration) {
	i := 0
	var submit func()
	submit = func() {
		tx := fmt.Appendf(nil, "load %d", i)
		i++
		for _, m := range s.members {
			if m.machine != nil {
				m.machine.pool = [][]byte{tx} // the newest only, so that it stays small
			}
			if m.up && m.actor == nil {
				m.step(bft.Pool{Pending: true})
			}
		}
		s.after(interval, submit)
	}
	submit()
}

// 10: a member that was cut off catches up without a restart, however long it was.
func TestMemberThatWasCutOffCatchesUp(t *testing.T) {
	pauses := []time.Duration{time.Second, 10 * time.Second}
	if !testing.Short() {
		pauses = append(pauses, time.Minute, 10*time.Minute)
	}
	for _, pause := range pauses {
		t.Run(fmt.Sprint(pause), func(t *testing.T) {
			s := newSim(t, 10, config{n: 4})
			s.startAll()
			s.load(100 * time.Millisecond)
			s.reaches(5, time.Minute)
			away := s.members[3]
			s.cut = func(from, to int) bool { return from == 3 || to == 3 }
			s.run(pause)
			missed := len(s.members[0].store.final) - len(away.store.final)
			s.cut = nil
			caught := func() bool { return len(away.store.final)+3 >= len(s.members[0].store.final) }
			if !s.runUntil(20*time.Second, caught) {
				t.Fatalf("%d of %d", len(away.store.final), len(s.members[0].store.final))
			}
			t.Logf("%d blocks missed", missed)
			votes := 0
			s.watch = func(from int, m bft.Message) {
				if _, ok := m.(bft.Vote); ok && from == 3 {
					votes++
				}
			}
			s.run(5 * time.Second)
			if votes == 0 {
				t.Fatal("it does not vote again")
			}
		})
	}
}

// 10: a member whose disks are new to it fetches everything, and none of it from memory.
func TestMemberThatLostItsStoreFetchesEverything(t *testing.T) {
	s := newSim(t, 10, config{n: 4})
	s.startAll()
	s.load(50 * time.Millisecond)
	s.reaches(80, 5*time.Minute)
	m := s.members[0]
	m.crash()
	m.store = newFakeStore()
	m.start()
	s.run(10 * time.Second)
	if len(m.store.final)+3 < len(s.members[1].store.final) {
		t.Fatalf("%d of %d", len(m.store.final), len(s.members[1].store.final))
	}
}

// 12: a leader that answers everything and never proposes is passed over like a dead one.
func TestFrozenLeaderIsPassedOver(t *testing.T) {
	s := newSim(t, 12, config{n: 4})
	s.startAll()
	s.load(20 * time.Millisecond)
	s.reaches(5, time.Minute)
	s.silence(2)
	s.reaches(30, 30*time.Second)
}

// 13: after an hour without a quorum the first block comes within seconds of its return.
func TestTimersStayShortWithoutAQuorum(t *testing.T) {
	s := newSim(t, 13, config{n: 4})
	s.startAll()
	s.load(2 * time.Second)
	s.reaches(5, time.Minute)
	s.members[0].crash()
	s.members[1].crash()
	s.run(time.Second) // what was under way may still end
	height := s.height()
	s.run(time.Hour)
	if s.height() != height {
		t.Fatal("blocks become final without a quorum")
	}
	s.members[0].start()
	s.members[1].start()
	s.reaches(1, 15*time.Second)
	s.reaches(20, 15*time.Second)
}

// A leader that dies costs a timeout in each of his terms, not the network.
func TestDeadLeaderCostsATimeout(t *testing.T) {
	for _, k := range []uint16{1, 4} {
		s := newSim(t, 14, config{n: 4, change: func(b *chain.KeyBlock) { b.TermViews = k }})
		s.startAll()
		s.load(20 * time.Millisecond)
		s.reaches(10, time.Minute)
		s.members[s.random.IntN(4)].crash()
		began, height := s.now, s.height()
		s.reaches(1, 3*time.Second)
		s.run(8 * time.Second)
		if rate := float64(s.height()-height) / s.now.Sub(began).Seconds(); rate < 2 {
			t.Fatalf("k = %d: %.1f blocks a second", k, rate)
		}
	}
}

// Loss, crashes and mallory, with real BLS signatures.
func TestChaosWithRealSignatures(t *testing.T) {
	seeds, faulty := []uint64{3, 5}, 4*time.Second
	if testing.Short() {
		seeds, faulty = seeds[:1], time.Second
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := newSim(t, seed, config{n: 4, real: true})
			s.loss, s.crashes = 0.02, 0.0005
			corrupt(s.members[seed%4])
			s.startAll()
			s.load(500 * time.Millisecond)
			s.run(faulty)
			s.heal()
			s.reaches(3, time.Minute)
		})
	}
}

// 15: a key block under load: it is the last final block for everybody, and nothing that
// follows it is lost from the pools.
func TestKeyBlockIsTheLastFinalBlock(t *testing.T) {
	for depth := uint8(2); depth <= 3; depth++ {
		s := newSim(t, 15, config{n: 4, change: func(k *chain.KeyBlock) { k.Depth = depth }})
		s.crashes = 0.001
		s.startAll()
		next := s.KeyBlock()
		next.Epoch = 2
		s.run(2 * time.Second)
		for i := range 40 {
			tx := fmt.Appendf(nil, "tx %d", i)
			if i == 20 {
				tx = next.Encode()
			}
			for _, m := range s.members {
				m.submit(tx)
			}
			s.run(30 * time.Millisecond)
		}
		s.crashes = 0
		s.run(5 * time.Second)
		ended := 0
		for _, m := range s.members {
			if n := len(m.store.final); n > 0 && len(m.store.final[n-1].Block.Payload) == 1 &&
				isKeyBlock(m.store.final[n-1].Block.Payload[0]) {
				ended++
			}
		}
		if ended < s.Quorum() {
			t.Fatalf("D = %d: only %d members know the end", depth, ended)
		}
		height := len(s.final)
		s.run(10 * time.Second)
		if len(s.final) != height {
			t.Fatal("blocks become final after the key block")
		}
	}
}

func TestStarAndTreeAreRefused(t *testing.T) {
	s := newSim(t, 1, config{n: 4, change: func(k *chain.KeyBlock) {
		k.Topology, k.TermViews = chain.Star, 3
	}})
	start := bft.Start{Record: bft.NewRecord(s.Committee)}
	_, err := bft.New(s.now, bft.Options{Committee: s.Committee}, start)
	if err == nil {
		t.Fatal("a star runs as a mesh")
	}
}
