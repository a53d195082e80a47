package iso20022

import (
	"bytes"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/vectors"
)

// row is one sample in the manifest.
type row struct{ file, header, document, definition, verdict, reason string }

// manifest is the samples of the shared set.
func manifest(tb testing.TB) []row {
	tb.Helper()
	var rows []row
	for line := range strings.Lines(string(vectors.Read(tb, "iso20022/manifest.tsv"))) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) == 10 && strings.HasPrefix(f[0], "samples/") && strings.HasSuffix(f[0], ".xml") {
			rows = append(rows, row{strings.TrimPrefix(f[0], "samples/"), f[5], f[6], f[7], f[8], f[9]})
		}
	}
	if len(rows) != 93 {
		tb.Fatalf("%d samples in the manifest", len(rows))
	}
	return rows
}

// ours tells whether the document is of a message that the package reads.
func (r *row) ours() bool {
	for _, message := range []string{"pacs.008.", "pacs.002.", "pacs.004.", "admi.002."} {
		if strings.HasPrefix(r.document, message) {
			return true
		}
	}
	return false
}

// leftOut is the samples of our messages whose stated fault is no fault here, and why.
func leftOut() map[string]string {
	return map[string]string{
		"fednow_vectors/pacs008_non-usd.xml":                  "FedNow profile: every currency is carried",
		"fednow_vectors/pacs008_missing-category-purpose.xml": "FedNow profile: optional in ISO 20022",
	}
}

// stated is the code by which Parse or CheckUsage refuses a sample for the reason that the
// manifest states. What the manifest calls a differing MsgDefIdr is not listed.
func stated() map[string]cypherlink.Code {
	return map[string]cypherlink.Code{
		"cbpr/aws_pacs.008.xml":                                            CodeUnsupported,
		"cbpr_ur/y2025_p811a_pacs008_AtoB.xml":                             CodeService,
		"fednow/admi_002.xml":                                              CodeValue,
		"fednow/fednow_incoming.xml":                                       CodeMissing,
		"fednow_vectors/envelope_msgdefidr-mismatch.xml":                   CodeHeader,
		"fednow_vectors/pacs002_reject-without-reason.xml":                 CodeStatus,
		"fednow_vectors/pacs002_unknown-status.xml":                        CodeStatus,
		"misc/prowide_pacs.002-CDATA-with-header.xml":                      CodeUnsupported, // and below
		"negative/cbprplus_pacs008_sample_bic_mismatch.xml":                CodeHeader,
		"negative/cbprplus_pacs008_sample_dodgy_IBAN_and_bic_mismatch.xml": CodeIBAN,
		"negative/cbprplus_pacs008_sample_tag_mismatch_issue.xml":          CodeService,
		"negative/cbprplus_pacs008_sample_xsd_issue.xml":                   CodeUnexpected,
		"negative/pacs002_violates_R7_msgdefidr_mismatch.xml":              CodeHeader,
		"negative/pacs004_violates_R65_XAU.xml":                            CodeCurrency,
	}
}

func TestSamples(t *testing.T) {
	seen := 0
	for _, r := range manifest(t) {
		t.Run(r.file, func(t *testing.T) {
			m, err := Parse(vectors.Read(t, "iso20022/samples/"+r.file))
			switch {
			case !r.ours() && r.file != "cbpr/aws_pacs.008.xml":
				refusal(t, err) // another message, or none
			case leftOut()[r.file] != "":
				if err != nil {
					t.Fatalf("%s, yet: %v", leftOut()[r.file], err)
				}
			case r.verdict == "valid":
				if err != nil || !strings.HasPrefix(r.document, m.Definition) {
					t.Fatal(err)
				}
			default:
				if err == nil {
					err = m.CheckUsage()
				}
				want, ok := stated()[r.file]
				if strings.HasPrefix(r.reason, "MsgDefIdr ") {
					want, ok = CodeHeader, true
				}
				if got := refusal(t, err); !ok || got.Code != want {
					t.Fatalf("%s: got %v", r.reason, got)
				}
			}
		})
		if r.ours() {
			seen++
		}
	}
	if seen != 46 {
		t.Fatalf("%d samples of our messages", seen)
	}
}

// TestRaisedVersions sets the namespaces back to those that the header announces: then the
// messages are valid (SOURCES.md).
func TestRaisedVersions(t *testing.T) {
	seen := 0
	for _, r := range manifest(t) {
		if !r.ours() || !strings.HasPrefix(r.reason, "MsgDefIdr ") {
			continue
		}
		seen++
		raw := vectors.Read(t, "iso20022/samples/"+r.file)
		raised, _, _ := strings.Cut(r.document, " ")
		raw = bytes.ReplaceAll(raw, []byte("xsd:"+raised), []byte("xsd:"+r.definition))
		raw = bytes.ReplaceAll(raw, []byte("xsd:head.001.001.04"), []byte("xsd:head.001.001.02"))
		m, err := Parse(raw)
		if err != nil || m.Definition != r.definition {
			t.Errorf("%s: %v", r.file, err)
		}
	}
	if seen != 12 {
		t.Fatalf("%d samples", seen)
	}
}

// TestLongAdditionalInformation is the stated fault of a sample whose old header is refused
// before it.
func TestLongAdditionalInformation(t *testing.T) {
	raw := vectors.Read(t, "iso20022/samples/misc/prowide_pacs.002-CDATA-with-header.xml")
	document := regexp.MustCompile(`(?s)<Doc:Document xmlns:Doc="urn:.*</Doc:Document>`).Find(raw)
	_, err := Parse(document)
	if r := refusal(t, err); r.Code != CodeValue || !strings.HasSuffix(r.Pointer, "/StsRsnInf/AddtlInf[1]") &&
		!strings.HasSuffix(r.Pointer, "/StsRsnInf[1]/AddtlInf[1]") {
		t.Fatal(r)
	}
}

// TestHeaderVersions reads one header under each namespace that is accepted.
func TestHeaderVersions(t *testing.T) {
	for _, version := range []string{"02", "03", "04"} {
		s := replace(t, transfer(t), "xsd:head.001.001.02", "xsd:head.001.001."+version)
		if err := parse(s); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
	old := replace(t, transfer(t), "xsd:head.001.001.02", "xsd:head.001.001.01")
	if err := parse(replace(t, old, "T09:30:00+01:00</CreDt>", "T08:30:00Z</CreDt>")); err != nil {
		t.Error(err)
	}
	if r := refusal(t, parse(old)); r.Code != CodeValue || r.Pointer != "/Envelope/AppHdr/CreDt" {
		t.Error("a time that is not in UTC:", r)
	}
}

// TestEveryVersionOfTransfers reads the same transfer as each version of pacs.008.
func TestEveryVersionOfTransfers(t *testing.T) {
	for _, definition := range definitions {
		if !strings.HasPrefix(definition, "pacs.008.") {
			continue
		}
		s := strings.ReplaceAll(transfer(t), "pacs.008.001.08", definition)
		if definition == "pacs.008.001.07" {
			s = replace(t, s, "<UETR>eb6305c9-1f7f-49de-aed0-16487c27b42d</UETR>", "")
			s = replace(t, s, "<LEI>7LTWFZYICNSX8D621K86</LEI>", "<AnyBIC>AAAADEFF</AnyBIC>")
		}
		if err := parse(s); err != nil {
			t.Errorf("%s: %v", definition, err)
		}
	}
}

// TestFacets compares the hand-written forms with the regular expressions of the schemas.
func TestFacets(t *testing.T) {
	samples := []string{
		"", "0", "1", "12", "123", "1234", "999999999999999", "1234567890123456", "DE", "de", "DEU", "EUR",
		"EURO",
		"DEUTDEFF", "DEUTDEFF500", "DEUTDEF", "DEUTDEFF50", "D3UTDEFF", "DEUTD3FF", "DEUTDE0F", "DEUTDE1F",
		"DEUTDE2O", "DEUTDE20", "DEUTDEFFxxx", "TRGTXEPM", "DE89370400440532013000", "DE8937040044053201300a",
		"DEA9370400440532013000", "DE89", "DE891", "DE89-", "DE89" + strings.Repeat("1", 30),
		"DE89" + strings.Repeat("1", 31), "7LTWFZYICNSX8D621K86", "7LTWFZYICNSX8D621KA6",
		"7LTWFZYICNSX8D621K8",
		"7ltWFZYICNSX8D621K86", "eb6305c9-1f7f-49de-aed0-16487c27b42d",
		"eb6305c9-1f7f-59de-aed0-16487c27b42d",
		"eb6305c9-1f7f-49de-ced0-16487c27b42d", "eb6305c9-1f7f-49de-aed0-16487c27b42",
		"EB6305C9-1f7f-49de-aed0-16487c27b42d",
		"gb6305c9-1f7f-49de-aed0-16487c27b42d", "eb6305c9x1f7f-49de-aed0-16487c27b42d",
		"eb6305c9-1f7g-49de-aed0-16487c27b42d",
		"eb6305c9-1f7f-4Gde-aed0-16487c27b42d", "eb6305c9-1f7f-49de-agd0-16487c27b42d",
		"eb6305c9-1f7f-49de-aed0-16487c27b4-d",
		"+49-691234", "+4-1", "+49-", "49-1", "+-1", "+4999-1", "+49-()+-", "+49-x",
		"+49-" + strings.Repeat("1", 31),
		"+49-" + strings.Repeat("1", 30), "++49-1", "aB3z", "aB3", "aB3zz", "aB-z", "0aF", "0aG",
		strings.Repeat("0A", 32),
		strings.Repeat("0a", 32), strings.Repeat("0A", 31), "ü234", "Ünter", "AÄDE", "DE\n",
	}
	constants := map[string]pattern{
		"patternBIC": patternBIC, "patternOldBIC": patternOldBIC, "patternIBAN": patternIBAN,
		"patternLEI":  patternLEI,
		"patternUUID": patternUUID, "patternCountry": patternCountry, "patternCurrency": patternCurrency,
		"patternPhone": patternPhone, "patternDigits2": patternDigits2, "patternDigits15": patternDigits15,
		"patternAlnum4": patternAlnum4, "patternHex": patternHex, "patternHex32": patternHex32,
	}
	for _, expression := range slices.Sorted(maps.Keys(patterns)) {
		p, ok := constants[patterns[expression]]
		if !ok && patterns[expression] != "patternUTC" {
			t.Fatalf("%s is not tested", patterns[expression])
		}
		re := regexp.MustCompile("^(?:" + expression + ")$")
		for _, s := range samples {
			if ok && p.matches(s) != re.MatchString(s) {
				t.Errorf("%s takes %q: %v", patterns[expression], s, p.matches(s))
			}
		}
	}
	if !patternUTC.matches("x") || pattern(99).matches("x") {
		t.Error("an unknown pattern passes, or a time is looked at as text")
	}
}

func TestDecimals(t *testing.T) {
	tests := []struct {
		in          string
		total, frac uint8
		ok          bool
	}{
		{"0", 1, 0, true},
		{"12.5", 3, 1, true},
		{"-12.5", 3, 1, true},
		{"+12.5", 3, 1, true},
		{".5", 3, 1, true},
		{"00012.5000", 3, 1, true},
		{"0.00", 1, 0, true},
		{"0.001", 1, 3, true},
		{"12.55", 9, 1, false},
		{"1234", 3, 0, false},
		{"0.1234", 3, 9, false},
		{"1.", 9, 9, false},
		{".", 9, 9, false},
		{"", 9, 9, false},
		{"-", 9, 9, false},
		{"--1", 9, 9, false},
		{"1e3", 9, 9, false},
		{"1,5", 9, 9, false},
		{"1.5.5", 9, 9, false},
		{"١", 9, 9, false},
		{" 1", 9, 9, false},
		{"INF", 9, 9, false},
	}
	for _, tt := range tests {
		if got := isDecimal(tt.in, tt.total, tt.frac); got != tt.ok {
			t.Errorf("%q of %d, %d: %v", tt.in, tt.total, tt.frac, got)
		}
	}
}

// TestValues runs the kinds of value that the samples have little of.
func TestValues(t *testing.T) {
	tests := []struct {
		name, in string
		of       schemaType
		ok       bool
	}{
		{"a boolean", "1", schemaType{base: boolean}, true},
		{"no boolean", "yes", schemaType{base: boolean}, false},
		{"a time", "23:59:59", schemaType{base: clock}, true},
		{"a time with an offset", "23:59:59.5+01:00", schemaType{base: clock}, true},
		{"no time", "25:00:00", schemaType{base: clock}, false},
		{"a year", "2026", schemaType{base: year}, true},
		{"no year", "26", schemaType{base: year}, false},
		{"bytes", "AAAA", schemaType{base: binary, minLen: 3, maxLen: 3}, true},
		{"too few bytes", "AA==", schemaType{base: binary, minLen: 2}, false},
		{"too many bytes", "AAAA", schemaType{base: binary, maxLen: 2}, false},
		{"bits after the last byte", "AB==", schemaType{base: binary}, false},
		{"no base64", "A", schemaType{base: binary}, false},
		{"text without bound", strings.Repeat("x", 99999), schemaType{base: text}, true},
	}
	for _, tt := range tests {
		e := &element{name: "x", text: tt.in}
		if err := e.validate(&tt.of); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
