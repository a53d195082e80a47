package ledgertest

import (
	"errors"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// Ramp is a World and two assets: Backing on an external ledger, which Operator keeps, and Claim on
// the chain, which it backs. The World's ledger is one of the two.
type Ramp struct {
	*World
	Backing, Claim cypherlink.Asset
}

// NewRamp makes the World's Asset the backing of an asset on a chain of that name.
func NewRamp(chain cypherlink.LedgerID) *Ramp {
	w := NewWorld()
	claim := w.Asset
	claim.Ledger = chain
	return &Ramp{World: w, Backing: w.Asset, Claim: claim}
}

// Escrow is the operator's account on the external ledger.
func (r *Ramp) Escrow() cypherlink.Account { return ledger.Escrow(r.Operator.ID) }

// External is the charter of the external ledger, which is the World's.
func (r *Ramp) External(burns ledger.Burns) ledger.Charter {
	c := r.Charter()
	c.Backings = map[cypherlink.Asset]ledger.Backing{r.Backing: {Other: r.Claim, Escrow: r.Escrow()}}
	c.Burns = burns
	return c
}

// OnChain is the charter of the chain, which has the one asset.
func (r *Ramp) OnChain() ledger.Charter {
	c := r.Charter()
	c.Ledger = r.Claim.Ledger
	c.Policies = map[cypherlink.Asset]validator.Policy{r.Claim: {}}
	c.Backings = map[cypherlink.Asset]ledger.Backing{
		r.Claim: {Other: r.Backing, Operator: r.Operator.ID},
	}
	return c
}

// Deposit is a crossing of Alice's from the external ledger to the chain.
func (r *Ramp) Deposit(nonce uint64, amount cypherlink.Amount, expiry int64) ledger.Crossing {
	return ledger.Crossing{
		Owner: r.Alice.ID, Asset: r.Backing, Amount: amount, Expiry: expiry, Nonce: nonce,
	}
}

// Burn is a crossing of Alice's from the chain to the external ledger.
func (r *Ramp) Burn(nonce uint64, amount cypherlink.Amount, expiry int64) ledger.Crossing {
	x := r.Deposit(nonce, amount, expiry)
	x.Asset = r.Claim
	return x
}

// Leave is a command to the ledger that the crossing leaves.
func (r *Ramp) Leave(by Actor, x ledger.Crossing) *ledger.SignedCommand {
	return r.signFor(x.Asset.Ledger, by, &ledger.Leave{Crossing: x})
}

// Enter is a command to the ledger that the crossing comes to.
func (r *Ramp) Enter(by Actor, x ledger.Crossing, evidence []byte) *ledger.SignedCommand {
	to := r.Claim.Ledger
	if x.Asset == r.Claim {
		to = r.Backing.Ledger
	}
	return r.signFor(to, by, &ledger.Enter{Crossing: x, Evidence: evidence})
}

func (r *Ramp) signFor(id cypherlink.LedgerID, by Actor, command ledger.Command) *ledger.SignedCommand {
	c := r.Sign(by, command)
	c.Ledger = id
	Resign(by, c)
	return c
}

// Record is the operator's record of a passage at the external ledger.
func (r *Ramp) Record(x ledger.Crossing, sequence uint64, timeMS int64) *ledger.RampRecord {
	record := &ledger.RampRecord{Network: r.Network, Passage: ledger.Passage{
		Ledger: r.Backing.Ledger, Crossing: x, Sequence: sequence, TimeMS: timeMS,
	}}
	record.Signature, _ = r.Operator.Sign(record.Frame())
	return record
}

// ErrBurn means that somebody's word is no burn.
var ErrBurn = errors.New("ledgertest: no burn")

// Burns stands in for the chain: it takes the crossings that it holds, encoded, for burns.
type Burns map[string]ledger.Crossing

// Burn implements ledger.Burns.
func (b Burns) Burn(evidence []byte) (ledger.Crossing, error) {
	x, ok := b[string(evidence)]
	if !ok {
		return ledger.Crossing{}, ErrBurn
	}
	return x, nil
}
