package books

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
)

// The codes with which the books refuse, beside payment.CodeOver (TM01) for a hold that comes after
// its release and a posting that comes after its refusal.
const (
	CodeFunds   cypherlink.Code = "funds_insufficient" // AM04
	CodeAccount cypherlink.Code = "account_unknown"    // AC01
	CodeClosed  cypherlink.Code = "account_closed"     // AC04
	CodeBlocked cypherlink.Code = "account_blocked"    // AC06
)

var (
	// ErrContradiction means that a call does not fit what is booked: other money, another customer or
	// channel, or a step that cannot follow. Nothing was changed.
	ErrContradiction = errors.New("books: it contradicts what is booked")
	// ErrPosting means that a posting is malformed.
	ErrPosting = errors.New("books: malformed posting")
	// ErrAccounts means that the accounts with which the books are opened are malformed.
	ErrAccounts = errors.New("books: wrong accounts")
	// ErrBooks means that the books contradict themselves: the process must stop.
	ErrBooks = errors.New("books: the books do not hold together")

	errShort      = fmt.Errorf("an account would fall below nothing: %w", ErrBooks)
	errTwoNumbers = errors.New("two numbers for one account")
)

const (
	reasonFunds = "AM04"
	reasonOver  = "TM01"
)

// refusal is what is told for a reason that is kept.
func refusal(reason string) *cypherlink.Error {
	e := &cypherlink.Error{Reason: reason}
	switch reason {
	case reasonFunds:
		e.Code, e.Message = CodeFunds, "the account does not have that much"
	case kyc.ReasonAccount:
		e.Code, e.Message = CodeAccount, "the bank keeps no such account"
	case kyc.ReasonClosed:
		e.Code, e.Message = CodeClosed, "the account is closed"
	case kyc.ReasonBlocked:
		e.Code, e.Message = CodeBlocked, "the account is blocked"
	default:
		e.Code, e.Message = payment.CodeOver, "the payment has ended"
	}
	return e
}

// bar is the reason for which an account of that standing takes no posting, empty if it does.
func bar(s kyc.Standing) string {
	switch s {
	case kyc.Open:
		return ""
	case kyc.Closed:
		return kyc.ReasonClosed
	case kyc.Blocked:
		return kyc.ReasonBlocked
	case kyc.Unknown:
	}
	return kyc.ReasonAccount
}
