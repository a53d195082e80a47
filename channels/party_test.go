package channels

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink"
)

// meet is a pair that has met, and lost nothing.
func meet(t *testing.T) *pair {
	t.Helper()
	p := newPair(t)
	p.settle()
	return p
}

func (p *pair) must(s Side, step func(*Party) (Effects, error)) {
	p.t.Helper()
	if err := p.does(s, step); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) pays(s Side, amount cypherlink.Amount) {
	p.t.Helper()
	p.ordered[s]++
	op := Pay{Payment: cypherlink.UETR{byte(s), byte(p.ordered[s]), 6: 0x40, 8: 0x80}, Amount: amount}
	p.must(s, func(q *Party) (Effects, error) { return q.Order(p.ms, []Operation{op}) })
}

// arrive delivers everything that flies now, and what that makes fly.
func (p *pair) arrive() {
	for len(p.flying[A])+len(p.flying[B]) > 0 {
		for _, s := range []Side{A, B} {
			if len(p.flying[s]) > 0 {
				p.deliver(s, 0, false)
			}
		}
	}
}

func (p *pair) wantBound(lane Side, seq uint32) {
	p.t.Helper()
	for _, s := range []Side{A, B} {
		if got := p.parties[s].d.lanes[lane].bound; got != seq {
			p.t.Fatalf("%s holds lane %s for bound at %d, want %d", s, lane, got, seq)
		}
	}
}

// A lost packet needs no dispute: the same bytes are sent again (L1, resync).
func TestLostMessages(t *testing.T) {
	for _, lost := range []string{"offer", "countersignature"} {
		t.Run(lost, func(t *testing.T) {
			p := meet(t)
			p.pays(A, 5)
			first := slices.Clone(p.flying[B])
			if lost == "offer" {
				p.flying[B] = nil
			} else {
				p.deliver(B, 0, false)
				p.flying[A] = nil
			}
			p.ms += 1_000
			p.must(A, func(q *Party) (Effects, error) { return q.Tick(p.ms) })
			if !slices.EqualFunc(p.flying[B], first, func(a, b []byte) bool { return string(a) == string(b) }) {
				t.Fatal("what is sent again is not the same")
			}
			p.arrive()
			p.wantBound(A, 1)
			if p.submits != 0 {
				t.Fatal("a lost packet comes before the chain")
			}
		})
	}
}

// A writer stops at the window, at what it has, and while a challenge is open (L2, L3; attack B6).
func TestWriterStops(t *testing.T) {
	p := meet(t)
	order := func(amount cypherlink.Amount) error {
		return p.does(A, func(q *Party) (Effects, error) {
			return q.Order(p.ms, []Operation{Pay{Payment: cypherlink.UETR{9}, Amount: amount}})
		})
	}
	if err := order(cypherlink.Amount(capital) + 1); cypherlink.ErrorCode(err) != L3.Code() {
		t.Fatal(err)
	}
	for range 4 {
		p.pays(A, 1)
	}
	if err := order(1); cypherlink.ErrorCode(err) != L2.Code() {
		t.Fatal(err)
	}
	p.arrive()
	p.include(B, Dispute{p.chain.ID, B, Slot{0, 9}})
	p.block()
	if err := order(1); cypherlink.ErrorCode(err) != L2.Code() {
		t.Fatal(err)
	}
}

// What is certified while the lane is suspended is bound when that ends without a cut.
func TestBindingAgain(t *testing.T) {
	p := meet(t)
	p.include(B, Dispute{p.chain.ID, A, Slot{0, 1}})
	p.pays(A, 5) // A has not seen it
	p.see(B)
	p.arrive()
	if p.parties[B].peer().certified != 1 || p.parties[B].peer().bound != 0 {
		t.Fatal("bound while a challenge is open")
	}
	p.block() // both see it: the best pair answers it
	p.block()
	p.wantBound(A, 1)
	if p.chain.Lanes[A].Head.Seq != 1 || p.chain.Lanes[A].Challenge != (Challenge{}) || p.chain.Lanes[A].Gen != 0 {
		t.Fatalf("lane %+v", p.chain.Lanes[A])
	}
}

// A payee that stays silent costs its payer one generation: the payment is void (L7).
func TestSilentPayee(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	for range 40 {
		p.flying[B] = nil
		p.block()
	}
	if p.chain.Lanes[A].Gen != 1 || len(p.parties[A].own().entries) != 0 {
		t.Fatalf("lane %+v", p.chain.Lanes[A])
	}
	if kinds := p.ended; len(kinds) != 1 {
		t.Fatalf("facts %v", kinds)
	}
	for _, kind := range p.ended {
		if kind != FactVoid {
			t.Fatalf("the payment is %d", kind)
		}
	}
	p.flying[B] = nil
	p.settle()
	p.pays(A, 7) // the lane goes on
	p.arrive()
	p.wantBound(A, 1)
}

// A second update in a slot is kept as evidence, and the channel is closed (attack B1).
func TestEquivocation(t *testing.T) {
	p := meet(t)
	twin := copyOf(p.parties[A])
	p.pays(A, 5)
	p.arrive()
	e, err := twin.Order(p.ms, []Operation{Pay{Payment: cypherlink.UETR{7}, Amount: 6}})
	if err != nil {
		t.Fatal(err)
	}
	err = p.does(B, func(q *Party) (Effects, error) { return q.Hear(p.ms, e.Send[0]) })
	if cypherlink.ErrorCode(err) != L4.Code() || !p.parties[B].d.stopped || p.chain.State != Closing {
		t.Fatalf("%v, stopped %v, the channel is %s", err, p.parties[B].d.stopped, p.chain.State)
	}
	evidence := p.logs[B][len(p.logs[B])-1].(Stopped).Evidence
	if evidence.One.Update.Slot() != evidence.Other.Update.Slot() || evidence.One.Update.Hash == evidence.Other.Update.Hash {
		t.Fatalf("evidence %+v", evidence)
	}
	if _, err := p.parties[B].Order(p.ms, []Operation{Pay{Payment: cypherlink.UETR{8}, Amount: 1}}); err == nil {
		t.Fatal("the bank goes on signing")
	}
}

// An old copy of the store is found out by what the other bank can show; nothing is signed twice, and
// the lane goes on in the next generation (L10; attack B9).
func TestOldCopy(t *testing.T) {
	for _, of := range []Side{A, B} {
		t.Run(of.String(), func(t *testing.T) {
			p := meet(t)
			p.pays(A, 5)
			p.arrive()
			old := len(p.logs[of])
			p.pays(A, 6)
			p.arrive()
			p.wantBound(A, 2)
			p.logs[of] = p.logs[of][:old]
			p.start(of)
			p.arrive()
			if !p.parties[of].own().barred || !p.parties[of].peer().barred {
				t.Fatal("the old copy is not found out")
			}
			if _, err := p.parties[of].Order(p.ms, []Operation{Pay{Payment: cypherlink.UETR{8}, Amount: 1}}); err == nil {
				t.Fatal("an old copy writes")
			}
			p.settle()
			if p.chain.Lanes[A].Gen != 1 || p.chain.Lanes[B].Gen != 1 || p.chain.Lanes[A].Head.Paid != 11 {
				t.Fatalf("lanes %+v", p.chain.Lanes)
			}
			p.pays(A, 7)
			p.pays(B, 8)
			p.arrive()
			p.wantBound(A, 3)
			p.wantBound(B, 1)
			p.close()
		})
	}
}

// What answers an earlier start is worth nothing: it may be older than what was signed since.
func TestOldResync(t *testing.T) {
	p := meet(t)
	p.start(A)
	p.deliver(B, 0, false)
	answer := p.flying[A][0]
	p.flying[A] = nil
	p.start(A)
	p.flying[A] = [][]byte{answer}
	p.deliver(A, 0, false)
	if p.parties[A].synced {
		t.Fatal("an old answer is taken")
	}
	p.arrive()
	if !p.parties[A].synced {
		t.Fatal("the new one is not")
	}
}

// lockOf orders a lock of 20 s in lane A and lets it become bound.
func (p *pair) lockOf(amount cypherlink.Amount) (Lock, cypherlink.Preimage) {
	p.t.Helper()
	p.locks++
	preimage := cypherlink.Preimage{1, byte(p.locks)}
	l := Lock{ID: LockID{byte(p.locks)}, Condition: preimage.Condition(), Amount: amount, Expiry: p.now.S + 20}
	p.must(A, func(q *Party) (Effects, error) { return q.Order(p.ms, []Operation{l}) })
	p.arrive()
	return l, preimage
}

func TestLockIsSettled(t *testing.T) {
	p := meet(t)
	lock, preimage := p.lockOf(30)
	p.must(B, func(q *Party) (Effects, error) { return q.Learn(p.ms, preimage) })
	err := p.does(B, func(q *Party) (Effects, error) { return q.Fail(p.ms, lock.ID) })
	if cypherlink.ErrorCode(err) != H4.Code() {
		t.Fatalf("a lock is given up whose preimage is released: %v", err)
	}
	if len(p.revealed) != 1 {
		t.Fatal("the preimage is not revealed on the chain first (H1)")
	}
	p.block()
	p.arrive()
	p.wantBound(A, 2)
	if l := p.parties[A].own(); l.last.Paid != 30 || l.last.Locked != 0 {
		t.Fatalf("paid %d, locked %d", l.last.Paid, l.last.Locked)
	}
}

func TestLockIsGivenUp(t *testing.T) {
	p := meet(t)
	l, preimage := p.lockOf(30)
	p.must(B, func(q *Party) (Effects, error) { return q.Fail(p.ms, l.ID) })
	p.arrive()
	p.wantBound(A, 2)
	if l := p.parties[A].own(); l.last.Paid != 0 || l.last.Locked != 0 || len(p.parties[A].d.gone) != 1 {
		t.Fatalf("paid %d, locked %d", l.last.Paid, l.last.Locked)
	}
	p.must(B, func(q *Party) (Effects, error) { return q.Learn(p.ms, preimage) })
	if len(p.revealed) != 0 {
		t.Fatal("a lock that was given up is claimed")
	}
}

// At the expiry it is too late, and not before (attacks H1, H3).
func TestLockExpires(t *testing.T) {
	p := meet(t)
	l, preimage := p.lockOf(30)
	for p.now.S < l.Expiry-1 {
		p.block()
	}
	p.arrive()
	if p.parties[A].own().last.Locked != 30 {
		t.Fatal("a lock ends before its expiry")
	}
	p.must(B, func(q *Party) (Effects, error) { return q.Learn(p.ms, preimage) })
	if len(p.revealed) != 0 {
		t.Fatal("a preimage is released within the margin")
	}
	p.block()
	p.arrive()
	p.wantBound(A, 2)
	if l := p.parties[A].own(); l.last.Paid != 0 || l.last.Locked != 0 || len(p.parties[A].d.gone) != 1 {
		t.Fatalf("paid %d, locked %d", l.last.Paid, l.last.Locked)
	}
	err := p.does(A, func(q *Party) (Effects, error) { return q.Hear(p.ms, Secret{l.ID, preimage}) })
	if cypherlink.ErrorCode(err) != H1.Code() {
		t.Fatal(err)
	}
}

// A lock that the Validators endorse when its expiry has come is not signed. Its payee may have revealed the preimage
// in time, which the payer does not look for before there is a lock: it would take it for lapsed, and it would be paid.
func TestLockIsEndorsedTooLate(t *testing.T) {
	for _, late := range []bool{false, true} {
		p := meet(t)
		p.chain.Lanes[A].Signers.Threshold = 1
		p.block()
		l, _ := p.lockOf(30)
		draft := p.parties[A].drafts[0].Update
		if got := p.parties[A].Standing().Locks; got != 1 {
			t.Errorf("%d locks are open or drafted", got)
		}
		for p.now.S < l.Expiry-1 {
			p.block()
		}
		if late {
			p.block()
		}
		endorsements := []Endorsement{{Validator: cypherlink.ParticipantID{1}}}
		e, err := p.parties[A].Endorsed(p.ms, draft.Hash, endorsements)
		dropped := slices.ContainsFunc(e.Facts, func(f Fact) bool {
			return f.Kind == FactDropped && f.Update.Hash == draft.Hash
		})
		written := p.parties[A].own().last.Hash == draft.Hash
		if err != nil || dropped != late || written == late {
			t.Errorf("at the expiry %v: dropped %v, written %v, %v", late, dropped, written, err)
		}
	}
}

// Many small locks are refused at the limit (attack H7).
func TestLockLimits(t *testing.T) {
	p := meet(t)
	for n := range 3 {
		if got := p.parties[A].Standing().Locks; got != n {
			t.Errorf("%d locks, want %d", got, n)
		}
		p.lockOf(1)
	}
	for name, l := range map[string]Lock{
		"number": {ID: LockID{9}, Amount: 1, Condition: cypherlink.Condition{9}, Expiry: p.now.S + 20},
		"amount": {ID: LockID{9}, Amount: 101, Condition: cypherlink.Condition{9}, Expiry: p.now.S + 20},
		"near":   {ID: LockID{9}, Amount: 1, Condition: cypherlink.Condition{9}, Expiry: p.now.S + 4},
		"far":    {ID: LockID{9}, Amount: 1, Condition: cypherlink.Condition{9}, Expiry: p.now.S + 61},
	} {
		t.Run(name, func(t *testing.T) {
			err := p.does(A, func(q *Party) (Effects, error) { return q.Order(p.ms, []Operation{l}) })
			if cypherlink.ErrorCode(err) != L4.Code() {
				t.Fatal(err)
			}
		})
	}
}

// A cut that is agreed on is not asked for again until it is on the chain, or too late.
func TestOneCut(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	p.flying[B] = nil
	p.ms += p.settings(A).CertifyMS
	for range 5 {
		p.must(A, func(q *Party) (Effects, error) { return q.Tick(p.ms) })
		for _, s := range []Side{B, A} {
			for _, raw := range p.flying[s] {
				if m, _ := DecodeMessage(raw); raw[0] == sayProposal || raw[0] == sayConsent {
					_ = p.does(s, func(q *Party) (Effects, error) { return q.Hear(p.ms, m) })
				}
			}
			p.flying[s] = nil
		}
	}
	if n := len(p.parties[A].d.joints); n != 1 {
		t.Fatalf("%d cuts of one generation", n)
	}
}

// A proposal that is not answered does not keep the next cut from being asked for.
func TestUnansweredProposal(t *testing.T) {
	p := meet(t)
	p.must(A, func(q *Party) (Effects, error) { return q.Ask(p.ms, Release{Amount: 3}) })
	p.pays(A, 5)
	p.flying[B] = nil
	p.ms += p.settings(A).CertifyMS
	p.must(A, func(q *Party) (Effects, error) { return q.Tick(p.ms) })
	if n := len(p.parties[A].d.joints); n != 2 {
		t.Fatalf("%d joint actions", n)
	}
}

// A challenge that an anchor has answered is not the last one of its generation.
func TestSecondChallenge(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	p.flying[B] = nil
	p.ms += 2 * p.settings(A).CertifyMS
	p.must(A, func(q *Party) (Effects, error) { return q.Tick(p.ms) })
	if p.chain.Lanes[A].Challenge == (Challenge{}) {
		t.Fatal("no challenge")
	}
	p.arrive() // B answers late
	p.flying[B] = nil
	p.see(B)
	p.include(B, mustBest(t, p.parties[B]))
	p.block()
	p.wantBound(A, 1)
	p.pays(A, 6)
	for range 40 {
		p.flying[B] = nil
		p.block()
	}
	if p.chain.Lanes[A].Gen != 1 {
		t.Fatalf("lane %+v", p.chain.Lanes[A])
	}
}

func mustBest(t *testing.T, p *Party) Anchor {
	t.Helper()
	a, ok := p.Best()
	if !ok {
		t.Fatal("nothing to anchor")
	}
	return a
}

// A start does not end a generation for what was under way: the time to wait begins anew.
func TestStartIsPatient(t *testing.T) {
	p := meet(t)
	p.ms += 1_000_000
	p.pays(A, 5)
	p.flying[B] = nil
	p.start(A)
	if p.submits != 0 || len(p.parties[A].d.joints) != 0 {
		t.Fatal("a start comes before the chain")
	}
	p.settle()
	p.wantBound(A, 1)
}

// An old copy learns the locks at a head that it did not know from the other bank, also if its follower
// shows nothing of what was between.
func TestOldCopyWithLocks(t *testing.T) {
	for _, jumps := range []bool{false, true} {
		p := meet(t)
		p.pays(A, 5)
		p.arrive()
		old := len(p.logs[A])
		l, _ := p.lockOf(30)
		p.logs[A] = p.logs[A][:old]
		p.start(A)
		p.arrive()
		if jumps {
			p.see(B) // it is challenged, and anchors its best pair
			p.now = Time{p.now.S + 21, p.now.Height + 10}
			moves, _ := p.chain.Expire(p.rules(), p.now)
			p.move(moves)
		}
		p.block()
		p.settle()
		for p.now.S <= l.Expiry { // then it is taken back
			p.block()
		}
		p.settle()
		if own := p.parties[A].own(); own.gen != 1 || own.last.Locked != 0 {
			t.Fatalf("jumps %v, generation %d, locked %d", jumps, own.gen, own.last.Locked)
		}
		p.pays(A, 7)
		p.arrive()
		p.wantBound(A, 4)
	}
}

// What a bank knows of locks that have ended is not copied for each further one: a channel has many.
func TestManyLocksThatHaveEnded(t *testing.T) {
	var events []Event
	for i := range uint32(1 << 12) {
		var preimage cypherlink.Preimage
		binary.BigEndian.PutUint32(preimage[28:], i)
		id := LockID(preimage)
		events = append(events, Learned{preimage}, Released{id}, Failed{id}, Gone{id})
	}
	copies := testing.AllocsPerRun(1, func() {
		var d durable
		for _, e := range events {
			d.fold(A, e)
		}
	})
	if copies > 200 {
		t.Errorf("%.0f copies for %d events", copies, len(events))
	}
}

// A lock's id serves once: what its payee is bound to is not asked again of another lock (H1), and what
// was given up by its payer is not settled any more.
func TestLockAgain(t *testing.T) {
	p := meet(t)
	again := func(l Lock) error {
		l.Expiry = p.now.S + 20
		return p.does(A, func(q *Party) (Effects, error) { return q.Order(p.ms, []Operation{l}) })
	}
	l, preimage := p.lockOf(30)
	p.must(B, func(q *Party) (Effects, error) { return q.Learn(p.ms, preimage) })
	p.block()
	p.arrive()
	p.wantBound(A, 2) // settled
	// The payer, who does not remember it, would go back on his own word; his payee does not go along.
	second := cypherlink.Preimage{9}
	if err := again(Lock{ID: l.ID, Amount: 30, Condition: second.Condition()}); err != nil {
		t.Fatal(err)
	}
	p.arrive()
	if p.parties[B].peer().last.Seq != 2 {
		t.Fatal("a lock's id serves again")
	}
	p = meet(t)
	l, _ = p.lockOf(30)
	p.must(B, func(q *Party) (Effects, error) { return q.Fail(p.ms, l.ID) })
	p.arrive()
	p.wantBound(A, 2) // given up
	if err := again(l); cypherlink.ErrorCode(err) != H4.Code() {
		t.Fatal(err)
	}
}

// Joint actions that are proposed one after another take what is agreed on, and no more.
func TestProposalFlood(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	p.arrive()
	for i := range 1_000 {
		j := Joint{
			Channel: p.chain.ID, Proposer: A, Counter: uint64(i + 1), Do: Record{}, ValidUntil: p.now.S + 4,
			Points: [2]Point{p.parties[B].peer().point(1), p.parties[B].own().point(0)},
		}
		_ = p.does(B, func(q *Party) (Effects, error) { return q.Hear(p.ms, Proposal{Joint: j}) })
	}
	if n := len(p.parties[B].d.joints); n != maxLive {
		t.Fatalf("%d joint actions, want %d", n, maxLive)
	}
	for range 5 { // they are too late
		p.block()
	}
	if n := len(p.parties[B].d.joints); n != 0 {
		t.Fatalf("%d joint actions are kept that cannot happen", n)
	}
	p.must(A, func(q *Party) (Effects, error) { return q.Ask(p.ms, Release{Amount: 3}) })
	p.arrive()
	if p.chain.Releases != 1 {
		t.Fatal("the flood keeps others out for ever")
	}
}

// Offers that cannot follow soon are not kept.
func TestOfferFlood(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	e := p.parties[A].own().entries[0].Entry
	for i := range uint32(1_000) {
		e.Update.Seq = 2 + i
		e.Update.seal()
		_ = p.does(B, func(q *Party) (Effects, error) { return q.Hear(p.ms, Offer{e}) })
	}
	if n := len(p.parties[B].waiting); n >= int(p.chain.Limits.Uncertified) {
		t.Fatalf("%d offers wait", n)
	}
}

// A preimage is not released for a lock that the chain has paid out, or pays out to its payer because
// nobody listed it (H1).
func TestLockOfAChannelThatIsOver(t *testing.T) {
	for _, over := range []State{Frozen, Closed} {
		p := meet(t)
		preimage := cypherlink.Preimage{1}
		l := Lock{ID: LockID{1}, Condition: preimage.Condition(), Amount: 30, Expiry: p.now.S + 60}
		p.must(A, func(q *Party) (Effects, error) { return q.Order(p.ms, []Operation{l}) })
		p.arrive()
		p.wantBound(A, 1)
		p.include(A, mustBest(t, p.parties[A]))
		p.include(A, Close{p.chain.ID})
		for p.chain.State != over { // B's follower shows nothing of it
			p.now = Time{p.now.S + 1, p.now.Height + 1}
			moves, _ := p.chain.Expire(p.rules(), p.now)
			p.move(moves)
		}
		v := View{Channel: p.chain, Now: p.now, Fresh: true}
		p.must(B, func(q *Party) (Effects, error) {
			e, err := q.See(p.ms, v)
			e.Submit = nil // nor is its list included
			return e, err
		})
		p.must(B, func(q *Party) (Effects, error) { return q.Learn(p.ms, preimage) })
		if len(p.revealed) != 0 {
			t.Fatalf("a preimage is released, and the channel is %s without a list", over)
		}
		p.see(B)
		if over == Frozen {
			p.see(B) // now its list is there
			if len(p.revealed) != 1 {
				t.Fatal("a listed lock is not claimed")
			}
		}
	}
}

// What is void in a channel that is over was signed all the same: no slot is used again, though a follower
// that begins anew shows the channel open (L1).
func TestSlotOfAChannelThatIsOver(t *testing.T) {
	p := meet(t)
	p.pays(A, 5)
	v := View{Channel: p.chain, Now: p.now}
	p.include(A, Close{p.chain.ID})
	for p.chain.State != Closed {
		p.flying[B] = nil
		p.block()
	}
	q := NewParty(p.settings(A), &p.chain, p.stored(A))
	for _, step := range []func() (Effects, error){
		func() (Effects, error) { return q.Start(p.ms, 99) },
		func() (Effects, error) { return q.See(p.ms, v) },
		func() (Effects, error) { return q.Hear(p.ms, Resync{Echo: 99}) },
	} {
		if _, err := step(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := q.Order(p.ms, []Operation{Pay{Payment: cypherlink.UETR{8}, Amount: 6}})
	if cypherlink.ErrorCode(err) != L10.Code() {
		t.Fatal(err)
	}
}
