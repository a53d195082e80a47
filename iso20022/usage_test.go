package iso20022

import (
	"fmt"
	"testing"
)

func TestCheckUsageRefusesTransfers(t *testing.T) {
	const group = "/Envelope/Document/FIToFICstmrCdtTrf/GrpHdr"
	bic := func(tag string) string {
		return "<" + tag + "><FinInstnId>\n          <BICFI>" + map[string]string{
			"InstgAgt": "AAAADEFFXXX", "InstdAgt": "BBBBCNBJXXX", "DbtrAgt": "AAAADEFFXXX",
			"CdtrAgt": "BBBBCNBJXXX",
		}[tag] + "</BICFI>"
	}
	unnamed := func(tag string) string { return "<" + tag + "><FinInstnId><Nm>x</Nm>" }
	tests := []edit{
		{
			"no UETR", "<UETR>eb6305c9-1f7f-49de-aed0-16487c27b42d</UETR>", "", CodeMissing, "CH21",
			tx + "/PmtId/UETR",
		},
		{
			"no settlement date", "<IntrBkSttlmDt>2026-11-24</IntrBkSttlmDt>", "", CodeMissing, "DT01",
			tx + "/IntrBkSttlmDt",
		},
		{
			"no instructing BIC", bic("InstgAgt"), unnamed("InstgAgt"), CodeMissing, "AGNT",
			tx + "/InstgAgt/FinInstnId/BICFI",
		},
		{
			"no instructed BIC", bic("InstdAgt"), unnamed("InstdAgt"), CodeMissing, "AGNT",
			tx + "/InstdAgt/FinInstnId/BICFI",
		},
		{
			"no BIC of the debtor's bank", bic("DbtrAgt"), unnamed("DbtrAgt"), CodeMissing, "RC03",
			tx + "/DbtrAgt/FinInstnId/BICFI",
		},
		{
			"no BIC of the creditor's bank", bic("CdtrAgt"), unnamed("CdtrAgt"), CodeMissing, "RC04",
			tx + "/CdtrAgt/FinInstnId/BICFI",
		},
		{"no debtor name", "<Nm>Müller GmbH</Nm>", "", CodeMissing, "BE08", tx + "/Dbtr/Nm"},
		{"no creditor name", "<Nm>北京电脑有限公司</Nm>", "", CodeMissing, "BE22", tx + "/Cdtr/Nm"},
		{
			"no debtor account", "<DbtrAcct><Id><IBAN>DE89370400440532013000</IBAN></Id></DbtrAcct>", "",
			CodeMissing, "AC02", tx + "/DbtrAcct/Id",
		},
		{
			"no creditor account", "<CdtrAcct><Id><Othr><Id>6222021001098765432</Id></Othr></Id></CdtrAcct>",
			"",
			CodeMissing, "AC03", tx + "/CdtrAcct/Id",
		},
		{"nothing to pay", ">2000.00<", ">0.00<", CodeAmount, "AM01", tx + "/IntrBkSttlmAmt"},
		{
			"another control sum", "<CtrlSum>2000", "<CtrlSum>2000.01", CodeTransactions, "AM10",
			group + "/CtrlSum",
		},
		{
			"another sender in the header", "AAAADEFFXXX", "CCCCDEFFXXX", CodeHeader, "AGNT",
			"/Envelope/AppHdr/Fr",
		},
		{
			"another receiver in the header", "BBBBCNBJXXX", "CCCCCNBJXXX", CodeHeader, "AGNT",
			"/Envelope/AppHdr/To",
		},
		{
			"a past release of CBPR+", "swift.cbprplus.03", "swift.cbprplus.02", CodeService, "NARR",
			"/Envelope/AppHdr/BizSvc",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, usage) })
	}
	total := `<TtlIntrBkSttlmAmt Ccy="CNY">2000.01</TtlIntrBkSttlmAmt><SttlmInf>`
	r := refusal(t, usage(replace(t, transfer(t), "<SttlmInf>", total)))
	if r.Code != CodeTransactions || r.Pointer != group+"/TtlIntrBkSttlmAmt" {
		t.Fatal(r)
	}
}

// usage is the error of CheckUsage, for a message that Parse takes.
func usage(s string) error {
	m, err := Parse([]byte(s))
	if err != nil {
		return fmt.Errorf("not parsed: %w", err)
	}
	return m.CheckUsage()
}
