package state

import (
	"sync/atomic"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/ledger"
)

// rules are who may speak, and what by: a registry at a block time.
type rules struct {
	roll    chain.Roll
	charter ledger.Charter
}

// rulesAt are the rules of a block of that time on a state with that registry.
func (s *State) rulesAt(r *chain.Registry, timeMS int64) *rules {
	now := &rules{roll: r.At(timeMS / 1000), charter: s.base}
	now.charter.Keys, now.charter.Signers = now.roll, now.roll
	now.charter.Policies = r.Policies(s.base.Ledger)
	return now
}

// verify authenticates transactions in one batch. A change of the registry that does not stand on
// the rules' own version is left to its execution.
func (r *rules) verify(txs []*Transaction) []error {
	refused := make([]error, len(txs))
	var commands []*ledger.SignedCommand
	var places []int
	for i, tx := range txs {
		switch body := tx.Body.(type) {
		case Command:
			commands, places = append(commands, body.Signed), append(places, i)
		case RegistryChange:
			if body.Certified.Base == r.roll.Version() {
				refused[i] = r.roll.Authenticate(body.Certified)
			}
		}
	}
	for i, err := range r.charter.Authenticate(commands...) {
		refused[places[i]] = err
	}
	return refused
}

// admission is what any goroutine asks: the rules of the final version at its own time.
type admission struct{ final atomic.Pointer[rules] }

// Verify authenticates transactions in one batch, by the registry of the final version; those that
// it has seen before cost little. The result has a refusal, or nil, at each transaction's place.
// Whether they stand in a block, its execution says. Any goroutine may call it.
func (s *State) Verify(txs []*Transaction) []error { return s.admission.final.Load().verify(txs) }

// Registry is the final one, at the time of the last final block. Any goroutine may call it.
func (s *State) Registry() chain.Roll { return s.admission.final.Load().roll }
