package connector

import (
	"errors"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink/terms"
)

// ErrMargin means that times are too close to each other for somebody's risk to be bounded.
var ErrMargin = errors.New("connector: margin too small")

// Timing is what was measured of a ledger. A margin rests on it; it is never a constant.
type Timing struct {
	// Inclusion is the longest time (p99.9) from the hand-in of a command to its finality.
	Inclusion time.Duration
	// Answer is the longest time (p99.9) from finality to the owner's hearing of it.
	Answer time.Duration
	// Skew is the most by which the ledger's clock and the owner's may differ.
	Skew time.Duration
	// MinExpiry is the least time that the ledger lets a Prepare leave before its expiry.
	MinExpiry time.Duration
}

// Margins are the times by which the parties of a payment bound their risk.
type Margins struct {
	// Resend is how long a machine waits before it repeats what has not taken effect.
	Resend time.Duration
	// SourceHold and DestinationHold are the custodies' lives, counted from the quote's use.
	SourceHold, DestinationHold time.Duration
	// MaxHold is the longest source custody that a payer agrees to.
	MaxHold time.Duration
	// RelayWindow is the least time that the source custody outlives the destination
	// custody: the relay's, to carry the preimage back.
	RelayWindow time.Duration
	// AcceptWindow is the least life of a destination custody that the relay still makes.
	AcceptWindow time.Duration
	// ConfirmWindow is the payee's: later than this before the expiry it hands out no
	// preimage.
	ConfirmWindow time.Duration
	// Restart is the longest time that the relay's own machine may be down.
	Restart time.Duration
}

// Valid reports ErrMargin unless every relation holds, for these two ledgers:
//
//   - A payee that reveals at the last moment it allows itself is included in time:
//     ConfirmWindow >= Inclusion + Skew of the destination.
//   - A custody that the relay makes at the last moment it allows itself is legal when it is
//     included, and reaches the payee before the payee's last moment:
//     AcceptWindow >= Inclusion + Skew + MinExpiry, and
//     AcceptWindow >= Inclusion + Answer + Skew + ConfirmWindow of the destination.
//   - A source custody made at once is relayed in time: DestinationHold >= Inclusion + Answer
//   - Skew of the source + AcceptWindow.
//   - A preimage that came with the destination's last second still reaches the source, even
//     over a restart: RelayWindow >= Answer + Skew of the destination + Restart + Resend +
//     Inclusion + Skew of the source.
//   - SourceHold >= DestinationHold + RelayWindow, SourceHold <= MaxHold, and SourceHold >=
//     Inclusion + Skew + MinExpiry of the source.
func (m Margins) Valid(source, destination Timing) error {
	if m.Resend <= 0 || m.Restart < 0 {
		return fmt.Errorf("resend %s, restart %s: %w", m.Resend, m.Restart, ErrMargin)
	}
	for _, t := range []Timing{source, destination} {
		if t.Inclusion <= 0 || t.Answer <= 0 || t.Skew < 0 || t.MinExpiry < 0 {
			return fmt.Errorf("a ledger's times were not measured: %w", ErrMargin)
		}
	}
	for _, rule := range []struct {
		name        string
		have, least time.Duration
	}{
		{"confirm window", m.ConfirmWindow, destination.Inclusion + destination.Skew},
		{
			"accept window, for the ledger", m.AcceptWindow,
			destination.Inclusion + destination.Skew + destination.MinExpiry,
		},
		{
			"accept window, for the payee", m.AcceptWindow,
			destination.Inclusion + destination.Answer + destination.Skew + m.ConfirmWindow,
		},
		{
			"destination hold", m.DestinationHold,
			source.Inclusion + source.Answer + source.Skew + m.AcceptWindow,
		},
		{
			"relay window", m.RelayWindow,
			destination.Answer + destination.Skew + m.Restart + m.Resend + source.Inclusion + source.Skew,
		},
		{"source hold", m.SourceHold, m.DestinationHold + m.RelayWindow},
		{"source hold, for the ledger", m.SourceHold, source.Inclusion + source.Skew + source.MinExpiry},
		{"longest hold", m.MaxHold, m.SourceHold},
	} {
		if rule.have < rule.least {
			return fmt.Errorf("%s is %s, at least %s: %w", rule.name, rule.have, rule.least, ErrMargin)
		}
	}
	return nil
}

// Cascade reports ErrMargin unless the terms' source custody outlives the destination custody
// by the relay window.
func (m Margins) Cascade(t *terms.Terms) error {
	source, destination := t.Legs[terms.Source].Expiry, t.Legs[terms.Destination].Expiry
	window := time.Unix(source, 0).Sub(time.Unix(destination, 0))
	if window < m.RelayWindow {
		return fmt.Errorf("relay window is %s, at least %s: %w", window, m.RelayWindow, ErrMargin)
	}
	return nil
}
