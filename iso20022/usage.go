package iso20022

import (
	"fmt"
	"strings"

	"github.com/cypherlink/cypherlink"
)

// places are the paths of header and message in the document that Parse read, for the
// pointers of CheckUsage.
type places struct{ header, body string }

// CheckUsage reports what this gateway asks of a message beyond its base schema. Of a credit
// transfer: that it can be carried (UETR, the four agents' BICs, names, accounts, date, an
// amount and sums that confirm it), and that the header speaks for the same two agents and for
// the release in force. Of a status report: codes of the external code sets, and a reason for
// every rejection. Of a return: that it says what it gives back (its id and the original's UETR),
// between whom, when and why, and no more than was paid. A refusal is a *cypherlink.Error.
func (m *Message) CheckUsage() error {
	switch d := m.Document.(type) {
	case *CreditTransfer:
		if err := m.checkHeader(d.InstructingAgent, d.InstructedAgent); err != nil {
			return err
		}
		return m.checkTransfer(d)
	case *PaymentReturn:
		if err := m.checkHeader(d.InstructingAgent, d.InstructedAgent); err != nil {
			return err
		}
		return m.checkReturn(d)
	case *StatusReport:
		return m.checkReport(d)
	case *MessageReject:
	}
	return nil
}

// checkHeader compares the header with the agents of a transfer or return (CBPR+ R2, R3).
func (m *Message) checkHeader(instructing, instructed Agent) error {
	h := m.Header
	if h == nil {
		return nil
	}
	for _, side := range []struct {
		name     string
		in, body cypherlink.BIC
	}{
		{"Fr", h.From.BIC, instructing.BIC},
		{"To", h.To.BIC, instructed.BIC},
	} {
		if !side.in.IsZero() && !side.body.IsZero() && side.in != side.body {
			return fault(CodeHeader, "AGNT", m.at.header+"/"+side.name,
				"the header names %s, the Document %s", side.in, side.body)
		}
	}
	// CBPR+ R8: the service carries the release, and one release is in force.
	if strings.HasPrefix(h.Service, "swift.cbprplus.") && !strings.HasSuffix(h.Service, ".03") {
		return fault(CodeService, reasonNarrative, m.at.header+"/BizSvc",
			"the release of CBPR+ in force is swift.cbprplus.03")
	}
	return nil
}

func (m *Message) checkTransfer(c *CreditTransfer) error {
	err := m.checkNeeds("CdtTrfTxInf", []need{
		{!c.UETR.IsZero(), reasonMissing, "PmtId/UETR"},
		{c.SettlementDate != "", "DT01", "IntrBkSttlmDt"},
		{!c.InstructingAgent.BIC.IsZero(), "AGNT", "InstgAgt/FinInstnId/BICFI"},
		{!c.InstructedAgent.BIC.IsZero(), "AGNT", "InstdAgt/FinInstnId/BICFI"},
		{c.Debtor.Name != "", "BE08", "Dbtr/Nm"},
		{!c.DebtorAccount.IsZero(), "AC02", "DbtrAcct/Id"},
		{!c.DebtorAgent.BIC.IsZero(), "RC03", "DbtrAgt/FinInstnId/BICFI"},
		{!c.CreditorAgent.BIC.IsZero(), "RC04", "CdtrAgt/FinInstnId/BICFI"},
		{c.Creditor.Name != "", "BE22", "Cdtr/Nm"},
		{!c.CreditorAccount.IsZero(), "AC03", "CdtrAcct/Id"},
	})
	if err != nil {
		return err
	}
	if c.Settlement.Amount == 0 {
		return fault(CodeAmount, "AM01", m.at.body+"/CdtTrfTxInf[1]/IntrBkSttlmAmt", "the amount is zero")
	}
	return m.checkSums(c.Settlement, c.ControlSum, c.Total, "TtlIntrBkSttlmAmt")
}

func (m *Message) checkReturn(r *PaymentReturn) error {
	const tx = "TxInf"
	err := m.checkNeeds(tx, []need{
		{r.ReturnID != "", reasonMissing, "RtrId"},
		{!r.OriginalUETR.IsZero(), reasonMissing, "OrgnlUETR"},
		{r.SettlementDate != "", "DT01", "IntrBkSttlmDt"},
		{!r.InstructingAgent.BIC.IsZero(), "AGNT", "InstgAgt/FinInstnId/BICFI"},
		{!r.InstructedAgent.BIC.IsZero(), "AGNT", "InstdAgt/FinInstnId/BICFI"},
		{!r.Debtor.IsZero(), "BE08", "RtrChain/Dbtr"},
		{!r.Creditor.IsZero(), "BE22", "RtrChain/Cdtr"},
	})
	if err != nil {
		return err
	}
	at := m.at.body + "/" + tx + "[1]"
	paid := r.OriginalSettlement
	switch {
	case r.Returned.Amount == 0:
		return fault(CodeAmount, "AM01", at+"/RtrdIntrBkSttlmAmt", "the amount is zero")
	case paid.Currency == r.Returned.Currency && r.Returned.Amount > paid.Amount:
		return fault(CodeAmount, "AM09", at+"/RtrdIntrBkSttlmAmt", "more is given back than was paid")
	case len(r.Reasons) == 0:
		return fault(CodeStatus, reasonNarrative, at+"/RtrRsnInf", "a return needs a reason")
	}
	for i, reason := range r.Reasons {
		place := fmt.Sprintf("%s/RtrRsnInf[%d]/Rsn", at, i+1)
		switch {
		case reason.Code == "" && reason.Proprietary == "":
			return fault(CodeStatus, reasonNarrative, place, "a return needs a reason")
		case reason.Code != "" && !KnownReturnReason(reason.Code):
			return fault(CodeStatus, reasonNarrative, place+"/Cd", "%.4q is no external return reason code",
				reason.Code)
		}
	}
	return m.checkSums(r.Returned, r.ControlSum, r.Total, "TtlRtrdIntrBkSttlmAmt")
}

// need is an element of the transaction that has to be there.
type need struct {
	has             bool
	reason, element string
}

func (m *Message) checkNeeds(tx string, needs []need) error {
	for _, n := range needs {
		if !n.has {
			return fault(CodeMissing, n.reason, m.at.body+"/"+tx+"[1]/"+n.element,
				"this gateway needs the element")
		}
	}
	return nil
}

// checkSums compares the sums of the group header, where it has any, with the one amount. The name is
// that of the total.
func (m *Message) checkSums(amount Money, controlSum string, total Money, name string) error {
	digits, _ := cypherlink.CurrencyDigits(amount.Currency)
	if controlSum != "" && trimDecimal(controlSum) != trimDecimal(amount.Amount.Format(digits)) {
		return fault(CodeTransactions, "AM10", m.at.body+"/GrpHdr/CtrlSum",
			"the control sum is not the amount of the transaction")
	}
	if total != (Money{}) && total != amount {
		return fault(CodeTransactions, "AM10", m.at.body+"/GrpHdr/"+name,
			"the total is not the amount of the transaction")
	}
	return nil
}

// trimDecimal is the one text of a non-negative decimal: no plus, no zeros at either end.
func trimDecimal(s string) string {
	s = strings.TrimLeft(strings.TrimPrefix(s, "+"), "0")
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

func (m *Message) checkReport(r *StatusReport) error {
	if r.Group.Status != "" {
		at := m.at.body + "/OrgnlGrpInfAndSts"
		if err := checkStatus(r.Group.Status, r.Group.Reasons, at, "GrpSts"); err != nil {
			return err
		}
	}
	for i, t := range r.Transactions {
		at := fmt.Sprintf("%s/TxInfAndSts[%d]", m.at.body, i+1)
		if err := checkStatus(t.Status, t.Reasons, at, "TxSts"); err != nil {
			return err
		}
	}
	return nil
}

func checkStatus(s Status, reasons []StatusReason, at, name string) error {
	if !s.Known() && (name != "GrpSts" || s != "PART") {
		return fault(CodeStatus, reasonNarrative, at+"/"+name, "%.4q is no external status code", string(s))
	}
	if s == Rejected && len(reasons) == 0 {
		return fault(CodeStatus, reasonNarrative, at+"/StsRsnInf", "a rejection needs a reason")
	}
	for i, r := range reasons {
		place := fmt.Sprintf("%s/StsRsnInf[%d]/Rsn", at, i+1)
		switch {
		case r.Code == "" && r.Proprietary == "" && s == Rejected:
			return fault(CodeStatus, reasonNarrative, place, "a rejection needs a reason")
		case r.Code != "" && !KnownReason(r.Code):
			return fault(CodeStatus, reasonNarrative, place+"/Cd", "%.4q is no external reason code", r.Code)
		}
	}
	return nil
}
