package bft

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
)

// rules are the decisions that safety rests on. The explorer runs the replica's own, and each
// broken one in its place.
type rules struct {
	quorum     func(n int) int
	mayVote    func(voted, view, high uint64, tc *chain.TC) bool
	mayTimeout func(current, voted, timedOut, view, high, lock uint64) bool
	commits    func(views []uint64) bool
}

func ourRules() rules { return rules{cosi.Quorum, mayVote, mayTimeout, commits} }

// model is a committee of n with f faulty members who vote for everything and time out
// everything over whatever QC suits them. Every honest member, in every view, sees up to two
// blocks, each on any certified parent that a QC or TC can justify, and votes or not, and
// gives up its term or not: all that an asynchronous network and a faulty leader can do.
//
// Nothing is ever lost that was signed: whatever certificate the signatures allow exists. An
// honest member knows no QC but those that it voted on top of, which is the least that it can
// report. Since a member acts in rising views, all members may be taken through the views
// together.
type model struct {
	rules
	n, f, depth int
	k           uint64
	// lean leaves out votes that certify nothing, votes beyond a quorum and timeouts before
	// the end of a term: they can only raise locks and so only help. It reaches further.
	lean bool
}

// world is what has been certified, and what each honest member may still say.
type world struct {
	blocks []certifiedBlock
	honest []honestMember
}

type certifiedBlock struct {
	view   uint64
	parent int // index, or -1 if it no longer matters
	// extends says that it is the newest committed block or descends from it.
	extends bool
}

type honestMember struct {
	lock uint64
	// out is whether it gave up the current term, high what it reported.
	out  bool
	high uint64
}

func (m model) quorum() int { return m.rules.quorum(m.n) }
func (m model) start() world {
	return world{
		blocks: []certifiedBlock{{parent: -1, extends: true}},
		honest: make([]honestMember, m.n-m.f),
	}
}

// explore searches so many views, breadth first, and tells how many worlds it met, and a
// conflict if there is one.
func (m model) explore(views uint64) (worlds int, conflict string) {
	frontier := map[string]world{"": m.start()}
	for view := uint64(1); view <= views; view++ {
		next := map[string]world{}
		for _, w := range frontier {
			for _, after := range m.step(w, view) {
				if after.conflict != "" {
					return worlds, after.conflict
				}
				next[after.key()] = after.world
			}
		}
		worlds += len(next)
		frontier = next
	}
	return worlds, ""
}

type outcome struct {
	world
	conflict string
}

// ground is a way to justify a block of a view.
type ground struct {
	parent int
	tc     *chain.TC
}

// grounds lists the parents that some honest member accepts: that of the view before, and
// after a TC any that its signers allow. The faulty report nothing, so the TC's maximum is
// that of the honest signers with the lowest reports.
func (m model) grounds(w world, view uint64) []ground {
	var tc *chain.TC
	if view > 1 && (view-1)%m.k == 0 {
		var reports []uint64
		for _, h := range w.honest {
			if h.out {
				reports = append(reports, h.high)
			}
		}
		slices.Sort(reports)
		if need := m.quorum() - m.f; len(reports) >= need {
			tc = &chain.TC{View: view - 1, HighViews: reports[:need]}
		}
	}
	var all []ground
	for i, b := range w.blocks {
		if m.mayVote(0, view, b.view, nil) {
			all = append(all, ground{i, nil})
		} else if tc != nil && m.mayVote(0, view, b.view, tc) {
			all = append(all, ground{i, tc})
		}
	}
	return all
}

// step lists what can become of a world in a view.
func (m model) step(w world, view uint64) []outcome {
	grounds := m.grounds(w, view)
	if (view-1)%m.k == 0 {
		w.honest = slices.Clone(w.honest)
		for i := range w.honest {
			w.honest[i].out, w.honest[i].high = false, 0
		}
	}
	all := m.finish(nil, w, view)
	for i := range grounds {
		all = m.votes(all, w, view, grounds[i:i+1])
		for j := i; j < len(grounds); j++ {
			all = m.votes(all, w, view, []ground{grounds[i], grounds[j]})
		}
	}
	return all
}

// votes lets every honest member vote for each of the blocks or not.
func (m model) votes(all []outcome, w world, view uint64, blocks []ground) []outcome {
	choices := 1 << len(blocks)
	total := int(math.Pow(float64(choices), float64(len(w.honest))))
	for choice := range total {
		after := world{blocks: slices.Clone(w.blocks), honest: slices.Clone(w.honest)}
		counts, legal, before := make([]int, len(blocks)), true, 0
		for i := range after.honest {
			h := &after.honest[i]
			mask := choice % choices
			choice /= choices
			// Of members in one state it does not matter who votes for what.
			legal = legal && (i == 0 || w.honest[i] != w.honest[i-1] || mask >= before)
			before = mask
			voted := view - 1
			if h.out {
				voted = m.last(view)
			}
			for b, g := range blocks {
				if mask>>b&1 == 0 {
					continue
				}
				parent := w.blocks[g.parent].view
				legal = legal && m.mayVote(voted, view, parent, g.tc)
				voted = max(voted, view)
				h.lock = max(h.lock, parent)
				counts[b]++
			}
		}
		if !legal {
			continue
		}
		need, certified := m.quorum()-m.f, 0
		for b, g := range blocks {
			if counts[b] >= need {
				certified++
				parent := w.blocks[g.parent]
				after.blocks = append(after.blocks, certifiedBlock{view, g.parent, parent.extends})
			}
		}
		if certified == 0 || m.lean && !minimal(counts, need) {
			continue
		}
		if conflict := m.commit(&after, len(w.blocks)); conflict != "" {
			return []outcome{{conflict: conflict}}
		}
		all = m.finish(all, after, view)
	}
	return all
}

func minimal(counts []int, need int) bool {
	for _, c := range counts {
		if c != need {
			return false
		}
	}
	return true
}

func (m model) last(view uint64) uint64 { return ((view-1)/m.k + 1) * m.k }

// commit applies the commit rule to the new blocks, from index first.
func (m model) commit(w *world, first int) string {
	for tip := first; tip < len(w.blocks); tip++ {
		b0, views := tip, []uint64{w.blocks[tip].view}
		for range m.depth - 1 {
			if b0 = w.blocks[b0].parent; b0 < 0 {
				break
			}
			views = append([]uint64{w.blocks[b0].view}, views...)
		}
		if b0 < 0 || !m.commits(views) {
			continue
		}
		if !w.blocks[b0].extends {
			return fmt.Sprintf("block of view %d is final beside a final block: %+v", views[0], w.blocks)
		}
		for i := range w.blocks {
			w.blocks[i].extends = m.descends(*w, i, b0)
		}
	}
	return ""
}

func (m model) descends(w world, i, from int) bool {
	for i > from {
		i = w.blocks[i].parent
	}
	return i == from
}

// finish lets every honest member give up the term or not, and forgets what cannot matter.
func (m model) finish(all []outcome, w world, view uint64) []outcome {
	for choice := range 1 << len(w.honest) {
		after := world{blocks: w.blocks, honest: slices.Clone(w.honest)}
		legal := true
		for i := range after.honest {
			if choice>>i&1 == 0 {
				legal = legal && (i == 0 || w.honest[i] != w.honest[i-1] || choice>>(i-1)&1 == 0)
				continue
			}
			h := &after.honest[i]
			legal = legal && !h.out
			h.out, h.high = true, m.report(w, *h, view)
		}
		everybody := choice == 1<<len(w.honest)-1
		if !legal || m.lean && everybody != (view%m.k == 0) || m.lean && choice != 0 && !everybody {
			continue
		}
		all = append(all, outcome{world: m.forget(after, view)})
	}
	return all
}

// report is the lowest QC that the rule lets a member report for its term.
func (m model) report(w world, h honestMember, view uint64) uint64 {
	for _, b := range w.blocks { // in rising views
		if m.mayTimeout(view, view, 0, m.last(view), b.view, h.lock) {
			return b.view
		}
	}
	return h.lock
}

// forget drops the certified blocks that can neither be a parent again, nor are among the
// D-1 ancestors of one that can. A parent after a TC is at least as high as the lowest report
// that a quorum of the future can have.
func (m model) forget(w world, view uint64) world {
	locks := make([]uint64, len(w.honest))
	for i, h := range w.honest {
		locks[i] = h.lock
		if h.out {
			locks[i] = min(h.high, h.lock)
		}
	}
	slices.Sort(locks)
	least := locks[m.quorum()-m.f-1]
	if m.mayVote(0, 9, 1, &chain.TC{View: 8, HighViews: []uint64{5}}) || m.mayTimeout(1, 1, 0, 9, 1, 5) {
		least = 0 // a broken rule: everything stays possible
	}
	keep := make([]bool, len(w.blocks))
	for i, b := range w.blocks {
		for at, up := i, 0; (b.view >= least || b.view == view) && at >= 0 && up < m.depth; up++ {
			keep[at] = true
			at = w.blocks[at].parent
		}
	}
	place := make([]int, len(w.blocks))
	var kept []certifiedBlock
	for i, b := range w.blocks {
		place[i] = -1
		if !keep[i] {
			continue
		}
		place[i] = len(kept)
		if b.parent >= 0 {
			b.parent = place[b.parent]
		}
		kept = append(kept, b)
	}
	w = renumber(world{blocks: kept, honest: w.honest}, view-min(view, uint64(m.depth)))
	slices.SortFunc(w.honest, func(a, b honestMember) int {
		out := map[bool]int{true: 1}
		return cmp.Or(cmp.Compare(a.lock, b.lock), out[a.out]-out[b.out], cmp.Compare(a.high, b.high))
	})
	return w
}

// renumber closes the gaps between the views below bound: of old views the order alone counts.
func renumber(w world, bound uint64) world {
	var old []uint64
	for _, b := range w.blocks {
		old = append(old, b.view)
	}
	for _, h := range w.honest {
		old = append(old, h.lock, h.high)
	}
	slices.Sort(old)
	old = slices.Compact(old)
	rank := func(view uint64) uint64 {
		if at, _ := slices.BinarySearch(old, view); view < bound {
			return uint64(at)
		}
		return view
	}
	for i := range w.blocks {
		w.blocks[i].view = rank(w.blocks[i].view)
	}
	for i, h := range w.honest {
		w.honest[i].lock, w.honest[i].high = rank(h.lock), rank(h.high)
	}
	return w
}

func (w world) key() string {
	var b []byte
	for _, x := range w.blocks {
		b = append(b, byte(x.view), byte(x.parent+1), 0)
		if x.extends {
			b[len(b)-1] = 1
		}
	}
	for _, h := range w.honest {
		b = append(b, 0xff, byte(h.lock), byte(h.high), 0)
		if h.out {
			b[len(b)-1] = 1
		}
	}
	return string(b)
}

// No order of messages, no loss and no faulty member makes two blocks final that are not on
// one branch, as far as these many views.
func TestExploreOurRules(t *testing.T) {
	for _, tt := range []struct {
		n            int
		k            uint64
		depth        int
		lean         bool
		views, short uint64
	}{
		{4, 1, 2, false, 5, 4},
		{4, 1, 3, false, 5, 3},
		{4, 2, 2, false, 10, 6},
		{4, 3, 3, false, 15, 6},
		{5, 1, 2, false, 4, 3},
		{4, 1, 2, true, 10, 5},
		{4, 1, 3, true, 9, 6},
		{4, 2, 3, true, 18, 10},
		{4, 3, 2, true, 30, 12},
		{5, 1, 2, true, 8, 5},
		{6, 1, 2, true, 7, 4},
		{7, 1, 3, true, 6, 4},
	} {
		name := fmt.Sprintf("n %d, k %d, D %d, lean %t", tt.n, tt.k, tt.depth, tt.lean)
		t.Run(name, func(t *testing.T) {
			m := model{
				rules: ourRules(), n: tt.n, f: cosi.MaxFaulty(tt.n), k: tt.k, depth: tt.depth, lean: tt.lean,
			}
			views := tt.views
			if testing.Short() {
				views = tt.short
			}
			worlds, conflict := m.explore(views)
			if conflict != "" {
				t.Fatal(conflict)
			}
			t.Logf("%d views, %d worlds", views, worlds)
		})
	}
}

// Each of these rules is broken as someone has broken it, and the explorer finds out.
func TestExploreFindsBrokenRules(t *testing.T) {
	for _, tt := range []struct {
		name   string
		n      int
		broken func(*rules)
	}{
		{"quorum 2f+1 of 5", 5, func(r *rules) {
			r.quorum = func(n int) int { return 2*cosi.MaxFaulty(n) + 1 }
		}},
		{"quorum 2f+1 of 6", 6, func(r *rules) {
			r.quorum = func(n int) int { return 2*cosi.MaxFaulty(n) + 1 }
		}},
		{"no lock at timeout", 4, func(r *rules) {
			r.mayTimeout = func(current, voted, timedOut, view, high, _ uint64) bool {
				return mayTimeout(current, voted, timedOut, view, high, 0)
			}
		}},
		{"no TC maximum", 4, func(r *rules) {
			r.mayVote = func(voted, view, high uint64, tc *chain.TC) bool {
				if tc != nil {
					tc = &chain.TC{View: tc.View}
				}
				return mayVote(voted, view, high, tc)
			}
		}},
		{"commit over a gap", 4, func(r *rules) {
			r.commits = func([]uint64) bool { return true }
		}},
		{"no V1", 4, func(r *rules) {
			r.mayVote = func(_, view, high uint64, tc *chain.TC) bool {
				return mayVote(0, view, high, tc)
			}
		}},
		{"no V2", 4, func(r *rules) {
			r.mayVote = func(voted, view, high uint64, _ *chain.TC) bool {
				return view > voted && view > high
			}
		}},
	} {
		for _, depth := range []int{2, 3} {
			t.Run(fmt.Sprintf("%s, D %d", tt.name, depth), func(t *testing.T) {
				m := model{
					rules: ourRules(), n: tt.n, f: cosi.MaxFaulty(tt.n), k: 1, depth: depth, lean: true,
				}
				tt.broken(&m.rules)
				if _, conflict := m.explore(7); conflict == "" {
					t.Fatal("not found")
				}
			})
		}
	}
}
