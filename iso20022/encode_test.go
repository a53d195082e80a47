package iso20022

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
)

func bic(tb rapid.TB, s string) cypherlink.BIC {
	b, err := cypherlink.ParseBIC(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func report(tb rapid.TB) *StatusReport {
	uetr, err := cypherlink.ParseUETR("eb6305c9-1f7f-49de-aed0-16487c27b42d")
	if err != nil {
		tb.Fatal(err)
	}
	at := time.Date(2026, 11, 24, 9, 30, 0, 5e6, time.UTC)
	return &StatusReport{
		MessageID: "STS-1", Created: at,
		Transactions: []TransactionStatus{{
			StatusID: "S1",
			Original: OriginalMessage{
				MessageID: "MSG-1", Definition: "pacs.008.001.08", Created: at,
			},
			OriginalInstructionID: "INSTR-1", OriginalEndToEndID: "E2E <&> 4711",
			OriginalTransactionID: "TX-1",
			OriginalUETR:          uetr, Status: SettlementCompleted, Accepted: at,
			InstructingAgent: Agent{BIC: bic(tb, "BBBBCNBJ")},
			InstructedAgent:  Agent{BIC: bic(tb, "AAAADEFF")},
		}},
	}
}

func header(tb rapid.TB) *Header {
	return &Header{
		From: Agent{BIC: bic(tb, "BBBBCNBJ")}, To: Agent{BIC: bic(tb, "AAAADEFF")}, MessageID: "STS-1",
		Service: "swift.cbprplus.03", Created: time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC),
	}
}

func TestStatusReportGolden(t *testing.T) {
	settled, err := report(t).Encode(header(t))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/pacs.002.settled.xml", settled)
	r := report(t)
	r.Group = GroupStatus{
		Original: r.Transactions[0].Original, Status: Rejected, Reasons: []StatusReason{{Code: "AM05"}},
	}
	r.Transactions[0].Status, r.Transactions[0].Accepted = Rejected, time.Time{}
	r.Transactions[0].Reasons = []StatusReason{
		NewStatusReason(&cypherlink.Error{
			Code: CodeIBAN, Reason: "AC03", Pointer: tx + "/CdtrAcct/Id/IBAN",
			Message: "the check digits are wrong",
		}),
		{Proprietary: "X1", Info: []string{"更多"}},
	}
	rejected, err := r.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/pacs.002.rejected.xml", rejected)
}

func TestMessageRejectGolden(t *testing.T) {
	_, err := Parse([]byte("<!DOCTYPE x><Document/>"))
	r := NewMessageReject("NOTPROVIDED", time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC), refusal(t, err))
	out, err := r.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/admi.002.xml", out)
	m, err := Parse(out)
	if err != nil || !reflect.DeepEqual(m.Document, r) {
		t.Fatalf("%+v, want %+v: %v", m, r, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*StatusReport)
		code   cypherlink.Code
	}{
		{"no message id", func(r *StatusReport) { r.MessageID = "" }, CodeMissing},
		{
			"an id of 36 characters", func(r *StatusReport) { r.MessageID = strings.Repeat("x", 36) },
			CodeValue,
		},
		{"no time", func(r *StatusReport) { r.Created = time.Time{} }, CodeMissing},
		{
			"a control character", func(r *StatusReport) { r.Transactions[0].OriginalEndToEndID = "a\x7fb" },
			CodeValue,
		},
		{
			"what XML cannot hold", func(r *StatusReport) { r.Transactions[0].OriginalEndToEndID = "a\x00b" },
			CodeValue,
		},
		{"no UTF-8", func(r *StatusReport) { r.Transactions[0].OriginalEndToEndID = "a\xffb" }, CodeValue},
		{"no status", func(r *StatusReport) { r.Transactions[0].Status = "" }, CodeStatus},
		{"an unknown status", func(r *StatusReport) { r.Transactions[0].Status = "EXTx" }, CodeStatus},
		{
			"a rejection without reason", func(r *StatusReport) { r.Transactions[0].Status = Rejected },
			CodeStatus,
		},
		{"a rejection with an empty reason", func(r *StatusReport) {
			r.Transactions[0].Status = Rejected
			r.Transactions[0].Reasons = []StatusReason{{Info: []string{"x"}}}
		}, CodeStatus},
		{"an unknown reason", func(r *StatusReport) {
			r.Transactions[0].Reasons = []StatusReason{{Code: "LEGL"}}
		}, CodeStatus},
		{"106 characters of information", func(r *StatusReport) {
			r.Transactions[0].Reasons = []StatusReason{{Info: []string{strings.Repeat("x", 106)}}}
		}, CodeValue},
		{"a group without its message", func(r *StatusReport) { r.Group.Status = "PART" }, CodeMissing},
		{"an unknown group status", func(r *StatusReport) {
			r.Group = GroupStatus{Original: r.Transactions[0].Original, Status: "XXXX"}
		}, CodeStatus},
		{"a rejected group without reason", func(r *StatusReport) {
			r.Group = GroupStatus{Original: r.Transactions[0].Original, Status: Rejected}
		}, CodeStatus},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := report(t)
			tt.change(r)
			out, err := r.Encode(nil)
			if got := refusal(t, err); got.Code != tt.code || out != nil {
				t.Fatal(got)
			}
		})
	}
	if _, err := report(t).Encode(&Header{}); err == nil {
		t.Fatal("an empty header is sent")
	}
	if _, err := (&MessageReject{}).Encode(nil); err == nil {
		t.Fatal("an empty reject is sent")
	}
}

func TestPartIsAGroupStatusAlone(t *testing.T) {
	r := report(t)
	r.Group = GroupStatus{Original: r.Transactions[0].Original, Status: "PART"}
	if _, err := r.Encode(nil); err != nil {
		t.Fatal(err)
	}
	r.Transactions[0].Status = "PART"
	if _, err := r.Encode(nil); err == nil {
		t.Fatal("a transaction is PART")
	}
}

func TestNewStatusReason(t *testing.T) {
	long := &cypherlink.Error{Message: strings.Repeat("ü", 150), Pointer: "/" + strings.Repeat("x", 200)}
	r := NewStatusReason(long)
	if r.Code != "NARR" || len(r.Info) != 2 || r.Info[0] != strings.Repeat("ü", 105) ||
		len([]rune(r.Info[1])) != 105 {
		t.Fatalf("%+v", r)
	}
	if r := NewStatusReason(&cypherlink.Error{Reason: "AM04", Message: "no funds"}); r.Code != "AM04" ||
		!reflect.DeepEqual(r.Info, []string{"no funds"}) {
		t.Fatalf("%+v", r)
	}
	reject := NewMessageReject(strings.Repeat("x", 99), time.Time{}, long)
	if len(reject.Reference) != 35 || reject.Reason != "NARR" || len([]rune(reject.Description)) != 150 {
		t.Fatalf("%+v", reject)
	}
}

func drawAgent(t *rapid.T) Agent {
	a := Agent{}
	if rapid.Bool().Draw(t, "bic") {
		a.BIC = bic(t, rapid.StringMatching(`[A-Z0-9]{4}(DE|CN)[A-Z0-9]{5}`).Draw(t, "code"))
	}
	if rapid.Bool().Draw(t, "member") {
		a.Member = drawText(t, 35)
		a.ClearingSystem = rapid.SampledFrom([]string{"", "USABA", "a system of our own"}).Draw(t, "system")
	}
	if rapid.Bool().Draw(t, "name") {
		a.Name = drawText(t, 140)
	}
	return a
}

func drawText(t *rapid.T, n int) string {
	r := rapid.RuneFrom([]rune(`aZ09 -/<>&"'üß漢`))
	return rapid.StringOfN(r, 1, n, -1).Draw(t, "text")
}

func drawTime(t *rapid.T) time.Time {
	return time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "ms")).UTC()
}

func drawReasons(t *rapid.T, atLeast int) []StatusReason {
	var reasons []StatusReason
	for range rapid.IntRange(atLeast, 2).Draw(t, "reasons") {
		r := StatusReason{Code: rapid.SampledFrom([]string{"AM04", "NARR", "DS0B"}).Draw(t, "code")}
		if rapid.Bool().Draw(t, "proprietary") {
			r = StatusReason{Proprietary: drawText(t, 35)}
		}
		for range rapid.IntRange(0, 2).Draw(t, "lines") {
			r.Info = append(r.Info, drawText(t, 105))
		}
		reasons = append(reasons, r)
	}
	return reasons
}

func TestStatusReportRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &StatusReport{MessageID: drawText(t, 35), Created: drawTime(t)}
		for range rapid.IntRange(0, 3).Draw(t, "transactions") {
			s := TransactionStatus{
				Status: rapid.SampledFrom([]Status{Pending, Rejected, CreditorCompleted}).Draw(t, "status"),
			}
			if s.Status == Rejected {
				s.Reasons = drawReasons(t, 1)
			}
			if rapid.Bool().Draw(t, "details") {
				s = TransactionStatus{
					StatusID: drawText(t, 35), Status: s.Status, Reasons: s.Reasons,
					Original: OriginalMessage{
						MessageID: drawText(t, 35), Definition: "pacs.008.001.08", Created: drawTime(t),
					},
					OriginalInstructionID: drawText(t, 35), OriginalEndToEndID: drawText(t, 35),
					OriginalTransactionID: drawText(t, 35), Accepted: drawTime(t),
					InstructingAgent: drawAgent(t), InstructedAgent: drawAgent(t),
				}
				random := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uetr")
				u, err := cypherlink.NewUETR(bytes.NewReader(random))
				if err != nil {
					t.Fatal(err)
				}
				s.OriginalUETR = u
			}
			want.Transactions = append(want.Transactions, s)
		}
		h := header(t)
		h.PossibleDuplicate = rapid.Bool().Draw(t, "duplicate")
		out, err := want.Encode(h)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(out)
		if err != nil || !reflect.DeepEqual(m.Document, want) {
			t.Fatalf("%+v, want %+v: %v", m.Document, want, err)
		}
		h.Definition = statusReportDefinition
		if *m.Header != *h {
			t.Fatalf("%+v, want %+v", m.Header, h)
		}
	})
}
