package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// draftFormat is the first field of a file of a change.
const draftFormat = "cypherlink-registry-change-v1"

// maxDraft bounds a file of a change.
const maxDraft = 1 << 20

// draft is a change of the registry on its way from one authority to the next.
type draft struct {
	network       cypherlink.NetworkID
	base, version uint64
	change        chain.Change
	shares        map[cypherlink.ParticipantID]cosi.Signature
}

type draftJSON struct {
	Format  string               `json:"format"`
	Network cypherlink.NetworkID `json:"network"`
	Base    uint64               `json:"base"`
	Version uint64               `json:"version"`
	// Change is canonical bytes, in hexadecimal; Signatures are by authority.
	Change     string                              `json:"change"`
	Signatures map[cypherlink.ParticipantID]string `json:"signatures"`
}

// draftChange writes changes.
type draftChange struct {
	Suspend draftSuspend `cmd:"" help:"Let a participant end what it is a party to, and begin nothing."`
	Resume  draftResume  `cmd:"" help:"Make a suspended participant active."`
	Revoke  draftRevoke  `cmd:"" help:"Silence a participant for good."`
	Policy  draftPolicy  `cmd:"" help:"Say which Validators an asset asks for."`
}

type draftOptions struct {
	registrarOptions
	Out     string `help:"File to write, which does not exist." required:"" type:"path"`
	Version uint64 `help:"The version that the change makes, if it is not the next."`
}

// draftAbout is a draft about a participant.
type draftAbout struct {
	draftOptions
	Participant string `arg:"" help:"Id, BIC, or name of the participant."`
}

type (
	draftSuspend struct{ draftAbout }
	draftResume  struct{ draftAbout }
	draftRevoke  struct{ draftAbout }
)

type draftPolicy struct {
	draftOptions
	Asset      string   `arg:"" help:"LEDGER:CODE of the asset, or its label."`
	Threshold  int      `arg:"" help:"How many of the Validators have to approve."`
	Validators []string `arg:"" help:"Id or name of each Validator."`
}

// Run drafts the suspension.
func (c *draftSuspend) Run(s *session) error {
	return c.draft(s, func(id cypherlink.ParticipantID) chain.Change { return &chain.Suspend{ID: id} })
}

// Run drafts the resumption.
func (c *draftResume) Run(s *session) error {
	return c.draft(s, func(id cypherlink.ParticipantID) chain.Change { return &chain.Resume{ID: id} })
}

// Run drafts the revocation.
func (c *draftRevoke) Run(s *session) error {
	return c.draft(s, func(id cypherlink.ParticipantID) chain.Change { return &chain.Revoke{ID: id} })
}

func (c *draftAbout) draft(s *session, change func(cypherlink.ParticipantID) chain.Change) error {
	return c.write(s, func(r *chain.Registry) (chain.Change, error) {
		rec, err := find(r, c.Participant)
		if err != nil {
			return nil, err
		}
		return change(rec.ID), nil
	})
}

// Run drafts the policy; the asset's rule set stays.
func (c *draftPolicy) Run(s *session) error {
	return c.write(s, func(r *chain.Registry) (chain.Change, error) {
		a, err := findAsset(r, c.Asset)
		if err != nil {
			return nil, err
		}
		p := validator.Policy{Threshold: c.Threshold, RuleSet: a.Policy.RuleSet}
		for _, who := range c.Validators {
			rec, err := find(r, who)
			if err != nil {
				return nil, err
			}
			p.Validators = append(p.Validators, rec.ID)
		}
		return &chain.SetPolicy{Asset: a.Asset, Policy: p}, nil
	})
}

// findAsset is the asset of that ledger and code, or of that label.
func findAsset(r *chain.Registry, name string) (*chain.Asset, error) {
	var found []chain.Asset
	for _, a := range r.Assets() {
		if string(a.Asset.Ledger)+":"+a.Asset.Code == name || a.Label == name {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no asset is called %q", name)
	case 1:
		return &found[0], nil
	}
	return nil, fmt.Errorf("%d assets are called %q: give LEDGER:CODE", len(found), name)
}

// write makes the draft, if the registry would take it, and writes it.
func (o *draftOptions) write(s *session, drawUp func(*chain.Registry) (chain.Change, error)) error {
	if _, err := os.Stat(o.Out); !errors.Is(err, os.ErrNotExist) {
		return refusal{fmt.Errorf("%s is there already", o.Out)}
	}
	return o.with(s, func(_ context.Context, r *registrar) error {
		d := &draft{
			network: r.keys.genesis.Network(), base: r.registry.Version(), version: o.Version,
			shares: map[cypherlink.ParticipantID]cosi.Signature{},
		}
		if d.version == 0 {
			d.version = d.base + 1
		}
		var err error
		if d.change, err = drawUp(r.registry.Registry); err == nil {
			err = d.check(r)
		}
		if err != nil {
			return refusal{err}
		}
		if err := d.write(o.Out); err != nil {
			return err
		}
		d.tell(s.out, r)
		return nil
	})
}

// find is the participant of that id, BIC or name.
func find(r *chain.Registry, who string) (*chain.Record, error) {
	var found []*chain.Record
	bic, err := cypherlink.ParseBIC(who)
	for _, rec := range r.Records() {
		if rec.ID.String() == who || rec.Name == who || err == nil && rec.BIC == bic {
			found = append(found, rec)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no participant is called %q", who)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("%d participants are called %q: give the id", len(found), who)
}

// check reports why the registry would not take the change.
func (d *draft) check(r *registrar) error {
	if d.network != r.keys.genesis.Network() {
		return fmt.Errorf("the change is for network %s", d.network)
	}
	if d.base != r.registry.Version() {
		return fmt.Errorf("the change stands on version %d of the registry, which is at %d: draft it again",
			d.base, r.registry.Version())
	}
	head := r.copy.follow.Head()
	_, err := r.registry.Amend(d.version, d.change, head.Height, head.Seconds())
	return err
}

// words are the change for people, by the bytes that are signed.
func (d *draft) words(r *chain.Registry) string {
	who := func(id cypherlink.ParticipantID) string { return fmt.Sprintf("%s (%s)", nameOf(r, id), id) }
	switch c := d.change.(type) {
	case *chain.Suspend:
		return "suspend " + who(c.ID)
	case *chain.Resume:
		return "resume " + who(c.ID)
	case *chain.Revoke:
		return "revoke " + who(c.ID)
	case *chain.SetPolicy:
		var all []string
		for _, id := range c.Policy.Validators {
			all = append(all, who(id))
		}
		return fmt.Sprintf("%s:%s asks for %d of %s, by rule set %s", c.Asset.Ledger, c.Asset.Code,
			c.Policy.Threshold, strings.Join(all, ", "), c.Policy.RuleSet)
	case *chain.Register:
		return "register " + c.Name + " as " + string(c.Role)
	case *chain.Rotate:
		return "other keys for " + who(c.ID)
	}
	return ""
}

// stands tells whether a registry is as the change wants it.
func (d *draft) stands(r *chain.Registry) bool {
	status := func(id cypherlink.ParticipantID) ledger.Status {
		rec, ok := r.Participant(id)
		if !ok {
			return ledger.Unknown
		}
		return rec.Status
	}
	switch c := d.change.(type) {
	case *chain.Suspend:
		return status(c.ID) == ledger.Suspended
	case *chain.Resume:
		return status(c.ID) == ledger.Active
	case *chain.Revoke:
		return status(c.ID) == ledger.Revoked
	case *chain.SetPolicy:
		now, ok := r.Policy(c.Asset)
		return ok && now.Threshold == c.Policy.Threshold && fmt.Sprint(now) == fmt.Sprint(c.Policy)
	case *chain.Register:
		return status(c.ID) != ledger.Unknown
	case *chain.Rotate:
		rec, ok := r.Participant(c.ID)
		return ok && rec.KeySet == c.KeySet
	}
	return false
}

// signers are the authorities whose signatures are over this change.
func (d *draft) signers(r *registrar) (all []cypherlink.ParticipantID) {
	roster, frame := r.registry.Authorities(), r.registry.Frame(d.version, d.change)
	for i := range roster.Len() {
		id := roster.Member(i).ID
		if share, ok := d.shares[id]; ok && roster.VerifyShare(frame, i, share) == nil {
			all = append(all, id)
		}
	}
	return all
}

// certify makes a certificate of the signatures. If too few are right, the error says whose is wrong: else
// whoever adds one would keep the change from the chain.
func (d *draft) certify(r *registrar) (cosi.Certificate, error) {
	roster, frame := r.registry.Authorities(), r.registry.Frame(d.version, d.change)
	shares, wrong := map[int]cosi.Signature{}, []error(nil)
	for id, share := range d.shares {
		if at, ok := roster.Index(id); ok {
			shares[at] = share
		} else {
			wrong = append(wrong, fmt.Errorf("%s is no active authority", nameOf(r.registry.Registry, id)))
		}
	}
	certificate, blamed, err := roster.Aggregate(frame, shares)
	if err == nil {
		return certificate, nil
	}
	for _, at := range blamed {
		wrong = append(wrong, fmt.Errorf("the signature of %s is not over this change",
			nameOf(r.registry.Registry, roster.Member(at).ID)))
	}
	return cosi.Certificate{}, fmt.Errorf("a change takes %s: %w", needed(roster), errors.Join(append(wrong, err)...))
}

// write writes the file whole, or leaves it as it was.
func (d *draft) write(file string) error {
	var w wire.Writer
	chain.AppendChange(&w, d.change)
	j := draftJSON{
		Format: draftFormat, Network: d.network, Base: d.base, Version: d.version,
		Change: hex.EncodeToString(w.Bytes()), Signatures: map[cypherlink.ParticipantID]string{},
	}
	for id, share := range d.shares {
		j.Signatures[id] = hex.EncodeToString(share[:])
	}
	if err := writeConfig(file+".new", j); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// readDraft reads a file. Whether the registry would take its change, check says.
func readDraft(file string) (*draft, error) {
	if info, err := os.Stat(file); err != nil || info.Size() > maxDraft {
		return nil, errors.Join(err, fmt.Errorf("%s is no file of a change", file))
	}
	var j draftJSON
	if err := readConfig(file, &j); err != nil {
		return nil, err
	}
	if j.Format != draftFormat {
		return nil, fmt.Errorf("%s has the format %q", file, j.Format)
	}
	d := &draft{
		network: j.Network, base: j.Base, version: j.Version,
		shares: map[cypherlink.ParticipantID]cosi.Signature{},
	}
	raw, err := hex.DecodeString(j.Change)
	if err != nil {
		return nil, fmt.Errorf("%s: change: %w", file, err)
	}
	reader := wire.NewReader(raw)
	d.change = chain.ReadChange(reader)
	if err := reader.End(); err != nil {
		return nil, fmt.Errorf("%s: change: %w", file, err)
	}
	for id, text := range j.Signatures {
		share, err := hex.DecodeString(text)
		if err != nil || len(share) != cosi.SignatureSize {
			return nil, errors.Join(err, fmt.Errorf("%s: the signature of %s is none", file, id))
		}
		d.shares[id] = cosi.Signature(share)
	}
	return d, nil
}
