package payment

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// Statement is a receipt of a ledger with its evidence taken apart. By itself it proves nothing.
type Statement struct {
	// Receipt is what the evidence says.
	Receipt ledger.Receipt
	// Chain is the evidence on the committee's ledger, Record the operator's on another one, Lane a bank's
	// of a lock in a channel; the others are nil.
	Chain  *follow.Evidence
	Record *ledger.Record
	Lane   *LaneReceipt
}

// evidenceOf takes evidence of a leg's custody apart, without a check of any signature.
func evidenceOf(g *chain.Genesis, leg *terms.Leg, evidence []byte) (Statement, error) {
	if !ledger.InChannel(leg) {
		return readEvidence(g, leg.Asset.Ledger, evidence)
	}
	r, err := DecodeLaneReceipt(evidence)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{Receipt: r.Receipt, Lane: r}
	s.Receipt.Evidence = evidence
	return s, nil
}

// readEvidence is evidenceOf a custody on a ledger.
func readEvidence(g *chain.Genesis, id cypherlink.LedgerID, evidence []byte) (Statement, error) {
	s := Statement{Receipt: ledger.Receipt{Ledger: id}}
	if id == g.Chain() {
		e, err := follow.DecodeEvidence(evidence)
		if err != nil {
			return Statement{}, err
		}
		if e.Event == nil {
			return Statement{}, fmt.Errorf("evidence of an absent custody: %w", ErrReceipt)
		}
		s.Chain = e
		s.Receipt.Custody, _ = e.Event.Custody() // DecodeEvidence has seen one
		s.Receipt.TimeMS = e.Event.TimeMS
		s.Receipt.Sequence = e.Index + 1
	} else {
		record, err := ledger.DecodeRecord(evidence)
		if err != nil {
			return Statement{}, err
		}
		s.Record, s.Receipt = record, record.Receipt
	}
	s.Receipt.Evidence = evidence
	return s, nil
}

// evidenceKeys is who answers for what the ledgers say.
type evidenceKeys struct {
	genesis *chain.Genesis
	chain   *follow.Verifier
}

func newEvidenceKeys(g *chain.Genesis) (*evidenceKeys, error) {
	v, err := follow.NewVerifier(g)
	if err != nil {
		return nil, err
	}
	return &evidenceKeys{genesis: g, chain: v}, nil
}

// lanes is who answers for what banks say of their channels, by the registry of genesis.
func (k *evidenceKeys) lanes(atMS int64) *LaneVerifier {
	return &LaneVerifier{
		Network: k.genesis.Network(), Ledger: k.genesis.Chain(), Roll: k.genesis.Registry().At(atMS / 1000),
	}
}

// verify checks that a statement is the committee's or the operator's. By is the operator, nil
// for the committee, whose statement shown is.
func (k *evidenceKeys) verify(s *Statement) (shown *follow.Statement, by *chain.Participant, err error) {
	if s.Chain != nil {
		shown, err := k.chain.Verify(s.Receipt)
		return &shown, nil, err
	}
	l, ok := k.genesis.Ledger(s.Receipt.Ledger)
	if !ok {
		return nil, nil, fmt.Errorf("ledger %s: %w", s.Receipt.Ledger, ErrReceipt)
	}
	operator, ok := k.genesis.Participant(l.Operator)
	if !ok {
		return nil, nil, fmt.Errorf("operator of ledger %s: %w", l.ID, ErrReceipt)
	}
	_, err = (&ledger.Operator{
		Network: k.genesis.Network(), Ledger: l.ID, Key: operator.Identity,
	}).Receipt(s.Receipt.Evidence)
	return nil, operator, err
}
