package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
)

// turn is everything that a teller does at once: what becomes durable in one commit, and what then
// happens, in that order.
type turn struct {
	persist  []channels.Event
	payments []paid     // of outgoing payments
	arrived  []arriving // of incoming ones
	locks    []LockEvent
	send     []channels.Message
	endorse  []channels.Entry
	gone     map[cypherlink.Hash]bool // drafts that are given up, of this turn or before
	submit   []channels.Action
	together []channels.Joint
	shares   map[cypherlink.Hash]cosi.Signature // the other bank's, of joint actions that were heard
	replies  []func()
	// release is asked for in this turn, if one is.
	release *releaseOrder
	// failed is why the turn may not be kept.
	failed error
	// refused is the Validators' word that was heard in this turn, if any.
	refused *consultation
}

// paid is what an outgoing payment's machine said.
type paid struct {
	live   *live
	events []Event
}

// arriving is what an incoming payment is told.
type arriving struct {
	payment cypherlink.UETR
	in      InLane
}

func (t *teller) begin() *turn {
	t.wake = time.Now().Add(freshness)
	return &turn{gone: map[cypherlink.Hash]bool{}, shares: map[cypherlink.Hash]cosi.Signature{}}
}

func (n *turn) reply(to chan error, err error) {
	if to != nil {
		n.replies = append(n.replies, func() { to <- err })
	}
}

// do steps the party, keeps its effects, and tells the payments what follows for them.
func (t *teller) do(n *turn, step func(nowMS int64) (channels.Effects, error)) error {
	e, err := step(time.Now().UnixMilli())
	n.persist = append(n.persist, e.Persist...)
	n.send = append(n.send, e.Send...)
	n.endorse = append(n.endorse, e.Endorse...)
	n.submit = append(n.submit, e.Submit...)
	n.together = append(n.together, e.Together...)
	if e.WakeMS != 0 {
		if at := time.UnixMilli(e.WakeMS); at.Before(t.wake) {
			t.wake = at
		}
	}
	for _, event := range e.Persist {
		t.locks.book.fold(event)
		t.overtaken.fold(t.own, event)
		if wrote, ok := event.(channels.Wrote); ok {
			t.each(n, t.own, &wrote.Entry.Update, wrote.Entry.Operations, Signed)
		}
	}
	for i := range e.Facts {
		t.learn(n, &e.Facts[i])
	}
	return err
}

// learn turns a fact of the channel into what it says of its payments.
func (t *teller) learn(n *turn, f *channels.Fact) {
	switch f.Kind {
	case channels.FactBound:
		t.each(n, f.Lane, &f.Update, f.Operations, Binding)
	case channels.FactAnchored:
		t.each(n, f.Lane, &f.Update, f.Operations, Anchored)
	case channels.FactVoid:
		t.each(n, f.Lane, &f.Update, f.Operations, Void)
	case channels.FactDropped:
		t.dropped(n, f)
	case channels.FactSecret, channels.FactGone:
	}
}

// each tells every payment of an update how far it has come.
func (t *teller) each(
	n *turn, lane channels.Side, u *channels.Update, ops []channels.Operation, stage Stage,
) {
	for _, op := range ops {
		pay, ok := op.(channels.Pay)
		if !ok {
			continue
		}
		in := InLane{
			Laned{stage, t.id, u.Slot(), u.Hash}, t.banks[lane], pay.Terms, Money{t.asset, pay.Amount},
		}
		if lane != t.own {
			n.arrived = append(n.arrived, arriving{pay.Payment, in})
		} else if l := t.payments[pay.Payment]; l != nil {
			n.pay(l, in)
		} else {
			t.log.Error("the channel pays what this bank does not know",
				slog.String("uetr", pay.Payment.String()))
		}
	}
}

// carriedBefore is the reason with which rule V refuses a payment that an earlier update carries.
const carriedBefore = "AM05"

// dropped puts the payments of an update that was not signed back to the head of the queue. Those that
// a Validator refused together go alone, and one that it refuses alone is rejected. But where it refuses
// since the lane carries the payment already, this bank's log is an old copy: who was paid is not
// refunded, so the hold stays, and the operator decides.
func (t *teller) dropped(n *turn, f *channels.Fact) {
	var again []*live
	n.gone[f.Update.Hash] = true
	n.endorse = slices.DeleteFunc(n.endorse, func(e channels.Entry) bool {
		return e.Update.Hash == f.Update.Hash
	})
	refused := n.refused != nil && n.refused.update == f.Update.Hash && n.refused.refusal != nil
	for _, op := range f.Operations {
		if lock, ok := op.(channels.Lock); ok {
			var why *cypherlink.Error
			if refused && len(f.Operations) == 1 {
				why = n.refused.refusal
			}
			t.dropLock(n, lock.ID, why)
		}
		pay, ok := op.(channels.Pay)
		l := t.payments[pay.Payment]
		switch {
		case !ok || l == nil:
		case refused && len(f.Operations) == 1 && n.refused.refusal.Code == channels.V.Code() &&
			n.refused.refusal.Reason == carriedBefore:
			t.log.Error("the lane carries a payment already, of which this bank's log knows nothing",
				slog.String("uetr", l.uetr.String()))
			t.lost[l.uetr] = true
		case refused && len(f.Operations) == 1:
			n.pay(l, NotInLane{n.refused.refusal})
		default:
			if refused {
				t.single[l.uetr] = true
			}
			again = append(again, l)
		}
	}
	t.queue = append(again, t.queue...)
}

// pay tells an outgoing payment's machine something. It takes all that a channel says, or its log is not
// what this process has made of it: then nothing more is written.
func (n *turn) pay(l *live, in Input) {
	e, err := l.machine.Step(time.Now(), in)
	if err != nil {
		n.failed = errors.Join(n.failed, fmt.Errorf("payment %s, %T: %w", l.uetr, in, err))
		return
	}
	if len(e.Persist) > 0 {
		n.payments = append(n.payments, paid{l, e.Persist})
		l.first = Effects{Do: append(l.first.Do, e.Do...), WakeAt: e.WakeAt} // for when it has left
	}
}

// doubt tells the payments that are signed and unbound that the chain decides now.
func (t *teller) doubt(n *turn) {
	if !t.party.Standing().Lanes[t.own].Suspended || !t.view.Fresh {
		return
	}
	for _, l := range t.payments {
		if l.machine.Status() == StatusSigned1 {
			in, pay := l.machine.lane.last, l.operation()
			in.Stage = Doubtful
			n.pay(l, InLane{in, t.banks[t.own], pay.Terms, Money{t.asset, pay.Amount}})
		}
	}
}

// end makes the turn durable and then lets it happen.
func (t *teller) end(ctx context.Context, n *turn) error {
	t.doubt(n)
	t.judgeLocks(n)
	err := n.failed
	if err == nil {
		err = t.commit(ctx, n)
	}
	if err != nil {
		return fmt.Errorf("channel %s: %w", t.id, err)
	}
	t.say(n.send)
	t.consultOn(n)
	for _, a := range n.submit {
		t.submit(ctx, a)
	}
	for i := range n.together {
		t.together(ctx, &n.together[i], n.shares)
	}
	t.showLocks() // who is answered sees what follows
	t.show()
	for _, reply := range n.replies {
		reply()
	}
	return nil
}

// consultOn has the Validators asked about what the turn has drafted, and no more about what it has given
// up.
func (t *teller) consultOn(n *turn) {
	if len(n.endorse)+len(n.gone) == 0 {
		return
	}
	var more []*draft
	for i := range n.endorse {
		more = append(more, t.newDraft(&n.endorse[i]))
	}
	t.drafts.change(n.gone, more)
}

// commit writes the channel's log and the payments' in one transaction, and gives back the payments
// that have left the channel.
func (t *teller) commit(ctx context.Context, n *turn) error {
	if len(n.persist)+len(n.payments)+len(n.arrived)+len(n.locks) == 0 {
		return nil
	}
	stored := make([]store.Event, len(n.persist))
	for i, e := range n.persist {
		stored[i] = store.Event{Kind: laneKind(e), Body: channels.EncodeEvent(e)}
	}
	logs, order := map[*live][]Event{}, []*live(nil)
	for _, p := range n.payments {
		if logs[p.live] == nil {
			order = append(order, p.live)
		}
		logs[p.live] = append(logs[p.live], p.events...)
	}
	c := t.tellers
	var reached []*Incoming
	var strays []channels.LockID
	err := c.Store.Update(ctx, func(tx *store.Tx) (err error) {
		if err = tx.Append(t.stream, t.sequence, stored...); err != nil {
			return err
		}
		for _, l := range order {
			if err = keepOutgoing(tx, l, logs[l]); err != nil {
				return err
			}
		}
		if strays, err = n.keep(tx, t); err != nil {
			return err
		}
		reached, err = t.arrive(tx, n.arrived)
		return err
	})
	if err != nil {
		return err
	}
	if t.stray(strays); len(n.locks) > 0 {
		c.locks.told()
	}
	t.sequence += int64(len(stored))
	for _, l := range order {
		l.sequence += int64(len(logs[l]))
		c.payments.shows(l)
		if !l.machine.InChannel() {
			delete(t.payments, l.uetr)
			delete(t.single, l.uetr)
			c.payments.resume(l)
		}
	}
	for _, m := range reached {
		c.payments.arrived(m)
	}
	return nil
}

// keep stores what the turn has besides the logs of the channel and its payments.
func (n *turn) keep(tx *store.Tx, t *teller) (strays []channels.LockID, err error) {
	if n.release != nil {
		if err := n.release.keep(tx, t.id); err != nil {
			return nil, err
		}
	}
	return t.tellLocks(tx, n.locks)
}

// keepOutgoing stores what an outgoing payment's machine said.
func keepOutgoing(tx *store.Tx, l *live, events []Event) error {
	if err := appendEvents(tx, streamOf(l.uetr), l.sequence, events); err != nil {
		return err
	}
	if l.machine.Over() {
		return closeStream(tx, streamOf(l.uetr))
	}
	return nil
}

// arrive takes up the incoming payments of the other lane. One that this bank did not agree to, or
// under other terms, is money that it did not ask for.
func (t *teller) arrive(tx *store.Tx, all []arriving) ([]*Incoming, error) {
	var reached []*Incoming
	for _, a := range all {
		var m *Incoming
		var e Effects
		if t.tellers.payments != nil {
			var err error
			if m, e, err = t.tellers.payments.takeUp(tx, a.payment, a.in); err != nil {
				return nil, err
			}
		}
		agreed := m != nil && e.Refusal == nil && m.promised != nil && a.in.pays(m.promised)
		if a.in.Laned.Stage == Anchored && (!agreed || m.lane.last.Update != a.in.Laned.Update) {
			t.log.Error("the other bank paid what was not agreed, or twice",
				slog.String("uetr", a.payment.String()))
		}
		if agreed && len(e.Persist) > 0 {
			reached = append(reached, m)
		}
	}
	return reached, nil
}

// laneKind is the name under which an event of a channel is stored.
func laneKind(e channels.Event) string {
	switch e.(type) {
	case channels.Wrote:
		return "wrote"
	case channels.Countersigned:
		return "countersigned"
	case channels.Certified:
		return "certified"
	case channels.Bound:
		return "bound"
	case channels.Anchored:
		return "anchored"
	case channels.Ended:
		return "ended"
	case channels.Joined:
		return "joined"
	case channels.Barred:
		return "barred"
	case channels.Stopped:
		return "stopped"
	case channels.Listed:
		return "listed"
	case channels.Learned:
		return "learned"
	case channels.Released:
		return "released"
	case channels.Failed:
		return "failed"
	case channels.Gone:
		return "gone"
	}
	return "event"
}
