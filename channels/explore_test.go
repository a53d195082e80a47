package channels

import (
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
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
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{2, 2}, disputes: 1, ticks: 5, anchors: 1,
		},
		"byzantine closes": {
			lone: true, byzantine: B, funds: [2]int64{1, 0}, pays: [2]int8{2, 2}, closes: 1, ticks: 5,
		},
		"byzantine releases": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{1, 2}, asks: release, ticks: 4,
		},
		"byzantine cuts": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{2, 1},
			asks: []JointAction{Cut{}}, ticks: 3, anchors: 1,
		},
		"byzantine settles": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{1, 1},
			asks: []JointAction{Settlement{}}, ticks: 3, disputes: 1,
		},
		"byzantine equivocates": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{0, 3}, equivocation: 1, ticks: 5, restarts: 1,
		},
		"honest": {
			funds: [2]int64{1, 1}, pays: [2]int8{1, 2}, disputes: 1, ticks: 4, restarts: 1,
		},
		"honest, restored": {
			funds: [2]int64{2, 1}, pays: [2]int8{2, 1}, ticks: 5, restores: 1,
		},
		"byzantine, restored": {
			lone: true, byzantine: B, funds: [2]int64{2, 1}, pays: [2]int8{2, 1}, ticks: 5, restores: 1,
		},
		"outage": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{1, 1}, disputes: 1, ticks: 3, jumps: 1,
		},
		"outgoing lock": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, locks: [2]int8{1, 0}, pays: [2]int8{0, 1}, disputes: 1, ticks: 8, quick: 1,
		},
		"incoming lock": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, locks: [2]int8{0, 1}, pays: [2]int8{0, 3}, closes: 1, ticks: 8, quick: 1,
		},
	}
}

// beyond are worlds that the design page lists as not explored.
func beyond() map[string]bounds {
	return map[string]bounds{
		"unequal amounts": {
			lone: true, byzantine: B, funds: [2]int64{3, 2}, pays: [2]int8{2, 2}, amounts: []cypherlink.Amount{1, 3},
			disputes: 1, ticks: 4, anchors: 1,
		},
		"reserve": {
			lone: true, byzantine: B, funds: [2]int64{3, 2}, pays: [2]int8{2, 2}, amounts: []cypherlink.Amount{1, 2},
			reserve: 1, asks: []JointAction{Release{Amount: 1}}, ticks: 4,
		},
		"two outgoing locks": {
			lone: true, byzantine: B, funds: [2]int64{2, 1}, locks: [2]int8{2, 0}, closes: 1, ticks: 8, quick: 1,
		},
		"two incoming locks": {
			lone: true, byzantine: B, funds: [2]int64{1, 2}, locks: [2]int8{0, 2}, pays: [2]int8{0, 4}, closes: 1, ticks: 8,
		},
		"locks both ways": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, locks: [2]int8{1, 1}, pays: [2]int8{0, 2}, disputes: 1,
			closes: 1, ticks: 7,
		},
		"honest locks": {
			funds: [2]int64{1, 1}, locks: [2]int8{1, 1}, closes: 1, ticks: 8, restarts: 1,
		},
		"validators": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{2, 2}, disputes: 1, ticks: 4, threshold: 1,
		},
		"honest validators": {
			funds: [2]int64{2, 1}, pays: [2]int8{2, 1}, disputes: 1, ticks: 4, threshold: 1, restarts: 1,
		},
		"top-up and release": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{2, 1}, topUps: [2]int8{1, 0},
			asks: []JointAction{Release{Amount: 1}, Record{}}, ticks: 4,
		},
		"honest, together": {
			funds: [2]int64{2, 1}, pays: [2]int8{2, 1}, ticks: 4,
			asks: []JointAction{Release{Amount: 1}, Cut{}, Settlement{}, Record{}},
		},
		"follower behind": {
			lone: true, byzantine: B, funds: [2]int64{1, 1}, pays: [2]int8{2, 2}, disputes: 1, ticks: 6, outages: 1, window: 4, // as much longer
		},
	}
}

func everywhere() map[string]bounds {
	all := configurations()
	maps.Copy(all, beyond())
	maps.Copy(all, locking())
	return all
}

// effort is how many states of each world are explored, or steps walked: a part of what the
// environment may ask for.
func effort(t *testing.T) int {
	t.Helper()
	if text := os.Getenv("CYPHERLINK_CHANNELS_EFFORT"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if testing.Short() {
		return 2_000
	}
	return 30_000
}

func TestExplore(t *testing.T) {
	limit := effort(t)
	for name, b := range everywhere() {
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
	const steps = 60
	walks := 2 * effort(t) / steps
	for name, b := range everywhere() {
		t.Run(name, func(t *testing.T) {
			x := &explorer{}
			x.walk(b, 1, walks, steps)
			x.report(t)
		})
	}
}
