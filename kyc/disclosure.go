package kyc

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

var (
	// ErrDisclosure means that bytes are not a disclosure or a file.
	ErrDisclosure = errors.New("kyc: malformed disclosure")
	// ErrSalt means that a salt is missing or stands twice: its field could be guessed.
	ErrSalt = errors.New("kyc: salt missing or used twice")
)

// MaxDisclosure bounds the canonical bytes of a disclosure, MaxFile those of a file.
const (
	MaxDisclosure = disclosed * (4 + maxText + len(Salt{}))
	MaxFile       = MaxDisclosure + MaxAnswer
)

const hidden = "kyc(hidden)"

// Salt is 32 random bytes that hide one field of one payment. Without it the field's leaf
// tells nothing.
type Salt [32]byte

// Account is a customer's account: an IBAN or another number of at most MaxOther characters,
// never both. The zero value is no account.
type Account struct {
	IBAN  cypherlink.IBAN
	Other string
}

// Party is a customer of one of the two banks. A field that is not told is zero.
type Party struct {
	Name    string // at most MaxName characters
	Account Account
	Country string // ISO 3166-1 alpha-2, of the address
	Town    string // at most MaxName characters
	LEI     cypherlink.LEI
}

// Disclosure is what the payer's bank tells the payee's bank. A field that is not told is
// empty, and still has a leaf and a salt: nobody outside sees which fields there are. A
// disclosure does not print.
type Disclosure struct {
	Debtor, Creditor Party
	// Purpose is a code of ExternalPurpose, such as "GDDS", or text; Reference is the
	// EndToEndId. Both have at most MaxReference characters.
	Purpose, Reference string
	Remittance         string // at most MaxRemittance characters
	Salts              [disclosed]Salt
}

// DrawSalts gives every field a fresh salt from random, which is crypto/rand.Reader but in
// tests. Salts are never used for a second payment: two roots would show what they share.
func (d *Disclosure) DrawSalts(random io.Reader) error {
	for i := range d.Salts {
		if _, err := io.ReadFull(random, d.Salts[i][:]); err != nil {
			return fmt.Errorf("salt of %s: %w", Field(i), err)
		}
	}
	return nil
}

// Valid reports ErrField or ErrSalt unless every field has its form and a salt of its own.
func (d *Disclosure) Valid() error {
	if d.Debtor.Account.both() || d.Creditor.Account.both() {
		return fmt.Errorf("two numbers for one account: %w", ErrField)
	}
	seen := map[Salt]bool{{}: true}
	for i, text := range d.texts() {
		f := Field(i)
		if err := f.Check(text); err != nil {
			return err
		}
		if seen[d.Salts[i]] {
			return fmt.Errorf("%s: %w", f, ErrSalt)
		}
		seen[d.Salts[i]] = true
	}
	return nil
}

// texts is every field's one text, in the order of the fields.
func (d *Disclosure) texts() [disclosed]string {
	a, b := &d.Debtor, &d.Creditor
	return [disclosed]string{
		DebtorName: a.Name, DebtorAccount: a.Account.text(), DebtorCountry: a.Country,
		DebtorTown: a.Town, DebtorLEI: a.LEI.String(),
		CreditorName: b.Name, CreditorAccount: b.Account.text(), CreditorCountry: b.Country,
		CreditorTown: b.Town, CreditorLEI: b.LEI.String(),
		Purpose: d.Purpose, Remittance: d.Remittance, Reference: d.Reference,
	}
}

// Encode is the canonical form, at most MaxDisclosure bytes: each field's text and salt.
func (d *Disclosure) Encode() []byte {
	w := wire.NewWriter(1024)
	d.appendWire(w)
	return w.Bytes()
}

func (d *Disclosure) appendWire(w *wire.Writer) {
	for i, text := range d.texts() {
		w.Str(text)
		w.Fixed(d.Salts[i][:])
	}
}

// DecodeDisclosure takes exactly the form of Encode and checks Valid.
func DecodeDisclosure(b []byte) (*Disclosure, error) {
	r := wire.NewReader(b)
	d := readDisclosure(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDisclosure, err)
	}
	return &d, nil
}

// readDisclosure reads what appendWire wrote and checks Valid.
func readDisclosure(r *wire.Reader) Disclosure {
	var d Disclosure
	var texts [disclosed]string
	for i := range texts {
		texts[i] = r.Str(maxText)
		r.Fixed(d.Salts[i][:])
	}
	party := func(first Field) (p Party) {
		t := texts[first:]
		p.Name, p.Country, p.Town = t[DebtorName], t[DebtorCountry], t[DebtorTown]
		account, err := parseAccount(t[DebtorAccount])
		if err != nil {
			r.Fail(err)
		}
		p.Account = account
		if lei := t[DebtorLEI]; lei != "" {
			if p.LEI, err = cypherlink.ParseLEI(lei); err != nil {
				r.Fail(err)
			}
		}
		return p
	}
	d.Debtor, d.Creditor = party(DebtorName), party(CreditorName)
	d.Purpose, d.Remittance, d.Reference = texts[Purpose], texts[Remittance], texts[Reference]
	if r.Err() == nil {
		if err := d.Valid(); err != nil {
			r.Fail(err)
		}
	}
	return d
}

// An account's text says which of the two kinds it is, in the words of ISO 20022.
const (
	ibanPrefix  = "IBAN/"
	otherPrefix = "Othr/"
)

func (a Account) both() bool { return !a.IBAN.IsZero() && a.Other != "" }

func (a Account) text() string {
	switch {
	case !a.IBAN.IsZero():
		return ibanPrefix + a.IBAN.String()
	case a.Other != "":
		return otherPrefix + a.Other
	}
	return ""
}

var errAccount = errors.New("neither an IBAN nor another account number")

// parseAccount reads the form of text.
func parseAccount(text string) (Account, error) {
	if text == "" {
		return Account{}, nil
	}
	if number, ok := strings.CutPrefix(text, ibanPrefix); ok {
		iban, err := cypherlink.ParseIBAN(number)
		return Account{IBAN: iban}, err
	}
	number, ok := strings.CutPrefix(text, otherPrefix)
	if !ok || number == "" || DebtorAccount.prose(number, MaxOther) != nil {
		return Account{}, errAccount
	}
	return Account{Other: number}, nil
}

// Format hides the disclosure from every verb.
func (Disclosure) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, hidden) }

// LogValue hides the disclosure.
func (Disclosure) LogValue() slog.Value { return slog.StringValue(hidden) }
