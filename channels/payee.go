package channels

import (
	"errors"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

func (p *Party) signedBy(key [32]byte, u *Update, signature [64]byte) bool {
	return len(p.s.Verify([]cosi.IdentitySignature{
		{Key: key, Frame: u.Frame(p.s.Network), Signature: signature},
	})) == 0
}

// offered takes an update of the other bank's lane.
func (p *Party) offered(e Entry) error {
	l := p.peer()
	u := &e.Update
	switch {
	case u.Channel != p.s.Channel || u.Lane != p.s.Side.Other() || u.Hash != u.sum():
		return refuse(L4, reasonForm, "the update is not of this lane")
	case u.Gen != l.gen:
		return refuse(L4, reasonOffline, "generation %d, here it is %d", u.Gen, l.gen)
	case u.Seq <= l.base.Seq:
		return nil // it is anchored, or void
	case u.Seq <= l.last.Seq:
		return p.offeredAgain(e)
	case p.view == nil:
		return refuse(L4, reasonOffline, "the chain is not known")
	case u.Seq-l.last.Seq > p.view.Channel.Limits.Uncertified:
		return refuse(L2, reasonLimit, "update %d after %d", u.Seq, l.last.Seq)
	}
	p.waiting[u.Seq] = e
	return nil
}

// offeredAgain answers with the latest countersignature, which covers the prefix; another update in
// a slot that is countersigned is evidence against its payer.
func (p *Party) offeredAgain(e Entry) error {
	l := p.peer()
	have := l.at(e.Update.Seq)
	if have.Update.Hash == e.Update.Hash {
		p.send(p.countersignature())
		return nil
	}
	if p.view == nil || p.view.Channel.Lanes[p.s.Side.Other()].Gen != l.gen ||
		!p.signedBy(p.view.Channel.Lanes[p.s.Side.Other()].Signers.Payer, &e.Update, e.Peer) {
		return refuse(L4, reasonSignature, "the signature on %+v is not the payer's", e.Update.Slot())
	}
	p.stop(Evidence{Signed{have.Update, have.Peer}, Signed{e.Update, e.Peer}})
	return refuse(L4, reasonFailed, "a second update in %+v", e.Update.Slot())
}

// stop keeps the evidence and signs nothing more.
func (p *Party) stop(evidence Evidence) {
	if p.d.stopped {
		return
	}
	p.persist(Stopped{evidence})
	if p.view == nil || p.view.Channel.State == Opened {
		p.out.Submit = append(p.out.Submit, Close{p.s.Channel})
	}
}

func (p *Party) countersignature() Countersignature {
	last := p.peer().last
	return Countersignature{Slot: Slot{p.peer().gen, last.Seq}, Hash: last.Hash}
}

// errWait means that an offer cannot be countersigned yet.
var errWait = errors.New("channels: not yet")

// accept countersigns what waits and may be countersigned, in its order (L4).
func (p *Party) accept() {
	l := p.peer()
	from := l.last.Seq
	for {
		e, ok := p.waiting[l.last.Seq+1]
		if !ok || p.ready(L4, p.s.Side.Other()) != nil {
			break
		}
		err := p.judge(&e)
		if errors.Is(err, errWait) {
			break
		}
		delete(p.waiting, e.Update.Seq)
		if err != nil {
			p.refuseOffer(&e, err)
			break
		}
		p.persist(Countersigned{e})
	}
	if l.last.Seq > from {
		p.send(p.countersignature())
	}
}

func (p *Party) refuseOffer(e *Entry, err error) {
	refusal, _ := errors.AsType[*cypherlink.Error](err)
	p.send(Refusal{Slot: e.Update.Slot(), Hash: e.Update.Hash, Rule: L4, Text: refusal.Message})
}

// judge says whether the next update of the other lane may be countersigned: nil, errWait, or a
// refusal for ever.
func (p *Party) judge(e *Entry) error {
	l, u := p.peer(), &e.Update
	signers := &p.view.Channel.Lanes[p.s.Side.Other()].Signers
	f := u.Frame(p.s.Network)
	needed := signers.endorsements(f, e.Endorsements,
		[]cosi.IdentitySignature{{Key: signers.Payer, Frame: f, Signature: e.Peer}})
	next, err := l.last.apply(e.Operations)
	switch {
	case needed == nil:
		return refuse(L4, reasonSignature, "update %+v lacks a Validator's signature", u.Slot())
	case len(p.s.Verify(needed)) > 0:
		return refuse(L4, reasonSignature, "a signature on update %+v is wrong", u.Slot())
	case u.Prev != l.last.Hash || err != nil:
		return refuse(L4, reasonForm, "update %+v does not follow: %v", u.Slot(), err)
	case next.Paid != u.Paid || next.Locked != u.Locked || next.Locks != u.Locks,
		BodyRoot(e.Operations) != u.Body:
		return refuse(L4, reasonForm, "the totals of update %+v are wrong", u.Slot())
	case len(next.locks) > int(p.view.Channel.Limits.Locks) || next.Locked > p.view.Channel.Limits.Locked:
		return refuse(L4, reasonLimit, "%d locks of %d", len(next.locks), next.Locked)
	case u.Dep > p.own().relied():
		return errWait
	case p.free(u.Lane, u.Dep, u.Head) < 0:
		return errWait
	}
	for _, op := range e.Operations {
		switch op := op.(type) {
		case Unlock:
			if !p.mayUnlock(l, op.Lock) {
				return errWait
			}
		case Lock:
			if slices.Contains(p.d.released, op.ID) {
				return refuse(L4, reasonFailed, "the preimage of a lock %s was released before", op.ID)
			}
			if op.Expiry-p.view.Now.S > p.view.Channel.Limits.MaxExpiryS {
				return errWait
			}
		case Pay, Settle:
		}
	}
	return nil
}
