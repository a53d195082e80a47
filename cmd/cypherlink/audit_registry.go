package main

import (
	"bytes"
	"fmt"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// checkRegistry makes the registry of genesis and of the changes that the feed tells of, whose root
// the last block names, and holds every entry of the state against it.
func (r *replica) checkRegistry(genesis *chain.Genesis) error {
	told := genesis.Registry()
	for _, e := range r.changes {
		fact, _ := e.Fact.(state.RegistryFact) // the others are no changes
		made := chain.CertifiedChange{Base: told.Version(), Version: fact.Version, Change: fact.Change}
		next, err := told.Amend(fact.Version, fact.Change, e.Height, e.TimeMS/1000)
		if err != nil {
			return found("block %d makes version %d of the registry by a change that is not allowed: %v",
				e.Height, fact.Version, err)
		}
		hash := made.Hash()
		if err := r.holds(state.ChangeKey(fact.Version), hash[:]); err != nil {
			return fmt.Errorf("version %d of the registry: %w", fact.Version, err)
		}
		told = next
	}
	for _, rec := range told.Records() {
		var w wire.Writer
		rec.AppendWire(&w)
		if err := r.holds(state.ParticipantKey(rec.ID), w.Bytes()); err != nil {
			return fmt.Errorf("participant %s: %w", rec.ID, err)
		}
	}
	for _, a := range told.Assets() {
		var w wire.Writer
		a.AppendWire(&w)
		if err := r.holds(state.AssetKey(a.Asset), w.Bytes()); err != nil {
			return fmt.Errorf("asset %s: %w", a.Asset, err)
		}
	}
	// state.Open has proved that the state holds no entry that is not in its registry.
	if is := r.state.Registry(); is.Version() != told.Version() || len(is.Records()) != len(told.Records()) {
		return found("the registry is at version %d with %d participants, by the events at %d with %d",
			is.Version(), len(is.Records()), told.Version(), len(told.Records()))
	}
	return nil
}

// holds reports unless the state that the last block names has this value under the key.
func (r *replica) holds(key, want []byte) error {
	value, err := r.proved(key)
	if err == nil && !bytes.Equal(value, want) {
		err = found("the state that block %d names is not what the events say", r.height())
	}
	return err
}
