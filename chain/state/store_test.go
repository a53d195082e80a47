package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
)

// stores are all the implementations of Store, each empty.
func stores(t testing.TB) map[string]state.Store {
	t.Helper()
	p, err := state.OpenPebble(t.TempDir(), options(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return map[string]state.Store{"memory": state.NewMemory(), "pebble": p}
}

func TestStore(t *testing.T) {
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) { checkStore(t, s) })
	}
}

func checkStore(t *testing.T, s state.Store) {
	model, round := map[string][]byte{}, 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		var writes []state.Write
		for range rapid.IntRange(0, 10).Draw(t, "writes") {
			key := []byte(rapid.StringMatching(`[abc]{1,3}`).Draw(t, "key"))
			values := [][]byte{nil, {}, {byte(round)}, []byte("long value")}
			value := rapid.SampledFrom(values).Draw(t, "value")
			writes = append(writes, state.Write{Key: key, Value: value})
			if value == nil {
				delete(model, string(key))
			} else {
				model[string(key)] = value
			}
		}
		if err := s.Write(writes); err != nil {
			t.Fatal(err)
		}
		key := rapid.StringMatching(`[abc]{1,3}`).Draw(t, "asked")
		want, there := model[key]
		got, ok, err := s.Get([]byte(key))
		if err != nil || ok != there || !bytes.Equal(got, want) {
			t.Fatalf("%s is %q, %t, %v; want %q, %t", key, got, ok, err, want, there)
		}
		from := rapid.StringMatching(`[abc]{1,3}`).Draw(t, "from")
		to := rapid.StringMatching(`[abcd]{1,3}`).Draw(t, "to")
		limit := rapid.IntRange(1, 30).Draw(t, "limit")
		var keys, scanned []string
		for k := range model {
			if from <= k && k < to {
				keys = append(keys, k)
			}
		}
		slices.Sort(keys)
		err = s.Scan([]byte(from), []byte(to), func(k, v []byte) bool {
			if !bytes.Equal(v, model[string(k)]) {
				t.Fatalf("scan has %q under %q", v, k)
			}
			scanned = append(scanned, string(k))
			return len(scanned) < limit
		})
		if err != nil || !slices.Equal(scanned, keys[:min(limit, len(keys))]) {
			t.Fatalf("scan from %q to %q gives %q, want %q: %v", from, to, scanned, keys, err)
		}
	})
}

// What Get returns is the caller's.
func TestStoreGivesCopies(t *testing.T) {
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			value := []byte("value")
			if err := s.Write([]state.Write{{Key: []byte("k"), Value: value}}); err != nil {
				t.Fatal(err)
			}
			value[0] = 'x'
			got, _, err := s.Get([]byte("k"))
			if err != nil || string(got) != "value" {
				t.Fatalf("%q, %v", got, err)
			}
			got[0] = 'y'
			if again, _, _ := s.Get([]byte("k")); string(again) != "value" {
				t.Fatalf("%q", again)
			}
		})
	}
}

// damaged is a store in which one entry has another value than was written.
type damaged struct {
	state.Store
	key, value []byte
}

func (d damaged) Get(key []byte) ([]byte, bool, error) {
	if bytes.Equal(key, d.key) {
		return d.value, d.value != nil, nil
	}
	return d.Store.Get(key)
}

func TestOpenFindsDamage(t *testing.T) {
	store := state.NewMemory()
	f := weave(t, store)
	w := f.World
	for i := range 5 {
		f.block(t, int64(i+1), w.Prepare(w.Payment(fmt.Sprint(i), 1, start+900)))
	}
	if s := open(t, store, f.Network); s.Header() != f.Header() || s.Sequence() != 5 {
		t.Fatal("the store has another tip")
	}
	height := func(h byte) []byte { return []byte{'b', 0, 0, 0, 0, 0, 0, 0, h} }
	feed := func(level, index byte) []byte { return []byte{'f', level, 0, 0, 0, 0, 0, 0, 0, index} }
	root := f.Header().Roots.State
	tests := []struct {
		name string
		key  []byte
		edit func(b []byte) []byte
	}{
		{"the tip cut short", []byte{'t'}, func(b []byte) []byte { return b[:len(b)-1] }},
		{"another network in the tip", []byte{'t'}, flip(0)},
		{"another parent in the tip", []byte{'t'}, flip(8 + 100)},
		{"another state root in the tip's header", []byte{'t'}, flip(8 + 228)},
		{"another root node in the tip", []byte{'t'}, flip(8 + chain.HeaderSize + 9)},
		{"the last block missing", height(5), gone},
		{"another last block", height(5), flip(100)},
		{"a block before missing", height(3), gone},
		{"another block before", height(3), flip(100)},
		{"a block cut short", height(3), func(b []byte) []byte { return b[:9] }},
		{"another genesis block", height(0), flip(60)},
		{"the root node missing", append([]byte{'n'}, root[:]...), gone},
		{"another root node", append([]byte{'n'}, root[:]...), flip(3)},
		{"a node of the feed missing", feed(2, 0), gone},
		{"another node of the feed", feed(2, 0), flip(5)},
		{"the last node of the feed missing", feed(0, 4), gone},
		{"a node of the feed cut short", feed(0, 4), func(b []byte) []byte { return b[:31] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			value, ok, err := store.Get(tt.key)
			if err != nil || !ok {
				t.Fatalf("nothing to damage: %v", err)
			}
			_, err = state.Open(damaged{store, tt.key, tt.edit(value)}, f.Network.Genesis)
			if !errors.Is(err, state.ErrStore) {
				t.Fatalf("opened: %v", err)
			}
		})
	}
	t.Run("the store of another network", func(t *testing.T) {
		other := chaintest.New(t, func(g *chain.GenesisFile) { g.Scheme = "another" })
		if _, err := state.Open(store, other.Genesis); !errors.Is(err, state.ErrStore) {
			t.Fatalf("opened: %v", err)
		}
	})
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] ^= 1
		return b
	}
}

func gone([]byte) []byte { return nil }

// Damage that Open does not look at is found when it is met.
func TestDamageIsFoundWhenMet(t *testing.T) {
	store := state.NewMemory()
	f := weave(t, store)
	w := f.World
	p := w.Payment("one", 1, start+900)
	f.block(t, 1, w.Prepare(p))
	id := w.ID(p)
	for name, key := range map[string][]byte{
		"custody": append([]byte{'s'}, state.CustodyKey(id)...),
		"receipt": append([]byte{'r'}, id[:]...),
		"event":   {'e', 0, 0, 0, 0, 0, 0, 0, 0},
		"proof":   {'p', 0, 0, 0, 0, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			value, ok, err := store.Get(key)
			if err != nil || !ok {
				t.Fatalf("nothing to damage: %v", err)
			}
			if name == "proof" {
				if err := store.Write([]state.Write{{Key: key, Value: value[:len(value)-1]}}); err != nil {
					t.Fatal(err)
				}
			}
			s := open(t, damaged{store, key, value[:len(value)-1]}, f.Network)
			err = errors.Join(
				errOf(s.LatestEvent(cypherlink.Hash(id))), errOf(s.EventAt(0)), errOf(s.ProofFrom(1)),
				errOf(s.Prove(state.CustodyKey(id))),
			)
			if !errors.Is(err, state.ErrRecord) {
				t.Fatalf("goes unnoticed: %v", err)
			}
		})
	}
}

func errOf[T any](_ T, err error) error { return err }
