package channels

import (
	"fmt"
	"strings"

	"github.com/cypherlink/cypherlink"
)

// Rule names a rule of the protocol, such as "T2".
type Rule string

// The rules by which something is refused.
const (
	T0 Rule = "T0"
	T1 Rule = "T1"
	T2 Rule = "T2"
	T3 Rule = "T3"
	T4 Rule = "T4"
	T5 Rule = "T5"
	T6 Rule = "T6"
	T7 Rule = "T7"
	T8 Rule = "T8"
	T9 Rule = "T9"

	L2  Rule = "L2"
	L3  Rule = "L3"
	L4  Rule = "L4"
	L8  Rule = "L8"
	L9  Rule = "L9"
	L10 Rule = "L10"
	H1  Rule = "H1"
	H4  Rule = "H4"
	V   Rule = "V"
)

// CodeUnknownPrev refuses to endorse an update that follows one which the Validator has neither
// endorsed nor anchored in its view (V): the payer asks again for the ones before, in their order.
const CodeUnknownPrev cypherlink.Code = "channel_v_prev"

// Code is the code of a refusal by the rule, such as "channel_t2".
func (r Rule) Code() cypherlink.Code { return cypherlink.Code("channel_" + strings.ToLower(string(r))) }

// refuse builds a refusal by a rule.
func refuse(rule Rule, reason, format string, args ...any) error {
	return &cypherlink.Error{
		Code: rule.Code(), Reason: reason, Message: string(rule) + ": " + fmt.Sprintf(format, args...),
	}
}

// The ISO reasons of refusals, from ExternalStatusReason.
const (
	reasonLimit     = "AM23" // channel or settlement limit
	reasonFunds     = "AM04"
	reasonDuplicate = "AM05"
	reasonSignature = "DS0B"
	reasonSigner    = "DS0H"
	reasonLate      = "TM01"
	reasonFailed    = "ED05"
	reasonOffline   = "ED06"
	reasonForm      = "FF01"
)
