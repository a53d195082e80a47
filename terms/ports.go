package terms

import "github.com/cypherlink/cypherlink/cosi"

// Signer is a party's BLS key.
type Signer interface {
	// Sign is the party's share of a collective signature over f.
	Sign(f cosi.Frame) (cosi.Signature, error)
}
