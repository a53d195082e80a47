package sign

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

// table is a sign-once table on a disk that loses what was not synced. Before every step
// of the sign path it asks whether the machine stops there.
type table struct {
	cached, durable map[Slot]cypherlink.Hash
	survives        bool         // an unsynced write is on the disk after a crash
	stop            func() bool  // nil: never
	fail            func() error // nil: never; asked before and after the sync
}

// crash is the panic that stops the machine.
type crash struct{}

func newTable() *table {
	return &table{cached: map[Slot]cypherlink.Hash{}, durable: map[Slot]cypherlink.Hash{}}
}

func (d *table) step() {
	if d.stop != nil && d.stop() {
		panic(crash{})
	}
}

func (d *table) failed() error {
	if d.fail == nil {
		return nil
	}
	return d.fail()
}

func (d *table) Claim(slot Slot, hash cypherlink.Hash) (cypherlink.Hash, error) {
	d.step()
	if err := d.failed(); err != nil {
		return cypherlink.Hash{}, err
	}
	standing, ok := d.cached[slot]
	if !ok {
		standing = hash
		d.cached[slot] = hash
	}
	d.step()
	d.durable = maps.Clone(d.cached)
	d.step()
	return standing, d.failed()
}

func (d *table) Lookup(slot Slot) (cypherlink.Hash, bool, error) {
	h, ok := d.cached[slot]
	return h, ok, d.failed()
}

// restart is what a new process finds.
func (d *table) restart() *table {
	found := d.durable
	if d.survives {
		found = d.cached
	}
	return &table{cached: maps.Clone(found), durable: maps.Clone(found), survives: d.survives}
}

// network is the signer and everybody who can hear it.
type network struct {
	disk  *table
	key   *Identity
	heard map[Slot]map[cosi.Frame][64]byte // frames that left the machine, by slot
}

func newNetwork() *network {
	return &network{
		disk: newTable(), key: testIdentity(), heard: map[Slot]map[cosi.Frame][64]byte{},
	}
}

// SignRecorded signs in two steps of the machine.
func (n *network) SignRecorded(f cosi.Frame) ([64]byte, error) {
	n.disk.step()
	s, err := n.key.SignRecorded(f)
	n.disk.step()
	return s, err
}

// offer starts the process on its disk, signs f and sends the signature. It tells whether
// the machine stopped, after which it has started again.
func (n *network) offer(f cosi.Frame) (stopped bool, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case crash:
			stopped, n.disk = true, n.disk.restart()
		default:
			panic(r)
		}
	}()
	once, err := NewOnce(n, n.disk)
	if err != nil {
		return false, err
	}
	s, err := once.Sign(f)
	if err != nil {
		return false, err
	}
	n.disk.step()
	slot, _ := slotOf(f)
	if n.heard[slot] == nil {
		n.heard[slot] = map[cosi.Frame][64]byte{}
	}
	if before, ok := n.heard[slot][f]; ok && before != s {
		return false, errors.New("signed again, otherwise")
	}
	n.heard[slot][f] = s
	n.disk.step()
	return false, nil
}

// two reports a slot for which two frames were heard.
func (n *network) two() error {
	for slot, frames := range n.heard {
		if len(frames) > 1 {
			return fmt.Errorf("%d frames in slot %+v", len(frames), slot)
		}
	}
	return nil
}

// stopAt stops the machine at its n-th step from now on, once.
func stopAt(n int) func() bool {
	return func() bool { n--; return n == 0 }
}

// I5, A11: the machine stops at every step of the sign path, its unsynced writes survive or
// not, and then it is offered another frame for the slot. Never are two heard.
func TestI5CrashAtEveryStep(t *testing.T) {
	first := cosi.Frame{Type: cosi.LaneUpdate, Sequence: 1, Payload: cypherlink.Hash{1}}
	second := first
	second.Payload[0] = 2
	for _, survives := range []bool{false, true} {
		steps := 0
		for at := 1; ; at++ {
			n := newNetwork()
			n.disk.survives, n.disk.stop = survives, stopAt(at)
			stopped, err := n.offer(first)
			if err != nil {
				t.Fatalf("stopped at step %d: %v", at, err)
			}
			if !stopped {
				break
			}
			steps++
			slot, _ := slotOf(first)
			sent := len(n.heard[slot]) > 0
			_, err = n.offer(second)
			if twice := errors.Is(err, ErrTwice); sent && !twice || err != nil && !twice {
				t.Fatalf("stopped at step %d, second frame: %v", at, err)
			}
			_, err1 := n.offer(first)
			_, err2 := n.offer(second)
			if (err1 == nil) == (err2 == nil) {
				t.Fatalf("stopped at step %d: first %v, second %v", at, err1, err2)
			}
			if err := n.two(); err != nil {
				t.Fatalf("stopped at step %d: %v", at, err)
			}
		}
		if steps != 7 { // claim: 3, sign: 2, send: 2
			t.Fatalf("the sign path has %d steps", steps)
		}
	}
}

// I5 over many slots, with crashes and failing writes anywhere.
func TestI5NoSlotHasTwoFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNetwork()
		broken := errors.New("disk")
		types := rapid.SampledFrom([]cosi.Type{cosi.Vote, cosi.Timeout, cosi.LaneUpdate})
		for range rapid.IntRange(1, 30).Draw(t, "offers") {
			f := cosi.Frame{
				Type:     types.Draw(t, "type"),
				Sequence: rapid.Uint64Range(1, 3).Draw(t, "sequence"),
			}
			f.Scope[0] = byte(rapid.IntRange(0, 1).Draw(t, "scope"))
			f.Payload[0] = byte(rapid.IntRange(0, 2).Draw(t, "payload"))
			if f.Type != cosi.LaneUpdate {
				f.Epoch = rapid.Uint64Range(1, 2).Draw(t, "epoch")
			}
			n.disk.survives = rapid.Bool().Draw(t, "survives")
			n.disk.stop = stopAt(rapid.IntRange(0, 9).Draw(t, "stop"))
			fails := rapid.IntRange(0, 6).Draw(t, "fail")
			n.disk.fail = func() error {
				if fails--; fails == 0 {
					return broken
				}
				return nil
			}
			_, err := n.offer(f)
			if err != nil && !errors.Is(err, ErrTwice) && !errors.Is(err, broken) {
				t.Fatal(err)
			}
			n.disk.fail = nil
			if err := n.two(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestOnceSlots(t *testing.T) {
	base := cosi.Frame{Type: cosi.Vote, Epoch: 1, Sequence: 5}
	sibling := func(edit func(*cosi.Frame)) cosi.Frame { f := base; edit(&f); return f }
	tests := []struct {
		name string
		f    cosi.Frame
		want error
	}{
		{"the same frame", base, nil},
		{"another payload", sibling(func(f *cosi.Frame) { f.Payload[0]++ }), ErrTwice},
		{"another roster", sibling(func(f *cosi.Frame) { f.Roster[0]++ }), ErrTwice},
		{"another network", sibling(func(f *cosi.Frame) { f.Network[0]++ }), ErrTwice},
		{"another type", sibling(func(f *cosi.Frame) { f.Type = cosi.Timeout }), nil},
		{"another epoch, where views start again", sibling(func(f *cosi.Frame) { f.Epoch++ }), nil},
		{"another scope", sibling(func(f *cosi.Frame) { f.Scope[0]++ }), nil},
		{"another sequence", sibling(func(f *cosi.Frame) { f.Sequence++ }), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := testKey(t, "alice")
			once, err := NewOnce(k, newTable())
			if err != nil {
				t.Fatal(err)
			}
			first, err := once.Sign(base)
			if err != nil {
				t.Fatal(err)
			}
			got, err := once.Sign(tt.f)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if tt.f == base && got != first {
				t.Fatal("signed again, otherwise")
			}
			if err != nil && got != (cosi.Signature{}) {
				t.Fatal("refused and signed")
			}
		})
	}
	// What does not bind is not recorded.
	d := newTable()
	once, err := NewOnce(testIdentity(), d)
	if err != nil {
		t.Fatal(err)
	}
	for payload := range byte(3) {
		f := cosi.Frame{Type: cosi.Quote, Payload: cypherlink.Hash{payload}}
		if _, err := once.Sign(f); err != nil {
			t.Fatal(err)
		}
		if err := once.Seen(f); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.durable) != 0 {
		t.Fatalf("%d slots are taken", len(d.durable))
	}
}

// A11: the disk was restored from an older copy. A peer still has the last frame.
func TestA11RestoredTableSignsNothingThatBinds(t *testing.T) {
	frame := func(sequence uint64, payload byte) cosi.Frame {
		return cosi.Frame{Type: cosi.LaneUpdate, Sequence: sequence, Payload: cypherlink.Hash{payload}}
	}
	id, disk := testIdentity(), newTable()
	once, err := NewOnce(id, disk)
	if err != nil {
		t.Fatal(err)
	}
	var backup *table
	for i := range uint64(4) {
		if i == 2 {
			backup = disk.restart()
		}
		if _, err := once.Sign(frame(i, 1)); err != nil {
			t.Fatal(err)
		}
		if err := once.Seen(frame(i, 1)); err != nil {
			t.Fatalf("a frame that was signed: %v", err)
		}
	}
	once, err = NewOnce(id, backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := once.Seen(frame(1, 1)); err != nil {
		t.Fatalf("a frame that the copy holds: %v", err)
	}
	if err := once.Seen(frame(3, 1)); !errors.Is(err, ErrRestored) {
		t.Fatalf("the peer's last frame: %v", err)
	}
	for range 2 {
		for _, f := range []cosi.Frame{frame(2, 2), frame(3, 2), frame(9, 1)} {
			if _, err := once.Sign(f); !errors.Is(err, ErrRestored) {
				t.Fatalf("sequence %d: %v", f.Sequence, err)
			}
		}
		if _, err := once.Sign(cosi.Frame{Type: cosi.Refusal}); err != nil {
			t.Fatalf("what does not bind: %v", err)
		}
		once, err = NewOnce(id, backup.restart()) // it stays so
		if err != nil {
			t.Fatal(err)
		}
	}
	// A slot that holds another frame than the one heard is no better.
	once, err = NewOnce(id, disk)
	if err != nil {
		t.Fatal(err)
	}
	if err := once.Seen(frame(3, 2)); !errors.Is(err, ErrRestored) {
		t.Fatal(err)
	}
}

func TestOnceReportsABrokenTable(t *testing.T) {
	broken := errors.New("disk")
	d := newTable()
	d.fail = func() error { return broken }
	if _, err := NewOnce(testIdentity(), d); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	d.fail = nil
	once, err := NewOnce(testIdentity(), d)
	if err != nil {
		t.Fatal(err)
	}
	d.fail = func() error { return broken }
	f := cosi.Frame{Type: cosi.Vote, Epoch: 1}
	if _, err := once.Sign(f); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := once.Seen(f); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	calls := 0
	d.fail = func() error {
		if calls++; calls > 1 {
			return broken
		}
		return nil
	}
	if err := once.Seen(f); !errors.Is(err, broken) || !errors.Is(err, ErrRestored) {
		t.Fatalf("the mark is not recorded: %v", err)
	}
	d.fail = nil
	if _, err := once.Sign(f); !errors.Is(err, ErrRestored) {
		t.Fatalf("the mark is not kept: %v", err)
	}
}
