package payment

import (
	"slices"

	"github.com/cypherlink/cypherlink/iso20022"
)

// Status is where a payment stands, as its bank knows it. Outside it is told as an ISO status
// (Status.ISO); the two are kept apart.
type Status string

// The statuses, in the order of a payment's life.
const (
	// StatusReceived: the instruction is stored with its idempotency key and its bytes.
	StatusReceived Status = "RECEIVED"
	// StatusChecked: identifiers, agents, asset and amount are right.
	StatusChecked Status = "CHECKED"
	// StatusNegotiating: the other bank and the connector are being asked.
	StatusNegotiating Status = "NEGOTIATING"
	// StatusAgreed: all parties signed the same terms.
	StatusAgreed Status = "AGREED"
	// StatusValidating: the Validators of one of the two assets have approved.
	StatusValidating Status = "VALIDATING"
	// StatusApproved: all verdicts that the two assets ask for are there; from here on nobody cancels.
	StatusApproved Status = "APPROVED"
	// StatusReserved: the bank's own custody is final.
	StatusReserved Status = "RESERVED"
	// StatusSettled: both custodies are confirmed and final; for the paid bank, its own.
	StatusSettled Status = "SETTLED"
	// StatusRejected: refused, for the reason that goes with it; nothing moved.
	StatusRejected Status = "REJECTED"
	// StatusExpired: not completed in time; what was in custody is back.
	StatusExpired Status = "EXPIRED"
)

// ISO is the status of a pacs.002.
func (s Status) ISO() iso20022.Status {
	switch s {
	case StatusReceived:
		return iso20022.Received
	case StatusChecked:
		return iso20022.AcceptedTechnical
	case StatusNegotiating, StatusValidating:
		return iso20022.Pending
	case StatusAgreed, StatusApproved:
		return iso20022.AcceptedCustomer
	case StatusReserved:
		return iso20022.AcceptedFunds
	case StatusSettled:
		return iso20022.SettlementCompleted
	case StatusRejected, StatusExpired:
		return iso20022.Rejected
	}
	return ""
}

// Final tells whether a payment never leaves the status.
func (s Status) Final() bool { return s == StatusSettled || s == StatusRejected || s == StatusExpired }

// next lists the statuses that may follow. A payment may skip what it did not hear of in
// between: a bank that was down finds its custody confirmed.
func (s Status) next() []Status {
	switch s {
	case "":
		return []Status{StatusReceived, StatusNegotiating}
	case StatusReceived:
		return []Status{StatusChecked, StatusRejected}
	case StatusChecked:
		return []Status{StatusNegotiating, StatusRejected}
	case StatusNegotiating:
		return []Status{StatusAgreed, StatusRejected, StatusExpired}
	case StatusAgreed:
		return []Status{
			StatusValidating, StatusApproved, StatusReserved, StatusSettled, StatusRejected, StatusExpired,
		}
	case StatusValidating:
		return []Status{StatusApproved, StatusRejected}
	case StatusApproved:
		return []Status{StatusReserved, StatusSettled, StatusRejected, StatusExpired}
	case StatusReserved:
		return []Status{StatusSettled, StatusRejected, StatusExpired}
	case StatusSettled, StatusRejected, StatusExpired:
	}
	return nil
}

// leadsTo tells whether to may follow s.
func (s Status) leadsTo(to Status) bool { return slices.Contains(s.next(), to) }
