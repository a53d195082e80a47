package rules_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/validator"
	"github.com/cypherlink/cypherlink/validator/rules"
)

// nested is a loop in a loop in a loop, each over ten numbers.
func nested(depth int) string {
	e := "leg >= 0"
	for i := range depth {
		e = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(x" + strconv.Itoa(i) + ", " + e + ")"
	}
	return e
}

func TestExpressionsOutsideTheLanguage(t *testing.T) {
	tests := []struct{ name, expression string }{
		{"no CEL", `amount <=`},
		{"not boolean", `amount`},
		{"a list, not boolean", `[true]`},
		{"an unknown variable", `balance > 0`},
		{"an unknown field", `kyc.debtor.birthday == ""`},
		{"a part of a name", `kyc == kyc`},
		{"a field of a number", `amount.currency == "EUR"`},
		{"a number and a text", `amount == "100"`},
		{"a float", `amount < 1000.50`},
		{"floats alone", `1.0 < 2.0`},
		{"equal floats", `0.1 == 0.1`},
		{"an unsigned number", `5u == 5u`},
		{"bytes", `b"a" == b"a"`},
		{"null", `null == null`},
		{"a type as a value", `int == int`},
		{"the type of a value", `type(amount) == int`},
		{"a list of two types", `"EUR" in ["EUR", 1]`},
		{"a map", `{"a": 1} == {"a": 1}`},
		{"a key in a map", `code in {"EUR": 1}`},
		{"a message", `google.protobuf.Int32Value{value: 1} == 1`},
		{"a value of any type", `dyn(amount) == 5`},
		{"a conversion to a float", `double(amount) > 1.0`},
		{"a conversion to a text", `string(amount) == "5"`},
		{"a clock", `timestamp("2026-11-24T00:00:00Z") < now()`},
		{"a point in time", `timestamp("2026-11-24T00:00:00Z") == timestamp("2026-11-24T00:00:00Z")`},
		{"a length of time", `duration("1h") > duration("1m")`},
		{"chance", `rand() > 0`},
		{"a text put together", `code + code == "EUREUR"`},
		{"the order of texts", `code < "F"`},
		{"an element of a list", `[amount][0] > 0`},
		{"a list made of a list", `[1].map(x, x) == [1]`},
		{"a filtered list", `[1].filter(x, true) == [1]`},
		{"presence of a field", `has(kyc.debtor.name)`},
		{"a pattern of the other party", `kyc.debtor.name.matches(kyc.creditor.name)`},
		{"a pattern that is chosen", `kyc.debtor.name.matches(amount > 1 ? "a" : "b")`},
		{"a pattern that is none", `kyc.debtor.name.matches("(")`},
		{"a bound name that hides a variable", `[1, 2].all(amount, amount > 0)`},
		{"a bound name that hides a group", `["a"].exists(kyc, kyc == "a")`},
		{"a deep expression", strings.Repeat("(", 40) + "true" + strings.Repeat(")", 40)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := rules.Compile(single(t, tt.expression)); !errors.Is(err, rules.ErrExpression) {
				t.Fatal(err)
			} else if !strings.Contains(err.Error(), "rule only") {
				t.Fatalf("it does not say which rule: %v", err)
			}
		})
	}
}

func single(tb testing.TB, expression string) []byte {
	tb.Helper()
	return encode(tb, &rules.Document{Name: "test", Version: 1, Rules: []rules.Rule{
		{"only", "A rule.", expression, validator.Rejected, "MS02"},
	}})
}

func TestCostBombsAreRefused(t *testing.T) {
	many := func(term, between string, n int) string {
		return strings.Join(strings.Split(strings.Repeat(term+";", n), ";")[:n], between)
	}
	tests := []struct{ name, expression string }{
		{"four loops in one another", nested(4)},
		{"eight loops", nested(8)},
		{"many loops side by side", many(nested(3), " && ", 8)},
		{"a pattern that unfolds", `kyc.remittance.matches("(a{40}b{40}){20}")`},
		{"a long sum", many("amount", " + ", 220) + " > 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if len(tt.expression) > rules.MaxExpression {
				t.Fatalf("%d characters are refused for their length", len(tt.expression))
			}
			if _, err := rules.Compile(single(t, tt.expression)); !errors.Is(err, rules.ErrExpression) {
				t.Fatal(err)
			}
		})
	}
	t.Run("two loops are affordable", func(t *testing.T) {
		in := inputs(t)
		d := write(t, nested(2)).Evaluate(&in)
		if d.Outcome != validator.Approved || d.Trace[0].Cost > rules.MaxCost {
			t.Fatalf("%+v", d)
		}
	})
}

// The estimate bounds a text by what a file can hold. Should a longer one ever come, the run
// stops by itself.
func TestTheRunHasItsOwnLimit(t *testing.T) {
	const expression = `kyc.remittance.contains("needle")`
	if err := rules.EvalWith(expression, map[string]any{"kyc.remittance": "hay"}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("hay", 1<<20)
	err := rules.EvalWith(expression, map[string]any{"kyc.remittance": long})
	if err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Fatal(err)
	}
}

func TestEveryVariableHasItsValue(t *testing.T) {
	all, none := inputs(t), inputs(t)
	for f := range kyc.Field(kyc.FieldCount) {
		none.Told.Forget(f)
		if _, told := all.Told.Text(f); !told {
			if err := all.Told.Set(f, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	none.DebtorScore, none.CreditorScore = 0, 0
	if all.Valid() != nil || none.Valid() != nil {
		t.Fatal(all.Valid(), none.Valid())
	}
	for _, v := range rules.Variables() {
		s := write(t, v.Name+" == "+v.Name)
		if d := s.Evaluate(&all); d.Outcome != validator.Approved {
			t.Errorf("%s, all told: %+v", v.Name, d)
		}
		personal := strings.HasPrefix(v.Name, "kyc.") || strings.HasPrefix(v.Name, "screening.")
		if d := s.Evaluate(&none); personal != (d.Reason == "MS03") {
			t.Errorf("%s, nothing told: %+v", v.Name, d)
		}
	}
	for expression, in := range map[string]*rules.Inputs{
		`leg == 0 && ledger == "de" && code == "EUR" && scale == 2 && amount == 100100`:     &all,
		`debit.bic == "DEUTDEFFXXX" && debit.country == "DE" && credit.country == "DE"`:     &all,
		`credit.bic == "CHASDEFXXXX" && expires_in == 32`:                                   &all,
		`screening.debtor == 488 && screening.creditor == 512`:                              &all,
		`kyc.debtor.name == "Müller & Söhne GmbH" && kyc.debtor.name.size() == 19`:          &all,
		`kyc.debtor.account.startsWith("IBAN/DE") && kyc.match == "MTCH"`:                   &all,
		`told.debtor.town && kyc.debtor.town == "" && told.match`:                           &all,
		`!told.debtor.name && !told.match && !(told.purpose && kyc.purpose == "GDDS")`:      &none,
		`["Laptop", "Desktop"].exists(w, kyc.creditor.name.contains(w))`:                    &all,
		`kyc.creditor.name.endsWith("Co") && kyc.creditor.name.matches("^[A-Z][a-z]+ L.*")`: &all,
	} {
		if d := write(t, expression).Evaluate(in); d.Outcome != validator.Approved {
			t.Errorf("%s: %+v", expression, d)
		}
	}
}

func TestNeedsAreTheFieldsThatAreRead(t *testing.T) {
	for expression, want := range map[string][]kyc.Field{
		`amount > 0`:             nil,
		`screening.debtor < 900`: {kyc.DebtorName},
		`told.match && kyc.debtor.lei != "" || screening.creditor < 3`: {
			kyc.DebtorLEI, kyc.CreditorName, kyc.PayeeMatch,
		},
		`["kyc.purpose"].exists(w, kyc.remittance == w)`: {kyc.Remittance},
	} {
		got := write(t, expression).Needs()
		if len(got) != len(want) {
			t.Fatalf("%s needs %v", expression, got)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s needs %v", expression, got)
			}
		}
	}
}
