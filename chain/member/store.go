package member

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// What a member keeps in the store beside the state. The first byte of a key is from 0xc0 on,
// which chain/state leaves to its host.
const (
	spaceBlock    byte = 0xc1 // height, id -> block that is not final
	spaceEvidence byte = 0xc2 // member, kind -> evidence
)

// ahead is the store as the loop's state writes to it: what is written is read at once, and
// durable when the herald has waited for it, in the order of the writes. So the next view goes
// on while the disk still works on a final block (I4).
type ahead struct {
	*state.Pebble
	// begun is the wait for the last write.
	begun func() error
}

// Write implements state.Store but for durability, which durable gives.
func (a *ahead) Write(writes []state.Write) error {
	wait, err := a.Begin(writes)
	if err != nil {
		return err
	}
	if before := a.begun; before != nil {
		last := wait
		wait = func() error { return errors.Join(before(), last()) }
	}
	a.begun = wait
	return nil
}

// durable hands over the wait for what was written since it was called last.
func (a *ahead) durable() func() error {
	wait := a.begun
	a.begun = nil
	if wait == nil {
		return func() error { return nil }
	}
	return wait
}

// proposals keeps the blocks that this member has voted for or proposed, until a block of
// their height is final (I3).
type proposals struct {
	store *state.Pebble
	// kept are those in the store, with their heights.
	kept map[cypherlink.Hash]uint64
	// stale are keys to be removed with the next write.
	stale []state.Write
}

func blockKey(height uint64, id cypherlink.Hash) []byte {
	w := wire.NewWriter(41)
	w.U8(spaceBlock)
	w.U64(height)
	w.Fixed(id[:])
	return w.Bytes()
}

// openProposals reads the blocks above the final height.
func openProposals(store *state.Pebble, final uint64) (*proposals, []chain.Block, error) {
	p := &proposals{store: store, kept: map[cypherlink.Hash]uint64{}}
	var blocks []chain.Block
	var bad error
	err := store.Scan([]byte{spaceBlock}, []byte{spaceBlock + 1}, func(key, value []byte) bool {
		var b chain.Block
		if b, bad = chain.DecodeBlock(append([]byte(nil), value...)); bad != nil {
			return false
		}
		p.kept[b.Header.ID()] = b.Header.Height
		if b.Header.Height > final {
			blocks = append(blocks, b)
		}
		return true
	})
	if err == nil && bad != nil {
		err = fmt.Errorf("stored proposal: %w: %w", state.ErrStore, bad)
	}
	p.final(final)
	return p, blocks, err
}

// put makes blocks durable.
func (p *proposals) put(blocks []chain.Block) error {
	var writes []state.Write
	for i := range blocks {
		h := blocks[i].Header
		id := h.ID()
		if _, ok := p.kept[id]; !ok {
			writes = append(writes, state.Write{Key: blockKey(h.Height, id), Value: blocks[i].Encode()})
			p.kept[id] = h.Height
		}
	}
	if len(writes) == 0 {
		return nil
	}
	writes = append(writes, p.stale...)
	p.stale = nil
	return p.store.Write(writes)
}

// final says that the block of a height is final: those up to it go with the next write.
func (p *proposals) final(height uint64) {
	for id, h := range p.kept {
		if h <= height {
			p.stale = append(p.stale, state.Write{Key: blockKey(h, id)})
			delete(p.kept, id)
		}
	}
}

// The kinds of stored evidence.
const (
	kindDoubleVote     = 1
	kindDoubleTimeout  = 2
	kindDoubleProposal = 3
	kindBrokenLock     = 4
)

// encodeEvidence is the kind and the two messages that contradict each other.
func encodeEvidence(e chain.Evidence) (kind uint8, value []byte) {
	var w wire.Writer
	switch e := e.(type) {
	case chain.DoubleVote:
		kind = kindDoubleVote
		e.First.AppendWire(&w)
		e.Second.AppendWire(&w)
	case chain.DoubleTimeout:
		kind = kindDoubleTimeout
		e.First.AppendWire(&w)
		e.Second.AppendWire(&w)
	case chain.DoubleProposal:
		kind = kindDoubleProposal
		e.First.AppendWire(&w)
		e.Second.AppendWire(&w)
	case chain.BrokenLock:
		kind = kindBrokenLock
		e.Vote.AppendWire(&w)
		e.Timeout.AppendWire(&w)
	}
	return kind, w.Bytes()
}

func decodeEvidence(kind uint8, b []byte) (chain.Evidence, error) {
	r := wire.NewReader(b)
	var e chain.Evidence
	switch kind {
	case kindDoubleVote:
		e = chain.DoubleVote{First: chain.ReadVote(r), Second: chain.ReadVote(r)}
	case kindDoubleTimeout:
		e = chain.DoubleTimeout{First: chain.ReadTimeout(r), Second: chain.ReadTimeout(r)}
	case kindDoubleProposal:
		e = chain.DoubleProposal{First: chain.ReadSignedHeader(r), Second: chain.ReadSignedHeader(r)}
	case kindBrokenLock:
		e = chain.BrokenLock{Vote: chain.ReadVote(r), Timeout: chain.ReadTimeout(r)}
	}
	if err := r.End(); err != nil || e == nil {
		return nil, fmt.Errorf("evidence of kind %d: %w: %w", kind, state.ErrStore, err)
	}
	return e, nil
}

// evidenceKey has one place for each member and kind: one fault of a kind is enough.
func evidenceKey(member int, kind uint8) []byte {
	w := wire.NewWriter(4)
	w.U8(spaceEvidence)
	w.U16(uint16(member)) //nolint:gosec // below chain.MaxMembers
	w.U8(kind)
	return w.Bytes()
}

// putEvidence makes evidence durable and names whom it convicts.
func putEvidence(store *state.Pebble, c *chain.Committee, e chain.Evidence) (member int, err error) {
	if member, err = c.VerifyEvidence(e); err != nil {
		return 0, err
	}
	kind, value := encodeEvidence(e)
	return member, store.Write([]state.Write{{Key: evidenceKey(member, kind), Value: value}})
}

// Evidence is the stored evidence against members of the committee, in their order.
func (m *Member) Evidence() ([]chain.Evidence, error) {
	var all []chain.Evidence
	var bad error
	from, to := []byte{spaceEvidence}, []byte{spaceEvidence + 1}
	err := m.store.Scan(from, to, func(key, value []byte) bool {
		var e chain.Evidence
		e, bad = decodeEvidence(key[len(key)-1], append([]byte(nil), value...))
		all = append(all, e)
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	return all, err
}

// archive is the final blocks of a state as bft.Archive.
type archive struct{ state *state.State }

// Block implements bft.Archive.
func (a archive) Block(height uint64) (chain.Block, bool, error) {
	if height > a.state.Header().Height {
		return chain.Block{}, false, nil
	}
	b, err := a.state.BlockAt(height)
	return b, err == nil, err
}

var _ bft.Archive = archive{}
