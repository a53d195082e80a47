package state

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/ledger"
)

// due is the sorted prefix of what is prepared, whatever lies in the store and whatever in
// versions above it.
func TestDueIsASortedPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &State{store: NewMemory()}
		prepared := map[string]bool{}
		s.final = &Version{}
		top := s.final
		for range rapid.IntRange(1, 4).Draw(t, "versions") {
			v := &Version{writes: map[string][]byte{}}
			if top != s.final || rapid.Bool().Draw(t, "above the store") {
				v.parent = top
			}
			var writes []Write
			for range rapid.IntRange(0, 12).Draw(t, "changes") {
				n := rapid.ByteRange(0, 15).Draw(t, "custody")
				key := expiryKey(int64(n%5)+1, ledger.CustodyID{n})
				if v.writes[string(key)] != nil {
					continue
				}
				v.writes[string(key)] = []byte{}
				if prepared[string(key)] {
					v.writes[string(key)] = nil
				}
				prepared[string(key)] = !prepared[string(key)]
				writes = append(writes, Write{stateKey(key), v.writes[string(key)]})
			}
			if v.parent == nil {
				if err := s.store.Write(writes); err != nil {
					t.Fatal(err)
				}
				continue
			}
			if err := s.seal(v); err != nil {
				t.Fatal(err)
			}
			top = v
		}
		seconds := rapid.Int64Range(0, 6).Draw(t, "seconds")
		limit := rapid.IntRange(1, 10).Draw(t, "limit")
		var want []string
		for key, is := range prepared {
			if is && key < string(expiryKey(seconds+1, ledger.CustodyID{})) {
				want = append(want, key)
			}
		}
		slices.Sort(want)
		want = want[:min(limit, len(want))]
		got, err := s.due(top, seconds, limit)
		if err != nil || len(got) != len(want) {
			t.Fatalf("%d due, want %d: %v", len(got), len(want), err)
		}
		for i, id := range got {
			if id != expiryOf([]byte(want[i])) {
				t.Fatalf("place %d is %s", i, id)
			}
		}
	})
}

// What a version above the store has removed does not hide what is behind it.
func TestDueBehindWhatIsRemoved(t *testing.T) {
	s := &State{store: NewMemory(), final: &Version{}}
	v := &Version{parent: s.final, writes: map[string][]byte{}}
	for n := range byte(3) {
		key := expiryKey(1, ledger.CustodyID{n})
		if err := s.store.Write([]Write{{stateKey(key), []byte{}}}); err != nil {
			t.Fatal(err)
		}
		if n < 2 {
			v.writes[string(key)] = nil
		}
	}
	got, err := s.due(v, 1, 1)
	if err != nil || len(got) != 1 || got[0] != (ledger.CustodyID{2}) {
		t.Fatalf("%v, %v", got, err)
	}
}

// The root in the tip is the header's, although another node is there too.
func TestOpenComparesTheRoot(t *testing.T) {
	n := chaintest.New(t, nil)
	store := NewMemory()
	s, err := Open(store, n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	other := s.tip
	if other.root = s.tip.root.left; other.root.leaf() {
		other.root = s.tip.root.right
	}
	if err := store.Write([]Write{{[]byte{spaceTip}, other.encode()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(store, n.Genesis); !errors.Is(err, ErrStore) {
		t.Fatalf("opened: %v", err)
	}
}

// What lies deep in the tree is read when it is needed and stays in the store.
func TestMemoryIsBounded(t *testing.T) {
	nodes, writes := shelf{}, map[string][]byte{}
	for i := range 4000 {
		writes[fmt.Sprint("key ", i)] = []byte("value")
	}
	root, u := applyAll(t, nil, nodes, writes)
	nodes.write(t, u)
	for _, n := range u.fresh {
		n.forget()
	}
	for key := range writes {
		if _, _, err := search(root, sha256.Sum256([]byte(key)), nodes); err != nil {
			t.Fatal(err)
		}
	}
	all, shallow := 0, 0
	var count func(n *node)
	count = func(n *node) {
		if n == nil || n.leaf() {
			return
		}
		all++
		if n.bit < cachedBits {
			shallow++
		} else if n.left != nil {
			t.Fatalf("bit %d stays in memory", n.bit)
		}
		count(n.left)
		count(n.right)
	}
	count(root)
	if shallow == len(nodes) || shallow < 3000 {
		t.Fatalf("%d of %d nodes are shallow: the test says nothing", shallow, len(nodes))
	}
}
