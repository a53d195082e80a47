package api

import (
	"context"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/payment"
)

// Payments is what a bank's Connect does. What may be told to the caller is a *cypherlink.Error.
type Payments interface {
	// Submit takes an instruction and returns once it is durable. The key is the caller's
	// Idempotency-Key within the caller's own keys; a pacs.008 has its own and gets none. If
	// the same was submitted before, the answer is that which was given then. Another body
	// under the same key is payment.CodeKeyReused; a port that does not wait for the first
	// answer says CodeKeyBusy.
	Submit(ctx context.Context, raw []byte, format payment.Format, key string) (*payment.Answer, error)
	// Payment is where a payment stands in which the bank takes part, or payment.CodeUnknown.
	Payment(ctx context.Context, id cypherlink.UETR) (*payment.Payment, error)
	// Events are the events of a payment so far by ascending sequence, or payment.CodeUnknown.
	Events(ctx context.Context, id cypherlink.UETR) ([]payment.Entry, error)
}

// Documents are a payment's documents, byte for byte, or payment.CodeUnknown.
type Documents interface {
	// Receipt is the canonical proof of a payment, or payment.CodeNoReceipt.
	Receipt(ctx context.Context, id cypherlink.UETR) ([]byte, error)
	// Status002 is the payment's status as a pacs.002.
	Status002(ctx context.Context, id cypherlink.UETR) ([]byte, error)
}

// Quotes is what a clearing bank's connector does.
type Quotes interface {
	// QuoteOnce draws up a quote for a bank and signs it; asker is zero if nobody may use it.
	// raw are the bytes of the request, and the key is as in Payments.Submit. If the same was
	// asked before, replayed is true and the quote is the one that was answered then. Refusals:
	// payment.CodeNoQuote, payment.CodeKeyReused.
	QuoteOnce(
		ctx context.Context, asker cypherlink.ParticipantID, r *payment.QuoteRequest, raw []byte, key string,
	) (q *connector.SignedQuote, replayed bool, err error)
}
