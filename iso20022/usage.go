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
// every rejection. A refusal is a *cypherlink.Error.
func (m *Message) CheckUsage() error {
	switch d := m.Document.(type) {
	case *CreditTransfer:
		if err := m.checkHeader(d); err != nil {
			return err
		}
		return m.checkTransfer(d)
	case *StatusReport:
		return m.checkReport(d)
	case *MessageReject:
	}
	return nil
}

// checkHeader compares the header with the agents of a transfer (CBPR+ R2, R3).
func (m *Message) checkHeader(c *CreditTransfer) error {
	h := m.Header
	if h == nil {
		return nil
	}
	for _, side := range []struct {
		name     string
		in, body cypherlink.BIC
	}{
		{"Fr", h.From.BIC, c.InstructingAgent.BIC},
		{"To", h.To.BIC, c.InstructedAgent.BIC},
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
	for _, need := range []struct {
		has             bool
		reason, element string
	}{
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
	} {
		if !need.has {
			return fault(CodeMissing, need.reason, m.at.body+"/CdtTrfTxInf[1]/"+need.element,
				"this gateway needs the element")
		}
	}
	if c.Settlement.Amount == 0 {
		return fault(CodeAmount, "AM01", m.at.body+"/CdtTrfTxInf[1]/IntrBkSttlmAmt", "the amount is zero")
	}
	digits, _ := cypherlink.CurrencyDigits(c.Settlement.Currency)
	amount := trimDecimal(c.Settlement.Amount.Format(digits))
	if c.ControlSum != "" && trimDecimal(c.ControlSum) != amount {
		return fault(CodeTransactions, "AM10", m.at.body+"/GrpHdr/CtrlSum",
			"the control sum is not the amount of the transaction")
	}
	if c.Total != (Money{}) && c.Total != c.Settlement {
		return fault(CodeTransactions, "AM10", m.at.body+"/GrpHdr/TtlIntrBkSttlmAmt",
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
