package bft_test

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
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

// member is one member's process and disks.
type member struct {
	*sim
	index    int
	key      bft.Key[cosi.Signature]
	identity *sign.Identity
	disk     *fakeDisk
	store    *fakeStore
	machine  *fakeMachine
	replica  *bft.Replica
	safety   *bft.Safety
	// actor replaces the replica of a faulty member.
	actor    *mallory
	up       bool
	life     int
	wake     time.Time
	skew     time.Duration
	alarm    error
	observer error
	// crashAt, if above zero, is the number of points until the member crashes for good.
	crashAt int
	// tap, if set, sees every message that comes in and may swallow it.
	tap func(from int, m bft.Message) bool
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

// keyOf is a member's BLS key, whose signatures the sim watches: an honest member never signs
// two frames of one kind and sequence.
type watchedKey[S any] struct {
	*member
	key bft.Key[S]
}

func (k watchedKey[S]) SignRecorded(f cosi.Frame) (S, error) {
	at := slot{k.index, f.Type, f.Sequence}
	if first, ok := k.signed[at]; ok && first != f {
		k.t.Errorf("seed %d: member %d signs two frames of type %#x in view %d",
			k.seed, k.index, f.Type, f.Sequence)
	}
	k.signed[at] = f
	return k.key.SignRecorded(f)
}

func (m *member) start() {
	m.up = true
	m.life++
	m.wake = time.Time{}
	m.alarm, m.observer = nil, nil
	if m.actor != nil {
		m.actor.start()
		return
	}
	m.machine = m.rebuild()
	var err error
	m.safety, err = bft.OpenSafety(m.disk, m.Committee, m.index,
		watchedKey[cosi.Signature]{m, m.key}, watchedKey[[64]byte]{m, m.identity}, m.store.sequence)
	record := bft.NewRecord(m.Committee)
	switch {
	case errors.Is(err, bft.ErrObserver):
		m.observer = err
	case err != nil:
		m.t.Fatal(err)
	default:
		record = m.safety.Record()
	}
	m.replica, err = bft.New(m.clock(), bft.Options{
		Committee: m.Committee, Self: m.index, Machine: m.machine, Archive: m.store,
		Observer: m.observer != nil,
	}, m.store.start(m.genesis, record, m.Committee))
	if err != nil {
		m.t.Errorf("seed %d: member %d: %v", m.seed, m.index, err)
		m.up = false
		return
	}
	m.logf("member %d starts at height %d, observer: %v", m.index, len(m.store.final), m.observer)
	m.step(bft.Tick{})
	if m.pending() {
		m.step(bft.Pool{Pending: true})
	}
}

// rebuild executes the final blocks again.
func (m *member) rebuild() *fakeMachine {
	machine := newFakeMachine(m.genesis.ID())
	if m.machine != nil {
		machine.pool = m.machine.pool // clients ask again
	}
	for _, f := range m.store.final {
		if _, err := machine.Execute(f.Block.Header, f.Block.Payload); err != nil {
			m.t.Fatal(err)
		}
	}
	return machine
}

func (m *member) clock() time.Time { return m.now.Add(m.skew) }

// pending tells whether the pool holds transactions that are not final.
func (m *member) pending() bool {
	head := m.genesis.ID()
	if n := len(m.store.final); n > 0 {
		head = m.store.final[n-1].Block.Header.ID()
	}
	for _, tx := range m.machine.pool {
		if !m.machine.states[head].holds(tx) {
			return true
		}
	}
	return false
}

func (m *member) submit(tx []byte) {
	if m.actor != nil || m.machine == nil {
		return
	}
	m.machine.pool = append(m.machine.pool, tx)
	if m.up {
		m.step(bft.Pool{Pending: true})
	}
}

// crash ends the process; what was not synced is lost.
func (m *member) crash() {
	m.logf("member %d crashes", m.index)
	m.up = false
	m.life++
	m.disk.crash()
}

// point is a place between two effects; it tells whether the member crashes there.
func (m *member) point() bool {
	if m.crashAt > 0 {
		if m.crashAt--; m.crashAt == 0 {
			m.crash()
			return true
		}
	}
	if m.crashes == 0 || m.random.Float64() >= m.crashes {
		return false
	}
	m.crash()
	life := m.life
	m.after(m.restart(), func() {
		if !m.up && m.life == life {
			m.start()
		}
	})
	return true
}

// step is the host's loop for one input.
func (m *member) step(in bft.Input) {
	inputs := []bft.Input{in}
	for len(inputs) > 0 && m.up && !m.t.Failed() {
		in, inputs = inputs[0], inputs[1:]
		effects, err := m.replica.Step(m.clock(), in)
		if err != nil {
			m.t.Errorf("seed %d: member %d: %v", m.seed, m.index, err)
			return
		}
		own, ok := m.execute(effects)
		if !ok {
			return
		}
		inputs = append(inputs, own...)
	}
}

// execute carries out effects in their order; not ok if the member crashed.
func (m *member) execute(e bft.Effects) (own []bft.Input, ok bool) {
	if e.Alarm != nil {
		m.alarm = e.Alarm
		m.logf("member %d: %v", m.index, e.Alarm)
	}
	m.faults = append(m.faults, e.Evidence...)
	if m.point() {
		return nil, false
	}
	m.store.put(e.Persist.Blocks)
	if m.point() {
		return nil, false
	}
	if e.Persist.Record != nil {
		crashed := false
		m.disk.before = func(string) error {
			if m.point() {
				crashed = true
				return errors.New("crash")
			}
			return nil
		}
		err := m.safety.Save(e.Persist)
		m.disk.before = nil
		if crashed {
			return nil, false
		}
		if err != nil {
			m.t.Errorf("seed %d: member %d: %v", m.seed, m.index, err)
			return nil, false
		}
	}
	if m.point() {
		return nil, false
	}
	for _, intent := range e.Sign {
		in, err := m.safety.Sign(intent)
		if err != nil {
			m.t.Errorf("seed %d: member %d: %v", m.seed, m.index, err)
			return nil, false
		}
		own = append(own, in)
	}
	for _, s := range e.Send {
		if m.point() {
			return nil, false
		}
		m.send(s)
	}
	for _, f := range e.Apply {
		if m.point() {
			return nil, false
		}
		m.apply(f)
	}
	if len(e.Apply) > 0 {
		own = append(own, bft.Pool{Pending: m.pending()})
	}
	m.schedule(e.WakeAt)
	return own, true
}

// apply stores a final block and checks it from outside.
func (m *member) apply(f bft.Final) {
	h := f.Block.Header
	if want := uint64(len(m.store.final)) + 1; h.Height != want {
		m.t.Errorf("seed %d: member %d applies height %d, next is %d", m.seed, m.index, h.Height, want)
		return
	}
	if !m.trusting {
		if proven, err := m.VerifyFinality(f.Proof); err != nil || proven != h {
			m.t.Errorf("seed %d: member %d: proof of height %d: %v", m.seed, m.index, h.Height, err)
		}
	}
	if first, ok := m.final[h.Height]; ok && first != h.ID() {
		m.t.Errorf("seed %d: member %d: two final blocks of height %d", m.seed, m.index, h.Height)
	}
	m.final[h.Height] = h.ID()
	sequence := m.store.sequence
	if m.safety != nil && m.observer == nil {
		sequence = m.safety.Sequence()
	}
	m.store.apply(f, sequence)
	m.logf("member %d: final height %d view %d, %d transactions", m.index, h.Height, h.View, h.PayloadCount)
}

func (m *member) schedule(at time.Time) {
	m.wake = at
	if at.IsZero() {
		return
	}
	life := m.life
	m.at(at.Add(-m.skew), func() {
		if m.up && m.life == life && m.wake.Equal(at) {
			m.step(bft.Tick{})
		}
	})
}

func (m *member) send(s bft.Send) {
	if m.watch != nil {
		m.watch(m.index, s.Message)
	}
	for to := range m.members {
		if to != m.index && (s.To == to || s.To == bft.Everyone) {
			m.transmit(m.index, to, s.Message)
		}
	}
}

// transmit carries a message over the network, encoded.
func (s *sim) transmit(from, to int, message bft.Message) {
	raw := bft.Encode(s.Epoch(), message)
	s.sent += len(raw)
	copies := 1
	if s.random.Float64() < s.duplicates {
		copies = 2
	}
	for range copies {
		if s.random.Float64() < s.loss || s.cut != nil && s.cut(from, to) {
			continue
		}
		s.after(s.delay(), func() { s.members[to].receive(from, raw) })
	}
}

func (m *member) receive(from int, raw []byte) {
	epoch, message, err := bft.Decode(raw)
	if err != nil || epoch != m.Epoch() {
		m.t.Errorf("seed %d: a message does not travel: %v", m.seed, err)
		return
	}
	if !m.up || m.tap != nil && m.tap(from, message) {
		return
	}
	if m.actor != nil {
		m.actor.receive(message)
		return
	}
	m.step(bft.Received{From: from, Message: message})
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

// committees and houses keep what takes long to make; tests here do not run in parallel.
var (
	committees = map[chain.Header]*chain.Committee{}
	houses     = map[int]house{}
)

// house is a key block with its members' keys.
type house struct {
	block      chain.KeyBlock
	keys       []*sign.Key
	identities []*sign.Identity
}

func newKeyBlock(t testing.TB, n int) (chain.KeyBlock, []*sign.Key, []*sign.Identity) {
	t.Helper()
	if h, ok := houses[n]; ok {
		return h.block, h.keys, h.identities
	}
	random := rand.NewChaCha8([32]byte{byte(n)})
	h := house{block: chain.KeyBlock{
		Epoch: 1, Depth: 2, TermViews: 1, Topology: chain.Mesh, Leaders: chain.RoundRobin,
		IdleMS: 1000, MaxBaseMS: 500, MinExpiryS: 100_000,
	}}
	roster := make([]cosi.Member, n)
	for i := range n {
		key, err := sign.GenerateKey(random)
		if err != nil {
			t.Fatal(err)
		}
		identity, err := sign.GenerateIdentity(random)
		if err != nil {
			t.Fatal(err)
		}
		h.keys, h.identities = append(h.keys, key), append(h.identities, identity)
		roster[i] = cosi.Member{ID: cypherlink.NewParticipantID(identity.Public()), Key: key.Public()}
		h.block.Members = append(h.block.Members, chain.Member{
			ID: roster[i].ID, Key: roster[i].Key, Possession: key.Possession(),
			Identity: identity.Public(), TLS: cypherlink.Hash{byte(i), 1},
		})
	}
	r, err := cosi.NewRoster(roster, cosi.All())
	if err != nil {
		t.Fatal(err)
	}
	h.block.Sum = r.Sum()
	houses[n] = h
	return h.block, h.keys, h.identities
}
