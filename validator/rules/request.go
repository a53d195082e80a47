package rules

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/kyc"
)

// ErrRequest means that bytes are not a request.
var ErrRequest = errors.New("rules: malformed request")

// MaxTermsProof bounds the bytes of a proof of terms, MaxRequest the bytes of a request.
const (
	MaxTermsProof = 16 << 10
	MaxRequest    = 4 + MaxTermsProof + 1 + 4 + kyc.FieldCount*kyc.MaxProof
)

// Request is what a party to a payment asks of a Validator: a verdict on one leg.
type Request struct {
	// Terms is the proof of the agreed terms, as Agreements takes it.
	Terms []byte
	// Leg is the leg's index in the terms.
	Leg uint8
	// Told are the fields of the KYC file that the Validator may see, in ascending order.
	Told []kyc.Proof
}

// Encode is the canonical form, at most MaxRequest bytes.
func (q *Request) Encode() []byte {
	w := wire.NewWriter(4096)
	w.Var(q.Terms)
	w.U8(q.Leg)
	w.U32(uint32(len(q.Told))) //nolint:gosec // at most kyc.FieldCount
	for i := range q.Told {
		q.Told[i].AppendWire(w)
	}
	return w.Bytes()
}

// DecodeRequest takes exactly the form of Encode; otherwise ErrRequest. It checks the form,
// not what the proofs prove. The request keeps a part of b.
func DecodeRequest(b []byte) (*Request, error) {
	r := wire.NewReader(b)
	q := &Request{Terms: r.Var(MaxTermsProof), Leg: r.U8()}
	for n := r.Count(kyc.FieldCount, 1); n > 0 && r.Err() == nil; n-- {
		q.Told = append(q.Told, kyc.ReadProof(r))
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return q, nil
}
