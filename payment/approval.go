package payment

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

var errInput = errors.New("payment: an input of another machine")

// policyOf is the approval that an asset of the network asks for.
func policyOf(g *chain.Genesis, asset cypherlink.Asset) (validator.Policy, error) {
	charter, err := g.Charter(asset.Ledger)
	if err != nil {
		return validator.Policy{}, err
	}
	policy, ok := charter.Policies[asset]
	if !ok {
		return validator.Policy{}, fmt.Errorf("asset %s: %w", asset, chain.ErrGenesis)
	}
	return policy, nil
}

// approved reports why the verdicts are not what the leg's asset asks for at now.
func approved(g *chain.Genesis, t *terms.Terms, leg uint8, verdicts []validator.Signed, now time.Time) error {
	policy, err := policyOf(g, t.Legs[leg].Asset)
	if err != nil {
		return err
	}
	return policy.Check(g.Network(), subject(t, leg), verdicts, g, cosi.VerifyEd25519Batch, now.Unix())
}

// poll counts the verdicts of an asset's Validators on one leg of some terms.
type poll struct {
	genesis *chain.Genesis
	policy  validator.Policy
	subject validator.Subject
	yes     []validator.Signed
	heard   []cypherlink.ParticipantID
	no      []*cypherlink.Error
}

// newPoll opens the poll on a leg of terms.
func newPoll(g *chain.Genesis, t *terms.Terms, leg uint8) (*poll, error) {
	policy, err := policyOf(g, t.Legs[leg].Asset)
	if err != nil {
		return nil, err
	}
	return &poll{genesis: g, policy: policy, subject: subject(t, leg)}, nil
}

// ask are the Validators to ask.
func (p *poll) ask() []cypherlink.ParticipantID { return p.policy.Validators }

// hear counts the verdict of a Validator, once. One that is not its Validator's verdict on this
// leg is an error, and not counted.
func (p *poll) hear(from cypherlink.ParticipantID, v *validator.Signed, now time.Time) error {
	if slices.Contains(p.heard, from) || !slices.Contains(p.policy.Validators, from) {
		return nil
	}
	if v.Validator != from || v.Verdict.Subject != p.subject {
		return fmt.Errorf("verdict of %s: on something else: %w", from, ErrMessage)
	}
	if v.Verdict.Outcome == validator.Approved {
		one := p.policy
		one.Threshold, one.Validators = 1, []cypherlink.ParticipantID{from}
		err := one.Check(p.genesis.Network(), p.subject, []validator.Signed{*v}, p.genesis,
			cosi.VerifyEd25519Batch, now.Unix())
		if err != nil {
			return err
		}
		p.heard, p.yes = append(p.heard, from), append(p.yes, *v)
		return nil
	}
	key, _ := p.genesis.Key(from)
	if err := cosi.VerifyEd25519(key, v.Verdict.Frame(p.genesis.Network()), v.Signature); err != nil {
		return fmt.Errorf("verdict of %s: %w", from, err)
	}
	p.refuse(from, refuse(CodeVerdict, v.Verdict.Reason, "a validator of the asset does not approve", nil))
	return nil
}

// refuse counts a Validator as one that does not approve.
func (p *poll) refuse(from cypherlink.ParticipantID, refusal *cypherlink.Error) {
	if slices.Contains(p.heard, from) || !slices.Contains(p.policy.Validators, from) {
		return
	}
	p.heard, p.no = append(p.heard, from), append(p.no, refusal)
}

// result is as many verdicts as the policy asks for, or a refusal once so many Validators do
// not approve that there will never be enough; done tells whether it is either.
func (p *poll) result() (verdicts []validator.Signed, refusal *cypherlink.Error, done bool) {
	if len(p.yes) >= p.policy.Threshold {
		return p.yes[:p.policy.Threshold], nil, true
	}
	if len(p.policy.Validators)-len(p.no) < p.policy.Threshold {
		return nil, p.no[0], true
	}
	return nil, nil, false
}
