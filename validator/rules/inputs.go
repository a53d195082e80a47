package rules

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/terms"
)

// ErrInputs means that inputs are malformed or contradict themselves.
var ErrInputs = errors.New("rules: malformed inputs")

// MaxInputs bounds the canonical bytes of inputs.
const MaxInputs = 256 + kyc.FieldCount*(1+4+4*kyc.MaxName)

const inputsDomain wire.Domain = "cypherlink/rule-inputs/v1"

// Inputs is all that the rules see of one leg. A Validator keeps them with its ruling; they
// may be personal, never leave it unasked, and do not print.
type Inputs struct {
	// Salt is 32 random bytes of the Validator's own. The hash of the inputs stands in the
	// verdict, on the chain: without the salt nobody, not even who knows the parties, can
	// find the rest (such as a score) by trying.
	Salt [32]byte
	// Leg is the leg's index in the terms; Asset and Amount are the leg's.
	Leg    uint8
	Asset  cypherlink.Asset
	Amount cypherlink.Amount
	// Debit and Credit are the owners of the leg's accounts.
	Debit, Credit cypherlink.BIC
	// ExpiresIn is the number of seconds from the judgement to the leg's expiry, at least 1.
	ExpiresIn int64
	// Told is what was told of the parties.
	Told kyc.Told
	// List is the hash of the list that the Validator screened against. The scores are how
	// near the two names come to it, from 0 to kyc.MaxScore, and 0 if the name is not told.
	List                       cypherlink.Hash
	DebtorScore, CreditorScore int
}

// Valid reports ErrInputs unless every field is in its bounds.
func (in *Inputs) Valid() error {
	if err := in.Asset.Valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrInputs, err)
	}
	_, debtor := in.Told.Text(kyc.DebtorName)
	_, creditor := in.Told.Text(kyc.CreditorName)
	switch {
	case in.Salt == [32]byte{}:
		return fmt.Errorf("no salt: %w", ErrInputs)
	case in.Leg > terms.Destination:
		return fmt.Errorf("leg %d: %w", in.Leg, ErrInputs)
	case in.Amount <= 0:
		return fmt.Errorf("amount %d: %w", in.Amount, ErrInputs)
	case in.Debit.IsZero() || in.Credit.IsZero():
		return fmt.Errorf("a bank is missing: %w", ErrInputs)
	case in.ExpiresIn <= 0 || in.ExpiresIn > terms.MaxExpiry:
		return fmt.Errorf("expires in %d s: %w", in.ExpiresIn, ErrInputs)
	case !isScore(in.DebtorScore, debtor) || !isScore(in.CreditorScore, creditor):
		return fmt.Errorf("scores %d and %d: %w", in.DebtorScore, in.CreditorScore, ErrInputs)
	}
	return nil
}

func isScore(score int, told bool) bool {
	return score == 0 || told && score > 0 && score <= kyc.MaxScore
}

// Hash identifies the inputs: every field is under it.
func (in *Inputs) Hash() cypherlink.Hash { return wire.Sum(inputsDomain, in.Encode()) }

// Encode is the canonical form, at most MaxInputs bytes.
func (in *Inputs) Encode() []byte {
	w := wire.NewWriter(512)
	in.appendWire(w)
	return w.Bytes()
}

func (in *Inputs) appendWire(w *wire.Writer) {
	w.Fixed(in.Salt[:])
	w.U8(in.Leg)
	in.Asset.AppendWire(w)
	w.I64(int64(in.Amount))
	in.Debit.AppendWire(w)
	in.Credit.AppendWire(w)
	w.I64(in.ExpiresIn)
	in.Told.AppendWire(w)
	w.Fixed(in.List[:])
	w.U16(uint16(in.DebtorScore))   //nolint:gosec // at most kyc.MaxScore: Valid
	w.U16(uint16(in.CreditorScore)) //nolint:gosec // at most kyc.MaxScore: Valid
}

// DecodeInputs takes exactly the form of Encode and checks Valid.
func DecodeInputs(b []byte) (*Inputs, error) {
	r := wire.NewReader(b)
	in := readInputs(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInputs, err)
	}
	return &in, nil
}

func readInputs(r *wire.Reader) Inputs {
	var in Inputs
	r.Fixed(in.Salt[:])
	in.Leg = r.U8()
	in.Asset = cypherlink.ReadAsset(r)
	in.Amount = cypherlink.Amount(r.I64())
	in.Debit, in.Credit = cypherlink.ReadBIC(r), cypherlink.ReadBIC(r)
	in.ExpiresIn = r.I64()
	in.Told = kyc.ReadTold(r)
	r.Fixed(in.List[:])
	in.DebtorScore, in.CreditorScore = int(r.U16()), int(r.U16())
	if r.Err() == nil {
		if err := in.Valid(); err != nil {
			r.Fail(err)
		}
	}
	return in
}

// Format hides the inputs from every verb.
func (Inputs) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "inputs(hidden)") }

// LogValue hides the inputs.
func (Inputs) LogValue() slog.Value { return slog.StringValue("inputs(hidden)") }
