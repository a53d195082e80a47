package iso20022

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"go/format"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/internal/vectors"
)

var update = flag.Bool("update", false, "rewrite the generated tables and golden files")

// xsd is what the base schemas use of XML Schema.
type xsd struct {
	Elements []xsdElement `xml:"element"`
	Complex  []struct {
		Name     string        `xml:"name,attr"`
		Sequence *xsdParticles `xml:"sequence"`
		Choice   *xsdParticles `xml:"choice"`
		Simple   *struct {
			Extension struct {
				Base       string `xml:"base,attr"`
				Attributes []struct {
					Name string `xml:"name,attr"`
					Use  string `xml:"use,attr"`
				} `xml:"attribute"`
			} `xml:"extension"`
		} `xml:"simpleContent"`
	} `xml:"complexType"`
	Simple []struct {
		Name        string `xml:"name,attr"`
		Restriction struct {
			Base   string `xml:"base,attr"`
			Facets []struct {
				XMLName xml.Name
				Value   string `xml:"value,attr"`
			} `xml:",any"`
		} `xml:"restriction"`
	} `xml:"simpleType"`
}

type xsdParticles struct {
	Elements []xsdElement   `xml:"element"`
	Any      []xsdElement   `xml:"any"`
	Sequence []xsdParticles `xml:"sequence"`
	Choice   []xsdParticles `xml:"choice"`
}

type xsdElement struct {
	Name string `xml:"name,attr"`
	Type string `xml:"type,attr"`
	Min  string `xml:"minOccurs,attr"`
	Max  string `xml:"maxOccurs,attr"`

	Namespace string `xml:"namespace,attr"` // of any
}

// definitions are the messages of the table.
var definitions = []string{
	"admi.002.001.01", "head.001.001.01", "head.001.001.02", "head.001.001.04",
	"pacs.002.001.03", "pacs.002.001.10", "pacs.002.001.11", "pacs.002.001.12", "pacs.002.001.14",
	"pacs.002.001.15", "pacs.004.001.09", "pacs.004.001.10", "pacs.004.001.13", "pacs.004.001.14", "pacs.008.001.07", "pacs.008.001.08", "pacs.008.001.12", "pacs.008.001.13",
}

// patterns are the regular expressions of the schemas and the constants that stand for them.
var patterns = map[string]string{
	`[A-Z0-9]{4,4}[A-Z]{2,2}[A-Z0-9]{2,2}([A-Z0-9]{3,3}){0,1}`:            "patternBIC",
	`[A-Z]{6,6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3,3}){0,1}`:                   "patternOldBIC",
	`[A-Z]{2,2}[0-9]{2,2}[a-zA-Z0-9]{1,30}`:                               "patternIBAN",
	`[A-Z0-9]{18,18}[0-9]{2,2}`:                                           "patternLEI",
	`[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}`: "patternUUID",
	`[A-Z]{2,2}`:                    "patternCountry",
	`[A-Z]{3,3}`:                    "patternCurrency",
	`\+[0-9]{1,3}-[0-9()+\-]{1,30}`: "patternPhone",
	`[0-9]{2}`:                      "patternDigits2",
	`[0-9]{1,15}`:                   "patternDigits15",
	`[a-zA-Z0-9]{4}`:                "patternAlnum4",
	`[0-9a-fA-F]+`:                  "patternHex",
	`([0-9A-F][0-9A-F]){32}`:        "patternHex32",
	`.*Z`:                           "patternUTC",
}

// table collects Go source for the types of all schemas, equal types once.
type table struct {
	variables map[string]string // Go source of a type to the name of its variable
	taken     map[string]int    // ISO name to the number of variables
	out       bytes.Buffer
}

// variable is the name of the variable that holds the type with that source.
func (t *table) variable(name, source string) string {
	if v, ok := t.variables[source]; ok {
		return v
	}
	t.taken[name]++
	v := "x" + strings.NewReplacer(".", "", "_", "").Replace(name)
	if n := t.taken[name]; n > 1 {
		v += "v" + strconv.Itoa(n)
	}
	t.variables[source] = v
	fmt.Fprintf(&t.out, "\t%s = schemaType{%s}\n", v, source)
	return v
}

// add writes the type of that name and those below it and gives the variable of it.
func (t *table) add(tb testing.TB, s *xsd, name string) string {
	tb.Helper()
	for i := range s.Simple {
		if s.Simple[i].Name == name {
			return t.variable(name, simple(tb, s, name))
		}
	}
	for i := range s.Complex {
		c := &s.Complex[i]
		if c.Name != name {
			continue
		}
		if c.Simple != nil {
			a := c.Simple.Extension.Attributes
			if len(a) != 1 || a[0].Name != "Ccy" || a[0].Use != "required" {
				tb.Fatalf("%s has attributes %v", name, a)
			}
			return t.variable(name, simple(tb, s, c.Simple.Extension.Base)+", currency: true")
		}
		kind, parts := "sequence", c.Sequence
		if c.Choice != nil {
			kind, parts = "choice", c.Choice
		}
		if kind == "sequence" && len(parts.Choice) == 1 && len(parts.Elements) == 0 { // older schemas
			kind, parts = "choice", &parts.Choice[0]
		}
		if len(parts.Sequence)+len(parts.Choice) > 0 {
			tb.Fatalf("%s is nested: %+v", name, parts)
		}
		if len(parts.Any) > 0 {
			if len(parts.Elements) > 0 {
				tb.Fatalf("%s mixes any and elements", name)
			}
			source := "model: anything"
			if len(parts.Any) > 1 || parts.Any[0].Min+parts.Any[0].Max != "" {
				tb.Fatalf("%s has more than one of anything", name)
			}
			if space := parts.Any[0].Namespace; space != "##any" {
				source += ", space: " + strconv.Quote(space)
			}
			return t.variable(name, source)
		}
		source := "model: " + kind + ", parts: []part{"
		for _, e := range parts.Elements {
			source += t.part(tb, s, e) + ", "
		}
		return t.variable(name, strings.TrimSuffix(source, ", ")+"}")
	}
	tb.Fatalf("no type %s", name)
	return ""
}

func (t *table) part(tb testing.TB, s *xsd, e xsdElement) string {
	tb.Helper()
	least, most := e.Min, e.Max
	if least == "" {
		least = "1"
	}
	switch most {
	case "":
		most = "1"
	case "unbounded":
		most = "0"
	}
	return fmt.Sprintf("{%q, &%s, %s, %s}", e.Name, t.add(tb, s, e.Type), least, most)
}

// simple is the Go source of a simple type.
func simple(tb testing.TB, s *xsd, name string) string {
	tb.Helper()
	for i := range s.Simple {
		if s.Simple[i].Name != name {
			continue
		}
		r := s.Simple[i].Restriction
		kind, ok := map[string]string{
			"xs:string": "text", "xs:decimal": "decimal", "xs:boolean": "boolean", "xs:date": "date",
			"xs:dateTime": "dateTime", "xs:time": "clock", "xs:gYear": "year", "xs:base64Binary": "binary",
		}[r.Base]
		if !ok {
			tb.Fatalf("%s restricts %s", name, r.Base)
		}
		source := "base: " + kind
		var enum []string
		for _, f := range r.Facets {
			switch f.XMLName.Local {
			case "minLength":
				source += ", minLen: " + f.Value
			case "maxLength":
				source += ", maxLen: " + f.Value
			case "length":
				source += ", minLen: " + f.Value + ", maxLen: " + f.Value
			case "totalDigits":
				source += ", total: " + f.Value
			case "fractionDigits":
				source += ", frac: " + f.Value
			case "enumeration":
				enum = append(enum, strconv.Quote(f.Value))
			case "pattern":
				if patterns[f.Value] == "" {
					tb.Fatalf("%s has the unknown pattern %s", name, f.Value)
				}
				source += ", pattern: " + patterns[f.Value]
			case "minInclusive":
				if f.Value != "0" || r.Base != "xs:decimal" {
					tb.Fatalf("%s has the lower bound %s", name, f.Value)
				}
			default:
				tb.Fatalf("%s has the unknown facet %s", name, f.XMLName.Local)
			}
		}
		if len(enum) > 0 {
			slices.Sort(enum)
			source += ", enum: []string{" + strings.Join(enum, ", ") + "}"
		}
		return source
	}
	tb.Fatalf("no simple type %s", name)
	return ""
}

// TestSchemaTable compares schema_table.go with the schemas that it is generated from; with
// -update it writes the file.
func TestSchemaTable(t *testing.T) {
	tab := table{variables: map[string]string{}, taken: map[string]int{}}
	roots := ""
	for _, definition := range definitions {
		var s xsd
		if err := xml.Unmarshal(vectors.Read(t, "iso20022/xsd/iso/"+definition+".xsd"), &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Elements) != 1 {
			t.Fatalf("%s has %d roots", definition, len(s.Elements))
		}
		root := s.Elements[0]
		roots += fmt.Sprintf("\tcase %q:\n\t\treturn &%s\n", definition, tab.add(t, &s, root.Type))
	}
	source := "// Code generated by go test -update from the ISO 20022 base schemas. DO NOT EDIT.\n\n" +
		"package iso20022\n\n" +
		"// schemaOf is the type of the root element of a message definition, or nil.\n" +
		"func schemaOf(definition string) *schemaType {\n\tswitch definition {\n" + roots +
		"\t}\n\treturn nil\n}\n\nvar (\n" + tab.out.String() + ")\n"
	formatted, err := format.Source([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "schema_table.go", formatted)
}

// TestReasonTable compares reason_table.go with the external code sets that it is generated
// from; with -update it writes the file.
func TestReasonTable(t *testing.T) {
	source := "// Code generated by go test -update from the ISO 20022 external code sets. DO NOT EDIT.\n\n" +
		"package iso20022\n\nconst (\n"
	for _, set := range []struct {
		constant, file string
		known          func(string) bool
		foreign        string // a code of the other set
	}{
		{"statusReasons", "external_status_reason_code", KnownReason, "FRTR"},
		{"returnReasons", "external_return_reason_code", KnownReturnReason, "AC05"},
	} {
		codes := codeSet(t, set.file)
		source += "\t" + set.constant + " = " + strconv.Quote(strings.Join(codes, " ")) + "\n"
		for _, code := range codes {
			if len(code) != 4 || !set.known(code) {
				t.Errorf("%s is unknown", code)
			}
		}
		for _, code := range []string{"", "AC0", "AC011", "01 A", "LEGL", "ac01", set.foreign} {
			if set.known(code) {
				t.Errorf("%q is known", code)
			}
		}
	}
	golden(t, "reason_table.go", []byte(source+")\n"))
}

func TestStatusesAreTheExternalCodeSet(t *testing.T) {
	for _, code := range codeSet(t, "external_payment_transaction_status_code") {
		if !Status(code).Known() {
			t.Errorf("%s is unknown", code)
		}
	}
	for _, s := range []Status{
		Received, AcceptedTechnical, Pending, AcceptedCustomer, AcceptedFunds, AcceptedSettling,
		SettlementCompleted, CreditorCompleted, Rejected, Cancelled, Blocked,
	} {
		if !s.Known() {
			t.Errorf("%s is unknown", s)
		}
	}
	for _, s := range []Status{"", "ACS", "EXTx", "C AC", "PART"} {
		if s.Known() {
			t.Errorf("%q is known", s)
		}
	}
}

// codeSet is the sorted codes of an external code set.
func codeSet(tb testing.TB, name string) []string {
	tb.Helper()
	var set struct{ Codes map[string]string }
	vectors.JSON(tb, "iso20022/codes/"+name+".json", &set)
	return slices.Sorted(maps.Keys(set.Codes))
}

// golden compares with a file of this package; with -update it writes the file.
func golden(tb testing.TB, name string, got []byte) {
	tb.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		tb.Fatalf("%s differs; run go test with -update and read the difference", name)
	}
}
