package bft_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink/chain/bft"
)

// bft.md 3.3: every byte of the file, one at a time, and copies together.
func TestDamagedRecordIsRepairedOrRefused(t *testing.T) {
	v := filled(t, 4)
	good := slices.Clone(v.disk.durable)
	want, sequence := v.Record(), v.Sequence()
	damage := func(at ...int) {
		copy(v.disk.durable, good)
		for _, i := range at {
			v.disk.durable[i] ^= 1 << (i % 8)
		}
		copy(v.disk.written, v.disk.durable)
	}
	step := 1
	if testing.Short() {
		step = 13
	}
	for i := 0; i < len(good); i += step {
		damage(i)
		v.open(sequence)
		if v.Record().Vote != want.Vote || !bytes.Equal(v.disk.durable, good) {
			t.Fatalf("byte %d: not repaired", i)
		}
	}
	const copySize = bft.DiskSize / 4
	newest := int(sequence % 2 * 2) // the first copy of the newest pair
	other := 2 - newest
	for _, tt := range []struct {
		name   string
		copies []int
		stored uint64
		err    error
		newest bool
	}{
		{"one copy of each pair", []int{newest, other + 1}, sequence, nil, true},
		{"the older pair", []int{other, other + 1}, sequence, nil, true},
		{"the newer pair, as a torn write", []int{newest, newest + 1}, sequence - 1, nil, false},
		{"the newer pair, known to the store", []int{newest, newest + 1}, sequence, bft.ErrObserver, false},
		{"three copies", []int{newest, newest + 1, other}, 0, bft.ErrObserver, false},
		{"all copies", []int{0, 1, 2, 3}, 0, bft.ErrObserver, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var at []int
			for _, c := range tt.copies {
				at = append(at, c*copySize+100)
			}
			damage(at...)
			s, err := v.reopen(tt.stored)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatal(err)
			}
			if err == nil && (s.Sequence() == sequence) != tt.newest {
				t.Fatalf("record %d of %d", s.Sequence(), sequence)
			}
		})
	}
	t.Run("two torn writes that left one record each", func(t *testing.T) {
		a := newVault(t, 4)
		a.save(a.timeOut(1)) // number 2, in the first pair
		b := &vault{t: t, committee: a.committee, disk: newFakeDisk(nil), identity: a.identity}
		if err := bft.Format(b.disk, a.committee); err != nil {
			t.Fatal(err)
		}
		b.open(0)
		b.save(b.timeOut(2))
		copy(a.disk.written[copySize:2*copySize], b.disk.written[copySize:])
		s, err := a.reopen(1)
		if err != nil || s.Sequence() != 1 || s.Record().TimeoutView != 0 {
			t.Fatal("neither was acknowledged:", err)
		}
	})
	t.Run("three copies of the first records", func(t *testing.T) {
		first := newVault(t, 4)
		for _, c := range []int{0, 1, 2} {
			first.disk.written[c*copySize+100] ^= 1
		}
		if _, err := first.reopen(0); !errors.Is(err, bft.ErrObserver) {
			t.Fatal(err)
		}
	})
	t.Run("a record in the other's place", func(t *testing.T) {
		copy(v.disk.durable, good[bft.DiskSize/2:])
		copy(v.disk.durable[bft.DiskSize/2:], good[:bft.DiskSize/2])
		copy(v.disk.written, v.disk.durable)
		if _, err := v.reopen(0); !errors.Is(err, bft.ErrObserver) {
			t.Fatal(err)
		}
	})
	t.Run("old and new copies in one pair", func(t *testing.T) {
		damage()
		old := newVault(t, 4)
		old.save(old.timeOut(1)) // two records before
		copy(v.disk.durable[newest*copySize:], old.disk.durable[newest*copySize:][:copySize])
		copy(v.disk.written, v.disk.durable)
		if s, err := v.reopen(0); err != nil || s.Sequence() != sequence {
			t.Fatal("a write cut between its copies:", err)
		}
	})
}

func TestFilesThatAreNoRecord(t *testing.T) {
	good := filled(t, 4)
	for name, change := range map[string]func(d *fakeDisk){
		"never formatted": func(d *fakeDisk) { clear(d.written) },
		"empty":           func(d *fakeDisk) { d.written = nil },
		"a byte short":    func(d *fakeDisk) { d.written = d.written[:bft.DiskSize-1] },
		"a byte long":     func(d *fakeDisk) { d.written = append(d.written, 0) },
	} {
		d := &fakeDisk{written: slices.Clone(good.disk.durable), durable: slices.Clone(good.disk.durable)}
		change(d)
		_, err := bft.OpenSafety(d, good.committee, 0, fakeKey{0}, good.identity, 0)
		if !errors.Is(err, bft.ErrObserver) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.committee = newSim(t, 1, config{n: 5}).Committee
	if _, err := good.reopen(0); !errors.Is(err, bft.ErrObserver) {
		t.Error("the record of another committee:", err)
	}
}

func TestFailedWriteEndsSigning(t *testing.T) {
	for _, step := range []string{"write", "sync"} {
		v := filled(t, 4)
		broken := errors.New("broken disk")
		v.disk.before = func(at string) error {
			if at == step {
				return broken
			}
			return nil
		}
		if err := v.Save(v.timeOut(5)); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		v.disk.before = nil
		left := bytes.Clone(v.disk.written)
		if err := v.Save(v.timeOut(5)); !errors.Is(err, broken) || !bytes.Equal(left, v.disk.written) {
			t.Fatalf("%s: written again after a failure: %v", step, err)
		}
		if _, err := v.Sign(bft.SignVote); !errors.Is(err, broken) {
			t.Fatalf("%s: signs after a failure: %v", step, err)
		}
	}
}

// A crash at every step of a save, and of the repair after it, leaves the record that was
// acknowledged or the one that was being written, never an older one.
func TestCrashAtEveryStepOfASave(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	v := filled(t, 4)
	v.disk.random = random
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	for range rounds {
		v.fill()
		for view := uint64(4); view < 12; view++ {
			acknowledged := v.Sequence()
			steps := random.IntN(3)
			v.disk.before = func(string) error {
				if steps--; steps < 0 {
					return errors.New("crash")
				}
				return nil
			}
			saved := v.Save(v.timeOut(view)) == nil
			if saved {
				acknowledged++
			}
			for range 3 { // and the repair crashes too
				v.disk.crash()
				steps = random.IntN(4)
				if s, err := v.reopen(acknowledged); err == nil {
					v.Safety = s
					break
				} else if errors.Is(err, bft.ErrObserver) {
					t.Fatal("a crash makes an observer:", err)
				}
			}
			v.disk.before = nil
			v.disk.crash()
			v.open(acknowledged)
			if s := v.Sequence(); s != acknowledged && (saved || s != acknowledged+1) {
				t.Fatalf("record %d, acknowledged %d", s, acknowledged)
			}
		}
	}
}

// Whatever happens while the bad copy is rewritten, its twin stays.
func TestRepairNeverRisksTheGoodCopy(t *testing.T) {
	v := filled(t, 4)
	v.disk.random = rand.New(rand.NewPCG(6, 6))
	good := bytes.Clone(v.disk.durable)
	sequence := v.Sequence()
	for range 100 {
		copy(v.disk.durable, good)
		v.disk.durable[int(sequence%2)*bft.DiskSize/2+v.disk.random.IntN(bft.DiskSize/2)] ^= 4
		copy(v.disk.written, v.disk.durable)
		v.disk.before = func(step string) error {
			if step == "sync" {
				return errors.New("crash")
			}
			return nil
		}
		if _, err := v.reopen(sequence); err == nil {
			t.Fatal("no repair")
		}
		v.disk.before = nil
		v.disk.crash()
		s, err := v.reopen(sequence)
		if err != nil || s.Sequence() != sequence {
			t.Fatal(err)
		}
	}
}
