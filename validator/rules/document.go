package rules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrDocument means that bytes are not a rule set in its one form.
var ErrDocument = errors.New("rules: malformed rule set")

// Bounds of a rule set.
const (
	MaxDocument    = 512 << 10 // bytes
	MaxRules       = 128
	MaxName        = 64   // bytes of a set's name and of a rule's id
	MaxDescription = 512  // bytes
	MaxExpression  = 2048 // bytes
)

const documentFormat = "cypherlink-rules-v1"

// Document is a rule set as its authors write it. Its version counts up with every change;
// the hash tells versions apart in any case.
type Document struct {
	Name    string
	Version uint32
	Rules   []Rule
}

// Rule is one condition of an approval.
type Rule struct {
	// ID is 1 to MaxName lower-case letters, digits and hyphens, and unique in its set.
	ID          string
	Description string
	// Expression is CEL and boolean: true lets the leg pass.
	Expression string
	// Outcome is what follows when the expression is false: Rejected or Held, with Reason.
	Outcome validator.Outcome
	// Reason is a code of ISO ExternalStatusReason.
	Reason string
}

// The JSON form: fields in this order, two spaces a level, one line feed at the end.
type (
	documentJSON struct {
		Format  string     `json:"format"`
		Name    string     `json:"name"`
		Version uint32     `json:"version"`
		Rules   []ruleJSON `json:"rules"`
	}
	ruleJSON struct {
		ID          string `json:"id"`
		Description string `json:"description"`
		Expression  string `json:"expression"`
		Otherwise   string `json:"otherwise"`
		Reason      string `json:"reason"`
	}
)

// The outcomes as a document says them.
const (
	reject = "reject"
	hold   = "hold"
)

// Valid reports ErrDocument unless all is within its bounds, ids are unique, there is a rule,
// outcomes are Rejected or Held, and reasons are known. It does not read the expressions.
func (d *Document) Valid() error {
	if !isName(d.Name) || d.Version == 0 {
		return fmt.Errorf("name %.70q, version %d: %w", d.Name, d.Version, ErrDocument)
	}
	if len(d.Rules) == 0 || len(d.Rules) > MaxRules {
		return fmt.Errorf("%d rules, 1 to %d: %w", len(d.Rules), MaxRules, ErrDocument)
	}
	seen := map[string]bool{}
	for i, r := range d.Rules {
		switch {
		case !isName(r.ID) || seen[r.ID]:
			return fmt.Errorf("rule %d, id %.70q: %w", i+1, r.ID, ErrDocument)
		case !isText(r.Description, MaxDescription):
			return fmt.Errorf("rule %s, its description: %w", r.ID, ErrDocument)
		case !isText(r.Expression, MaxExpression):
			return fmt.Errorf("rule %s, its expression: %w", r.ID, ErrDocument)
		case r.Outcome != validator.Rejected && r.Outcome != validator.Held:
			return fmt.Errorf("rule %s, outcome %d: %w", r.ID, r.Outcome, ErrDocument)
		case !iso20022.KnownReason(r.Reason):
			return fmt.Errorf("rule %s, reason %.10q: %w", r.ID, r.Reason, ErrDocument)
		}
		seen[r.ID] = true
	}
	return nil
}

func isName(s string) bool {
	return s != "" && len(s) <= MaxName && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}

// isText takes what shows on paper, so that nothing in a rule is hidden from its reader.
func isText(s string, limit int) bool {
	return s != "" && len(s) <= limit && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsGraphic(c) })
}

// Encode is the document's one form. It reports what Valid reports.
func (d *Document) Encode() ([]byte, error) {
	if err := d.Valid(); err != nil {
		return nil, err
	}
	j := documentJSON{Format: documentFormat, Name: d.Name, Version: d.Version}
	for _, r := range d.Rules {
		otherwise := reject
		if r.Outcome == validator.Held {
			otherwise = hold
		}
		j.Rules = append(j.Rules, ruleJSON{r.ID, r.Description, r.Expression, otherwise, r.Reason})
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	return b.Bytes(), nil
}

// Decode reads exactly what Encode writes, at most MaxDocument bytes. The re-encoding finds
// what encoding/json lets pass: duplicate keys, other case, other order, other spaces.
func Decode(raw []byte) (*Document, error) {
	d, err := Read(raw)
	if err != nil {
		return nil, err
	}
	again, err := d.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, raw) {
		return nil, fmt.Errorf("not in its one form: %w", ErrDocument)
	}
	return d, nil
}

// Read takes a document in any JSON form, at most MaxDocument bytes, for an author: its
// Encode is the form to keep.
func Read(raw []byte) (*Document, error) {
	if len(raw) > MaxDocument {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(raw), MaxDocument, ErrDocument)
	}
	var j documentJSON
	if err := unmarshal(raw, &j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if j.Format != documentFormat {
		return nil, fmt.Errorf("format %.40q, not %s: %w", j.Format, documentFormat, ErrDocument)
	}
	d := &Document{Name: j.Name, Version: j.Version}
	for _, r := range j.Rules {
		var outcome validator.Outcome
		switch r.Otherwise {
		case reject:
			outcome = validator.Rejected
		case hold:
			outcome = validator.Held
		}
		d.Rules = append(d.Rules, Rule{r.ID, r.Description, r.Expression, outcome, r.Reason})
	}
	return d, d.Valid()
}

var errTrailing = errors.New("something follows the value")

// unmarshal reads one JSON value that has no field which out lacks.
func unmarshal(raw []byte, out any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(out); err != nil {
		return err
	}
	if d.More() {
		return errTrailing
	}
	return nil
}
