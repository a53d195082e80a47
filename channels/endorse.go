package channels

import (
	"fmt"
	"math"
	"slices"

	"github.com/cypherlink/cypherlink"
)

const (
	// MaxCarriers bounds how many updates of a lane a Validator endorses that carry one payment. Each
	// stands on a branch of its own: drafts that were given up, or what a cut made void.
	MaxCarriers = 64
	// MaxRetrace bounds how many updates lie between one that carries a payment and a later one that
	// carries it again: more than a lane gains while a verdict is valid.
	MaxRetrace = 1 << 14
)

// Draft is an update before its payer signs it, with what a Validator judges it by.
type Draft struct {
	Update     Update
	Operations []Operation
	// Prev is the update before; nil where the lane begins, or where the payer has lost the anchored
	// one. Locks are those that are open there.
	Prev  *Update
	Locks []Lock
	// Payments are the payments that it brings into the lane, by their terms: one for each Pay and
	// Lock, in their order. The caller has checked that each has its approving verdicts.
	Payments []cypherlink.Hash
}

// Endorsed is what one Validator has endorsed so far.
type Endorsed interface {
	// Update is the endorsed update of that hash, nil if there is none.
	Update(hash cypherlink.Hash) (*Update, error)
	// Carriers are the endorsed updates of a lane (LaneScope) that carry the payment: in any order, and
	// no more than MaxCarriers of them.
	Carriers(lane, payment cypherlink.Hash) ([]cypherlink.Hash, error)
}

// Endorse reports why a Validator, in whose view the channel stands so, does not endorse what asker
// asks it to (V). An error that is no *cypherlink.Error is one of before. again tells that this
// update is endorsed: it stays so, whatever has happened since. Otherwise update and payments are to
// be durable, together with what before was asked for, before the Validator signs.
func (c *Channel) Endorse(
	self, asker cypherlink.ParticipantID, d *Draft, before Endorsed,
) (again bool, err error) {
	u := &d.Update
	if u.Channel != c.ID || u.Lane > B || u.Hash != u.sum() {
		return false, refuse(V, reasonForm, "the update is not of channel %s", c.ID)
	}
	if asker != c.Banks[u.Lane] {
		return false, refuse(V, reasonSigner, "%s does not write lane %s", asker, u.Lane)
	}
	if known, err := before.Update(u.Hash); err != nil || known != nil {
		return err == nil, err
	}
	if err := c.endorses(self, u); err != nil {
		return false, err
	}
	at, err := c.before(d, before)
	if err != nil {
		return false, err
	}
	if err := d.follows(at); err != nil {
		return false, err
	}
	return false, d.carriesOnce(at.Head, before)
}

// endorses reports why the Validator endorses nothing in the update's generation now.
func (c *Channel) endorses(self cypherlink.ParticipantID, u *Update) error {
	l := &c.Lanes[u.Lane]
	switch {
	case c.State != Opened:
		return refuse(V, reasonFailed, "the channel is %s", c.State)
	case u.Gen > l.Gen:
		return refuse(V, reasonOffline, "lane %s is in generation %d here", u.Lane, l.Gen)
	case u.Gen < l.Gen:
		return refuse(V, reasonFailed, "generation %d of lane %s has ended", u.Gen, u.Lane)
	case !slices.ContainsFunc(l.Signers.Validators, func(v ValidatorKey) bool { return v.ID == self }):
		return refuse(V, reasonSigner, "%s is no Validator of lane %s", self, u.Lane)
	}
	return nil
}

// before is the tip on which the draft stands: what it says that it follows, if this Validator knows
// that.
func (c *Channel) before(d *Draft, before Endorsed) (tip, error) {
	u, anchored := &d.Update, c.Lanes[d.Update.Lane].Head
	prev := d.Prev
	if prev == nil {
		prev = &Update{Channel: c.ID, Lane: u.Lane, Head: c.start()}
		if u.Prev == anchored.Hash {
			prev.Head = anchored
		}
	} else if prev.Hash != prev.sum() || prev.Channel != c.ID || prev.Lane != u.Lane {
		return tip{}, refuse(V, reasonForm, "what comes before is not of lane %s", u.Lane)
	}
	at := tip{prev.Head, d.Locks}
	switch {
	case prev.Hash != u.Prev:
		return tip{}, refuse(V, reasonForm, "update %+v does not follow %s", u.Slot(), prev.Hash)
	case LockRoot(d.Locks) != prev.Locks:
		return tip{}, refuse(V, reasonForm, "the locks are not those before update %+v", u.Slot())
	case prev.Hash == anchored.Hash:
		return at, nil
	case prev.Gen != u.Gen:
		return tip{}, refuse(V, reasonFailed, "generation %d does not begin at %s", u.Gen, prev.Hash)
	case d.Prev == nil:
		return at, nil
	}
	if known, err := before.Update(prev.Hash); err != nil || known != nil {
		return at, err
	}
	return tip{}, unknownPrev(prev.Seq)
}

// unknownPrev asks for an update that this Validator has not endorsed.
func unknownPrev(seq uint32) error {
	message := fmt.Sprintf("%s: update %d is not known here", V, seq)
	return &cypherlink.Error{Code: CodeUnknownPrev, Reason: reasonOffline, Message: message}
}

// follows reports what the operations do not make of the tip.
func (d *Draft) follows(at tip) error {
	u := &d.Update
	next, err := at.apply(d.Operations)
	switch {
	case err != nil:
		return refuse(V, reasonForm, "%v", err)
	case at.Seq == math.MaxUint32 || u.Seq != at.Seq+1:
		return refuse(V, reasonForm, "update %d after %d", u.Seq, at.Seq)
	case next.Paid != u.Paid || next.Locked != u.Locked || next.Locks != u.Locks:
		return refuse(V, reasonForm, "the totals of update %+v are wrong", u.Slot())
	case BodyRoot(d.Operations) != u.Body:
		return refuse(V, reasonForm, "update %+v has other operations", u.Slot())
	}
	return nil
}

// carriesOnce reports a payment that the draft, or an update on the way to it, carries already.
func (d *Draft) carriesOnce(prev Head, before Endorsed) error {
	if err := d.named(); err != nil {
		return err
	}
	carriers, lowest := map[cypherlink.Hash]cypherlink.Hash{}, uint32(math.MaxUint32)
	for i, payment := range d.Payments {
		if slices.Contains(d.Payments[:i], payment) {
			return refuse(V, reasonDuplicate, "payment %s stands twice", payment)
		}
		all, err := before.Carriers(LaneScope(d.Update.Channel, d.Update.Lane), payment)
		if err != nil {
			return err
		}
		if len(all) >= MaxCarriers {
			return refuse(V, reasonLimit, "payment %s is carried by %d updates", payment, len(all))
		}
		for _, hash := range all {
			carrier, err := before.Update(hash)
			if err != nil {
				return err
			}
			if carrier == nil {
				return fmt.Errorf("update %s, which carries payment %s: %w", hash, payment, ErrForm)
			}
			carriers[hash], lowest = payment, min(lowest, carrier.Seq)
		}
	}
	return retrace(prev, lowest, carriers, before)
}

// named reports a Pay or Lock that is not one of the draft's payments.
func (d *Draft) named() error {
	payments := d.Payments
	for _, op := range d.Operations {
		switch op := op.(type) {
		case Pay:
			if len(payments) == 0 || payments[0] != op.Terms {
				return refuse(V, reasonForm, "no verdict on payment %s", op.Payment)
			}
			payments = payments[1:]
		case Lock:
			if len(payments) == 0 {
				return refuse(V, reasonForm, "no verdict on lock %s", op.ID)
			}
			payments = payments[1:]
		case Settle, Unlock:
		}
	}
	if len(payments) > 0 {
		return refuse(V, reasonForm, "%d payments more than the operations", len(payments))
	}
	return nil
}

// retrace goes from an update back to the sequence of the lowest carrier, and refuses if one of the
// carriers lies on the way. Sequences grow by one from each update to the next, also where a
// generation begins, so none lies further back.
func retrace(at Head, lowest uint32, carriers map[cypherlink.Hash]cypherlink.Hash, before Endorsed) error {
	if at.Seq >= lowest && at.Seq-lowest >= MaxRetrace {
		return refuse(V, reasonLimit, "a payment was carried %d updates ago", at.Seq-lowest)
	}
	for at.Seq >= lowest && at.Seq > 0 {
		if payment, ok := carriers[at.Hash]; ok {
			return refuse(V, reasonDuplicate, "update %d carries payment %s", at.Seq, payment)
		}
		u, err := before.Update(at.Hash)
		if err != nil {
			return err
		}
		if u == nil { // anchored without this Validator: what it stands on cannot be told
			return unknownPrev(at.Seq)
		}
		at = Head{Seq: u.Seq - 1, Hash: u.Prev}
	}
	return nil
}

// Cosign reports why a Validator, in whose view the channel stands so, does not sign a joint action
// that both banks have signed (V): a point that may yet move a lane has to be an update that it has
// endorsed. An error that is no *cypherlink.Error is one of before.
func (c *Channel) Cosign(now Time, j *Joint, before Endorsed) error {
	if j.Channel != c.ID {
		return refuse(V, reasonForm, "the joint action is not of channel %s", c.ID)
	}
	if err := j.timely(now, c.Limits); err != nil {
		return err
	}
	for i, point := range j.Points {
		l := &c.Lanes[i]
		if point.Gen < l.Gen || point.Gen == l.Gen && point.Seq <= l.Head.Seq {
			continue // it moves nothing, now or later
		}
		u, err := before.Update(point.Hash)
		if err != nil {
			return err
		}
		if u == nil {
			return unknownPrev(point.Seq)
		}
		if u.Channel != c.ID || int(u.Lane) != i || u.Point() != point {
			return refuse(V, reasonForm, "the point of lane %s is not what was endorsed", Side(i))
		}
	}
	return nil
}

// CosignOpen reports why a Validator of the asset does not sign a joint action that opens a channel:
// T0 refuses what New does.
func (j *Joint) CosignOpen(network cypherlink.NetworkID, now Time) error {
	rules := &Rules{Network: network, Signers: func(*Channel, Side) Signers { return Signers{} }}
	c, err := New(rules, now, j)
	if err != nil {
		return err
	}
	return j.timely(now, c.Limits)
}

// timely reports a joint action that may come too late, or stays alive for longer than the window.
func (j *Joint) timely(now Time, limits Limits) error {
	if j.ValidUntil <= now.S || j.ValidUntil > now.S+limits.WindowS {
		return refuse(V, reasonLate, "valid until %d, and it is %d", j.ValidUntil, now.S)
	}
	return nil
}
