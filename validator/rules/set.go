package rules

import (
	"fmt"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/validator"
)

const setDomain wire.Domain = "cypherlink/rule-set/v1"

// reasonError is the reason for a rule that could not be evaluated: "reason has not been
// specified by agent".
const reasonError = "MS03"

// Set is a rule set, ready to judge. It is immutable and safe for concurrent use.
type Set struct {
	document Document
	programs []cel.Program
	hash     cypherlink.Hash
	fields   map[string]kyc.Field
	needs    [kyc.FieldCount]bool
}

// Compile makes a set of a document's one form. It reports ErrDocument, and ErrExpression with
// the rule's id.
func Compile(raw []byte) (*Set, error) {
	d, err := Decode(raw)
	if err != nil {
		return nil, err
	}
	environment, err := newEnvironment()
	if err != nil {
		return nil, fmt.Errorf("the language: %w", err)
	}
	s := &Set{document: *d, fields: fields()}
	for _, r := range d.Rules {
		program, tree, err := compile(environment, r.Expression)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.ID, err)
		}
		s.programs = append(s.programs, program)
		s.note(tree)
	}
	w := wire.NewWriter(len(raw) + 64)
	w.Var(raw)
	w.Str(Language)
	s.hash = wire.Sum(setDomain, w.Bytes())
	return s, nil
}

// note remembers the fields that an expression reads.
func (s *Set) note(tree *ast.AST) {
	for _, ref := range tree.ReferenceMap() {
		switch ref.Name {
		case "screening.debtor":
			s.needs[kyc.DebtorName] = true
		case "screening.creditor":
			s.needs[kyc.CreditorName] = true
		}
		for name, f := range s.fields {
			if ref.Name == kycPrefix+name || ref.Name == toldPrefix+name {
				s.needs[f] = true
			}
		}
	}
}

// Hash identifies the set: its document's bytes and the Language are under it.
func (s *Set) Hash() cypherlink.Hash { return s.hash }

// Name is the document's name.
func (s *Set) Name() string { return s.document.Name }

// Version is the document's version.
func (s *Set) Version() uint32 { return s.document.Version }

// Rules is a copy of the rules, in their order.
func (s *Set) Rules() []Rule { return append([]Rule{}, s.document.Rules...) }

// Needs is the KYC fields that any rule reads, in ascending order: what a bank tells the
// Validator, and no more.
func (s *Set) Needs() []kyc.Field {
	var needed []kyc.Field
	for f := range kyc.Field(kyc.FieldCount) {
		if s.needs[f] {
			needed = append(needed, f)
		}
	}
	return needed
}

// Decision is what a set says about inputs.
type Decision struct {
	Outcome validator.Outcome
	// Reason is an ISO reason, and Rule the id of the rule that decided; both are empty for
	// an approval.
	Reason, Rule string
	// Inputs is the hash of the inputs.
	Inputs cypherlink.Hash
	// Trace is the rules that were evaluated, in their order; the last one decided, unless
	// all passed.
	Trace []Step
}

// Step is one rule's evaluation.
type Step struct {
	Rule   string
	Passed bool
	// Cost is what the rule used of MaxCost.
	Cost uint64
	// Err tells why the rule could not be evaluated, or is nil.
	Err error
}

// Evaluate asks the rules in their order; the first that is not true decides. A rule that
// cannot be evaluated rejects with MS03. The same inputs always give the same decision.
func (s *Set) Evaluate(in *Inputs) Decision {
	d := Decision{Outcome: validator.Approved, Inputs: in.Hash(), Trace: make([]Step, 0, len(s.programs))}
	vars := binding{in, s.fields}
	for i, program := range s.programs {
		rule := &s.document.Rules[i]
		step := Step{Rule: rule.ID}
		out, details, err := program.Eval(vars)
		if cost := details.ActualCost(); cost != nil {
			step.Cost = *cost
		}
		step.Passed, step.Err = err == nil && out == types.True, err
		d.Trace = append(d.Trace, step)
		switch {
		case err != nil:
			d.Outcome, d.Reason, d.Rule = validator.Rejected, reasonError, rule.ID
			return d
		case !step.Passed:
			d.Outcome, d.Reason, d.Rule = rule.Outcome, rule.Reason, rule.ID
			return d
		}
	}
	return d
}
