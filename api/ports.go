package api

import (
	"context"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
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
	// Receipt is the canonical proof of a payment, or payment.CodeNoReceipt, or payment.CodeReceiptless.
	Receipt(ctx context.Context, id cypherlink.UETR) ([]byte, error)
	// Status002 is the payment's status as a pacs.002.
	Status002(ctx context.Context, id cypherlink.UETR) ([]byte, error)
	// Return004 is a payment that brings another one back, as a pacs.004, or payment.CodeNoReturn.
	Return004(ctx context.Context, id cypherlink.UETR) ([]byte, error)
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

// Channels are a bank's channels. What may be told to the caller is a *cypherlink.Error.
type Channels interface {
	// Channels are those of the bank, at most 4096, by ascending id.
	Channels(ctx context.Context) ([]*payment.Channel, error)
	// Channel is one of them, or payment.CodeNoChannel. It is there as soon as Open has answered: as
	// long as the chain does not have it, with the state zero.
	Channel(ctx context.Context, id channels.ID) (*payment.Channel, error)
	// Open wants a channel, and returns once that is durable; the opening then goes on of its own
	// accord. raw is what is asked for, byte for byte, and the key as in Payments.Submit: the same
	// again gives the same id and replayed, something else payment.CodeKeyReused.
	Open(
		ctx context.Context, o payment.Opening, raw []byte, key string,
	) (id channels.ID, replayed bool, err error)
	// Order is told what the bank's operator wants of a channel, and returns once that is durable.
	// raw and key are as in Open. Refusals: payment.CodeNoChannel, payment.CodeKeyReused, and those
	// of the rules of channels.
	Order(
		ctx context.Context, id channels.ID, o payment.Order, raw []byte, key string,
	) (replayed bool, err error)
}

// Crossings are an institution's own money on its way between an external ledger and the chain.
type Crossings interface {
	// Cross lets an amount leave the ledger of the asset and come in at the other, and returns once
	// that is durable. The key is as in Payments.Submit: the same again gives the crossing that it
	// began, as it stands, and replayed; another asset or amount is payment.CodeKeyReused. Refusals:
	// payment.CodeRoute for an asset that crosses nowhere, CodeCrossings.
	Cross(
		ctx context.Context, asset cypherlink.Asset, amount cypherlink.Amount, key string,
	) (x ledger.Crossing, stage connector.Stage, replayed bool, err error)
	// Crossing is one of them, or CodeNoCrossing.
	Crossing(ctx context.Context, id ledger.CrossingID) (ledger.Crossing, connector.Stage, error)
}
