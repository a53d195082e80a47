package channels_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// endorsed is what a Validator has endorsed, in memory. It implements channels.Endorsed.
type endorsed struct {
	updates  map[cypherlink.Hash]channels.Update
	carriers map[[2]cypherlink.Hash][]cypherlink.Hash
	failed   error
	asked    int
}

func newEndorsed() *endorsed {
	return &endorsed{
		updates: map[cypherlink.Hash]channels.Update{}, carriers: map[[2]cypherlink.Hash][]cypherlink.Hash{},
	}
}

func (e *endorsed) Update(hash cypherlink.Hash) (*channels.Update, error) {
	e.asked++
	u, ok := e.updates[hash]
	if !ok {
		return nil, e.failed
	}
	return &u, e.failed
}

func (e *endorsed) Carriers(lane, payment cypherlink.Hash) ([]cypherlink.Hash, error) {
	return e.carriers[[2]cypherlink.Hash{lane, payment}], e.failed
}

func (e *endorsed) keep(d *channels.Draft) {
	u := d.Update
	e.updates[u.Hash] = u
	for _, payment := range d.Payments {
		key := [2]cypherlink.Hash{channels.LaneScope(u.Channel, u.Lane), payment}
		e.carriers[key] = append(e.carriers[key], u.Hash)
	}
}

// sealed is the update with its hash.
func sealed(u channels.Update) channels.Update {
	var w wire.Writer
	u.AppendWire(&w)
	return channels.ReadUpdate(wire.NewReader(w.Bytes()))
}

func pay(n byte) channels.Pay {
	return channels.Pay{Payment: cypherlink.UETR{n}, Amount: 1, Terms: cypherlink.Hash{n}}
}

// draft is the draft of lane A that follows prev, where locks are open, with these operations.
func (s *scene) draft(prev *channels.Update, locks []channels.Lock, ops ...channels.Operation) *channels.Draft {
	d := &channels.Draft{Operations: ops, Prev: prev, Locks: locks}
	u := &d.Update
	u.Channel, u.Prev, u.Gen, u.Body = s.ID, cypherlink.Hash(s.ID), s.Lanes[0].Gen, channels.BodyRoot(ops)
	if prev != nil {
		u.Prev, u.Seq, u.Paid, u.Locked = prev.Hash, prev.Seq, prev.Paid, prev.Locked
	}
	u.Seq++
	open := slices.Clone(locks)
	drop := func(id channels.LockID) (amount cypherlink.Amount) {
		open = slices.DeleteFunc(open, func(l channels.Lock) bool {
			if l.ID == id {
				amount = l.Amount
			}
			return l.ID == id
		})
		u.Locked -= amount
		return amount
	}
	for _, op := range ops {
		switch op := op.(type) {
		case channels.Pay:
			u.Paid += op.Amount
			d.Payments = append(d.Payments, op.Terms)
		case channels.Lock:
			u.Locked += op.Amount
			open = append(open, op)
			d.Payments = append(d.Payments, cypherlink.Hash(op.ID))
		case channels.Settle:
			u.Paid += drop(op.Lock)
		case channels.Unlock:
			drop(op.Lock)
		}
	}
	u.Locks = channels.LockRoot(open)
	*u = sealed(*u)
	return d
}

func self() cypherlink.ParticipantID { return cypherlink.ParticipantID{9} }

// endorse endorses the draft, which has to be possible.
func (s *scene) endorse(e *endorsed, d *channels.Draft) *channels.Update {
	s.Helper()
	again, err := s.Endorse(self(), bank(channels.A), d, e)
	if err != nil || again {
		s.Fatal(again, err)
	}
	e.keep(d)
	return &d.Update
}

func lockOf(n byte) channels.Lock {
	return channels.Lock{
		ID: channels.LockID{n}, Amount: 5, Condition: cypherlink.Preimage{n}.Condition(), Expiry: began + 20,
	}
}

func TestWhatAValidatorEndorses(t *testing.T) {
	s, e := newScene(t), newEndorsed()
	one := s.endorse(e, s.draft(nil, nil, pay(1), pay(2)))
	lock := lockOf(3)
	two := s.endorse(e, s.draft(one, nil, lock))
	three := s.endorse(e, s.draft(two, []channels.Lock{lock},
		channels.Settle{Lock: lock.ID, Preimage: cypherlink.Preimage{3}}, pay(4)))
	// another branch, with a payment of one that was given up
	s.endorse(e, s.draft(two, []channels.Lock{lock}, channels.Unlock{Lock: lock.ID}, pay(4)))
	// the same again, whatever has become of the channel
	d := s.draft(two, []channels.Lock{lock}, channels.Settle{Lock: lock.ID, Preimage: cypherlink.Preimage{3}}, pay(4))
	if d.Update != *three {
		t.Fatal("another update")
	}
	s.State = channels.Closed
	d.Operations, d.Prev, d.Payments = nil, nil, nil
	if again, err := s.Endorse(self(), bank(channels.A), d, e); err != nil || !again {
		t.Fatal(again, err)
	}
}

func TestWhatAValidatorDoesNotEndorse(t *testing.T) {
	lock := lockOf(3)
	two := []channels.Lock{lock}
	for name, tt := range map[string]struct {
		code cypherlink.Code
		edit func(s *scene, e *endorsed, d *channels.Draft)
	}{
		"of another channel": {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Channel[0]++ }},
		"of another hash":    {"-", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Hash[0]++ }},
		"of no lane":         {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Lane = 2 }},
		"while it closes":    {"", func(s *scene, _ *endorsed, _ *channels.Draft) { s.State = channels.Closing }},
		"of an earlier generation": {"", func(s *scene, _ *endorsed, d *channels.Draft) {
			s.Lanes[0].Gen, s.Lanes[0].Head = 1, d.Prev.Head
		}},
		"of a later generation": {"", func(_ *scene, e *endorsed, d *channels.Draft) {
			d.Prev.Gen = 1
			*d.Prev = sealed(*d.Prev)
			e.updates[d.Prev.Hash] = *d.Prev
			d.Update.Gen, d.Update.Prev = 1, d.Prev.Hash
		}},
		"by a Validator that does not count": {"", func(s *scene, _ *endorsed, _ *channels.Draft) {
			s.Lanes[0].Signers.Validators[0].ID[0]++
		}},
		"after one of another channel": {"", func(_ *scene, _ *endorsed, d *channels.Draft) {
			d.Prev.Channel[0]++
			*d.Prev = sealed(*d.Prev)
			d.Update.Prev = d.Prev.Hash
		}},
		"after one of the other lane": {"", func(_ *scene, e *endorsed, d *channels.Draft) {
			d.Prev.Lane = channels.B
			*d.Prev = sealed(*d.Prev)
			d.Update.Prev = d.Prev.Hash
			e.updates[d.Prev.Hash] = *d.Prev
		}},
		"after other totals": {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Prev.Paid, d.Update.Paid = 90, 91 }},
		"after another":      {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Prev[0]++ }},
		"after one that is not known": {channels.CodeUnknownPrev, func(_ *scene, e *endorsed, d *channels.Draft) {
			delete(e.updates, d.Prev.Hash)
		}},
		"at the start of a later generation that begins elsewhere": {"", func(s *scene, e *endorsed, d *channels.Draft) {
			s.Lanes[0].Gen, s.Lanes[0].Head = 1, channels.Head{Seq: 1, Hash: cypherlink.Hash{1}}
			*d = *s.draft(nil, nil, pay(7))
		}},
		"after one that a cut has made void": {"", func(s *scene, e *endorsed, d *channels.Draft) {
			s.Lanes[0].Gen, d.Update.Gen = 1, 1
		}},
		"with other locks": {"", func(s *scene, _ *endorsed, d *channels.Draft) {
			other := lock
			other.ID[0]++
			*d = *s.draft(d.Prev, []channels.Lock{other},
				channels.Settle{Lock: other.ID, Preimage: cypherlink.Preimage{3}})
		}},
		"a sequence too far":    {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Seq++ }},
		"paid too much":         {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Paid++ }},
		"locked too little":     {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Locked-- }},
		"another list of locks": {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Locks[0]++ }},
		"other operations":      {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Update.Body[0]++ }},
		"a lock that stands":    {"", func(s *scene, _ *endorsed, d *channels.Draft) { *d = *s.draft(d.Prev, two, lock) }},
		"a wrong preimage": {"", func(s *scene, _ *endorsed, d *channels.Draft) {
			*d = *s.draft(d.Prev, two, channels.Settle{Lock: lock.ID})
		}},
		"a wrong preimage, and no totals": {"", func(s *scene, _ *endorsed, d *channels.Draft) {
			*d = *s.draft(d.Prev, two, channels.Settle{Lock: lock.ID})
			d.Update.Paid, d.Update.Locked, d.Update.Locks = 0, 0, cypherlink.Hash{}
		}},
		"a payment without a verdict": {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Payments = nil }},
		"with another's verdict":      {"", func(_ *scene, _ *endorsed, d *channels.Draft) { d.Payments[0][0]++ }},
		"a lock without a verdict": {"", func(s *scene, _ *endorsed, d *channels.Draft) {
			*d = *s.draft(d.Prev, two, lockOf(8))
			d.Payments = nil
		}},
		"verdicts on nothing": {"", func(s *scene, _ *endorsed, d *channels.Draft) {
			d.Payments = append(d.Payments, cypherlink.Hash{9})
		}},
		"a payment twice":     {"", func(s *scene, _ *endorsed, d *channels.Draft) { *d = *s.draft(d.Prev, two, pay(7), pay(7)) }},
		"a payment of before": {"", func(s *scene, _ *endorsed, d *channels.Draft) { *d = *s.draft(d.Prev, two, pay(2)) }},
		"a lock of before as a payment": {"", func(s *scene, _ *endorsed, d *channels.Draft) {
			*d = *s.draft(d.Prev, two, channels.Unlock{Lock: lock.ID}, pay(3))
		}},
		"a payment on too many branches": {"", func(s *scene, e *endorsed, d *channels.Draft) {
			for range channels.MaxCarriers {
				e.keep(s.draft(d.Prev, two, pay(4), pay(9)))
			}
		}},
		"a payment again, after what is anchored and not known": {
			channels.CodeUnknownPrev, func(s *scene, e *endorsed, d *channels.Draft) {
				*d = *s.draft(d.Prev, two, pay(2))
				s.Lanes[0].Head = d.Prev.Head
				delete(e.updates, d.Prev.Hash)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, e := newScene(t), newEndorsed()
			one := s.endorse(e, s.draft(nil, nil, pay(1), pay(2)))
			prev := s.endorse(e, s.draft(one, nil, lock))
			d := s.draft(prev, two, pay(4))
			if tt.edit(s, e, d); tt.code != "-" {
				d.Update = sealed(d.Update)
			}
			code := channels.V.Code()
			if tt.code == channels.CodeUnknownPrev {
				code = tt.code
			}
			again, err := s.Endorse(self(), bank(channels.A), d, e)
			if again || cypherlink.ErrorCode(err) != code {
				t.Fatalf("%t, %v, want %s", again, err, code)
			}
		})
	}
	s := newScene(t)
	_, err := s.Endorse(self(), bank(channels.B), s.draft(nil, nil, pay(1)), newEndorsed())
	if cypherlink.ErrorCode(err) != channels.V.Code() {
		t.Error("the payee asks: ", err)
	}
}

// A payment that was carried on a branch that is over may be carried again, after a cut as well.
func TestAVoidPaymentIsEndorsedAgain(t *testing.T) {
	s, e := newScene(t), newEndorsed()
	one := s.endorse(e, s.draft(nil, nil, pay(1)))
	two := s.endorse(e, s.draft(one, nil, pay(2)))
	s.endorse(e, s.draft(two, nil, pay(3)))
	s.Lanes[0].Gen, s.Lanes[0].Head = 1, one.Head
	again := s.endorse(e, s.draft(one, nil, pay(3), pay(2)))
	if _, err := s.Endorse(self(), bank(channels.A), s.draft(again, nil, pay(1)), e); err == nil {
		t.Fatal("the payment of the generation before is carried twice")
	}
	// Where nothing is anchored the second generation begins where the first one did.
	s.Lanes[0].Head = channels.Head{Hash: cypherlink.Hash(s.ID), Locks: channels.LockRoot(nil)}
	s.endorse(e, s.draft(nil, nil, pay(1)))
}

// What was anchored without this Validator it takes as it is on the chain.
func TestAnAnchoredHeadIsKnown(t *testing.T) {
	s, e := newScene(t), newEndorsed()
	one := s.draft(nil, nil, pay(1))
	s.Lanes[0].Head = one.Update.Head
	s.endorse(e, s.draft(&one.Update, nil, pay(2)))
	d := s.draft(&one.Update, nil, pay(3))
	d.Prev = nil // the payer has lost it
	s.endorse(e, d)
}

// The way back is as long as its bound at most.
func TestTheWayBackIsBounded(t *testing.T) {
	s, e := newScene(t), newEndorsed()
	first := s.draft(nil, nil, pay(1))
	e.keep(first)
	prev := &first.Update
	for range channels.MaxRetrace - 1 {
		d := s.draft(prev, nil, pay(2))
		e.updates[d.Update.Hash] = d.Update
		prev = &d.Update
	}
	e.asked = 0
	_, err := s.Endorse(self(), bank(channels.A), s.draft(prev, nil, pay(1)), e)
	if r, ok := errors.AsType[*cypherlink.Error](err); !ok || r.Reason != "AM05" || e.asked < channels.MaxRetrace-1 {
		t.Fatal(err, e.asked)
	}
	d := s.draft(prev, nil, pay(2))
	e.updates[d.Update.Hash], e.asked = d.Update, 0
	_, err = s.Endorse(self(), bank(channels.A), s.draft(&d.Update, nil, pay(1)), e)
	if r, ok := errors.AsType[*cypherlink.Error](err); !ok || r.Reason != "AM23" || e.asked > 4 {
		t.Fatal(err, e.asked)
	}
	s.endorse(e, s.draft(&d.Update, nil, pay(3))) // it was never carried: no way back
}

func TestARecordThatFailsIsNoRefusal(t *testing.T) {
	s, e := newScene(t), newEndorsed()
	e.failed = errors.New("the disk is full")
	if _, err := s.Endorse(self(), bank(channels.A), s.draft(nil, nil, pay(1)), e); !errors.Is(err, e.failed) {
		t.Fatal(err)
	}
	j := &channels.Joint{Channel: s.ID, Do: channels.Record{}, ValidUntil: s.now.S + 1}
	j.Points[0].Seq = 1
	if err := s.Cosign(s.now, j, e); !errors.Is(err, e.failed) {
		t.Fatal(err)
	}
}

// TestNoPathCarriesAPaymentTwice drafts at random places of a tree, anchors and cuts, and compares
// with a model that keeps for every update the set of the payments up to it.
func TestNoPathCarriesAPaymentTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, e := newScene(t), newEndorsed()
		type node struct {
			update *channels.Update // nil: the start
			paid   map[byte]bool
		}
		nodes := []node{{paid: map[byte]bool{}}}
		hash := func(n node) cypherlink.Hash {
			if n.update == nil {
				return cypherlink.Hash(s.ID)
			}
			return n.update.Hash
		}
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			at := nodes[rapid.IntRange(0, len(nodes)-1).Draw(rt, "at")]
			lane := &s.Lanes[0]
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0: // it is anchored
				if at.update != nil && at.update.Gen == lane.Gen && at.update.Seq > lane.Head.Seq {
					lane.Head = at.update.Head
				}
				continue
			case 1:
				lane.Gen++
				continue
			}
			payments := rapid.SliceOfN(rapid.ByteRange(1, 6), 1, 3).Draw(rt, "payments")
			var ops []channels.Operation
			next, once := maps.Clone(at.paid), true
			for _, p := range payments {
				ops = append(ops, pay(p))
				once = once && !next[p]
				next[p] = true
			}
			d := s.draft(at.update, nil, ops...)
			begins := hash(at) == lane.Head.Hash
			follows := begins || at.update != nil && at.update.Gen == lane.Gen || at.update == nil && lane.Gen == 0
			_, was := e.updates[d.Update.Hash]
			again, err := s.Endorse(self(), bank(channels.A), d, e)
			if want := was || follows && once; (err == nil) != want || again != was {
				rt.Fatalf("%v after %v: %v, again %t; follows %t, once %t", payments, at.paid, err, again, follows, once)
			}
			if err == nil && !was {
				e.keep(d)
				nodes = append(nodes, node{&d.Update, next})
			}
		}
	})
}

func TestWhatAValidatorCosigns(t *testing.T) {
	s, e := newScene(t), newEndorsed()
	lock := lockOf(3)
	one := s.endorse(e, s.draft(nil, nil, pay(1)))
	two := s.endorse(e, s.draft(one, nil, lock))
	joint := func() *channels.Joint {
		j := &channels.Joint{Channel: s.ID, Do: channels.Record{}, ValidUntil: s.now.S + s.Limits.WindowS}
		j.Points[0] = two.Point()
		return j
	}
	if err := s.Cosign(s.now, joint(), e); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		code cypherlink.Code
		edit func(j *channels.Joint)
	}{
		"of another channel":    {channels.V.Code(), func(j *channels.Joint) { j.Channel[0]++ }},
		"too late":              {channels.V.Code(), func(j *channels.Joint) { j.ValidUntil = s.now.S }},
		"beyond the window":     {channels.V.Code(), func(j *channels.Joint) { j.ValidUntil++ }},
		"another amount":        {channels.V.Code(), func(j *channels.Joint) { j.Points[0].Paid++ }},
		"relying on more":       {channels.V.Code(), func(j *channels.Joint) { j.Points[0].Dep++ }},
		"in another generation": {channels.V.Code(), func(j *channels.Joint) { j.Points[0].Gen++ }},
		"in the other lane":     {channels.V.Code(), func(j *channels.Joint) { j.Points[1] = j.Points[0] }},
		"another channel's update": {channels.V.Code(), func(j *channels.Joint) {
			u := *two
			u.Channel[0]++
			u = sealed(u)
			e.updates[u.Hash], j.Points[0] = u, u.Point()
		}},
		"what it has not endorsed": {channels.CodeUnknownPrev, func(j *channels.Joint) { j.Points[1].Seq, j.Points[1].Hash = 1, cypherlink.Hash{1} }},
		"a later generation": {channels.CodeUnknownPrev, func(j *channels.Joint) {
			j.Points[1].Gen, j.Points[1].Hash = 1, cypherlink.Hash{1}
		}},
	} {
		j := joint()
		tt.edit(j)
		if err := s.Cosign(s.now, j, e); cypherlink.ErrorCode(err) != tt.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What can move nothing any more may be anything.
	s.Lanes[0].Head = two.Head
	j := joint()
	j.Points[0].Hash[0]++
	if err := s.Cosign(s.now, j, e); err != nil {
		t.Error(err)
	}
	s.Lanes[0].Gen, s.Lanes[0].Head = 1, one.Head
	if err := s.Cosign(s.now, j, e); err != nil {
		t.Error(err)
	}
}

func TestWhatAValidatorLetsOpen(t *testing.T) {
	id := cypherlink.NetworkID([]byte(network))
	now := channels.Time{S: began, Height: 5}
	if err := opening().CosignOpen(id, now); err != nil {
		t.Fatal(err)
	}
	far, other := opening(), opening()
	far.ValidUntil = began + channels.DefaultLimits().WindowS + 1
	if err := far.CosignOpen(id, now); cypherlink.ErrorCode(err) != channels.V.Code() {
		t.Error(err)
	}
	other.Channel[0]++
	if err := other.CosignOpen(id, now); cypherlink.ErrorCode(err) != channels.T0.Code() {
		t.Error(err)
	}
}
