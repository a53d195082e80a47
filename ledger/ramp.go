package ledger

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
)

// Backing ties an asset of an external ledger to the one on the chain that it backs. The charters
// of both ledgers have it, each for its own asset.
type Backing struct {
	// Other is the asset on the other ledger. Its scale is the same.
	Other cypherlink.Asset
	// Escrow is the account that holds what has left an external ledger; zero on the chain.
	Escrow cypherlink.Account
	// Operator signs, on the chain's side, what has left the external ledger; zero there.
	Operator cypherlink.ParticipantID
}

func (b *Backing) onChain() bool { return b.Escrow == cypherlink.Account{} }

// Burns verifies what has left the chain, for an external ledger.
type Burns interface {
	// Burn is the crossing that the evidence proves to have left the chain, finally; otherwise an
	// error.
	Burn(evidence []byte) (Crossing, error)
}

// RampBook is what the rules of the ramp read and change. Reads see the effect of earlier writes.
type RampBook interface {
	// Balance is that of Book.
	Balance(account cypherlink.Account, asset cypherlink.Asset) (amount cypherlink.Amount, ok bool, err error)
	// Held is what stands behind the asset here: what an external ledger's escrow holds of it, or
	// what the chain has credited and not burned. On the chain it is the sum of all accounts,
	// custodies and channels, and so bounds each of them.
	Held(asset cypherlink.Asset) (cypherlink.Amount, error)
	// Crossing is the one that has passed here under the id; ok tells whether there is one.
	Crossing(id CrossingID) (x Crossing, ok bool, err error)
	// Cross stores the crossing, and moves its amount between the owner's account in the asset,
	// which is of this ledger, and what stands behind it: it leaves if the asset is the crossing's
	// own, and comes in otherwise. The rules have checked that both cover it; only the chain opens
	// the account where it is not open.
	Cross(asset cypherlink.Asset, x Crossing) error
}

// Cross checks a Leave or an Enter under the charter at ledger time nowMS (milliseconds since 1970)
// and writes its effect. The caller has authenticated it. The error is nil, a refusal with a code
// of this package, ErrRepeated with the crossing that stands, or an error of the book.
func (c *Charter) Cross(book RampBook, nowMS int64, command *SignedCommand) (Crossing, error) {
	_, status, err := c.signer(command)
	if err != nil {
		return Crossing{}, err
	}
	switch body := command.Command.(type) {
	case *Leave:
		return c.leave(book, nowMS, command.Signer, status, body.Crossing)
	case *Enter:
		// what has left comes in, whatever its owner's status is by now; whoever is not active brings
		// only what is its own
		if status != Active && command.Signer != body.Owner {
			return Crossing{}, barred(status)
		}
		return c.enter(book, body.Crossing)
	case *Prepare, *Confirm, *Return:
	}
	return Crossing{}, refuse(CodeMalformed, "the command is about no crossing", nil)
}

func (c *Charter) leave(
	book RampBook, nowMS int64, signer cypherlink.ParticipantID, status Status, x Crossing,
) (Crossing, error) {
	if err := x.wellFormed(); err != nil {
		return Crossing{}, err
	}
	if signer != x.Owner {
		return Crossing{}, refuse(CodeNotAllowed, "only the owner of the account may let value leave", nil)
	}
	if _, ok := c.Backings[x.Asset]; !ok {
		return Crossing{}, refuse(CodeUnknownAsset, "the asset does not cross from this ledger", nil)
	}
	// What stands comes before everything that may change with time, as for a custody.
	if stands, err := c.stands(book, x); stands || err != nil {
		return x, err
	}
	if status != Active {
		return Crossing{}, barred(status)
	}
	if nowMS/1000 >= x.Expiry {
		return Crossing{}, refuse(CodeLapsed, "the crossing has expired", nil)
	}
	balance, ok, err := book.Balance(x.Debit(), x.Asset)
	switch {
	case err != nil:
		return Crossing{}, err
	case !ok:
		return Crossing{}, refuse(CodeUnknownAccount, "the debit account is not open in this asset", nil)
	case balance < x.Amount:
		return Crossing{}, refuse(CodeFunds, "the debit account does not cover the amount",
			fmt.Errorf("balance %d, amount %d", balance, x.Amount))
	}
	return x, book.Cross(x.Asset, x)
}

func (c *Charter) enter(book RampBook, x Crossing) (Crossing, error) {
	if err := x.wellFormed(); err != nil {
		return Crossing{}, err
	}
	asset, backing, ok := c.comesFrom(x.Asset)
	if !ok {
		return Crossing{}, refuse(CodeUnknownAsset, "the asset does not cross to this ledger", nil)
	}
	if stands, err := c.stands(book, x); stands || err != nil {
		return x, err
	}
	held, err := book.Held(asset)
	if err != nil {
		return Crossing{}, err
	}
	if backing.onChain() {
		// the operator's word is all that bounds what it has taken into escrow
		if _, err := held.Add(x.Amount); err != nil {
			return Crossing{}, refuse(CodeBacking, "the asset would exceed the range of an amount", err)
		}
		return x, book.Cross(asset, x)
	}
	if _, ok, err := book.Balance(x.Credit(), asset); err != nil {
		return Crossing{}, err
	} else if !ok {
		return Crossing{}, refuse(CodeUnknownAccount, "the credit account is not open in this asset", nil)
	}
	if held < x.Amount {
		return Crossing{}, refuse(CodeBacking, "the escrow does not cover the amount",
			fmt.Errorf("escrow %d, amount %d", held, x.Amount))
	}
	return x, book.Cross(asset, x)
}

// stands tells whether the crossing has passed here: then the error is ErrRepeated. Another one
// under its id is a refusal.
func (c *Charter) stands(book RampBook, x Crossing) (bool, error) {
	standing, ok, err := book.Crossing(x.ID(c.Network))
	switch {
	case err != nil || !ok:
		return false, err
	case standing != x:
		return false, refuse(CodeCrossingDiffers, "the crossing exists with other content", nil)
	}
	return true, ErrRepeated
}

// comesFrom is the asset here of which the other one is the other side.
func (c *Charter) comesFrom(other cypherlink.Asset) (cypherlink.Asset, Backing, bool) {
	for asset, backing := range c.Backings {
		if backing.Other == other {
			return asset, backing, true
		}
	}
	return cypherlink.Asset{}, Backing{}, false
}

// proved refuses an Enter unless its evidence shows that exactly this crossing has left.
func (c *Charter) proved(e *Enter) error {
	_, backing, ok := c.comesFrom(e.Asset)
	if !ok {
		return refuse(CodeUnknownAsset, "the asset does not cross to this ledger", nil)
	}
	shown, err := c.shown(&backing, e.Evidence)
	if err == nil && shown != e.Crossing {
		err = fmt.Errorf("it shows crossing %s of %d: %w", shown.ID(c.Network), shown.Amount, ErrEvidence)
	}
	if err != nil {
		return refuse(CodeEvidence, "the evidence does not show that the crossing has left", err)
	}
	return nil
}

// shown is the crossing that the evidence shows to have left the other ledger.
func (c *Charter) shown(b *Backing, evidence []byte) (Crossing, error) {
	if !b.onChain() {
		if c.Burns == nil {
			return Crossing{}, fmt.Errorf("this ledger verifies no burns: %w", ErrEvidence)
		}
		return c.Burns.Burn(evidence)
	}
	key, ok := c.Keys.Key(b.Operator)
	if !ok {
		return Crossing{}, fmt.Errorf("operator %s is not registered: %w", b.Operator, ErrEvidence)
	}
	o := Operator{Network: c.Network, Ledger: b.Other.Ledger, Key: key}
	p, err := o.passage(evidence, c.verifier())
	return p.Crossing, err
}
