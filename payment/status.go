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
	// StatusReserved: the bank's own custody is final; over a channel, the money stands aside on the
	// customer's account.
	StatusReserved Status = "RESERVED"
	// StatusSettled: both custodies are confirmed and final; for the paid bank, its own. Over a
	// channel, the update is anchored in a final block.
	StatusSettled Status = "SETTLED"
	// StatusRejected: refused, for the reason that goes with it; nothing moved.
	StatusRejected Status = "REJECTED"
	// StatusExpired: not completed in time; what was in custody or held is back.
	StatusExpired Status = "EXPIRED"
)

// The statuses that a payment has over a channel alone, in the order of its life.
const (
	// StatusSigned1: the payer's signature is durable and leaves: it cannot be cancelled any more.
	StatusSigned1 Status = "SIGNED_1"
	// StatusInDoubt: suspended and unbound: the chain decides until a deadline.
	StatusInDoubt Status = "IN_DOUBT"
	// StatusSigned2: bound: both banks are held to it, so it will settle.
	StatusSigned2 Status = "SIGNED_2"
	// StatusPosted: settled, and booked in this bank's own books.
	StatusPosted Status = "POSTED"
	// StatusCompleted: the creditor's bank has credited its customer, and the debtor's knows.
	StatusCompleted Status = "COMPLETED"
	// StatusAborted: the channel's generation ended without the update: it never was paid, and the
	// customer has the money back. The only end but settlement after SIGNED_1.
	StatusAborted Status = "ABORTED"
	// StatusReturnPending: settled, but the creditor's account did not take it: a payment of its own
	// brings it back.
	StatusReturnPending Status = "RETURN_PENDING"
	// StatusReturned: it is back.
	StatusReturned Status = "RETURNED"
)

// ISO is the status of a pacs.002.
func (s Status) ISO() iso20022.Status {
	switch s {
	case StatusReceived:
		return iso20022.Received
	case StatusChecked:
		return iso20022.AcceptedTechnical
	case StatusNegotiating, StatusValidating, StatusInDoubt:
		return iso20022.Pending
	case StatusAgreed, StatusApproved:
		return iso20022.AcceptedCustomer
	case StatusReserved:
		return iso20022.AcceptedFunds
	case StatusSigned1, StatusSigned2, StatusReturnPending:
		return iso20022.AcceptedSettling
	case StatusSettled, StatusPosted:
		return iso20022.SettlementCompleted
	case StatusCompleted, StatusReturned:
		return iso20022.CreditorCompleted
	case StatusRejected, StatusExpired, StatusAborted:
		return iso20022.Rejected
	}
	return ""
}

// Final tells whether the outcome of a payment stands. What may follow, over a channel, is how the
// banks book it, and that what nobody expected any more goes back.
func (s Status) Final() bool {
	switch s {
	case StatusSettled, StatusRejected, StatusExpired, StatusPosted, StatusCompleted, StatusAborted,
		StatusReturnPending, StatusReturned:
		return true
	case StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusValidating, StatusApproved,
		StatusReserved, StatusSigned1, StatusInDoubt, StatusSigned2:
	}
	return false
}

// next lists the statuses that may follow. A payment may skip what it did not hear of in
// between: a bank that was down finds its custody confirmed, or its update anchored.
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
			StatusSigned2, StatusAborted,
		}
	case StatusValidating:
		return []Status{StatusApproved, StatusRejected}
	case StatusApproved:
		return []Status{StatusReserved, StatusSettled, StatusRejected, StatusExpired}
	case StatusReserved:
		return []Status{StatusSettled, StatusRejected, StatusExpired, StatusSigned1}
	case StatusSigned1, StatusInDoubt:
		return []Status{StatusInDoubt, StatusSigned2, StatusSettled, StatusAborted}
	case StatusSigned2:
		return []Status{StatusSettled, StatusAborted}
	case StatusSettled:
		return []Status{StatusPosted, StatusReturnPending}
	case StatusPosted:
		return []Status{StatusCompleted, StatusReturnPending}
	case StatusExpired, StatusAborted: // what was given up, or void, arrives all the same, and goes back
		return []Status{StatusReturnPending}
	case StatusReturnPending: // a return that its debtor's account does not take stays with the bank
		return []Status{StatusReturned, StatusCompleted}
	case StatusRejected, StatusCompleted, StatusReturned:
	}
	return nil
}

// leadsTo tells whether to may follow s.
func (s Status) leadsTo(to Status) bool { return slices.Contains(s.next(), to) }
