package channels

import (
	"slices"

	"github.com/cypherlink/cypherlink"
)

// maxLive bounds the joint actions that this bank has signed and that may still happen: each is kept,
// whoever proposed it.
const maxLive = 16

// Ask proposes a joint action to the other bank: Record, Release by this bank (its Number is filled
// in), Cut of the own lane, or Settlement. An error is a refusal: nothing was signed.
func (p *Party) Ask(nowMS int64, do JointAction) (Effects, error) {
	return p.step(nowMS, func() error { return p.ask(do) })
}

func (p *Party) ask(do JointAction) error {
	if p.view == nil {
		return refuse(L10, reasonOffline, "the chain is not known")
	}
	if r, ok := do.(Release); ok {
		r.By, r.Number = p.s.Side, p.view.Channel.Releases+1
		do = r
	}
	j := Joint{
		Channel: p.s.Channel, Proposer: p.s.Side, Counter: p.d.counter + 1, Do: do,
		ValidUntil: p.view.Now.S + p.s.JointS,
	}
	own, peer := p.s.Side, p.s.Side.Other()
	j.Points[own] = p.own().point(p.own().certified)
	j.Points[peer] = p.peer().point(p.peer().bound)
	switch do.(type) {
	case Cut, Settlement:
		j.Points[peer] = p.peer().point(p.peer().certified)
	default:
	}
	if err := p.mayJoin(&j); err != nil {
		return err
	}
	p.persist(Joined{j})
	p.proposal = &j
	p.send(Proposal{Joint: j})
	return nil
}

// proposed answers the other bank's proposal with this bank's signature, if it may.
func (p *Party) proposed(j Joint) error {
	if j.Channel != p.s.Channel || j.Proposer != p.s.Side.Other() {
		return refuse(L9, reasonForm, "the proposal is not the other bank's")
	}
	if slices.Contains(p.d.joints, j) {
		p.send(Consent{Joint: j})
		return nil
	}
	if err := p.mayJoin(&j); err != nil {
		return err
	}
	p.persist(Joined{j})
	p.send(Consent{Joint: j})
	p.out.Together = append(p.out.Together, j)
	return nil
}

// consented takes the other bank's signature on this bank's proposal, which the shell has verified.
func (p *Party) consented(j Joint) error {
	if p.proposal == nil || *p.proposal != j {
		return nil // it has served
	}
	p.proposal = nil
	p.out.Together = append(p.out.Together, j)
	return nil
}

// mayJoin reports why this bank does not sign the joint action (L8, L9).
func (p *Party) mayJoin(j *Joint) error {
	for _, lane := range []Side{A, B} {
		if err := p.ready(L9, lane); err != nil {
			return err
		}
	}
	if p.disturbed() || !p.view.Fresh {
		return refuse(L9, reasonOffline, "a challenge is open, or the chain is not known up to now")
	}
	if j.ValidUntil <= p.view.Now.S || j.ValidUntil > p.view.Now.S+p.view.Channel.Limits.WindowS {
		return refuse(L9, reasonLate, "valid until %d, and it is %d", j.ValidUntil, p.view.Now.S)
	}
	live := 0
	for i := range p.d.joints {
		if p.live(&p.d.joints[i]) {
			live++
		}
	}
	if live >= maxLive {
		return refuse(L9, reasonLimit, "%d joint actions may still happen", live)
	}
	if err := p.certifiedPoints(j); err != nil {
		return err
	}
	switch do := j.Do.(type) {
	case Record:
		return nil
	case Release:
		return p.mayRelease(j, do)
	case Cut:
		return p.mayCut(j, do)
	case Settlement:
		return p.mayClose(j)
	default:
		return refuse(L9, reasonForm, "%T", j.Do)
	}
}

// certifiedPoints reports a point of which this bank does not hold the certificate.
func (p *Party) certifiedPoints(j *Joint) error {
	for _, lane := range []Side{A, B} {
		l, point := &p.d.lanes[lane], j.Points[lane]
		switch {
		case point.Gen != l.gen:
			return refuse(L9, reasonFailed, "lane %s is in generation %d", lane, l.gen)
		case point.Seq <= l.base.Seq:
			continue // the chain has it, or one after it
		case point.Seq > l.certified || l.point(point.Seq) != point:
			return refuse(L9, reasonFailed, "update %d of lane %s is not certified here", point.Seq, lane)
		}
	}
	return nil
}

func (p *Party) mayRelease(j *Joint, r Release) error {
	if r.By != j.Proposer {
		return refuse(L8, reasonSigner, "a bank's money is released at its own wish, not at the other one's")
	}
	l := &p.d.lanes[r.By]
	end := l.last
	if r.By == p.s.Side {
		for i := range p.drafts {
			end.Head = p.drafts[i].Update.Head
		}
	}
	at := j.Points[r.By]
	if (at.Seq > l.base.Seq || end.Seq > l.base.Seq) && at.Head != end.Head || l.certified != l.last.Seq {
		return refuse(L8, reasonFailed, "lane %s is not certified up to its end", r.By)
	}
	if r.Number != p.view.Channel.Releases+1 || r.Amount <= 0 {
		return refuse(L8, reasonFailed, "release %d of %d", r.Number, r.Amount)
	}
	// Of one number one alone may happen, so that who sees it on the chain knows which did.
	if slices.ContainsFunc(p.d.joints, func(other Joint) bool {
		_, release := other.Do.(Release)
		return release && p.live(&other)
	}) {
		return refuse(L8, reasonOffline, "another release may still happen")
	}
	// What the release leaves has to be there whatever of the reverse lane is anchored.
	if p.free(r.By, p.reliedPoint(j, r.By.Other()), end.Head) < int64(r.Amount) {
		return refuse(L8, reasonFunds, "%s are not free", r.Amount.Format(p.view.Channel.Asset.Scale))
	}
	return nil
}

// reliedPoint is what is paid at the joint action's point of a lane.
func (p *Party) reliedPoint(j *Joint, lane Side) cypherlink.Amount {
	return max(j.Points[lane].Paid, p.view.Channel.Lanes[lane].Head.Paid)
}

// mayCut: a cut loses nothing that is bound, or certified, here.
func (p *Party) mayCut(j *Joint, c Cut) error {
	l := &p.d.lanes[c.Lane]
	if c.Gen != l.gen {
		return refuse(L9, reasonFailed, "lane %s is in generation %d", c.Lane, l.gen)
	}
	if max(j.Points[c.Lane].Seq, l.base.Seq) < l.certified {
		return refuse(L9, reasonFailed, "update %d of lane %s is certified", l.certified, c.Lane)
	}
	return nil
}

// mayClose: everything that was ever written is in the points, and nothing is locked.
func (p *Party) mayClose(j *Joint) error {
	for _, lane := range []Side{A, B} {
		l := &p.d.lanes[lane]
		whole := l.certified == l.last.Seq && max(j.Points[lane].Seq, l.base.Seq) == l.last.Seq
		if !whole || l.last.Locked != 0 || len(p.drafts) > 0 {
			return refuse(L9, reasonFailed, "lane %s is not certified up to its end, or has open locks", lane)
		}
	}
	return nil
}
