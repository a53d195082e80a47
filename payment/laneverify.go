package payment

import (
	"fmt"
	"math"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/terms"
)

// Verify says what the proof shows to somebody who holds the genesis; otherwise ErrReceipt, or the error
// of the part that does not hold. Nothing in it is merely stated: the ledger is the committee's.
func (p *LaneProof) Verify(g *chain.Genesis) (*Findings, error) {
	if err := p.wellFormed(); err != nil {
		return nil, err
	}
	t := p.Terms.Terms
	leg := t.Legs[terms.Source]
	what := Money{leg.Asset, leg.Amount}
	f := &Findings{UETR: t.UETR, Source: what, Destination: what}
	if err := sameNetwork(t.Network, g); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	roster, err := g.Roster(t.Signers()...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if err := p.Terms.Verify(g.Network(), roster); err != nil {
		return nil, err
	}
	f.prove("%s and %s signed the terms %s of payment %s: %s pays %s to %s.", nameOf(g, t.Payer),
		nameOf(g, t.Payee), t.Hash(), t.UETR, nameOf(g, t.Payer), what, nameOf(g, t.Payee))
	if err := p.verifyVerdicts(g, f); err != nil {
		return nil, err
	}
	if err := p.verifyUpdates(g, f); err != nil {
		return nil, err
	}
	return f, p.verifyAnchor(g, f)
}

// verifyVerdicts checks them at a time at which all of them are valid: a lane has no clock, and that
// they were valid when it was paid, the Validators saw who endorsed the update (rule V).
func (p *LaneProof) verifyVerdicts(g *chain.Genesis, f *Findings) error {
	t := p.Terms.Terms
	at := int64(math.MaxInt64)
	for i := range p.Verdicts {
		at = min(at, p.Verdicts[i].Verdict.ValidUntil-1)
	}
	return checkVerdicts(g, subject(t, terms.Source), p.Verdicts, at, f)
}

// verifyUpdates checks that the first update pays, and that each is the one before the next in its lane.
func (p *LaneProof) verifyUpdates(g *chain.Genesis, f *Findings) error {
	first := &p.Updates[0]
	if p.root() != first.Body {
		return fmt.Errorf("update %s does not pay by these terms: %w", first.Hash, ErrReceipt)
	}
	for i := range p.Updates[1:] {
		u, before := &p.Updates[1+i], &p.Updates[i]
		if u.Prev != before.Hash || u.Channel != before.Channel || u.Lane != before.Lane {
			return fmt.Errorf("update %s does not follow update %s: %w", u.Hash, before.Hash, ErrReceipt)
		}
	}
	later := ""
	if n := len(p.Updates) - 1; n > 0 {
		later = fmt.Sprintf("; update %d is %d later", p.Updates[n].Seq, n)
	}
	f.prove("Update %d of generation %d in the lane of %s in channel %s pays it%s.",
		first.Seq, first.Gen, nameOf(g, p.Terms.Terms.Payer), first.Channel, later)
	return nil
}

// verifyAnchor checks that the chain has the last update as the head of the payer's lane in a channel of
// both banks in the asset.
func (p *LaneProof) verifyAnchor(g *chain.Genesis, f *Findings) error {
	v, err := follow.NewVerifier(g)
	if err != nil {
		return err
	}
	c, shown, err := v.Channel(p.Anchored.Encode())
	if err != nil {
		return err
	}
	t, last := p.Terms.Terms, &p.Updates[len(p.Updates)-1]
	head := c.Lanes[last.Lane].Head
	switch {
	case c.ID != last.Channel || c.Asset != t.Legs[terms.Source].Asset:
		return fmt.Errorf("channel %s in %s: %w", c.ID, c.Asset, ErrReceipt)
	case c.Banks[last.Lane] != t.Payer || c.Banks[last.Lane.Other()] != t.Payee:
		return fmt.Errorf("the lane is not that of payer and payee: %w", ErrReceipt)
	case head.Hash != last.Hash || head.Seq != last.Seq || head.Paid != last.Paid:
		return fmt.Errorf("the chain has the lane at %d, %s: %w", head.Seq, head.Hash, ErrReceipt)
	}
	f.prove("Ledger %s has the lane at update %d, by block %d at %s; %s.",
		c.Asset.Ledger, head.Seq, shown.Height, instant(shown.Receipt.TimeMS), committeeOf(g, &shown))
	return nil
}
