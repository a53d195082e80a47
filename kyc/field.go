package kyc

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cypherlink/cypherlink"
)

// ErrField means that a field, or its text, is not one that a file can hold.
var ErrField = errors.New("kyc: not a field's text")

// Field is one thing that a file tells. Its number is its leaf's place in the tree.
type Field uint8

// The fields of a file, in the order of their leaves.
const (
	DebtorName Field = iota
	DebtorAccount
	DebtorCountry
	DebtorTown
	DebtorLEI
	CreditorName
	CreditorAccount
	CreditorCountry
	CreditorTown
	CreditorLEI
	Purpose
	Remittance
	Reference
	PayeeMatch // from the payee bank's Answer; all others are from the Disclosure

	// FieldCount is the number of fields of a file, and so the size of its tree.
	FieldCount = iota
	// disclosed is the number of fields of a Disclosure: the first ones.
	disclosed = int(PayeeMatch)
)

// Bounds of a field's text, in characters.
const (
	MaxName       = 140 // also of a town
	MaxRemittance = 140
	MaxReference  = 35 // also of a purpose
	MaxOther      = 34 // an account number that is no IBAN
)

// maxText bounds the bytes of every field's text.
const maxText = 4 * MaxName

// String is the field's name, such as "debtor.name". A rule reads a field by this name.
func (f Field) String() string {
	switch f {
	case DebtorName:
		return "debtor.name"
	case DebtorAccount:
		return "debtor.account"
	case DebtorCountry:
		return "debtor.country"
	case DebtorTown:
		return "debtor.town"
	case DebtorLEI:
		return "debtor.lei"
	case CreditorName:
		return "creditor.name"
	case CreditorAccount:
		return "creditor.account"
	case CreditorCountry:
		return "creditor.country"
	case CreditorTown:
		return "creditor.town"
	case CreditorLEI:
		return "creditor.lei"
	case Purpose:
		return "purpose"
	case Remittance:
		return "remittance"
	case Reference:
		return "reference"
	case PayeeMatch:
		return "match"
	default:
		return fmt.Sprintf("field %d", uint8(f))
	}
}

// Check reports ErrField unless text is one that a file can hold in field f: of the field's
// form and length, or empty where the file leaves the field out.
func (f Field) Check(text string) error {
	switch f {
	case DebtorName, CreditorName, DebtorTown, CreditorTown:
		return f.prose(text, MaxName)
	case Remittance:
		return f.prose(text, MaxRemittance)
	case Purpose, Reference:
		return f.prose(text, MaxReference)
	case DebtorAccount, CreditorAccount:
		_, err := parseAccount(text)
		return f.fault(err)
	case DebtorCountry, CreditorCountry:
		return f.fault(checkCountry(text))
	case DebtorLEI, CreditorLEI:
		if text == "" {
			return nil
		}
		_, err := cypherlink.ParseLEI(text)
		return f.fault(err)
	case PayeeMatch:
		return f.fault(Match(text).valid())
	default:
		return fmt.Errorf("%s: %w", f, ErrField)
	}
}

// fault is err as ErrField at f. It does not quote the text, which may be personal.
func (f Field) fault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %w", f, ErrField, err)
}

var errProse = errors.New("characters that do not show, blanks at an end, or too long")

// prose takes at most limit characters that show on paper, letters, marks, numbers,
// punctuation, symbols and blanks, with none of the blanks at an end. Control, format and
// bidirectional characters would let two texts look alike.
func (f Field) prose(text string, limit int) error {
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > limit ||
		strings.TrimSpace(text) != text ||
		strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsGraphic(c) }) {
		return f.fault(errProse)
	}
	return nil
}

var errCountry = errors.New("not two capital letters")

// checkCountry takes the form of ISO 3166-1 alpha-2, or nothing. Which countries are allowed is
// a rule's question.
func checkCountry(text string) error {
	capital := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	if text == "" || len(text) == 2 && capital(text[0]) && capital(text[1]) {
		return nil
	}
	return errCountry
}
