package connector

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

var (
	// ErrQuote means that bytes are not a quote, or that a quote contradicts itself.
	ErrQuote = errors.New("connector: malformed quote")
	// ErrQuoteExpired means that a quote is used too late.
	ErrQuoteExpired = errors.New("connector: the quote has expired")
	// ErrQuoteDiffers means that terms are not what the quote offers.
	ErrQuoteDiffers = errors.New("connector: the terms are not what was quoted")
)

const quoteDomain wire.Domain = "cypherlink/quote/v1"

const maxQuote = 512

// Price is what a connector asks between two assets.
type Price struct {
	// Rate is in minor units of the destination asset per minor unit of the source asset.
	Rate cypherlink.Rate
	// Fee is a fixed amount in minor units of the source asset.
	Fee cypherlink.Amount
}

// Source is what delivering the destination amount costs: the exact quotient, rounded up
// against the asker, plus the fee.
func (p Price) Source(destination cypherlink.Amount) (cypherlink.Amount, error) {
	if destination <= 0 || p.Fee < 0 {
		return 0, fmt.Errorf("deliver %d at fee %d: %w", destination, p.Fee, cypherlink.ErrAmountRange)
	}
	inverse := cypherlink.Rate{Num: p.Rate.Den, Den: p.Rate.Num}
	net, err := inverse.Ceil(destination)
	if err != nil {
		return 0, err
	}
	return net.Add(p.Fee)
}

// Quote is a connector's offer to deliver Destination for Source. It may be used once.
type Quote struct {
	Network cypherlink.NetworkID
	// ID is random; it makes the quote one of its kind.
	ID               cypherlink.Hash
	Connector, Asker cypherlink.ParticipantID
	// Source and Destination are the two movements: assets, amounts, and the connector's own
	// account on each ledger.
	Source, Destination Movement
	Price               Price
	// SourceHold and DestinationHold are the lives of the two custodies in seconds, counted
	// from the moment at which the terms are drawn up.
	SourceHold, DestinationHold int64
	// ValidUntil is in seconds since 1970: from then on the quote is void.
	ValidUntil int64
}

// Movement is an amount of an asset and the connector's account that takes or gives it.
type Movement struct {
	Asset   cypherlink.Asset
	Amount  cypherlink.Amount
	Account cypherlink.Account
}

// SignedQuote is a quote under its connector's Ed25519 signature.
type SignedQuote struct {
	Quote     Quote
	Signature [64]byte
}

// Valid reports ErrQuote unless the quote hangs together; in particular its source amount is
// exactly what its own price makes of the destination amount.
func (q *Quote) Valid() error {
	if err := errors.Join(q.Source.Asset.Valid(), q.Destination.Asset.Valid()); err != nil {
		return fmt.Errorf("%w: %w", ErrQuote, err)
	}
	source, err := q.Price.Source(q.Destination.Amount)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrQuote, err)
	case source != q.Source.Amount:
		return fmt.Errorf("source amount %d, by its price %d: %w", q.Source.Amount, source, ErrQuote)
	case q.Source.Asset.Ledger == q.Destination.Asset.Ledger:
		return fmt.Errorf("both assets on ledger %s: %w", q.Source.Asset.Ledger, ErrQuote)
	case q.Source.Account.Owner != q.Connector || q.Destination.Account.Owner != q.Connector:
		return fmt.Errorf("an account is not the connector's: %w", ErrQuote)
	case q.DestinationHold <= 0 || q.SourceHold <= q.DestinationHold:
		return fmt.Errorf("holds of %d and %d s: %w", q.SourceHold, q.DestinationHold, ErrQuote)
	}
	return nil
}

// Covers reports why terms drawn up at now (seconds since 1970) are not what the quote
// offers: ErrQuoteExpired or ErrQuoteDiffers. A leg is in a channel at both ends or at none. The expiries
// of the terms must be the quote's
// holds, counted from a moment at most slack seconds from now. That the quote was not used
// before is for the connector's store to say.
func (q *Quote) Covers(t *terms.Terms, now, slack int64) error {
	if now >= q.ValidUntil {
		return fmt.Errorf("valid until %d, now %d: %w", q.ValidUntil, now, ErrQuoteExpired)
	}
	if len(t.Legs) != 2 {
		return fmt.Errorf("%d legs: %w", len(t.Legs), ErrQuoteDiffers)
	}
	source, destination := t.Legs[terms.Source], t.Legs[terms.Destination]
	start := source.Expiry - q.SourceHold
	for _, leg := range t.Legs {
		if leg.Debit.Number == ledger.ChannelNumber != (leg.Credit.Number == ledger.ChannelNumber) {
			return fmt.Errorf("one end of %s is in a channel: %w", leg.Asset, ErrQuoteDiffers)
		}
	}
	same := t.Network == q.Network && t.Quote == q.Hash() &&
		t.Connector == q.Connector && t.Payer == q.Asker &&
		q.Source == Movement{source.Asset, source.Amount, source.Credit} &&
		q.Destination == Movement{destination.Asset, destination.Amount, destination.Debit} &&
		start == destination.Expiry-q.DestinationHold
	if !same || start < now-slack || start > now+slack {
		return fmt.Errorf("quote %s: %w", q.ID, ErrQuoteDiffers)
	}
	return nil
}

// Hash identifies the quote: every field is under it.
func (q *Quote) Hash() cypherlink.Hash { return wire.Sum(quoteDomain, q.encode()) }

// Frame is what the connector signs. Its scope is the quote's id, which is used once.
func (q *Quote) Frame() cosi.Frame {
	return cosi.Frame{Type: cosi.Quote, Network: q.Network, Scope: q.ID, Payload: q.Hash()}
}

func (m Movement) appendWire(w *wire.Writer) {
	m.Asset.AppendWire(w)
	w.I64(int64(m.Amount))
	m.Account.AppendWire(w)
}

func readMovement(r *wire.Reader) Movement {
	return Movement{
		Asset: cypherlink.ReadAsset(r), Amount: cypherlink.Amount(r.I64()),
		Account: cypherlink.ReadAccount(r),
	}
}

func (q *Quote) encode() []byte {
	w := wire.NewWriter(maxQuote)
	w.Fixed(q.Network[:])
	w.Fixed(q.ID[:])
	w.Fixed(q.Connector[:])
	w.Fixed(q.Asker[:])
	q.Source.appendWire(w)
	q.Destination.appendWire(w)
	w.I64(q.Price.Rate.Num)
	w.I64(q.Price.Rate.Den)
	w.I64(int64(q.Price.Fee))
	w.I64(q.SourceHold)
	w.I64(q.DestinationHold)
	w.I64(q.ValidUntil)
	return w.Bytes()
}

// Encode is the canonical form.
func (s *SignedQuote) Encode() []byte { return append(s.Quote.encode(), s.Signature[:]...) }

// DecodeQuote takes exactly the form of Encode and checks Valid and the signature by the
// connector's key, which keys must know; otherwise ErrQuote.
func DecodeQuote(b []byte, keys validator.Keys) (*SignedQuote, error) {
	if len(b) > maxQuote {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), maxQuote, ErrQuote)
	}
	r := wire.NewReader(b)
	var s SignedQuote
	q := &s.Quote
	r.Fixed(q.Network[:])
	r.Fixed(q.ID[:])
	r.Fixed(q.Connector[:])
	r.Fixed(q.Asker[:])
	q.Source, q.Destination = readMovement(r), readMovement(r)
	q.Price = Price{Rate: cypherlink.Rate{Num: r.I64(), Den: r.I64()}, Fee: cypherlink.Amount(r.I64())}
	q.SourceHold, q.DestinationHold, q.ValidUntil = r.I64(), r.I64(), r.I64()
	r.Fixed(s.Signature[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuote, err)
	}
	if err := q.Valid(); err != nil {
		return nil, err
	}
	key, ok := keys.Key(q.Connector)
	if !ok {
		return nil, fmt.Errorf("connector %s: %w", q.Connector, ErrQuote)
	}
	if err := cosi.VerifyEd25519(key, q.Frame(), s.Signature); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrQuote, err)
	}
	return &s, nil
}
