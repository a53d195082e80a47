package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"
)

// errShape means that a published schema says something that the check would not enforce.
var errShape = errors.New("api: a schema that is not enforced")

// Bounds of a JSON body's form. The schemas need a depth of 3.
const (
	maxDepth   = 8
	maxFaults  = 16
	maxPointer = 128 // bytes: a caller's own member names stand in a pointer
)

// shape is a published schema, compiled: what one value in a request may be. A shape is an
// object, a text or (of a parameter) an integer.
type shape struct {
	kind    string // "object", "string" or "integer"
	members map[string]*shape
	// required are the members that have to be there; of each of the groups in oneOf exactly
	// one has to be there as a whole.
	required []string
	oneOf    [][]string

	format   format
	pattern  *regexp.Regexp
	min, max int // of an integer

	// reason is the ISO reason of a fault in this value, or empty.
	reason string
}

// fault is a violation with its ISO reason.
type fault struct {
	Violation
	reason string
}

// reasonKey is the extension of a schema that names the ISO reason of a fault in the value.
const reasonKey = "x-iso-reason"

// compile reports errShape for a schema that it cannot enforce to the letter.
func compile(r huma.Registry, s *huma.Schema) (*shape, error) {
	reason, _ := s.Extensions[reasonKey].(string)
	for s.Ref != "" {
		if s = r.SchemaFromRef(s.Ref); s == nil {
			return nil, fmt.Errorf("a reference to nothing: %w", errShape)
		}
	}
	if reason == "" {
		reason, _ = s.Extensions[reasonKey].(string)
	}
	c := &shape{kind: s.Type, reason: reason}
	if s.Nullable || s.Enum != nil || s.AnyOf != nil || s.AllOf != nil || s.Not != nil ||
		s.MultipleOf != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil ||
		len(s.DependentRequired) > 0 || s.MinProperties != nil || s.MaxProperties != nil {
		return nil, fmt.Errorf("a keyword: %w", errShape)
	}
	switch s.Type {
	case huma.TypeObject:
		return c, c.compileObject(r, s)
	case huma.TypeString:
		return c, c.compileText(s)
	case huma.TypeInteger:
		if s.Minimum == nil || s.Maximum == nil {
			return nil, fmt.Errorf("an integer without bounds: %w", errShape)
		}
		c.min, c.max = int(*s.Minimum), int(*s.Maximum)
		return c, nil
	}
	return nil, fmt.Errorf("type %q: %w", s.Type, errShape)
}

func (c *shape) compileObject(r huma.Registry, s *huma.Schema) error {
	if s.AdditionalProperties != false {
		return fmt.Errorf("an open object: %w", errShape)
	}
	c.members, c.required = map[string]*shape{}, s.Required
	for name, member := range s.Properties {
		m, err := compile(r, member)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if m.kind == huma.TypeInteger {
			return fmt.Errorf("%s is a number: %w", name, errShape)
		}
		c.members[name] = m
	}
	for _, alternative := range s.OneOf {
		if len(alternative.Required) == 0 || alternative.Type != "" || alternative.Properties != nil {
			return fmt.Errorf("an alternative that is more than required members: %w", errShape)
		}
		c.oneOf = append(c.oneOf, alternative.Required)
	}
	return nil
}

func (c *shape) compileText(s *huma.Schema) error {
	f, ok := formatOf(s.Format)
	if !ok || f.message == "" || f.pattern != s.Pattern || s.MaxLength == nil || *s.MaxLength != f.length ||
		s.OneOf != nil || s.MinLength != nil {
		return fmt.Errorf("format %q, pattern %q: %w", s.Format, s.Pattern, errShape)
	}
	c.format, c.pattern = f, regexp.MustCompile(f.pattern)
	return nil
}

// checkText tests a text or a parameter's text; it returns "" or the rule and the message.
func (c *shape) checkText(s string) (rule, message string) {
	if c.kind == huma.TypeInteger {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil || strconv.Itoa(n) != s:
			return "type", "is not an integer"
		case n < c.min:
			return "minimum", "is less than " + strconv.Itoa(c.min)
		case n > c.max:
			return "maximum", "is greater than " + strconv.Itoa(c.max)
		}
		return "", ""
	}
	switch {
	case utf8.RuneCountInString(s) > c.format.length:
		return "maxLength", "has more than " + strconv.Itoa(c.format.length) + " characters"
	case !c.pattern.MatchString(s), c.format.check != nil && c.format.check(s) != nil:
		return string(c.format.rule), c.format.message
	}
	return "", ""
}

// checkJSON reads raw as one strict JSON value of this shape: unique names, valid UTF-8, no
// number, no null, nothing behind it. It returns an error if raw is not that, and otherwise
// the first places at which it is not of the shape, in its own order.
func (c *shape) checkJSON(raw []byte) ([]fault, error) {
	walk := walker{dec: jsontext.NewDecoder(bytes.NewReader(raw))}
	if err := walk.value(c); err != nil {
		return nil, err
	}
	if _, err := walk.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more behind the value")
	}
	return walk.faults, nil
}

// walker reads one body.
type walker struct {
	dec    *jsontext.Decoder
	faults []fault
}

func (w *walker) fault(at jsontext.Pointer, rule, message, reason string) {
	if len(at) > maxPointer {
		at = at.Parent()
		for len(at) > maxPointer {
			at = at.Parent()
		}
	}
	if len(w.faults) < maxFaults {
		w.faults = append(w.faults, fault{Violation{string(at), rule, message}, reason})
	}
}

// value reads the next value.
func (w *walker) value(c *shape) error {
	kind := w.dec.PeekKind()
	switch {
	case kind == '{' && c.kind == huma.TypeObject:
		return w.object(c)
	case kind == '"' && c.kind == huma.TypeString:
		token, err := w.dec.ReadToken()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if rule, message := c.checkText(token.String()); rule != "" {
			w.fault(w.dec.StackPointer(), rule, message, c.reason)
		}
		return nil
	default:
		if err := w.skip(); err != nil {
			return err
		}
		w.fault(w.dec.StackPointer(), "type", "is not of type "+c.kind, c.reason)
		return nil
	}
}

func (w *walker) object(c *shape) error {
	if _, err := w.dec.ReadToken(); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	at := w.dec.StackPointer()
	seen := make([]string, 0, len(c.members))
	for w.dec.PeekKind() != '}' {
		token, err := w.dec.ReadToken()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		name := token.String()
		member, ok := c.members[name]
		if !ok {
			w.fault(w.dec.StackPointer(), "additionalProperties", "is not known here", "")
			if err := w.skip(); err != nil {
				return err
			}
			continue
		}
		seen = append(seen, name)
		if err := w.value(member); err != nil {
			return err
		}
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	w.missing(c, at, seen)
	return nil
}

// missing reports the members that an object lacks.
func (w *walker) missing(c *shape, at jsontext.Pointer, seen []string) {
	for _, name := range c.required {
		if !slices.Contains(seen, name) {
			w.fault(at.AppendToken(name), "required", "is missing", c.members[name].reason)
		}
	}
	if c.oneOf == nil {
		return
	}
	var names []string
	matches := 0
	for _, group := range c.oneOf {
		names = append(names, group...)
		if !slices.ContainsFunc(group, func(name string) bool { return !slices.Contains(seen, name) }) {
			matches++
		}
	}
	if matches != 1 {
		why := c.members[names[0]].reason
		w.fault(at, "oneOf", "has not exactly one of: "+strings.Join(names, ", "), why)
	}
}

// skip reads a value that no shape describes.
func (w *walker) skip() error {
	for depth := w.dec.StackDepth(); ; {
		if _, err := w.dec.ReadToken(); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		switch now := w.dec.StackDepth(); {
		case now > maxDepth:
			return fmt.Errorf("more than %d values within each other", maxDepth)
		case now <= depth:
			return nil
		}
	}
}
