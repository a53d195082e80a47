package payment

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/terms"
)

// The codes of an instruction that is refused or rejected, beside those of package iso20022,
// whose meaning is the same for JSON.
const (
	// CodeMalformed: the bytes are no instruction.
	CodeMalformed cypherlink.Code = "instruction_malformed"
	// CodeAgent: an agent is none that this bank deals with.
	CodeAgent cypherlink.Code = "agent_unknown"
	// CodeAsset: the asset is not one of the network's.
	CodeAsset cypherlink.Code = "asset_unknown"
	// CodeRoute: the payment is none that this bank can carry.
	CodeRoute cypherlink.Code = "route_missing"
	// CodeKey: the idempotency key is missing or malformed.
	CodeKey cypherlink.Code = "idempotency_key_invalid"
	// CodeKeyReused: the idempotency key stands for another body.
	CodeKeyReused cypherlink.Code = "idempotency_key_reused"
	// CodeUETR: the UETR stands for another payment.
	CodeUETR cypherlink.Code = "uetr_reused"
)

// The codes with which institutions refuse each other, and with which payments end.
const (
	// CodeNoQuote: the connector does not quote this.
	CodeNoQuote cypherlink.Code = "quote_unavailable"
	// CodeMessage: the bytes are no message.
	CodeMessage cypherlink.Code = "message_malformed"
	// CodeParty: the caller speaks for somebody else.
	CodeParty cypherlink.Code = "party_foreign"
	// CodeUnknown: nothing is known of the payment.
	CodeUnknown cypherlink.Code = "payment_unknown"
	// CodeOver: the payment has ended.
	CodeOver cypherlink.Code = "payment_over"
	// CodeCompliance: the parties do not meet a bank's requirements.
	CodeCompliance cypherlink.Code = "compliance_refused"
	// CodeTerms: the terms are not what was asked for, or not those that were signed.
	CodeTerms cypherlink.Code = "terms_differ"
	// CodeQuote: the quote is unknown, expired, used, or dearer than the bank accepts, or the
	// terms are not what was quoted.
	CodeQuote cypherlink.Code = "quote_unusable"
	// CodeVerdict: the Validators of an asset do not approve.
	CodeVerdict cypherlink.Code = "verdict_negative"
	// CodeSilent: somebody did not answer or act in time.
	CodeSilent = terms.CodeSilent
	// CodeDeclined: the paid bank or the connector gave the custody back.
	CodeDeclined cypherlink.Code = "custody_declined"
	// CodeLate: no custody was made in time.
	CodeLate cypherlink.Code = "custody_late"
	// CodeVoid: the chain ended the channel's generation without the payment.
	CodeVoid cypherlink.Code = "payment_void"
	// CodeNoWay: the two banks have no open channel in the asset.
	CodeNoWay cypherlink.Code = "channel_missing"
	// CodeNoChannel: nothing is known of the channel.
	CodeNoChannel cypherlink.Code = "channel_unknown"
	// CodeCrowded: so many payments of the bank are open here that no more are taken now.
	CodeCrowded cypherlink.Code = "announcements_full"
	// CodeUnready: the payment has not come so far here yet; it is to be told again.
	CodeUnready cypherlink.Code = "payment_unready"
	// CodeNoReturn: the payment brings no other one back.
	CodeNoReturn cypherlink.Code = "return_missing"
	// CodeNoReceipt: the payment is not settled, or not all of its evidence is here.
	CodeNoReceipt cypherlink.Code = "receipt_pending"
	// CodeReceiptless: the payment never gets a receipt here: it comes in, or has ended without being
	// settled.
	CodeReceiptless cypherlink.Code = "receipt_missing"
)

// refuse is a refusal that may be told; its cause is not.
func refuse(code cypherlink.Code, reason, message string, cause error) *cypherlink.Error {
	return &cypherlink.Error{Code: code, Reason: reason, Message: message, Err: cause}
}
