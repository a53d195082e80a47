package terms

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// Bounds of a refusal that one institution tells another, in bytes.
const (
	maxCode    = 64
	reasonSize = 4
	maxText    = 256

	// MaxRefusalSize bounds the canonical bytes of a refusal.
	MaxRefusalSize = 4*4 + maxCode + reasonSize + 2*maxText
)

// reasonNarrative is the ISO reason that says: see the text.
const reasonNarrative = "NARR"

// AppendRefusal appends the code, reason, pointer and message of a refusal, without its cause.
// A refusal always has a form: what is too long is cut, what does not print becomes a question
// mark, and a missing reason is NARR.
func AppendRefusal(w *wire.Writer, e *cypherlink.Error) {
	code, reason := string(e.Code), e.Reason
	if !isCode(code) {
		code = "refused"
	}
	if !isReason(reason) {
		reason = reasonNarrative
	}
	w.Str(code)
	w.Str(reason)
	w.Str(printable(e.Pointer))
	w.Str(printable(e.Message))
}

// ReadRefusal reads what AppendRefusal wrote, and nothing that it would not write.
func ReadRefusal(r *wire.Reader) *cypherlink.Error {
	e := cypherlink.Error{
		Code: cypherlink.Code(r.Str(maxCode)), Reason: r.Str(reasonSize),
		Pointer: r.Str(maxText), Message: r.Str(maxText),
	}
	canonical := isCode(string(e.Code)) && isReason(e.Reason) &&
		printable(e.Pointer) == e.Pointer && printable(e.Message) == e.Message
	if r.Err() == nil && !canonical {
		r.Fail(wire.ErrNotCanonical)
	}
	return &e
}

// isCode tells whether s is 1 to 64 lower-case letters, digits and underscores.
func isCode(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= maxCode
}

// isReason tells whether s has the form of an ISO reason code: four capitals and digits.
func isReason(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(s) == reasonSize
}

// printable is s with every rune that does not print replaced, cut to at most maxText bytes.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, s)
	end := min(maxText, len(s))
	for end < len(s) && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
