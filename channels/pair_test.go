package channels

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

// pair is two honest banks with their logs, over a network that loses, repeats and reorders, and a
// chain. A crash leaves the log alone.
type pair struct {
	t        rapid.TB
	draw     *rapid.T // nil: nothing crashes
	chain    Channel
	now      Time
	ms       int64
	revealed map[cypherlink.Condition]Revealed
	accounts [2]int64
	parties  [2]*Party
	logs     [2][]Event
	sessions [2]uint64
	flying   [2][][]byte // to each side
	ordered  [2]int
	bound    [2]map[cypherlink.Hash]bool // updates that a side holds for bound
	ended    map[cypherlink.Hash]FactKind
	locks    int
	submits  int
	secrets  []cypherlink.Preimage
}

// crashes are mostly none.
func crashes() []int {
	all := [44]int{-1, 1, 2, 3}
	return all[:]
}

var errCrash = errors.New("crashed")

const capital = int64(1_000)

func newPair(t rapid.TB) *pair {
	w := newWorld(bounds{funds: [2]int64{capital, capital}})
	p := &pair{
		t: t, chain: w.chain, now: w.now, revealed: map[cypherlink.Condition]Revealed{},
		ended: map[cypherlink.Hash]FactKind{}, ms: 1,
	}
	p.chain.Limits = Limits{
		WindowS: 20, Blocks: 10, Uncertified: 4, Locks: 3, Locked: 100, MinExpiryS: 5, MaxExpiryS: 60,
	}
	for s := range p.parties {
		p.bound[s] = map[cypherlink.Hash]bool{}
		p.start(Side(s))
	}
	return p
}

func (p *pair) settings(s Side) Settings {
	return Settings{
		Channel: p.chain.ID, Side: s, LagS: 2, InclusionS: 1, CertifyMS: 5_000, ResendMS: 1_000, JointS: 4,
		Verify: verifyNothing,
	}
}

// refold holds what a bank knows against the fold of its log, as its store keeps it.
func (p *pair) refold(s Side) {
	live := p.parties[s].d
	q := NewParty(p.settings(s), &p.chain, p.stored(s)).d
	late := func(j Joint) bool { return p.now.S >= j.ValidUntil }
	live.joints = slices.DeleteFunc(slices.Clone(live.joints), late)
	q.joints = slices.DeleteFunc(q.joints, late)
	if got, want := fmt.Sprintf("%+v", q), fmt.Sprintf("%+v", live); got != want {
		p.t.Fatalf("the log of %s folds to\n%s, it is\n%s", s, got, want)
	}
}

func (p *pair) stored(s Side) []Event {
	log := make([]Event, len(p.logs[s]))
	for i, e := range p.logs[s] { // as the store keeps it
		var err error
		if log[i], err = DecodeEvent(EncodeEvent(e)); err != nil {
			p.t.Fatal(err)
		}
	}
	return log
}

// start begins a bank from its log.
func (p *pair) start(s Side) {
	p.parties[s] = NewParty(p.settings(s), &p.chain, p.stored(s))
	p.sessions[s]++
	was := p.draw
	p.draw = nil
	_ = p.does(s, func(q *Party) (Effects, error) { return q.Start(p.ms, p.sessions[s]) })
	p.see(s)
	p.draw = was
}

// does runs a step. Its effects happen in their order, as far as the bank lives: it may crash before
// it has persisted, or after so many of the others.
func (p *pair) does(s Side, step func(*Party) (Effects, error)) error {
	e, err := step(p.parties[s])
	keep := 0
	if p.draw != nil {
		keep = rapid.SampledFrom(crashes()).Draw(p.draw, "crash")
	}
	if keep < 0 {
		p.start(s)
		return errCrash
	}
	live := func() bool { keep--; return keep != 0 }
	p.logs[s] = append(p.logs[s], e.Persist...) // one commit
	for _, m := range e.Send {
		if !live() {
			p.start(s)
			return err
		}
		p.flying[s.Other()] = append(p.flying[s.Other()], EncodeMessage(m))
	}
	for _, a := range e.Submit {
		if !live() {
			p.start(s)
			return err
		}
		p.include(s, a)
	}
	for i := range e.Together {
		p.join(&e.Together[i])
	}
	for _, f := range e.Facts {
		p.learn(s, &f)
	}
	return err
}

func (p *pair) learn(s Side, f *Fact) {
	h := f.Update.Hash
	switch f.Kind {
	case FactBound:
		p.bound[s][h] = true
	case FactAnchored, FactVoid:
		if was, ok := p.ended[h]; ok && was != f.Kind {
			p.t.Fatalf("update %d of lane %s: %d, and then %d", f.Update.Seq, f.Lane, was, f.Kind)
		}
		if f.Kind == FactVoid && (p.bound[A][h] || p.bound[B][h]) {
			p.t.Fatalf("update %d of lane %s is void, and was bound", f.Update.Seq, f.Lane)
		}
		p.ended[h] = f.Kind
	case FactDropped, FactSecret, FactGone:
	}
}

func (p *pair) rules() *Rules {
	return &Rules{
		Verify: verifyNothing, Signers: func(*Channel, Side) Signers { return Signers{} },
		Revealed: func(c cypherlink.Condition) (int64, bool) { r, ok := p.revealed[c]; return r.S, ok },
	}
}

func (p *pair) include(s Side, a Action) {
	p.submits++
	if r, ok := a.(Reveal); ok {
		if c := r.Preimage.Condition(); p.revealed[c] == (Revealed{}) {
			p.revealed[c] = Revealed{r.Preimage, p.now.S}
		}
		return
	}
	moves, err := p.chain.Apply(p.rules(), p.now, bankID(s), a)
	if _, anchor := a.(Anchor); anchor && err != nil && !errors.Is(err, ledger.ErrRepeated) {
		p.t.Fatalf("the best pair of %s is refused: %v", s, err)
	}
	p.move(moves)
}

func (p *pair) join(j *Joint) {
	moves, _ := p.chain.Together(p.rules(), p.now, j) // it may come too late
	p.move(moves)
}

func (p *pair) move(moves Moves) {
	p.accounts[0] += moves[0]
	p.accounts[1] += moves[1]
	if total := p.accounts[0] + p.accounts[1] + p.chain.Total(); total != 2*capital {
		p.t.Fatalf("%d in all", total)
	}
}

func (p *pair) see(s Side) {
	v := View{Channel: p.chain, Now: p.now, Fresh: true}
	for _, r := range p.revealed {
		v.Revealed = append(v.Revealed, r)
	}
	slices.SortFunc(v.Revealed, func(a, b Revealed) int { return bytes.Compare(a.Preimage[:], b.Preimage[:]) })
	_ = p.does(s, func(q *Party) (Effects, error) { return q.See(p.ms, v) })
}

// block closes a block; both banks see it.
func (p *pair) block() {
	p.now = Time{p.now.S + 1, p.now.Height + 1}
	p.ms += 1_000
	moves, _ := p.chain.Expire(p.rules(), p.now)
	p.move(moves)
	for _, s := range []Side{A, B} {
		p.see(s)
	}
}

// deliver gives a bank one of the messages that fly to it, again or not.
func (p *pair) deliver(s Side, i int, again bool) {
	raw := p.flying[s][i]
	if !again {
		p.flying[s] = slices.Delete(p.flying[s], i, i+1)
	}
	m, err := DecodeMessage(raw)
	if err != nil {
		p.t.Fatal(err)
	}
	_ = p.does(s, func(q *Party) (Effects, error) { return q.Hear(p.ms, m) })
}

func (p *pair) order(s Side, op Operation) {
	err := p.does(s, func(q *Party) (Effects, error) { return q.Order(p.ms, []Operation{op}) })
	if err == nil {
		p.ordered[s]++
	}
}

func (p *pair) pay(t *rapid.T, s Side) {
	p.order(s, Pay{
		Payment: cypherlink.UETR{byte(s), byte(p.ordered[s]), byte(p.ordered[s] >> 8), 6: 0x40, 8: 0x80},
		Amount:  cypherlink.Amount(rapid.SampledFrom([]int64{1, 7, 300, 1_000}).Draw(t, "amount")),
	})
}

func (p *pair) lock(t *rapid.T, s Side) {
	p.locks++
	preimage := cypherlink.Preimage{1, byte(p.locks), byte(p.locks >> 8)}
	p.secrets = append(p.secrets, preimage)
	p.order(s, Lock{
		ID: LockID{byte(p.locks), byte(p.locks >> 8)}, Condition: preimage.Condition(),
		Amount: cypherlink.Amount(rapid.IntRange(1, 60).Draw(t, "amount")),
		Expiry: p.now.S + rapid.Int64Range(5, 30).Draw(t, "expiry"),
	})
}

// claim lets a payee learn a preimage, or give the lock up.
func (p *pair) claim(t *rapid.T, s Side) {
	if len(p.secrets) == 0 {
		return
	}
	preimage := rapid.SampledFrom(p.secrets).Draw(t, "which")
	for _, l := range p.parties[s].peer().last.locks {
		if l.Condition.FulfilledBy(preimage) {
			if rapid.Bool().Draw(t, "claims") {
				_ = p.does(s, func(q *Party) (Effects, error) { return q.Learn(p.ms, preimage) })
			} else {
				_ = p.does(s, func(q *Party) (Effects, error) { return q.Fail(p.ms, l.ID) })
			}
			return
		}
	}
}

// check holds at all times: C2, C6.
func (p *pair) check() {
	t := p.t
	for _, s := range []Side{A, B} {
		p.refold(s)
		if p.chain.Balance(s) < 0 {
			t.Fatalf("the balance of %s is %d", s, p.chain.Balance(s))
		}
		for i := range p.parties[s].d.lanes {
			l := &p.parties[s].d.lanes[i]
			var locked cypherlink.Amount
			for _, k := range l.last.locks {
				locked += k.Amount
			}
			if l.listed && locked != l.last.Locked {
				t.Fatalf("locks of %d, locked %d", locked, l.last.Locked)
			}
		}
	}
}

// settle lets everything arrive until nothing is open: C7, C11.
func (p *pair) settle() {
	t := p.t
	quiet := func() bool {
		for _, s := range []Side{A, B} {
			q := p.parties[s]
			if len(p.flying[s]) > 0 || !q.synced || q.own().certified != q.own().last.Seq ||
				q.peer().last.Head != p.parties[s.Other()].own().last.Head {
				return false
			}
			for i := range q.d.lanes {
				if q.d.lanes[i].bound != q.d.lanes[i].last.Seq || q.d.lanes[i].gen != p.chain.Lanes[i].Gen {
					return false
				}
			}
		}
		return !p.parties[A].disturbed() && !p.parties[B].disturbed()
	}
	for range 400 {
		for _, s := range []Side{A, B} {
			for len(p.flying[s]) > 0 {
				p.deliver(s, 0, false)
			}
		}
		if quiet() {
			return
		}
		p.block()
	}
	t.Fatalf("nothing settles: %+v\n%+v\n%+v", p.parties[A].d, p.parties[B].d, p.chain)
}

// TestPair is a conversation of two honest banks, at the end of which they agree, whatever was lost,
// and a channel that pays out what both have certified.
func TestPair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPair(t)
		p.settle() // they meet
		p.draw = t
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			p.act(t, rapid.SampledFrom(acts()).Draw(t, "act"))
			p.check()
		}
		p.draw = nil
		p.settle()
		p.close()
	})
}

// acts are what may happen, as often as it may.
func acts() []string {
	return []string{
		"pay", "pay", "pay", "lock", "claim", "claim", "deliver", "deliver", "deliver", "deliver", "deliver", "deliver",
		"repeat", "lose", "block", "block", "crash", "ask", "anchor",
	}
}

func (p *pair) act(t *rapid.T, act string) {
	s := Side(rapid.IntRange(0, 1).Draw(t, "who"))
	switch act {
	case "pay":
		p.pay(t, s)
	case "lock":
		p.lock(t, s)
	case "claim":
		p.claim(t, s)
	case "deliver", "repeat":
		if n := len(p.flying[s]); n > 0 {
			p.deliver(s, rapid.IntRange(0, n-1).Draw(t, "which"), act == "repeat")
		}
	case "lose":
		p.flying[s] = nil
	case "block":
		p.block()
	case "crash":
		p.start(s)
	case "ask":
		do := rapid.SampledFrom([]JointAction{
			Record{}, Release{Amount: 3}, Cut{s, p.parties[s].own().gen},
		}).Draw(t, "what")
		_ = p.does(s, func(q *Party) (Effects, error) { return q.Ask(p.ms, do) })
	case "anchor":
		if a, ok := p.parties[s].Best(); ok {
			p.include(s, a)
		}
	}
}

// close ends the channel by one bank: C8, it pays out the join of what both have certified.
func (p *pair) close() {
	t := p.t
	want := [2]int64{}
	for _, s := range []Side{A, B} {
		own, peer := p.parties[s].own().last, p.parties[s].peer().last
		want[s], _ = balance(p.chain.Funds[s], peer.Paid, own.Head)
		want[s] += p.accounts[s]
	}
	open := [2][]Lock{p.parties[A].own().last.locks, p.parties[B].own().last.locks}
	p.include(A, Close{p.chain.ID})
	for range 200 {
		for _, s := range []Side{A, B} {
			for len(p.flying[s]) > 0 {
				p.deliver(s, 0, false)
			}
		}
		p.block()
		if p.chain.State == Closed {
			break
		}
	}
	if p.chain.State != Closed {
		t.Fatalf("the channel is %s", p.chain.State)
	}
	for i, locks := range open {
		for _, l := range locks {
			to := i
			if r, ok := p.revealed[l.Condition]; ok && r.S < l.Expiry {
				to = 1 - i
			}
			want[to] += int64(l.Amount)
		}
	}
	if p.accounts != want {
		t.Fatalf("the channel pays out %v, it should be %v", p.accounts, want)
	}
}
