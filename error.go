package cypherlink

import (
	"errors"
	"strings"
)

// Code is a stable, machine-readable class of error, such as "quote_expired". It never
// changes its meaning; the API serves it as the code of an RFC 9457 problem.
type Code string

// Error is a refusal that may be told to a caller outside. Everything else is "internal"
// outside and stands in full in the log.
type Error struct {
	// Code is the class.
	Code Code
	// Reason is the ISO 20022 ExternalStatusReason code, such as "AM12", or empty.
	Reason string
	// Pointer says where in the input the fault is, as a path or JSON pointer, or is empty.
	Pointer string
	// Message tells a person what is wrong and what to do. It holds no name, account or key.
	Message string
	// Err is the cause, for the log only, or nil.
	Err error
}

// Error is the message with its code, reason, place and cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	b.WriteString(" [" + string(e.Code))
	if e.Reason != "" {
		b.WriteString(", " + e.Reason)
	}
	if e.Pointer != "" {
		b.WriteString(", at " + e.Pointer)
	}
	b.WriteString("]")
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode is the code of the first *Error in err's chain, "" for nil, and "internal" for
// everything else.
func ErrorCode(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return "internal"
}
