package iso20022

import (
	"time"

	"github.com/cypherlink/cypherlink"
)

// StatusReport is a pacs.002: what became of transactions that another message ordered. A
// field that the message leaves out is zero.
type StatusReport struct {
	MessageID string    // MsgId, at most 35 characters
	Created   time.Time // CreDtTm
	// Group is the state of the original message as a whole, where it is told.
	Group        GroupStatus
	Transactions []TransactionStatus
}

// GroupStatus is OrgnlGrpInfAndSts of a StatusReport.
type GroupStatus struct {
	Original OriginalMessage
	Status   Status // GrpSts
	Reasons  []StatusReason
}

// OriginalMessage names the message that is answered.
type OriginalMessage struct {
	MessageID  string // OrgnlMsgId
	Definition string // OrgnlMsgNmId, such as "pacs.008.001.08"
	Created    time.Time
}

// TransactionStatus is one TxInfAndSts.
type TransactionStatus struct {
	StatusID              string // StsId
	Original              OriginalMessage
	OriginalInstructionID string
	OriginalEndToEndID    string
	OriginalTransactionID string
	OriginalUETR          cypherlink.UETR
	Status                Status
	Reasons               []StatusReason
	// Accepted is AccptncDtTm: when the payment met the conditions for settlement.
	Accepted time.Time
	// Instructing and Instructed agent are those of the report: the bank that sends it and
	// the bank that it is for.
	InstructingAgent, InstructedAgent Agent
}

// StatusReason is one StsRsnInf.
type StatusReason struct {
	// Code is of ExternalStatusReason, such as "AM04"; or empty, and Proprietary is given.
	Code, Proprietary string
	// Info is AddtlInf: lines of at most 105 characters.
	Info []string
}

// parseStatusReport reads a validated FIToFIPmtStsRpt.
func parseStatusReport(e *element) (*StatusReport, error) {
	var d decoder
	group := e.at("GrpHdr")
	r := &StatusReport{MessageID: group.textAt("MsgId"), Created: group.at("CreDtTm").time()}
	if original := e.at("OrgnlGrpInfAndSts"); original != nil {
		r.Group = GroupStatus{
			Original: originalMessage(original), Status: Status(original.textAt("GrpSts")),
			Reasons: reasonsOf(original, "StsRsnInf"),
		}
	}
	for _, t := range e.all("TxInfAndSts") {
		either := func(name string) *element {
			if own := t.at(name); own != nil {
				return own
			}
			return group.at(name)
		}
		r.Transactions = append(r.Transactions, TransactionStatus{
			StatusID: t.textAt("StsId"), Original: originalMessage(t.at("OrgnlGrpInf")),
			OriginalInstructionID: t.textAt("OrgnlInstrId"), OriginalEndToEndID: t.textAt("OrgnlEndToEndId"),
			OriginalTransactionID: t.textAt("OrgnlTxId"), OriginalUETR: d.uetr(t.at("OrgnlUETR")),
			Status: Status(t.textAt("TxSts")), Reasons: reasonsOf(t, "StsRsnInf"),
			Accepted:         t.at("AccptncDtTm").time(),
			InstructingAgent: d.agent(either("InstgAgt")), InstructedAgent: d.agent(either("InstdAgt")),
		})
	}
	return r, d.err
}

func originalMessage(e *element) OriginalMessage {
	return OriginalMessage{
		MessageID: e.textAt("OrgnlMsgId"), Definition: e.textAt("OrgnlMsgNmId"),
		Created: e.at("OrgnlCreDtTm").time(),
	}
}

// reasonsOf reads the reasons in the children of that name.
func reasonsOf(e *element, name string) []StatusReason {
	var reasons []StatusReason
	for _, info := range e.all(name) {
		r := StatusReason{Code: info.textAt("Rsn", "Cd"), Proprietary: info.textAt("Rsn", "Prtry")}
		for _, line := range info.all("AddtlInf") {
			r.Info = append(r.Info, line.text)
		}
		reasons = append(reasons, r)
	}
	return reasons
}
