package iso20022

import "strings"

// Status is the status of a transaction (ExternalPaymentTransactionStatus, up to 4 characters).
type Status string

// The statuses that this gateway sends (banking reference, 2.2).
const (
	Received            Status = "RCVD" // the instruction is stored
	AcceptedTechnical   Status = "ACTC" // syntax and rules are checked
	Pending             Status = "PDNG" // further checks follow
	AcceptedCustomer    Status = "ACCP" // the customer profile is checked
	AcceptedFunds       Status = "ACFC" // the funds are checked and held
	AcceptedSettling    Status = "ACSP" // settlement is under way
	SettlementCompleted Status = "ACSC" // settled between the banks
	CreditorCompleted   Status = "ACCC" // the creditor is credited
	Rejected            Status = "RJCT" // refused; a reason says why
	Cancelled           Status = "CANC" // cancelled before settlement
	Blocked             Status = "BLCK" // settled, credit stopped by order
)

// Known tells whether s is in the external code set of transaction statuses.
func (s Status) Known() bool {
	const all = "ACCC ACCP ACFC ACFW ACIS ACPD ACSC ACSP ACTC ACWC ACWP BLCK CANC CPUC PATC PDNG PRES " +
		"RCVC RCVD RJCT RVCM RVMC RVNA RVNC RVNM"
	return listed(all, string(s))
}

// KnownReason tells whether code is in the external code set of status reasons
// (ExternalStatusReason, edition of May 2025), such as "AC03".
func KnownReason(code string) bool { return listed(statusReasons, code) }

// listed tells whether a code set, of codes of four characters between spaces, has the code.
func listed(set, code string) bool {
	return len(code) == 4 && !strings.Contains(code, " ") && strings.Contains(set, code)
}
