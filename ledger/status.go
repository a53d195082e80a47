package ledger

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
)

// Status is what the scheme lets a participant do on its ledgers.
type Status uint8

// The statuses.
const (
	// Unknown is not registered: nothing.
	Unknown Status = 0
	// Active is everything.
	Active Status = 1
	// Suspended is to end the custodies that the participant is a party to, to bring in what of its
	// own has left another ledger, and nothing new.
	Suspended Status = 2
	// Revoked is nothing, for ever.
	Revoked Status = 3
	// NotValid is outside the time that the participant is registered for: as Suspended.
	NotValid Status = 4
)

// String is a word for people.
func (s Status) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Active:
		return "active"
	case Suspended:
		return "suspended"
	case Revoked:
		return "revoked"
	case NotValid:
		return "not valid"
	default:
		return fmt.Sprint("status ", uint8(s))
	}
}

// Signers finds who may sign commands, and what for.
type Signers interface {
	// Signer is the key by which the participant signs now, and its status.
	Signer(id cypherlink.ParticipantID) (key [32]byte, status Status)
}

func (c *Charter) find(id cypherlink.ParticipantID) (key [32]byte, status Status) {
	if c.Signers != nil {
		return c.Signers.Signer(id)
	}
	key, ok := c.Keys.Key(id)
	if !ok {
		return key, Unknown
	}
	return key, Active
}

// newBusiness refuses a custody to be, unless both sides of it may take on something new. A
// credit account of nobody in particular is for the book to judge.
func (c *Charter) newBusiness(payer Status, payee cypherlink.ParticipantID) error {
	if payer != Active {
		return barred(payer)
	}
	if _, status := c.find(payee); status != Active && status != Unknown {
		return refuse(CodePayeeBarred, "the credit account's owner may take on nothing new", barred(status))
	}
	return nil
}

// custodyFor is the custody that the signer wants to end. Whoever is not active ends only what
// it is a party to: it must be able to keep what it has promised, and collect what it was.
func custodyFor(book Book, id CustodyID, signer cypherlink.ParticipantID, status Status) (Custody, error) {
	c, ok, err := book.Custody(id)
	switch {
	case err != nil:
		return Custody{}, err
	case !ok:
		return Custody{}, refuse(CodeUnknownCustody, "there is no such custody", nil)
	case status != Active && signer != c.Leg().Debit.Owner && signer != c.Leg().Credit.Owner:
		return Custody{}, barred(status)
	}
	return c, nil
}

// barred is the refusal of whoever is not active.
func barred(s Status) error {
	switch s {
	case Suspended:
		return refuse(CodeSuspended,
			"the signer is suspended: it may end custodies that it is a party to, and nothing else", nil)
	case NotValid:
		return refuse(CodeNotValid, "the signer's registration does not cover this time", nil)
	case Revoked:
		return refuse(CodeRevoked, "the signer's registration is revoked", nil)
	case Unknown, Active:
	}
	return refuse(CodeUnknownSigner, "the signer is not registered here", nil)
}
