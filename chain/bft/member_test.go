package bft_test

import (
	"errors"
	"time"

	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
)

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
	// recordFirst makes the record durable before the blocks, always.
	recordFirst bool
	// onSend, if set, sees what goes out.
	onSend func(bft.Send)
	// tap, if set, sees every message that comes in and may swallow it.
	tap func(from int, m bft.Message) bool
}

// watchedKey is a key whose signatures the sim watches: an honest member never signs two
// frames of one kind and sequence.
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
	// Record and blocks are written at once: either may be durable first.
	late := m.recordFirst || m.crashes > 0 && m.random.IntN(2) == 0
	if !late {
		m.store.put(e.Persist.Blocks)
	}
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
	if late {
		m.store.put(e.Persist.Blocks)
	}
	for _, intent := range e.Sign {
		if intent == bft.SignVote && !m.store.holds(m.safety.Record().Vote) {
			m.t.Errorf("seed %d: member %d votes for a block that it does not hold (I3)", m.seed, m.index)
		}
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
	if m.onSend != nil {
		m.onSend(s)
	}
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
