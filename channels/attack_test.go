package channels

import (
	"math"
	"testing"

	"github.com/cypherlink/cypherlink"
)

// Amounts that are nothing, less, or too many never get into a lane, and what was in it stays (attack B7).
func TestAmountsAtTheirBounds(t *testing.T) {
	const all = cypherlink.Amount(capital)
	for _, amounts := range [][]cypherlink.Amount{
		{0},
		{-1},
		{math.MinInt64},
		{math.MaxInt64},
		{1, math.MaxInt64},
		{math.MaxInt64, math.MaxInt64},
		{all + 1},
		{all, 1},
	} {
		p := meet(t)
		var ops []Operation
		for i, a := range amounts {
			ops = append(ops, Pay{Payment: cypherlink.UETR{byte(i + 1), 6: 0x40, 8: 0x80}, Amount: a})
		}
		before := p.parties[A].Standing()
		err := p.does(A, func(q *Party) (Effects, error) { return q.Order(p.ms, ops) })
		if code := cypherlink.ErrorCode(err); code != L3.Code() && code != L4.Code() {
			t.Errorf("%v: %v", amounts, err)
		}
		if after := p.parties[A].Standing(); after != before || len(p.flying[B]) != 0 {
			t.Errorf("%v: %+v, before %+v", amounts, after, before)
		}
		lock := Lock{
			ID: LockID{9}, Amount: amounts[0], Condition: cypherlink.Preimage{9}.Condition(), Expiry: p.now.S + 20,
		}
		if amounts[0] == all || amounts[0] == 1 {
			continue
		}
		if p.does(A, func(q *Party) (Effects, error) { return q.Order(p.ms, []Operation{lock}) }) == nil {
			t.Errorf("a lock of %d is made", amounts[0])
		}
	}
}

// A payee that signs an update and refuses it too: its refusal is worth nothing, its signature binds. Without
// the signature only the chain ends the update (attack B17, as the design page decides).
func TestSignatureBesideRefusal(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	first := p.parties[A].own().at(1).Update
	p.deliver(B, 0, false) // B countersigns
	refusal := Refusal{Slot: first.Slot(), Hash: first.Hash, Rule: L4, Text: "no"}
	p.must(A, func(q *Party) (Effects, error) { return q.Hear(p.ms, refusal) })
	if len(p.ended) != 0 || p.parties[A].own().last.Seq != 1 {
		t.Fatal("a refusal ends an update that is signed")
	}
	p.arrive()
	p.wantBound(A, 1)
	p.must(A, func(q *Party) (Effects, error) { return q.Hear(p.ms, refusal) })
	p.wantBound(A, 1)
}

// Challenges again and again put nothing off: while one is open there is no other, and it ends when it would
// have (attack B10, as the design page decides: no extension).
func TestChallengeSpam(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	p.flying[B] = nil
	p.include(B, Dispute{p.chain.ID, A, Slot{0, math.MaxUint32}})
	since := p.chain.Lanes[A].Challenge.Since
	window := p.chain.Limits.WindowS
	for p.chain.Lanes[A].Gen == 0 {
		if _, err := p.chain.Apply(p.rules(), p.now, bankID(B), Dispute{p.chain.ID, A, Slot{0, 7}}); err == nil {
			t.Fatal("a second challenge beside the first")
		}
		if c := p.chain.Lanes[A].Challenge; c.Since != since {
			t.Fatalf("the challenge began at %+v, and now at %+v", since, c.Since)
		}
		p.flying[B] = nil
		p.block()
		if p.now.S > since.S+window+int64(p.chain.Limits.Blocks)+2 {
			t.Fatal("it does not end")
		}
	}
}

// A crash between the preimage's way out and the settlement: the bank claims again after its start, since the
// preimage and that it was released are durable first (attack H8).
func TestClaimAfterCrash(t *testing.T) {
	p := meet(t)
	_, preimage := p.lockOf(30)
	e, err := p.parties[B].Learn(p.ms, preimage)
	if err != nil || len(e.Submit) != 1 {
		t.Fatalf("%+v, %v", e, err)
	}
	p.logs[B] = append(p.logs[B], e.Persist...) // durable, and nothing of the rest has happened
	p.start(B)
	for range 3 {
		p.block()
		p.arrive()
	}
	if len(p.revealed) != 1 {
		t.Fatal("the preimage is not revealed after the crash")
	}
	p.wantBound(A, 2)
	if l := p.parties[A].own(); l.last.Paid != 30 || l.last.Locked != 0 {
		t.Fatalf("paid %d, locked %d", l.last.Paid, l.last.Locked)
	}
}

// A bank that was away while its channel closed and paid out its locks still learns that what it had signed
// beyond the anchored head is void.
func TestPaidOutWhileAway(t *testing.T) {
	p := meet(t)
	p.lockOf(30)
	p.include(B, mustBest(t, p.parties[B]))
	p.pays(A, 7)
	written := p.parties[A].own().last.Hash
	p.flying[B] = nil
	if err := p.chainDoes(B, Close{p.chain.ID}); err != nil {
		t.Fatal(err)
	}
	for range 200 { // nobody of A's sees a block
		p.now = Time{p.now.S + 1, p.now.Height + 1}
		moves, _ := p.chain.Expire(p.rules(), p.now)
		p.move(moves)
	}
	if p.chain.State != Closed || p.chain.Lanes[A].Head.Seq != 1 {
		t.Fatalf("%s, %+v", p.chain.State, p.chain.Lanes[A].Head)
	}
	p.see(A)
	if p.ended[written] != FactVoid {
		t.Fatalf("the payment is %d", p.ended[written])
	}
}

func (p *pair) chainDoes(s Side, a Action) error {
	moves, err := p.chain.Apply(p.rules(), p.now, bankID(s), a)
	p.move(moves)
	return err
}

// A bank asks for a release of the other one's money, which would then lack it in the channel: it is refused,
// though all else is in order.
func TestReleaseOfOthersMoney(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	p.arrive()
	q := p.parties[A]
	for _, by := range []Side{A, B} {
		j := Joint{
			Channel: p.chain.ID, Proposer: B, Counter: 1, Do: Release{By: by, Amount: 900, Number: 1},
			ValidUntil: p.now.S + 4,
		}
		j.Points[A], j.Points[B] = q.own().point(q.own().certified), q.peer().point(q.peer().certified)
		e, err := q.Hear(p.ms, Proposal{Joint: j})
		if refused := cypherlink.ErrorCode(err) == L8.Code(); refused != (by == A) || len(e.Together) > 0 == refused {
			t.Errorf("of %s's money: %v", by, err)
		}
	}
}
