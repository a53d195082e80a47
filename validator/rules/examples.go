package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrExamples means that bytes are not a file of examples.
var ErrExamples = errors.New("rules: malformed examples")

// Bounds of a file of examples.
const (
	MaxExamples     = 1_000
	MaxExamplesFile = 1 << 20 // bytes
)

const examplesFormat = "cypherlink-examples-v1"

// The JSON form. Base gives variables their values by name, those under "told." excepted,
// which follow; an example changes some of them, null meaning that a field is not told.
type (
	examplesJSON struct {
		Format   string        `json:"format"`
		RuleSet  string        `json:"rule_set"`
		Base     valuesJSON    `json:"base"`
		Examples []exampleJSON `json:"examples"`
	}
	exampleJSON struct {
		Name    string     `json:"name"`
		Change  valuesJSON `json:"change"`
		Outcome string     `json:"outcome"`
		Rule    string     `json:"rule"`
		Reason  string     `json:"reason"`
	}
	valuesJSON = map[string]json.RawMessage
)

// approve is the outcome of an example that every rule lets pass.
const approve = "approve"

// Report is what came of a file of examples.
type Report struct {
	Results []Result
	// Unrefused are the ids of rules that no example fails, in the order of the set: nothing
	// shows yet that they work.
	Unrefused []string
}

// Result is one example's.
type Result struct {
	Name string
	// Fault says how the decision differs from the example, or is empty.
	Fault    string
	Decision Decision
}

// Faults is the number of results with a fault.
func (r *Report) Faults() int {
	n := 0
	for _, result := range r.Results {
		if result.Fault != "" {
			n++
		}
	}
	return n
}

// RunExamples evaluates every example of a file and compares. It reports ErrExamples for a
// file that is malformed, is of another set's name, or names an unknown variable.
func (s *Set) RunExamples(raw []byte) (*Report, error) {
	if len(raw) > MaxExamplesFile {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(raw), MaxExamplesFile, ErrExamples)
	}
	var file examplesJSON
	if err := unmarshal(raw, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExamples, err)
	}
	if file.Format != examplesFormat || file.RuleSet != s.Name() || len(file.Examples) > MaxExamples {
		return nil, fmt.Errorf("format %.40q of rule set %.70q, %d examples: %w",
			file.Format, file.RuleSet, len(file.Examples), ErrExamples)
	}
	report := &Report{}
	refused := map[string]bool{}
	for _, e := range file.Examples {
		in := Inputs{Salt: [32]byte{1}}
		for _, values := range []valuesJSON{file.Base, e.Change} {
			if err := in.set(s.fields, values); err != nil {
				return nil, fmt.Errorf("example %.80q: %w: %w", e.Name, ErrExamples, err)
			}
		}
		if err := in.Valid(); err != nil {
			return nil, fmt.Errorf("example %.80q: %w: %w", e.Name, ErrExamples, err)
		}
		d := s.Evaluate(&in)
		refused[d.Rule] = true
		report.Results = append(report.Results, Result{e.Name, e.fault(&d), d})
	}
	for _, r := range s.document.Rules {
		if !refused[r.ID] {
			report.Unrefused = append(report.Unrefused, r.ID)
		}
	}
	return report, nil
}

// fault says how a decision differs from what the example expects.
func (e *exampleJSON) fault(d *Decision) string {
	got := approve
	switch d.Outcome {
	case validator.Approved:
	case validator.Rejected:
		got = reject
	case validator.Held:
		got = hold
	}
	if got == e.Outcome && d.Rule == e.Rule && d.Reason == e.Reason {
		return ""
	}
	fault := strings.TrimSpace(fmt.Sprintf("%s %s %s", got, d.Rule, d.Reason))
	if last := len(d.Trace) - 1; d.Trace[last].Err != nil {
		fault += fmt.Sprintf(" (%v)", d.Trace[last].Err)
	}
	return fault + ", expected " + strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Outcome, e.Rule, e.Reason))
}

var errVariable = errors.New("no variable that an example can set so")

// set gives variables their values, in the order of their names.
func (in *Inputs) set(fields map[string]kyc.Field, values valuesJSON) error {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		err := in.setOne(fields, name, values[name])
		if string(values[name]) == "null" && !strings.HasPrefix(name, kycPrefix) {
			err = errVariable // encoding/json leaves the value as it is
		}
		if err != nil {
			return fmt.Errorf("%.80q: %w", name, err)
		}
	}
	return nil
}

func (in *Inputs) setOne(fields map[string]kyc.Field, name string, value json.RawMessage) error {
	switch name {
	case "leg":
		return json.Unmarshal(value, &in.Leg)
	case "ledger":
		return json.Unmarshal(value, &in.Asset.Ledger)
	case "code":
		return json.Unmarshal(value, &in.Asset.Code)
	case "scale":
		return json.Unmarshal(value, &in.Asset.Scale)
	case "amount":
		return json.Unmarshal(value, &in.Amount)
	case "debit.bic":
		return json.Unmarshal(value, &in.Debit)
	case "credit.bic":
		return json.Unmarshal(value, &in.Credit)
	case "expires_in":
		return json.Unmarshal(value, &in.ExpiresIn)
	case "screening.debtor":
		return json.Unmarshal(value, &in.DebtorScore)
	case "screening.creditor":
		return json.Unmarshal(value, &in.CreditorScore)
	}
	field, ok := strings.CutPrefix(name, kycPrefix)
	f, known := fields[field]
	if !ok || !known {
		return errVariable
	}
	var text *string
	if err := json.Unmarshal(value, &text); err != nil {
		return err
	}
	if text == nil {
		in.Told.Forget(f)
		return nil
	}
	return in.Told.Set(f, *text)
}
