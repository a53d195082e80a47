package api

import (
	"context"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/peer"
)

// Request is who asks and in which bytes.
type Request struct {
	// Client is the key of the caller's certificate.
	Client peer.SPKI
	// Key is the Idempotency-Key, unique within a client and an operation. It is empty for a
	// message, which the instructing agent and MsgId name.
	Key string
	// Raw is the body as it was received, for the record. It is the callee's.
	Raw []byte
}

// Payments is what a bank's Connect does. Every error that may be told to the caller is a
// *cypherlink.Error: of an instruction or message that is refused (codes of iso20022),
// CodeKeyReused and CodeKeyBusy for its idempotency key, CodeUnknownPayment for a UETR.
type Payments interface {
	// Submit takes a body of the form of Instruction and returns once it is durable. If the same
	// was submitted before, replayed is true and the payment is the one that was answered then.
	Submit(ctx context.Context, r Request) (p Payment, replayed bool, err error)
	// SubmitMessage does the same with a pacs.008.
	SubmitMessage(ctx context.Context, r Request) (p Payment, replayed bool, err error)
	// Payment is the present state of a payment in which the bank takes part.
	Payment(ctx context.Context, id cypherlink.UETR) (Payment, error)
	// Events are the transitions of a payment so far, by ascending sequence.
	Events(ctx context.Context, id cypherlink.UETR) ([]Event, error)
}

// Documents are a payment's documents, byte for byte. Errors: CodeUnknownPayment; CodeNoReceipt
// for a receipt that does not exist yet.
type Documents interface {
	// Receipt is the canonical proof of a payment that is final.
	Receipt(ctx context.Context, id cypherlink.UETR) ([]byte, error)
	// StatusReport is the payment's status as a pacs.002.
	StatusReport(ctx context.Context, id cypherlink.UETR) ([]byte, error)
}

// Quotes is what a clearing bank's connector does. Errors: CodeNoQuote, CodeKeyReused and
// CodeKeyBusy as *cypherlink.Error.
type Quotes interface {
	// Quote draws up and signs a quote. If the same was asked before, replayed is true and the
	// quote is the one that was answered then.
	Quote(ctx context.Context, r Request, q QuoteRequest) (quote Quote, replayed bool, err error)
}
