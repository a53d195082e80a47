package kyc

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrAnswer means that bytes are not an answer, or that an answer contradicts itself.
var ErrAnswer = errors.New("kyc: malformed answer")

// MaxAnswer bounds the canonical bytes of an answer.
const MaxAnswer = 2*(4+codeLength) + len(Salt{})

// codeLength is the length of every ISO reason and every match code.
const codeLength = 4

// ISO reasons of refusal (ExternalStatusReason; for the account those of the SEPA rulebooks).
const (
	ReasonDebtorAccount   = "RR01" // debtor's account missing
	ReasonDebtorName      = "RR02" // debtor's name or address missing
	ReasonCreditorAddress = "RR03" // creditor's address missing
	ReasonRegulatory      = "RR04" // a screening hit, and nothing more is said
	ReasonReporting       = "RR05" // purpose missing
	ReasonRemittance      = "RR07" // remittance information missing
	ReasonReference       = "RR09" // reference missing
	ReasonAccount         = "AC01" // creditor's account missing or not here
	ReasonClosed          = "AC04" // creditor's account closed
	ReasonBlocked         = "AC06" // creditor's account blocked
	ReasonOtherName       = "BE01" // the account is not the creditor's
	ReasonDebtorLEI       = "BE16" // debtor's identification missing
	ReasonCreditorLEI     = "BE17" // creditor's identification missing
	ReasonCreditorName    = "BE22" // creditor's name missing
)

// Match is what the payee's bank found on comparing the creditor's name with the holder's, in
// the codes of the EPC's Verification of Payee.
type Match string

// The matches with which a bank can accept. A name that does not match is a refusal, BE01.
const (
	FullMatch  Match = "MTCH"
	CloseMatch Match = "CMTC"
	NotChecked Match = "NOAP" // no holder in the bank's books, or no name told
)

var errMatch = errors.New("not a match code")

func (m Match) valid() error {
	switch m {
	case FullMatch, CloseMatch, NotChecked:
		return nil
	}
	return errMatch
}

// Standing is what the payee bank's own books say about an account.
type Standing uint8

// The standings.
const (
	Unknown Standing = iota // no such account here
	Open
	Closed
	Blocked
)

// Answer is what the payee's bank answers to a disclosure: it accepts, or refuses with a
// reason. The salt hides the answer in the tree.
type Answer struct {
	// Reason is an ISO reason, empty exactly if the bank accepts.
	Reason string
	// Match is set exactly if the bank accepts.
	Match Match
	Salt  Salt
}

// Valid reports ErrAnswer or ErrSalt unless the answer either refuses with a reason of four
// capitals and digits or accepts with a match, and has a salt.
func (a *Answer) Valid() error {
	if a.Salt == (Salt{}) {
		return fmt.Errorf("answer: %w", ErrSalt)
	}
	if a.Reason == "" {
		if err := a.Match.valid(); err != nil {
			return fmt.Errorf("accepted: %w: %w", ErrAnswer, err)
		}
		return nil
	}
	if a.Match != "" || len(a.Reason) != codeLength {
		return fmt.Errorf("reason %.10q, match %.10q: %w", a.Reason, string(a.Match), ErrAnswer)
	}
	for _, c := range []byte(a.Reason) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return fmt.Errorf("reason %q: %w", a.Reason, ErrAnswer)
		}
	}
	return nil
}

// Encode is the canonical form, at most MaxAnswer bytes.
func (a *Answer) Encode() []byte {
	w := wire.NewWriter(MaxAnswer)
	a.appendWire(w)
	return w.Bytes()
}

func (a *Answer) appendWire(w *wire.Writer) {
	w.Str(a.Reason)
	w.Str(string(a.Match))
	w.Fixed(a.Salt[:])
}

// DecodeAnswer takes exactly the form of Encode and checks Valid.
func DecodeAnswer(b []byte) (*Answer, error) {
	r := wire.NewReader(b)
	a := readAnswer(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return &a, nil
}

func readAnswer(r *wire.Reader) Answer {
	a := Answer{Reason: r.Str(codeLength), Match: Match(r.Str(codeLength))}
	r.Fixed(a.Salt[:])
	if r.Err() == nil {
		if err := a.Valid(); err != nil {
			r.Fail(err)
		}
	}
	return a
}
