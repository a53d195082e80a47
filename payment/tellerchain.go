package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// anchorPace is when what is bound is anchored: by side A, whose turn it is first, and by side B when A
// leaves it. A bank anchors by certificates, alone, or asks the other one first (Lanes.JointAnchors), and
// anchors alone when that one does not sign.
type anchorPace struct {
	// behind is since when something is bound in a lane that is not anchored, or since its last anchor. Each
	// lane has its own: else a bank that anchors one of them all the time would keep the other one waiting.
	behind [2]time.Time
	// asked is when this bank last anchored, or proposed to.
	asked    time.Time
	anchored [2]uint32
}

// since is when the lane that has waited longest began to; zero if none waits.
func (p *anchorPace) since(s *channels.Standing, now time.Time) (longest time.Time) {
	for i := range s.Lanes {
		l, behind := &s.Lanes[i], &p.behind[i]
		switch {
		case l.Bound == l.Anchored:
			*behind = time.Time{}
		case behind.IsZero() || l.Anchored != p.anchored[i]:
			*behind = now
		}
		p.anchored[i] = l.Anchored
		if !behind.IsZero() && (longest.IsZero() || behind.Before(longest)) {
			longest = *behind
		}
	}
	return longest
}

// How many anchor intervals pass before it is side B's turn, and before a bank anchors alone what it would
// anchor together.
const (
	otherSideAfter = 4
	aloneAfter     = 8
)

// anchor asks for an anchor if one is due.
func (t *teller) anchor(n *turn) {
	s, now := t.party.Standing(), time.Now()
	behind := t.pace.since(&s, now)
	if behind.IsZero() {
		return
	}
	every := t.tellers.Lanes.Anchor
	waited := now.Sub(behind)
	first := every
	if t.own == channels.B {
		first *= otherSideAfter
	}
	next := t.pace.asked.Add(every)
	if at := behind.Add(first); at.After(next) {
		next = at
	}
	if now.Before(next) {
		t.wakeAt(next)
		return
	}
	t.pace.asked = now
	t.wakeAt(now.Add(every))
	alone := true
	if t.tellers.Lanes.JointAnchors {
		err := t.do(n, func(ms int64) (channels.Effects, error) { return t.party.Ask(ms, channels.Record{}) })
		alone = err != nil || waited >= aloneAfter*every
	}
	if alone {
		if a, ok := t.party.Best(); ok {
			n.submit = append(n.submit, a)
		}
	}
}

func (t *teller) wakeAt(at time.Time) {
	if at.Before(t.wake) {
		t.wake = at
	}
}

// submit hands an action to the chain, unless the same is being handed in.
func (t *teller) submit(ctx context.Context, a channels.Action) {
	if anchor, ok := a.(channels.Anchor); ok {
		if err := t.complete(&anchor); err != nil {
			t.log.ErrorContext(ctx, "a certificate is not signed", slog.String("cause", err.Error()))
			return
		}
		a = anchor
	}
	t.handIn(ctx, keyOf(a), a)
}

// keyOf is what is the same of actions that are not handed in beside each other.
func keyOf(a channels.Action) string {
	switch a := a.(type) {
	case channels.Dispute:
		return fmt.Sprintf("%T %d %+v", a, a.Lane, a.Slot)
	case channels.Supply:
		return fmt.Sprintf("%T %d", a, a.Lane)
	case channels.Reveal:
		return fmt.Sprintf("%T %x", a, a.Preimage)
	case channels.Fund:
		return fmt.Sprintf("%T %d", a, a.Number)
	case channels.Anchor, channels.Close:
	}
	return fmt.Sprintf("%T", a)
}

// complete puts this bank's signatures into the certificates of an anchor.
func (t *teller) complete(a *channels.Anchor) error {
	for i, c := range a.Heads {
		if c == nil {
			continue
		}
		own, err := t.signUpdate(c.Update.Frame(t.network()))
		if err != nil {
			return err
		}
		if channels.Side(i) == t.own {
			c.Payer = own
		} else {
			c.Payee = own
		}
	}
	return nil
}

// handIn signs an action and hands it in until the own follower shows its effect.
func (t *teller) handIn(ctx context.Context, key string, a channels.Action) {
	c := t.tellers
	if t.handing[key] {
		return
	}
	signed := &channels.SignedAction{
		Network: t.network(), Signer: c.ID, Sequence: c.actions.Add(1), Action: a,
	}
	var err error
	if signed.Signature, err = c.Identity.Sign(signed.Frame()); err != nil {
		t.log.ErrorContext(ctx, "an action is not signed", slog.String("cause", err.Error()))
		return
	}
	t.give(ctx, key, fmt.Sprintf("%T", a), state.ChannelAction{Signed: signed}, func(v *channels.View) bool {
		return effective(v, a, t.own)
	})
}

// give hands a transaction in, in the background: once at a time for a key, and after a refusal not at
// once again.
func (t *teller) give(
	ctx context.Context, key, what string, body state.Body, done func(*channels.View) bool,
) {
	t.handing[key] = true
	conditions := t.conditions()
	t.tasks.Go(func() {
		err := t.tellers.Committee.HandIn(ctx, body, func() (bool, error) {
			v, err := t.tellers.Chain.View(t.id, conditions)
			return err == nil && done(&v), err
		})
		if err != nil && ctx.Err() == nil {
			// it is tried twice a second, for as long as the money for it is not there
			t.about(t.peer, what+" "+string(cypherlink.ErrorCode(err))).WarnContext(ctx,
				"the chain does not take what was handed in", slog.String("cause", err.Error()))
			pause(ctx, t.tellers.Lanes.Resend)
		}
		t.tell(tellerInput{done: key, refusal: err})
	})
}

// effective tells whether a view shows an action's effect, or that it can have none any more.
func effective(v *channels.View, a channels.Action, own channels.Side) bool {
	c := &v.Channel
	switch a := a.(type) {
	case channels.Fund:
		return c.Fundings[own] >= a.Number || c.State != channels.Opened
	case channels.Anchor:
		for i, head := range a.Heads {
			lane := &c.Lanes[i]
			if head != nil && lane.Gen == head.Update.Gen && lane.Head.Seq < head.Update.Seq &&
				c.State < channels.Frozen {
				return false
			}
		}
		return true
	case channels.Dispute:
		lane := &c.Lanes[a.Lane]
		open := lane.Challenge != channels.Challenge{}
		return c.State != channels.Opened || lane.Gen != a.Slot.Gen || open || lane.Head.Seq >= a.Slot.Seq
	case channels.Close:
		return c.State != channels.Opened
	case channels.Supply:
		return c.State == channels.Closed || c.Lanes[a.Lane].Listed != nil
	case channels.Reveal:
		for _, r := range v.Revealed {
			if r.Preimage == a.Preimage {
				return true
			}
		}
		return false
	}
	return true
}

// together has the Validators sign what both banks have signed, and hands it in. An anchor only its
// proposer hands in; everything else both banks do.
func (t *teller) together(ctx context.Context, j *channels.Joint, shares map[cypherlink.Hash]cosi.Signature) {
	name := nameOfJoint(j)
	peers, ok := shares[name]
	if !ok {
		t.log.ErrorContext(ctx, "the other bank has not signed", slog.Uint64("counter", j.Counter))
		return
	}
	if _, anchor := j.Do.(channels.Record); anchor && j.Proposer != t.own {
		return
	}
	own, err := t.signJoint(j)
	if err != nil {
		t.log.ErrorContext(ctx, "a joint action is not signed", slog.String("cause", err.Error()))
		return
	}
	request := &JoinRequest{Joint: *j}
	request.Shares[t.own], request.Shares[t.own.Other()] = own, peers
	key := "joint " + name.String()
	if t.handing[key] {
		return
	}
	t.handing[key] = true
	t.tasks.Go(func() {
		defer t.tell(tellerInput{done: key})
		roster, err := t.roster()
		if err == nil {
			err = t.tellers.join(ctx, roster, request, func() (bool, error) {
				v, err := t.tellers.Chain.View(t.id, nil)
				return err == nil && joined(&v, &request.Joint), err
			})
		}
		if err != nil && ctx.Err() == nil {
			t.log.WarnContext(ctx, "a joint action has no effect",
				slog.String("what", fmt.Sprintf("%T", request.Joint.Do)), slog.String("cause", err.Error()))
		}
	})
}

// joined tells whether a view shows a joint action's effect, or that it can have none any more.
func joined(v *channels.View, j *channels.Joint) bool {
	c := &v.Channel
	if v.Now.S > j.ValidUntil || c.State >= channels.Frozen {
		return true
	}
	switch do := j.Do.(type) {
	case channels.Release:
		return c.Releases >= do.Number
	case channels.Cut:
		return c.Lanes[do.Lane].Gen > do.Gen
	case channels.Settlement:
		return false
	case channels.Record, channels.Open:
	}
	for i := range c.Lanes {
		if c.Lanes[i].Gen == j.Points[i].Gen && c.Lanes[i].Head.Seq < j.Points[i].Seq {
			return false
		}
	}
	return true
}

// join collects the Validators' signatures on a joint action, after the banks', and hands it in.
func (s *Tellers) join(
	ctx context.Context, roster *cosi.Roster, r *JoinRequest, done func() (bool, error),
) error {
	shares := map[int]cosi.Signature{0: r.Shares[0], 1: r.Shares[1]}
	frame := r.Joint.Frame(s.Genesis.Network(), roster.Root())
	type answer struct {
		member int
		share  cosi.Signature
		err    error
	}
	body, answers := r.Encode(), make(chan answer, roster.Len())
	asking, cancel := context.WithTimeout(ctx, callPatience*s.Lanes.Resend)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := 2; i < roster.Len(); i++ {
		all.Go(func() {
			raw, err := s.Peers.Call(asking, roster.Member(i).ID, KindJoin, body)
			a := answer{member: i, err: err}
			if err == nil && len(raw) != len(a.share) {
				a.err = fmt.Errorf("%d bytes: %w", len(raw), ErrMessage)
			}
			copy(a.share[:], raw)
			answers <- a
		})
	}
	var refusals []error
	for i := 2; ; i++ {
		certificate, blamed, err := roster.Aggregate(frame, shares)
		for _, member := range blamed {
			id := roster.Member(member).ID
			s.complaints.About(time.Now(), s.Log, id, "signature").ErrorContext(ctx,
				"a participant signs a joint action wrongly",
				slog.String("channel", r.Joint.Channel.String()))
			refusals = append(refusals, fmt.Errorf("share of %s: %w", id, cosi.ErrSignature))
			delete(shares, member) // once is enough
		}
		if err == nil {
			return s.Committee.HandIn(ctx, state.ChannelJoint{Joint: r.Joint, Certificate: certificate}, done)
		}
		if !errors.Is(err, cosi.ErrPolicy) || i >= roster.Len() {
			return errors.Join(append(refusals, err)...)
		}
		a := <-answers
		if a.err != nil {
			refusals = append(refusals, fmt.Errorf("validator %s: %w", roster.Member(a.member).ID, a.err))
			continue
		}
		shares[a.member] = a.share
	}
}

// funding is an order to put money into the channel, which acts once.
type funding struct {
	Amount cypherlink.Amount
	Number uint64
}

func (f *funding) action(id channels.ID) channels.Fund {
	return channels.Fund{Channel: id, Amount: f.Amount, Number: f.Number}
}

func (f *funding) encode() []byte {
	w := wire.NewWriter(16)
	w.I64(int64(f.Amount))
	w.U64(f.Number)
	return w.Bytes()
}

func decodeFunding(raw []byte) (funding, error) {
	r := wire.NewReader(raw)
	f := funding{Amount: readAmount(r), Number: r.U64()}
	return f, finish(r)
}
