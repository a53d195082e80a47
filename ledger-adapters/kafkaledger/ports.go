package kafkaledger

import "github.com/cypherlink/cypherlink/cosi"

// Signer signs with a participant's Ed25519 identity key.
type Signer interface {
	Sign(frame cosi.Frame) ([64]byte, error)
}
