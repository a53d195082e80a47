package iso20022

import (
	"strconv"
	"time"

	"github.com/cypherlink/cypherlink"
)

// CreditTransfer is a pacs.008: one bank tells another to pay a customer. It holds exactly one
// transaction. A field that the message leaves out is zero; what stands in the group header
// for all transactions is filled in here.
type CreditTransfer struct {
	MessageID string    // MsgId, at most 35 characters
	Created   time.Time // CreDtTm
	// ControlSum is CtrlSum, a decimal, or empty; Total is TtlIntrBkSttlmAmt.
	ControlSum string
	Total      Money
	// SettlementMethod is SttlmMtd: INDA, INGA, COVE or CLRG.
	SettlementMethod string

	InstructionID string // InstrId
	EndToEndID    string
	TransactionID string // TxId
	UETR          cypherlink.UETR

	// Settlement is IntrBkSttlmAmt: what moves between the banks.
	Settlement     Money
	SettlementDate string // IntrBkSttlmDt, YYYY-MM-DD
	// Instructed is InstdAmt, what the customer ordered, if it differs.
	Instructed Money
	// ChargeBearer is ChrgBr: DEBT, CRED, SHAR or SLEV.
	ChargeBearer string

	InstructingAgent, InstructedAgent Agent
	IntermediaryAgents                []Agent // in order, at most three
	DebtorAgent, CreditorAgent        Agent
	Debtor, Creditor                  Party
	UltimateDebtor, UltimateCreditor  Party
	DebtorAccount, CreditorAccount    Account

	// Purpose and CategoryPurpose are codes or proprietary text.
	Purpose, CategoryPurpose string
	// Remittance is RmtInf/Ustrd. Structured remittance is in the raw bytes alone.
	Remittance []string
}

// parseCreditTransfer reads a validated FIToFICstmrCdtTrf.
func parseCreditTransfer(e *element) (*CreditTransfer, error) {
	group, tx := e.at("GrpHdr"), e.all("CdtTrfTxInf")
	if err := checkTransactions(group, tx); err != nil {
		return nil, err
	}
	var d decoder
	t, id := tx[0], tx[0].at("PmtId")
	either := func(name string) *element {
		if own := t.at(name); own != nil {
			return own
		}
		return group.at(name)
	}
	c := &CreditTransfer{
		MessageID: group.textAt("MsgId"), Created: group.at("CreDtTm").time(),
		ControlSum: group.textAt("CtrlSum"), Total: d.money(group.at("TtlIntrBkSttlmAmt")),
		SettlementMethod: group.textAt("SttlmInf", "SttlmMtd"),
		InstructionID:    id.textAt("InstrId"), EndToEndID: id.textAt("EndToEndId"),
		TransactionID: id.textAt("TxId"), UETR: d.uetr(id.at("UETR")),
		Settlement: d.money(t.at("IntrBkSttlmAmt")), Instructed: d.money(t.at("InstdAmt")),
		ChargeBearer:     t.textAt("ChrgBr"),
		InstructingAgent: d.agent(either("InstgAgt")), InstructedAgent: d.agent(either("InstdAgt")),
		DebtorAgent: d.agent(t.at("DbtrAgt")), CreditorAgent: d.agent(t.at("CdtrAgt")),
		Debtor: d.party(t.at("Dbtr")), Creditor: d.party(t.at("Cdtr")),
		UltimateDebtor: d.party(t.at("UltmtDbtr")), UltimateCreditor: d.party(t.at("UltmtCdtr")),
		DebtorAccount: d.account(t.at("DbtrAcct")), CreditorAccount: d.account(t.at("CdtrAcct")),
		Purpose: t.choice("Purp"), CategoryPurpose: t.at("PmtTpInf").choice("CtgyPurp"),
	}
	if on := either("IntrBkSttlmDt"); on != nil {
		c.SettlementDate = on.text
	}
	if c.CategoryPurpose == "" {
		c.CategoryPurpose = group.at("PmtTpInf").choice("CtgyPurp")
	}
	for _, name := range []string{"IntrmyAgt1", "IntrmyAgt2", "IntrmyAgt3"} {
		if agent := t.at(name); agent != nil {
			c.IntermediaryAgents = append(c.IntermediaryAgents, d.agent(agent))
		}
	}
	for _, line := range t.at("RmtInf").all("Ustrd") {
		c.Remittance = append(c.Remittance, line.text)
	}
	return c, d.err
}

// checkTransactions compares the group header's count with the transactions, of which there
// has to be one.
func checkTransactions(group *element, tx []*element) error {
	count := group.at("NbOfTxs")
	if n, err := strconv.ParseUint(count.text, 10, 64); err != nil || n != uint64(len(tx)) {
		return count.faultAt(CodeTransactions, "the message holds %d transactions, not as many", len(tx))
	}
	if len(tx) != 1 {
		return fault(CodeTransactions, "AM18", tx[1].path(),
			"the message holds %d transactions; send one a message", len(tx))
	}
	return nil
}
