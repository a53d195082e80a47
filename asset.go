package cypherlink

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cypherlink/cypherlink/internal/wire"
)

var (
	// ErrAsset means that a ledger id, an asset code or a scale is malformed.
	ErrAsset = errors.New("malformed asset")
	// ErrAccount means that text is not an account.
	ErrAccount = errors.New("malformed account")
)

// Bounds of the two names in an Asset, in bytes.
const (
	MaxLedgerID  = 16
	MaxAssetCode = 16
)

// LedgerID names a ledger within a network, such as "de" or "cypherium": 1 to 16 lower-case
// letters, digits and hyphens, starting with a letter.
type LedgerID string

// Valid reports ErrAsset unless the id has the form above.
func (id LedgerID) Valid() error {
	if len(id) == 0 || len(id) > MaxLedgerID || id[0] < 'a' || id[0] > 'z' {
		return fmt.Errorf("ledger %.20q: %w", string(id), ErrAsset)
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("ledger %.20q: %w", string(id), ErrAsset)
		}
	}
	return nil
}

// Asset is a kind of money on one ledger: EUR on two ledgers is two assets. The pair (Ledger,
// Code) fixes issuer and Scale. Code is an ISO 4217 code or a registered symbol: 1 to 16
// capital letters, digits, dots and slashes. Scale is the number of digits after the point.
type Asset struct {
	Ledger LedgerID
	Code   string
	Scale  uint8
}

// Valid reports ErrAsset unless ledger, code and scale have the forms above.
func (a Asset) Valid() error {
	if err := a.Ledger.Valid(); err != nil {
		return err
	}
	if len(a.Code) == 0 || len(a.Code) > MaxAssetCode || a.Scale > MaxScale {
		return fmt.Errorf("code %.20q, scale %d: %w", a.Code, a.Scale, ErrAsset)
	}
	for _, c := range []byte(a.Code) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '/' {
			return fmt.Errorf("code %.20q: %w", a.Code, ErrAsset)
		}
	}
	return nil
}

// String is for people and logs, such as "EUR@de".
func (a Asset) String() string { return a.Code + "@" + string(a.Ledger) }

// AppendWire appends ledger, code and scale.
func (a Asset) AppendWire(w *wire.Writer) {
	w.Str(string(a.Ledger))
	w.Str(a.Code)
	w.U8(a.Scale)
}

// ReadAsset reads what AppendWire wrote and checks it.
func ReadAsset(r *wire.Reader) Asset {
	a := Asset{Ledger: LedgerID(r.Str(MaxLedgerID)), Code: r.Str(MaxAssetCode), Scale: r.U8()}
	if r.Err() == nil {
		if err := a.Valid(); err != nil {
			r.Fail(err)
		}
	}
	return a
}

// Account is one of a participant's accounts. In each asset of a ledger the account is a
// separate balance; Number tells apart the accounts that one owner keeps.
type Account struct {
	Owner  ParticipantID
	Number uint32
}

// String is the owner in hexadecimal, a slash and the number.
func (a Account) String() string {
	return a.Owner.String() + "/" + strconv.FormatUint(uint64(a.Number), 10)
}

// MarshalText is the form of String.
func (a Account) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText takes exactly the form of String; otherwise ErrAccount.
func (a *Account) UnmarshalText(text []byte) error {
	owner, number, ok := strings.Cut(string(text), "/")
	n, err := strconv.ParseUint(number, 10, 32)
	if !ok || err != nil || len(number) > 1 && number[0] == '0' {
		return fmt.Errorf("%.90q: %w", text, ErrAccount)
	}
	var id ParticipantID
	if err := id.UnmarshalText([]byte(owner)); err != nil {
		return fmt.Errorf("%.90q: %w", text, ErrAccount)
	}
	*a = Account{Owner: id, Number: uint32(n)}
	return nil
}

// AppendWire appends owner and number, 36 bytes.
func (a Account) AppendWire(w *wire.Writer) {
	w.Fixed(a.Owner[:])
	w.U32(a.Number)
}

// ReadAccount reads what AppendWire wrote.
func ReadAccount(r *wire.Reader) Account {
	var a Account
	r.Fixed(a.Owner[:])
	a.Number = r.U32()
	return a
}
