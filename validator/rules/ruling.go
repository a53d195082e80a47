package rules

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/validator"
)

var (
	// ErrRuling means that bytes are not a ruling.
	ErrRuling = errors.New("rules: malformed ruling")
	// ErrRecheck means that a ruling does not follow from its inputs by a rule set.
	ErrRecheck = errors.New("rules: the ruling does not follow")
)

// Ruling is a verdict and what it was based on. The verdict goes out; the rest stays with the
// Validator, to be shown to a supervisor.
type Ruling struct {
	Signed validator.Signed
	Inputs Inputs
	// Rule is the id of the rule that decided, empty for an approval.
	Rule string
}

// Key is the name under which a Validator stores its ruling on a leg.
func Key(terms cypherlink.Hash, leg uint8) string {
	return "ruling/" + terms.String() + "/" + strconv.Itoa(int(leg))
}

// Sign has the verdict signed. The signature is the last thing that a ruling gets.
func (r *Ruling) Sign(network cypherlink.NetworkID, key Signer) error {
	signature, err := key.Sign(r.Signed.Verdict.Frame(network))
	if err != nil {
		return fmt.Errorf("sign the verdict on %s: %w", r.Signed.Verdict.Subject.Terms, err)
	}
	r.Signed.Signature = signature
	return nil
}

// Encode is the canonical form, in which a Validator stores a ruling.
func (r *Ruling) Encode() []byte {
	w := wire.NewWriter(1024)
	r.Signed.AppendWire(w)
	r.Inputs.appendWire(w)
	w.Str(r.Rule)
	return w.Bytes()
}

// DecodeRuling takes exactly the form of Encode; otherwise ErrRuling. Whether the ruling
// follows is Recheck's question, who signed it cosi's.
func DecodeRuling(b []byte) (*Ruling, error) {
	r := wire.NewReader(b)
	ruling := &Ruling{Signed: validator.ReadSigned(r), Inputs: readInputs(r), Rule: r.Str(MaxName)}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRuling, err)
	}
	return ruling, nil
}

// Recheck comes to the ruling again: the set is the verdict's, the inputs are those under its
// hash and fit its subject, and the set decides them as the verdict says. Otherwise
// ErrRecheck. It does not check the signature (validator.Policy does).
func (s *Set) Recheck(r *Ruling) error {
	v, in := &r.Signed.Verdict, &r.Inputs
	leg := v.Subject.Fields
	switch {
	case v.RuleSet != s.hash:
		return fmt.Errorf("judged by rule set %s, this is %s: %w", v.RuleSet, s.hash, ErrRecheck)
	case v.Inputs != in.Hash():
		return fmt.Errorf("other inputs: %w", ErrRecheck)
	case in.Leg != v.Subject.Leg || in.Asset != leg.Asset || in.Amount != leg.Amount:
		return fmt.Errorf("inputs of another leg: %w", ErrRecheck)
	case v.ValidUntil > leg.Expiry || v.ValidUntil <= leg.Expiry-in.ExpiresIn:
		return fmt.Errorf("valid until %d, judged at %d, expiry %d: %w",
			v.ValidUntil, leg.Expiry-in.ExpiresIn, leg.Expiry, ErrRecheck)
	}
	if d := s.Evaluate(in); d.Outcome != v.Outcome || d.Reason != v.Reason || d.Rule != r.Rule {
		return fmt.Errorf("outcome %d %s by %q, the set says %d %s by %q: %w",
			v.Outcome, v.Reason, r.Rule, d.Outcome, d.Reason, d.Rule, ErrRecheck)
	}
	return nil
}
