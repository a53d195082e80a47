package bft_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
)

func TestNothingIsSignedBeforeAQuorumHasAnswered(t *testing.T) {
	l := newLone(t, nil)
	l.alice.crash()
	l.alice.start()
	one := l.block(l.genesis, 1)
	l.propose(one)
	l.sent = nil
	l.pass(3 * time.Second)
	for range 2 { // the same member twice is one answer
		l.say(0, bft.Status{High: l.Genesis()})
	}
	bad := bft.Status{High: l.qc(one.Header)}
	bad.High.Votes.Signature[0] ^= 1
	l.say(1, bad)
	for _, m := range l.sent {
		if _, ok := m.(bft.Hello); !ok {
			t.Fatalf("sends %T before a quorum has answered", m)
		}
	}
	if len(l.sent) < 14 {
		t.Fatalf("asks %d times in 3 s", len(l.sent))
	}
	l.say(1, bft.Status{High: l.Genesis()})
	if !l.voted(one) {
		t.Fatal("does not vote when a quorum has answered")
	}
}

// What this member has signed beyond its record, whoever shows it, ends its signing for good.
func TestOwnSignatureThatTheRecordLacks(t *testing.T) {
	share := func(l *lone, members ...int) []chain.Timeout {
		var out []chain.Timeout
		for _, i := range members {
			out = append(out, l.timeout(i, 7, l.Genesis()))
		}
		return out
	}
	for _, tt := range []struct {
		name    string
		show    func(l *lone, other chain.Block) bft.Message
		probing bool
		retires bool
	}{
		{"a vote in a status", func(l *lone, other chain.Block) bft.Message {
			v := l.vote(alice, other.Header.Tuple())
			return bft.Status{High: l.Genesis(), Vote: &v}
		}, true, true},
		{"a vote for another block of its view", func(l *lone, _ chain.Block) bft.Message {
			v := l.vote(alice, l.block(l.genesis, 1, payload("x")).Header.Tuple())
			return bft.Status{High: l.Genesis(), Vote: &v}
		}, true, true},
		{"a forged vote", func(l *lone, other chain.Block) bft.Message {
			v := l.vote(1, other.Header.Tuple())
			v.Member = alice
			return bft.Status{High: l.Genesis(), Vote: &v}
		}, true, false},
		{"another member's vote", func(l *lone, other chain.Block) bft.Message {
			v := l.vote(1, other.Header.Tuple())
			return bft.Status{High: l.Genesis(), Vote: &v}
		}, true, false},
		{"a timeout in a status", func(l *lone, _ chain.Block) bft.Message {
			x := l.timeout(alice, 7, l.Genesis())
			return bft.Status{High: l.Genesis(), Timeout: &x}
		}, true, true},
		{"a forged timeout", func(l *lone, _ chain.Block) bft.Message {
			x := l.timeout(1, 7, l.Genesis())
			x.Member = alice
			return bft.Status{High: l.Genesis(), Timeout: &x}
		}, true, false},
		{"a proposal in a status", func(l *lone, other chain.Block) bft.Message {
			s := l.proposal(l.block(other.Header, 4)).Signed()
			return bft.Status{High: l.Genesis(), Proposal: &s}
		}, true, true},
		{"a forged proposal", func(l *lone, other chain.Block) bft.Message {
			s := l.proposal(l.block(other.Header, 4)).Signed()
			s.Signature[0] ^= 1
			return bft.Status{High: l.Genesis(), Proposal: &s}
		}, true, false},
		{"its bit in a QC", func(l *lone, other chain.Block) bft.Message {
			q, _, err := l.AggregateVotes(other.Header.Tuple(), l.shares(other, 0, 1, alice))
			if err != nil {
				l.t.Fatal(err)
			}
			return bft.Certified{QC: q}
		}, false, true},
		{"a QC of others", func(l *lone, other chain.Block) bft.Message {
			return bft.Certified{QC: l.qc(other.Header)}
		}, false, false},
		{"its bit in a TC", func(l *lone, _ chain.Block) bft.Message {
			tc, err := l.AggregateTimeouts(7, share(l, 0, 1, alice))
			if err != nil {
				l.t.Fatal(err)
			}
			return bft.TimedOut{TC: tc}
		}, false, true},
		{"a TC of others", func(l *lone, _ chain.Block) bft.Message {
			tc, err := l.AggregateTimeouts(7, share(l, 0, 1, 2))
			if err != nil {
				l.t.Fatal(err)
			}
			return bft.TimedOut{TC: tc}
		}, false, false},
		{"its proposal", func(l *lone, other chain.Block) bft.Message {
			three := l.block(other.Header, 3)
			return l.proposal(l.block(three.Header, 4))
		}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t, nil)
			one := l.block(l.genesis, 1)
			l.propose(one)
			if tt.probing {
				l.alice.crash()
				l.alice.start()
			}
			l.say(2, tt.show(l, l.block(one.Header, 2)))
			l.greet(l.Genesis())
			if retired := errors.Is(l.alice.alarm, bft.ErrRetired); retired != tt.retires {
				t.Fatal(l.alice.alarm)
			}
			if !tt.retires {
				return
			}
			if !l.alice.safety.Record().Retired {
				t.Fatal("not for good")
			}
			l.sent = nil
			l.pass(10 * time.Second)
			l.propose(l.block(one.Header, 2))
			for _, m := range l.sent {
				switch m.(type) {
				case bft.Vote, bft.Timeout, bft.Proposal:
					t.Fatalf("sends %T", m)
				default:
				}
			}
		})
	}
}

// A leader who is shown another block of his own view, under his signature, did not make it.
func TestSecondProposalUnderTheOwnKey(t *testing.T) {
	l := newLone(t, nil)
	b := l.block(l.genesis, 1)
	for view := uint64(2); view <= 4; view++ {
		l.propose(b)
		if view < 4 {
			b = l.block(b.Header, view)
		}
	}
	l.say(0, bft.Certified{QC: l.qc(b.Header)})
	l.pass(1100 * time.Millisecond)
	if l.alice.safety.Record().Proposal.View != 4 {
		t.Fatal("alice has not proposed")
	}
	l.say(1, l.proposal(l.block(b.Header, 4, payload("not hers"))))
	if !errors.Is(l.alice.alarm, bft.ErrRetired) {
		t.Fatal(l.alice.alarm)
	}
}

func TestStatusBringsAMemberToTheCurrentView(t *testing.T) {
	l := newLone(t, nil)
	l.alice.crash()
	l.alice.start()
	tc := l.tc(40, l.Genesis(), l.Genesis(), l.Genesis())
	for from := range 2 {
		l.say(from, bft.Status{High: l.Genesis(), TC: &tc})
	}
	l.pass(2500 * time.Millisecond) // once grown by the TC
	if got := l.timedOut(); len(got) == 0 || got[0].View != 41 {
		t.Fatalf("%+v", got)
	}
}

func TestHelloIsAnsweredWithWhatIsKnownOfTheAsker(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1) // by member 0
	l.propose(one)
	l.say(0, bft.Vote{Vote: l.vote(0, one.Header.Tuple())})
	l.say(0, bft.Timeout{Timeout: l.timeout(0, 1, l.Genesis())})
	l.sent = nil
	l.say(0, bft.Hello{})
	s, ok := l.sent[len(l.sent)-1].(bft.Status)
	if !ok || s.Vote == nil || s.Timeout == nil || s.Proposal == nil || s.Timeout.View != 1 ||
		s.Vote.Tuple != one.Header.Tuple() || s.Proposal.Header != one.Header {
		t.Fatalf("%+v", l.sent)
	}
	l.say(2, bft.Hello{})
	s, ok = l.sent[len(l.sent)-1].(bft.Status)
	if !ok || s.Vote != nil || s.Timeout != nil || s.Proposal != nil {
		t.Fatalf("%+v", s)
	}
}

// I5: the view after a start is above the recorded TC, though the vote recorded with it is
// for an older view.
func TestRecordedTCIsNotForgotten(t *testing.T) {
	l := newLone(t, nil)
	g := l.Genesis()
	l.say(0, bft.TimedOut{TC: l.tc(5, g, g, g)})
	one := l.block(l.genesis, 1)
	l.propose(one)
	if !l.voted(one) {
		t.Fatal("no vote for the older view")
	}
	l.alice.crash()
	l.alice.start()
	l.greet(g)
	l.pass(1600 * time.Millisecond)
	if got := l.timedOut(); len(got) == 0 || got[0].View != 6 || got[0].TC == nil {
		t.Fatalf("%+v", got)
	}
}

// I3: the record of a vote may be durable when the block is not. After such a crash the vote is
// not repeated, until the proposal has come again and the block is durable.
func TestAVoteWithoutItsBlockIsNotRepeated(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	l.alice.recordFirst = true
	for points := 1; l.alice.up; points++ {
		l.alice.crashAt = points
		l.propose(one)
		if l.alice.up {
			t.Fatal("never has a record without its block")
		}
		l.alice.crashAt = 0
		l.alice.start()
		if l.alice.safety.Record().Vote == one.Header.Tuple() {
			break
		}
		l.greet(l.Genesis())
	}
	if l.alice.store.holds(one.Header.Tuple()) {
		t.Fatal("the block is durable")
	}
	l.sent = nil
	l.greet(l.Genesis())
	if l.voted(one) {
		t.Fatal("repeats a vote for a block that it does not hold")
	}
	l.propose(one)
	if !l.voted(one) || !l.alice.store.holds(one.Header.Tuple()) {
		t.Fatal("does not repeat its vote when the proposal has come again")
	}
}

// The time that a member waits for the others to start is not held against the leader.
func TestViewBeginsWhenTheMemberMaySign(t *testing.T) {
	l := newLone(t, nil)
	l.alice.crash()
	l.alice.start()
	l.pass(time.Minute)
	l.greet(l.Genesis())
	l.sent = nil
	l.pass(1400 * time.Millisecond)
	if len(l.timedOut()) != 0 {
		t.Fatal("gives up the view in which it started at once")
	}
	l.pass(200 * time.Millisecond)
	if len(l.timedOut()) == 0 {
		t.Fatal("does not give it up at all")
	}
}
