package state

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/ledger"
)

var (
	// ErrRecord means that a stored record is missing or malformed: the store is damaged.
	ErrRecord = errors.New("state: damaged record")
	// ErrDiscarded means that a version does not stand on what is final any more.
	ErrDiscarded = errors.New("state: the version is discarded")
)

func recordError(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s: %w", what, ErrRecord)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrRecord, err)
}

// Version is the state after one block. It never changes: executing a block on it makes
// another version and leaves this one, and every other fork, as it was.
type Version struct {
	height uint64
	timeMS int64
	root   *node
	feed   feed
	// registry is the one after the block; versions without a change between them share it.
	registry *chain.Registry

	// rules are those by which the block is executed: of the parent's registry.
	rules *rules
	// parent is the version that this one was executed on, nil when everything that this one
	// wrote is in the store.
	parent *Version
	// writes are by key; nil removes.
	writes map[string][]byte
	// broken is what a read of the store has failed with, where the rules could not be told.
	broken error
	// expiries are the keys of the indexes by time among writes that are not removals, ascending.
	expiries [][]byte
	events   []Event
	// nodes are new in the feed's tree, fresh and stale in the state's.
	nodes []feedNode
	fresh []*node
	stale []cypherlink.Hash
}

// Height is the block's.
func (v *Version) Height() uint64 { return v.height }

// TimeMS is the block's.
func (v *Version) TimeMS() int64 { return v.timeMS }

// Registry is the one that the block has left.
func (v *Version) Registry() *chain.Registry { return v.registry }

// Roots are what the block's header has to name.
func (v *Version) Roots() chain.Roots {
	return chain.Roots{State: rootHash(v.root), Feed: v.feed.root(), FeedSize: v.feed.size}
}

// Events are what happened in the block, in the order of the feed: the last one's cursor is
// Roots().FeedSize. The caller does not change them.
func (v *Version) Events() []Event { return v.events }

// tell adds a fact to the feed.
func (v *Version) tell(f Fact) {
	v.events = append(v.events, Event{Height: v.height, TimeMS: v.timeMS, Fact: f})
}

// lookup finds a key in a live version or below it.
func (s *State) lookup(v *Version, key []byte) ([]byte, bool, error) {
	for ; v.parent != nil; v = v.parent {
		if value, ok := v.writes[string(key)]; ok {
			return value, value != nil, nil
		}
	}
	return s.store.Get(stateKey(key))
}

// live reports ErrDiscarded unless everything below v is in memory or final.
func (s *State) live(v *Version) error {
	for ; v.parent != nil; v = v.parent {
	}
	if v != s.final {
		return fmt.Errorf("on height %d, final is %d: %w", v.height, s.final.height, ErrDiscarded)
	}
	return nil
}

// due lists the custodies that are prepared in v and whose expiry is at most seconds, oldest
// expiry first, at most limit of them.
func (s *State) due(v *Version, seconds int64, limit int) ([]ledger.CustodyID, error) {
	from, to := expiryKey(0, ledger.CustodyID{}), expiryKey(seconds+1, ledger.CustodyID{})
	keys, err := s.dueKeys(v, from, to, limit)
	if err != nil {
		return nil, err
	}
	ids := make([]ledger.CustodyID, len(keys))
	for i, key := range keys {
		ids[i] = expiryOf(key)
	}
	return ids, nil
}

// dueKeys lists the keys of an index by time that stand in v, from <= key < to, ascending, at most
// limit of them.
func (s *State) dueKeys(v *Version, from, to []byte, limit int) ([][]byte, error) {
	var candidates [][]byte
	base := v
	removed := 0
	for ; base.parent != nil; base = base.parent {
		for _, key := range base.expiries {
			if bytes.Compare(key, from) >= 0 && bytes.Compare(key, to) < 0 {
				candidates = append(candidates, key)
			}
		}
		removed += len(base.writes)
	}
	// What the versions above the store have removed is at most removed, so that many more
	// candidates are enough.
	want := limit + removed
	err := s.store.Scan(stateKey(from), stateKey(to), func(key, _ []byte) bool {
		candidates = append(candidates, slices.Clone(key[1:]))
		want--
		return want > 0
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(candidates, bytes.Compare)
	keys := make([][]byte, 0, min(limit, len(candidates)))
	for _, key := range slices.CompactFunc(candidates, bytes.Equal) {
		_, ok, err := s.lookup(v, key)
		if err != nil {
			return nil, err
		}
		if ok && len(keys) < limit {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// seal computes the trees over what the block wrote.
func (s *State) seal(v *Version) error {
	changes := make([]change, 0, len(v.writes))
	for k, value := range v.writes {
		key := []byte(k)
		if underRoot(key) {
			changes = append(changes, newChange(key, value))
		} else if (key[0] == kindExpiry || key[0] == kindDue) && value != nil {
			v.expiries = append(v.expiries, key)
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return bytes.Compare(a.path[:], b.path[:]) })
	slices.SortFunc(v.expiries, bytes.Compare)
	u := update{nodes: s}
	root, err := u.apply(v.root, changes)
	if err != nil {
		return err
	}
	v.root, v.fresh, v.stale = root, u.fresh, u.stale
	for i := range v.events {
		var nodes []feedNode
		v.feed, nodes = v.feed.append(v.events[i].Encode())
		v.nodes = append(v.nodes, nodes...)
	}
	return nil
}

// Prove shows by the final version's state root what the state holds under a key, such as
// CustodyKey.
func (s *State) Prove(key []byte) (*Proof, error) {
	leaf, steps, err := search(s.final.root, sha256.Sum256(key), s)
	if err != nil {
		return nil, err
	}
	if leaf == nil {
		return &Proof{}, nil
	}
	value, ok, err := s.store.Get(stateKey(leaf.key))
	if err != nil {
		return nil, err
	}
	if !ok || leafHash(leaf.key, value) != leaf.hash {
		return nil, recordError(fmt.Sprintf("key %x", leaf.key), nil)
	}
	return &Proof{Key: leaf.key, Value: value, Steps: steps}, nil
}
