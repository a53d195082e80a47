package rules

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrOptions means that a Validator would give verdicts that nobody accepts.
var ErrOptions = errors.New("rules: unusable options")

// MaxValidity bounds how long a verdict is valid, in seconds.
const MaxValidity = 86_400

// Codes of a Judge's refusals. A refusal is no verdict: the request is not one that this
// Validator judges.
const (
	CodeProof       cypherlink.Code = "terms_not_proved"
	CodeNetwork     cypherlink.Code = "terms_of_another_network"
	CodeParty       cypherlink.Code = "asker_is_no_party"
	CodeLeg         cypherlink.Code = "leg_unknown"
	CodeAsset       cypherlink.Code = "asset_of_another_validator"
	CodeParticipant cypherlink.Code = "participant_unknown"
	CodeDisclosure  cypherlink.Code = "disclosure_mismatch" // not what the terms commit to
	CodeExpired     cypherlink.Code = "terms_expired"
	CodeSalt        cypherlink.Code = "salt_missing"
)

// Options is what a Validator is for.
type Options struct {
	Network cypherlink.NetworkID
	// Self is the Validator.
	Self cypherlink.ParticipantID
	// Asset is the one that it judges, Policy the asset's: it names Self and the Set.
	Asset  cypherlink.Asset
	Policy validator.Policy
	Set    *Set
	// List is what the Validator screens names against; it may be empty.
	List *kyc.List
	// Validity is how long a verdict is valid, in seconds, from 1 to MaxValidity. No verdict
	// outlives its leg.
	Validity int64
}

// Valid reports ErrOptions unless the policy is valid, names Self and the Set, and all else is
// there and within its bounds.
func (o *Options) Valid() error {
	if err := o.Asset.Valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if err := o.Policy.Valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	switch {
	case o.Set == nil || o.List == nil:
		return fmt.Errorf("no rule set, or no list: %w", ErrOptions)
	case !slices.Contains(o.Policy.Validators, o.Self):
		return fmt.Errorf("the policy of %s does not name %s: %w", o.Asset, o.Self, ErrOptions)
	case o.Policy.RuleSet != o.Set.Hash():
		return fmt.Errorf("the policy of %s asks for rule set %s, this is %s: %w",
			o.Asset, o.Policy.RuleSet, o.Set.Hash(), ErrOptions)
	case o.Validity <= 0 || o.Validity > MaxValidity:
		return fmt.Errorf("validity %d s, 1 to %d: %w", o.Validity, MaxValidity, ErrOptions)
	}
	return nil
}

// Judge is one Validator's machine for one asset. It has no state of its own and is safe for
// concurrent use if its ports are.
type Judge struct {
	options    Options
	agreements Agreements
	directory  Directory
}

// NewJudge checks the options.
func NewJudge(o Options, agreements Agreements, directory Directory) (*Judge, error) {
	if err := o.Valid(); err != nil {
		return nil, err
	}
	return &Judge{o, agreements, directory}, nil
}

// Case is a request that is in order: its terms are proved, its leg is this Validator's, what
// was told is what the terms commit to.
type Case struct {
	subject       validator.Subject
	debit, credit cypherlink.BIC
	told          kyc.Told
}

// Key names the case in a store: a ruling once given for it stands, whatever is told later.
func (c *Case) Key() string { return Key(c.subject.Terms, c.subject.Leg) }

// refusal is a cypherlink.Error. Its message holds nothing that was told.
func refusal(code cypherlink.Code, reason string, cause error, format string, args ...any) error {
	return &cypherlink.Error{Code: code, Reason: reason, Message: fmt.Sprintf(format, args...), Err: cause}
}

// Open checks a request of asker, whom the caller has authenticated. A refusal is a
// *cypherlink.Error with one of the codes above.
func (j *Judge) Open(asker cypherlink.ParticipantID, q *Request) (*Case, error) {
	t, err := j.agreements.VerifyProof(q.Terms)
	if err == nil {
		err = t.Valid()
	}
	if err != nil {
		return nil, refusal(CodeProof, "DS0B", err, "the terms are not proved to be agreed")
	}
	switch {
	case t.Network != j.options.Network:
		return nil, refusal(CodeNetwork, "", nil, "the terms are of network %s, this is %s",
			t.Network, j.options.Network)
	case !slices.Contains(t.Parties(), asker):
		return nil, refusal(CodeParty, "", nil, "%s is no party to the terms", asker)
	case int(q.Leg) >= len(t.Legs):
		return nil, refusal(CodeLeg, "", nil, "leg %d of %d", q.Leg, len(t.Legs))
	case t.Legs[q.Leg].Asset != j.options.Asset:
		return nil, refusal(CodeAsset, "", nil, "leg %d moves %s, this Validator judges %s",
			q.Leg, t.Legs[q.Leg].Asset, j.options.Asset)
	}
	c := &Case{subject: validator.Subject{
		Terms: t.Hash(), Leg: q.Leg, Fields: t.Legs[q.Leg], Condition: t.Condition,
	}}
	if c.debit, err = j.bank(c.subject.Fields.Debit); err != nil {
		return nil, err
	}
	if c.credit, err = j.bank(c.subject.Fields.Credit); err != nil {
		return nil, err
	}
	if c.told, err = kyc.Verify(t.KYC, q.Told); err != nil {
		return nil, refusal(CodeDisclosure, "", err, "what was told is not what the terms commit to")
	}
	return c, nil
}

// bank is the BIC of an account's owner.
func (j *Judge) bank(a cypherlink.Account) (cypherlink.BIC, error) {
	bic, ok := j.directory.BIC(a.Owner)
	if !ok {
		return bic, refusal(CodeParticipant, "AGNT", nil, "%s is no bank of this network", a.Owner)
	}
	return bic, nil
}

// Decide gives the ruling on a case at now, in seconds since 1970, ready to be signed. Salt is
// 32 fresh random bytes. It refuses a leg that has expired, with CodeExpired and TM01.
func (j *Judge) Decide(now int64, salt [32]byte, c *Case) (*Ruling, error) {
	expiry := c.subject.Fields.Expiry
	if now < 0 || now >= expiry {
		return nil, refusal(CodeExpired, "TM01", nil, "the leg expired at %d, it is %d", expiry, now)
	}
	if salt == ([32]byte{}) {
		return nil, refusal(CodeSalt, "", nil, "the hash of the inputs needs a salt")
	}
	in := j.inputs(now, salt, c)
	d := j.options.Set.Evaluate(in)
	return &Ruling{
		Signed: validator.Signed{
			Verdict: validator.Verdict{
				Subject: c.subject, ValidUntil: min(now+j.options.Validity, expiry),
				RuleSet: j.options.Set.Hash(), Inputs: d.Inputs, Outcome: d.Outcome, Reason: d.Reason,
			},
			Validator: j.options.Self,
		},
		Inputs: *in, Rule: d.Rule,
	}, nil
}

// inputs is what the rules see of a case.
func (j *Judge) inputs(now int64, salt [32]byte, c *Case) *Inputs {
	leg := c.subject.Fields
	in := &Inputs{
		Salt: salt, Leg: c.subject.Leg, Asset: leg.Asset, Amount: leg.Amount,
		Debit: c.debit, Credit: c.credit, ExpiresIn: leg.Expiry - now,
		Told: c.told, List: j.options.List.Hash(),
	}
	if name, told := c.told.Text(kyc.DebtorName); told {
		in.DebtorScore = j.options.List.Score(name)
	}
	if name, told := c.told.Text(kyc.CreditorName); told {
		in.CreditorScore = j.options.List.Score(name)
	}
	return in
}
