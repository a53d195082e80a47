package kyc_test

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
)

// chance is a stream of random bytes that a seed fixes.
func chance(seed uint64) io.Reader {
	var b [32]byte
	binary.BigEndian.PutUint64(b[:], seed)
	return rand.NewChaCha8(b)
}

func iban(tb testing.TB, s string) cypherlink.IBAN {
	tb.Helper()
	i, err := cypherlink.ParseIBAN(s)
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

func lei(tb testing.TB, s string) cypherlink.LEI {
	tb.Helper()
	l, err := cypherlink.ParseLEI(s)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// laptop is what Bank A tells Bank B about the main job's payment.
func laptop(tb testing.TB) kyc.Disclosure {
	tb.Helper()
	d := kyc.Disclosure{
		Debtor: kyc.Party{
			Name: "Müller & Söhne GmbH", Country: "DE", Town: "Köln",
			Account: kyc.Account{IBAN: iban(tb, "DE89370400440532013000")},
			LEI:     lei(tb, "7LTWFZYICNSX8D621K86"),
		},
		Creditor: kyc.Party{
			Name: "Shenzhen Laptop Co", Country: "CN", Town: "Shenzhen",
			Account: kyc.Account{Other: "6222021234567890128"},
		},
		Purpose: "GDDS", Remittance: "invoice 2026-1107", Reference: "E2E-0001",
	}
	if err := d.DrawSalts(chance(1)); err != nil {
		tb.Fatal(err)
	}
	return d
}

func accepted() kyc.Answer { return kyc.Answer{Match: kyc.FullMatch, Salt: kyc.Salt{7, 7}} }

func file(tb testing.TB) *kyc.File {
	tb.Helper()
	d, a := laptop(tb), accepted()
	f, err := kyc.NewFile(&d, &a)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func open(tb testing.TB, f *kyc.File, field kyc.Field) kyc.Proof {
	tb.Helper()
	p, err := f.Open(field)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func openAll(tb testing.TB, f *kyc.File) []kyc.Proof {
	tb.Helper()
	var proofs []kyc.Proof
	for field := range kyc.Field(kyc.FieldCount) {
		proofs = append(proofs, open(tb, f, field))
	}
	return proofs
}

// texts are the texts of laptop and accepted, as any reader of the proofs sees them.
func texts() [kyc.FieldCount]string {
	return [kyc.FieldCount]string{
		kyc.DebtorName: "Müller & Söhne GmbH", kyc.DebtorAccount: "IBAN/DE89370400440532013000",
		kyc.DebtorCountry: "DE", kyc.DebtorTown: "Köln", kyc.DebtorLEI: "7LTWFZYICNSX8D621K86",
		kyc.CreditorName: "Shenzhen Laptop Co", kyc.CreditorAccount: "Othr/6222021234567890128",
		kyc.CreditorCountry: "CN", kyc.CreditorTown: "Shenzhen", kyc.CreditorLEI: "",
		kyc.Purpose: "GDDS", kyc.Remittance: "invoice 2026-1107", kyc.Reference: "E2E-0001",
		kyc.PayeeMatch: "MTCH",
	}
}
