package payment

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrReceipt means that bytes are not a receipt of the network, or that one does not prove what
// it says.
var ErrReceipt = errors.New("payment: the receipt does not hold")

// MaxReceipt bounds a receipt, in bytes.
const MaxReceipt = 8 << 20

// Proof is what a settled payment leaves behind: what was agreed and who signed it, who
// approved it, and what became final on both ledgers. Its file is receipt.json.
type Proof struct {
	Terms *terms.Proof
	Quote *connector.SignedQuote
	// Legs are the source's and the destination's.
	Legs [2]LegProof
}

// LegProof is what happened on one ledger.
type LegProof struct {
	Verdicts []validator.Signed
	// Prepared and Confirmed are receipts of the custody, by their evidence. Of a lock in a channel there is
	// Confirmed alone: its evidence has the lane's certificate.
	Prepared, Confirmed Statement
}

// Proof is the proof of a settled payment; ok tells whether all of it is there.
func (o *Outgoing) Proof() (p *Proof, ok bool) {
	if o.status != StatusSettled || !o.Over() || o.moved.Outcome != connector.Settled {
		return nil, false
	}
	p = &Proof{Terms: o.proof, Quote: o.quote}
	for leg := range p.Legs {
		p.Legs[leg] = LegProof{Verdicts: o.verdicts[leg], Confirmed: Statement{Receipt: *o.last[leg]}}
		if !ledger.InChannel(&o.proof.Terms.Legs[leg]) {
			p.Legs[leg].Prepared = Statement{Receipt: *o.prepared[leg]}
			continue
		}
		if r, err := DecodeLaneReceipt(o.last[leg].Evidence); err != nil || r.Proof == nil {
			return nil, false // the chain alone has told the bank
		}
	}
	return p, true
}

// Encode is the receipt's one form: JSON with two spaces a level and a line feed at the end,
// bytes in lower-case hexadecimal. What is signed stands in it twice: as it was signed
// ("signed", "evidence"), and taken apart for readers. Evidence that does not decode is
// ErrReceipt.
func (p *Proof) Encode(g *chain.Genesis) ([]byte, error) {
	j, err := p.json(g)
	if err != nil {
		return nil, err
	}
	return encodeReceipt(j)
}

// DecodeProof takes exactly the form of Encode; otherwise ErrReceipt. It compares every byte,
// and checks the quote's signature; what the rest proves, Verify says.
func DecodeProof(g *chain.Genesis, raw []byte) (*Proof, error) {
	return decodeReceipt(raw,
		func(j *receiptJSON) (*Proof, error) {
			if err := sameNetwork(j.Network, g); err != nil {
				return nil, err
			}
			return j.proof(g)
		},
		func(p *Proof) ([]byte, error) { return p.Encode(g) })
}

// encodeReceipt writes the JSON form of either proof.
func encodeReceipt(j any) ([]byte, error) {
	raw, err := json.Marshal(j, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return append(raw, '\n'), nil
}

// decodeReceipt takes what is signed out of the JSON form J, and wants the rest to be what that encodes to.
func decodeReceipt[J, P any](
	raw []byte, proof func(*J) (*P, error), encode func(*P) ([]byte, error),
) (*P, error) {
	if len(raw) > MaxReceipt {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(raw), MaxReceipt, ErrReceipt)
	}
	var j J
	if err := json.Unmarshal(raw, &j, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	p, err := proof(&j)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	again, err := encode(p)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, raw) {
		return nil, fmt.Errorf("line %d is not what the signed bytes say: %w",
			firstDifference(again, raw), ErrReceipt)
	}
	return p, nil
}

// sameNetwork reports that a receipt is of another network than the genesis by which it is to be checked:
// nothing in it would hold, and its first signature would be blamed.
func sameNetwork(of cypherlink.NetworkID, g *chain.Genesis) error {
	if of != g.Network() {
		return fmt.Errorf("it is of network %s, the genesis is that of %s", of, g.Network())
	}
	return nil
}

// firstDifference is the line of b, from 1, at which a and b part.
func firstDifference(a, b []byte) int {
	line := 1
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			break
		}
		if b[i] == '\n' {
			line++
		}
	}
	return line
}

// proof takes what is signed out of the JSON.
func (j *receiptJSON) proof(g *chain.Genesis) (*Proof, error) {
	p := &Proof{}
	var err error
	if p.Terms, err = terms.DecodeProof(j.Terms.Signed); err != nil {
		return nil, err
	}
	if p.Quote, err = connector.DecodeQuote(j.Quote.Signed, g); err != nil {
		return nil, err
	}
	if len(p.Terms.Terms.Legs) != len(p.Legs) || len(j.Legs) != len(p.Legs) {
		return nil, fmt.Errorf("%d legs, %d in the terms: %w",
			len(j.Legs), len(p.Terms.Terms.Legs), ErrReceipt)
	}
	for i := range p.Legs {
		from, to := &j.Legs[i], &p.Legs[i]
		if to.Verdicts, err = verdictsIn(from.Verdicts); err != nil {
			return nil, err
		}
		leg := &p.Terms.Terms.Legs[i]
		if (from.Prepared == nil) != ledger.InChannel(leg) {
			return nil, fmt.Errorf("leg %d has one receipt too many or too few: %w", i, ErrReceipt)
		}
		if from.Prepared != nil {
			if to.Prepared, err = evidenceOf(g, leg, from.Prepared.Evidence); err != nil {
				return nil, err
			}
		}
		if to.Confirmed, err = evidenceOf(g, leg, from.Confirmed.Evidence); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// preimage is what both custodies were confirmed with, if it is one.
func (p *Proof) preimage() cypherlink.Preimage {
	return p.Legs[terms.Source].Confirmed.Receipt.Custody.Preimage
}

// subject is what a leg's verdicts and custody are about.
func (p *Proof) subject(leg int) validator.Subject {
	return subject(p.Terms.Terms, uint8(leg)) //nolint:gosec // two legs
}

// custody is the id of a leg's custody.
func (p *Proof) custody(leg int) ledger.CustodyID {
	t := p.Terms.Terms
	return ledger.NewCustodyID(t.Network, t.Hash(), uint8(leg)) //nolint:gosec // two legs
}
