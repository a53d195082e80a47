package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/terms"
)

// draft is an update that the Validators are asked to sign, before its payer does.
type draft struct {
	update  channels.Update
	request []byte
	signers channels.Signers
}

// newDraft is what the Validators are told of an update: what it follows, and why each payment of it
// may stand in a lane.
func (t *teller) newDraft(e *channels.Entry) *draft {
	r := EndorseRequest{Update: e.Update, Operations: e.Operations}
	r.Prev, r.Locks = t.party.Before(e.Update.Seq)
	for _, op := range e.Operations {
		switch op := op.(type) {
		case channels.Pay:
			m := t.payments[op.Payment].machine
			of := m.proof.Terms
			r.Warrants = append(r.Warrants, Warrant{subject(of, terms.Source), of, m.verdicts[terms.Source]})
		case channels.Lock:
			p := t.locks.asked[op.ID].prepare
			r.Warrants = append(r.Warrants, Warrant{Subject: p.Subject, Verdicts: p.Verdicts})
		case channels.Settle, channels.Unlock:
		}
	}
	return &draft{e.Update, r.Encode(), t.view.Channel.Lanes[t.own].Signers}
}

// drafting are the drafts that the Validators are yet to sign, in their order. They are the party's: no
// more than its window. One that is given up and made again with the same content is another one.
type drafting struct {
	mu    sync.Mutex
	queue []*draft
	// asking ends the questions about the first one; nil if there are none.
	asking context.CancelFunc
	signal chan struct{} // holds a value when there may be a first one
}

// change takes drafts out that are given up, and puts others in. The Validators are not asked any more
// about what nobody will sign.
func (d *drafting) change(gone map[cypherlink.Hash]bool, more []*draft) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) > 0 && gone[d.queue[0].update.Hash] && d.asking != nil {
		d.asking()
		d.asking = nil
	}
	d.queue = slices.DeleteFunc(d.queue, func(q *draft) bool { return gone[q.update.Hash] })
	d.queue = append(d.queue, more...)
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

// first is the first draft, with the context in which it is asked about.
func (d *drafting) first(ctx context.Context) (first *draft, asking context.Context, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return nil, nil, false
	}
	asking, d.asking = context.WithCancel(ctx)
	return d.queue[0], asking, true
}

// asked takes the first draft out, about which the Validators were asked; false if it was given up meanwhile.
func (d *drafting) asked(first *draft) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 || d.queue[0] != first {
		return false
	}
	d.asking()
	d.queue, d.asking = d.queue[1:], nil
	return true
}

// consult is the goroutine that asks the Validators, for one update after the other.
func (t *teller) consult(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.drafts.signal:
		}
		for ctx.Err() == nil {
			d, asking, ok := t.drafts.first(ctx)
			if !ok {
				break
			}
			said, err := t.endorse(asking, d)
			if err != nil && asking.Err() == nil {
				t.log.WarnContext(ctx, "an update is not endorsed", slog.Any("slot", d.update.Slot()),
					slog.String("cause", err.Error()))
			}
			if t.drafts.asked(d) { // else it says nothing about one that was made again
				t.tell(tellerInput{endorsed: said})
			}
		}
	}
}

// endorse asks every Validator until enough have signed, or so many refuse that there will never be
// enough, or the time for it is over.
func (t *teller) endorse(ctx context.Context, d *draft) (*consultation, error) {
	ctx, cancel := context.WithTimeout(ctx, t.tellers.Lanes.Certify)
	type answer struct {
		from int
		raw  []byte
		err  error
	}
	said := &consultation{update: d.update.Hash}
	answers := make(chan answer, len(d.signers.Validators))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for i := range d.signers.Validators {
		asking.Go(func() {
			raw, err := t.ask(ctx, d.signers.Validators[i].ID, d.request)
			answers <- answer{i, raw, err}
		})
	}
	var causes []error
	frame := d.update.Frame(t.network())
	for range d.signers.Validators {
		a := <-answers
		v := d.signers.Validators[a.from]
		if a.err == nil && len(a.raw) != 64 {
			a.err = fmt.Errorf("%d bytes: %w", len(a.raw), ErrMessage)
		}
		var signature [64]byte
		copy(signature[:], a.raw)
		if a.err == nil {
			if a.err = cosi.VerifyEd25519(v.Key, frame, signature); a.err != nil {
				t.about(v.ID, "signature").ErrorContext(ctx, "a Validator signs an update wrongly",
					slog.Any("slot", d.update.Slot()))
			}
		}
		if a.err != nil {
			causes = append(causes, fmt.Errorf("validator %s: %w", v.ID, a.err))
			refusal, refused := errors.AsType[*cypherlink.Error](a.err)
			if refused && refusal.Reason != notYet {
				said.refusal = refusal
			}
			continue
		}
		one := channels.Endorsement{Validator: v.ID, Signature: signature}
		said.endorsements = append(said.endorsements, one)
		if len(said.endorsements) >= int(d.signers.Threshold) {
			said.refusal = nil
			return said, nil
		}
	}
	said.endorsements = nil
	return said, errors.Join(causes...)
}

// notYet is the reason with which a Validator, or a bank, refuses what it may grant later.
const notYet = "ED06"

// ask asks one Validator, and again where it is not reached, or not so far as this bank.
func (t *teller) ask(ctx context.Context, who cypherlink.ParticipantID, request []byte) ([]byte, error) {
	for {
		raw, err := t.tellers.Peers.Call(ctx, who, KindEndorse, request)
		refusal, refused := errors.AsType[*cypherlink.Error](err)
		if err == nil || refused && refusal.Reason != notYet {
			return raw, err
		}
		if pause(ctx, t.tellers.Lanes.Resend); ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// show publishes how the channel stands.
func (t *teller) show() {
	s, c := t.party.Standing(), &t.view.Channel
	shown := &Channel{Channel: *c, Now: t.view.Now, Own: t.own, Synced: s.Synced}
	shown.Free = cypherlink.Amount(max(0, s.Free))
	shown.slots = int(c.Limits.Locks) - s.Locks
	for i, l := range s.Lanes {
		shown.Lanes[i] = LaneView{
			Gen: l.Gen, Written: l.Written, Certified: l.Certified, Bound: l.Bound, Anchored: l.Anchored,
			Suspended: l.Suspended,
		}
	}
	shown.Alerts = t.alerts(&s)
	t.shown.Store(shown)
}

// lowShare is the part of a channel's money, as one in so many, below which a bank's own is low.
const lowShare = 10

// alerts are what an operator should look at.
func (t *teller) alerts(s *channels.Standing) []string {
	var all []string
	add := func(when bool, format string, args ...any) {
		if when {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	c := &t.view.Channel
	open := c.State == channels.Opened
	add(s.Stopped, "the other bank contradicts itself: the evidence is kept, nothing more is signed")
	add(!t.view.Fresh, "this bank's follower is behind")
	add(open && !s.Synced, "the other bank does not answer")
	for i, l := range s.Lanes {
		lane := "the other bank's lane"
		if channels.Side(i) == t.own {
			lane = "this bank's lane"
		}
		add(l.Barred, "%s: this bank's log was an old copy; the generation has to end", lane)
		add(open && c.Lanes[i].Challenge != (channels.Challenge{}), "%s: a challenge is open", lane)
	}
	money := func(minor int64) string { return cypherlink.Amount(minor).Format(t.asset.Scale) }
	add(open && c.Total() > 0 && s.Free < c.Total()/lowShare, "this bank's side is low: %s of %s are free",
		money(max(0, s.Free)), money(c.Total()))
	add(open && s.Unsettled > 0, "locks that are won, and the other bank does not settle: %d; a close pays "+
		"them out", s.Unsettled)
	if waiting := t.ordered.fundings; len(waiting) > 0 {
		add(open && t.ordered.waits != nil, "fundings wait: %d, the first of %s: %v", len(waiting),
			money(int64(waiting[0].Amount)), t.ordered.waits)
	}
	add(len(t.lost) > 0, "payments that are paid, and that this bank's log, an old copy, has not: %d; their "+
		"holds stay", len(t.lost))
	add(len(t.queue) > 0, "payments that wait for money or for the other bank: %d", len(t.queue))
	return all
}
