package payment

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
)

// The bounds of a teller.
const (
	// heardQueued bounds the messages of the other bank that wait, in their bytes: some windows of
	// updates. More are dropped, and come again.
	heardQueued = 8 << 20
	// paysPerUpdate bounds the payments of one update, so that what a Validator is told of them
	// fits in a message.
	paysPerUpdate = 128
	// freshness is how often a teller looks at the clock for its follower's sake.
	freshness = time.Second
)

// teller is a bank's side of one channel as a process: one goroutine owns the channels.Party and the
// payments that are in the channel, writes both in one commit, and only then lets anything out. It
// takes payments whose money is held, and gives them back when the chain has decided.
type teller struct {
	tellers *Tellers
	id      channels.ID
	own     channels.Side
	peer    cypherlink.ParticipantID
	banks   [2]cypherlink.ParticipantID
	asset   cypherlink.Asset
	stream  string
	log     *slog.Logger

	// What follows belongs to the goroutine of run.
	party    *channels.Party
	sequence int64
	view     channels.View
	looked   time.Time // when it was taken
	payments map[cypherlink.UETR]*live
	// queue are payments that are not written yet, in the order in which they came; single are those
	// that a Validator refused together with others, each of which gets an update of its own.
	queue     []*live
	single    map[cypherlink.UETR]bool
	lost      map[cypherlink.UETR]bool // those that the lane carries, and this bank's log does not
	pace      anchorPace
	handing   map[string]bool // what is being handed to the chain
	ordered   ordered         // by the operator, and not on the chain yet
	overtaken overtaken
	alone     int64 // when this bank closes alone, in block time
	wake      time.Time
	outbound  chan []channels.Message
	drafts    drafting
	tasks     sync.WaitGroup

	locks *tellerLocks

	joint jointRoster
	// shown is the channel after the last turn.
	shown atomic.Pointer[Channel]

	mu     sync.Mutex
	inbox  []tellerInput
	heard  int // bytes of messages in it
	signal chan struct{}
	ended  chan struct{} // closed when run has ended
	// undecided are the locks of which it is not known yet whether they will be a custody.
	undecided map[channels.LockID]bool
}

// tellerInput is something for a teller. One field is set, and what goes with it.
type tellerInput struct {
	message  channels.Message
	share    *cosi.Signature // of a Proposal or Consent: verified
	pay      *live
	lock     *lockOrder
	endorsed *consultation
	close    bool
	release  *releaseOrder
	fund     *funding
	done     string // a key of handing
	refusal  error  // with done: why the chain does not take it
	reply    chan error
}

// consultation is what the Validators say of an update: none and a refusal if they refuse it.
type consultation struct {
	update       cypherlink.Hash
	endorsements []channels.Endorsement
	refusal      *cypherlink.Error
}

// newTeller restores a channel's teller from the store.
func (s *Tellers) newTeller(ctx context.Context, v *channels.View) (*teller, error) {
	ch := &v.Channel
	own, ok := ch.Side(s.ID)
	if !ok {
		return nil, fmt.Errorf("channel %s is of others: %w", ch.ID, ErrOptions)
	}
	t := &teller{
		tellers: s, id: ch.ID, own: own, peer: ch.Banks[own.Other()], banks: ch.Banks, asset: ch.Asset,
		stream:   channelStream(ch.ID),
		payments: map[cypherlink.UETR]*live{}, single: map[cypherlink.UETR]bool{},
		lost: map[cypherlink.UETR]bool{}, overtaken: overtaken{numbers: map[uint64]bool{}},
		handing:  map[string]bool{},
		outbound: make(chan []channels.Message, 64), drafts: drafting{signal: make(chan struct{}, 1)},
		signal: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	t.log = s.Log.With(slog.String("channel", t.id.String()), slog.String("peer", t.peer.String()))
	var events []channels.Event
	err := s.Store.View(ctx, func(r *store.Reader) error {
		stored, err := r.Load(t.stream, 0)
		if err != nil {
			return err
		}
		events = make([]channels.Event, len(stored))
		for i := range stored {
			if events[i], err = channels.DecodeEvent(stored[i].Body); err != nil {
				return fmt.Errorf("%s, event %d: %w", t.stream, stored[i].Sequence, err)
			}
		}
		t.locks, err = newTellerLocks(r, own, events)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		t.overtaken.fold(own, e)
	}
	t.sequence = int64(len(events))
	t.party = channels.NewParty(t.settings(), ch, events)
	if t.view, err = s.Chain.View(t.id, t.conditions()); err != nil {
		return nil, err
	}
	t.showLocks() // before anybody can ask
	t.show()
	return t, nil
}

func (t *teller) settings() channels.Settings {
	l := t.tellers.Lanes
	return channels.Settings{
		Network: t.tellers.Genesis.Network(), Channel: t.id, Side: t.own,
		LagS: l.LagS, InclusionS: l.InclusionS, JointS: l.JointS,
		CertifyMS: l.Certify.Milliseconds(), ResendMS: l.Resend.Milliseconds(),
		OffChain: l.OffChain, Verify: cosi.VerifyEd25519Batch,
	}
}

func channelStream(id channels.ID) string { return "channel/" + id.String() }

// tell leaves an input, without waiting.
func (t *teller) tell(in tellerInput) {
	t.mu.Lock()
	t.inbox = append(t.inbox, in)
	t.mu.Unlock()
	select {
	case t.signal <- struct{}{}:
	default:
	}
}

// room reserves the bytes of what the other bank says; false if too much of it waits.
func (t *teller) room(bytes int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.heard+bytes > heardQueued {
		return false
	}
	t.heard += bytes
	return true
}

func (t *teller) takeAll() []tellerInput {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.inbox
	t.inbox, t.heard = nil, 0
	return in
}

// run is the teller's goroutine. It ends with ctx, or with the store.
func (t *teller) run(ctx context.Context, session uint64, payments []*live) error {
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		t.tasks.Wait()
		close(t.ended)
	}()
	t.tasks.Go(func() { t.speak(ctx) })
	t.tasks.Go(func() { t.consult(ctx) })
	for _, l := range payments {
		t.adopt(l)
	}
	changed := t.tellers.Chain.Changed()
	first := t.begin()
	_ = t.do(first, func(now int64) (channels.Effects, error) { return t.party.Start(now, session) })
	if t.tellers.Restored {
		_ = t.do(first, func(now int64) (channels.Effects, error) { return t.party.Restored(now) })
	}
	t.look(first)
	if err := t.end(ctx, first); err != nil {
		return err
	}
	for {
		timer := time.NewTimer(max(0, min(freshness, time.Until(t.wake))))
		look := true
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
		case <-timer.C:
		case <-t.signal:
			look = false
		}
		timer.Stop()
		if look {
			changed = t.tellers.Chain.Changed()
		}
		if err := t.turn(ctx, look); err != nil {
			return err
		}
	}
}

// adopt takes a payment that is in the channel.
func (t *teller) adopt(l *live) {
	t.payments[l.uetr] = l
	if l.machine.Status() == StatusReserved {
		t.queue = append(t.queue, l)
	}
}

// turn takes everything that waits, and what the chain shows if look is set, in one commit. However much
// there is to hear, the view is never older than freshness: what binds is judged by how old it is.
func (t *teller) turn(ctx context.Context, look bool) error {
	n := t.begin()
	if look || time.Since(t.looked) >= freshness {
		t.look(n)
	}
	for _, in := range t.takeAll() {
		t.handle(ctx, n, in)
	}
	t.write(n)
	t.anchor(n)
	t.orders(n)
	_ = t.do(n, t.party.Tick) // it refuses nothing
	return t.end(ctx, n)
}

// handle takes one input.
func (t *teller) handle(ctx context.Context, n *turn, in tellerInput) {
	switch {
	case in.message != nil:
		t.hear(n, in)
	case in.pay != nil:
		t.adopt(in.pay)
	case in.lock != nil:
		t.take(ctx, n, in.lock)
	case in.endorsed != nil:
		n.refused = in.endorsed
		_ = t.do(n, func(now int64) (channels.Effects, error) {
			return t.party.Endorsed(now, in.endorsed.update, in.endorsed.endorsements)
		})
	case in.close:
		err := t.do(n, func(now int64) (channels.Effects, error) {
			return t.party.Ask(now, channels.Settlement{})
		})
		if t.ordered.closing = true; err == nil {
			t.alone = t.view.Now.S + t.tellers.Lanes.JointS
		}
		n.reply(in.reply, nil)
	case in.release != nil:
		n.reply(in.reply, t.releases(ctx, n, in.release))
	case in.fund != nil:
		t.ordered.fundings = append(t.ordered.fundings, *in.fund)
		slices.SortFunc(t.ordered.fundings, func(a, b funding) int { // they may come in another order
			return cmp.Compare(a.Number, b.Number)
		})
		n.reply(in.reply, nil)
	case in.done != "":
		delete(t.handing, in.done)
		if len(t.ordered.fundings) > 0 && in.done == keyOf(t.ordered.fundings[0].action(t.id)) {
			t.ordered.waits = in.refusal
		}
	}
}

// hear gives the party a message. What it refuses an operator sees.
func (t *teller) hear(n *turn, in tellerInput) {
	if r, ok := in.message.(channels.Refusal); ok {
		t.about(t.peer, "refusal").Warn("the other bank refuses an update", slog.String("by", string(r.Rule)),
			slog.Any("slot", r.Slot), slog.String("says", r.Text))
	}
	if in.share != nil {
		n.shares[jointHash(in.message)] = *in.share
	}
	err := t.do(n, func(now int64) (channels.Effects, error) { return t.party.Hear(now, in.message) })
	if err != nil {
		t.about(t.peer, string(cypherlink.ErrorCode(err))).Warn("a message of the other bank is refused",
			slog.String("message", fmt.Sprintf("%T", in.message)), slog.String("cause", err.Error()))
	}
}

// orders goes on with what the operator has ordered, until the chain has it: the fundings one after the
// other, as the chain counts them, and a close alone, once it is too late for one together.
func (t *teller) orders(n *turn) {
	c := &t.view.Channel
	if c.State != channels.Opened {
		return
	}
	before := len(t.ordered.fundings)
	t.ordered.fundings = slices.DeleteFunc(t.ordered.fundings, func(f funding) bool {
		return f.Number <= c.Fundings[t.own]
	})
	if len(t.ordered.fundings) != before {
		t.ordered.waits = nil // that was of the one which is done
	}
	if len(t.ordered.fundings) > 0 {
		n.submit = append(n.submit, t.ordered.fundings[0].action(t.id))
	}
	if t.ordered.closing && t.view.Now.S >= t.alone {
		n.submit = append(n.submit, channels.Close{Channel: t.id})
	}
}

// look takes what the own follower shows.
func (t *teller) look(n *turn) {
	t.looked = time.Now()
	v, err := t.tellers.Chain.View(t.id, t.conditions())
	if err != nil {
		t.log.Error("the chain is not readable", slog.String("cause", err.Error()))
		v = t.view // which grows old
	}
	if before := t.view.Channel.State; v.Channel.State != before {
		t.log.Warn("the channel is in another state", slog.String("before", before.String()),
			slog.String("now", v.Channel.State.String()))
	}
	v.Fresh = t.looked.Unix()-v.Now.S <= t.tellers.Lanes.LagS
	t.view = v
	// it refuses nothing
	_ = t.do(n, func(now int64) (channels.Effects, error) { return t.party.See(now, v) })
}

// write puts the payments that wait into updates, as far as the money and the window reach.
func (t *teller) write(n *turn) {
	now := time.Now().Unix()
	var left []*live
	for len(t.queue) > 0 {
		ops, taken := t.pack(&left, now)
		if len(ops) == 0 {
			break
		}
		err := t.do(n, func(ms int64) (channels.Effects, error) { return t.party.Order(ms, ops) })
		if err != nil {
			left = append(left, taken...)
			for _, l := range taken {
				l.waits = err
			}
			break
		}
	}
	t.queue = append(left, t.queue...)
	for i := 0; i < len(t.queue); i++ {
		if l := t.queue[i]; now >= l.expiry() {
			t.queue = slices.Delete(t.queue, i, i+1)
			i--
			n.pay(l, NotInLane{late(l.waits)})
		}
	}
}

// pack takes the payments of one update off the queue: those for which there is money. The others
// wait.
func (t *teller) pack(left *[]*live, now int64) (ops []channels.Operation, taken []*live) {
	free := cypherlink.Amount(max(0, t.party.Standing().Free))
	for len(t.queue) > 0 && len(ops) < paysPerUpdate {
		l := t.queue[0]
		pay := l.operation()
		switch {
		case now >= l.expiry():
			t.queue = t.queue[1:]
			*left = append(*left, l)
			continue
		case pay.Amount > free:
			l.waits = refuse(channels.L3.Code(), "AM04", "the channel has too little money", nil)
			t.queue = t.queue[1:]
			*left = append(*left, l)
			continue
		case t.single[l.uetr] && len(ops) > 0:
			return ops, taken
		}
		t.queue = t.queue[1:]
		free -= pay.Amount
		ops, taken = append(ops, pay), append(taken, l)
		if t.single[l.uetr] {
			return ops, taken
		}
	}
	return ops, taken
}

// operation is the payment as a lane's operation.
func (l *live) operation() channels.Pay {
	drafted := l.machine.drafted.Terms
	return channels.Pay{Payment: l.uetr, Amount: drafted.Legs[0].Amount, Terms: drafted.Hash()}
}

func (l *live) expiry() int64 { return l.machine.drafted.Terms.Legs[0].Expiry }

// late is why a payment was not written before its terms expired.
func late(cause error) *cypherlink.Error {
	if e, ok := cause.(*cypherlink.Error); ok { //nolint:errorlint // Party gives nothing else
		return e
	}
	return refuse(CodeLate, "TM01", "the payment was not signed before the terms expired", cause)
}
