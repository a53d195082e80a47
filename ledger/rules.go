package ledger

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

var (
	// ErrCharter means that a ledger cannot be run by these rules.
	ErrCharter = errors.New("ledger: malformed charter")
	// ErrRepeated means that the command's effect stands already: the ledger answers with the
	// stored receipt, and nothing changes.
	ErrRepeated = errors.New("ledger: the command has taken effect before")
)

// Charter is what the rules of one ledger rest on. It comes from genesis, later from the
// registry on the chain.
type Charter struct {
	Network cypherlink.NetworkID
	Ledger  cypherlink.LedgerID
	// MinExpiry is the least time, in seconds, that a Prepare must leave before its expiry.
	MinExpiry int64
	// Channels says that the ledger is a bank's channels: it alone has accounts of ChannelNumber.
	Channels bool
	// Policies holds the assets of this ledger, and the approval that each of them asks for.
	Policies map[cypherlink.Asset]validator.Policy
	// Backings holds those of them that cross between an external ledger and the chain.
	Backings map[cypherlink.Asset]Backing
	// Burns verifies what comes from the chain. Nil on the chain, and on a ledger that nothing
	// crosses to.
	Burns Burns
	// Keys holds the identity keys of those who may speak now.
	Keys validator.Keys
	// Signers tells what each of them may do. Nil stands for everything, for everybody in Keys.
	Signers Signers
	// Verifier checks signatures, and has to remember those that are right: a ledger sees a
	// command more than once. Nil stands for cosi.VerifyEd25519Batch.
	Verifier cosi.Verifier
}

func (c *Charter) verifier() cosi.Verifier {
	if c.Verifier == nil {
		return cosi.VerifyEd25519Batch
	}
	return c.Verifier
}

// Valid reports ErrCharter unless the ledger's id is valid, MinExpiry is from 0 to a year, and
// every policy is valid and for an asset of this ledger, whose code no other has. A backing is of an
// asset of this ledger and another of the same scale on another ledger, which no other backing has,
// and names either an escrow account or an operator.
func (c *Charter) Valid() error {
	const year = 366 * 24 * 60 * 60
	if err := c.Ledger.Valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrCharter, err)
	}
	if c.MinExpiry < 0 || c.MinExpiry > year {
		return fmt.Errorf("%w: least time to expiry %d s", ErrCharter, c.MinExpiry)
	}
	if c.Keys == nil {
		return fmt.Errorf("%w: no keys", ErrCharter)
	}
	var last cypherlink.Asset
	for _, asset := range c.Assets() {
		if asset.Ledger != c.Ledger || asset.Code == last.Code {
			return fmt.Errorf("%w: asset %s", ErrCharter, asset)
		}
		last = asset
		if err := errors.Join(asset.Valid(), c.Policies[asset].Valid()); err != nil {
			return fmt.Errorf("%w: asset %s: %w", ErrCharter, asset, err)
		}
	}
	return c.validBackings()
}

func (c *Charter) validBackings() error {
	others := map[cypherlink.Asset]bool{}
	for asset, b := range c.Backings {
		_, known := c.Policies[asset]
		escrow, operator := b.Escrow != (cypherlink.Account{}), b.Operator != (cypherlink.ParticipantID{})
		switch {
		case !known || others[b.Other]:
			return fmt.Errorf("%w: asset %s crosses to %s", ErrCharter, asset, b.Other)
		case b.Other.Ledger == c.Ledger || b.Other.Scale != asset.Scale || escrow == operator:
			return fmt.Errorf("%w: asset %s crosses to %s of scale %d, escrow %s, operator %s",
				ErrCharter, asset, b.Other, b.Other.Scale, b.Escrow, b.Operator)
		}
		others[b.Other] = true
	}
	return nil
}

// Assets lists the assets of the ledger in a fixed order.
func (c *Charter) Assets() []cypherlink.Asset {
	return slices.SortedFunc(maps.Keys(c.Policies), func(a, b cypherlink.Asset) int {
		return cmp.Or(cmp.Compare(a.Ledger, b.Ledger), cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Scale, b.Scale))
	})
}

// Balance is what an account holds of an asset.
type Balance struct {
	Account cypherlink.Account
	Asset   cypherlink.Asset
	Amount  cypherlink.Amount
}

// Book is what the rules read and change. Reads see the effect of earlier writes. Whoever
// creates balances keeps the sum of an asset, accounts and custodies together, within the
// range of an Amount; custody never changes that sum, so no credit can overflow.
type Book interface {
	// Balance is what the account holds of the asset; ok tells whether it is open in it.
	Balance(account cypherlink.Account, asset cypherlink.Asset) (amount cypherlink.Amount, ok bool, err error)
	// Custody is the record under the id; ok tells whether there is one.
	Custody(id CustodyID) (custody Custody, ok bool, err error)
	// Locked tells whether any custody, whatever its state, was ever made under the condition.
	Locked(condition cypherlink.Condition) (bool, error)
	// Write stores the custody and moves its amount as its state says: Prepared from the
	// debit account into custody, Confirmed on to the credit account, Returned back. The
	// rules have checked that the debit account covers it and that both accounts are open.
	Write(custody Custody) error
}

// Authenticate tells for each command why it is refused before any book is asked: it is for
// another ledger, or its signer is not registered, or the signature is not the signer's, or it is
// an Enter whose evidence does not hold. The errors stand at the commands' places, nil for a
// command that passes. Many commands together cost about half as much as one at a time, and with a
// Verifier that remembers their verdicts are verified together too. The proof of a burn costs a
// pairing each time.
func (c *Charter) Authenticate(commands ...*SignedCommand) []error {
	refused := make([]error, len(commands))
	signatures := make([]cosi.IdentitySignature, 0, len(commands))
	places := make([]int, 0, len(commands))
	for i, command := range commands {
		key, _, err := c.signer(command)
		if err != nil {
			refused[i] = err
			continue
		}
		places = append(places, i)
		signatures = append(signatures, cosi.IdentitySignature{
			Key: key, Frame: command.Frame(), Signature: command.Signature,
		})
	}
	for _, at := range c.verifier()(signatures) {
		refused[places[at]] = refuse(CodeSignature, "the signature is not the signer's", cosi.ErrSignature)
	}
	for i, command := range commands {
		if e, ok := command.Command.(*Enter); ok && refused[i] == nil {
			refused[i] = c.proved(e)
		}
	}
	if c.Verifier != nil {
		c.foresee(commands, refused)
	}
	return refused
}

// foresee lets a Verifier that remembers see the verdicts of authentic commands together. What it
// finds wrong, Apply refuses.
func (c *Charter) foresee(commands []*SignedCommand, refused []error) {
	var signatures []cosi.IdentitySignature
	for i, command := range commands {
		if p, ok := command.Command.(*Prepare); ok && refused[i] == nil {
			policy := c.Policies[p.Subject.Fields.Asset]
			signatures = append(signatures,
				policy.Signatures(c.Network, p.Subject, p.Verdicts, c.Keys)...)
		}
	}
	c.Verifier(signatures)
}

// signer is the signer's key and status, or a refusal.
func (c *Charter) signer(command *SignedCommand) (key [32]byte, status Status, err error) {
	switch {
	case command.Command == nil:
		return key, Unknown, refuse(CodeMalformed, "there is no command", nil)
	case command.Network != c.Network || command.Ledger != c.Ledger:
		return key, Unknown, refuse(CodeMalformed, "the command is for another ledger", nil)
	}
	key, status = c.find(command.Signer)
	if status == Unknown || status == Revoked {
		return key, status, barred(status)
	}
	return key, status, nil
}

// Apply checks a command about a custody under the charter at ledger time nowMS (milliseconds since 1970)
// and writes its effect. The caller has authenticated it, and has returned every custody whose
// expiry has come (Expire) before. The error is nil, a refusal with a code of this package,
// ErrRepeated with the custody that stands, or an error of the book.
func (c *Charter) Apply(book Book, nowMS int64, command *SignedCommand) (Custody, error) {
	_, status, err := c.signer(command)
	if err != nil {
		return Custody{}, err
	}
	switch body := command.Command.(type) {
	case *Prepare:
		return c.prepare(book, nowMS, command.Signer, status, body)
	case *Confirm:
		return confirm(book, nowMS, command.Signer, status, body)
	case *Return:
		return giveBack(book, nowMS, command.Signer, status, body)
	case *Leave, *Enter:
	}
	return Custody{}, refuse(CodeMalformed, "the command is about no custody", nil)
}

// Expire returns the custody if it is prepared and its expiry has come at nowMS; changed
// tells whether it did.
func Expire(book Book, nowMS int64, id CustodyID) (custody Custody, changed bool, err error) {
	custody, ok, err := book.Custody(id)
	if err != nil {
		return Custody{}, false, err
	}
	if !ok || custody.State != Prepared || !custody.Expired(nowMS) {
		return custody, false, nil
	}
	custody.State = Returned
	return custody, true, book.Write(custody)
}

func (c *Charter) prepare(
	book Book, nowMS int64, signer cypherlink.ParticipantID, status Status, p *Prepare,
) (Custody, error) {
	leg := p.Subject.Fields
	want := Custody{ID: CustodyID(p.About(c.Network)), Subject: p.Subject, Packet: p.Packet, State: Prepared}
	if err := c.wellFormed(p); err != nil {
		return Custody{}, err
	}
	if signer != leg.Debit.Owner {
		return Custody{}, refuse(CodeNotAllowed, "only the owner of the debit account may prepare", nil)
	}
	// What stands comes before everything that may change with time: a repeated prepare
	// succeeds whatever the time, the policy and the balance are.
	standing, ok, err := book.Custody(want.ID)
	if err != nil {
		return Custody{}, err
	}
	if ok {
		if standing.Subject != want.Subject || !bytes.Equal(standing.Packet, want.Packet) {
			return Custody{}, refuse(CodeCustodyDiffers, "the custody exists with other content", nil)
		}
		return standing, ErrRepeated
	}
	if err := c.newBusiness(status, leg.Credit.Owner); err != nil {
		return Custody{}, err
	}
	if locked, err := book.Locked(p.Subject.Condition); err != nil {
		return Custody{}, err
	} else if locked {
		return Custody{}, refuse(CodeConditionUsed, "the condition was used on this ledger before", nil)
	}
	policy, known := c.Policies[leg.Asset]
	if !known {
		return Custody{}, refuse(CodeUnknownAsset, "this ledger does not carry the asset", nil)
	}
	if want.Expired(nowMS) || leg.Expiry-nowMS/1000 < c.MinExpiry {
		return Custody{}, refuse(CodeExpiry, "the expiry is too near", nil)
	}
	if err := policy.Check(c.Network, p.Subject, p.Verdicts, c.Keys, c.verifier(), nowMS/1000); err != nil {
		return Custody{}, refuse(CodeNotApproved, "the asset's validators have not approved this", err)
	}
	if err := covered(book, want); err != nil {
		return Custody{}, err
	}
	return want, book.Write(want)
}

// wellFormed checks what needs neither book nor keys.
func (c *Charter) wellFormed(p *Prepare) error {
	leg := p.Subject.Fields
	switch {
	case leg.Amount <= 0:
		return refuse(CodeMalformed, "the amount is not positive", nil)
	case leg.Expiry <= 0 || leg.Expiry > terms.MaxExpiry:
		return refuse(CodeMalformed, "the expiry is not a time", nil)
	case leg.Debit == leg.Credit:
		return refuse(CodeMalformed, "debit and credit account are the same", nil)
	case leg.Debit.Number == EscrowNumber || leg.Credit.Number == EscrowNumber:
		return refuse(CodeNotAllowed, "what is in escrow moves over the ramp alone", nil)
	case !c.Channels && (leg.Debit.Number == ChannelNumber || leg.Credit.Number == ChannelNumber):
		return refuse(CodeNotAllowed, "what is in a channel moves in a lane alone", nil)
	case p.Subject.Condition == cypherlink.Condition{}:
		return refuse(CodeMalformed, "the condition is missing", nil)
	case len(p.Packet) > MaxPacket:
		return refuse(CodeMalformed, "the packet is too large", nil)
	}
	return nil
}

// covered checks both accounts: the debit account covers the amount, the credit account is
// open. That the credit account can hold the amount too follows from Book's promise.
func covered(book Book, c Custody) error {
	leg := c.Leg()
	balance, ok, err := book.Balance(leg.Debit, leg.Asset)
	if err != nil {
		return err
	}
	if !ok {
		return refuse(CodeUnknownAccount, "the debit account is not open in this asset", nil)
	}
	if _, ok, err = book.Balance(leg.Credit, leg.Asset); err != nil {
		return err
	} else if !ok {
		return refuse(CodeUnknownAccount, "the credit account is not open in this asset", nil)
	}
	if balance < leg.Amount {
		return refuse(CodeFunds, "the debit account does not cover the amount",
			fmt.Errorf("balance %d, amount %d", balance, leg.Amount))
	}
	return nil
}

func confirm(
	book Book, nowMS int64, signer cypherlink.ParticipantID, status Status, body *Confirm,
) (Custody, error) {
	c, err := custodyFor(book, body.ID, signer, status)
	switch {
	case err != nil:
		return Custody{}, err
	case !c.Subject.Condition.FulfilledBy(body.Preimage):
		return Custody{}, refuse(CodePreimage, "the preimage does not fulfil the condition", nil)
	}
	// The state comes before the expiry: a repeated confirm succeeds whatever the time is.
	switch c.State {
	case Confirmed:
		return c, ErrRepeated
	case Returned:
		return Custody{}, refuse(CodeAlreadyReturned, "the custody was returned", nil)
	case Prepared, Absent:
	}
	if c.Expired(nowMS) {
		return Custody{}, refuse(CodeExpired, "the custody has expired", nil)
	}
	c.State, c.Preimage = Confirmed, body.Preimage
	return c, book.Write(c)
}

func giveBack(
	book Book, nowMS int64, signer cypherlink.ParticipantID, status Status, body *Return,
) (Custody, error) {
	c, err := custodyFor(book, body.ID, signer, status)
	if err != nil {
		return Custody{}, err
	}
	switch c.State {
	case Returned:
		return c, ErrRepeated
	case Confirmed:
		return Custody{}, refuse(CodeAlreadyPaid, "the custody was confirmed", nil)
	case Prepared, Absent:
	}
	if !c.Expired(nowMS) && signer != c.Leg().Credit.Owner {
		return Custody{}, refuse(CodeNotAllowed,
			"before the expiry only the owner of the credit account may return", nil)
	}
	c.State = Returned
	return c, book.Write(c)
}
