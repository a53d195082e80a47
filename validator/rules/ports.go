package rules

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/terms"
)

// Agreements tells what was agreed.
type Agreements interface {
	// VerifyProof returns the terms that proof proves to be agreed: its parties signed them,
	// each with a key that is in force. It fails for every other proof.
	VerifyProof(proof []byte) (*terms.Terms, error)
}

// Directory knows the participants of the network.
type Directory interface {
	// BIC is the participant's; it is not ok for one that is unknown, or is no bank.
	BIC(id cypherlink.ParticipantID) (bic cypherlink.BIC, ok bool)
}

// Signer is the Validator's Ed25519 key.
type Signer interface {
	Sign(f cosi.Frame) ([64]byte, error)
}
