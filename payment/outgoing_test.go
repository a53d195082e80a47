package payment

import (
	"testing"

	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// TestALossWithoutASourceCustodyEnds: a connector that delivers though the payer's custody never
// came to be. There is no receipt of that one to wait for.
func TestALossWithoutASourceCustodyEnds(t *testing.T) {
	n := newNetwork(t, nil)
	s := newScene(t, n)
	proof := s.agreed()
	for leg := range uint8(2) {
		s.tell(GotVerdicts{Leg: leg, Verdicts: n.verdicts(t, proof.Terms, leg)})
	}
	s.tell(GotRelay{})
	s.tell(GotPayer{})
	s.tell(Moves{Outcome: connector.Loss})
	seen := func(leg uint8, state ledger.State) {
		s.tell(Seen{ledger.Receipt{
			Ledger: proof.Terms.Legs[leg].Asset.Ledger, TimeMS: proof.Terms.Legs[leg].Expiry * 1000,
			Custody: ledger.Custody{ID: s.out.custody(leg), State: state},
		}})
	}
	seen(terms.Source, ledger.Absent)
	seen(terms.Destination, ledger.Confirmed)
	if s.out.Over() {
		t.Error("over without the receipt of the custody that was made")
	}
	seen(terms.Destination, ledger.Prepared)
	if s.out.Status() != StatusSettled || !s.out.payment().Loss || !s.out.Over() {
		t.Errorf("%s, over %v", s.out.Status(), s.out.Over())
	}
}
