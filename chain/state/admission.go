package state

import (
	"sync/atomic"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
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
	var places, actions []int
	for i, tx := range txs {
		switch body := tx.Body.(type) {
		case Command:
			commands, places = append(commands, body.Signed), append(places, i)
		case RegistryChange:
			if body.Certified.Base == r.roll.Version() {
				refused[i] = r.roll.Authenticate(body.Certified)
			}
		case ChannelAction:
			actions = append(actions, i)
		case ChannelJoint: // whose banks the state alone can tell
		}
	}
	r.verifyActions(txs, actions, refused)
	for i, err := range r.charter.Authenticate(commands...) {
		refused[places[i]] = err
	}
	return refused
}

// verifyActions authenticates those of the transactions that are actions on channels.
func (r *rules) verifyActions(txs []*Transaction, actions []int, refused []error) {
	var signatures []cosi.IdentitySignature
	var places []int
	for _, i := range actions {
		body, ok := txs[i].Body.(ChannelAction)
		if !ok {
			continue
		}
		key, err := r.actor(body.Signed)
		if err != nil {
			refused[i] = err
			continue
		}
		places = append(places, i)
		signatures = append(signatures, cosi.IdentitySignature{
			Key: key, Frame: body.Signed.Frame(), Signature: body.Signed.Signature,
		})
	}
	for _, at := range r.charter.Verifier(signatures) {
		refused[places[at]] = refuse(ledger.CodeSignature, "DS0B", "the signature is not the signer's")
	}
}

// actor is the key of whoever may act on channels: who is not revoked, and begins nothing while he
// is suspended.
func (r *rules) actor(a *channels.SignedAction) (key [32]byte, err error) {
	key, status := r.roll.Signer(a.Signer)
	_, begins := a.Action.(channels.Fund)
	switch {
	case a.Network != r.charter.Network:
		return key, refuse(ledger.CodeMalformed, "FF01", "the action is for another network")
	case status == ledger.Unknown:
		return key, refuse(ledger.CodeUnknownSigner, "DS0E", "the signer is not registered here")
	case status == ledger.Revoked:
		return key, refuse(ledger.CodeRevoked, "DS0C", "the signer is revoked")
	case status != ledger.Active && begins:
		return key, refuse(ledger.CodeSuspended, "AG10", "the signer begins nothing: it is "+status.String())
	}
	return key, nil
}

func refuse(code cypherlink.Code, reason, message string) error {
	return &cypherlink.Error{Code: code, Reason: reason, Message: message}
}

// admission is what any goroutine asks: the rules of the final version at its own time.
type admission struct{ final atomic.Pointer[rules] }

// Verify authenticates transactions in one batch, by the registry of the final version; those that
// it has seen before cost little. The result has a refusal, or nil, at each transaction's place.
// Whether they stand in a block, its execution says. Any goroutine may call it.
func (s *State) Verify(txs []*Transaction) []error { return s.admission.final.Load().verify(txs) }

// Registry is the final one, at the time of the last final block. Any goroutine may call it.
func (s *State) Registry() chain.Roll { return s.admission.final.Load().roll }
