package api

import (
	"net/http"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/terms"
)

// Codes of the problems that a request meets before it reaches a port.
const (
	CodeNotFound      cypherlink.Code = "not_found"
	CodeMethod        cypherlink.Code = "method_not_allowed"
	CodeNotAcceptable cypherlink.Code = "not_acceptable"
	CodeMediaType     cypherlink.Code = "media_type_unsupported"
	CodeBodyTooLarge  cypherlink.Code = "body_too_large"
	CodeBodyTimeout   cypherlink.Code = "body_timeout"
	CodeBodyCut       cypherlink.Code = "body_incomplete"
	CodeJSON          cypherlink.Code = "json_malformed"
	CodeInvalid       cypherlink.Code = "request_invalid"
	CodeParameter     cypherlink.Code = "parameter_invalid"
	CodeKeyMissing    cypherlink.Code = "idempotency_key_missing"
	CodeKeyInvalid    cypherlink.Code = "idempotency_key_invalid"
	CodeNoClient      cypherlink.Code = "client_certificate_missing"
	CodeRate          cypherlink.Code = "rate_exceeded"
	CodeOverload      cypherlink.Code = "overloaded"
	CodeTimeout       cypherlink.Code = "timeout"
	CodeInternal      cypherlink.Code = "internal"
)

// CodeKeyBusy is for a port that does not wait for the first answer to an Idempotency-Key.
const CodeKeyBusy cypherlink.Code = "idempotency_key_in_progress"

// Codes with which Crossings refuses.
const (
	// CodeNoCrossing: nothing is known of the crossing.
	CodeNoCrossing cypherlink.Code = "crossing_unknown"
	// CodeCrossings: too many crossings are open.
	CodeCrossings cypherlink.Code = "crossings_full"
)

// class is what all problems of one code have in common.
type class struct {
	status int
	title  string
}

// classify is the table of all problems. A code of a package below that is missing in it fails a
// test. Outside, it and everything that is no *cypherlink.Error is CodeInternal.
func classify(code cypherlink.Code) (class, bool) {
	for _, part := range []func(cypherlink.Code) class{
		requestClass, paymentClass, channelClass, messageClass, innerClass,
	} {
		if c := part(code); c.status != 0 {
			return c, true
		}
	}
	return class{}, false
}

// retryAfter is after how many seconds the same request may meet with another answer, or 0.
func retryAfter(code cypherlink.Code) int {
	switch code {
	case CodeKeyBusy, payment.CodeNoReceipt, CodeRate, CodeOverload, CodeTimeout:
		return 1
	case terms.CodeSilent, peer.CodeBusy, CodeCrossings:
		return 5
	}
	return 0
}

// requestClass holds what is wrong with a request, or with the moment of it, before it reaches a
// port.
func requestClass(code cypherlink.Code) class {
	switch code {
	case CodeNotFound:
		return class{http.StatusNotFound, "There is no such resource"}
	case CodeMethod:
		return class{http.StatusMethodNotAllowed, "The resource does not have this method"}
	case CodeNotAcceptable:
		return class{http.StatusNotAcceptable, "None of the accepted media types can be served"}
	case CodeMediaType:
		return class{http.StatusUnsupportedMediaType, "The body's media type or encoding is not supported"}
	case CodeBodyTooLarge:
		return class{http.StatusRequestEntityTooLarge, "The body is too large"}
	case CodeBodyTimeout:
		return class{http.StatusRequestTimeout, "The body did not arrive in time"}
	case CodeBodyCut:
		return class{http.StatusBadRequest, "The body did not arrive as a whole"}
	case CodeJSON:
		return class{http.StatusBadRequest, "The body is not one strict JSON value"}
	case CodeInvalid:
		return class{http.StatusUnprocessableEntity, "The body does not have the form of this request"}
	case CodeParameter:
		return class{http.StatusBadRequest, "A parameter is unknown, repeated or malformed"}
	case CodeKeyMissing:
		return class{http.StatusBadRequest, "The request needs an Idempotency-Key"}
	case CodeKeyInvalid:
		return class{http.StatusBadRequest, "The Idempotency-Key is malformed"}
	case CodeKeyBusy:
		return class{http.StatusConflict, "The first request with this Idempotency-Key has no answer yet"}
	case CodeNoClient:
		return class{http.StatusForbidden, "The request needs a client certificate"}
	case CodeRate:
		return class{http.StatusTooManyRequests, "Too many requests of this client"}
	case CodeOverload:
		return class{http.StatusServiceUnavailable, "Too many requests at a time"}
	case CodeTimeout:
		return class{http.StatusServiceUnavailable, "The request took too long; it may still take effect"}
	case CodeInternal:
		return class{http.StatusInternalServerError, "An internal error"}
	}
	return class{}
}

// paymentClass holds the refusals of package payment.
func paymentClass(code cypherlink.Code) class {
	switch code {
	case payment.CodeUnknown:
		return class{http.StatusNotFound, "There is no such payment here"}
	case payment.CodeKeyReused:
		return class{http.StatusUnprocessableEntity, "The Idempotency-Key belongs to another request"}
	case payment.CodeUETR:
		return class{http.StatusUnprocessableEntity, "The UETR belongs to another payment"}
	case payment.CodeNoReturn:
		return class{http.StatusUnprocessableEntity, "The payment brings no other one back"}
	case payment.CodeNoReceipt:
		return class{http.StatusConflict, "The payment has no receipt yet"}
	case payment.CodeReceiptless:
		return class{http.StatusUnprocessableEntity, "The payment has no receipt here, and gets none"}
	case payment.CodeMalformed:
		return class{http.StatusUnprocessableEntity, "The instruction is not one that a payment can carry"}
	case payment.CodeAgent:
		return class{http.StatusUnprocessableEntity, "A bank is not one that can take part"}
	case payment.CodeAsset:
		return class{http.StatusUnprocessableEntity, "The asset is unknown"}
	case payment.CodeRoute:
		return class{http.StatusUnprocessableEntity, "There is no way from the one asset to the other"}
	case payment.CodeCompliance:
		return class{http.StatusUnprocessableEntity, "The parties do not meet a bank's requirements"}
	case payment.CodeNoQuote:
		return class{http.StatusUnprocessableEntity, "There is no quote for this"}
	case payment.CodeQuote:
		return class{http.StatusUnprocessableEntity, "The quote cannot be used"}
	case payment.CodeMessage, payment.CodeParty, payment.CodeOver, payment.CodeTerms,
		payment.CodeVerdict, payment.CodeDeclined, payment.CodeLate, payment.CodeVoid, payment.CodeNoWay,
		payment.CodeUnready, payment.CodeCrowded, channels.CodeUnknownPrev: // between institutions
		return requestClass(CodeInternal)
	}
	return class{}
}

// channelClass holds the refusals of the ports of channels and crossings, and those by a rule of
// package channels, each of which comes with its own ISO reason.
func channelClass(code cypherlink.Code) class {
	switch code {
	case payment.CodeNoChannel:
		return class{http.StatusNotFound, "There is no such channel here"}
	case CodeNoCrossing:
		return class{http.StatusNotFound, "There is no such crossing here"}
	case CodeCrossings:
		return class{http.StatusServiceUnavailable, "Too many crossings are open"}
	}
	name, ok := strings.CutPrefix(string(code), "channel_")
	rule := channels.Rule(strings.ToUpper(name))
	if !ok || rule.Code() != code {
		return class{}
	}
	var title string
	switch rule {
	case channels.T0:
		title = "The channel cannot be opened"
	case channels.T1:
		title = "The channel cannot be funded"
	case channels.T2:
		title = "The lanes cannot be anchored there"
	case channels.T3:
		title = "The lane cannot be challenged"
	case channels.T4:
		title = "The lane cannot be cut"
	case channels.T5:
		title = "Nothing can be released from the channel"
	case channels.T6:
		title = "The channel cannot be closed"
	case channels.T7:
		title = "The channel's deadline has passed"
	case channels.T8:
		title = "The preimage cannot be revealed"
	case channels.T9:
		title = "The frozen channel cannot be paid out"
	case channels.L2:
		title = "Nothing more can be written into the lane now"
	case channels.L3:
		title = "The balance in the channel does not suffice"
	case channels.L4:
		title = "The update cannot be countersigned"
	case channels.L8:
		title = "The release cannot be signed now"
	case channels.L9:
		title = "Nothing can be signed jointly now"
	case channels.L10:
		title = "The banks have not compared their records of the lane yet"
	case channels.H1:
		title = "The preimage may not be released"
	case channels.H4:
		title = "The lock cannot be given back"
	case channels.V: // between a bank and a Validator
		return requestClass(CodeInternal)
	default:
		return class{}
	}
	return class{http.StatusUnprocessableEntity, title}
}

// messageClass holds what is wrong with a message or with what an instruction says: 400 where
// it cannot be read, 422 where it can and is refused.
func messageClass(code cypherlink.Code) class {
	switch code {
	case iso20022.CodeTooLarge:
		return class{http.StatusRequestEntityTooLarge, "The message is too large"}
	case iso20022.CodeMalformed:
		return class{http.StatusBadRequest, "The message is not well-formed XML in UTF-8"}
	case iso20022.CodeForbidden:
		return class{http.StatusBadRequest, "The message holds what this gateway refuses in XML"}
	case iso20022.CodeUnsupported:
		return class{http.StatusBadRequest, "The message definition is not supported"}
	case iso20022.CodeUnknown, iso20022.CodeUnexpected, iso20022.CodeAttribute:
		return class{http.StatusBadRequest, "The message's schema does not have this here"}
	case iso20022.CodeMissing:
		return class{http.StatusBadRequest, "The message lacks an element"}
	case iso20022.CodeValue:
		return class{http.StatusUnprocessableEntity, "A value is not of its type"}
	case iso20022.CodeBIC:
		return class{http.StatusUnprocessableEntity, "A BIC is not valid"}
	case iso20022.CodeIBAN:
		return class{http.StatusUnprocessableEntity, "An IBAN is not valid"}
	case iso20022.CodeLEI:
		return class{http.StatusUnprocessableEntity, "An LEI is not valid"}
	case iso20022.CodeCurrency:
		return class{http.StatusUnprocessableEntity, "The currency cannot be settled"}
	case iso20022.CodeAmount:
		return class{http.StatusUnprocessableEntity, "The amount is not valid"}
	case iso20022.CodeHeader:
		return class{http.StatusUnprocessableEntity, "Header and document contradict each other"}
	case iso20022.CodeTransactions:
		return class{http.StatusUnprocessableEntity, "Count or sums are not those of the transactions"}
	case iso20022.CodeStatus:
		return class{http.StatusUnprocessableEntity, "A status or its reason is not valid"}
	case iso20022.CodeService:
		return class{http.StatusUnprocessableEntity, "The business service is not in force"}
	}
	return class{}
}

// innerClass holds the refusals of ledgers and other parties. Those that a caller can neither
// cause nor cure are internal.
func innerClass(code cypherlink.Code) class {
	switch code {
	case ledger.CodeFunds:
		return class{http.StatusUnprocessableEntity, "The funds do not suffice"}
	case ledger.CodeUnknownAccount:
		return class{http.StatusUnprocessableEntity, "The account is unknown"}
	case ledger.CodeExpiry, ledger.CodeExpired:
		return class{http.StatusUnprocessableEntity, "The time for this is over"}
	case ledger.CodeSuspended, ledger.CodeNotValid, ledger.CodeRevoked, ledger.CodePayeeBarred:
		return class{http.StatusUnprocessableEntity, "A bank may not take on new business"}
	case terms.CodeSilent, peer.CodeBusy:
		return class{http.StatusServiceUnavailable, "Another party does not answer"}
	case ledger.CodeMalformed, ledger.CodeSignature, ledger.CodeUnknownSigner, ledger.CodeNotAllowed,
		ledger.CodeNotApproved, ledger.CodeConditionUsed, ledger.CodeCustodyDiffers,
		ledger.CodeUnknownCustody, ledger.CodePreimage, ledger.CodeAlreadyReturned,
		ledger.CodeAlreadyPaid, ledger.CodeCrossingDiffers, ledger.CodeLapsed, ledger.CodeEvidence,
		ledger.CodeBacking, terms.CodeShare, peer.CodeTooLarge,
		chain.CodeChangeVersion, chain.CodeChangeCertificate, chain.CodeChangeUnknown,
		chain.CodeChangeMalformed, chain.CodeChangeUsed, chain.CodeChangePossession,
		chain.CodeChangeStatus, chain.CodeChangeMember, chain.CodeChangeAuthorities, chain.CodeChangeFull:
		return requestClass(CodeInternal)
	}
	return class{}
}
