package channels_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"math"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

const (
	began   = int64(1_000)
	network = "network!"
)

// key is a key of Ed25519 by name.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(name string) [32]byte { return [32]byte(key(name).Public().(ed25519.PublicKey)) }

// scene is a channel of Alice, side A, and Bob, side B, with 100 each, and a Validator.
type scene struct {
	*testing.T
	channels.Channel
	rules    channels.Rules
	now      channels.Time
	reveals  map[cypherlink.Condition]int64
	accounts [2]int64
}

func bank(s channels.Side) cypherlink.ParticipantID { return cypherlink.ParticipantID{byte(s) + 1} }

func names(lane channels.Side) (payer, payee string) {
	if lane == channels.A {
		return "alice", "bob"
	}
	return "bob", "alice"
}

func opening() *channels.Joint {
	o := channels.Open{
		Banks: [2]cypherlink.ParticipantID{bank(channels.A), bank(channels.B)}, Nonce: 1,
		Asset: cypherlink.Asset{Ledger: "chain", Code: "EUR", Scale: 2}, Limits: channels.DefaultLimits(),
		Accounts: [2]cypherlink.Account{{Owner: bank(channels.A)}, {Owner: bank(channels.B)}},
	}
	id := channels.NewID(cypherlink.NetworkID([]byte(network)), o.Banks, o.Asset, o.Nonce)
	return &channels.Joint{Channel: id, Do: o, ValidUntil: began + 10}
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, now: channels.Time{S: began, Height: 5}, reveals: map[cypherlink.Condition]int64{}}
	s.rules = channels.Rules{
		Network: cypherlink.NetworkID([]byte(network)), Verify: cosi.VerifyEd25519Batch,
		Signers: func(_ *channels.Channel, lane channels.Side) channels.Signers {
			payer, payee := names(lane)
			return channels.Signers{
				Payer: public(payer), Payee: public(payee), Threshold: 1,
				Validators: []channels.ValidatorKey{{ID: cypherlink.ParticipantID{9}, Key: public("validator")}},
			}
		},
		Revealed: func(c cypherlink.Condition) (int64, bool) { at, ok := s.reveals[c]; return at, ok },
	}
	c, err := channels.New(&s.rules, s.now, opening())
	if err != nil {
		t.Fatal(err)
	}
	s.Channel = *c
	s.accounts = [2]int64{100, 100}
	for _, side := range []channels.Side{channels.A, channels.B} {
		s.must(side, channels.Fund{Channel: s.ID, Amount: 100, Number: 1})
	}
	return s
}

// does asks for an action in the name of a side.
func (s *scene) does(side channels.Side, a channels.Action) error {
	moves, err := s.Apply(&s.rules, s.now, bank(side), a)
	s.accounts[0] += moves[0]
	s.accounts[1] += moves[1]
	return err
}

func (s *scene) must(side channels.Side, a channels.Action) {
	s.Helper()
	if err := s.does(side, a); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) together(do channels.JointAction, a, b *channels.Certificate) error {
	j := &channels.Joint{Channel: s.ID, Do: do, ValidUntil: s.now.S + 1}
	if a != nil {
		j.Points[0] = a.Update.Point()
	}
	if b != nil {
		j.Points[1] = b.Update.Point()
	}
	moves, err := s.Together(&s.rules, s.now, j)
	s.accounts[0] += moves[0]
	s.accounts[1] += moves[1]
	return err
}

// refused wants a refusal by the rule, that leaves the channel as it was.
func (s *scene) refused(rule channels.Rule, do func() error) {
	s.Helper()
	before := string(s.Encode())
	if err := do(); cypherlink.ErrorCode(err) != rule.Code() {
		s.Fatalf("%v, want a refusal by %s", err, rule)
	}
	if string(s.Encode()) != before {
		s.Fatalf("a refusal by %s changes the channel", rule)
	}
}

// update is one of a lane, with hash.
func (s *scene) update(lane channels.Side, gen, seq uint32, dep, paid cypherlink.Amount, locks ...channels.Lock) channels.Update {
	u := channels.Update{Channel: s.ID, Lane: lane, Gen: gen, Dep: dep}
	u.Seq, u.Paid, u.Locks = seq, paid, channels.LockRoot(locks)
	for _, l := range locks {
		u.Locked += l.Amount
	}
	var w wire.Writer
	u.AppendWire(&w)
	return channels.ReadUpdate(wire.NewReader(w.Bytes()))
}

func sign(name string, f cosi.Frame) [64]byte {
	b := f.Encode()
	return [64]byte(ed25519.Sign(key(name), b[:]))
}

// certify signs an update as everybody has to.
func (s *scene) certify(u channels.Update) *channels.Certificate {
	payer, payee := names(u.Lane)
	f := u.Frame(s.rules.Network)
	return &channels.Certificate{
		Update: u, Payer: sign(payer, f), Payee: sign(payee, f),
		Endorsements: []channels.Endorsement{{
			Validator: cypherlink.ParticipantID{9}, Signature: sign("validator", f),
		}},
	}
}

func (s *scene) anchor(a, b *channels.Certificate) channels.Anchor {
	return channels.Anchor{Channel: s.ID, Heads: [2]*channels.Certificate{a, b}}
}

// later lets time and blocks pass.
func (s *scene) later(seconds int64, blocks uint64) {
	s.now = channels.Time{S: s.now.S + seconds, Height: s.now.Height + blocks}
	moves, _ := s.Expire(&s.rules, s.now)
	s.accounts[0] += moves[0]
	s.accounts[1] += moves[1]
}

func (s *scene) want(state channels.State, a, b int64) {
	s.Helper()
	if s.State != state || s.Balance(channels.A) != a || s.Balance(channels.B) != b {
		s.Fatalf("%s with %d and %d, want %s with %d and %d", s.State, s.Balance(channels.A), s.Balance(channels.B),
			state, a, b)
	}
	if total := s.accounts[0] + s.accounts[1] + s.Total(); total != 200 {
		s.Fatalf("%d in all", total)
	}
}

func TestOpenRefuses(t *testing.T) {
	s := newScene(t)
	edits := map[string]func(j *channels.Joint, o *channels.Open){
		"too late":         func(j *channels.Joint, _ *channels.Open) { j.ValidUntil = began },
		"another id":       func(j *channels.Joint, _ *channels.Open) { j.Channel[0]++ },
		"heads":            func(j *channels.Joint, _ *channels.Open) { j.Points[0].Seq = 1 },
		"one bank":         func(_ *channels.Joint, o *channels.Open) { o.Banks[1] = o.Banks[0] },
		"another's":        func(_ *channels.Joint, o *channels.Open) { o.Accounts[1].Owner = bank(channels.A) },
		"a window of 1 s":  func(_ *channels.Joint, o *channels.Open) { o.Limits.WindowS = 1 },
		"a window of none": func(_ *channels.Joint, o *channels.Open) { o.Limits.Blocks = 0 },
		"nothing in flight": func(_ *channels.Joint, o *channels.Open) {
			o.Limits.Uncertified = 0
		},
		"banks out of order": func(_ *channels.Joint, o *channels.Open) {
			o.Banks[0], o.Banks[1] = o.Banks[1], o.Banks[0]
			o.Accounts[0], o.Accounts[1] = o.Accounts[1], o.Accounts[0]
		},
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			j := opening()
			o := j.Do.(channels.Open)
			edit(j, &o)
			j.Do = o
			if _, err := channels.New(&s.rules, channels.Time{S: began}, j); cypherlink.ErrorCode(err) != channels.T0.Code() {
				t.Fatal(err)
			}
		})
	}
}

func TestFund(t *testing.T) {
	s := newScene(t)
	s.want(channels.Opened, 100, 100)
	s.refused(channels.T0, func() error {
		_, err := s.Apply(&s.rules, s.now, cypherlink.ParticipantID{7}, channels.Fund{Channel: s.ID, Amount: 1, Number: 2})
		return err
	})
	for _, amount := range []cypherlink.Amount{0, -1, math.MaxInt64} {
		s.refused(channels.T1, func() error {
			return s.does(channels.A, channels.Fund{Channel: s.ID, Amount: amount, Number: 2})
		})
	}
	s.refused(channels.T1, func() error {
		return s.does(channels.A, channels.Fund{Channel: s.ID, Amount: 1, Number: 3})
	})
	if err := s.does(channels.A, channels.Fund{Channel: s.ID, Amount: 100, Number: 1}); !errors.Is(err, ledger.ErrRepeated) {
		t.Fatalf("a funding acts twice: %v", err)
	}
}

// Attacks B3, B5, B6 and B12.
func TestAnchor(t *testing.T) {
	s := newScene(t)
	a, b := s.certify(s.update(channels.A, 0, 4, 0, 70)), s.certify(s.update(channels.B, 0, 2, 70, 150))
	s.refused(channels.T2, func() error { return s.does(channels.B, s.anchor(nil, b)) }) // relies on what A did not pay
	s.refused(channels.T2, func() error {                                                // more than there is
		return s.does(channels.A, s.anchor(s.certify(s.update(channels.A, 0, 1, 0, 101)), nil))
	})
	s.refused(channels.T2, func() error { // of the other lane
		return s.does(channels.A, s.anchor(b, a))
	})
	for name, edit := range map[string]func(*channels.Certificate){
		"payer":     func(c *channels.Certificate) { c.Payer[3]++ },
		"payee":     func(c *channels.Certificate) { c.Payee[3]++ },
		"validator": func(c *channels.Certificate) { c.Endorsements[0].Signature[3]++ },
		"none":      func(c *channels.Certificate) { c.Endorsements = nil },
		"stranger":  func(c *channels.Certificate) { c.Endorsements[0].Validator[3]++ },
		"twice":     func(c *channels.Certificate) { c.Endorsements = append(c.Endorsements, c.Endorsements[0]) },
		"swapped":   func(c *channels.Certificate) { c.Payer, c.Payee = c.Payee, c.Payer },
		"channel":   func(c *channels.Certificate) { c.Update.Channel[0]++ },
	} {
		t.Run(name, func(*testing.T) {
			wrong := s.certify(s.update(channels.A, 0, 4, 0, 70))
			edit(wrong)
			s.refused(channels.T2, func() error { return s.does(channels.A, s.anchor(wrong, nil)) })
		})
	}
	s.rules.Network[0]++
	s.refused(channels.T2, func() error { return s.does(channels.A, s.anchor(a, nil)) }) // of another network
	s.rules.Network[0]--
	s.must(channels.B, s.anchor(a, b)) // either bank, whoever's they are
	s.want(channels.Opened, 180, 20)
	for _, again := range []channels.Anchor{
		s.anchor(a, b), s.anchor(s.certify(s.update(channels.A, 0, 3, 0, 1)), nil),
		s.anchor(s.certify(s.update(channels.A, 1, 9, 0, 71)), nil),
	} {
		if err := s.does(channels.A, again); !errors.Is(err, ledger.ErrRepeated) {
			t.Fatalf("moves a lane: %v", err)
		}
	}
	// The maximum: a lane whose head is behind what stands stays.
	s.must(channels.A, s.anchor(s.certify(s.update(channels.A, 0, 3, 0, 1)), s.certify(s.update(channels.B, 0, 3, 70, 151))))
	s.want(channels.Opened, 181, 19)
}

func TestChallenge(t *testing.T) {
	s := newScene(t)
	w, blocks := s.Limits.WindowS, s.Limits.Blocks
	s.refused(channels.T3, func() error {
		return s.does(channels.A, channels.Dispute{Channel: s.ID, Lane: channels.A, Slot: channels.Slot{Gen: 0, Seq: 0}})
	})
	s.refused(channels.T3, func() error {
		return s.does(channels.A, channels.Dispute{Channel: s.ID, Lane: channels.A, Slot: channels.Slot{Gen: 1, Seq: 3}})
	})
	dispute := channels.Dispute{Channel: s.ID, Lane: channels.A, Slot: channels.Slot{Seq: 3}}
	s.must(channels.A, dispute)
	if err := s.does(channels.A, dispute); !errors.Is(err, ledger.ErrRepeated) {
		t.Fatal(err)
	}
	s.refused(channels.T3, func() error { // no second one, so none is ever put off
		return s.does(channels.B, channels.Dispute{Channel: s.ID, Lane: channels.A, Slot: channels.Slot{Seq: 9}})
	})
	// At the deadline is still in time: T7 asks for both.
	s.later(w, blocks)
	if s.Lanes[0].Gen != 0 {
		t.Fatal("the deadline came too soon")
	}
	s.must(channels.B, s.anchor(s.certify(s.update(channels.A, 0, 2, 0, 10)), nil)) // does not answer it
	s.later(1, 0)
	if s.Lanes[0].Gen != 1 || s.Lanes[0].Head.Seq != 2 || s.Lanes[0].Challenge != (channels.Challenge{}) {
		t.Fatalf("lane %+v", s.Lanes[0])
	}
	// After an outage time alone does not do it.
	s.must(channels.A, channels.Dispute{Channel: s.ID, Lane: channels.A, Slot: channels.Slot{Gen: 1, Seq: 3}})
	s.later(10*w, 1)
	if s.Lanes[0].Gen != 1 {
		t.Fatal("time alone ends a generation")
	}
	s.must(channels.B, s.anchor(s.certify(s.update(channels.A, 1, 3, 0, 12)), nil))
	s.later(1, blocks)
	if s.Lanes[0].Gen != 1 || s.Lanes[0].Challenge != (channels.Challenge{}) {
		t.Fatal("an answered challenge stands")
	}
	s.want(channels.Opened, 88, 112)
}

func TestTogether(t *testing.T) {
	s := newScene(t)
	s.refused(channels.T5, func() error {
		_, err := s.Together(&s.rules, s.now, &channels.Joint{Channel: s.ID, Do: channels.Record{}, ValidUntil: s.now.S})
		return err
	})
	s.refused(channels.T5, func() error { return s.together(channels.Release{By: channels.A, Amount: 1, Number: 2}, nil, nil) })
	s.refused(channels.T5, func() error { return s.together(channels.Release{By: channels.A, Amount: 0, Number: 1}, nil, nil) })
	s.refused(channels.T5, func() error { return s.together(channels.Release{By: channels.A, Amount: 101, Number: 1}, nil, nil) })
	a, b := s.certify(s.update(channels.A, 0, 1, 0, 50)), s.certify(s.update(channels.B, 0, 1, 50, 120))
	s.refused(channels.T2, func() error { return s.together(channels.Record{}, nil, b) })
	s.refused(channels.T4, func() error { return s.together(channels.Cut{Lane: channels.A, Gen: 1}, a, nil) })
	// Received money may leave: the funds go below zero.
	if err := s.together(channels.Release{By: channels.A, Amount: 170, Number: 1}, a, b); err != nil {
		t.Fatal(err)
	}
	s.want(channels.Opened, 0, 30)
	if s.Funds[0] != -70 || s.accounts[0] != 170 {
		t.Fatalf("funds %d, account %d", s.Funds[0], s.accounts[0])
	}
	s.refused(channels.T5, func() error { return s.together(channels.Release{By: channels.A, Amount: 170, Number: 1}, a, b) })
	if err := s.together(channels.Cut{Lane: channels.B, Gen: 0}, a, b); err != nil {
		t.Fatal(err)
	}
	if s.Lanes[1].Gen != 1 || s.Lanes[0].Gen != 0 {
		t.Fatal("the cut is not of lane B's")
	}
	if err := s.together(channels.Settlement{}, nil, nil); err != nil {
		t.Fatal(err)
	}
	s.want(channels.Closed, 0, 0)
	if s.accounts != [2]int64{170, 30} || s.Total() != 0 {
		t.Fatalf("accounts %v, total %d", s.accounts, s.Total())
	}
	s.refused(channels.T6, func() error { return s.together(channels.Settlement{}, nil, nil) })
	s.refused(channels.T1, func() error { return s.does(channels.A, channels.Fund{Channel: s.ID, Amount: 1, Number: 2}) })
	s.refused(channels.T2, func() error {
		return s.does(channels.A, s.anchor(s.certify(s.update(channels.A, 0, 9, 0, 51)), nil))
	})
}

// Close by one bank: anchors are taken until the deadline, then the locks decide (T6, T9).
func TestCloseWithLocks(t *testing.T) {
	preimage := func(n byte) cypherlink.Preimage { return cypherlink.Preimage{n} }
	lock := func(n byte, amount cypherlink.Amount, in int64) channels.Lock {
		return channels.Lock{ID: channels.LockID{n}, Amount: amount, Condition: preimage(n).Condition(), Expiry: began + in}
	}
	locks := []channels.Lock{lock(1, 10, 500), lock(2, 20, 500), lock(3, 5, 501), lock(4, 1, 900)}
	s := newScene(t)
	head := s.certify(s.update(channels.A, 0, 1, 0, 4, locks...))
	s.must(channels.B, channels.Close{Channel: s.ID})
	if err := s.does(channels.A, channels.Close{Channel: s.ID}); !errors.Is(err, ledger.ErrRepeated) {
		t.Fatal(err)
	}
	s.refused(channels.T1, func() error { return s.does(channels.A, channels.Fund{Channel: s.ID, Amount: 1, Number: 2}) })
	s.refused(channels.T3, func() error {
		return s.does(channels.A, channels.Dispute{Channel: s.ID, Lane: channels.A, Slot: channels.Slot{Seq: 3}})
	})
	s.refused(channels.T6, func() error { return s.together(channels.Settlement{}, nil, nil) })
	s.later(s.Limits.WindowS, s.Limits.Blocks)
	s.must(channels.B, s.anchor(head, nil)) // at the deadline is still in time
	s.refused(channels.T9, func() error {
		return s.does(channels.B, channels.Supply{Channel: s.ID, Lane: channels.A, Locks: locks})
	})
	s.later(1, 0)
	s.want(channels.Frozen, 60, 104)
	s.refused(channels.T2, func() error {
		return s.does(channels.A, s.anchor(s.certify(s.update(channels.A, 0, 2, 0, 4)), nil))
	})
	s.refused(channels.T9, func() error {
		return s.does(channels.B, channels.Supply{Channel: s.ID, Lane: channels.A, Locks: locks[:3]})
	})
	s.refused(channels.T9, func() error { return s.does(channels.B, channels.Supply{Channel: s.ID, Lane: channels.B}) })
	s.must(channels.B, channels.Supply{Channel: s.ID, Lane: channels.A, Locks: locks})
	s.reveals[locks[0].Condition] = began + 499 // in time
	s.reveals[locks[1].Condition] = began + 500 // too late
	s.reveals[locks[3].Condition] = began + 3   // early
	s.now.S = began + 499
	s.later(1, 1)
	if s.State != channels.Frozen {
		t.Fatal("a lock was not decided yet")
	}
	s.later(1, 1)
	if s.State != channels.Closed || s.accounts != [2]int64{85, 115} {
		t.Fatalf("%s, accounts %v", s.State, s.accounts)
	}
}

// No list in time: the locks are the payer's.
func TestCloseWithoutAList(t *testing.T) {
	s := newScene(t)
	l := channels.Lock{ID: channels.LockID{1}, Amount: 10, Condition: cypherlink.Condition{1}, Expiry: began + 1}
	s.must(channels.B, s.anchor(s.certify(s.update(channels.A, 0, 1, 0, 4, l)), nil))
	s.must(channels.A, channels.Close{Channel: s.ID})
	s.later(s.Limits.WindowS+1, s.Limits.Blocks)
	s.later(s.Limits.WindowS, s.Limits.Blocks)
	if s.State != channels.Frozen {
		t.Fatalf("%s, a list is still in time", s.State)
	}
	s.later(1, 0)
	if s.State != channels.Closed || s.accounts != [2]int64{96, 104} {
		t.Fatalf("%s, accounts %v", s.State, s.accounts)
	}
}

// Two banks that certify a sum of locks that is not that of their list move nothing by the list: what it
// would take from an account in the end would fail, and with it every block (attack B12).
func TestListOfAnotherSum(t *testing.T) {
	for _, amounts := range [][]cypherlink.Amount{{1_000}, {9}, {math.MaxInt64, math.MaxInt64, 12}} {
		s := newScene(t)
		var locks []channels.Lock
		for i, amount := range amounts {
			locks = append(locks, channels.Lock{
				ID: channels.LockID{byte(i)}, Amount: amount, Condition: cypherlink.Condition{byte(i)}, Expiry: began + 900,
			})
			s.reveals[locks[i].Condition] = began
		}
		u := s.update(channels.A, 0, 1, 0, 4, locks...)
		u.Locked = 10
		var w wire.Writer
		u.AppendWire(&w)
		u = channels.ReadUpdate(wire.NewReader(w.Bytes()))
		s.must(channels.B, s.anchor(s.certify(u), nil))
		s.must(channels.A, channels.Close{Channel: s.ID})
		s.later(s.Limits.WindowS+1, s.Limits.Blocks)
		s.refused(channels.T9, func() error {
			return s.does(channels.B, channels.Supply{Channel: s.ID, Lane: channels.A, Locks: locks})
		})
		s.later(s.Limits.WindowS+1, s.Limits.Blocks)
		if s.State != channels.Closed || s.accounts != [2]int64{96, 104} {
			t.Fatalf("%s, accounts %v", s.State, s.accounts)
		}
	}
}

// No lock keeps a frozen channel longer than an honest bank would sign one for.
func TestListOfAnEndlessLock(t *testing.T) {
	for in, want := range map[int64]bool{-1: true, 0: true, 1: false} {
		s := newScene(t)
		frozen := began + s.Limits.WindowS + 1
		l := channels.Lock{
			ID: channels.LockID{1}, Amount: 10, Condition: cypherlink.Condition{1},
			Expiry: frozen + s.Limits.MaxExpiryS + in,
		}
		s.must(channels.B, s.anchor(s.certify(s.update(channels.A, 0, 1, 0, 4, l)), nil))
		s.must(channels.A, channels.Close{Channel: s.ID})
		s.later(s.Limits.WindowS+1, s.Limits.Blocks)
		supply := channels.Supply{Channel: s.ID, Lane: channels.A, Locks: []channels.Lock{l}}
		if want {
			s.must(channels.B, supply)
		} else {
			s.refused(channels.T9, func() error { return s.does(channels.B, supply) })
		}
	}
}

// Due never comes later than what Expire does.
func TestDue(t *testing.T) {
	s := newScene(t)
	if _, ok := s.Due(); ok {
		t.Fatal("an open channel is due")
	}
	s.must(channels.A, channels.Dispute{Channel: s.ID, Lane: channels.B, Slot: channels.Slot{Seq: 3}})
	s.later(3, 1)
	s.must(channels.A, channels.Close{Channel: s.ID})
	for i := range 200 {
		due, ok := s.Due()
		before := string(s.Encode())
		s.later(1, 1)
		if changed := string(s.Encode()) != before; changed && (!ok || s.now.S < due) {
			t.Fatalf("step %d: changed at %d, due at %d, %v", i, s.now.S, due, ok)
		}
	}
	if _, ok := s.Due(); ok || s.State != channels.Closed {
		t.Fatalf("%s", s.State)
	}
}
