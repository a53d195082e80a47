// Package terms is what the parties of a payment agree before money moves.
//
// Its noun is the Terms: who pays whom, what moves on which ledger until when, under which
// condition, at which quote, over which KYC data. Payer bank, payee bank and connector sign
// the terms of one exchange together, as one collective signature over the Merkle root of a
// batch; the Proof of one payment is its terms, its path and that certificate. The package
// refuses terms that do not hang together, and it never signs: a signature is asked for
// through a port. Source: Cypherium Whitepaper 2.0, main job steps 1 to 3; ILP RFC 22.
package terms

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrTerms means that terms are malformed or contradict themselves.
var ErrTerms = errors.New("terms: not acceptable")

const (
	termsDomain wire.Domain = "cypherlink/terms/v1"
	draftDomain wire.Domain = "cypherlink/terms-draft/v1"
)

// MaxSize bounds the canonical bytes of terms.
const MaxSize = 1024

// MaxExpiry is the last second that RFC 3339 can write, 9999-12-31T23:59:59Z. No leg expires
// later, so an expiry in milliseconds or microseconds is always an int64.
const MaxExpiry = 253402300799

// The legs of a payment, as indices of Terms.Legs. A payment in one asset has the source leg
// alone.
const (
	Source      = 0
	Destination = 1
)

// Leg is the movement on one ledger: Amount of Asset from Debit to Credit, in custody until
// Expiry.
type Leg struct {
	Asset         cypherlink.Asset
	Debit, Credit cypherlink.Account
	// Amount is positive.
	Amount cypherlink.Amount
	// Expiry is in seconds since 1970, UTC, from 1 to MaxExpiry. At the expiry it is too late.
	Expiry int64
}

// Terms is one payment as its parties agreed it.
type Terms struct {
	Network cypherlink.NetworkID
	UETR    cypherlink.UETR
	// Payer and Payee are the two banks, Connector is the clearing bank between two ledgers
	// and zero for a payment in one asset.
	Payer, Payee, Connector cypherlink.ParticipantID
	// Legs has the source leg and, with a connector, the destination leg.
	Legs []Leg
	// Condition locks both legs. A payment in one asset has none: it is paid as its leg is signed.
	Condition cypherlink.Condition
	// Quote is the hash of the connector's signed quote, zero without a connector.
	Quote cypherlink.Hash
	// KYC is the salted commitment to the parties and the answers about them; the data
	// stays with the banks.
	KYC cypherlink.Hash
}

// Last is the leg on which the payee is paid.
func (t *Terms) Last() *Leg { return &t.Legs[len(t.Legs)-1] }

// Parties are the participants that sign, in the order payer, payee, connector.
func (t *Terms) Parties() []cypherlink.ParticipantID {
	if t.Connector == (cypherlink.ParticipantID{}) {
		return []cypherlink.ParticipantID{t.Payer, t.Payee}
	}
	return []cypherlink.ParticipantID{t.Payer, t.Payee, t.Connector}
}

// Valid reports ErrTerms unless the terms hang together: a UETR, distinct parties, positive
// amounts, valid assets, accounts that belong to the parties, a source leg that outlives the
// destination leg on another ledger, and quote and condition exactly where there is a connector.
func (t *Terms) Valid() error {
	var none cypherlink.ParticipantID
	cross := t.Connector != none
	if _, err := t.UETR.MarshalText(); err != nil {
		return fmt.Errorf("%w: %w", ErrTerms, err)
	}
	switch {
	case t.Payer == none || t.Payee == none:
		return fmt.Errorf("a party is missing: %w", ErrTerms)
	case t.Payer == t.Payee || t.Connector == t.Payer || t.Connector == t.Payee:
		return fmt.Errorf("one party stands twice: %w", ErrTerms)
	case cross && len(t.Legs) != 2 || !cross && len(t.Legs) != 1:
		return fmt.Errorf("%d legs: %w", len(t.Legs), ErrTerms)
	case cross == (t.Quote == cypherlink.Hash{}):
		return fmt.Errorf("a connector and a quote go together: %w", ErrTerms)
	case cross == (t.Condition == cypherlink.Condition{}):
		return fmt.Errorf("a connector and a condition go together: %w", ErrTerms)
	}
	if !cross {
		return t.Legs[Source].valid(t.Payer, t.Payee)
	}
	source, destination := t.Legs[Source], t.Legs[Destination]
	if err := source.valid(t.Payer, t.Connector); err != nil {
		return fmt.Errorf("source leg: %w", err)
	}
	if err := destination.valid(t.Connector, t.Payee); err != nil {
		return fmt.Errorf("destination leg: %w", err)
	}
	if source.Asset.Ledger == destination.Asset.Ledger {
		return fmt.Errorf("both legs on ledger %s: %w", source.Asset.Ledger, ErrTerms)
	}
	if source.Expiry <= destination.Expiry {
		return fmt.Errorf("source expiry %d, destination expiry %d: %w",
			source.Expiry, destination.Expiry, ErrTerms)
	}
	return nil
}

func (l Leg) valid(debit, credit cypherlink.ParticipantID) error {
	if err := l.Asset.Valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrTerms, err)
	}
	switch {
	case l.Amount <= 0:
		return fmt.Errorf("amount %d: %w", l.Amount, ErrTerms)
	case l.Expiry <= 0 || l.Expiry > MaxExpiry:
		return fmt.Errorf("expiry %d: %w", l.Expiry, ErrTerms)
	case l.Debit.Owner != debit || l.Credit.Owner != credit:
		return fmt.Errorf("an account is not its party's: %w", ErrTerms)
	}
	return nil
}

// Hash identifies the terms: every field is under it.
func (t *Terms) Hash() cypherlink.Hash {
	return wire.Sum(termsDomain, t.Encode())
}

// Draft identifies everything but the condition. It is the private content of the payer's
// packet: the condition derives from the packet, and so from the draft.
func (t *Terms) Draft() cypherlink.Hash {
	draft := *t
	draft.Condition = cypherlink.Condition{}
	return wire.Sum(draftDomain, draft.Encode())
}

// Encode is the canonical form, at most MaxSize bytes.
func (t *Terms) Encode() []byte {
	w := wire.NewWriter(512)
	w.Fixed(t.Network[:])
	w.Fixed(t.UETR[:])
	w.Fixed(t.Payer[:])
	w.Fixed(t.Payee[:])
	w.Fixed(t.Connector[:])
	w.U8(uint8(len(t.Legs))) //nolint:gosec // one or two: Valid
	for _, l := range t.Legs {
		l.AppendWire(w)
	}
	w.Fixed(t.Condition[:])
	w.Fixed(t.Quote[:])
	w.Fixed(t.KYC[:])
	return w.Bytes()
}

// Decode takes exactly the form of Encode and checks Valid.
func Decode(b []byte) (*Terms, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxSize, ErrTerms)
	}
	r := wire.NewReader(b)
	var t Terms
	r.Fixed(t.Network[:])
	r.Fixed(t.UETR[:])
	r.Fixed(t.Payer[:])
	r.Fixed(t.Payee[:])
	r.Fixed(t.Connector[:])
	for n := min(r.U8(), 3); n > 0; n-- {
		t.Legs = append(t.Legs, ReadLeg(r))
	}
	r.Fixed(t.Condition[:])
	r.Fixed(t.Quote[:])
	r.Fixed(t.KYC[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTerms, err)
	}
	if err := t.Valid(); err != nil {
		return nil, err
	}
	return &t, nil
}

// AppendWire appends asset, accounts, amount and expiry.
func (l Leg) AppendWire(w *wire.Writer) {
	l.Asset.AppendWire(w)
	l.Debit.AppendWire(w)
	l.Credit.AppendWire(w)
	w.I64(int64(l.Amount))
	w.I64(l.Expiry)
}

// ReadLeg reads what AppendWire wrote.
func ReadLeg(r *wire.Reader) Leg {
	return Leg{
		Asset: cypherlink.ReadAsset(r),
		Debit: cypherlink.ReadAccount(r), Credit: cypherlink.ReadAccount(r),
		Amount: cypherlink.Amount(r.I64()), Expiry: r.I64(),
	}
}
