package book

import "github.com/cypherlink/cypherlink/cosi"

// Signer signs records as the ledger's operator. It is called inside the transaction, so it
// must be fast, and for one frame its signature must always be the same, as Ed25519's is.
type Signer interface {
	Sign(frame cosi.Frame) ([64]byte, error)
}
