package kyc

import (
	"errors"
	"fmt"
)

// ErrRequirements means that a bank's requirements contradict themselves.
var ErrRequirements = errors.New("kyc: unusable requirements")

// Requirements is what one bank asks of a disclosure. Each of the two banks has its own.
type Requirements struct {
	// Needed are the fields of a disclosure that may not be empty, in the order in which a
	// missing one is named.
	Needed []Field
	// List is what both parties' names are screened against.
	List *List
	// Hit is the score, per mille, from which a name is on the list. Full and Close are the
	// scores from which the creditor's name is the holder's, or nearly.
	Hit, Full, Close int
}

// Valid reports ErrRequirements unless there is a list, the needed fields are a disclosure's,
// and the scores are above 0 and at most MaxScore, Close at most Full.
func (q *Requirements) Valid() error {
	for _, f := range q.Needed {
		if int(f) >= disclosed {
			return fmt.Errorf("%s is no field of a disclosure: %w", f, ErrRequirements)
		}
	}
	switch {
	case q.List == nil:
		return fmt.Errorf("no list: %w", ErrRequirements)
	case q.Hit <= 0 || q.Hit > MaxScore, q.Close <= 0 || q.Close > q.Full || q.Full > MaxScore:
		return fmt.Errorf("scores %d, %d, %d: %w", q.Hit, q.Full, q.Close, ErrRequirements)
	}
	return nil
}

// Examine is what either bank checks before it goes on: the needed fields, then both names
// against the list. The result is an ISO reason, or empty if nothing stands against the
// payment.
func (q *Requirements) Examine(d *Disclosure) (reason string) {
	texts := d.texts()
	for _, f := range q.Needed {
		if texts[f] == "" {
			return missing(f)
		}
	}
	for _, name := range []string{d.Debtor.Name, d.Creditor.Name} {
		if name != "" && q.List.Score(name) >= q.Hit {
			return ReasonRegulatory
		}
	}
	return ""
}

// Answer is the payee bank's answer: the account first, then what Examine finds, then the
// creditor's name. The bank's books say how the account stands and who holds it, holder being
// empty where they name nobody; salt is 32 fresh random bytes.
func (q *Requirements) Answer(d *Disclosure, standing Standing, holder string, salt Salt) Answer {
	reason := standing.refusal()
	if reason == "" {
		reason = q.Examine(d)
	}
	match := NotChecked
	if name := d.Creditor.Name; reason == "" && name != "" && holder != "" {
		switch score := Similarity(name, holder); {
		case score >= q.Full:
			match = FullMatch
		case score >= q.Close:
			match = CloseMatch
		default:
			reason = ReasonOtherName
		}
	}
	if reason != "" {
		return Answer{Reason: reason, Salt: salt}
	}
	return Answer{Match: match, Salt: salt}
}

func (s Standing) refusal() string {
	switch s {
	case Open:
		return ""
	case Closed:
		return ReasonClosed
	case Blocked:
		return ReasonBlocked
	case Unknown:
	}
	return ReasonAccount
}

// missing is the reason for a field that should not be empty.
func missing(f Field) string {
	switch f {
	case DebtorAccount:
		return ReasonDebtorAccount
	case DebtorName, DebtorCountry, DebtorTown:
		return ReasonDebtorName
	case DebtorLEI:
		return ReasonDebtorLEI
	case CreditorName:
		return ReasonCreditorName
	case CreditorAccount:
		return ReasonAccount
	case CreditorCountry, CreditorTown:
		return ReasonCreditorAddress
	case CreditorLEI:
		return ReasonCreditorLEI
	case Remittance:
		return ReasonRemittance
	case Reference:
		return ReasonReference
	case Purpose, PayeeMatch:
	}
	return ReasonReporting
}
