package connector

import (
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

// Signer is the owner's identity.
type Signer interface {
	// ID is the owner.
	ID() cypherlink.ParticipantID
	// Sign is the Ed25519 signature over the frame.
	Sign(f cosi.Frame) ([64]byte, error)
}

// Machine is a *Payer, a *Relay or a *Payee as its engine drives it.
type Machine interface {
	// Step tells the machine something.
	Step(now time.Time, in Input) (Effects, error)
	// Outcome is where the payment stands.
	Outcome() Outcome
	// Over tells whether the machine wants nothing any more.
	Over() bool
}
