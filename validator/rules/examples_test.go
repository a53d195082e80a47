package rules_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/internal/vectors"
	"github.com/cypherlink/cypherlink/validator/rules"
)

// The examples are the documentation of the two sets: each rule refuses at least one.
func TestEmbeddedSetsKeepToTheirExamples(t *testing.T) {
	for name, sets := range map[string]func() ([]byte, []byte){
		"de": rules.DigitalEuro, "dcep": rules.DigitalYuan,
	} {
		t.Run(name, func(t *testing.T) {
			document, examples := sets()
			s := set(t, document)
			if s.Name() != name {
				t.Fatal(s.Name())
			}
			report, err := s.RunExamples(examples)
			if err != nil {
				t.Fatal(err)
			}
			approved := 0
			for _, r := range report.Results {
				if r.Fault != "" {
					t.Errorf("%s: %s", r.Name, r.Fault)
				}
				if r.Decision.Rule == "" {
					approved++
				}
				if r.Decision.Reason == "MS03" {
					t.Errorf("%s: a rule of the set cannot be evaluated: %+v", r.Name, r.Decision.Trace)
				}
			}
			if report.Faults() != 0 || len(report.Unrefused) != 0 || approved < 3 {
				t.Fatalf("%d faults, no example fails %v, %d approved",
					report.Faults(), report.Unrefused, approved)
			}
		})
	}
}

func TestPurposesOfTheSetsAreISOCodes(t *testing.T) {
	var file struct {
		Codes map[string]string `json:"codes"`
	}
	vectors.JSON(t, "iso20022/codes/external_purpose_code.json", &file)
	found := 0
	for _, sets := range []func() ([]byte, []byte){rules.DigitalEuro, rules.DigitalYuan} {
		document, _ := sets()
		for _, r := range set(t, document).Rules() {
			if r.ID != "purpose" {
				continue
			}
			for i, code := range strings.Split(r.Expression, `"`) {
				if i%2 == 0 || code == "" {
					continue
				}
				found++
				if file.Codes[code] == "" {
					t.Errorf("%s is no purpose", code)
				}
			}
		}
	}
	if found < 20 {
		t.Fatalf("%d purposes", found)
	}
}

func TestRunnerFindsFaults(t *testing.T) {
	d := small()
	s := set(t, encode(t, &d))
	const file = `{"format":"cypherlink-examples-v1","rule_set":"small","base":{"amount":1,"ledger":"de",
		"code":"EUR","scale":2,"debit.bic":"DEUTDEFFXXX","credit.bic":"CHASDEFXXXX","expires_in":9},
		"examples":[
		{"name":"right","change":{"amount":10001},"outcome":"reject","rule":"limit","reason":"AM02"},
		{"name":"right, approved","change":{},"outcome":"approve","rule":"","reason":""},
		{"name":"another outcome","change":{"amount":10001},"outcome":"hold","rule":"limit","reason":"AM02"},
		{"name":"another rule","change":{"amount":10001},"outcome":"reject","rule":"review","reason":"AM02"},
		{"name":"another reason","change":{"amount":10001},"outcome":"reject","rule":"limit","reason":"RR04"},
		{"name":"approved, not expected","change":{},"outcome":"reject","rule":"limit","reason":"AM02"}]}`
	report, err := s.RunExamples([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	var faulty []string
	for _, r := range report.Results {
		if r.Fault != "" {
			faulty = append(faulty, r.Name)
		}
	}
	want := []string{"another outcome", "another rule", "another reason", "approved, not expected"}
	unrefused := slices.Equal(report.Unrefused, []string{"review"})
	if !slices.Equal(faulty, want) || report.Faults() != 4 || !unrefused {
		t.Fatalf("%q, %d, %q", faulty, report.Faults(), report.Unrefused)
	}
	if got := report.Results[5].Fault; got != "approve, expected reject limit AM02" {
		t.Fatal(got)
	}
	erring := strings.Replace(file, `"small"`, `"test"`, 1)
	report, err = write(t, `kyc.purpose == ""`).RunExamples([]byte(erring))
	if err != nil || !strings.Contains(report.Results[0].Fault, "no such attribute(s): kyc.purpose") {
		t.Fatalf("%v, %v", report, err)
	}
}

func TestRunnerRefusesMalformedFiles(t *testing.T) {
	_, examples := rules.DigitalEuro()
	replace := func(old, by string) []byte {
		if !bytes.Contains(examples, []byte(old)) {
			t.Fatalf("no %q", old)
		}
		return bytes.Replace(examples, []byte(old), []byte(by), 1)
	}
	many := bytes.Repeat([]byte(`{"name":"x","change":{},"outcome":"approve","rule":"","reason":""},`), 1001)
	tests := []struct {
		name string
		file []byte
	}{
		{"nothing", nil},
		{"no JSON", []byte("examples")},
		{"two files in one", append(bytes.Clone(examples), examples...)},
		{"another format", replace("examples-v1", "examples-v2")},
		{"another set's", replace(`"rule_set": "de"`, `"rule_set": "dcep"`)},
		{"an unknown key", replace(`"rule_set"`, `"author": "x", "rule_set"`)},
		{"an unknown variable", replace(`"amount": 100100`, `"amounts": 100100`)},
		{"an unknown field", replace(`"kyc.purpose"`, `"kyc.purposes"`)},
		{"what was told, set by itself", replace(`"kyc.purpose": "GDDS"`, `"told.purpose": true`)},
		{"a country apart from its BIC", replace(`"scale": 2`, `"scale": 2, "debit.country": "DE"`)},
		{"a fraction of a cent", replace(`100100`, `100100.5`)},
		{"an amount as a text", replace(`100100`, `"100100"`)},
		{"no amount", replace(`100100`, `0`)},
		{"null for an amount", replace(`"change": {}`, `"change": {"amount": null}`)},
		{"a BIC that is none", replace(`DEUTDEFFXXX`, `DEUTDEFF`)},
		{"a text that no file can hold", replace(`country": "DE"`, `country": "Germany"`)},
		{"a number for a text", replace(`country": "DE"`, `country": 49`)},
		{"a score of nobody", replace(`"kyc.debtor.name": "Müller & Söhne GmbH"`, `"kyc.debtor.name": null`)},
		{"too many examples", replace(`"examples": [`, `"examples": [`+string(many))},
		{"too large", bytes.Repeat([]byte{' '}, rules.MaxExamplesFile+1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := euroSet(t).RunExamples(tt.file); !errors.Is(err, rules.ErrExamples) {
				t.Fatal(err)
			}
		})
	}
}

func FuzzRunExamples(f *testing.F) {
	_, examples := rules.DigitalEuro()
	f.Add(examples)
	f.Add([]byte(`{"format":"cypherlink-examples-v1","rule_set":"de","examples":[{"change":null}]}`))
	s := euroSet(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		report, err := s.RunExamples(b)
		if err == nil && len(report.Unrefused) > len(s.Rules()) {
			t.Fatalf("%+v", report)
		}
	})
}
