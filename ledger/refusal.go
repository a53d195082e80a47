package ledger

import (
	"github.com/cypherlink/cypherlink"
)

// The codes with which a ledger refuses a command. Each goes with an ISO reason.
const (
	CodeMalformed       cypherlink.Code = "command_malformed"
	CodeSignature       cypherlink.Code = "signature_invalid"
	CodeUnknownSigner   cypherlink.Code = "signer_unknown"
	CodeNotAllowed      cypherlink.Code = "signer_not_allowed"
	CodeUnknownAsset    cypherlink.Code = "asset_unknown"
	CodeUnknownAccount  cypherlink.Code = "account_unknown"
	CodeFunds           cypherlink.Code = "funds_insufficient"
	CodeExpiry          cypherlink.Code = "expiry_too_near"
	CodeExpired         cypherlink.Code = "custody_expired"
	CodeNotApproved     cypherlink.Code = "verdict_missing"
	CodeConditionUsed   cypherlink.Code = "condition_used"
	CodeCustodyDiffers  cypherlink.Code = "custody_differs"
	CodeUnknownCustody  cypherlink.Code = "custody_unknown"
	CodePreimage        cypherlink.Code = "preimage_wrong"
	CodeAlreadyReturned cypherlink.Code = "custody_returned"
	CodeAlreadyPaid     cypherlink.Code = "custody_confirmed"
	CodeSuspended       cypherlink.Code = "participant_suspended"
	CodeNotValid        cypherlink.Code = "participant_not_valid"
	CodeRevoked         cypherlink.Code = "participant_revoked"
	CodePayeeBarred     cypherlink.Code = "payee_barred"
	CodeCrossingDiffers cypherlink.Code = "crossing_differs"
	CodeLapsed          cypherlink.Code = "crossing_lapsed"
	CodeEvidence        cypherlink.Code = "evidence_invalid"
	CodeBacking         cypherlink.Code = "backing_insufficient"
)

// refuse builds a refusal. The reason is the code's, from ExternalStatusReason.
func refuse(code cypherlink.Code, message string, cause error) error {
	return &cypherlink.Error{Code: code, Reason: reason(code), Message: message, Err: cause}
}

func reason(code cypherlink.Code) string {
	switch code {
	case CodeMalformed:
		return "FF01"
	case CodeSignature, CodeEvidence:
		return "DS0B"
	case CodeUnknownSigner:
		return "DS0E"
	case CodeNotAllowed:
		return "DS0H"
	case CodeUnknownAsset:
		return "AM03"
	case CodeUnknownAccount:
		return "AC01"
	case CodeFunds, CodeBacking:
		return "AM04"
	case CodeExpiry, CodeExpired, CodeLapsed:
		return "TM01"
	case CodeNotApproved:
		return "DS0A"
	case CodeConditionUsed, CodeCustodyDiffers, CodeCrossingDiffers:
		return "DU03"
	case CodeSuspended:
		return "AG10" // agent suspended
	case CodePayeeBarred:
		return "AG11" // creditor agent suspended
	case CodeNotValid:
		return "DS0D"
	case CodeRevoked:
		return "DS0C"
	default:
		return "ED05"
	}
}
