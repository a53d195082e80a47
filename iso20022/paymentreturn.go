package iso20022

import (
	"time"

	"github.com/cypherlink/cypherlink"
)

// PaymentReturn is a pacs.004: a bank gives back what an earlier message paid it, by a payment of its
// own. It holds exactly one transaction. A field that the message leaves out is zero; what stands in
// the group header for all transactions is filled in here. No version has a UETR of the return: it
// travels under the original's, and ReturnID tells it from another return.
type PaymentReturn struct {
	MessageID string    // MsgId, at most 35 characters
	Created   time.Time // CreDtTm
	// ControlSum is CtrlSum, a decimal, or empty; Total is TtlRtrdIntrBkSttlmAmt.
	ControlSum string
	Total      Money
	// SettlementMethod is SttlmMtd: INDA, INGA, COVE or CLRG.
	SettlementMethod string

	ReturnID string // RtrId, at most 35 characters
	// Original is the message that paid, where it is told.
	Original              OriginalMessage
	OriginalInstructionID string
	OriginalEndToEndID    string
	OriginalTransactionID string
	OriginalUETR          cypherlink.UETR
	// OriginalSettlement is OrgnlIntrBkSttlmAmt, and OriginalSettlementDate its date.
	OriginalSettlement     Money
	OriginalSettlementDate string

	// Returned is RtrdIntrBkSttlmAmt: what moves between the banks.
	Returned       Money
	SettlementDate string // IntrBkSttlmDt, YYYY-MM-DD
	// Instructed is RtrdInstdAmt, what was to be given back before charges.
	Instructed Money
	// ChargeBearer is ChrgBr: DEBT, CRED, SHAR or SLEV.
	ChargeBearer string

	// Instructing agent is the bank that gives back, instructed agent the one that gets it.
	InstructingAgent, InstructedAgent Agent
	// Debtor and Creditor are those of the return chain: the original's creditor and debtor. A bank
	// that is one has its BIC, LEI and name here, and is sent as an organisation.
	Debtor, Creditor Party
	Reasons          []ReturnReason
}

// ReturnReason is one RtrRsnInf.
type ReturnReason struct {
	// Code is of ExternalReturnReason, such as "AC04"; or empty, and Proprietary is given.
	Code, Proprietary string
	// Info is AddtlInf: lines of at most 105 characters.
	Info []string
}

// parsePaymentReturn reads a validated PmtRtr.
func parsePaymentReturn(e *element) (*PaymentReturn, error) {
	group, tx := e.at("GrpHdr"), e.all("TxInf")
	if len(tx) == 0 {
		return nil, fault(CodeTransactions, "AM18", e.path()+"/TxInf",
			"a return of a whole message is not read; send one a transaction")
	}
	if err := checkTransactions(group, tx); err != nil {
		return nil, err
	}
	var d decoder
	t := tx[0]
	either := func(name string) *element {
		if own := t.at(name); own != nil {
			return own
		}
		return group.at(name)
	}
	r := &PaymentReturn{
		MessageID: group.textAt("MsgId"), Created: group.at("CreDtTm").time(),
		ControlSum: group.textAt("CtrlSum"), Total: d.money(group.at("TtlRtrdIntrBkSttlmAmt")),
		SettlementMethod: group.textAt("SttlmInf", "SttlmMtd"),
		ReturnID:         t.textAt("RtrId"), Original: originalMessage(t.at("OrgnlGrpInf")),
		OriginalInstructionID: t.textAt("OrgnlInstrId"), OriginalEndToEndID: t.textAt("OrgnlEndToEndId"),
		OriginalTransactionID: t.textAt("OrgnlTxId"), OriginalUETR: d.uetr(t.at("OrgnlUETR")),
		OriginalSettlement:     d.money(t.at("OrgnlIntrBkSttlmAmt")),
		OriginalSettlementDate: t.textAt("OrgnlIntrBkSttlmDt"),
		Returned:               d.money(t.at("RtrdIntrBkSttlmAmt")),
		Instructed:             d.money(t.at("RtrdInstdAmt")),
		ChargeBearer:           t.textAt("ChrgBr"),
		InstructingAgent:       d.agent(either("InstgAgt")), InstructedAgent: d.agent(either("InstdAgt")),
		Debtor: d.chainParty(t.at("RtrChain", "Dbtr")), Creditor: d.chainParty(t.at("RtrChain", "Cdtr")),
	}
	if r.Original == (OriginalMessage{}) {
		r.Original = originalMessage(e.at("OrgnlGrpInf"))
	}
	if on := either("IntrBkSttlmDt"); on != nil {
		r.SettlementDate = on.text
	}
	for _, reason := range reasonsOf(t, "RtrRsnInf") {
		r.Reasons = append(r.Reasons, ReturnReason(reason))
	}
	return r, d.err
}

// chainParty reads a party or an agent of a return chain.
func (d *decoder) chainParty(e *element) Party {
	if bank := e.at("Agt"); bank != nil {
		a := d.agent(bank)
		return Party{Name: a.Name, LEI: a.LEI, BIC: a.BIC}
	}
	return d.party(e.at("Pty"))
}

// Encode is r as pacs.004.001.09: a bare Document, or an Envelope with header, whose Definition is
// set. What Parse and CheckUsage would refuse is not sent: then their error.
func (r *PaymentReturn) Encode(header *Header) ([]byte, error) {
	return encode(header, paymentReturnDefinition, r.write)
}

func (r *PaymentReturn) write(w *writer) {
	w.start("PmtRtr", "")
	w.start("GrpHdr", "")
	w.value("MsgId", r.MessageID)
	w.time("CreDtTm", r.Created)
	w.value("NbOfTxs", "1")
	w.value("CtrlSum", r.ControlSum)
	w.money("TtlRtrdIntrBkSttlmAmt", r.Total)
	w.start("SttlmInf", "")
	w.value("SttlmMtd", r.SettlementMethod)
	w.end("SttlmInf")
	w.end("GrpHdr")
	w.start("TxInf", "")
	w.value("RtrId", r.ReturnID)
	if r.Original != (OriginalMessage{}) {
		w.start("OrgnlGrpInf", "")
		w.original(r.Original)
		w.end("OrgnlGrpInf")
	}
	w.value("OrgnlInstrId", r.OriginalInstructionID)
	w.value("OrgnlEndToEndId", r.OriginalEndToEndID)
	w.value("OrgnlTxId", r.OriginalTransactionID)
	w.value("OrgnlUETR", r.OriginalUETR.String())
	w.money("OrgnlIntrBkSttlmAmt", r.OriginalSettlement)
	w.value("OrgnlIntrBkSttlmDt", r.OriginalSettlementDate)
	w.money("RtrdIntrBkSttlmAmt", r.Returned)
	w.value("IntrBkSttlmDt", r.SettlementDate)
	w.money("RtrdInstdAmt", r.Instructed)
	w.value("ChrgBr", r.ChargeBearer)
	w.agent("InstgAgt", r.InstructingAgent)
	w.agent("InstdAgt", r.InstructedAgent)
	w.start("RtrChain", "")
	w.chainParty("Dbtr", r.Debtor)
	w.chainParty("Cdtr", r.Creditor)
	w.end("RtrChain")
	for _, reason := range r.Reasons {
		w.reason("RtrRsnInf", StatusReason(reason))
	}
	w.end("TxInf")
	w.end("PmtRtr")
}

// chainParty writes a party of a return chain that has at least one field.
func (w *writer) chainParty(name string, p Party) {
	if p.IsZero() {
		return
	}
	w.start(name, "")
	w.start("Pty", "")
	w.value("Nm", p.Name)
	if p.Country != "" || p.Town != "" {
		w.start("PstlAdr", "")
		w.value("TwnNm", p.Town)
		w.value("Ctry", p.Country)
		w.end("PstlAdr")
	}
	if !p.BIC.IsZero() || !p.LEI.IsZero() {
		w.start("Id", "")
		w.start("OrgId", "")
		w.value("AnyBIC", p.BIC.String())
		w.value("LEI", p.LEI.String())
		w.end("OrgId")
		w.end("Id")
	}
	w.end("Pty")
	w.end(name)
}

// NewReturnReason is the reason that tells why a payment is given back, as NewStatusReason is that of
// a refusal: NARR for a code that is not of ExternalReturnReason.
func NewReturnReason(e *cypherlink.Error) ReturnReason {
	return ReturnReason(newReason(e, KnownReturnReason))
}

// KnownReturnReason tells whether code is in the external code set of return reasons
// (ExternalReturnReason, edition of May 2025), such as "AC04".
func KnownReturnReason(code string) bool { return listed(returnReasons, code) }
