package payment

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

const voteStart = 1_000_000

// vote is a Validator of DC/EP, which sees a channel of the clearing bank and Bank B.
type vote struct {
	*network
	testing.TB
	*Endorser
	self    *player
	dsn     string
	store   *store.Store
	channel *channels.Channel
	nowS    int64
	roll    *chain.Registry
	down    error
}

// View implements Follower.
func (v *vote) View(id channels.ID, _ []cypherlink.Condition) (channels.View, error) {
	if id != v.channel.ID {
		return channels.View{}, state.ErrUnknown
	}
	return channels.View{Channel: *v.channel, Now: channels.Time{S: v.nowS, Height: 9}}, v.down
}

// Registry implements Follower.
func (v *vote) Registry() chain.Roll { return v.roll.At(v.nowS) }

// Head implements Follower.
func (v *vote) Head() chain.Header { return chain.Header{TimeMS: v.nowS * 1000, Height: 9} }

func newVote(tb testing.TB) *vote {
	tb.Helper()
	n := newNetwork(tb, nil)
	v := &vote{
		network: n, TB: tb, self: n.validators[1], nowS: voteStart, roll: n.genesis.Registry(),
		dsn: "sqlite:" + filepath.Join(tb.TempDir(), "vote.db"),
	}
	policy, _ := v.roll.Policy(assetDCEP())
	rules := &channels.Rules{
		Network: n.genesis.Network(),
		Signers: func(c *channels.Channel, lane channels.Side) channels.Signers {
			s := channels.Signers{Threshold: uint8(policy.Threshold)}
			s.Payer, _ = n.genesis.Key(c.Banks[lane])
			s.Payee, _ = n.genesis.Key(c.Banks[lane.Other()])
			for _, id := range policy.Validators {
				key, _ := n.genesis.Key(id)
				s.Validators = append(s.Validators, channels.ValidatorKey{ID: id, Key: key})
			}
			return s
		},
	}
	opens := v.opens()
	c, err := channels.New(rules, channels.Time{S: voteStart}, &opens)
	if err != nil {
		tb.Fatal(err)
	}
	v.channel = c
	v.start()
	tb.Cleanup(func() {
		if err := v.store.Close(); err != nil {
			tb.Error(err)
		}
	})
	return v
}

// opens is what opens the channel.
func (v *vote) opens() channels.Joint {
	o := channels.Open{Asset: assetDCEP(), Nonce: 1, Limits: channels.DefaultLimits()}
	o.Banks = channels.InOrder([2]cypherlink.ParticipantID{v.clearing.id(), v.b.id()})
	for i := range o.Banks {
		o.Accounts[i].Owner = o.Banks[i]
	}
	id := channels.NewID(v.genesis.Network(), o.Banks, o.Asset, o.Nonce)
	return channels.Joint{Channel: id, Do: o, ValidUntil: voteStart + 5}
}

// start opens the Validator's store and makes its Endorser; again, after a stop.
func (v *vote) start() {
	v.Helper()
	var err error
	if v.store, err = store.Open(context.Background(), v.dsn); err != nil {
		v.Fatal(err)
	}
	v.Endorser, err = NewEndorser(EndorserOptions{
		Network: v.genesis.Network(), Self: v.self.id(), Follower: v, Store: v.store,
		Identity: v.self.identity, Cosigner: v.self.key,
	})
	if err != nil {
		v.Fatal(err)
	}
}

func (v *vote) lane() channels.Side {
	side, _ := v.channel.Side(v.clearing.id())
	return side
}

// crossing are terms of which the clearing bank pays the second leg to Bank B, under a condition.
func (v *vote) crossing(i int) *terms.Terms {
	v.Helper()
	uetr, err := cypherlink.NewUETR(rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, "vote ", i))))
	if err != nil {
		v.Fatal(err)
	}
	at := func(p *player) cypherlink.Account {
		return cypherlink.Account{Owner: p.id(), Number: ledger.ChannelNumber}
	}
	return &terms.Terms{
		Network: v.genesis.Network(), UETR: uetr, Payer: v.a.id(), Payee: v.b.id(), Connector: v.clearing.id(),
		Legs: []terms.Leg{
			{Asset: assetDE(), Debit: at(v.a), Credit: at(v.clearing), Amount: 5, Expiry: voteStart + 60},
			{Asset: assetDCEP(), Debit: at(v.clearing), Credit: at(v.b), Amount: 10, Expiry: voteStart + 30},
		},
		Condition: cypherlink.Preimage{byte(i), 1}.Condition(), Quote: cypherlink.Hash{1}, KYC: cypherlink.Hash{2},
	}
}

// direct are terms of a payment of the clearing bank to Bank B without a condition.
func (v *vote) direct(i int) *terms.Terms {
	t := v.crossing(i)
	t.Payer, t.Connector, t.Quote, t.Condition = v.clearing.id(), cypherlink.ParticipantID{}, cypherlink.Hash{}, cypherlink.Condition{}
	t.Legs = t.Legs[1:]
	return t
}

func (v *vote) warrant(t *terms.Terms) Warrant {
	leg := uint8(len(t.Legs) - 1)
	w := Warrant{Subject: subject(t, leg)}
	if t.Condition == (cypherlink.Condition{}) {
		w.Terms = t
	}
	for _, by := range v.validators[1:3] {
		w.Verdicts = append(w.Verdicts, *v.verdict(v, by, subject(t, leg), validator.Approved))
	}
	return w
}

// lock is the operation that the second leg of the terms is.
func (v *vote) lock(t *terms.Terms) channels.Lock {
	return channels.Lock{
		ID:     channels.LockID(ledger.NewCustodyID(t.Network, t.Hash(), 1)),
		Amount: t.Legs[1].Amount, Condition: t.Condition, Expiry: t.Legs[1].Expiry,
	}
}

// asks asks for an update after another one that locks what the terms say.
func (v *vote) asks(prev *EndorseRequest, of ...*terms.Terms) *EndorseRequest {
	r := &EndorseRequest{}
	u := &r.Update
	u.Channel, u.Lane, u.Prev = v.channel.ID, v.lane(), cypherlink.Hash(v.channel.ID)
	if prev != nil {
		r.Prev, r.Locks, u.Head = &prev.Update, prev.after(), prev.Update.Head
		u.Prev = prev.Update.Hash
	}
	u.Seq++
	for _, t := range of {
		lock := v.lock(t)
		u.Locked += lock.Amount
		r.Operations, r.Warrants = append(r.Operations, lock), append(r.Warrants, v.warrant(t))
	}
	u.Body, u.Locks = channels.BodyRoot(r.Operations), channels.LockRoot(r.after())
	r.seal()
	return r
}

// after are the locks that are open after a request that only locks.
func (e *EndorseRequest) after() []channels.Lock {
	locks := slices.Clone(e.Locks)
	for _, op := range e.Operations {
		if lock, ok := op.(channels.Lock); ok {
			locks = append(locks, lock)
		}
	}
	return locks
}

func (e *EndorseRequest) seal() { e.Update = chaintest.Sealed(e.Update) }

func (v *vote) endorsed(r *EndorseRequest) {
	v.Helper()
	signature, err := v.Endorse(v.Context(), v.clearing.id(), r.Encode())
	if err != nil {
		v.Fatal(err)
	}
	key := v.self.Identity
	if err := cosi.VerifyEd25519(key, r.Update.Frame(v.genesis.Network()), [64]byte(signature)); err != nil {
		v.Fatal(err)
	}
}

// refused wants a refusal with that code and reason.
func (v *vote) refused(r *EndorseRequest, code cypherlink.Code, reason string) {
	v.Helper()
	_, err := v.Endorse(v.Context(), v.clearing.id(), r.Encode())
	if refusal, ok := errors.AsType[*cypherlink.Error](err); !ok || refusal.Code != code || refusal.Reason != reason {
		v.Fatalf("%v, want %s %s", err, code, reason)
	}
}

// A Validator endorses a lane update by update, and after a restart as if there had been none.
func TestAValidatorEndorsesALane(t *testing.T) {
	v := newVote(t)
	rule := channels.V.Code()
	one := v.asks(nil, v.crossing(1), v.crossing(2))
	v.endorsed(one)
	v.endorsed(one)
	two := v.asks(one, v.crossing(3))
	three := v.asks(two, v.crossing(4))
	v.refused(three, channels.CodeUnknownPrev, "ED06")
	v.endorsed(two)
	v.endorsed(three)
	v.refused(v.asks(three, v.crossing(2)), rule, "FF01") // its lock stands
	if err := v.store.Close(); err != nil {
		t.Fatal(err)
	}
	v.start()
	// The record answers, when no verdict is valid any more and the channel is over.
	v.nowS += 3600
	v.channel.State = channels.Closed
	v.endorsed(two)
	v.refused(v.asks(three, v.crossing(5)), rule, "ED05")
	v.channel.State = channels.Opened
	v.refused(v.asks(three, v.crossing(5)), rule, "DS0A")
	v.nowS -= 3600
	v.endorsed(v.asks(three, v.crossing(5)))
	// A lock that ended is locked on no later update, but on another branch.
	end := &EndorseRequest{Prev: &three.Update, Locks: three.after(), Update: three.Update}
	end.Operations = []channels.Operation{channels.Unlock{Lock: v.lock(v.crossing(4)).ID}}
	end.Update.Prev, end.Update.Seq, end.Update.Body = three.Update.Hash, 4, channels.BodyRoot(end.Operations)
	end.Update.Locked, end.Update.Locks = two.Update.Locked, channels.LockRoot(two.after())
	end.seal()
	v.endorsed(end)
	twice := v.asks(two, v.crossing(4))
	twice.Prev, twice.Update.Prev, twice.Update.Seq = &end.Update, end.Update.Hash, 5
	twice.seal()
	v.refused(twice, rule, "AM05")
	v.endorsed(v.asks(two, v.crossing(4), v.crossing(6)))
}

func TestAValidatorAsksForAWarrant(t *testing.T) {
	v := newVote(t)
	for name, tt := range map[string]struct {
		reason string
		edit   func(r *EndorseRequest)
	}{
		"none":             {"FF01", func(r *EndorseRequest) { r.Warrants = nil }},
		"one too many":     {"FF01", func(r *EndorseRequest) { r.Warrants = append(r.Warrants, r.Warrants[0]) }},
		"of the other leg": {"AM03", func(r *EndorseRequest) { r.Warrants[0].Subject = subject(v.crossing(1), terms.Source) }},
		"of other terms":   {"AM09", func(r *EndorseRequest) { r.Warrants[0] = v.warrant(v.crossing(2)) }},
		"with terms":       {"FF01", func(r *EndorseRequest) { r.Warrants[0].Terms = v.crossing(1) }},
		"from another": {"AGNT", func(r *EndorseRequest) {
			r.Warrants[0].Subject.Fields.Debit.Owner = v.mallory.id()
		}},
		"to another": {"AGNT", func(r *EndorseRequest) {
			r.Warrants[0].Subject.Fields.Credit.Owner = v.mallory.id()
		}},
		"out of an account on the chain": {"AM09", func(r *EndorseRequest) {
			r.Warrants[0].Subject.Fields.Debit.Number = 0
		}},
		"into an account on the chain": {"AM09", func(r *EndorseRequest) {
			r.Warrants[0].Subject.Fields.Credit.Number = 0
		}},
		"of one Validator": {"DS0A", func(r *EndorseRequest) { r.Warrants[0].Verdicts = r.Warrants[0].Verdicts[:1] }},
		"rejected": {"DS0A", func(r *EndorseRequest) {
			w := &r.Warrants[0]
			w.Verdicts[1] = *v.verdict(t, v.validators[2], w.Subject, validator.Rejected)
		}},
		"forged": {"DS0A", func(r *EndorseRequest) { r.Warrants[0].Verdicts[1].Signature[3]++ }},
	} {
		r := v.asks(nil, v.crossing(1))
		tt.edit(r)
		_, err := v.Endorse(t.Context(), v.clearing.id(), r.Encode())
		if e, ok := errors.AsType[*cypherlink.Error](err); !ok || e.Code != channels.V.Code() || e.Reason != tt.reason {
			t.Errorf("%s: %v", name, err)
		}
	}
	// each field of the lock, and what a condition is for
	agreed := v.crossing(1)
	right, w, network := v.lock(agreed), v.warrant(agreed), v.genesis.Network()
	for name, edit := range map[string]func(*channels.Lock){
		"id": func(l *channels.Lock) { l.ID[0]++ }, "amount": func(l *channels.Lock) { l.Amount++ },
		"condition": func(l *channels.Lock) { l.Condition[0]++ }, "expiry": func(l *channels.Lock) { l.Expiry++ },
	} {
		lock := right
		edit(&lock)
		if w.moves(network, lock) || !w.moves(network, right) {
			t.Error("lock: ", name)
		}
	}
	w.Terms = v.crossing(1)
	w.Terms.Legs = w.Terms.Legs[1:]
	if w.moves(network, channels.Pay{Payment: agreed.UETR, Amount: 10, Terms: w.Terms.Hash()}) {
		t.Error("it is paid without its condition")
	}
}

// A payment of one leg and without a condition is a Pay.
func TestADirectPaymentIsWarranted(t *testing.T) {
	v := newVote(t)
	agreed := v.direct(1)
	pay := channels.Pay{Payment: agreed.UETR, Amount: 10, Terms: agreed.Hash()}
	r := &EndorseRequest{Operations: []channels.Operation{pay}, Warrants: []Warrant{v.warrant(agreed)}}
	r.Update.Lane = v.lane()
	network, by := v.genesis.Network(), v.Registry()
	d, refusal := r.draft(network, v.channel)
	if refusal != nil || !slices.Equal(d.Payments, []cypherlink.Hash{agreed.Hash()}) {
		t.Fatal(refusal)
	}
	if refusal := r.approved(network, assetDCEP(), by, voteStart); refusal != nil {
		t.Fatal(refusal, refusal.Err)
	}
	if refusal := r.approved(network, assetDCEP(), by, voteStart+30); refusal == nil {
		t.Error("a verdict that lapsed")
	}
	if refusal := r.approved(network, cypherlink.Asset{}, by, voteStart); refusal == nil {
		t.Error("an asset that there is not")
	}
	for name, edit := range map[string]func(*channels.Pay){
		"payment": func(p *channels.Pay) { p.Payment[0]++ }, "amount": func(p *channels.Pay) { p.Amount++ },
		"terms": func(p *channels.Pay) { p.Terms[0]++ },
	} {
		other := pay
		edit(&other)
		r.Operations[0] = other
		if _, refusal := r.draft(network, v.channel); refusal == nil || refusal.Reason != "AM09" {
			t.Error(name, refusal)
		}
	}
	r.Operations[0], r.Warrants[0].Subject.Leg = pay, 1
	if _, refusal := r.draft(network, v.channel); refusal == nil || refusal.Reason != "FF01" {
		t.Error("a leg that there is not: ", refusal)
	}
	r.Warrants[0].Subject.Leg, r.Warrants[0].Terms.Network[0] = 0, 0xff
	if _, refusal := r.draft(network, v.channel); refusal == nil || refusal.Reason != "FF01" {
		t.Error("another network's: ", refusal)
	}
	r.Update.Lane, r.Warrants[0] = v.lane().Other(), v.warrant(v.direct(1))
	if _, refusal := r.draft(network, v.channel); refusal == nil || refusal.Reason != "AGNT" {
		t.Error("the payee pays: ", refusal)
	}
}

// A direct payment is endorsed once on a path, and again where its update was given up.
func TestADirectPaymentIsEndorsedOnce(t *testing.T) {
	v := newVote(t)
	pays := func(prev *EndorseRequest, i int) *EndorseRequest {
		r, agreed := v.asks(prev), v.direct(i)
		r.Operations = []channels.Operation{channels.Pay{Payment: agreed.UETR, Amount: 10, Terms: agreed.Hash()}}
		r.Warrants, r.Update.Body = []Warrant{v.warrant(agreed)}, channels.BodyRoot(r.Operations)
		r.Update.Paid += 10
		r.seal()
		return r
	}
	one := pays(nil, 1)
	two := pays(one, 2)
	v.endorsed(one)
	v.endorsed(two)
	v.refused(pays(two, 1), channels.V.Code(), "AM05")
	v.endorsed(pays(nil, 2))
}

func TestAValidatorKnowsWhoAsksAndForWhat(t *testing.T) {
	v := newVote(t)
	rule := channels.V.Code()
	r := v.asks(nil, v.crossing(1))
	if _, err := v.Endorse(t.Context(), v.b.id(), r.Encode()); cypherlink.ErrorCode(err) != rule {
		t.Error(err)
	}
	if _, err := v.Endorse(t.Context(), v.clearing.id(), []byte{1}); cypherlink.ErrorCode(err) != CodeMessage {
		t.Error(err)
	}
	if _, err := v.Join(t.Context(), v.clearing.id(), []byte{1}); cypherlink.ErrorCode(err) != CodeMessage {
		t.Error(err)
	}
	r.Update.Channel[0]++
	r.seal()
	v.refused(r, rule, "ED06")
	v.down = errors.New("the chain's store fails")
	if _, err := v.Endorse(t.Context(), v.clearing.id(), v.asks(nil, v.crossing(1)).Encode()); !errors.Is(err, v.down) {
		t.Error(err)
	}
	for i, without := range []func(*EndorserOptions){
		func(o *EndorserOptions) { o.Follower = nil }, func(o *EndorserOptions) { o.Store = nil },
		func(o *EndorserOptions) { o.Identity = nil }, func(o *EndorserOptions) { o.Cosigner = nil },
	} {
		o := v.o
		if without(&o); !errors.Is(errOf(NewEndorser(o)), ErrOptions) {
			t.Error("part ", i, " is missing")
		}
	}
}

func errOf(_ *Endorser, err error) error { return err }

// A record that says something else than it is under is an error, and no refusal.
func TestARecordThatWasAlteredIsNotBelieved(t *testing.T) {
	v := newVote(t)
	one := v.asks(nil, v.crossing(1))
	two := v.asks(nil, v.crossing(2))
	v.endorsed(one)
	v.endorsed(two)
	err := v.store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE endorsed_updates SET content = (SELECT content FROM endorsed_updates WHERE hash = $1)
			WHERE hash = $2`, one.Update.Hash[:], two.Update.Hash[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Endorse(t.Context(), v.clearing.id(), v.asks(two, v.crossing(3)).Encode())
	if _, refused := errors.AsType[*cypherlink.Error](err); !errors.Is(err, channels.ErrForm) || refused {
		t.Error(err)
	}
}

// joins is the request for a joint action that both banks have signed.
func (v *vote) joins(j channels.Joint) *JoinRequest {
	v.Helper()
	asset := assetDCEP()
	if o, ok := j.Do.(channels.Open); ok {
		asset = o.Asset
	}
	roster, err := state.JointRoster(v.roll, v.channel.Banks, asset)
	if err != nil {
		v.Fatal(err)
	}
	r := &JoinRequest{Joint: j}
	for i, bank := range v.channel.Banks {
		for _, p := range []*player{v.clearing, v.b} {
			if p.id() == bank {
				if r.Shares[i], err = p.key.SignRecorded(j.Frame(v.genesis.Network(), roster.Root())); err != nil {
					v.Fatal(err)
				}
			}
		}
	}
	return r
}

func TestAValidatorCosignsWhatItEndorsed(t *testing.T) {
	v := newVote(t)
	rule := channels.V.Code()
	one := v.asks(nil, v.crossing(1))
	v.endorsed(one)
	record := channels.Joint{Channel: v.channel.ID, Do: channels.Record{}, ValidUntil: voteStart + 5}
	record.Points[v.lane()] = one.Update.Point()
	ahead, late, forged, foreign := record, record, v.joins(record), v.opens()
	ahead.Points[v.lane()] = v.asks(one, v.crossing(2)).Update.Point()
	late.ValidUntil = voteStart
	forged.Shares[1] = forged.Shares[0]
	o, _ := foreign.Do.(channels.Open)
	o.Asset = assetDE()
	foreign.Do, foreign.Channel = o, channels.NewID(v.genesis.Network(), o.Banks, o.Asset, o.Nonce)
	lateOpen := v.opens()
	lateOpen.ValidUntil += voteStart
	elsewhere := record
	elsewhere.Channel[0]++
	for name, tt := range map[string]struct {
		from *player
		r    *JoinRequest
		code cypherlink.Code
	}{
		"by one of the banks":            {v.clearing, v.joins(record), ""},
		"by the other":                   {v.b, v.joins(record), ""},
		"opening":                        {v.b, v.joins(v.opens()), ""},
		"opening for too long":           {v.b, v.joins(lateOpen), rule},
		"by another bank":                {v.mallory, v.joins(record), rule},
		"a point that it never saw":      {v.b, v.joins(ahead), channels.CodeUnknownPrev},
		"too late":                       {v.b, v.joins(late), rule},
		"without a bank's signature":     {v.b, forged, rule},
		"of a channel that is not there": {v.b, v.joins(elsewhere), rule},
		"in another Validator's asset":   {v.b, v.joins(foreign), rule},
	} {
		signature, err := v.Join(t.Context(), tt.from.id(), tt.r.Encode())
		if cypherlink.ErrorCode(err) != tt.code {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		roster, _ := state.JointRoster(v.roll, v.channel.Banks, assetDCEP())
		i, _ := roster.Index(v.self.id())
		frame := tt.r.Joint.Frame(v.genesis.Network(), roster.Root())
		if err := roster.VerifyShare(frame, i, cosi.Signature(signature)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Requests of many lanes and of one come at once: each payment is endorsed on one path once.
func TestRequestsAtOnce(t *testing.T) {
	v := newVote(t)
	one := v.asks(nil, v.crossing(1))
	done := make(chan error)
	const callers = 8
	for range callers {
		go func() {
			_, err := v.Endorse(t.Context(), v.clearing.id(), one.Encode())
			done <- err
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
