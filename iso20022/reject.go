package iso20022

import "time"

// MessageReject is an admi.002: a message was refused as a whole, before anything in it was
// acted on.
type MessageReject struct {
	// Reference is the id of the refused message, or "NOTPROVIDED" where none could be read:
	// at most 35 characters.
	Reference string
	// Reason is the rejecting party's reason code, at most 35 characters.
	Reason   string
	Rejected time.Time // RjctnDtTm
	// Location is where the fault is, and Description what it is: at most 350 characters each.
	Location, Description string
}

// parseMessageReject reads a validated admi.002.001.01.
func parseMessageReject(e *element) *MessageReject {
	reason := e.at("Rsn")
	return &MessageReject{
		Reference: e.textAt("RltdRef", "Ref"), Reason: reason.textAt("RjctgPtyRsn"),
		Rejected: reason.at("RjctnDtTm").time(), Location: reason.textAt("ErrLctn"),
		Description: reason.textAt("RsnDesc"),
	}
}
