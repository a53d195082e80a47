package channels

import (
	"math"
	"slices"

	"github.com/cypherlink/cypherlink"
)

// Order writes an update with these operations into the own lane. If Validators have to endorse it,
// it is signed when they have. An error is a refusal: nothing was written.
func (p *Party) Order(nowMS int64, ops []Operation) (Effects, error) {
	return p.step(nowMS, func() error { return p.order(ops) })
}

// Endorsed brings the Validators' signatures on an update that was to be endorsed; of an update
// that they refuse, none. An update that is refused, and those after it, are dropped.
func (p *Party) Endorsed(nowMS int64, update cypherlink.Hash, endorsements []Endorsement) (Effects, error) {
	return p.step(nowMS, func() error {
		for i := range p.drafts {
			if p.drafts[i].Update.Hash != update {
				continue
			}
			if p.drafts[i].Endorsements = endorsements; len(endorsements) == 0 {
				p.drop(i)
			}
			break
		}
		return nil
	})
}

// mayWrite reports why nothing may be written now (L2).
func (p *Party) mayWrite() error {
	l := p.own()
	if err := p.ready(L2, p.s.Side); err != nil {
		return err
	}
	switch limit := p.view.Channel.Limits.Uncertified; {
	case p.disturbed():
		return refuse(L2, reasonOffline, "a challenge is open")
	case p.suspended(p.s.Side) && p.view.Fresh:
		return refuse(L2, reasonOffline, "a cut or the close of the channel is under way")
	case len(l.entries)-int(l.certified-l.base.Seq)+len(p.drafts) >= int(limit):
		return refuse(L2, reasonLimit, "%d updates are not certified", limit)
	case l.last.Seq > math.MaxUint32-2*MaxUncertified:
		return refuse(L2, reasonLimit, "the lane is full")
	}
	return nil
}

func (p *Party) order(ops []Operation) error {
	if err := p.mayWrite(); err != nil {
		return err
	}
	l := p.own()
	at := l.last
	for i := range p.drafts {
		at, _ = at.apply(p.drafts[i].Operations) // it was applied when it was drafted
		at.Head = p.drafts[i].Update.Head
	}
	next, err := at.apply(ops)
	if err != nil {
		return refuse(L4, reasonForm, "%v", err)
	}
	dep := p.peer().relied()
	if free := p.free(p.s.Side, dep, next.Head); free < 0 {
		return refuse(L3, reasonFunds, "%d short of the reserve", -free)
	}
	if err := p.withinLimits(next, ops); err != nil {
		return err
	}
	u := Update{
		Channel: p.s.Channel, Lane: p.s.Side, Gen: l.gen, Prev: at.Hash, Dep: dep, Body: BodyRoot(ops),
		Head: next.Head,
	}
	u.Seq = at.Seq + 1
	u.seal()
	entry := Entry{Update: u, Operations: ops}
	if p.view.Channel.Lanes[p.s.Side].Signers.Threshold > 0 {
		p.drafts = append(p.drafts, entry)
		p.out.Endorse = append(p.out.Endorse, entry)
		return nil
	}
	p.write(entry)
	return nil
}

// withinLimits checks the channel's limits on locks.
func (p *Party) withinLimits(next tip, ops []Operation) error {
	limits := p.view.Channel.Limits
	if len(next.locks) > int(limits.Locks) || next.Locked > limits.Locked {
		return refuse(L4, reasonLimit, "%d locks of %d", len(next.locks), next.Locked)
	}
	for _, op := range ops {
		lock, ok := op.(Lock)
		if !ok {
			continue
		}
		if slices.Contains(p.d.gone, lock.ID) {
			return refuse(H4, reasonFailed, "lock %s was given up", lock.ID)
		}
		if left := lock.Expiry - p.view.Now.S; left < limits.MinExpiryS || left > limits.MaxExpiryS {
			return refuse(L4, reasonLate, "lock %s expires in %d s", lock.ID, left)
		}
	}
	return nil
}

// write persists the update and offers it (L1).
func (p *Party) write(e Entry) {
	if l := p.own(); l.certified == l.last.Seq {
		p.since = p.now
	}
	p.persist(Wrote{e})
	p.send(Offer{e})
}

// promote writes the drafts that are endorsed, in order; once nothing may be written, it drops them.
func (p *Party) promote() {
	for len(p.drafts) > 0 && len(p.drafts[0].Endorsements) > 0 {
		e := p.drafts[0]
		p.drafts = p.drafts[1:]
		if p.mayWrite() != nil || e.Update.Prev != p.own().last.Hash || e.Update.Gen != p.own().gen ||
			p.expired(e.Operations) || p.free(p.s.Side, e.Update.Dep, e.Update.Head) < 0 {
			p.drafts = append([]Entry{e}, p.drafts...)
			p.drop(0)
			return
		}
		p.write(e)
	}
}

// expired tells whether the expiry of a lock that is to be made has come. Its preimage may have been revealed
// before, which a View tells only of locks that are made.
func (p *Party) expired(ops []Operation) bool {
	return slices.ContainsFunc(ops, func(op Operation) bool {
		lock, ok := op.(Lock)
		return ok && p.view.Now.S >= lock.Expiry
	})
}

// drop gives up the drafts from the i-th on: they are not signed.
func (p *Party) drop(i int) {
	for _, e := range p.drafts[i:] {
		p.out.Facts = append(p.out.Facts,
			Fact{Kind: FactDropped, Lane: p.s.Side, Update: e.Update, Operations: e.Operations})
	}
	p.drafts = p.drafts[:i]
}

// countersigned takes the payee's signature.
func (p *Party) countersigned(m Countersignature) error {
	l := p.own()
	if m.Slot.Gen != l.gen || m.Slot.Seq <= l.certified {
		return nil // it has served
	}
	e := l.at(m.Slot.Seq)
	if e == nil || e.Update.Hash != m.Hash {
		return refuse(L4, reasonForm, "a signature on what was not written in %+v", m.Slot)
	}
	if p.view == nil || p.view.Channel.Lanes[p.s.Side].Gen != l.gen {
		return refuse(L4, reasonOffline, "the signers of generation %d are not known", l.gen)
	}
	if !p.signedBy(p.view.Channel.Lanes[p.s.Side].Signers.Payee, &e.Update, m.Payee) {
		return refuse(L4, reasonSignature, "the signature on %+v is not the payee's", m.Slot)
	}
	p.persist(Certified{m.Slot.Seq, m.Payee})
	p.since = p.now
	return nil
}
