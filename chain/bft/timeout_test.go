package bft_test

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
)

func TestTimeoutIsResentAtEveryBaseTimeout(t *testing.T) {
	l := newLone(t, nil)
	l.pass(1499 * time.Millisecond)
	if len(l.timedOut()) != 0 {
		t.Fatal("gives up before idle interval and base are over")
	}
	l.pass(2001 * time.Millisecond) // 1.5 s, then every 0.5 s
	got := l.timedOut()
	if len(got) != 5 {
		t.Fatalf("%d timeouts in 3.5 s", len(got))
	}
	for _, x := range got {
		if x.View != 1 || x.Signature != got[0].Signature {
			t.Fatalf("a resend differs: %+v", x)
		}
	}
	l.say(0, bft.TimedOut{TC: l.tc(1, l.Genesis(), l.Genesis(), l.Genesis())})
	l.sent = nil
	l.pass(time.Second)
	if len(l.timedOut()) != 0 {
		t.Fatal("resent although the view is over")
	}
}

func TestTimeoutIsForTheLastViewOfTheTerm(t *testing.T) {
	l := newLone(t, func(k *chain.KeyBlock) { k.TermViews = 3 })
	one := l.block(l.genesis, 1)
	l.propose(one)
	l.propose(l.block(one.Header, 2))
	l.pass(3 * time.Second)
	got := l.timedOut()
	if len(got) == 0 || got[0].View != 3 || got[0].High.Tuple.View != 1 {
		t.Fatalf("%+v", got)
	}
}

func TestFPlusOneTimeoutsPullEverybodyAlong(t *testing.T) {
	l := newLone(t, nil)
	l.say(0, bft.Timeout{Timeout: l.timeout(0, 20, l.Genesis())})
	if len(l.timedOut()) != 0 {
		t.Fatal("one member alone moves another")
	}
	l.say(1, bft.Timeout{Timeout: l.timeout(1, 30, l.Genesis())})
	got := l.timedOut()
	if len(got) != 1 || got[0].View != 20 {
		t.Fatalf("%+v", got)
	}
	for _, m := range l.sent {
		if _, ok := m.(bft.Proposal); ok {
			t.Fatal("proposes in a view that nothing justifies")
		}
	}
	l.say(1, bft.Timeout{Timeout: l.timeout(2, 30, l.Genesis())}) // 2 does not speak through 1
	if len(l.timedOut()) != 1 {
		t.Fatal("a timeout is taken from another sender")
	}
}

func TestTCIsFormedFromOneViewAloneAndBroadcast(t *testing.T) {
	l := newLone(t, nil)
	l.pass(1500 * time.Millisecond) // alice gives up view 1
	l.say(0, bft.Timeout{Timeout: l.timeout(0, 5, l.Genesis())})
	l.say(1, bft.Timeout{Timeout: l.timeout(1, 1, l.Genesis())})
	for _, m := range l.sent {
		if tc, ok := m.(bft.TimedOut); ok {
			t.Fatalf("views 1, 5 and 1 make a TC: %+v", tc)
		}
	}
	l.say(2, bft.Timeout{Timeout: l.timeout(2, 1, l.Genesis())})
	found := false
	for _, m := range l.sent {
		if tc, ok := m.(bft.TimedOut); ok {
			found = tc.View == 1 && l.VerifyTC(tc.TC) == nil
		}
	}
	if !found {
		t.Fatal("no TC of view 1 is broadcast")
	}
}

func TestTimeoutsThatDoNotFitAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		timeout func(l *lone, from int) chain.Timeout
	}{
		{"a view within a term", func(l *lone, from int) chain.Timeout {
			return l.timeout(from, 3, l.Genesis())
		}},
		{"a QC of another view than signed", func(l *lone, from int) chain.Timeout {
			x := l.timeout(from, 4, l.Genesis())
			x.High = l.qc(l.block(l.genesis, 1).Header)
			return x
		}},
		{"a QC without a quorum", func(l *lone, from int) chain.Timeout {
			one := l.block(l.genesis, 1)
			return l.timeout(from, 4, chain.QC{Tuple: one.Header.Tuple(), Votes: l.share(0, one)})
		}},
		{"a QC of its own view", func(l *lone, from int) chain.Timeout {
			b := l.block(l.genesis, 1)
			for view := uint64(2); view <= 4; view++ {
				b = l.block(b.Header, view)
			}
			return l.timeout(from, 4, l.qc(b.Header))
		}},
		{"a wrong signature", func(l *lone, from int) chain.Timeout {
			x := l.timeout(from, 4, l.Genesis())
			x.Signature[0] ^= 1
			return x
		}},
		{"a wrong TC beside it", func(l *lone, from int) chain.Timeout {
			x := l.timeout(from, 4, l.Genesis())
			tc := l.tc(2, l.Genesis(), l.Genesis(), l.Genesis())
			tc.Timeouts.Signature[0] ^= 1
			x.TC = &tc
			return x
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLone(t, func(k *chain.KeyBlock) { k.TermViews = 2 })
			for from := range 2 {
				l.say(from, bft.Timeout{Timeout: tt.timeout(l, from)})
			}
			if got := l.timedOut(); len(got) != 0 {
				t.Fatalf("f+1 of them pull alice along: %+v", got)
			}
		})
	}
}

func TestLeaderBuildsOnTheHighestQCThatHeKnows(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	l.propose(one)
	q := l.qc(one.Header)
	l.say(0, bft.Certified{QC: q})
	l.say(0, bft.TimedOut{TC: l.tc(3, l.Genesis(), l.Genesis(), l.Genesis())}) // alice leads view 4
	l.sent = nil
	l.pass(1100 * time.Millisecond)
	var own []bft.Proposal
	for _, m := range l.sent {
		if p, ok := m.(bft.Proposal); ok {
			own = append(own, p)
		}
	}
	if len(own) != 1 || own[0].Block.Header.Parent != q.Tuple || own[0].Block.Header.TCView != 3 {
		t.Fatalf("%+v", own)
	}
	if !l.voted(own[0].Block) {
		t.Fatal("the leader does not vote for his own block")
	}
}

// The leader of a view waits idly for a transaction, and proposes at once when one comes or
// when the block before has to be finished.
func TestLeaderWaitsOnlyWhenThereIsNothingToDo(t *testing.T) {
	proposed := func(l *lone) bool {
		for _, m := range l.sent {
			if _, ok := m.(bft.Proposal); ok {
				return true
			}
		}
		return false
	}
	toView4 := func(l *lone, txs ...string) {
		b := l.block(l.genesis, 1)
		l.propose(b)
		for view := uint64(2); view <= 3; view++ {
			var with []string
			if view == 3 {
				with = txs
			}
			b = l.block(b.Header, view, payload(with...))
			l.propose(b)
		}
		l.sent = nil
		l.say(0, bft.Certified{QC: l.qc(b.Header)})
	}
	t.Run("idle", func(t *testing.T) {
		l := newLone(t, nil)
		toView4(l)
		l.pass(999 * time.Millisecond)
		if proposed(l) {
			t.Fatal("proposes before the idle interval is over")
		}
		l.pass(time.Millisecond)
		if !proposed(l) {
			t.Fatal("does not propose when it is over")
		}
	})
	t.Run("a transaction comes", func(t *testing.T) {
		l := newLone(t, nil)
		toView4(l)
		l.pass(300 * time.Millisecond)
		l.alice.submit([]byte("tx"))
		if !proposed(l) {
			t.Fatal("does not propose")
		}
	})
	t.Run("an ancestor carries payload", func(t *testing.T) {
		l := newLone(t, nil)
		toView4(l, "tx")
		if !proposed(l) {
			t.Fatal("does not propose")
		}
	})
	t.Run("the pool holds nothing new", func(t *testing.T) {
		l := newLone(t, nil)
		l.alice.machine.pool = nil
		toView4(l)
		l.alice.step(bft.Pool{Pending: true})
		if proposed(l) {
			t.Fatal("proposes an empty block for an empty pool")
		}
	})
	t.Run("a leader that formed the QC and waits shows it", func(t *testing.T) {
		l := newLone(t, nil)
		b := l.block(l.genesis, 1)
		l.propose(b)
		b = l.block(b.Header, 2)
		l.propose(b)
		b = l.block(b.Header, 3)
		l.propose(b)
		l.sent = nil
		for from := range 2 {
			l.say(from, bft.Vote{Vote: l.vote(from, b.Header.Tuple())})
		}
		found := false
		for _, m := range l.sent {
			if c, ok := m.(bft.Certified); ok {
				found = c.Tuple == b.Header.Tuple()
			}
		}
		if !found {
			t.Fatal("the QC is kept")
		}
	})
}

func TestEvidenceIsReportedOnceAndVerified(t *testing.T) {
	start := func(t *testing.T) (*lone, chain.Block, chain.Block) {
		l := newLone(t, nil)
		return l, l.block(l.genesis, 1), l.block(l.genesis, 1, payload("twin"))
	}
	reported := func(t *testing.T, l *lone, member int) {
		t.Helper()
		if len(l.faults) != 1 {
			t.Fatalf("%d faults", len(l.faults))
		}
		if got, err := l.VerifyEvidence(l.faults[0]); err != nil || got != member {
			t.Fatal(got, err)
		}
	}
	t.Run("two votes in a view", func(t *testing.T) {
		l, a, b := start(t)
		for range 2 {
			l.say(1, bft.Vote{Vote: l.vote(1, a.Header.Tuple())})
			l.say(1, bft.Vote{Vote: l.vote(1, b.Header.Tuple())})
		}
		reported(t, l, 1)
	})
	t.Run("a forged second vote", func(t *testing.T) {
		l, a, b := start(t)
		forged := l.vote(2, b.Header.Tuple())
		forged.Member = 1
		l.say(1, bft.Vote{Vote: l.vote(1, a.Header.Tuple())})
		l.say(1, bft.Vote{Vote: forged})
		if len(l.faults) != 0 {
			t.Fatal("reported")
		}
	})
	t.Run("two proposals in a view", func(t *testing.T) {
		l, a, b := start(t)
		l.propose(a)
		l.propose(b)
		l.propose(b)
		reported(t, l, 0)
		if l.voted(b) {
			t.Fatal("votes for the second")
		}
	})
	t.Run("two timeouts of a view", func(t *testing.T) {
		l, a, _ := start(t)
		l.say(1, bft.Timeout{Timeout: l.timeout(1, 3, l.Genesis())})
		l.say(1, bft.Timeout{Timeout: l.timeout(1, 3, l.qc(a.Header))})
		reported(t, l, 1)
	})
	for _, voteFirst := range []bool{true, false} {
		t.Run("a QC denied", func(t *testing.T) {
			l, a, _ := start(t)
			two := l.block(a.Header, 2)
			said := []bft.Message{
				bft.Vote{Vote: l.vote(1, two.Header.Tuple())},
				bft.Timeout{Timeout: l.timeout(1, 2, l.Genesis())},
			}
			if !voteFirst {
				said[0], said[1] = said[1], said[0]
			}
			for _, m := range said {
				l.say(1, m)
			}
			reported(t, l, 1)
		})
	}
}

func TestBadVoteIsLeftOutOfTheQC(t *testing.T) {
	l := newLone(t, nil)
	one := l.block(l.genesis, 1)
	l.propose(one)
	bad := l.vote(0, one.Header.Tuple())
	bad.Signature[0] ^= 1
	l.say(0, bft.Vote{Vote: bad})
	l.say(1, bft.Vote{Vote: l.vote(1, one.Header.Tuple())})
	l.say(0, bft.Vote{Vote: l.vote(0, one.Header.Tuple())}) // too late: blamed for this view
	two := l.block(one.Header, 2)
	l.sent = nil
	l.say(2, bft.Vote{Vote: l.vote(2, one.Header.Tuple())})
	l.pass(3 * time.Second)
	got := l.timedOut()
	if len(got) == 0 || got[0].High.Tuple != one.Header.Tuple() {
		t.Fatalf("no QC of the three good votes: %+v, block %d", got, two.Header.Height)
	}
	for _, i := range got[0].High.Votes.Signers() {
		if i == 0 {
			t.Fatal("the bad signer is in the QC")
		}
	}
}

// Consecutive TCs lengthen the wait by half each, up to eight times; a new QC ends that.
func TestTimeoutsGrowUntilAQC(t *testing.T) {
	l := newLone(t, nil)
	wait := func() time.Duration {
		l.sent = nil
		began := l.now
		for len(l.timedOut()) == 0 {
			l.pass(time.Millisecond)
		}
		return l.now.Sub(began).Round(5 * time.Millisecond)
	}
	for view, want := range []int64{1500, 2250, 3375, 5065, 7595, 11390, 12000, 12000} {
		if got := wait(); got.Milliseconds() != want {
			t.Fatalf("view %d: gives up after %v", view+1, got)
		}
		g := l.Genesis()
		l.say(0, bft.TimedOut{TC: l.tc(uint64(view)+1, g, g, g)})
	}
	g := l.Genesis()
	b := l.block(l.genesis, 10, after(l.tc(9, g, g, g)))
	l.propose(b)
	l.say(0, bft.Certified{QC: l.qc(b.Header)})
	if got := wait(); got != 1500*time.Millisecond {
		t.Fatalf("after a QC: %v", got)
	}
}
