package iso20022

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
)

// transfer is the pacs.008 from which the tests below make bad ones.
func transfer(tb testing.TB) string {
	tb.Helper()
	b, err := os.ReadFile("testdata/pacs.008.xml")
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// refusal is err as what an outside caller is told.
func refusal(tb testing.TB, err error) *cypherlink.Error {
	tb.Helper()
	e, ok := errors.AsType[*cypherlink.Error](err)
	if !ok {
		tb.Fatalf("%v is no refusal", err)
	}
	if e.Code == "" || e.Message == "" || !KnownReason(e.Reason) {
		tb.Fatalf("%+v is incomplete", e)
	}
	return e
}

// replace is s with one occurrence of old, which has to be there, replaced.
func replace(tb testing.TB, s, old, with string) string {
	tb.Helper()
	if !strings.Contains(s, old) {
		tb.Fatalf("no %q", old)
	}
	return strings.Replace(s, old, with, 1)
}

func TestParseTransfer(t *testing.T) {
	m, err := Parse([]byte(transfer(t)))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.CheckUsage(); err != nil {
		t.Fatal(err)
	}
	c, ok := m.Document.(*CreditTransfer)
	if !ok || m.Definition != "pacs.008.001.08" || m.Header == nil {
		t.Fatalf("%+v", m)
	}
	got := fmt.Sprintf("%+v\n%+v\n", *m.Header, *c)
	golden(t, "testdata/pacs.008.golden", []byte(strings.ReplaceAll(got, " ", "\n")))
}

const tx = "/Envelope/Document/FIToFICstmrCdtTrf/CdtTrfTxInf[1]"

// edit is one change of the good transfer and the refusal that it must bring.
type edit struct {
	name, old, with string
	code            cypherlink.Code
	reason, at      string
}

func (e *edit) check(t *testing.T, parse func(string) error) {
	t.Helper()
	r := refusal(t, parse(replace(t, transfer(t), e.old, e.with)))
	if r.Code != e.code || r.Reason != e.reason || r.Pointer != e.at {
		t.Fatalf("got %v", r)
	}
	for _, secret := range []string{"Müller", "DE89370400440532013000", "6222021001098765432"} {
		if strings.Contains(r.Message, secret) {
			t.Fatalf("the message tells who it is about: %s", r.Message)
		}
	}
}

func TestParseRefusesHostileXML(t *testing.T) {
	const open = "/Envelope/Document/FIToFICstmrCdtTrf/CdtTrfTxInf" // not known yet to repeat
	const dtd = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>\n<Envelope"
	tests := []edit{
		{"a document type with entities", "<Envelope", dtd, CodeForbidden, "FF01", ""},
		{
			"an external document type", "<Envelope", "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><Envelope",
			CodeForbidden, "FF01", "",
		},
		{"an entity that nobody declared", "Müller", "&xxe;", CodeMalformed, "FF01", open + "/Dbtr/Nm"},
		{"a processing instruction", "<Envelope", "<?php x?><Envelope", CodeForbidden, "FF01", ""},
		{
			"another instruction first", `<?xml version="1.0" encoding="UTF-8"?>`, "<?x?>", CodeForbidden,
			"FF01", "",
		},
		{"text before the end of an element", "</UETR>", "</UETR>x", CodeMalformed, "FF01", open + "/PmtId"},
		{"a style sheet inside", "<PmtId>", "<?xml-stylesheet?><PmtId>", CodeForbidden, "FF01", open},
		{
			"a second XML declaration", "<Document", "<?xml version=\"1.0\"?><Document", CodeForbidden,
			"FF01", "/Envelope",
		},
		{"another encoding", `encoding="UTF-8"`, `encoding="ISO-8859-1"`, CodeMalformed, "FF01", ""},
		{"XML 1.1", `version="1.0"`, `version="1.1"`, CodeMalformed, "FF01", ""},
		{"a byte that is not UTF-8", "Müller", "M\xfcller", CodeMalformed, "FF01", open + "/Dbtr/Nm"},
		{"a NUL", "Müller", "M\x00ller", CodeMalformed, "FF01", open + "/Dbtr/Nm"},
		{"a NUL as reference", "Müller", "M&#0;ller", CodeMalformed, "FF01", open + "/Dbtr/Nm"},
		{"a control character of C1", "Müller", "M\u0085ller", CodeValue, "BE08", tx + "/Dbtr/Nm"},
		{"a delete character as reference", "Müller", "M&#127;ller", CodeValue, "BE08", tx + "/Dbtr/Nm"},
		{"a tag that is not closed", "</PmtId>", "", CodeMalformed, "FF01", open + "/PmtId"},
		{"an end", "</Envelope>", "", CodeMalformed, "FF01", "/Envelope"},
		{"a second root", "</Envelope>", "</Envelope><Envelope/>", CodeMalformed, "FF01", ""},
		{"text after the root", "</Envelope>", "</Envelope>x", CodeMalformed, "FF01", ""},
		{"text before the root", "<Envelope", "x<Envelope", CodeMalformed, "FF01", ""},
		{"text before an element", "<PmtId>", "x<PmtId>", CodeMalformed, "FF01", open},
		{"text after an element", "</PmtId>", "</PmtId>x", CodeMalformed, "FF01", open},
		{"CDATA between elements", "</PmtId>", "</PmtId><![CDATA[x]]>", CodeMalformed, "FF01", open},
		{
			"an attribute twice", `Ccy="CNY"`, `Ccy="CNY" Ccy="USD"`, CodeAttribute, "FF01",
			open + "/IntrBkSttlmAmt/@Ccy",
		},
		{"17 attributes", "<PmtId>", "<PmtId" + attributes(17) + ">", CodeTooLarge, "FF01", ""},
		{"33 levels", "<PmtId>", strings.Repeat("<a>", 29) + "<PmtId>", CodeTooLarge, "FF01", ""},
		{
			"10,001 elements", "<PmtId>", strings.Repeat("<a/>", MaxElements) + "<PmtId>", CodeTooLarge,
			"FF01", "",
		},
		{"1 MiB and more", "<PmtId>", strings.Repeat(" ", MaxSize) + "<PmtId>", CodeTooLarge, "FF01", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, parse) })
	}
	for _, nothing := range []string{"", " ", "\xef\xbb\xbf", "<!-- -->"} {
		if r := refusal(t, parse(nothing)); r.Code != CodeMalformed {
			t.Errorf("%q: %v", nothing, r)
		}
	}
}

func parse(s string) error {
	_, err := Parse([]byte(s))
	return err
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ` xmlns:a%d="x"`, i)
	}
	return b.String()
}

func TestParseTakesWhatXMLAllows(t *testing.T) {
	good := transfer(t)
	for name, s := range map[string]string{
		"a byte-order mark":   "\xef\xbb\xbf" + good,
		"no XML declaration":  good[strings.Index(good, "?>")+2:],
		"comments":            replace(t, good, "<PmtId>", "<!-- x --><PmtId>"),
		"a comment in a text": replace(t, good, "Müller", "Mül<!-- x -->ler"),
		"CDATA":               replace(t, good, "Müller", "<![CDATA[Müller]]>"),
		"references":          replace(t, good, "Müller", "M&#252;ll&#xe9;r &amp; &lt;"),
		"a schema location": replace(t, good, "<Envelope",
			`<Envelope xmlns:xsi="`+schemaInstance+`" xsi:schemaLocation="x"`),
		"no namespace on the wrap": replace(t, good, ` xmlns="urn:swift:xsd:envelope"`, ""),
		"a prefix":                 prefixed(t, good),
	} {
		if _, err := Parse([]byte(s)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// prefixed is the Document alone, every name with the prefix p.
func prefixed(tb testing.TB, s string) string {
	tb.Helper()
	s = s[strings.Index(s, "<Document"):strings.Index(s, "</Envelope>")]
	s = replace(tb, s, " xmlns=", " xmlns:p=")
	return regexp.MustCompile("<(/?)([A-Z])").ReplaceAllString(s, "<${1}p:${2}")
}

func TestParseRefusesWhatTheSchemaDoesNotAllow(t *testing.T) {
	tests := []edit{
		{
			"another version", "xsd:pacs.008.001.08", "xsd:pacs.008.001.06", CodeUnsupported, "FF01",
			"/Envelope/Document",
		},
		{
			"another message", "xsd:pacs.008.001.08", "xsd:pacs.009.001.08", CodeUnsupported, "FF01",
			"/Envelope/Document",
		},
		{
			"a header as document", "xsd:pacs.008.001.08", "xsd:head.001.001.02", CodeUnsupported, "FF01",
			"/Envelope/Document",
		},
		{
			"another namespace", "urn:iso:std:iso:20022:tech:xsd:pacs", "urn:pacs", CodeUnsupported, "FF01",
			"/Envelope/Document",
		},
		{
			"no namespace", ` xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"`, "", CodeUnsupported,
			"FF01", "/Envelope/Document",
		},
		{
			"another header", "xsd:head.001.001.02", "xsd:head.001.001.09", CodeUnsupported, "FF01",
			"/Envelope/AppHdr",
		},
		{
			"a document as header", "xsd:head.001.001.02", "xsd:pacs.008.001.08", CodeUnsupported, "FF01",
			"/Envelope/AppHdr",
		},
		{
			"an element in another namespace", "<PmtId>", `<PmtId xmlns="x">`, CodeUnsupported, "FF01",
			tx + "/PmtId",
		},
		{"an unknown element", "<ChrgBr>", "<Chrg/><ChrgBr>", CodeUnknown, "FF01", tx + "/Chrg"},
		{"an element of another place", "<ChrgBr>", "<Ustrd/><ChrgBr>", CodeUnknown, "FF01", tx + "/Ustrd"},
		{
			"an element twice", "<ChrgBr>", "<ChrgBr>SLEV</ChrgBr><ChrgBr>", CodeUnexpected, "BE19",
			tx + "/ChrgBr[2]",
		},
		{
			"an element too late", "</RmtInf>", "</RmtInf><ChrgBr>SLEV</ChrgBr>", CodeUnexpected, "BE19",
			tx + "/ChrgBr[2]",
		},
		{
			"a missing element", "<EndToEndId>E2E-4711</EndToEndId>", "", CodeMissing, "FF08",
			tx + "/PmtId/EndToEndId",
		},
		{"a missing charge bearer", "<ChrgBr>SHAR</ChrgBr>", "", CodeMissing, "BE19", tx + "/ChrgBr"},
		{"no choice", "<IBAN>DE89370400440532013000</IBAN>", "", CodeMissing, "FF01", tx + "/DbtrAcct/Id"},
		{
			"both choices", "</IBAN>", "</IBAN><Othr><Id>1</Id></Othr>", CodeUnexpected, "FF01",
			tx + "/DbtrAcct/Id/Othr",
		},
		{
			"text instead of elements", "<Dbtr>", "<UltmtDbtr>x</UltmtDbtr><Dbtr>", CodeUnexpected, "FF01",
			tx + "/UltmtDbtr",
		},
		{"an unknown attribute", "<PmtId>", `<PmtId a="1">`, CodeAttribute, "FF01", tx + "/PmtId/@a"},
		{
			"a currency of no amount", "<PmtId>", `<PmtId Ccy="EUR">`, CodeAttribute, "FF01",
			tx + "/PmtId/@Ccy",
		},
		{
			"another attribute of an amount", ` Ccy="`, ` Cur="`, CodeAttribute, "FF01",
			tx + "/IntrBkSttlmAmt/@Cur",
		},
		{
			"a schema location of another namespace", "<PmtId>", `<PmtId xmlns:p="x" p:schemaLocation="y">`,
			CodeAttribute, "FF01", tx + "/PmtId/@schemaLocation",
		},
		{
			"xsi:nil", "<Dbtr>", `<Dbtr xmlns:i="` + schemaInstance + `" i:nil="true">`, CodeAttribute,
			"FF01", tx + "/Dbtr/@nil",
		},
		{
			"an attribute in a namespace", ` Ccy="`, ` xmlns:p="x" p:Ccy="`, CodeAttribute, "FF01",
			tx + "/IntrBkSttlmAmt/@Ccy",
		},
		{
			"an attribute on the wrapper", "<Envelope", `<Envelope a="1"`, CodeAttribute, "FF01",
			"/Envelope/@a",
		},
		{
			"a body after the document", "</Document>", "</Document><Document/>", CodeUnexpected, "FF01",
			"/Envelope/Document[2]",
		},
		{"two headers", "<Document", "<AppHdr/><Document", CodeUnknown, "FF01", "/Envelope/AppHdr[2]"},
		{
			"something else in the wrapper", "<Document", "<Note/><Document", CodeUnknown, "FF01",
			"/Envelope/Note",
		},
		{
			"a header for another message", "<MsgDefIdr>pacs.008.001.08", "<MsgDefIdr>pacs.008.001.12",
			CodeHeader, "FF01", "/Envelope/AppHdr/MsgDefIdr",
		},
		{
			"a header without sender", "<BICFI>AAAADEFFXXX</BICFI>", "<x/>", CodeUnknown, "FF01",
			"/Envelope/AppHdr/Fr/FIId/FinInstnId/x",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, parse) })
	}
}

func TestParseRefusesOtherRoots(t *testing.T) {
	header := transfer(t)[strings.Index(transfer(t), "<AppHdr"):strings.Index(transfer(t), "<Document")]
	for _, tt := range []struct {
		name, in string
		code     cypherlink.Code
		at       string
	}{
		{"an unknown wrapper", strings.ReplaceAll(transfer(t), "Envelope", "Body"), CodeUnsupported, "/Body"},
		{"a header alone", header, CodeUnsupported, "/AppHdr"},
		{
			"a wrapper with a header alone", "<Envelope>" + header + "</Envelope>", CodeMissing,
			"/Envelope/Document",
		},
		{"an empty wrapper", "<Envelope/>", CodeMissing, "/Envelope/Document"},
		{
			"wrappers without end", "<Envelope><Request><message/></Request></Envelope>", CodeMissing,
			"/Envelope/Document",
		},
		{
			"an empty document", `<Document xmlns="` + namespace + `pacs.008.001.08"/>`, CodeMissing,
			"/Document/FIToFICstmrCdtTrf",
		},
		{
			"elements in a text", strings.Replace(transfer(t), "SHAR", "<x/>", 1), CodeUnknown,
			tx + "/ChrgBr/x",
		},
		{
			"an empty group", `<Document xmlns="` + namespace + `pacs.008.001.08"><FIToFICstmrCdtTrf>` +
				`<GrpHdr/></FIToFICstmrCdtTrf></Document>`, CodeMissing,
			"/Document/FIToFICstmrCdtTrf/GrpHdr/MsgId",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := refusal(t, parse(tt.in)); r.Code != tt.code || r.Pointer != tt.at {
				t.Fatal(r)
			}
		})
	}
}

func TestParseRefusesValues(t *testing.T) {
	const amount = ">2000.00<"
	at := tx + "/IntrBkSttlmAmt"
	tests := []edit{
		{"no currency", ` Ccy="CNY"`, "", CodeAttribute, "AM11", at + "/@Ccy"},
		{"gold", `Ccy="CNY"`, `Ccy="XAU"`, CodeCurrency, "AM03", at + "/@Ccy"},
		{"an unknown currency", `Ccy="CNY"`, `Ccy="ABC"`, CodeCurrency, "AM03", at + "/@Ccy"},
		{"a withdrawn currency", `Ccy="CNY"`, `Ccy="DEM"`, CodeCurrency, "AM03", at + "/@Ccy"},
		{"three digits of CNY", amount, ">2000.001<", CodeAmount, "CH20", at},
		{"digits of JPY", `Ccy="CNY">2000.00`, `Ccy="JPY">2000.00`, CodeAmount, "CH20", at},
		{"a negative amount", amount, ">-2000.00<", CodeAmount, "AM12", at},
		{"a plus", amount, ">+2000.00<", CodeAmount, "AM12", at},
		{"an exponent", amount, ">2e3<", CodeAmount, "AM12", at},
		{"a comma", amount, ">2000,00<", CodeAmount, "AM12", at},
		{"a space", amount, "> 2000.00<", CodeAmount, "AM12", at},
		{"thousands", amount, ">2 000.00<", CodeAmount, "AM12", at},
		{"a leading zero", amount, ">02000.00<", CodeAmount, "AM12", at},
		{"nothing", amount, "><", CodeAmount, "AM12", at},
		{"infinity", amount, ">INF<", CodeAmount, "AM12", at},
		{"more than 2^63", amount, ">92233720368547758.08<", CodeAmount, "AM12", at},
		{"a long amount", amount, ">" + strings.Repeat("9", 500) + "<", CodeAmount, "AM12", at},
		{
			"a BIC of 9", "BICFI>BBBBCNBJXXX</BICFI>\n        </FinInstnId></CdtrAgt>",
			"BICFI>BBBBCNBJX</BICFI>\n        </FinInstnId></CdtrAgt>", CodeValue, "RC04",
			tx + "/CdtrAgt/FinInstnId/BICFI",
		},
		{
			"a BIC of no country", "BICFI>BBBBCNBJXXX</BICFI>\n        </FinInstnId></CdtrAgt>",
			"BICFI>BBBBZZBJXXX</BICFI>\n        </FinInstnId></CdtrAgt>", CodeBIC, "RC04",
			tx + "/CdtrAgt/FinInstnId/BICFI",
		},
		{
			"a lower-case BIC in the header", "AAAADEFFXXX", "aaaadeffxxx", CodeValue, "RC01",
			"/Envelope/AppHdr/Fr/FIId/FinInstnId/BICFI",
		},
		{"wrong check digits of an IBAN", "DE8937", "DE8837", CodeIBAN, "AC02", tx + "/DbtrAcct/Id/IBAN"},
		{
			"an IBAN in print form", "DE8937040044", "DE89 3704 0044", CodeValue, "AC02",
			tx + "/DbtrAcct/Id/IBAN",
		},
		{"an IBAN in lower case", "DE8937", "de8937", CodeValue, "AC02", tx + "/DbtrAcct/Id/IBAN"},
		{"an upper-case UETR", "eb6305c9", "EB6305C9", CodeValue, "FF01", tx + "/PmtId/UETR"},
		{"a UETR of version 1", "-49de-", "-19de-", CodeValue, "FF01", tx + "/PmtId/UETR"},
		{"an unknown charge bearer", "SHAR", "OURS", CodeValue, "BE19", tx + "/ChrgBr"},
		{"31 February", "2026-11-24</Intr", "2026-02-31</Intr", CodeValue, "DT01", tx + "/IntrBkSttlmDt"},
		{
			"a date with time", "2026-11-24</Intr", "2026-11-24T00:00:00</Intr", CodeValue, "DT01",
			tx + "/IntrBkSttlmDt",
		},
		{
			"a date of two digits", "2026-11-24</Intr", "26-11-24</Intr", CodeValue, "DT01",
			tx + "/IntrBkSttlmDt",
		},
		{
			"a comma in a time", "T09:30:00.000+01:00</CreDtTm", "T09:30:00,000+01:00</CreDtTm", CodeValue,
			"DT02", "/Envelope/Document/FIToFICstmrCdtTrf/GrpHdr/CreDtTm",
		},
		{
			"one digit of an hour", "T09:30:00.000+01:00</CreDtTm", "T9:30:00.000+01:00</CreDtTm", CodeValue,
			"DT02", "/Envelope/Document/FIToFICstmrCdtTrf/GrpHdr/CreDtTm",
		},
		{
			"hour 24", "T09:30:00.000+01:00</CreDtTm", "T24:00:00</CreDtTm", CodeValue, "DT02",
			"/Envelope/Document/FIToFICstmrCdtTrf/GrpHdr/CreDtTm",
		},
		{
			"a name of 141 characters", "Müller GmbH", strings.Repeat("ü", 141), CodeValue, "BE08",
			tx + "/Dbtr/Nm",
		},
		{"an empty name", "<Nm>Müller GmbH</Nm>", "<Nm/>", CodeValue, "BE08", tx + "/Dbtr/Nm"},
		{"a country of three letters", "<Ctry>DE", "<Ctry>DEU", CodeValue, "BE10", tx + "/Dbtr/PstlAdr/Ctry"},
		{
			"no number of transactions", "<NbOfTxs>1", "<NbOfTxs>one", CodeValue, "AM18",
			"/Envelope/Document/FIToFICstmrCdtTrf/GrpHdr/NbOfTxs",
		},
		{
			"another number of transactions", "<NbOfTxs>1", "<NbOfTxs>2", CodeTransactions, "AM18",
			"/Envelope/Document/FIToFICstmrCdtTrf/GrpHdr/NbOfTxs",
		},
		{
			"a wrong LEI", "7LTWFZYICNSX8D621K86", "7LTWFZYICNSX8D621K87", CodeLEI, "BE15",
			tx + "/Dbtr/Id/OrgId/LEI",
		},
		{
			"a control sum of words", "<CtrlSum>2000", "<CtrlSum>two", CodeValue, "AM10",
			"/Envelope/Document/FIToFICstmrCdtTrf/GrpHdr/CtrlSum",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, parse) })
	}
}

func TestParseTakesOneTransaction(t *testing.T) {
	s := transfer(t)
	one := s[strings.Index(s, "<CdtTrfTxInf>") : strings.Index(s, "</CdtTrfTxInf>")+len("</CdtTrfTxInf>")]
	s = replace(t, replace(t, s, one, one+one), "<NbOfTxs>1", "<NbOfTxs>2")
	r := refusal(t, parse(s))
	if r.Code != CodeTransactions || r.Reason != "AM18" || !strings.HasSuffix(r.Pointer, "/CdtTrfTxInf[2]") {
		t.Fatal(r)
	}
}

func TestChoice(t *testing.T) {
	leaf := schemaType{base: text}
	one := schemaType{model: choice, parts: []part{{"a", &leaf, 1, 1}, {"b", &leaf, 1, 2}}}
	none := schemaType{model: choice, parts: []part{{"a", &leaf, 0, 1}, {"b", &leaf, 1, 1}}}
	tests := []struct {
		name, in string
		of       *schemaType
		code     cypherlink.Code
	}{
		{"the first", "<x><a/></x>", &one, ""},
		{"the second as often as it may", "<x><b/><b/></x>", &one, ""},
		{"the second too often", "<x><b/><b/><b/></x>", &one, CodeUnexpected},
		{"the first twice", "<x><a/><a/></x>", &one, CodeUnexpected},
		{"both", "<x><b/><a/></x>", &one, CodeUnexpected},
		{"neither", "<x></x>", &one, CodeMissing},
		{"neither where one may be left out", "<x></x>", &none, ""},
		{"another", "<x><c/></x>", &one, CodeUnknown},
		{"one of another namespace", `<x><a xmlns="y"/></x>`, &one, CodeUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root, err := parseTree([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			err = root.validate(tt.of)
			if tt.code == "" && err != nil || tt.code != "" && refusal(t, err).Code != tt.code {
				t.Fatal(err)
			}
		})
	}
}

// TestAnything runs the two places where a message may hold what no schema here describes.
func TestAnything(t *testing.T) {
	data := func(inner string) string {
		inner = "<SplmtryData><Envlp>" + inner + "</Envlp></SplmtryData>"
		return replace(t, transfer(t), "</RmtInf>", "</RmtInf>"+inner)
	}
	signature := func(inner string) string {
		return replace(t, transfer(t), "</CreDt>", "</CreDt><Sgntr>"+inner+"</Sgntr>")
	}
	tests := []struct {
		name, in string
		code     cypherlink.Code
	}{
		{"supplementary data", data(`<x xmlns="y" z="1"><a/><a>b</a></x>`), ""},
		{"a signature", signature(`<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"/>`), ""},
		{"no data", data(""), CodeUnexpected},
		{"text for data", data("x"), CodeUnexpected},
		{"two data", data("<x/><x/>"), CodeUnexpected},
		{"no signature", signature(""), CodeUnexpected},
		{"a signature of another namespace", signature(`<Signature xmlns="x"/>`), CodeUnexpected},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := parse(tt.in)
			if tt.code == "" && err != nil || tt.code != "" && refusal(t, err).Code != tt.code {
				t.Fatal(err)
			}
		})
	}
}

// TestParseUsesBoundedMemory feeds what costs the most a byte.
func TestParseUsesBoundedMemory(t *testing.T) {
	for name, s := range map[string]string{
		"attributes": "<a " + strings.Repeat("a='' ", MaxSize/5-2) + "/>",
		"elements":   "<a>" + strings.Repeat("<a/>", MaxSize/4-2) + "</a>",
		"depth":      strings.Repeat("<a>", MaxSize/3),
		"comments":   strings.Repeat("<!---->", MaxSize/7),
		"text":       "<a>" + strings.Repeat("&#x6;", MaxSize/6) + "</a>",
		"a name":     "<" + strings.Repeat("a", MaxSize-3) + "/>",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := parse(s)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; err == nil || used > 80*MaxSize {
			t.Errorf("%s: %d bytes allocated, %v", name, used, err)
		}
	}
}
