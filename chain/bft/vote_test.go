package bft_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/cosi"
)

// Each row proposes one block to alice, who has voted for a block of view 1, and is then told
// whether she votes.
func TestVotesByTheRulesAlone(t *testing.T) {
	type setup struct {
		*lone
		one chain.Block
	}
	for _, tt := range []struct {
		name    string
		propose func(s setup) bft.Proposal
		votes   bool
	}{
		{"the next block", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2))
		}, true},
		{"with a payload", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, payload("a", "b")))
		}, true},
		{"V0: of another epoch", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) { b.Header.Epoch = 2 }))
		}, false},
		{"V0: of another committee", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) { b.Header.Committee[0]++ }))
		}, false},
		{"V0: by a member who does not lead", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) {
				b.Header.Proposer = s.KeyBlock().Members[0].ID
			}))
		}, false},
		{"V0: a wrong signature", func(s setup) bft.Proposal {
			p := s.proposal(s.block(s.one.Header, 2))
			p.Signature[8] ^= 1
			return p
		}, false},
		{"V0: a height skipped", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) { b.Header.Height++ }))
		}, false},
		{"V0: a QC with a wrong signature", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) { b.Votes.Signature[0] ^= 1 }))
		}, false},
		{"V0: a QC without a quorum", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) {
				b.Votes = s.share(0, s.one)
			}))
		}, false},
		{"V0: a parent that nobody knows", func(s setup) bft.Proposal {
			hidden := s.block(s.one.Header, 2)
			return s.proposal(s.block(hidden.Header, 3))
		}, false},
		{"V0: half a second ahead", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, s.at(500*time.Millisecond)))
		}, true},
		{"V0: more than half a second ahead", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, s.at(501*time.Millisecond)))
		}, false},
		{"V0: five seconds behind", func(s setup) bft.Proposal {
			old := s.block(s.one.Header, 2, s.at(time.Millisecond))
			s.wait(5001 * time.Millisecond)
			return s.proposal(old)
		}, true},
		{"V0: more than five seconds behind", func(s setup) bft.Proposal {
			old := s.block(s.one.Header, 2, s.at(time.Millisecond))
			s.wait(5002 * time.Millisecond)
			return s.proposal(old)
		}, false},
		{"V0: the time of its parent", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) {
				b.Header.TimeMS = s.one.Header.TimeMS
			}))
		}, false},
		{"V0: an ending without a key block", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) { b.Header.Ending[0] = 1 }))
		}, false},
		{"V0: another payload than its root", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, payload("a"), func(b *chain.Block) {
				other := chain.Payload{[]byte("b")}
				b.Header.PayloadRoot, b.Header.PayloadCount = other.Root(), 1
			}))
		}, false},
		{"V0: a transaction that fails", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, payload("\xff")))
		}, false},
		{"V0: other roots than execution gives", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, func(b *chain.Block) { b.Header.Roots.FeedSize = 9 }))
		}, false},
		{"V0: a TC that it does not need", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 2, after(s.tc(1, s.Genesis(), s.Genesis(), s.Genesis()))))
		}, false},
		{"V1: a second block of a view", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.genesis, 1, payload("other")))
		}, false},
		{"V2: a TC, on the highest QC", func(s setup) bft.Proposal {
			q := s.qc(s.one.Header)
			return s.proposal(s.block(s.one.Header, 3, after(s.tc(2, q, q, s.Genesis()))))
		}, true},
		{"V2: a TC, on the highest QC reported", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.genesis, 3, after(s.tc(2, s.Genesis(), s.Genesis(), s.Genesis()))))
		}, true},
		{"V2: a TC, below the highest QC reported", func(s setup) bft.Proposal {
			q := s.qc(s.one.Header)
			return s.proposal(s.block(s.genesis, 3, after(s.tc(2, q, q, s.Genesis()))))
		}, false},
		{"V2: a TC, below one of the QCs reported", func(s setup) bft.Proposal {
			q := s.qc(s.one.Header)
			return s.proposal(s.block(s.genesis, 3, after(s.tc(2, s.Genesis(), q, s.Genesis()))))
		}, false},
		{"V2: a TC that hides the highest report", func(s setup) bft.Proposal {
			tc := s.tc(2, s.Genesis(), s.qc(s.one.Header), s.Genesis())
			tc.HighViews, tc.High = []uint64{0, 0, 0}, s.Genesis()
			return s.proposal(s.block(s.genesis, 3, after(tc)))
		}, false},
		{"V2: a TC whose QC is below its maximum", func(s setup) bft.Proposal {
			tc := s.tc(2, s.Genesis(), s.qc(s.one.Header), s.Genesis())
			tc.High = s.Genesis()
			return s.proposal(s.block(s.genesis, 3, after(tc)))
		}, false},
		{"V2: a view skipped without a TC", func(s setup) bft.Proposal {
			return s.proposal(s.block(s.one.Header, 3))
		}, false},
		{"V2: an older TC", func(s setup) bft.Proposal {
			q := s.qc(s.one.Header)
			return s.proposal(s.block(s.one.Header, 4, after(s.tc(2, q, q, q))))
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t, nil)
			one := l.block(l.genesis, 1)
			l.propose(one)
			if !l.voted(one) {
				t.Fatal("no vote for the first block")
			}
			p := tt.propose(setup{l, one})
			l.say(l.Leader(max(1, p.Block.Header.View)), p)
			if l.voted(p.Block) != tt.votes {
				t.Fatalf("votes: %t", l.voted(p.Block))
			}
			if tt.votes {
				stored, ok := l.alice.store.blocks[p.Block.Header.ID()]
				if !ok || stored.Payload.Root() != p.Block.Header.PayloadRoot {
					t.Fatal("I3: the block voted for is not stored")
				}
			}
		})
	}
}

// share is a certificate of one member.
func (l *lone) share(i int, b chain.Block) cosi.Certificate {
	return cosi.Certificate{Bitmap: []byte{1 << i}, Signature: l.vote(i, b.Header.Tuple()).Signature}
}

// at sets a block's time, counted from alice's clock.
func (l *lone) at(d time.Duration) func(*chain.Block) {
	return func(b *chain.Block) { b.Header.TimeMS = l.now.Add(d).UnixMilli() }
}

// wait lets time pass without alice giving up: only her clock moves.
func (l *lone) wait(d time.Duration) { l.alice.skew += d }

func TestBlockAheadOfTheClockIsVotedForWhenItsTimeComes(t *testing.T) {
	l := newLone(t, nil)
	b := l.block(l.genesis, 1, l.at(900*time.Millisecond))
	l.propose(b)
	l.pass(399 * time.Millisecond)
	if l.voted(b) {
		t.Fatal("too early")
	}
	l.pass(2 * time.Millisecond)
	if !l.voted(b) {
		t.Fatal("not judged again")
	}
}

// The lower bound is judged once, when the header first comes, though its parent, and so its
// execution, comes later.
func TestLateBlockStaysLateAndTimelyBlockStaysTimely(t *testing.T) {
	l := newLone(t, func(k *chain.KeyBlock) { k.MaxBaseMS, k.MinExpiryS = 60_000, 999 })
	one := l.block(l.genesis, 1)
	two := l.block(one.Header, 2)
	l.propose(two) // its parent is missing
	if l.voted(two) {
		t.Fatal("votes without the parent")
	}
	fetch, ok := l.sent[len(l.sent)-1].(bft.Fetch)
	if !ok || fetch.QC.Tuple != one.Header.Tuple() {
		t.Fatalf("asks for %+v", l.sent)
	}
	l.pass(8 * time.Second)
	l.answer(bft.Blocks{Blocks: []chain.Block{one}, QC: fetch.QC})
	if !l.voted(two) {
		t.Fatal("judged again")
	}
}

// answer gives alice the answer to her fetch, whomever she asked.
func (l *lone) answer(m bft.Message) {
	for from := range 3 {
		l.say(from, m)
	}
}

func TestNoVoteInATermGivenUp(t *testing.T) {
	l := newLone(t, func(k *chain.KeyBlock) { k.TermViews = 2 })
	l.pass(1600 * time.Millisecond)
	if got := l.timedOut(); len(got) == 0 || got[0].View != 2 {
		t.Fatalf("timeouts: %+v", got)
	}
	one := l.block(l.genesis, 1)
	l.propose(one)
	two := l.block(one.Header, 2)
	l.propose(two)
	if l.voted(one) || l.voted(two) {
		t.Fatal("V1: votes in a view given up")
	}
	three := l.block(two.Header, 3)
	l.propose(three)
	l.answer(bft.Blocks{Blocks: []chain.Block{one, two}, QC: l.qc(two.Header)})
	if !l.voted(three) {
		t.Fatal("does not vote in the next term")
	}
}

// bft.md 3.6: a QC that this member voted on top of is reported through every later timeout,
// and no TC that rests on it allows a lower parent.
func TestLockOutlivesConsecutiveTimeouts(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	l.propose(one)
	two := l.block(one.Header, 2)
	l.propose(two) // alice votes on top of QC(1)
	q1 := l.qc(one.Header)
	for view := uint64(2); view < 8; view++ {
		l.sent = nil
		l.pass(15 * time.Second)
		own := l.timedOut()
		if len(own) == 0 || own[0].View != view || own[0].High.Tuple != q1.Tuple {
			t.Fatalf("view %d: %+v", view, own)
		}
		tc, err := l.AggregateTimeouts(view, []chain.Timeout{
			l.timeout(0, view, l.Genesis()), l.timeout(1, view, l.Genesis()), own[0],
		})
		if err != nil {
			t.Fatal(err)
		}
		if view+1 != 4 && view+1 != 8 { // those are alice's own
			low := l.block(l.genesis, view+1, payload("fork"), after(tc))
			l.propose(low)
			if l.voted(low) {
				t.Fatalf("view %d: votes below QC(1)", view+1)
			}
		}
		l.say(0, bft.TimedOut{TC: tc})
	}
}

func TestStoredVoteIsRepeatedForItsProposal(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	l.propose(one)
	l.sent = nil
	l.wait(6 * time.Second) // its time is long over: not judged again
	l.propose(one)
	if !l.voted(one) {
		t.Fatal("the vote is not repeated")
	}
	l.sent = nil
	l.pass(2 * time.Second)
	l.propose(one)
	if l.voted(one) {
		t.Fatal("a vote is repeated in a view given up")
	}
}

func TestRoots(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	wrong := one
	wrong.Header.Roots.State[0]++
	l.blocks[wrong.Header.ID()] = wrong
	two := l.block(wrong.Header, 2)
	two.Votes = l.qc(wrong.Header).Votes
	p := l.proposal(two)
	if err := l.try(1, p); err != nil {
		t.Fatal(err)
	}
	answer := bft.Blocks{Blocks: []chain.Block{wrong}, QC: l.qc(wrong.Header)}
	var failed error
	for from := range 3 {
		if err := l.try(from, answer); err != nil {
			failed = err
		}
	}
	if !errors.Is(failed, bft.ErrDiverged) {
		t.Fatal("a certified block with other roots than ours:", failed)
	}
	if _, err := l.alice.replica.Step(l.alice.clock(), bft.Tick{}); !errors.Is(err, bft.ErrDiverged) {
		t.Fatal("a broken replica goes on:", err)
	}
}

// More than f faulty members can certify a fork. Then the honest stop and say so.
func TestCertifiedForkStopsTheMember(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	l.propose(one)
	two := l.block(one.Header, 2)
	l.propose(two)
	l.say(0, bft.Certified{QC: l.qc(two.Header)})
	if len(l.alice.store.final) != 1 {
		t.Fatal("block 1 is not final")
	}
	tc := l.tc(2, l.Genesis(), l.Genesis(), l.Genesis())
	fork := l.block(l.genesis, 3, payload("fork"), after(tc))
	next := l.block(fork.Header, 4)
	err := l.try(0, bft.Certified{QC: l.qc(next.Header)})
	if err != nil {
		t.Fatal(err)
	}
	answer := bft.Blocks{Blocks: []chain.Block{fork, next}, QC: l.qc(next.Header)}
	for from := range 3 {
		if err = l.try(from, answer); err != nil {
			break
		}
	}
	if !errors.Is(err, bft.ErrFork) {
		t.Fatal(err)
	}
}

// A term ends with its key block: what follows it is empty and never becomes final, and once
// it is final itself the member signs nothing more (M2, M3).
func TestKeyBlockEndsTheEpoch(t *testing.T) {
	var end chain.Block
	ending := func(b *chain.Block) { b.Header.Ending = end.Header.ID() }
	for _, tt := range []struct {
		name   string
		change []func(*chain.Block)
		votes  bool
	}{
		{"an empty block that names it", []func(*chain.Block){ending}, true},
		{"a payload", []func(*chain.Block){ending, payload("too late")}, false},
		{"an empty block that does not name it", nil, false},
		{"an empty block that names another", []func(*chain.Block){func(b *chain.Block) {
			b.Header.Ending[0] = 1
		}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t, nil)
			k := l.KeyBlock()
			k.Epoch = 2
			one := l.block(l.genesis, 1, payload("before"))
			end = l.block(one.Header, 2, payload(string(k.Encode())))
			last := l.block(end.Header, 3, tt.change...)
			for _, b := range []chain.Block{one, end, last} {
				l.propose(b)
			}
			if l.voted(last) != tt.votes {
				t.Fatalf("votes: %t", l.voted(last))
			}
			if !tt.votes {
				return
			}
			l.say(0, bft.Certified{QC: l.qc(last.Header)})
			final := l.alice.store.final
			if len(final) != 2 || final[1].Block.Header != end.Header {
				t.Fatalf("%d blocks are final", len(final))
			}
			l.sent = nil
			l.pass(time.Minute)
			l.alice.crash()
			l.alice.start()
			l.greet(l.Genesis())
			q := l.qc(last.Header)
			l.propose(l.block(last.Header, 5, ending, after(l.tc(4, q, q, q))))
			l.pass(time.Minute)
			if len(l.sent) > 0 {
				t.Fatalf("sends %T after the end", l.sent[0])
			}
		})
	}
}

// After a gap the commit rule names a block behind the key block. It is not final; the key
// block is.
func TestCommitStopsAtTheKeyBlock(t *testing.T) {
	l := newLone(t, nil)
	k := l.KeyBlock()
	k.Epoch = 2
	end := l.block(l.genesis, 1, payload(string(k.Encode())))
	l.propose(end)
	ending := func(b *chain.Block) { b.Header.Ending = end.Header.ID() }
	q := l.qc(end.Header)
	five := l.block(end.Header, 5, ending, after(l.tc(4, q, q, q)))
	l.propose(five)
	six := l.block(five.Header, 6, ending)
	l.propose(six)
	l.say(0, bft.Certified{QC: l.qc(six.Header)})
	final := l.alice.store.final
	if len(final) != 1 || final[0].Block.Header != end.Header {
		t.Fatalf("%d blocks are final", len(final))
	}
	if got, err := l.VerifyFinality(final[0].Proof); err != nil || got != end.Header {
		t.Fatal(err)
	}
}
