package kyc_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/kyc"
)

func TestDisclosureIsStrict(t *testing.T) {
	const invisible, turned = "Ki\u200bm", "\u202emiK"
	long := strings.Repeat("ü", kyc.MaxName)
	tests := []struct {
		name string
		edit func(*kyc.Disclosure)
		want error
	}{
		{"the main job's", func(*kyc.Disclosure) {}, nil},
		{"nothing told", func(d *kyc.Disclosure) { *d = kyc.Disclosure{Salts: d.Salts} }, nil},
		{"a name of 140 characters of two bytes", func(d *kyc.Disclosure) { d.Debtor.Name = long }, nil},
		{"a name of 141", func(d *kyc.Disclosure) { d.Debtor.Name = long + "x" }, kyc.ErrField},
		{"a name with a line break", func(d *kyc.Disclosure) { d.Debtor.Name = "a\nb" }, kyc.ErrField},
		{"a name with a zero byte", func(d *kyc.Disclosure) { d.Debtor.Name = "a\x00b" }, kyc.ErrField},
		{"a name that is not UTF-8", func(d *kyc.Disclosure) { d.Debtor.Name = "a\xffb" }, kyc.ErrField},
		{"an invisible character", func(d *kyc.Disclosure) { d.Debtor.Name = invisible }, kyc.ErrField},
		{"writing turned round", func(d *kyc.Disclosure) { d.Debtor.Name = turned }, kyc.ErrField},
		{"a name of blanks", func(d *kyc.Disclosure) { d.Creditor.Name = "  " }, kyc.ErrField},
		{"a blank at the end", func(d *kyc.Disclosure) { d.Creditor.Town = "Paris " }, kyc.ErrField},
		{"a country in lower case", func(d *kyc.Disclosure) { d.Debtor.Country = "de" }, kyc.ErrField},
		{"a country of three letters", func(d *kyc.Disclosure) { d.Debtor.Country = "DEU" }, kyc.ErrField},
		{"a country with a digit", func(d *kyc.Disclosure) { d.Creditor.Country = "D1" }, kyc.ErrField},
		{"two account numbers", func(d *kyc.Disclosure) { d.Debtor.Account.Other = "1" }, kyc.ErrField},
		{"an account number of 34 characters", func(d *kyc.Disclosure) {
			d.Creditor.Account.Other = strings.Repeat("9", kyc.MaxOther)
		}, nil},
		{"an account number of 35", func(d *kyc.Disclosure) {
			d.Creditor.Account.Other = strings.Repeat("9", kyc.MaxOther+1)
		}, kyc.ErrField},
		{"an LEI with wrong check digits", func(d *kyc.Disclosure) { d.Debtor.LEI[19] ^= 1 }, kyc.ErrField},
		{"a purpose of 36 characters", func(d *kyc.Disclosure) {
			d.Purpose = strings.Repeat("P", kyc.MaxReference+1)
		}, kyc.ErrField},
		{"a reference of 36 characters", func(d *kyc.Disclosure) {
			d.Reference = strings.Repeat("P", kyc.MaxReference+1)
		}, kyc.ErrField},
		{"remittance of 141 characters", func(d *kyc.Disclosure) {
			d.Remittance = strings.Repeat("r", kyc.MaxRemittance+1)
		}, kyc.ErrField},
		{"a field without salt", func(d *kyc.Disclosure) { d.Salts[kyc.Purpose] = kyc.Salt{} }, kyc.ErrSalt},
		{"one salt for two fields", func(d *kyc.Disclosure) { d.Salts[3] = d.Salts[4] }, kyc.ErrSalt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := laptop(t)
			tt.edit(&d)
			if err := d.Valid(); !errors.Is(err, tt.want) {
				t.Fatalf("valid: %v, want %v", err, tt.want)
			}
			got, err := kyc.DecodeDisclosure(d.Encode())
			if tt.want == nil && (err != nil || *got != d) {
				t.Fatalf("decoded differently: %v", err)
			}
			lost := d.Debtor.Account.Other != "" && !d.Debtor.Account.IBAN.IsZero() // Encode has one place
			if tt.want != nil && !lost && !errors.Is(err, kyc.ErrDisclosure) {
				t.Fatalf("decoded: %v", err)
			}
			a := accepted()
			if _, err := kyc.NewFile(&d, &a); !errors.Is(err, tt.want) {
				t.Fatalf("file: %v, want %v", err, tt.want)
			}
			if err := d.Valid(); err != nil && strings.Contains(err.Error(), d.Debtor.Name) {
				t.Fatalf("the error quotes what was told: %v", err)
			}
		})
	}
}

func TestDecodeRefusesEveryOtherForm(t *testing.T) {
	d, a, f := laptop(t), accepted(), file(t)
	forms := []struct {
		name   string
		bytes  []byte
		decode func([]byte) error
	}{
		{"disclosure", d.Encode(), func(b []byte) error { _, err := kyc.DecodeDisclosure(b); return err }},
		{"answer", a.Encode(), func(b []byte) error { _, err := kyc.DecodeAnswer(b); return err }},
		{"file", f.Encode(), func(b []byte) error { _, err := kyc.DecodeFile(b); return err }},
	}
	for _, form := range forms {
		t.Run(form.name, func(t *testing.T) {
			if err := form.decode(form.bytes); err != nil {
				t.Fatal(err)
			}
			for n := range form.bytes {
				if form.decode(form.bytes[:n]) == nil {
					t.Fatalf("the first %d bytes are read", n)
				}
			}
			if err := form.decode(append(bytes.Clone(form.bytes), 0)); !errors.Is(err, wire.ErrTrailing) {
				t.Fatalf("a byte too many: %v", err)
			}
		})
	}
}

func TestAccountTexts(t *testing.T) {
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"none", "", true},
		{"an IBAN", "IBAN/DE89370400440532013000", true},
		{"another number", "Othr/1", true},
		{"another number with a slash", "Othr/a/b", true},
		{"an IBAN with wrong check digits", "IBAN/DE88370400440532013000", false},
		{"no kind", "DE89370400440532013000", false},
		{"a kind alone", "Othr/", false},
		{"an IBAN's kind alone", "IBAN/", false},
		{"a kind in lower case", "othr/1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := kyc.CreditorAccount.Check(tt.text); tt.ok != (err == nil) {
				t.Fatal(err)
			}
		})
	}
}

func TestAnswerIsStrict(t *testing.T) {
	salt := kyc.Salt{1}
	tests := []struct {
		name   string
		answer kyc.Answer
		want   error
	}{
		{"accepted", kyc.Answer{Match: kyc.CloseMatch, Salt: salt}, nil},
		{"refused", kyc.Answer{Reason: "RR04", Salt: salt}, nil},
		{"accepted without a match", kyc.Answer{Salt: salt}, kyc.ErrAnswer},
		{"an unknown match", kyc.Answer{Match: "NMTC", Salt: salt}, kyc.ErrAnswer},
		{"refused with a match", kyc.Answer{Reason: "RR04", Match: kyc.FullMatch, Salt: salt}, kyc.ErrAnswer},
		{"a reason of three", kyc.Answer{Reason: "RR0", Salt: salt}, kyc.ErrAnswer},
		{"a reason in lower case", kyc.Answer{Reason: "rr04", Salt: salt}, kyc.ErrAnswer},
		{"no salt", kyc.Answer{Match: kyc.FullMatch}, kyc.ErrSalt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.answer.Valid(); !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			got, err := kyc.DecodeAnswer(tt.answer.Encode())
			if tt.want == nil && (err != nil || *got != tt.answer) {
				t.Fatalf("decoded differently: %v", err)
			}
			if tt.want != nil && !errors.Is(err, kyc.ErrAnswer) {
				t.Fatalf("decoded: %v", err)
			}
		})
	}
}

func TestDrawSaltsNeedsEveryByte(t *testing.T) {
	var d kyc.Disclosure
	short := io.LimitReader(chance(1), int64(len(d.Salts)*len(kyc.Salt{})-1))
	if err := d.DrawSalts(short); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("the last salt is not drawn in full: %v", err)
	}
	if err := d.DrawSalts(chance(2)); err != nil || d.Valid() != nil {
		t.Fatal(err, d.Valid())
	}
}

// What a bank holds about people stays out of every log and every message of an error.
func TestNothingPrints(t *testing.T) {
	d, f := laptop(t), file(t)
	p := open(t, f, kyc.DebtorName)
	told, err := kyc.Verify(f.Root(), []kyc.Proof{p})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{d, &d, *f, f, p, &p, told, &told} {
		var text, js strings.Builder
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", slog.Any("v", v))
		slog.New(slog.NewJSONHandler(&js, nil)).Info("x", slog.Any("v", v))
		out := fmt.Sprintf("%v %+v %#v %s %q %x", v, v, v, v, v, v) + text.String() + js.String()
		for _, secret := range []string{"ller", "DE89", "6222", "GDDS", "4dc3bc6c6c6572"} {
			if strings.Contains(out, secret) {
				t.Fatalf("%T prints %q: %s", v, secret, out)
			}
		}
	}
}

func TestFieldNamesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for f := range kyc.Field(kyc.FieldCount) {
		if seen[f.String()] || strings.HasPrefix(f.String(), "field ") {
			t.Fatalf("field %d is called %q", uint8(f), f)
		}
		seen[f.String()] = true
	}
	if name := kyc.Field(kyc.FieldCount).String(); name != "field 14" {
		t.Fatal(name)
	}
	if err := kyc.Field(kyc.FieldCount).Check(""); !errors.Is(err, kyc.ErrField) {
		t.Fatal(err)
	}
}

// drawDisclosure is any disclosure that is valid.
func drawDisclosure(t *rapid.T) kyc.Disclosure {
	prose := func(label string) string {
		return rapid.StringMatching(`([A-Za-zäöüßÅŁ]([A-Za-z ]{0,20}[a-z])?)?`).Draw(t, label)
	}
	party := func(label string) kyc.Party {
		return kyc.Party{
			Name: prose(label + " name"), Town: prose(label + " town"),
			Country: rapid.StringMatching(`([A-Z]{2})?`).Draw(t, label+" country"),
			Account: kyc.Account{Other: rapid.StringMatching(`[0-9/]{0,34}`).Draw(t, label+" account")},
		}
	}
	d := kyc.Disclosure{
		Debtor: party("debtor"), Creditor: party("creditor"),
		Purpose: prose("purpose"), Remittance: prose("remittance"), Reference: prose("reference"),
	}
	if err := d.DrawSalts(chance(rapid.Uint64().Draw(t, "seed"))); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEncodeAndDecodeAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, a := drawDisclosure(t), accepted()
		got, err := kyc.DecodeDisclosure(d.Encode())
		if err != nil || *got != d {
			t.Fatalf("another disclosure: %v", err)
		}
		f, err := kyc.NewFile(&d, &a)
		if err != nil {
			t.Fatal(err)
		}
		again, err := kyc.DecodeFile(f.Encode())
		if err != nil || *again != *f || again.Disclosure() != d || again.Answer() != a {
			t.Fatalf("another file: %v", err)
		}
		if again.Root() != f.Root() {
			t.Fatal("another root")
		}
	})
}

func FuzzDecodeDisclosure(f *testing.F) {
	d := laptop(f)
	f.Add(d.Encode())
	nothing := kyc.Disclosure{Salts: d.Salts}
	f.Add(nothing.Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := kyc.DecodeDisclosure(b)
		if err != nil {
			return
		}
		if err := d.Valid(); err != nil {
			t.Fatal(err)
		}
		if again := d.Encode(); !bytes.Equal(again, b) || len(b) > kyc.MaxDisclosure {
			t.Fatalf("%x has another form %x", b, again)
		}
	})
}

func FuzzDecodeFile(f *testing.F) {
	f.Add(file(f).Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := kyc.DecodeFile(b)
		if err == nil && (!bytes.Equal(got.Encode(), b) || len(b) > kyc.MaxFile) {
			t.Fatalf("%x has another form %x", b, got.Encode())
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	yes, no := accepted(), kyc.Answer{Reason: "AC04", Salt: kyc.Salt{3}}
	f.Add(yes.Encode())
	f.Add(no.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := kyc.DecodeAnswer(b)
		if err == nil && (!bytes.Equal(got.Encode(), b) || len(b) > kyc.MaxAnswer) {
			t.Fatalf("%x has another form %x", b, got.Encode())
		}
	})
}
