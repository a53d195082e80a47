package validator

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

var (
	// ErrPolicy means that a policy can never be met or names a Validator twice.
	ErrPolicy = errors.New("validator: unsatisfiable policy")
	// ErrNotApproved means that fewer Validators than the policy asks for approve the subject.
	ErrNotApproved = errors.New("validator: not approved")
)

// MaxValidators bounds the Validators of one asset, and so the verdicts in one Prepare.
const MaxValidators = 16

// Keys finds the Ed25519 identity key of a participant that may speak now.
type Keys interface {
	Key(id cypherlink.ParticipantID) (key [32]byte, ok bool)
}

// Policy says whose approval an asset asks for: Threshold of the Validators, each judging by
// RuleSet. The zero Policy asks for none.
type Policy struct {
	Threshold  int
	Validators []cypherlink.ParticipantID
	RuleSet    cypherlink.Hash
}

// Valid reports ErrPolicy unless 0 <= Threshold <= the number of distinct Validators, at
// most MaxValidators, and a policy with Validators asks for at least one.
func (p Policy) Valid() error {
	n := len(p.Validators)
	if n > MaxValidators || p.Threshold < 0 || p.Threshold > n || n > 0 && p.Threshold == 0 {
		return fmt.Errorf("%d of %d: %w", p.Threshold, n, ErrPolicy)
	}
	for i, id := range p.Validators {
		if slices.Contains(p.Validators[:i], id) {
			return fmt.Errorf("validator %s stands twice: %w", id, ErrPolicy)
		}
	}
	return nil
}

// Check reports ErrNotApproved unless Threshold distinct Validators of the policy approve
// exactly this subject, by the policy's rule set, with verdicts that are valid at now (in
// seconds since 1970) and rightly signed, as verify tells. A verdict that does not count is
// named in the error; it never harms others, but more verdicts than Validators are none: whoever
// sends them pays nothing, whoever verifies them does. A policy that is not Valid approves
// nothing: ErrPolicy.
func (p Policy) Check(
	network cypherlink.NetworkID, subject Subject, verdicts []Signed, keys Keys, verify cosi.Verifier,
	now int64,
) error {
	if err := p.Valid(); err != nil {
		return err
	}
	if p.Threshold > 0 && len(verdicts) > len(p.Validators) {
		return fmt.Errorf("%d verdicts, at most %d: %w", len(verdicts), len(p.Validators), ErrNotApproved)
	}
	var approved []cypherlink.ParticipantID
	var refused []error
	for i := range verdicts {
		s := &verdicts[i]
		if len(approved) == p.Threshold {
			return nil
		}
		if slices.Contains(approved, s.Validator) {
			continue
		}
		signature, err := p.counts(network, subject, s, keys, now)
		if err == nil && len(verify([]cosi.IdentitySignature{signature})) > 0 {
			err = fmt.Errorf("verdict of %s: %w", s.Validator, cosi.ErrSignature)
		}
		if err != nil {
			refused = append(refused, err)
			continue
		}
		approved = append(approved, s.Validator)
	}
	if len(approved) < p.Threshold {
		err := fmt.Errorf("%d of %d approvals: %w", len(approved), p.Threshold, ErrNotApproved)
		return errors.Join(append([]error{err}, refused...)...)
	}
	return nil
}

// Signatures are those that Check verifies at most, whatever the time.
func (p Policy) Signatures(
	network cypherlink.NetworkID, subject Subject, verdicts []Signed, keys Keys,
) []cosi.IdentitySignature {
	if len(verdicts) > len(p.Validators) {
		return nil
	}
	var all []cosi.IdentitySignature
	for i := range verdicts {
		if signature, err := p.counts(network, subject, &verdicts[i], keys, math.MinInt64); err == nil {
			all = append(all, signature)
		}
	}
	return all
}

func (s *Signed) signature(network cypherlink.NetworkID, key [32]byte) cosi.IdentitySignature {
	return cosi.IdentitySignature{Key: key, Frame: s.Verdict.Frame(network), Signature: s.Signature}
}

// counts tells why a verdict does not count as an approval even if it is signed rightly, or gives
// the signature.
func (p Policy) counts(
	network cypherlink.NetworkID, subject Subject, s *Signed, keys Keys, now int64,
) (signature cosi.IdentitySignature, err error) {
	v := &s.Verdict
	switch {
	case !slices.Contains(p.Validators, s.Validator):
		return signature, fmt.Errorf("verdict of %s: not a validator of this asset", s.Validator)
	case v.Outcome != Approved:
		return signature, fmt.Errorf("verdict of %s: outcome %d, reason %s", s.Validator, v.Outcome, v.Reason)
	case v.Subject != subject:
		return signature, fmt.Errorf("verdict of %s: another payment's, or a field differs", s.Validator)
	case v.RuleSet != p.RuleSet:
		return signature, fmt.Errorf("verdict of %s: rule set %s", s.Validator, v.RuleSet)
	case now >= v.ValidUntil:
		return signature, fmt.Errorf("verdict of %s: valid until %d", s.Validator, v.ValidUntil)
	}
	key, ok := keys.Key(s.Validator)
	if !ok {
		return signature, fmt.Errorf("verdict of %s: no key", s.Validator)
	}
	return s.signature(network, key), nil
}
