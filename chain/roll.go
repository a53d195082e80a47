package chain

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrRegistry means that records make no registry of a network.
var ErrRegistry = errors.New("chain: the registry does not hang together")

// MaxParticipants bounds the registry, whatever the participants' status.
const MaxParticipants = 1 << 12

// Registry is one version of who is in the scheme and which Validators an asset asks for. The
// genesis has version zero; a certified change makes a later one and leaves this one as it was. It
// is immutable and safe for concurrent use; the caller changes nothing that it is given.
type Registry struct {
	network   cypherlink.NetworkID
	threshold int
	version   uint64
	records   map[cypherlink.ParticipantID]*Record
	assets    map[cypherlink.Asset]Asset

	// The rest follows from these.
	pins        map[cypherlink.Hash]*Record
	bics        map[cypherlink.BIC]*Record
	policies    map[cypherlink.LedgerID]map[cypherlink.Asset]validator.Policy
	authorities *cosi.Roster
}

// Restore is the registry of this network whose records and assets somebody has kept. Labels are
// those of genesis. What makes no registry is ErrRegistry.
func (g *Genesis) Restore(version uint64, records []Record, assets []Asset) (*Registry, error) {
	r := &Registry{
		network: g.network, threshold: g.registry.threshold, version: version,
		records: make(map[cypherlink.ParticipantID]*Record, len(records)),
		assets:  maps.Clone(g.registry.assets),
	}
	for i := range records {
		r.records[records[i].ID] = &records[i]
	}
	for _, a := range assets {
		known, ok := r.assets[a.Asset]
		if !ok {
			return nil, fmt.Errorf("asset %s: %w", a.Asset, ErrRegistry)
		}
		known.Issuer, known.Policy = a.Issuer, a.Policy
		r.assets[a.Asset] = known
	}
	if err := r.settle(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRegistry, err)
	}
	return r, nil
}

// Version is zero in genesis, and that of the last change since.
func (r *Registry) Version() uint64 { return r.version }

// Participant finds a record by id, whatever its status.
func (r *Registry) Participant(id cypherlink.ParticipantID) (*Record, bool) {
	rec, ok := r.records[id]
	return rec, ok
}

// ByBIC finds a bank's or clearing bank's record, whatever its status.
func (r *Registry) ByBIC(bic cypherlink.BIC) (*Record, bool) {
	rec, ok := r.bics[bic]
	return rec, ok
}

// Policy is the approval that an asset asks for; ok tells whether there is such an asset.
func (r *Registry) Policy(asset cypherlink.Asset) (policy validator.Policy, ok bool) {
	a, ok := r.assets[asset]
	return a.Policy, ok
}

// Asset finds an asset with its issuer and policy.
func (r *Registry) Asset(asset cypherlink.Asset) (a Asset, ok bool) {
	a, ok = r.assets[asset]
	return a, ok
}

// Policies are those of a ledger's assets.
func (r *Registry) Policies(id cypherlink.LedgerID) map[cypherlink.Asset]validator.Policy {
	return r.policies[id]
}

// Records are all of them, in the order of their ids.
func (r *Registry) Records() []*Record { return slices.SortedFunc(maps.Values(r.records), byID) }

// Assets are all of them, in the order of ledger and code.
func (r *Registry) Assets() []Asset { return slices.SortedFunc(maps.Values(r.assets), byAsset) }

// Authorities are the active ones, in the order of their ids, and how many of them a change takes.
func (r *Registry) Authorities() *cosi.Roster { return r.authorities }

// At is the registry at a block time, in seconds since 1970.
func (r *Registry) At(seconds int64) Roll { return Roll{r, seconds} }

// Roll is a registry at a time: who may speak then. It implements validator.Keys and
// ledger.Signers.
type Roll struct {
	*Registry
	seconds int64
}

var (
	_ validator.Keys = Roll{}
	_ ledger.Signers = Roll{}
)

// Key is the identity key of an active participant; ok tells whether there is one.
func (r Roll) Key(id cypherlink.ParticipantID) (key [32]byte, ok bool) {
	key, status := r.Signer(id)
	if status != ledger.Active {
		return [32]byte{}, false
	}
	return key, true
}

// Signer implements ledger.Signers.
func (r Roll) Signer(id cypherlink.ParticipantID) (key [32]byte, status ledger.Status) {
	rec, ok := r.records[id]
	if !ok {
		return key, ledger.Unknown
	}
	return rec.Identity, rec.statusAt(r.seconds)
}

// Pinned finds who has the TLS key, SHA-256 of its SubjectPublicKeyInfo, unless it is revoked. A
// suspended participant still has to be heard.
func (r Roll) Pinned(pin cypherlink.Hash) (*Record, bool) {
	rec, ok := r.pins[pin]
	if !ok || rec.Status == ledger.Revoked {
		return nil, false
	}
	return rec, true
}
