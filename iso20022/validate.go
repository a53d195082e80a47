package iso20022

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cypherlink/cypherlink"
)

// validate checks e and what lies in it against its type in the base schema.
func (e *element) validate(t *schemaType) error {
	if err := e.validateAttributes(t); err != nil {
		return err
	}
	if t.model == anything {
		if len(e.children) != 1 || t.space != "" && e.children[0].space != t.space {
			return e.faultAt(CodeUnexpected, "the element holds one element of its own namespace")
		}
		return nil
	}
	if t.model == value {
		if len(e.children) > 0 {
			return e.children[0].unknown()
		}
		return e.validateValue(t)
	}
	if len(e.children) == 0 && !blank(e.text) {
		return e.faultAt(CodeUnexpected, "the element holds text where elements belong")
	}
	if t.model == choice {
		return e.validateChoice(t)
	}
	return e.validateSequence(t)
}

func (e *element) unknown() error {
	return e.faultAt(CodeUnknown, "the message definition has no such element here")
}

// validateSequence walks the children and the parts of the sequence side by side.
func (e *element) validateSequence(t *schemaType) error {
	next, seen := 0, uint16(0) // the part that may come, and how often it came
	for _, c := range e.children {
		at, ok := t.part(c.name, next)
		if !ok || c.space != e.space {
			return e.misplaced(t, c)
		}
		if at > next {
			if err := e.requireParts(t.parts[next:at], seen); err != nil {
				return err
			}
			next, seen = at, 0
		}
		p := &t.parts[at]
		if seen++; p.max != 0 && seen > p.max {
			return c.faultAt(CodeUnexpected, "at most %d of this element may stand here", p.max)
		}
		c.repeats = p.max != 1
		if err := c.validate(p.of); err != nil {
			return err
		}
	}
	return e.requireParts(t.parts[next:], seen)
}

// misplaced tells why c may not come next in e.
func (e *element) misplaced(t *schemaType, c *element) error {
	if c.space != e.space {
		return c.faultAt(CodeUnsupported, "the element is in another namespace than the one around it")
	}
	if _, ok := t.part(c.name, 0); ok {
		return c.faultAt(CodeUnexpected, "the element comes too late or twice")
	}
	return c.unknown()
}

// requireParts checks that nothing mandatory is skipped; seen counts the first of the parts.
func (e *element) requireParts(parts []part, seen uint16) error {
	for i, p := range parts {
		if i == 0 && seen > 0 {
			continue
		}
		if p.min > 0 {
			missing := &element{parent: e, name: p.name}
			return missing.faultAt(CodeMissing, "the element is missing")
		}
	}
	return nil
}

// validateChoice takes exactly one of the parts, as often as that part allows: not at all if
// one of them may be left out.
func (e *element) validateChoice(t *schemaType) error {
	if len(e.children) == 0 {
		if slices.ContainsFunc(t.parts, func(p part) bool { return p.min == 0 }) {
			return nil
		}
		return e.faultAt(CodeMissing, "one of %s is missing", t.names())
	}
	first := e.children[0]
	at, ok := t.part(first.name, 0)
	if !ok || first.space != e.space {
		return e.misplaced(t, first)
	}
	p := &t.parts[at]
	for i, c := range e.children {
		if c.name != first.name || p.max != 0 && i >= int(p.max) {
			return c.faultAt(CodeUnexpected, "only one of %s may stand here", t.names())
		}
		c.repeats = p.max != 1
		if err := c.validate(p.of); err != nil {
			return err
		}
	}
	return nil
}

// names is the names of the parts, for people.
func (t *schemaType) names() string {
	names := make([]string, 0, len(t.parts))
	for _, p := range t.parts {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

// validateAttributes takes Ccy on an amount and nothing else.
func (e *element) validateAttributes(t *schemaType) error {
	for _, a := range e.attributes {
		if a.Name.Space != "" || a.Name.Local != "Ccy" || !t.currency {
			return fault(CodeAttribute, reasonFormat, e.path()+"/@"+a.Name.Local,
				"the message definition has no such attribute here")
		}
	}
	if !t.currency {
		return nil
	}
	if len(e.attributes) == 0 {
		return fault(CodeAttribute, "AM11", e.path()+"/@Ccy", "the currency is missing")
	}
	if _, ok := cypherlink.CurrencyDigits(e.currency()); !ok {
		return fault(CodeCurrency, "AM03", e.path()+"/@Ccy",
			"%.3q is no currency of ISO 4217 in which a payment can be settled", e.currency())
	}
	return nil
}

// currency is the attribute Ccy of an amount.
func (e *element) currency() string {
	if e == nil || len(e.attributes) == 0 {
		return ""
	}
	return e.attributes[0].Value
}

// validateValue checks the text of e against the facets of its type.
func (e *element) validateValue(t *schemaType) error {
	switch t.base {
	case text:
		return e.validateText(t)
	case decimal:
		return e.validateDecimal(t)
	case boolean:
		if !slices.Contains([]string{"true", "false", "1", "0"}, e.text) {
			return e.faultAt(CodeValue, "the value is true or false")
		}
	case date:
		return e.validateTime("2006-01-02")
	case dateTime:
		if t.pattern == patternUTC && !strings.HasSuffix(e.text, "Z") {
			return e.faultAt(CodeValue, "the time is in UTC and ends in Z")
		}
		return e.validateTime("2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05")
	case clock:
		return e.validateTime("15:04:05Z07:00", "15:04:05")
	case year:
		return e.validateTime("2006")
	case binary:
		b, err := base64.StdEncoding.Strict().DecodeString(e.text)
		if err != nil || len(b) < int(t.minLen) || t.maxLen > 0 && len(b) > int(t.maxLen) {
			return e.faultAt(CodeValue, "the value is base64 of %d to %d bytes", t.minLen, t.maxLen)
		}
	}
	return nil
}

func (e *element) validateTime(layouts ...string) error {
	for _, layout := range layouts {
		// Parse is laxer than XML Schema: it takes one digit for two, and a decimal comma.
		t, err := time.Parse(layout, e.text)
		exact := strings.HasPrefix(e.text, t.Format(strings.TrimSuffix(layout, "Z07:00")))
		if err == nil && exact && !strings.Contains(e.text, ",") {
			return nil
		}
	}
	return e.faultAt(CodeValue, "the value has not the form of %s", layouts[0])
}

func (e *element) validateText(t *schemaType) error {
	n := utf8.RuneCountInString(e.text)
	if n < int(t.minLen) || t.maxLen > 0 && n > int(t.maxLen) {
		return e.faultAt(CodeValue, "the text has %d characters, not %d to %d", n, t.minLen, t.maxLen)
	}
	for _, c := range e.text {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || 0x7f <= c && c < 0xa0 {
			return e.faultAt(CodeValue, "the text holds a control character")
		}
	}
	if len(t.enum) > 0 && !slices.Contains(t.enum, e.text) {
		return e.faultAt(CodeValue, "the value is one of %s", strings.Join(t.enum, ", "))
	}
	if !t.pattern.matches(e.text) {
		return e.faultAt(CodeValue, "the value has not the form of its type")
	}
	return e.validateIdentifier(t.pattern)
}

// validateIdentifier checks what a pattern cannot: countries, lengths, check digits.
func (e *element) validateIdentifier(p pattern) error {
	var code cypherlink.Code
	var message string
	var err error
	switch p { //nolint:exhaustive // the other patterns say all
	case patternBIC, patternOldBIC:
		_, err = cypherlink.ParseBIC(e.text)
		code, message = CodeBIC, "the country of the BIC is unknown"
	case patternIBAN:
		_, err = cypherlink.ParseIBAN(e.text)
		code, message = CodeIBAN, "country, length or check digits of the IBAN are wrong"
	case patternLEI:
		_, err = cypherlink.ParseLEI(e.text)
		code, message = CodeLEI, "the check digits of the LEI are wrong"
	}
	if err == nil {
		return nil
	}
	f := e.faultAt(code, "%s", message)
	f.Err = err
	return f
}

// validateDecimal checks an amount with the digits of its currency, any other decimal with the
// digits of its type.
func (e *element) validateDecimal(t *schemaType) error {
	if !t.currency {
		if !isDecimal(e.text, t.total, t.frac) {
			return e.faultAt(CodeValue, "the value is a decimal of at most %d digits, %d after the point",
				t.total, t.frac)
		}
		return nil
	}
	_, err := e.money()
	return err
}

// money is the amount in e, in minor units of its currency.
func (e *element) money() (Money, error) {
	if e == nil {
		return Money{}, nil
	}
	digits, _ := cypherlink.CurrencyDigits(e.currency())
	amount, err := cypherlink.ParseAmount(e.text, digits)
	if err == nil {
		return Money{Currency: e.currency(), Amount: amount}, nil
	}
	f := e.faultAt(CodeAmount, "the value is no amount of %s, which has %d digits after the point",
		e.currency(), digits)
	_, fraction, _ := strings.Cut(e.text, ".")
	switch {
	case errors.Is(err, cypherlink.ErrAmountRange):
		f.Message = "the amount is too large"
	case len(fraction) > int(digits) && all(fraction, digit):
		f.Reason = "CH20" // number of decimal points not compatible with the currency
	}
	f.Err = err
	return Money{}, f
}
