package iso20022

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

// giveBack gives the payment of transfer back, since the account is closed.
func giveBack(tb rapid.TB) *PaymentReturn {
	uetr, err := cypherlink.ParseUETR("eb6305c9-1f7f-49de-aed0-16487c27b42d")
	if err != nil {
		tb.Fatal(err)
	}
	lei, err := cypherlink.ParseLEI("7LTWFZYICNSX8D621K86")
	if err != nil {
		tb.Fatal(err)
	}
	at := time.Date(2026, 11, 24, 9, 30, 0, 5e6, time.UTC)
	all := Money{Currency: "CNY", Amount: 200_000}
	return &PaymentReturn{
		MessageID: "RTR-1", Created: at, SettlementMethod: "CLRG", ReturnID: "R1",
		Original: OriginalMessage{
			MessageID: "MSG-20261124-1", Definition: "pacs.008.001.08", Created: at,
		},
		OriginalInstructionID: "INSTR-1", OriginalEndToEndID: "E2E <&> 4711", OriginalUETR: uetr,
		OriginalSettlement: all, OriginalSettlementDate: "2026-11-24",
		Returned: all, SettlementDate: "2026-11-25", Instructed: all, ChargeBearer: "SHAR",
		InstructingAgent: Agent{BIC: bic(tb, "BBBBCNBJ")}, InstructedAgent: Agent{BIC: bic(tb, "AAAADEFF")},
		Debtor:   Party{Name: "北京电脑有限公司", Country: "CN", Town: "Beijing"},
		Creditor: Party{Name: "Müller GmbH", LEI: lei},
		Reasons:  []ReturnReason{{Code: "AC04", Info: []string{"the account is closed"}}},
	}
}

func TestPaymentReturnGolden(t *testing.T) {
	h := header(t)
	h.MessageID = "RTR-1"
	out, err := giveBack(t).Encode(h)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/pacs.004.xml", out)
	m, err := Parse(out)
	if err != nil || m.Definition != "pacs.004.001.09" || !reflect.DeepEqual(m.Document, giveBack(t)) {
		t.Fatalf("%+v: %v", m, err)
	}
}

// TestEveryVersionOfReturns reads the same return as each version of pacs.004.
func TestEveryVersionOfReturns(t *testing.T) {
	seen := 0
	for _, definition := range definitions {
		if !strings.HasPrefix(definition, "pacs.004.") {
			continue
		}
		seen++
		m, err := Parse([]byte(strings.ReplaceAll(back(t, nil), "pacs.004.001.09", definition)))
		if err != nil || m.Definition != definition || !reflect.DeepEqual(m.Document, giveBack(t)) {
			t.Errorf("%s: %+v, %v", definition, m, err)
		}
	}
	if seen != 4 {
		t.Errorf("%d versions", seen)
	}
}

// back is a return as it is sent, changed before.
func back(tb testing.TB, change func(*PaymentReturn)) string {
	tb.Helper()
	r := giveBack(tb)
	if change != nil {
		change(r)
	}
	out, err := r.Encode(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return string(out)
}

const returned = "/Document/PmtRtr"

// What stands in the group for all transactions counts, and a bank may be a party of the chain.
func TestPaymentReturnElsewhere(t *testing.T) {
	agents := func(s string) (from, to int) {
		return strings.Index(s, "      <InstgAgt>"), strings.Index(s, "      <RtrChain>")
	}
	s := back(t, nil)
	from, to := agents(s)
	moved := s[from:to]
	s = s[:from] + s[to:]
	s = replace(t, s, "<IntrBkSttlmDt>2026-11-25</IntrBkSttlmDt>", "")
	s = replace(t, s, "      <SttlmInf>", "<IntrBkSttlmDt>2026-11-25</IntrBkSttlmDt><SttlmInf>")
	s = replace(t, s, "</SttlmInf>\n", "</SttlmInf>\n"+moved)
	from, to = strings.Index(s, "      <OrgnlGrpInf>"), strings.Index(s, "      <OrgnlInstrId>")
	moved = s[from:to]
	s = s[:from] + s[to:]
	s = replace(t, s, "</GrpHdr>\n", "</GrpHdr>\n"+moved)
	m, err := Parse([]byte(s))
	if err != nil || !reflect.DeepEqual(m.Document, giveBack(t)) {
		t.Fatalf("%+v: %v", m, err)
	}
	from, to = strings.Index(s, "          <Pty>"), strings.Index(s, "        </Dbtr>")
	s = s[:from] + "<Agt><FinInstnId><BICFI>BBBBCNBJ</BICFI><Nm>Bank B</Nm></FinInstnId></Agt>" + s[to:]
	if m, err = Parse([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if got := m.Document.(*PaymentReturn).Debtor; got != (Party{Name: "Bank B", BIC: bic(t, "BBBBCNBJ")}) {
		t.Errorf("%+v", got)
	}
}

func TestParseRefusesReturns(t *testing.T) {
	s := back(t, nil)
	from, to := strings.Index(s, "    <TxInf>"), strings.Index(s, "  </PmtRtr>")
	one := s[from:to]
	for _, tt := range []struct {
		name, message string
		code          cypherlink.Code
		reason, place string
	}{
		{"two transactions", s[:to] + one + s[to:], CodeTransactions, "AM18", returned + "/GrpHdr/NbOfTxs"},
		{
			"two that are counted", replace(t, s[:to], "<NbOfTxs>1", "<NbOfTxs>2") + one + s[to:],
			CodeTransactions, "AM18", returned + "/TxInf[2]",
		},
		{"a whole message", s[:from] + s[to:], CodeTransactions, "AM18", returned + "/TxInf"},
		{
			"a whole message that counts right", replace(t, s[:from], "<NbOfTxs>1", "<NbOfTxs>0") + s[to:],
			CodeTransactions, "AM18", returned + "/TxInf",
		},
		{
			"no amount", replace(t, s, `<RtrdIntrBkSttlmAmt Ccy="CNY">2000.00`,
				`<RtrdIntrBkSttlmAmt Ccy="CNY">2e3`),
			CodeAmount, "AM12", returned + "/TxInf/RtrdIntrBkSttlmAmt",
		},
		{
			"half a chain", strings.NewReplacer("<Cdtr>", "<UltmtCdtr>",
				"</Cdtr>", "</UltmtCdtr>").Replace(s), CodeMissing, "FF01", returned + "/TxInf/RtrChain/Cdtr",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := refusal(t, parse(tt.message))
			place := strings.ReplaceAll(r.Pointer, "TxInf[1]", "TxInf")
			if r.Code != tt.code || r.Reason != tt.reason || place != tt.place {
				t.Fatal(r)
			}
		})
	}
}

func TestCheckUsageRefusesReturns(t *testing.T) {
	const tx = returned + "/TxInf[1]"
	unnamed := func(a *Agent) { *a = Agent{Name: "x"} }
	for _, tt := range []struct {
		name          string
		change        func(*PaymentReturn)
		code          cypherlink.Code
		reason, place string
	}{
		{"no id", func(r *PaymentReturn) { r.ReturnID = "" }, CodeMissing, "CH21", tx + "/RtrId"},
		{
			"no original UETR", func(r *PaymentReturn) { r.OriginalUETR = cypherlink.UETR{} }, CodeMissing, "CH21",
			tx + "/OrgnlUETR",
		},
		{"no date", func(r *PaymentReturn) { r.SettlementDate = "" }, CodeMissing, "DT01", tx + "/IntrBkSttlmDt"},
		{
			"no instructing BIC", func(r *PaymentReturn) { unnamed(&r.InstructingAgent) }, CodeMissing, "AGNT",
			tx + "/InstgAgt/FinInstnId/BICFI",
		},
		{
			"no instructed BIC", func(r *PaymentReturn) { unnamed(&r.InstructedAgent) }, CodeMissing, "AGNT",
			tx + "/InstdAgt/FinInstnId/BICFI",
		},
		{
			"nothing", func(r *PaymentReturn) { r.Returned.Amount = 0 }, CodeAmount, "AM01",
			tx + "/RtrdIntrBkSttlmAmt",
		},
		{
			"more than was paid", func(r *PaymentReturn) { r.Returned.Amount++ }, CodeAmount, "AM09",
			tx + "/RtrdIntrBkSttlmAmt",
		},
		{"no reason", func(r *PaymentReturn) { r.Reasons = nil }, CodeStatus, "NARR", tx + "/RtrRsnInf"},
		{
			"an empty reason",
			func(r *PaymentReturn) { r.Reasons = append(r.Reasons, ReturnReason{Info: []string{"x"}}) },
			CodeStatus, "NARR", tx + "/RtrRsnInf[2]/Rsn",
		},
		{
			"a reason of a status", func(r *PaymentReturn) { r.Reasons[0].Code = "AC05" }, CodeStatus, "NARR",
			tx + "/RtrRsnInf[1]/Rsn/Cd",
		},
		{
			"another control sum", func(r *PaymentReturn) { r.ControlSum = "2000.01" }, CodeTransactions, "AM10",
			returned + "/GrpHdr/CtrlSum",
		},
		{
			"another total", func(r *PaymentReturn) { r.Total = Money{"CNY", 1} }, CodeTransactions, "AM10",
			returned + "/GrpHdr/TtlRtrdIntrBkSttlmAmt",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := giveBack(t)
			tt.change(r)
			out, err := r.Encode(nil)
			if got := refusal(t, err); got.Code != tt.code || got.Reason != tt.reason || got.Pointer != tt.place ||
				out != nil {
				t.Fatal(got)
			}
		})
	}
	s := back(t, nil)
	from, to := strings.Index(s, "      <RtrChain>"), strings.Index(s, "      <RtrRsnInf>")
	if r := refusal(t, usage(s[:from]+s[to:])); r.Code != CodeMissing || r.Pointer != tx+"/RtrChain/Dbtr" {
		t.Error(r)
	}
	s = replace(t, s, "<Nm>Müller GmbH</Nm>", "")
	from, to = strings.LastIndex(s, "            <Id>"), strings.LastIndex(s, "          </Pty>")
	if r := refusal(t, usage(s[:from]+s[to:])); r.Code != CodeMissing || r.Pointer != tx+"/RtrChain/Cdtr" {
		t.Error(r)
	}
	for _, side := range []struct {
		place  string
		change func(*Header)
	}{
		{"/Fr", func(h *Header) { h.From.BIC = bic(t, "CCCCCNBJ") }},
		{"/To", func(h *Header) { h.To.BIC = bic(t, "CCCCDEFF") }},
	} {
		h := header(t)
		side.change(h)
		_, err := giveBack(t).Encode(h)
		if r := refusal(t, err); r.Code != CodeHeader || r.Pointer != "/Envelope/AppHdr"+side.place {
			t.Error(r)
		}
	}
}

// Less may come back, and in another currency what it takes.
func TestPaymentReturnOfAnotherAmount(t *testing.T) {
	for _, change := range []func(*PaymentReturn){
		func(r *PaymentReturn) { r.Returned.Amount-- },
		func(r *PaymentReturn) { r.Returned = Money{"JPY", 300_000} },
		func(r *PaymentReturn) { r.OriginalSettlement = Money{} },
		func(r *PaymentReturn) { r.ControlSum, r.Total = "+2000.000", r.Returned },
	} {
		back(t, change)
	}
}

func TestPaymentReturnOfNoMoney(t *testing.T) {
	for m, code := range map[Money]cypherlink.Code{
		{}:                            CodeMissing,
		{Currency: "XAU", Amount: 1}:  CodeCurrency,
		{Currency: "\"><", Amount: 1}: CodeCurrency,
		{Currency: "EUR", Amount: -1}: CodeAmount,
	} {
		r := giveBack(t)
		r.Returned = m
		out, err := r.Encode(nil)
		if got := refusal(t, err); got.Code != code || out != nil {
			t.Errorf("%v: %v", m, got)
		}
	}
}

// The minimum of CBPR+ is enough here, once its reason is one.
func TestMinimalReturn(t *testing.T) {
	raw := string(vectors.Read(t, "iso20022/samples/cbpr_ur/y2026_pacs.004.min.xml"))
	if err := usage(replace(t, raw, "EXCd", "AC04")); err != nil {
		t.Error(err)
	}
	if r := refusal(t, usage(raw)); r.Code != CodeStatus {
		t.Error(r)
	}
}

func TestNewReturnReason(t *testing.T) {
	for code, want := range map[string]string{"AC04": "AC04", "TM01": "TM01", "AC05": "NARR", "": "NARR"} {
		r := NewReturnReason(&cypherlink.Error{Reason: code, Message: "why"})
		if !reflect.DeepEqual(r, ReturnReason{Code: want, Info: []string{"why"}}) {
			t.Errorf("%s: %+v", code, r)
		}
	}
}

func TestPaymentReturnRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := giveBack(t)
		want.MessageID, want.ReturnID, want.Created = drawText(t, 35), drawText(t, 35), drawTime(t)
		u, err := cypherlink.NewUETR(bytes.NewReader(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uetr")))
		if err != nil {
			t.Fatal(err)
		}
		want.OriginalUETR = u
		maximum := rapid.Int64Range(1, 1e15).Draw(t, "paid")
		want.OriginalSettlement = Money{"JPY", cypherlink.Amount(maximum)}
		want.Returned = Money{"JPY", cypherlink.Amount(rapid.Int64Range(1, maximum).Draw(t, "returned"))}
		want.Instructed, want.ChargeBearer = Money{}, ""
		if rapid.Bool().Draw(t, "details") {
			want.Original = OriginalMessage{}
			want.OriginalInstructionID, want.OriginalTransactionID = drawText(t, 35), drawText(t, 35)
			want.Instructed = Money{"EUR", cypherlink.Amount(rapid.Int64Range(1, 1e15).Draw(t, "instructed"))}
			want.Total, want.ControlSum = want.Returned, fmt.Sprint(int64(want.Returned.Amount))
		}
		want.Debtor = Party{Name: drawText(t, 140), Town: drawText(t, 35), BIC: want.InstructedAgent.BIC}
		want.Reasons = nil
		for _, r := range drawReasons(t, 1) {
			if r.Code == "DS0B" { // of statuses alone
				r.Code = "FRTR"
			}
			want.Reasons = append(want.Reasons, ReturnReason(r))
		}
		out, err := want.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(out)
		if err != nil || !reflect.DeepEqual(m.Document, want) {
			t.Fatalf("%+v, want %+v: %v", m.Document, want, err)
		}
	})
}
