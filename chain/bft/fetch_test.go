package bft_test

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
)

// What is fetched is vouched for by its links to a certified block, and its certificates by
// their own signatures.
func TestFetchedBlocksAreChecked(t *testing.T) {
	type setup struct {
		*lone
		one, two, three chain.Block
	}
	for _, tt := range []struct {
		name   string
		answer func(s setup) bft.Blocks
		ok     bool
	}{
		{"as they are", func(s setup) bft.Blocks {
			return bft.Blocks{Blocks: []chain.Block{s.one, s.two}, QC: s.qc(s.two.Header)}
		}, true},
		{"a part of them", func(s setup) bft.Blocks {
			return bft.Blocks{Blocks: []chain.Block{s.one}, QC: s.two.QC()}
		}, false},
		{"none", func(s setup) bft.Blocks { return bft.Blocks{QC: s.qc(s.two.Header)} }, false},
		{"a wrong certificate inside", func(s setup) bft.Blocks {
			s.two.Votes.Signature[0] ^= 1
			return bft.Blocks{Blocks: []chain.Block{s.one, s.two}, QC: s.qc(s.two.Header)}
		}, false},
		{"a QC on another block", func(s setup) bft.Blocks {
			return bft.Blocks{Blocks: []chain.Block{s.one, s.two}, QC: s.qc(s.one.Header)}
		}, false},
		{"another payload", func(s setup) bft.Blocks {
			s.one.Payload = chain.Payload{[]byte("other")}
			return bft.Blocks{Blocks: []chain.Block{s.one, s.two}, QC: s.qc(s.two.Header)}
		}, false},
		{"without the first", func(s setup) bft.Blocks {
			return bft.Blocks{Blocks: []chain.Block{s.two}, QC: s.qc(s.two.Header)}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t, nil)
			one := l.block(l.genesis, 1, payload("a"))
			two := l.block(one.Header, 2)
			three := l.block(two.Header, 3)
			l.propose(three)
			l.answer(tt.answer(setup{l, one, two, three}))
			if l.voted(three) != tt.ok {
				t.Fatalf("votes: %t", l.voted(three))
			}
		})
	}
	t.Run("a block that nobody certified, in front of one", func(t *testing.T) {
		l := newLone(t, nil)
		one := l.block(l.genesis, 1)
		junk := l.block(l.genesis, 1, payload("junk"))
		l.propose(l.block(one.Header, 2))
		l.answer(bft.Blocks{Blocks: []chain.Block{junk, one}, QC: l.qc(one.Header)})
		if l.alice.machine.states[junk.Header.ID()] != nil {
			t.Fatal("executed")
		}
	})
	t.Run("blocks that nobody asked for", func(t *testing.T) {
		l := newLone(t, nil)
		one := l.block(l.genesis, 1)
		l.answer(bft.Blocks{Blocks: []chain.Block{one}, QC: l.qc(one.Header)})
		if l.alice.machine.states[one.Header.ID()] != nil {
			t.Fatal("executed")
		}
	})
	t.Run("an answer from whom she did not ask", func(t *testing.T) {
		l := newLone(t, nil)
		one := l.block(l.genesis, 1)
		two := l.block(one.Header, 2)
		l.propose(two)
		l.say(2, bft.Blocks{Blocks: []chain.Block{one}, QC: l.qc(one.Header)}) // 0 was asked
		if l.voted(two) {
			t.Fatal("taken")
		}
	})
}

// A member without an answer asks the next of those who voted for the block.
func TestFetchGoesRound(t *testing.T) {
	l := newLone(t, func(k *chain.KeyBlock) { k.MaxBaseMS = 100 })
	one := l.block(l.genesis, 1)
	asked := map[int]int{}
	l.alice.onSend = func(s bft.Send) {
		if _, ok := s.Message.(bft.Fetch); ok {
			asked[s.To]++
		}
	}
	l.propose(l.block(one.Header, 2))
	l.pass(time.Second)
	if len(asked) != 3 || asked[0] < 2 {
		t.Fatalf("asks %v", asked)
	}
}

// A branch that is longer than one answer, and in which nothing becomes final, is fetched
// answer by answer.
func TestLongBranchWithoutFinalBlocksIsFetched(t *testing.T) {
	l := newLone(t, nil)
	var branch []chain.Block
	parent, q := l.genesis, l.Genesis()
	for view := uint64(1); view < 400; view += 2 { // no two views in a row
		var change []func(*chain.Block)
		if view > 1 {
			change = append(change, after(l.tc(view-1, q, q, q)))
		}
		b := l.block(parent, view, change...)
		branch = append(branch, b)
		parent, q = b.Header, l.qc(b.Header)
	}
	answers := 0
	l.alice.onSend = func(s bft.Send) {
		f, ok := s.Message.(bft.Fetch)
		if !ok {
			return
		}
		answers++
		rest := branch[f.From-1:]
		m := bft.Blocks{Blocks: rest, QC: f.QC}
		if len(rest) > 64 {
			m = bft.Blocks{Blocks: rest[:64], QC: rest[64].QC()}
		}
		l.after(time.Millisecond, func() { l.say(s.To, m) })
	}
	tip := l.block(parent, 401, after(l.tc(400, q, q, q)))
	l.propose(tip)
	l.pass(400 * time.Millisecond)
	if !l.voted(tip) {
		t.Fatalf("not after %d answers", answers)
	}
}

func TestFetchIsAnsweredForBlocksThatExist(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	l.propose(one)
	two := l.block(one.Header, 2)
	l.propose(two)
	l.say(0, bft.Certified{QC: l.qc(two.Header)}) // one is final
	three := l.block(two.Header, 3)
	l.propose(three)
	with := func(q chain.QC, change func(*chain.Tuple)) chain.QC {
		change(&q.Tuple)
		return q
	}
	for _, tt := range []struct {
		name   string
		fetch  bft.Fetch
		blocks int
	}{
		{"all of them", bft.Fetch{From: 1, QC: l.qc(three.Header)}, 3},
		{"those that are not final", bft.Fetch{From: 2, QC: l.qc(three.Header)}, 2},
		{"the final one", bft.Fetch{From: 1, QC: l.qc(one.Header)}, 1},
		{"more than there are", bft.Fetch{From: 4, QC: l.qc(three.Header)}, 0},
		{"from the key block on", bft.Fetch{From: 0, QC: l.qc(three.Header)}, 0},
		{"an unknown block", bft.Fetch{From: 1, QC: l.qc(l.block(three.Header, 5).Header)}, 0},
		{"a height that the block does not have", bft.Fetch{From: 1, QC: with(l.qc(three.Header),
			func(x *chain.Tuple) { x.Height = 1000 })}, 0},
		{"a height that the final block does not have", bft.Fetch{From: 1, QC: with(l.qc(one.Header),
			func(x *chain.Tuple) { x.Height = 2 })}, 0},
		{"another final block", bft.Fetch{From: 1, QC: with(l.qc(one.Header),
			func(x *chain.Tuple) { x.Block[0]++ })}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.sent = nil
			l.say(2, tt.fetch)
			var got []chain.Block
			for _, m := range l.sent {
				if b, ok := m.(bft.Blocks); ok && b.QC.Tuple == tt.fetch.QC.Tuple {
					got = b.Blocks
				}
			}
			if len(got) != tt.blocks {
				t.Fatalf("%d blocks", len(got))
			}
		})
	}
}
