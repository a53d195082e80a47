package member

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/state"
)

// machine is the bft.Machine over a state: the version after each block that may still become
// final, and the pool to build from.
type machine struct {
	state *state.State
	pool  *pool
	// executed are the blocks above the final one, by id.
	executed map[cypherlink.Hash]*executed
	// newest is the version of the highest of them, or the final one.
	newest *state.Version
	// built is the block that Build has made and that comes back to Execute.
	built  *state.Built
	parent cypherlink.Hash
}

// executed is a block that was executed and is not final.
type executed struct {
	parent  cypherlink.Hash
	version *state.Version
	payload chain.Payload
}

func newMachine(s *state.State, p *pool) *machine {
	return &machine{
		state: s, pool: p, newest: s.Final(), executed: map[cypherlink.Hash]*executed{},
	}
}

func (m *machine) version(block cypherlink.Hash) (*state.Version, error) {
	if e := m.executed[block]; e != nil {
		return e.version, nil
	}
	if block != m.state.Header().ID() {
		return nil, fmt.Errorf("block %s: %w", block, state.ErrDiscarded)
	}
	return m.state.Final(), nil
}

// Build implements bft.Machine.
func (m *machine) Build(h chain.Header) (chain.Payload, chain.Roots, error) {
	parent, err := m.version(h.Parent.Block)
	if err != nil {
		return nil, chain.Roots{}, err
	}
	var candidates []*state.Transaction
	if h.Ending == (cypherlink.Hash{}) && m.pool.len() > 0 {
		// Twice what fits, since some may fail.
		candidates = m.pool.candidates(m.branch(h.Parent.Block), 2*chain.MaxTransactions, 2*chain.MaxPayload)
	}
	built, err := m.state.Build(parent, h.Height, h.TimeMS, candidates)
	if err != nil {
		return nil, chain.Roots{}, err
	}
	for _, l := range built.LeftOut {
		m.pool.doubt(l.Transaction.Hash)
	}
	m.built, m.parent = built, h.Parent.Block
	return built.Payload, built.Version.Roots(), nil
}

// branch names the transactions of the blocks from the final one, excluded, up to block.
func (m *machine) branch(block cypherlink.Hash) map[cypherlink.Hash]bool {
	included := map[cypherlink.Hash]bool{}
	for e := m.executed[block]; e != nil; e = m.executed[e.parent] {
		for _, raw := range e.payload {
			if tx, err := state.DecodeTransaction(raw); err == nil { // it was executed
				included[tx.Hash] = true
			}
		}
	}
	return included
}

// Execute implements bft.Machine.
func (m *machine) Execute(h chain.Header, p chain.Payload) (chain.Roots, error) {
	id := h.ID()
	if e := m.executed[id]; e != nil {
		return e.version.Roots(), nil
	}
	parent, err := m.version(h.Parent.Block)
	if err != nil {
		return chain.Roots{}, err
	}
	var v *state.Version
	if b := m.built; b != nil && m.parent == h.Parent.Block && b.Version.TimeMS() == h.TimeMS &&
		b.Version.Roots() == h.Roots && slices.EqualFunc(b.Payload, p, bytes.Equal) {
		v = b.Version
	} else if v, err = m.state.Execute(parent, h, p); err != nil {
		if errors.Is(err, state.ErrBlock) {
			err = fmt.Errorf("%w: %w", bft.ErrInvalid, err)
		}
		return chain.Roots{}, err
	}
	m.executed[id] = &executed{parent: h.Parent.Block, version: v, payload: p}
	if v.Height() >= m.newest.Height() {
		m.newest = v
	}
	return v.Roots(), nil
}

// commit makes an executed block final and forgets every block that does not descend from it.
// It gives the payloads that went with them.
func (m *machine) commit(f state.Final) (lost []chain.Payload, err error) {
	id := f.Block.Header.ID()
	e := m.executed[id]
	if e == nil {
		return nil, fmt.Errorf("final block %s was not executed: %w", id, state.ErrDiscarded)
	}
	if err := m.state.Commit(e.version, f); err != nil {
		return nil, err
	}
	m.built, m.newest = nil, e.version
	delete(m.executed, id)
	for _, other := range m.byHeight() {
		at := m.executed[other]
		if _, stands := m.executed[at.parent]; !stands && at.parent != id {
			lost = append(lost, at.payload)
			delete(m.executed, other)
		} else if at.version.Height() >= m.newest.Height() {
			m.newest = at.version
		}
	}
	return lost, nil
}

// byHeight lists the executed blocks, parents before their children.
func (m *machine) byHeight() []cypherlink.Hash {
	ids := make([]cypherlink.Hash, 0, len(m.executed))
	for id := range m.executed {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b cypherlink.Hash) int {
		return cmp.Or(
			cmp.Compare(m.executed[a].version.Height(), m.executed[b].version.Height()),
			bytes.Compare(a[:], b[:]))
	})
	return ids
}
