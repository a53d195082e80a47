package iso20022

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
)

// Codes of the refusals of Parse and CheckUsage.
const (
	CodeTooLarge     cypherlink.Code = "xml_too_large"       // a bound on size, depth or count
	CodeMalformed    cypherlink.Code = "xml_malformed"       // not one well-formed UTF-8 document
	CodeForbidden    cypherlink.Code = "xml_forbidden"       // document type, processing instruction
	CodeUnsupported  cypherlink.Code = "message_unsupported" // wrapper, namespace or version
	CodeUnknown      cypherlink.Code = "element_unknown"     // the schema has no such element here
	CodeUnexpected   cypherlink.Code = "element_unexpected"  // too often, or in the wrong place
	CodeMissing      cypherlink.Code = "element_missing"     // the schema or this gateway asks for it
	CodeAttribute    cypherlink.Code = "attribute_invalid"   // unknown, repeated or missing
	CodeValue        cypherlink.Code = "value_invalid"       // not of the element's type
	CodeBIC          cypherlink.Code = "bic_invalid"         // unknown country
	CodeIBAN         cypherlink.Code = "iban_invalid"        // country, length or check digits
	CodeLEI          cypherlink.Code = "lei_invalid"         // check digits
	CodeCurrency     cypherlink.Code = "currency_invalid"    // not a currency that can be settled
	CodeAmount       cypherlink.Code = "amount_invalid"      // digits, range, zero
	CodeHeader       cypherlink.Code = "header_mismatch"     // header and document contradict
	CodeTransactions cypherlink.Code = "transactions_invalid"
	CodeStatus       cypherlink.Code = "status_invalid" // unknown status or reason, or no reason
	CodeService      cypherlink.Code = "service_invalid"
)

// Reasons of ExternalStatusReason that are given here.
const (
	reasonFormat    = "FF01" // file format incomplete or invalid
	reasonMissing   = "CH21" // mandatory element is missing
	reasonNarrative = "NARR"
)

// fault is a refusal at a place. The reason is that of the place, if it has one of its own.
func fault(code cypherlink.Code, reason, pointer, format string, args ...any) *cypherlink.Error {
	return &cypherlink.Error{
		Code: code, Reason: reason, Pointer: pointer, Message: fmt.Sprintf(format, args...),
	}
}

// faultAt is a fault at e for a value that its type does not allow.
func (e *element) faultAt(code cypherlink.Code, format string, args ...any) *cypherlink.Error {
	return fault(code, e.reason(), e.path(), format, args...)
}

// faultWithout is a fault for a missing child of e.
func (e *element) faultWithout(name, reason, message string) *cypherlink.Error {
	return fault(CodeMissing, reason, e.path()+"/"+name, "%s", message)
}

// reason is the ISO reason for a fault in e: that of e's name, or of the nearest element
// around it that has one.
func (e *element) reason() string {
	for ; e != nil; e = e.parent {
		if r := e.ownReason(); r != "" {
			return r
		}
	}
	return reasonFormat
}

func (e *element) ownReason() string {
	switch e.name {
	case "IntrBkSttlmAmt", "InstdAmt", "TtlIntrBkSttlmAmt", "Amt", "OrgnlIntrBkSttlmAmt",
		"RtrdIntrBkSttlmAmt", "RtrdInstdAmt", "TtlRtrdIntrBkSttlmAmt":
		return "AM12"
	case "CtrlSum":
		return "AM10"
	case "NbOfTxs":
		return "AM18"
	case "IntrBkSttlmDt":
		return "DT01"
	case "CreDtTm", "CreDt":
		return "DT02"
	case "EndToEndId", "OrgnlEndToEndId":
		return "FF08"
	case "ChrgBr":
		return "BE19"
	case "CtgyPurp":
		return "FF06"
	case "Purp":
		return "FF07"
	case "Nm":
		switch {
		case e.parent != nil && e.parent.name == "Dbtr":
			return "BE08"
		case e.parent != nil && e.parent.name == "Cdtr":
			return "BE22"
		}
	case "LEI":
		return "BE15"
	case "Ctry":
		return e.byParty("BE09", "BE10", "BE11")
	case "BICFI", "BIC", "AnyBIC", "BICOrBEI":
		return e.byParty("RC01", "RC03", "RC04")
	case "IBAN":
		return e.byParty("AC01", "AC02", "AC03")
	}
	return ""
}

// byParty picks a reason by the side of the payment on which e stands.
func (e *element) byParty(neither, debtor, creditor string) string {
	for p := e.parent; p != nil; p = p.parent {
		switch p.name {
		case "Dbtr", "DbtrAgt", "DbtrAcct":
			return debtor
		case "Cdtr", "CdtrAgt", "CdtrAcct":
			return creditor
		case "IntrmyAgt1", "IntrmyAgt2", "IntrmyAgt3":
			if e.name == "BICFI" {
				return "RC11"
			}
		}
	}
	return neither
}
