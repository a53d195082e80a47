package payment

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// Findings is what a receipt shows to somebody who holds the network's genesis, in a person's
// words.
type Findings struct {
	UETR cypherlink.UETR
	// Source and Destination are what moved.
	Source, Destination Money
	// Proved follows from signatures, hashes and the committee's finality alone.
	Proved []string
	// Stated is what operators of external ledgers say under their signatures: whether it is
	// so, no committee has decided.
	Stated []string
}

// VerifyReceipt reads a receipt, of a payment over two ledgers (Proof) or over a channel (LaneProof),
// and verifies all of it by the genesis: the parties' signatures on the terms, the Validators' on the
// verdicts, and that all of it is about one payment. Of two ledgers: the connector's signature on the
// quote, and the committee's and the operators' on what happened to the two custodies, under one
// condition. Of a channel: that the update which pays is one of those that the final chain has in the
// payer's lane. Otherwise ErrReceipt, or the error of the part that does not hold. It needs no network,
// no clock and no store.
func VerifyReceipt(g *chain.Genesis, raw []byte) (*Findings, error) {
	if bytes.HasPrefix(raw, []byte("{\n  \"format\": \""+laneReceiptFormat+"\"")) { // there is one form
		p, err := DecodeLaneProof(raw)
		if err != nil {
			return nil, err
		}
		return p.Verify(g)
	}
	p, err := DecodeProof(g, raw)
	if err != nil {
		return nil, err
	}
	return p.verify(g)
}

// verify is VerifyReceipt of a receipt that was read.
func (p *Proof) verify(g *chain.Genesis) (*Findings, error) {
	t := p.Terms.Terms
	source, destination := t.Legs[terms.Source], t.Legs[terms.Destination]
	f := &Findings{
		UETR:   t.UETR,
		Source: Money{source.Asset, source.Amount}, Destination: Money{destination.Asset, destination.Amount},
	}
	roster, err := g.Roster(t.Signers()...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if err := p.Terms.Verify(g.Network(), roster); err != nil {
		return nil, err
	}
	f.prove("%s, %s and %s signed the terms %s of payment %s: %s pays %s, %s gets %s.",
		nameOf(g, t.Payer), nameOf(g, t.Payee), nameOf(g, t.Connector), t.Hash(), t.UETR,
		nameOf(g, t.Payer), f.Source, nameOf(g, t.Payee), f.Destination)
	if err := p.verifyQuote(f); err != nil {
		return nil, err
	}
	keys, err := newEvidenceKeys(g)
	if err != nil {
		return nil, err
	}
	for i := range p.Legs {
		if err := p.verifyLeg(keys, i, f); err != nil {
			return nil, fmt.Errorf("ledger %s: %w", t.Legs[i].Asset.Ledger, err)
		}
	}
	if err := p.verifyPackets(); err != nil {
		return nil, err
	}
	f.prove("Both custodies stand under one condition, %s, which the preimage in the receipt fulfils.",
		t.Condition)
	return f, nil
}

func (f *Findings) prove(format string, args ...any) {
	f.Proved = append(f.Proved, fmt.Sprintf(format, args...))
}

func (f *Findings) state(format string, args ...any) {
	f.Stated = append(f.Stated, fmt.Sprintf(format, args...))
}

// String is amount and asset, such as "2000.00 CNY@cypherium".
func (m Money) String() string { return m.Amount.Format(m.Asset.Scale) + " " + m.Asset.String() }

func nameOf(g *chain.Genesis, id cypherlink.ParticipantID) string {
	if p, ok := g.Participant(id); ok {
		return p.Name
	}
	return id.String()
}

// verifyQuote: DecodeProof has checked the connector's signature.
func (p *Proof) verifyQuote(f *Findings) error {
	q, t := &p.Quote.Quote, p.Terms.Terms
	drawn := t.Legs[terms.Source].Expiry - q.SourceHold
	if err := q.Covers(t, drawn, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	f.prove("The connector had quoted it: %s for %s, at %d/%d and a fee of %s.",
		f.Source, f.Destination, q.Price.Rate.Num, q.Price.Rate.Den, q.Price.Fee.Format(q.Source.Asset.Scale))
	return nil
}

func (p *Proof) verifyLeg(k *evidenceKeys, i int, f *Findings) error {
	leg, t := &p.Legs[i], p.Terms.Terms
	if ledger.InChannel(&t.Legs[i]) {
		return p.verifyLock(k, i, f)
	}
	prepared, confirmed := &leg.Prepared.Receipt, &leg.Confirmed.Receipt
	for _, want := range []struct {
		receipt *ledger.Receipt
		state   ledger.State
	}{{prepared, ledger.Prepared}, {confirmed, ledger.Confirmed}} {
		c := &want.receipt.Custody
		if c.State != want.state || c.ID != p.custody(i) || c.Subject != p.subject(i) {
			return fmt.Errorf("a custody that is not the terms', %s: %w", c.State, ErrReceipt)
		}
	}
	switch {
	case prepared.Sequence >= confirmed.Sequence || prepared.TimeMS > confirmed.TimeMS:
		return fmt.Errorf("confirmed before it was prepared: %w", ErrReceipt)
	case confirmed.Custody.Expired(confirmed.TimeMS):
		return fmt.Errorf("confirmed after its expiry: %w", ErrReceipt)
	case !t.Condition.FulfilledBy(confirmed.Custody.Preimage):
		return fmt.Errorf("confirmed with another preimage: %w", ErrReceipt)
	case !bytes.Equal(prepared.Custody.Packet, confirmed.Custody.Packet):
		return fmt.Errorf("the packet has changed: %w", ErrReceipt)
	}
	if err := p.verifyVerdicts(k.genesis, i, prepared.TimeMS, f); err != nil {
		return err
	}
	first, by, err := k.verify(&leg.Prepared)
	if err != nil {
		return err
	}
	last, _, err := k.verify(&leg.Confirmed)
	if err != nil {
		return err
	}
	asset := t.Legs[i].Asset
	what := Money{asset, t.Legs[i].Amount}
	if by != nil {
		f.state("%s, who keeps ledger %s, says that custody %s of %s was prepared at %s and confirmed at %s.",
			by.Name, asset.Ledger, p.custody(i), what, instant(prepared.TimeMS), instant(confirmed.TimeMS))
		return nil
	}
	f.prove("Ledger %s: custody %s of %s was prepared in block %d at %s and confirmed in block %d at %s; %s.",
		asset.Ledger, p.custody(i), what, first.Height, instant(prepared.TimeMS),
		last.Height, instant(confirmed.TimeMS), committeeOf(k.genesis, last))
	return nil
}

// verifyLock checks a leg in a channel: its lock stands in a lane that both banks and the Validators have
// signed, and was settled there with the preimage; or, where the lane does not say the last, the bank's word
// is that the preimage was on the chain in time.
func (p *Proof) verifyLock(k *evidenceKeys, i int, f *Findings) error {
	r, leg := &p.Legs[i].Confirmed.Receipt, &p.Terms.Terms.Legs[i]
	if c := &r.Custody; c.State != ledger.Confirmed || c.ID != p.custody(i) || c.Subject != p.subject(i) {
		return fmt.Errorf("a custody that is not the terms', %s: %w", c.State, ErrReceipt)
	}
	drawn := p.Terms.Terms.Legs[terms.Source].Expiry - p.Quote.Quote.SourceHold
	if err := p.verifyVerdicts(k.genesis, i, drawn*1000, f); err != nil {
		return err
	}
	found, err := k.lanes(r.TimeMS).Verify(p.Legs[i].Confirmed.Lane.Encode())
	if err != nil {
		return err
	}
	what := Money{leg.Asset, leg.Amount}
	from, to := nameOf(k.genesis, leg.Debit.Owner), nameOf(k.genesis, leg.Credit.Owner)
	switch found.Proved.(type) {
	case channels.Settle:
		f.prove("Channel of %s and %s: both and the Validators signed that the lock of custody %s of %s is "+
			"settled with the preimage.", from, to, p.custody(i), what)
	case channels.Lock:
		f.prove("Channel of %s and %s: both and the Validators signed the lock of custody %s of %s.",
			from, to, p.custody(i), what)
		f.state("%s says that custody %s of %s was confirmed in its channel, at %s: its preimage was on the "+
			"chain in time.", nameOf(k.genesis, found.Bank), p.custody(i), what, instant(r.TimeMS))
	default:
		return fmt.Errorf("no certificate of the lane shows the lock: %w", ErrReceipt)
	}
	return nil
}

func committeeOf(g *chain.Genesis, s *follow.Statement) string {
	names := make([]string, len(s.Signers))
	for i, id := range s.Signers {
		names[i] = nameOf(g, id)
	}
	return fmt.Sprintf("final by the committee of epoch %d (%s)", s.Block.Epoch, strings.Join(names, ", "))
}

// verifyVerdicts checks them as the ledger did, at the time at which it did.
func (p *Proof) verifyVerdicts(g *chain.Genesis, i int, atMS int64, f *Findings) error {
	return checkVerdicts(g, p.subject(i), p.Legs[i].Verdicts, atMS/1000, f)
}

// checkVerdicts checks that the verdicts are exactly as many as the subject's asset asks for, by its
// Validators, and valid at a time in seconds.
func checkVerdicts(
	g *chain.Genesis, s validator.Subject, verdicts []validator.Signed, at int64, f *Findings,
) error {
	policy, err := policyOf(g, s.Fields.Asset)
	if err != nil {
		return err
	}
	if len(verdicts) != policy.Threshold {
		return fmt.Errorf("%d verdicts, %d asked for: %w", len(verdicts), policy.Threshold, ErrReceipt)
	}
	if err := policy.Check(g.Network(), s, verdicts, g, cosi.VerifyEd25519Batch, at); err != nil {
		return fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	for k := range verdicts {
		f.prove("%s approved the movement of %s by rule set %s.", nameOf(g, verdicts[k].Validator),
			Money{s.Fields.Asset, s.Fields.Amount}, verdicts[k].Verdict.RuleSet)
	}
	return nil
}

// verifyPackets checks that the connector passed on the packet that came to it: each custody's
// says what its leg says, and the rest is one.
func (p *Proof) verifyPackets() error {
	var packets [2]*ilp.Prepare
	for i := range p.Legs {
		packet, err := ilp.DecodePrepare(p.Legs[i].Confirmed.Receipt.Custody.Packet)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrReceipt, err)
		}
		leg := p.Terms.Terms.Legs[i]
		amount, err := ilp.ToAmount(packet.Amount)
		if err != nil || amount != leg.Amount || packet.Condition != p.Terms.Terms.Condition ||
			packet.ExpiresAt.UnixMilli() != leg.Expiry*1000 {
			return fmt.Errorf("the packet on %s says something else: %w", leg.Asset.Ledger, ErrReceipt)
		}
		packets[i] = packet
	}
	if packets[0].Destination != packets[1].Destination || !bytes.Equal(packets[0].Data, packets[1].Data) {
		return fmt.Errorf("two packets: %w", ErrReceipt)
	}
	return nil
}
