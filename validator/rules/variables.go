package rules

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
)

// Variable is a name that expressions may read.
type Variable struct {
	Name string
	// Type is "int", "string" or "bool".
	Type string
	// Meaning is a sentence for whoever writes a rule.
	Meaning string
}

const (
	toldPrefix = "told."
	kycPrefix  = "kyc."
)

// Variables is every name that expressions may read. A name under "kyc." or "screening." has
// a value only if its field was told; reading it otherwise is an error, and so a rejection.
func Variables() []Variable {
	all := []Variable{
		{"leg", "int", "0 for the source leg, 1 for the destination leg"},
		{"ledger", "string", "the leg's ledger, such as \"de\""},
		{"code", "string", "the asset's code on that ledger, such as \"EUR\""},
		{"scale", "int", "the asset's digits after the decimal point"},
		{"amount", "int", "the leg's amount in minor units"},
		{"debit.bic", "string", "the debited bank, 11 characters"},
		{"debit.country", "string", "the country in that BIC"},
		{"credit.bic", "string", "the credited bank, 11 characters"},
		{"credit.country", "string", "the country in that BIC"},
		{"expires_in", "int", "seconds from the judgement to the leg's expiry"},
		{"screening.debtor", "int", "how near the debtor's name comes to the Validator's list, 0 to 1000"},
		{"screening.creditor", "int", "the same for the creditor's name"},
	}
	for f := range kyc.Field(kyc.FieldCount) {
		all = append(all,
			Variable{toldPrefix + f.String(), "bool", "whether " + f.String() + " was told to the Validator"},
			Variable{kycPrefix + f.String(), "string", "what was told; empty if the file leaves it out"})
	}
	return all
}

// declarations are the variables in the checker's words.
func declarations() []cel.EnvOption {
	var all []cel.EnvOption
	for _, v := range Variables() {
		t := cel.IntType
		switch v.Type {
		case "string":
			t = cel.StringType
		case "bool":
			t = cel.BoolType
		}
		all = append(all, cel.Variable(v.Name, t))
	}
	return all
}

// fields maps the names of fields to fields.
func fields() map[string]kyc.Field {
	all := make(map[string]kyc.Field, kyc.FieldCount)
	for f := range kyc.Field(kyc.FieldCount) {
		all[f.String()] = f
	}
	return all
}

// binding gives variables their values in one evaluation.
type binding struct {
	in     *Inputs
	fields map[string]kyc.Field
}

// Parent says that there is no other binding (interpreter.Activation).
func (binding) Parent() interpreter.Activation { return nil }

// ResolveName is the value of a variable (interpreter.Activation).
func (b binding) ResolveName(name string) (any, bool) {
	in := b.in
	switch name {
	case "leg":
		return types.Int(in.Leg), true
	case "ledger":
		return types.String(in.Asset.Ledger), true
	case "code":
		return types.String(in.Asset.Code), true
	case "scale":
		return types.Int(in.Asset.Scale), true
	case "amount":
		return types.Int(in.Amount), true
	case "debit.bic":
		return types.String(in.Debit.String()), true
	case "debit.country":
		return country(in.Debit), true
	case "credit.bic":
		return types.String(in.Credit.String()), true
	case "credit.country":
		return country(in.Credit), true
	case "expires_in":
		return types.Int(in.ExpiresIn), true
	case "screening.debtor":
		_, told := in.Told.Text(kyc.DebtorName)
		return types.Int(in.DebtorScore), told
	case "screening.creditor":
		_, told := in.Told.Text(kyc.CreditorName)
		return types.Int(in.CreditorScore), told
	}
	if field, ok := strings.CutPrefix(name, toldPrefix); ok {
		f, known := b.fields[field]
		_, told := in.Told.Text(f)
		return types.Bool(told), known
	}
	if field, ok := strings.CutPrefix(name, kycPrefix); ok {
		f, known := b.fields[field]
		text, told := in.Told.Text(f)
		return types.String(text), known && told
	}
	return nil, false
}

// country is the fifth and sixth character of a BIC (ISO 9362).
func country(b cypherlink.BIC) types.String { return types.String(b[4:6]) }
