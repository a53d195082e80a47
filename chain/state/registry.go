package state

import (
	"bytes"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// RegistryChange is a change of the registry, certified by the scheme's authorities. It counts
// from the next block on: all of a block is judged by the registry that its parent left.
type RegistryChange struct{ Certified *chain.CertifiedChange }

// Sender is nobody's id: all changes share one place in a pool.
func (c RegistryChange) Sender() cypherlink.ParticipantID {
	return cypherlink.ParticipantID(chain.RegistryScope())
}

// Subject is what the change is about.
func (c RegistryChange) Subject(cypherlink.NetworkID) cypherlink.Hash {
	return c.Certified.Change.Subject()
}

func (c RegistryChange) kind() uint8 { return bodyRegistry }

func (c RegistryChange) encode() []byte { return c.Certified.Encode() }

// apply makes the change that stands on the newest version, also one of this block.
func (c RegistryChange) apply(s *State, v *Version) error {
	key, hash := ChangeKey(c.Certified.Version), c.Certified.Hash()
	stands, ok, err := s.lookup(v, key)
	if err != nil {
		return err
	}
	if ok && bytes.Equal(stands, hash[:]) {
		return ledger.ErrRepeated
	}
	if err := v.registry.Authenticate(c.Certified); err != nil {
		return err
	}
	change := c.Certified.Change
	next, err := v.registry.Amend(c.Certified.Version, change, v.height, v.timeMS/1000)
	if err != nil {
		return err
	}
	v.registry = next
	v.writes[string(key)] = hash[:]
	v.writes[string(registryKey())] = encodeCensus(next)
	if policy, ok := change.(*chain.SetPolicy); ok {
		v.writeAsset(policy.Asset)
	} else {
		v.writeRecord(cypherlink.ParticipantID(change.Subject()))
	}
	v.tell(RegistryFact{Version: c.Certified.Version, Change: change})
	if revoked, ok := change.(*chain.Revoke); ok {
		return s.closeChannelsOf(v, revoked.ID)
	}
	return nil
}

// writeRecord writes what the registry holds of a participant.
func (v *Version) writeRecord(id cypherlink.ParticipantID) {
	if rec, ok := v.registry.Participant(id); ok {
		var w wire.Writer
		rec.AppendWire(&w)
		v.writes[string(ParticipantKey(id))] = w.Bytes()
	}
}

// writeAsset writes what the registry holds of an asset.
func (v *Version) writeAsset(asset cypherlink.Asset) {
	if a, ok := v.registry.Asset(asset); ok {
		var w wire.Writer
		a.AppendWire(&w)
		v.writes[string(AssetKey(asset))] = w.Bytes()
	}
}

// writeRegistry writes all of the registry.
func (v *Version) writeRegistry() {
	for _, rec := range v.registry.Records() {
		v.writeRecord(rec.ID)
	}
	for _, a := range v.registry.Assets() {
		v.writeAsset(a.Asset)
	}
	v.writes[string(registryKey())] = encodeCensus(v.registry)
}

// RegistryFact tells of a change of the registry, and which version it made. Those of the feed,
// in its order, make the registry of genesis that of the state.
type RegistryFact struct {
	Version uint64
	Change  chain.Change
}

// Subject is what the change is about.
func (f RegistryFact) Subject() cypherlink.Hash { return f.Change.Subject() }

func (f RegistryFact) kind() uint8 { return factRegistry }

func (f RegistryFact) appendWire(w *wire.Writer) {
	w.U64(f.Version)
	chain.AppendChange(w, f.Change)
}

func readRegistryFact(r *wire.Reader) Fact {
	return RegistryFact{Version: r.U64(), Change: chain.ReadChange(r)}
}

// ChangeKey is where the state keeps the hash of the change that made a version.
func ChangeKey(version uint64) []byte { return append([]byte{kindChange}, encodeIndex(version)...) }

func registryKey() []byte { return []byte{kindRegistry} }

// encodeCensus is the registry's version, and how many participants and assets it has.
func encodeCensus(r *chain.Registry) []byte {
	w := wire.NewWriter(16)
	w.U64(r.Version())
	w.U32(uint32(len(r.Records()))) //nolint:gosec // at most MaxParticipants
	w.U32(uint32(len(r.Assets())))  //nolint:gosec // few
	return w.Bytes()
}

// DecodeRecord reads the value under a ParticipantKey; otherwise ErrRecord.
func DecodeRecord(b []byte) (*chain.Record, error) {
	r := wire.NewReader(b)
	rec := chain.ReadRecord(r)
	if err := r.End(); err != nil {
		return nil, recordError("participant", err)
	}
	return &rec, nil
}

// readRegistry reads the final registry, every entry of which the state root has to prove: nobody
// looks at the store for it again.
func (s *State) readRegistry() (*chain.Registry, error) {
	census, err := s.provenValue(registryKey())
	if err != nil {
		return nil, err
	}
	var records []chain.Record
	var assets []chain.Asset
	err = s.scanProven(kindParticipant, func(value []byte) error {
		rec, err := DecodeRecord(value)
		if err == nil {
			records = append(records, *rec)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = s.scanProven(kindAsset, func(value []byte) error {
		r := wire.NewReader(value)
		assets = append(assets, chain.ReadAsset(r))
		return r.End()
	})
	if err != nil {
		return nil, err
	}
	r := wire.NewReader(census)
	version, participants, number := r.U64(), r.U32(), r.U32()
	if err := r.End(); err != nil {
		return nil, recordError("registry", err)
	}
	if int(participants) != len(records) || int(number) != len(assets) {
		return nil, fmt.Errorf("%d participants and %d assets, there were %d and %d: %w",
			len(records), len(assets), participants, number, ErrRecord)
	}
	return s.genesis.Restore(version, records, assets)
}

// provenValue is what the state root says is under a key that it has to hold.
func (s *State) provenValue(key []byte) ([]byte, error) {
	p, err := s.Prove(key)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(p.Key, key) {
		return nil, recordError(fmt.Sprintf("key %x", key), nil)
	}
	return p.Value, nil
}

// scanProven calls take with every value of a kind, once it is proven.
func (s *State) scanProven(kind byte, take func(value []byte) error) error {
	var keys [][]byte
	from, to := []byte{spaceState, kind}, []byte{spaceState, kind + 1}
	if err := s.store.Scan(from, to, func(key, _ []byte) bool {
		keys = append(keys, bytes.Clone(key[1:]))
		return true
	}); err != nil {
		return err
	}
	for _, key := range keys {
		value, err := s.provenValue(key)
		if err == nil {
			err = take(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
