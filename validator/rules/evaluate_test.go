package rules_test

import (
	"fmt"
	"reflect"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/validator"
	"github.com/cypherlink/cypherlink/validator/rules"
)

func TestTheFirstRuleThatIsNotTrueDecides(t *testing.T) {
	d := small()
	s := set(t, encode(t, &d))
	tests := []struct {
		name         string
		amount       cypherlink.Amount
		outcome      validator.Outcome
		rule, reason string
		steps        int
	}{
		{"all rules pass", 5000, validator.Approved, "", "", 2},
		{"the second holds", 5001, validator.Held, "review", "NARR", 2},
		{"the first rejects, and the second is not asked", 10001, validator.Rejected, "limit", "AM02", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := inputs(t)
			in.Amount = tt.amount
			got := s.Evaluate(&in)
			if got.Outcome != tt.outcome || got.Rule != tt.rule || got.Reason != tt.reason ||
				len(got.Trace) != tt.steps || got.Inputs != in.Hash() {
				t.Fatalf("%+v", got)
			}
			for i, step := range got.Trace {
				last := i == len(got.Trace)-1
				if step.Rule != d.Rules[i].ID || step.Passed == (last && tt.rule != "") || step.Cost == 0 {
					t.Fatalf("step %d: %+v", i, step)
				}
			}
		})
	}
}

// What cannot be evaluated is never an approval.
func TestErrorsReject(t *testing.T) {
	tests := []struct{ name, expression string }{
		{"a product beyond 64 bits", `amount * 9223372036854775807 > 0`},
		{"a sum beyond 64 bits", `amount + 9223372036854775807 > 0`},
		{"a difference beyond 64 bits", `-9223372036854775807 - amount < 0`},
		{"the negation of the least number", `-(-9223372036854775807 - 1) > 0 || amount < 0`},
		{"a division by zero", `amount / leg >= 0`},
		{"a remainder of zero", `amount % leg >= 0`},
		{"a field that was not told", `kyc.debtor.town != "Pyongyang"`},
		{"a field that was not told, in a list", `!(kyc.debtor.town in ["Pyongyang"])`},
		{"the choice by a field that was not told", `kyc.debtor.town == "x" ? true : true`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := inputs(t)
			d := write(t, "true", tt.expression, "true").Evaluate(&in)
			rejected := d.Outcome == validator.Rejected && d.Reason == "MS03" && d.Rule == "rule-b"
			if !rejected || len(d.Trace) != 2 || d.Trace[1].Err == nil || d.Trace[1].Passed {
				t.Fatalf("%+v", d)
			}
		})
	}
	t.Run("a fault beside a decided condition does not count", func(t *testing.T) {
		in := inputs(t)
		if d := write(t, `told.debtor.town && kyc.debtor.town == "x"`).Evaluate(&in); d.Reason != "MS02" {
			t.Fatalf("%+v", d)
		}
	})
}

func TestEvaluationIsDeterministic(t *testing.T) {
	in := inputs(t)
	first := euroSet(t).Evaluate(&in)
	document, _ := rules.DigitalEuro()
	s := set(t, document) // compiled again
	for range 100 {
		again := inputs(t)
		if got := s.Evaluate(&again); !reflect.DeepEqual(got, first) {
			t.Fatalf("%+v, then %+v", first, got)
		}
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				if got := s.Evaluate(&in); !reflect.DeepEqual(got, first) {
					t.Errorf("%+v, then %+v", first, got)
				}
			}
		})
	}
	group.Wait()
}

// The set agrees with the same conditions in Go.
func TestEvaluationAgreesWithGo(t *testing.T) {
	s := write(t,
		"amount <= 1000000 && amount >= 10", `debit.country in ["DE", "FR"] || credit.country == "CN"`,
		"amount * 3 / 2 - expires_in > 0", "screening.debtor < 900 && screening.creditor < 900",
		`leg == 0 ? amount % 2 == 0 : amount % 2 == 1`,
	)
	base := inputs(t)
	bics := []string{"DEUTDEFF", "BNPAFRPP", "BKCHCNBJ", "CHASGB2L"}
	rapid.Check(t, func(t *rapid.T) {
		in := base
		in.Leg = uint8(rapid.IntRange(0, 1).Draw(t, "leg"))
		in.Amount = cypherlink.Amount(rapid.Int64Range(1, 1_000_010).Draw(t, "amount"))
		in.ExpiresIn = rapid.Int64Range(1, 200).Draw(t, "expires in")
		in.DebtorScore = rapid.IntRange(0, kyc.MaxScore).Draw(t, "debtor score")
		in.CreditorScore = rapid.IntRange(0, kyc.MaxScore).Draw(t, "creditor score")
		in.Debit, _ = cypherlink.ParseBIC(rapid.SampledFrom(bics).Draw(t, "debit"))
		in.Credit, _ = cypherlink.ParseBIC(rapid.SampledFrom(bics).Draw(t, "credit"))
		debit, credit := string(in.Debit[4:6]), string(in.Credit[4:6])
		want := ""
		switch {
		case in.Amount > 1_000_000 || in.Amount < 10:
			want = "rule-a"
		case debit != "DE" && debit != "FR" && credit != "CN":
			want = "rule-b"
		case int64(in.Amount)*3/2-in.ExpiresIn <= 0:
			want = "rule-c"
		case in.DebtorScore >= 900 || in.CreditorScore >= 900:
			want = "rule-d"
		case in.Leg == 0 && in.Amount%2 != 0 || in.Leg == 1 && in.Amount%2 != 1:
			want = "rule-e"
		}
		if got := s.Evaluate(&in); got.Rule != want {
			t.Fatalf("rule %q, want %q", got.Rule, want)
		}
	})
}

func BenchmarkEvaluate(b *testing.B) {
	in := inputs(b)
	for _, set := range []struct {
		name string
		set  *rules.Set
	}{{"one rule", write(b, "amount <= 1000000")}, {"the digital euro", euroSet(b)}} {
		b.Run(fmt.Sprintf("%s, rules %d", set.name, len(set.set.Rules())), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := set.set.Evaluate(&in); d.Outcome != validator.Approved {
					b.Fatalf("%+v", d)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	document, _ := rules.DigitalEuro()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := rules.Compile(document); err != nil {
			b.Fatal(err)
		}
	}
}
