package rules_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator/rules"
)

func TestInputsAreStrict(t *testing.T) {
	tests := []struct {
		name string
		edit func(*rules.Inputs)
		ok   bool
	}{
		{"the main job's", func(*rules.Inputs) {}, true},
		{"nothing told", func(in *rules.Inputs) {
			in.Told, in.DebtorScore, in.CreditorScore = kyc.Told{}, 0, 0
		}, true},
		{"the greatest score", func(in *rules.Inputs) { in.DebtorScore = kyc.MaxScore }, true},
		{"no salt", func(in *rules.Inputs) { in.Salt = [32]byte{} }, false},
		{"a third leg", func(in *rules.Inputs) { in.Leg = 2 }, false},
		{"no asset", func(in *rules.Inputs) { in.Asset.Code = "" }, false},
		{"no amount", func(in *rules.Inputs) { in.Amount = 0 }, false},
		{"a negative amount", func(in *rules.Inputs) { in.Amount = -1 }, false},
		{"no debited bank", func(in *rules.Inputs) { in.Debit = cypherlink.BIC{} }, false},
		{"no credited bank", func(in *rules.Inputs) { in.Credit = cypherlink.BIC{} }, false},
		{"expired", func(in *rules.Inputs) { in.ExpiresIn = 0 }, false},
		{"beyond the last expiry", func(in *rules.Inputs) { in.ExpiresIn = terms.MaxExpiry + 1 }, false},
		{"a score above the greatest", func(in *rules.Inputs) { in.DebtorScore = kyc.MaxScore + 1 }, false},
		{"a negative score", func(in *rules.Inputs) { in.CreditorScore = -1 }, false},
		{"a score of nobody", func(in *rules.Inputs) { in.Told.Forget(kyc.CreditorName) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := inputs(t)
			tt.edit(&in)
			if err := in.Valid(); tt.ok != (err == nil) || err != nil && !errors.Is(err, rules.ErrInputs) {
				t.Fatalf("valid: %v", err)
			}
			got, err := rules.DecodeInputs(in.Encode())
			if tt.ok && (err != nil || *got != in) || !tt.ok && !errors.Is(err, rules.ErrInputs) {
				t.Fatalf("decoded: %v", err)
			}
		})
	}
	t.Run("every shorter and longer form", func(t *testing.T) {
		in := inputs(t)
		b := in.Encode()
		for n := range b {
			if _, err := rules.DecodeInputs(b[:n]); err == nil {
				t.Fatalf("the first %d bytes are read", n)
			}
		}
		if _, err := rules.DecodeInputs(append(b, 0)); err == nil {
			t.Fatal("a byte too many is read")
		}
	})
}

func TestEveryInputIsUnderTheHash(t *testing.T) {
	edits := map[string]func(*rules.Inputs){
		"nothing":        func(*rules.Inputs) {},
		"salt":           func(in *rules.Inputs) { in.Salt[31]++ },
		"leg":            func(in *rules.Inputs) { in.Leg++ },
		"ledger":         func(in *rules.Inputs) { in.Asset.Ledger = "dx" },
		"code":           func(in *rules.Inputs) { in.Asset.Code = "USD" },
		"scale":          func(in *rules.Inputs) { in.Asset.Scale++ },
		"amount":         func(in *rules.Inputs) { in.Amount++ },
		"debit":          func(in *rules.Inputs) { in.Debit = in.Credit },
		"credit":         func(in *rules.Inputs) { in.Credit = in.Debit },
		"expiry":         func(in *rules.Inputs) { in.ExpiresIn++ },
		"list":           func(in *rules.Inputs) { in.List[0]++ },
		"debtor score":   func(in *rules.Inputs) { in.DebtorScore++ },
		"creditor score": func(in *rules.Inputs) { in.CreditorScore++ },
	}
	for f := range kyc.Field(kyc.FieldCount) {
		edits[f.String()] = func(in *rules.Inputs) {
			if _, told := in.Told.Text(f); told {
				in.Told.Forget(f)
			} else {
				_ = in.Told.Set(f, "")
			}
		}
	}
	hashes := map[cypherlink.Hash]string{}
	for name, edit := range edits {
		in := inputs(t)
		edit(&in)
		if other, twice := hashes[in.Hash()]; twice {
			t.Fatalf("%s and %s give one hash", name, other)
		}
		hashes[in.Hash()] = name
	}
}

// K4, and no tipping off: the hash goes on the chain. Who knows all inputs but the scores,
// that is the payer's bank, does not find them without the Validator's salt.
func TestScoresCannotBeGuessed(t *testing.T) {
	in := inputs(t)
	in.Salt = [32]byte(bytes.Repeat([]byte{0xa5}, 32))
	hash := in.Hash()
	find := func(salt [32]byte) (found int) {
		guess := in
		guess.Salt = salt
		for score := range kyc.MaxScore + 1 {
			guess.DebtorScore = score
			if guess.Hash() == hash {
				found = score
			}
		}
		return found
	}
	if got := find([32]byte{}) + find([32]byte{1}); got != 0 {
		t.Fatalf("found %d without the salt", got)
	}
	if got := find(in.Salt); got != in.DebtorScore {
		t.Fatalf("with the salt it is found: %d", got)
	}
}

func TestInputsDoNotPrint(t *testing.T) {
	in := inputs(t)
	ruling := rules.Ruling{Inputs: in}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("in", in), slog.Any("ruling", ruling))
	out := fmt.Sprintf("%v %+v %#v %s %v", in, in, &in, in, ruling) + log.String()
	if strings.Contains(out, "ller") || strings.Contains(out, "DE89") {
		t.Fatal(out)
	}
}

func TestInputsAreReadBack(t *testing.T) {
	base := inputs(t)
	rapid.Check(t, func(t *rapid.T) {
		in := base
		in.Leg = uint8(rapid.IntRange(0, 1).Draw(t, "leg"))
		in.Amount = cypherlink.Amount(rapid.Int64Range(1, 1<<62).Draw(t, "amount"))
		in.ExpiresIn = rapid.Int64Range(1, terms.MaxExpiry).Draw(t, "expires in")
		in.DebtorScore = rapid.IntRange(0, kyc.MaxScore).Draw(t, "score")
		for _, f := range rapid.SliceOf(rapid.IntRange(0, kyc.FieldCount-1)).Draw(t, "forgotten") {
			if kyc.Field(f) != kyc.DebtorName && kyc.Field(f) != kyc.CreditorName {
				in.Told.Forget(kyc.Field(f))
			}
		}
		got, err := rules.DecodeInputs(in.Encode())
		if err != nil || *got != in || len(in.Encode()) > rules.MaxInputs {
			t.Fatalf("other inputs: %v", err)
		}
	})
}

func FuzzDecodeInputs(f *testing.F) {
	in := inputs(f)
	f.Add(in.Encode())
	in.Told, in.DebtorScore, in.CreditorScore = kyc.Told{}, 0, 0
	f.Add(in.Encode())
	s := euroSet(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := rules.DecodeInputs(b)
		if err != nil {
			return
		}
		if again := in.Encode(); !bytes.Equal(again, b) || len(b) > rules.MaxInputs {
			t.Fatalf("%x has another form %x", b, again)
		}
		if d := s.Evaluate(in); d.Outcome == 0 || len(d.Trace) == 0 {
			t.Fatalf("%+v", d)
		}
	})
}
