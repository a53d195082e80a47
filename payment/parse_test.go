package payment

import (
	"bytes"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/iso20022"
)

// pacs008 is Bank A's order in XML.
func pacs008(tb testing.TB) []byte {
	tb.Helper()
	raw, err := os.ReadFile("testdata/pacs.008.xml")
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestParseJSON(t *testing.T) {
	n := newNetwork(t, nil)
	i, err := Parse(n.json(7), JSON, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	want := n.instruction(t, 7)
	want.UETR = i.UETR
	if i.digest() != want.digest() {
		t.Errorf("%+v, want %+v", i, want)
	}
	if route, refusal := n.bank(n.a).route(i); refusal != nil || route.Amount != 2000_00 {
		t.Error(refusal)
	}
}

func TestParseXML(t *testing.T) {
	n := newNetwork(t, nil)
	i, err := Parse(pacs008(t), XML, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if i.Original.MessageID != "MSG-1" || i.Original.Definition != "pacs.008.001.08" ||
		i.EndToEndID != "E2E-4711" ||
		i.Asset != "CNY" || i.Amount != "2000.00" || i.Remittance != "Laptop, invoice 4711 second line" {
		t.Errorf("%+v", i)
	}
	if key := i.key(); key != "iso20022/BNKADEFFXXX/MSG-1" {
		t.Error(key)
	}
	if _, refusal := n.bank(n.a).route(i); refusal != nil {
		t.Error(refusal)
	}
	var w wire.Writer
	i.appendWire(&w)
	r := wire.NewReader(w.Bytes())
	got := readInstruction(r)
	if err := r.End(); err != nil || got.digest() != i.digest() || got.Original != i.Original {
		t.Errorf("%v: %+v", err, got)
	}
	// another message id is the same payment, another amount is not
	renamed := bytes.Replace(pacs008(t), []byte("<MsgId>MSG-1<"), []byte("<MsgId>MSG-2<"), 1)
	if other, err := Parse(renamed, XML, rand.Reader); err != nil || other.digest() != i.digest() {
		t.Errorf("another message of the payment: %v", err)
	}
}

// TestBadInstructions: each is refused with its code, an ISO reason, and where the fault is.
func TestBadInstructions(t *testing.T) {
	n := newNetwork(t, nil)
	for _, tt := range []struct {
		name, from, to string
		code           cypherlink.Code
		reason, at     string
	}{
		{"no JSON", "{", "[", CodeMalformed, "FF01", ""},
		{"an unknown member", `"remittance"`, `"remitance"`, CodeMalformed, "FF01", "/remitance"},
		{"another spelling", `"destination"`, `"Destination"`, CodeMalformed, "FF01", "/Destination"},
		{
			"a member twice",
			`"debtor":`, `"end_to_end_id": "x", "debtor":`, CodeMalformed, "FF01", "/end_to_end_id",
		},
		{"a number for an amount", `"2000.00"`, `2000.00`, CodeMalformed, "FF01", "/destination/amount"},
		{"an IBAN with a wrong check digit", "DE89", "DE88", iso20022.CodeIBAN, "AC02", "/debtor/iban"},
		{"a BIC that is none", `"BNKBCNBJXXX"`, `"BNKB1NBJXXX"`, iso20022.CodeBIC, "RC04", "/creditor/agent"},
		{"a debtor's BIC that is none", `"BNKADEFF"`, `"BNK"`, iso20022.CodeBIC, "RC03", "/debtor/agent"},
		{
			"an LEI that is none",
			`"country": "DE"`, `"lei": "7LTWFZYICNSX8D621K87"`, iso20022.CodeLEI, "BE15", "/debtor/lei",
		},
		{"no name", "北京电脑有限公司", "", iso20022.CodeMissing, "BE22", "/creditor/name"},
		{
			"a name with a control character",
			"Müller", "M\\u0007ller", iso20022.CodeValue, "BE08", "/debtor/name",
		},
		{"a country that is none", `"DE"`, `"de"`, iso20022.CodeValue, "BE10", "/debtor/country"},
		{"no reference", `"E2E-1"`, `""`, iso20022.CodeMissing, "FF08", "/end_to_end_id"},
		{"no account", `"account": "6222021001098765432", `, "", iso20022.CodeValue, "AC03", "/creditor"},
		{
			"two accounts", `"account"`, `"iban": "DE89370400440532013000", "account"`,
			iso20022.CodeValue, "AC03", "/creditor",
		},
		{
			"an account with a control character",
			"6222021001098765432", "62\\u0007", iso20022.CodeValue, "AC03", "/creditor",
		},
		{
			"remittance that is too long",
			"Laptop", strings.Repeat("x", 140), iso20022.CodeValue, "RR07", "/remittance",
		},
		{
			"a UETR that is none",
			`"end_to_end_id"`, `"uetr": "x", "end_to_end_id"`, CodeMalformed, "CH21", "/uetr",
		},
		{
			"an asset that is too long to be stored",
			"DC/EP", strings.Repeat("x", 600), iso20022.CodeValue, "AM03", "/destination/asset",
		},
		{
			"an amount that is too long to be stored",
			"2000.00", strings.Repeat("1", 600), iso20022.CodeValue, "AM12", "/destination/amount",
		},
		{"not UTF-8", "Müller", "M\xffller", CodeMalformed, "FF01", "/debtor/name"},
		{"trailing text", "\n}", "\n} x", CodeMalformed, "FF01", ""},
	} {
		raw := bytes.Replace(n.json(1), []byte(tt.from), []byte(tt.to), 1)
		if bytes.Equal(raw, n.json(1)) {
			t.Fatalf("%s: nothing is changed", tt.name)
		}
		_, err := Parse(raw, JSON, rand.Reader)
		refusal, ok := errors.AsType[*cypherlink.Error](err)
		if !ok || refusal.Code != tt.code || refusal.Reason != tt.reason || refusal.Pointer != tt.at {
			t.Errorf("%s: %v, want %s %s at %s", tt.name, err, tt.code, tt.reason, tt.at)
		}
	}
	_, err := Parse(make([]byte, MaxInstruction+1), JSON, rand.Reader)
	if cypherlink.ErrorCode(err) != CodeMalformed {
		t.Errorf("too long: %v", err)
	}
	if _, err := Parse(nil, Format(9), rand.Reader); !errors.Is(err, errFormat) {
		t.Errorf("another format: %v", err)
	}
	_, err = Parse([]byte("<a/>"), XML, rand.Reader)
	if cypherlink.ErrorCode(err) != iso20022.CodeUnsupported {
		t.Errorf("another document: %v", err)
	}
	report := iso20022.StatusReport{MessageID: "x", Created: moment(1)}
	raw, err := report.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(raw, XML, rand.Reader); cypherlink.ErrorCode(err) != iso20022.CodeUnsupported {
		t.Errorf("a status report for an order: %v", err)
	}
}

// TestInstructionsWithoutARoute are payments, and rejected.
func TestInstructionsWithoutARoute(t *testing.T) {
	n := newNetwork(t, nil)
	foreign := n.mallory.BIC
	for _, tt := range []struct {
		name   string
		edit   func(i *Instruction)
		reason string
	}{
		{"another bank's customer", func(i *Instruction) { i.DebtorAgent = foreign }, "RC03"},
		{"a bank that is not here", func(i *Instruction) { i.CreditorAgent[0] = 'X' }, "RC04"},
		{
			"a clearing bank for a creditor's",
			func(i *Instruction) { i.CreditorAgent = n.clearing.BIC }, "RC04",
		},
		{"the same bank twice", func(i *Instruction) { i.CreditorAgent = i.DebtorAgent }, "AGNT"},
		{"sent by another bank", func(i *Instruction) { i.Instructing = foreign }, "AGNT"},
		{"by way of somebody else", func(i *Instruction) { i.Via = []cypherlink.BIC{foreign} }, "RC11"},
		{"an asset that is not here", func(i *Instruction) { i.Asset = "USD" }, "AM03"},
		{"too many digits", func(i *Instruction) { i.Amount = "2000.001" }, "AM12"},
		{"no amount", func(i *Instruction) { i.Amount = "" }, "AM12"},
		{"a negative amount", func(i *Instruction) { i.Amount = "-1.00" }, "AM12"},
		{"zero", func(i *Instruction) { i.Amount = "0.00" }, "AM01"},
		{"beyond every amount", func(i *Instruction) { i.Amount = "99999999999999999999" }, "AM12"},
		{"the ledger that it pays from", func(i *Instruction) { i.Asset = "DE" }, "AG03"},
	} {
		s := newScene(t, n)
		i := n.instruction(t, 1)
		tt.edit(i)
		e := s.tell(Instruct{Instruction: i, Format: JSON, Raw: []byte("{}"), Key: "k"})
		if s.out.Status() != StatusRejected || s.out.ended.Refusal.Reason != tt.reason || len(e.Do) > 0 {
			t.Errorf("%s: %s, %+v", tt.name, s.out.Status(), s.out.ended)
		}
		if p := s.out.payment(); p.Refusal.Pointer == "" || p.Destination != nil {
			t.Errorf("%s: %+v", tt.name, p)
		}
	}
	for _, name := range []string{"DC/EP", "CNY", "CNY@cypherium"} {
		if a, err := assetNamed(n.genesis, name); err != nil || a != assetDCEP() {
			t.Errorf("%s: %v, %v", name, a, err)
		}
	}
	s := newScene(t, n)
	i := n.instruction(t, 1)
	i.Debtor.Name = "Ivan the Terrible"
	s.tell(Instruct{Instruction: i, Format: JSON, Raw: []byte("{}"), Key: "k"})
	if s.out.Status() != StatusRejected || s.out.ended.Refusal.Reason != "RR04" {
		t.Errorf("a name on the bank's own list: %+v", s.out.ended)
	}
}

// TestPointersFollowTheMessage: a fault is shown where the bank wrote it.
func TestPointersFollowTheMessage(t *testing.T) {
	i := &Instruction{}
	i.Original.Definition = "pacs.008.001.08"
	for _, member := range []string{
		"/uetr", "/end_to_end_id", "/instructing_agent", "/intermediary_agent", "/debtor/agent",
		"/creditor/agent", "/destination/asset", "/destination/amount", "/purpose", "/remittance",
		"/debtor/name", "/creditor/name",
	} {
		if at := i.pointer(member); !strings.HasPrefix(at, "/Document/FIToFICstmrCdtTrf/CdtTrfTxInf/") {
			t.Errorf("%s is at %s", member, at)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(newNetwork(f, nil).json(1), true)
	f.Add(pacs008(f), false)
	f.Fuzz(func(t *testing.T, raw []byte, isJSON bool) {
		format := XML
		if isJSON {
			format = JSON
		}
		i, err := Parse(raw, format, rand.Reader)
		if err != nil {
			refusal, ok := errors.AsType[*cypherlink.Error](err)
			if !ok || !iso20022.KnownReason(refusal.Reason) {
				t.Fatalf("%v", err)
			}
			return
		}
		var w wire.Writer
		i.appendWire(&w)
		r := wire.NewReader(w.Bytes())
		got := readInstruction(r)
		if err := r.End(); err != nil || got.digest() != i.digest() {
			t.Fatalf("not restored: %v", err)
		}
	})
}
