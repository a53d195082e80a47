package channels

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// explorer goes through the states of a world.
type explorer struct {
	seen  map[[16]byte]bool
	limit int
	path  []string
	found []string
	err   error
}

// from explores everything that can happen, until limit states were seen or a rule is broken.
func (x *explorer) from(w *world, depth int) {
	k := w.key()
	if x.seen[k] || x.err != nil || len(x.seen) >= x.limit || depth == 0 {
		return
	}
	x.seen[k] = true
	for _, c := range w.choices() {
		next := w.clone()
		x.path = append(x.path, c.name)
		c.do(next)
		next.check()
		if w.h.err != nil {
			x.err, x.found = w.h.err, append([]string(nil), x.path...)
			return
		}
		x.from(next, depth-1)
		x.path = x.path[:len(x.path)-1]
		if x.err != nil {
			return
		}
	}
}

// walk takes random walks.
func (x *explorer) walk(b bounds, seed uint64, walks, steps int) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range walks {
		w := newWorld(b)
		var path []string
		for range steps {
			all := w.choices()
			if len(all) == 0 {
				break
			}
			c := all[r.IntN(len(all))]
			path = append(path, c.name)
			w = w.clone()
			c.do(w)
			w.check()
			if w.h.err != nil {
				x.err, x.found = w.h.err, path
				return
			}
		}
	}
}

func (x *explorer) report(t *testing.T) {
	t.Helper()
	if x.err != nil {
		t.Fatalf("%v, after\n  %s", x.err, strings.Join(x.found, "\n  "))
	}
}

func configurations() map[string]bounds {
	release := []JointAction{Release{Amount: 1}}
	return map[string]bounds{
		"byzantine payer and payee": {
			lone: true, byzantine: B, escrow: [2]int64{1, 1}, pays: [2]int8{2, 2}, disputes: 1, ticks: 5, anchors: 1,
		},
		"byzantine closes": {
			lone: true, byzantine: B, escrow: [2]int64{1, 0}, pays: [2]int8{2, 2}, closes: 1, ticks: 5,
		},
		"byzantine releases": {
			lone: true, byzantine: B, escrow: [2]int64{1, 1}, pays: [2]int8{1, 2}, asks: release, ticks: 4,
		},
		"byzantine cuts": {
			lone: true, byzantine: B, escrow: [2]int64{1, 1}, pays: [2]int8{2, 1},
			asks: []JointAction{Cut{}}, ticks: 3, anchors: 1,
		},
		"byzantine settles": {
			lone: true, byzantine: B, escrow: [2]int64{1, 1}, pays: [2]int8{1, 1},
			asks: []JointAction{Settlement{}}, ticks: 3, disputes: 1,
		},
		"byzantine equivocates": {
			lone: true, byzantine: B, escrow: [2]int64{1, 1}, pays: [2]int8{0, 3}, equivocation: 1, ticks: 5, restarts: 1,
		},
		"honest": {
			escrow: [2]int64{1, 1}, pays: [2]int8{1, 2}, disputes: 1, ticks: 4, restarts: 1,
		},
		"honest, restored": {
			escrow: [2]int64{2, 1}, pays: [2]int8{2, 1}, ticks: 5, restores: 1,
		},
		"byzantine, restored": {
			lone: true, byzantine: B, escrow: [2]int64{2, 1}, pays: [2]int8{2, 1}, ticks: 5, restores: 1,
		},
		"outage": {
			lone: true, byzantine: B, escrow: [2]int64{1, 1}, pays: [2]int8{1, 1}, disputes: 1, ticks: 3, jumps: 1,
		},
		"outgoing lock": {
			lone: true, byzantine: B, escrow: [2]int64{1, 1}, locks: [2]int8{1, 0}, pays: [2]int8{0, 1}, disputes: 1, ticks: 8, quick: 1,
		},
		"incoming lock": {
			lone: true, byzantine: B, escrow: [2]int64{1, 1}, locks: [2]int8{0, 1}, pays: [2]int8{0, 3}, closes: 1, ticks: 8, quick: 1,
		},
	}
}

func TestExplore(t *testing.T) {
	limit := 100_000
	if testing.Short() {
		limit = 20_000
	}
	for name, b := range configurations() {
		t.Run(name, func(t *testing.T) {
			x := &explorer{seen: map[[16]byte]bool{}, limit: limit}
			x.from(newWorld(b), 1000)
			x.report(t)
			t.Logf("%d states, all of them: %v", len(x.seen), len(x.seen) < limit)
		})
	}
}

// Random walks reach further than an exploration that has to end.
func TestWalks(t *testing.T) {
	walks := 20_000
	if testing.Short() {
		walks = 1000
	}
	for name, b := range configurations() {
		t.Run(name, func(t *testing.T) {
			x := &explorer{}
			x.walk(b, 1, walks, 60)
			x.report(t)
		})
	}
}
