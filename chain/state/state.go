package state

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

var (
	// ErrStore means that the store is of another network, or that what it holds does not
	// hang together: it lost or changed something that had been written.
	ErrStore = errors.New("state: damaged store")
	// ErrUnknown means that the store has no such block, event or custody.
	ErrUnknown = errors.New("state: not found")
)

// checkedBlocks is how many blocks, counted from the last, Open links to each other.
const checkedBlocks = 256

// The first byte of a stored key. Those from 0xc0 on belong to the host, which may keep what
// is its own in the same store.
const (
	spaceState   byte = 's' // state key -> value
	spaceNode    byte = 'n' // hash -> record of a branching
	spaceEvent   byte = 'e' // index -> event
	spaceFeed    byte = 'f' // level, index -> node of the feed's tree
	spaceBlock   byte = 'b' // height -> block
	spaceProof   byte = 'p' // height -> finality proof
	spaceReceipt byte = 'r' // subject -> index of its latest event
	spaceTip     byte = 't' // -> tip
	spaceChannel byte = 'c' // channel, index -> nothing; of every event of a channel
)

// State is the ledger on the chain: the final state in a store, and the rules by which a
// block changes it. One goroutine owns it; Verify, and the readers of what is final that name
// a height, an index, an id or an account, may be called by any.
type State struct {
	store   Store
	genesis *chain.Genesis
	// base is the charter but for who may speak, which a version's registry says.
	base ledger.Charter
	// final is the version of the last final block, tip what the store says of it.
	final   *Version
	tip     tip
	trial   trial
	rosters rosters
	admission
}

// tip is what the store says of the last final block.
type tip struct {
	network cypherlink.NetworkID
	header  chain.Header
	// sequence is that of the safety record when the block was written (I4, I5).
	sequence uint64
	root     *node
}

// Final is a block to be written as final.
type Final struct {
	Block chain.Block
	// Proof begins with the block's header. It has no headers where the block is final as an
	// ancestor of one that is committed with a proof soon.
	Proof chain.FinalityProof
	// Sequence is that of the member's safety record, zero for a follower.
	Sequence uint64
}

// Open opens the state of a network in a store, which it begins with the genesis if it is
// empty. It checks that tip, roots and the last 256 blocks hang together: Pebble drops a
// damaged end of its log without a word, and then what is left is an older state, whole. A
// store of another network, or one that does not hang together, is ErrStore.
func Open(store Store, genesis *chain.Genesis) (*State, error) {
	charter, err := genesis.Charter(genesis.Chain())
	if err != nil {
		return nil, err
	}
	s := &State{store: store, genesis: genesis, base: *charter}
	s.base.Keys, s.base.Policies = nil, nil
	raw, ok, err := store.Get([]byte{spaceTip})
	if err != nil {
		return nil, err
	}
	if !ok {
		return s, s.begins()
	}
	if s.tip, err = decodeTip(raw); err != nil {
		return nil, err
	}
	return s, s.checkStore()
}

// GenesisHeader is the block of height zero, which names the roots of the genesis state.
func GenesisHeader(genesis *chain.Genesis) (chain.Header, error) {
	s, err := Open(NewMemory(), genesis)
	if err != nil {
		return chain.Header{}, err
	}
	return s.tip.header, nil
}

// Committee is the committee of epoch 1.
func Committee(genesis *chain.Genesis) (*chain.Committee, error) {
	h, err := GenesisHeader(genesis)
	if err != nil {
		return nil, err
	}
	return genesis.Committee(h.Roots)
}

// begins writes the genesis state: the registry, the assets and the opening balances.
func (s *State) begins() error {
	file := s.genesis.File()
	v := &Version{
		timeMS: file.TimeMS, registry: s.genesis.Registry(), writes: map[string][]byte{},
	}
	v.writeRegistry()
	for _, o := range file.Openings {
		v.writes[string(BalanceKey(o.Account, o.Asset))] = encodeAmount(o.Amount)
	}
	if err := s.seal(v); err != nil {
		return err
	}
	header := s.genesis.Header(v.Roots())
	block := chain.Block{Header: header, Payload: chain.Payload{file.KeyBlock.Encode()}}
	return s.write(v, Final{Block: block})
}

// Genesis is the network's.
func (s *State) Genesis() *chain.Genesis { return s.genesis }

// Final is the version of the last final block.
func (s *State) Final() *Version { return s.final }

// Header is the last final block's.
func (s *State) Header() chain.Header { return s.tip.header }

// Sequence is that of the safety record when the last final block was written.
func (s *State) Sequence() uint64 { return s.tip.sequence }

// Commit makes a version final: one durable write of the block, its proof, the change of the
// state, its events and receipts (I4). A block that is final already changes nothing; another
// block at a height that is final, or one that does not stand on the last final block, is
// ErrBlock. The caller has verified the proof.
func (s *State) Commit(v *Version, f Final) error {
	h := f.Block.Header
	if h.Height <= s.tip.header.Height {
		stored, err := s.HeaderAt(h.Height)
		if err != nil {
			return err
		}
		if stored != h {
			return fmt.Errorf("block %s at height %d, where %s is final: %w",
				h.ID(), h.Height, stored.ID(), ErrBlock)
		}
		return nil
	}
	switch {
	case v.parent != s.final:
		return fmt.Errorf("height %d on height %d: %w", h.Height, s.final.height, ErrDiscarded)
	case v.height != h.Height || v.timeMS != h.TimeMS || v.Roots() != h.Roots:
		return fmt.Errorf("block %s is not the one executed: %w", h.ID(), ErrBlock)
	case len(f.Proof.Headers) > 0 && f.Proof.Headers[0] != h:
		return fmt.Errorf("proof of another block than %s: %w", h.ID(), ErrBlock)
	case h.Parent.Block != s.tip.header.ID():
		return fmt.Errorf("block %s stands on %s, not %s: %w",
			h.ID(), h.Parent.Block, s.tip.header.ID(), ErrBlock)
	}
	return s.write(v, f)
}

// write writes everything that a final block leaves behind, and lets go of what only its
// version held in memory.
func (s *State) write(v *Version, f Final) error {
	writes := make([]Write, 0, len(v.writes)+len(v.stale)+len(v.fresh)+len(v.nodes)+2*len(v.events)+3)
	put := func(space byte, key, value []byte) {
		writes = append(writes, Write{Key: append([]byte{space}, key...), Value: value})
	}
	for key, value := range v.writes {
		put(spaceState, []byte(key), value)
	}
	for _, hash := range v.stale {
		put(spaceNode, hash[:], nil)
	}
	for _, n := range v.fresh {
		put(spaceNode, n.hash[:], encodeNode(n))
	}
	for _, n := range v.nodes {
		put(spaceFeed, feedKey(n.level, n.index), n.hash[:])
	}
	first := v.feed.size - uint64(len(v.events))
	for i := range v.events {
		index := encodeIndex(first + uint64(i))
		put(spaceEvent, index, v.events[i].Encode())
		subject := v.events[i].Fact.Subject()
		put(spaceReceipt, subject[:], index)
		if _, ok := v.events[i].Fact.(ChannelFact); ok {
			put(spaceChannel, append(subject[:], index...), []byte{})
		}
	}
	next := tip{network: s.genesis.Network(), header: f.Block.Header, sequence: f.Sequence, root: v.root}
	put(spaceBlock, encodeIndex(v.height), f.Block.Encode())
	if len(f.Proof.Headers) > 0 {
		put(spaceProof, encodeIndex(v.height), f.Proof.Encode())
	}
	put(spaceTip, nil, next.encode())
	if err := s.store.Write(writes); err != nil {
		return fmt.Errorf("height %d: %w", v.height, err)
	}
	for _, n := range v.fresh {
		n.forget()
	}
	v.parent, v.rules, v.writes, v.expiries, v.nodes, v.fresh, v.stale = nil, nil, nil, nil, nil, nil, nil
	s.tip = next
	s.finalise(v)
	return nil
}

// checkStore compares what the store holds with what its headers name.
func (s *State) checkStore() error {
	h := s.tip.header
	if s.tip.network != s.genesis.Network() {
		return fmt.Errorf("network %s, not %s: %w", s.tip.network, s.genesis.Network(), ErrStore)
	}
	if rootHash(s.tip.root) != h.Roots.State {
		return fmt.Errorf("root %s, header has %s: %w", rootHash(s.tip.root), h.Roots.State, ErrStore)
	}
	if s.tip.root != nil && !s.tip.root.leaf() {
		if _, _, err := children(s.tip.root, s); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	f, err := readFeed(h.Roots.FeedSize, s)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	if f.root() != h.Roots.Feed {
		return fmt.Errorf("feed of root %s, header has %s: %w", f.root(), h.Roots.Feed, ErrStore)
	}
	v := &Version{height: h.Height, timeMS: h.TimeMS, root: s.tip.root, feed: f}
	s.final = v
	if v.registry, err = s.readRegistry(); err != nil {
		return fmt.Errorf("registry: %w: %w", ErrStore, err)
	}
	s.finalise(v)
	if err := s.checkBlocks(); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return nil
}

// finalise makes v the final version, and its registry the one by which transactions are admitted.
func (s *State) finalise(v *Version) {
	s.final = v
	s.admission.final.Store(s.rulesAt(v.registry, v.timeMS))
}

// checkBlocks links the last blocks to each other, and height zero to the genesis.
func (s *State) checkBlocks() error {
	want := s.tip.header.ID()
	for height, n := s.tip.header.Height, 0; n < checkedBlocks; height, n = height-1, n+1 {
		h, err := s.HeaderAt(height)
		if err != nil {
			return err
		}
		if h.ID() != want || h.Height != height {
			return fmt.Errorf("height %d holds block %s, not %s", height, h.ID(), want)
		}
		if height == 0 {
			break
		}
		want = h.Parent.Block
	}
	first, err := s.HeaderAt(0)
	if err != nil {
		return err
	}
	if first != s.genesis.Header(first.Roots) {
		return fmt.Errorf("height 0 is not the genesis of network %s", s.genesis.Network())
	}
	return nil
}

func (t *tip) encode() []byte {
	w := wire.NewWriter(1024)
	w.Fixed(t.network[:])
	t.header.AppendWire(w)
	w.U64(t.sequence)
	w.Bool(t.root != nil)
	if t.root != nil {
		appendStub(w, t.root)
	}
	return w.Bytes()
}

func decodeTip(b []byte) (tip, error) {
	r := wire.NewReader(b)
	var t tip
	r.Fixed(t.network[:])
	t.header = chain.ReadHeader(r)
	t.sequence = r.U64()
	if r.Bool() {
		t.root = readStub(r)
	}
	if err := r.End(); err != nil {
		return tip{}, fmt.Errorf("tip: %w: %w", ErrStore, err)
	}
	return t, nil
}
