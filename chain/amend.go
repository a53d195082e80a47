package chain

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// The codes with which a change of the registry is refused. No message of ISO 20022 asks for
// such a change; only the signature has a reason there.
const (
	CodeChangeVersion     cypherlink.Code = "registry_version_differs"
	CodeChangeCertificate cypherlink.Code = "registry_certificate_invalid"
	CodeChangeUnknown     cypherlink.Code = "registry_entry_unknown"
	CodeChangeMalformed   cypherlink.Code = "registry_entry_malformed"
	CodeChangeUsed        cypherlink.Code = "registry_key_used"
	CodeChangePossession  cypherlink.Code = "registry_possession_invalid"
	CodeChangeStatus      cypherlink.Code = "registry_status_differs"
	CodeChangeMember      cypherlink.Code = "registry_member"
	CodeChangeAuthorities cypherlink.Code = "registry_authorities_too_few"
	CodeChangeFull        cypherlink.Code = "registry_full"
)

func refuse(code cypherlink.Code, message string, cause error) error {
	e := &cypherlink.Error{Code: code, Message: message, Err: cause}
	if code == CodeChangeCertificate {
		e.Reason = "DS0B"
	}
	return e
}

// Frame is what the authorities of this registry sign so that the change makes it that version.
func (r *Registry) Frame(version uint64, change Change) cosi.Frame {
	return cosi.Frame{
		Type: cosi.RegistryChange, Network: r.network, Roster: r.authorities.Root(),
		Scope: RegistryScope(), Sequence: version, Payload: changeHash(r.version, change),
	}
}

// Authenticate refuses a change unless it stands on this registry and so many of its authorities
// as it takes have signed. Costs one pairing check, once.
func (r *Registry) Authenticate(c *CertifiedChange) error {
	if c.Base != r.version {
		return refuse(CodeChangeVersion, "the change stands on another version of the registry",
			fmt.Errorf("on %d, the registry is at %d", c.Base, r.version))
	}
	if err := r.authorities.Verify(r.Frame(c.Version, c.Change), c.Certificate); err != nil {
		return refuse(CodeChangeCertificate, "the authorities have not signed this change", err)
	}
	return nil
}

// Amend is the registry after a change, which has been authenticated, in the block of that height
// and time (seconds): it counts from the next block on. A refusal, with one of the codes above,
// says which rule the change breaks. It verifies the possession of a new key (0.7 ms).
func (r *Registry) Amend(version uint64, c Change, height uint64, seconds int64) (*Registry, error) {
	if version <= r.version || version-r.version > MaxAttempts {
		return nil, refuse(CodeChangeVersion, "the change makes no version that may follow",
			fmt.Errorf("version %d after %d", version, r.version))
	}
	next := *r
	next.version, next.records = version, maps.Clone(r.records)
	var err error
	switch c := c.(type) {
	case *Register:
		err = next.register(c, height+1, seconds)
	case *Rotate:
		err = next.rotate(c, height+1)
	case *Suspend:
		err = next.setStatus(c.ID, ledger.Active, ledger.Suspended, height+1)
	case *Resume:
		err = next.setStatus(c.ID, ledger.Suspended, ledger.Active, height+1)
	case *Revoke:
		err = next.revoke(c.ID, height+1)
	case *SetPolicy:
		err = next.setPolicy(c)
	}
	if err == nil {
		err = next.settle()
	}
	if err != nil {
		return nil, err
	}
	return &next, nil
}

func (r *Registry) register(c *Register, since uint64, seconds int64) error {
	switch {
	case c.Role == RoleMember:
		return errMember()
	case c.Role == RoleAuthority && (c.From != 0 || c.Until != 0):
		// Else the roster of a version would depend on the time, and with it the frame that an
		// authority signs once.
		return refuse(CodeChangeMalformed, "an authority's registration has no bounds in time", nil)
	case c.From < 0 || c.Until != 0 && (c.Until <= c.From || c.Until <= seconds):
		return refuse(CodeChangeMalformed, "the registration covers no time to come",
			fmt.Errorf("from %d until %d, now %d", c.From, c.Until, seconds))
	}
	rec := &Record{
		Participant: c.Participant, Status: ledger.Active, StatusSince: since, Since: since,
		From: c.From, Until: c.Until,
	}
	if err := r.enter(rec); err != nil {
		return err
	}
	return possessed(&c.KeySet)
}

// enter adds a record, if it is well-formed and no key or BIC of it was ever anybody's.
func (r *Registry) enter(rec *Record) error {
	if len(r.records) >= MaxParticipants {
		return refuse(CodeChangeFull, "the registry has no room for another participant", nil)
	}
	if err := rec.check(); err != nil {
		return refuse(CodeChangeMalformed, "the entry is malformed", err)
	}
	if err := r.unused(&rec.KeySet, nil); err != nil {
		return err
	}
	for _, other := range r.records {
		if !rec.BIC.IsZero() && rec.BIC == other.BIC {
			return refuse(CodeChangeUsed, "the BIC is another participant's", nil)
		}
	}
	r.records[rec.ID] = rec
	return nil
}

func possessed(k *KeySet) error {
	if err := cosi.VerifyPossession(k.Key, k.Possession); err != nil {
		return refuse(CodeChangePossession, "the proof of possession is not the cosigning key's", err)
	}
	return nil
}

// unused refuses keys that anybody has or had, but for those that stay as they are in own, which
// may be nil.
func (r *Registry) unused(k, own *KeySet) error {
	for _, rec := range r.records {
		for at := range len(rec.Former) + 1 {
			had := &rec.KeySet
			if at < len(rec.Former) {
				had = &rec.Former[at].KeySet
			}
			switch {
			case had.Identity == k.Identity && (own == nil || own.Identity != k.Identity):
				return refuse(CodeChangeUsed, "the identity key was registered before", nil)
			case had.Key.Rivals(k.Key) && (own == nil || own.Key != k.Key):
				return refuse(CodeChangeUsed, "the cosigning key or its negation was registered before", nil)
			case had.TLS == k.TLS && (own == nil || own.TLS != k.TLS):
				return refuse(CodeChangeUsed, "the TLS key was registered before", nil)
			}
		}
	}
	return nil
}

// draft puts a copy of a participant's record in its place, to be changed.
func (r *Registry) draft(id cypherlink.ParticipantID) (*Record, error) {
	rec, ok := r.records[id]
	switch {
	case !ok:
		return nil, refuse(CodeChangeUnknown, "there is no such participant", nil)
	case rec.Role == RoleMember:
		return nil, errMember()
	case rec.Status == ledger.Revoked:
		return nil, refuse(CodeChangeStatus, "the participant is revoked, for good", nil)
	}
	changed := *rec
	r.records[id] = &changed
	return &changed, nil
}

func errMember() error {
	return refuse(CodeChangeMember, "the committee is changed by key blocks alone", nil)
}

func (r *Registry) rotate(c *Rotate, since uint64) error {
	rec, err := r.draft(c.ID)
	if err != nil {
		return err
	}
	old := rec.KeySet
	switch {
	case c.KeySet == old:
		return refuse(CodeChangeMalformed, "no key changes", nil)
	case c.TLS == cypherlink.Hash{}:
		return refuse(CodeChangeMalformed, "there is no TLS key", nil)
	case c.Key == old.Key && c.Possession != old.Possession:
		return refuse(CodeChangePossession, "the cosigning key stays, its proof does not", nil)
	case len(rec.Former) == MaxFormer:
		return refuse(CodeChangeFull, "the participant has had too many keys", nil)
	}
	if err := r.unused(&c.KeySet, &old); err != nil {
		return err
	}
	rec.Former = append(slices.Clone(rec.Former), Former{KeySet: old, Since: rec.Since})
	rec.KeySet, rec.Since = c.KeySet, since
	if c.Key == old.Key {
		return nil
	}
	return possessed(&c.KeySet)
}

func (r *Registry) setStatus(id cypherlink.ParticipantID, from, to ledger.Status, since uint64) error {
	rec, err := r.draft(id)
	if err != nil {
		return err
	}
	if rec.Status != from {
		return refuse(CodeChangeStatus, "the participant has another status",
			fmt.Errorf("it is %s, not %s", rec.Status, from))
	}
	rec.Status, rec.StatusSince = to, since
	return nil
}

func (r *Registry) revoke(id cypherlink.ParticipantID, since uint64) error {
	rec, err := r.draft(id)
	if err == nil {
		rec.Status, rec.StatusSince = ledger.Revoked, since
	}
	return err
}

func (r *Registry) setPolicy(c *SetPolicy) error {
	asset, ok := r.assets[c.Asset]
	if !ok {
		return refuse(CodeChangeUnknown, "there is no such asset", nil)
	}
	if err := r.checkPolicy(c.Policy); err != nil {
		return refuse(CodeChangeMalformed, "the policy cannot be met", err)
	}
	asset.Policy = c.Policy
	r.assets = maps.Clone(r.assets)
	r.assets[c.Asset] = asset
	return nil
}

// checkPolicy reports what keeps a policy from being met now.
func (r *Registry) checkPolicy(p validator.Policy) error {
	if err := p.Valid(); err != nil {
		return err
	}
	if (len(p.Validators) == 0) != (p.RuleSet == cypherlink.Hash{}) {
		return errors.New("validators and a rule set go together")
	}
	for _, id := range p.Validators {
		if rec, ok := r.records[id]; !ok || rec.Role != RoleValidator || rec.Status != ledger.Active {
			return fmt.Errorf("%s is no active validator", id)
		}
	}
	return nil
}

// settle makes what follows from the records: how they are found, the policies, and the roster of
// the active authorities, in the order of their ids.
func (r *Registry) settle() error {
	r.pins, r.bics = map[cypherlink.Hash]*Record{}, map[cypherlink.BIC]*Record{}
	r.policies = map[cypherlink.LedgerID]map[cypherlink.Asset]validator.Policy{}
	var members []cosi.Member
	for _, rec := range r.records {
		r.pins[rec.TLS] = rec
		if !rec.BIC.IsZero() {
			r.bics[rec.BIC] = rec
		}
		if rec.Role == RoleAuthority && rec.Status == ledger.Active {
			members = append(members, cosi.Member{ID: rec.ID, Key: rec.Key})
		}
	}
	for asset, a := range r.assets {
		if r.policies[asset.Ledger] == nil {
			r.policies[asset.Ledger] = map[cypherlink.Asset]validator.Policy{}
		}
		r.policies[asset.Ledger][asset] = a.Policy
	}
	if len(members) < r.threshold {
		return refuse(CodeChangeAuthorities, "too few authorities would be left to change anything",
			fmt.Errorf("%d active, a change asks for %d", len(members), r.threshold))
	}
	slices.SortFunc(members, func(a, b cosi.Member) int { return slices.Compare(a.ID[:], b.ID[:]) })
	if r.convenes(members) {
		return nil
	}
	roster, err := cosi.NewRoster(members, cosi.Threshold(r.threshold))
	if err != nil {
		return refuse(CodeChangeAuthorities, "the authorities' keys make no roster", err)
	}
	r.authorities = roster
	return nil
}

// convenes tells whether the roster is of these members already.
func (r *Registry) convenes(members []cosi.Member) bool {
	if r.authorities == nil || r.authorities.Len() != len(members) {
		return false
	}
	for i, m := range members {
		if r.authorities.Member(i) != m {
			return false
		}
	}
	return true
}

// byID orders records by the participants' ids.
func byID(a, b *Record) int { return slices.Compare(a.ID[:], b.ID[:]) }

// byAsset orders assets by ledger, code and scale.
func byAsset(a, b Asset) int {
	return cmp.Or(cmp.Compare(a.Asset.Ledger, b.Asset.Ledger), cmp.Compare(a.Asset.Code, b.Asset.Code),
		cmp.Compare(a.Asset.Scale, b.Asset.Scale))
}
