package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
)

// plainRoot is the state root by the definition alone, without sharing: the oracle of tree.
func plainRoot(entries map[string]string) cypherlink.Hash {
	if len(entries) == 0 {
		return sha256.Sum256(nil)
	}
	keys := slices.Collect(maps.Keys(entries))
	if len(keys) == 1 {
		length := []byte{0, 0, 0, byte(len(keys[0]))}
		return sha256.Sum256(slices.Concat([]byte{0}, length, []byte(keys[0]), []byte(entries[keys[0]])))
	}
	for bit := range 256 {
		sides := [2]map[string]string{{}, {}}
		for k, v := range entries {
			sum := sha256.Sum256([]byte(k))
			sides[sum[bit/8]>>(7-bit%8)&1][k] = v
		}
		if len(sides[0]) > 0 && len(sides[1]) > 0 {
			left, right := plainRoot(sides[0]), plainRoot(sides[1])
			return sha256.Sum256(slices.Concat([]byte{1, byte(bit)}, left[:], right[:]))
		}
	}
	panic("two keys with one hash")
}

// shelf is a store of nodes that keeps what the current tree needs and nothing else.
type shelf map[cypherlink.Hash][]byte

func (s shelf) node(hash cypherlink.Hash) ([]byte, error) {
	record, ok := s[hash]
	if !ok {
		return nil, ErrTree
	}
	return record, nil
}

func (s shelf) write(t rapid.TB, u *update) {
	for _, hash := range u.stale {
		if _, ok := s[hash]; !ok {
			t.Fatalf("stale node %s is not stored", hash)
		}
		delete(s, hash)
	}
	for _, n := range u.fresh {
		if _, ok := s[n.hash]; ok {
			t.Fatalf("fresh node %s is stored already", n.hash)
		}
		s[n.hash] = encodeNode(n)
	}
}

// cut is a root whose children have to be read in again.
func cut(root *node) *node {
	if root == nil {
		return nil
	}
	stub := *root
	stub.left, stub.right = nil, nil
	return &stub
}

func sorted(writes map[string][]byte) []change {
	changes := make([]change, 0, len(writes))
	for key, value := range writes {
		changes = append(changes, newChange([]byte(key), value))
	}
	slices.SortFunc(changes, func(a, b change) int { return bytes.Compare(a.path[:], b.path[:]) })
	return changes
}

func applyAll(t rapid.TB, root *node, nodes nodeReader, writes map[string][]byte) (*node, *update) {
	u := &update{nodes: nodes}
	root, err := u.apply(root, sorted(writes))
	if err != nil {
		t.Fatal(err)
	}
	return root, u
}

func TestTreeIsTheMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want, nodes := map[string]string{}, shelf{}
		var root *node
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			writes := map[string][]byte{}
			for range rapid.IntRange(0, 24).Draw(t, "writes") {
				key := fmt.Sprint("key ", rapid.IntRange(0, 60).Draw(t, "key"))
				if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
					writes[key] = nil
					delete(want, key)
				} else {
					value := fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "value"))
					writes[key], want[key] = []byte(value), value
				}
			}
			next, u := applyAll(t, root, nodes, writes)
			if rootHash(root) != plainOf(t, root, nodes) {
				t.Fatal("the old tree changed")
			}
			nodes.write(t, u)
			if root = next; rapid.Bool().Draw(t, "cut") {
				root = cut(root)
			}
			if rootHash(root) != plainRoot(want) {
				t.Fatalf("root %s, want %s for %v", rootHash(root), plainRoot(want), want)
			}
			if len(want) > 0 && len(nodes) != len(want)-1 {
				t.Fatalf("%d entries keep %d nodes", len(want), len(nodes))
			}
		}
		checkProofs(t, root, nodes, want)
	})
}

// plainOf hashes the whole tree under root again.
func plainOf(t rapid.TB, n *node, nodes nodeReader) cypherlink.Hash {
	if n == nil || n.leaf() {
		return rootHash(n)
	}
	left, right, err := children(n, nodes)
	if err != nil {
		t.Fatal(err)
	}
	return nodeHash(uint8(n.bit), plainOf(t, left, nodes), plainOf(t, right, nodes))
}

func checkProofs(t rapid.TB, root *node, nodes nodeReader, want map[string]string) {
	for i := range 64 {
		key := fmt.Sprint("key ", i)
		p := prove(t, root, nodes, key, want)
		value, ok, err := p.Verify(rootHash(root), []byte(key))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if stored, there := want[key]; ok != there || string(value) != stored {
			t.Fatalf("%s is %q, %t; proof says %q, %t", key, stored, there, value, ok)
		}
	}
}

func prove(t rapid.TB, root *node, nodes nodeReader, key string, entries map[string]string) *Proof {
	leaf, steps, err := search(root, sha256.Sum256([]byte(key)), nodes)
	if err != nil {
		t.Fatal(err)
	}
	if leaf == nil {
		return &Proof{}
	}
	return &Proof{Key: leaf.key, Value: []byte(entries[string(leaf.key)]), Steps: steps}
}

func TestRootDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfNDistinct(rapid.StringN(1, 20, 40), 1, 40, rapid.ID[string]).Draw(t, "keys")
		all := map[string][]byte{}
		for _, k := range keys {
			all[k] = []byte(k)
		}
		once, _ := applyAll(t, nil, shelf{}, all)
		var oneByOne *node
		for _, k := range rapid.Permutation(keys).Draw(t, "order") {
			oneByOne, _ = applyAll(t, oneByOne, shelf{}, map[string][]byte{k: all[k]})
		}
		if rootHash(once) != rootHash(oneByOne) {
			t.Fatal("the root depends on the order of insertion")
		}
		for _, k := range rapid.Permutation(keys).Draw(t, "removal") {
			oneByOne, _ = applyAll(t, oneByOne, shelf{}, map[string][]byte{k: nil})
		}
		if oneByOne != nil {
			t.Fatal("something is left after everything is removed")
		}
	})
}

func TestEveryByteOfAProofCounts(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 40} {
		entries, writes := map[string]string{}, map[string][]byte{}
		for i := range n {
			key := fmt.Sprint("key ", 2*i)
			entries[key], writes[key] = "value", []byte("value")
		}
		root, _ := applyAll(t, nil, shelf{}, writes)
		for i := range 16 {
			key := fmt.Sprint("key ", i)
			encoded := prove(t, root, shelf{}, key, entries).Encode()
			if _, err := DecodeProof(encoded); err != nil {
				t.Fatal(err)
			}
			for at := range encoded {
				for _, x := range []byte{1, 0x80, 0xff} {
					bad := slices.Clone(encoded)
					bad[at] ^= x
					p, err := DecodeProof(bad)
					if err == nil {
						_, _, err = p.Verify(rootHash(root), []byte(key))
					}
					if !errors.Is(err, ErrProof) {
						t.Fatalf("%d entries, %s: byte %d ^ %#x passes: %v", n, key, at, x, err)
					}
				}
			}
			p, _ := DecodeProof(encoded)
			if _, _, err := p.Verify(sha256.Sum256([]byte("other")), []byte(key)); !errors.Is(err, ErrProof) {
				t.Fatalf("another root passes: %v", err)
			}
		}
	}
}

// A present key cannot be shown to be absent by the proof of another key.
func TestProofOfAnotherKey(t *testing.T) {
	entries, writes := map[string]string{}, map[string][]byte{}
	for i := range 50 {
		key := fmt.Sprint("key ", i)
		entries[key], writes[key] = "value", []byte("value")
	}
	root, _ := applyAll(t, nil, shelf{}, writes)
	for i := range 50 {
		for j := range 60 {
			p := prove(t, root, shelf{}, fmt.Sprint("key ", j), entries)
			value, ok, err := p.Verify(rootHash(root), fmt.Append(nil, "key ", i))
			if err == nil && (!ok || string(value) != "value") {
				t.Fatalf("the proof for key %d shows that key %d is absent", j, i)
			}
		}
	}
}

func TestLeafIsInjective(t *testing.T) {
	if leafHash([]byte("ab"), []byte("c")) == leafHash([]byte("a"), []byte("bc")) {
		t.Fatal("the border between key and value does not count")
	}
}

func TestDamagedNodesAreFound(t *testing.T) {
	nodes := shelf{}
	root, u := applyAll(t, nil, nodes, map[string][]byte{"a": {1}, "b": {2}, "c": {3}, "d": {4}})
	nodes.write(t, u)
	for hash, record := range nodes {
		for name, bad := range map[string][]byte{
			"a byte of a hash":   append([]byte{record[0] ^ 1}, record[1:]...),
			"a record cut short": record[:len(record)-1], "no record": nil,
		} {
			damaged := maps.Clone(nodes)
			if damaged[hash] = bad; bad == nil {
				delete(damaged, hash)
			}
			found := false
			for _, key := range []string{"a", "b", "c", "d"} {
				_, _, err := search(cut(root), sha256.Sum256([]byte(key)), damaged)
				found = found || errors.Is(err, ErrTree)
				u := &update{nodes: damaged}
				_, err = u.apply(cut(root), sorted(map[string][]byte{key: {9}}))
				if err != nil && !errors.Is(err, ErrTree) {
					t.Fatal(err)
				}
			}
			if !found {
				t.Fatalf("%s goes unnoticed", name)
			}
		}
	}
}

// treeVectors are published: an implementation in another language starts here.
type treeVectors struct {
	Comment string       `json:"comment"`
	Trees   []treeVector `json:"trees"`
}

type treeVector struct {
	Name    string     `json:"name"`
	Entries []entryHex `json:"entries"`
	Root    string     `json:"root"`
	Proofs  []proofHex `json:"proofs"`
}

type entryHex struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type proofHex struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
	Proof string  `json:"proof"`
}

func rewrite() bool {
	return flag.Lookup("rewrite") != nil && flag.Lookup("rewrite").Value.String() == "true"
}

var _ = flag.Bool("rewrite", false, "write the vectors anew")

const vectorFile = "testdata/tree.json"

func makeVectors(t *testing.T) treeVectors {
	v := treeVectors{Comment: "State trees of docs/state-tree.md: entries, root, and a proof for keys " +
		"that are there and keys that are not (value null). All bytes in hexadecimal."}
	for _, n := range []int{0, 1, 2, 3, 8, 100} {
		entries, writes := map[string]string{}, map[string][]byte{}
		row := treeVector{Name: fmt.Sprint(n, " entries"), Entries: []entryHex{}}
		for i := range n {
			key, value := fmt.Sprint("key ", i), fmt.Sprint("value ", i*i)
			entries[key], writes[key] = value, []byte(value)
			row.Entries = append(row.Entries, entryHex{hexOf(key), hexOf(value)})
		}
		root, _ := applyAll(t, nil, shelf{}, writes)
		row.Root = rootHash(root).String()
		for _, i := range []int{0, 2, n} {
			key := fmt.Sprint("key ", i)
			p := proofHex{
				Key: hexOf(key), Proof: hex.EncodeToString(prove(t, root, shelf{}, key, entries).Encode()),
			}
			if value, ok := entries[key]; ok {
				value = hexOf(value)
				p.Value = &value
			}
			row.Proofs = append(row.Proofs, p)
		}
		v.Trees = append(v.Trees, row)
	}
	return v
}

func hexOf(s string) string { return hex.EncodeToString([]byte(s)) }

func TestVectors(t *testing.T) {
	if rewrite() {
		b, err := json.MarshalIndent(makeVectors(t), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v treeVectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Trees) < 6 {
		t.Fatal("vectors are missing")
	}
	for _, row := range v.Trees {
		t.Run(row.Name, func(t *testing.T) { checkVector(t, row) })
	}
}

func checkVector(t *testing.T, row treeVector) {
	entries, writes := map[string]string{}, map[string][]byte{}
	for _, e := range row.Entries {
		key, value := unhex(t, e.Key), unhex(t, e.Value)
		entries[string(key)], writes[string(key)] = string(value), value
	}
	root, _ := applyAll(t, nil, shelf{}, writes)
	if rootHash(root).String() != row.Root || plainRoot(entries).String() != row.Root {
		t.Fatalf("root %s, want %s", rootHash(root), row.Root)
	}
	for _, want := range row.Proofs {
		p, err := DecodeProof(unhex(t, want.Proof))
		if err != nil {
			t.Fatal(err)
		}
		key := unhex(t, want.Key)
		value, ok, err := p.Verify(rootHash(root), key)
		if err != nil || ok != (want.Value != nil) || ok && hexOf(string(value)) != *want.Value {
			t.Fatalf("%s: %q, %t, %v", key, value, ok, err)
		}
		got := prove(t, root, shelf{}, string(key), entries).Encode()
		if !bytes.Equal(got, unhex(t, want.Proof)) {
			t.Fatalf("%s: another proof", key)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzDecodeProof(f *testing.F) {
	writes := map[string][]byte{}
	entries := map[string]string{}
	for i := range 9 {
		key := fmt.Sprint("key ", i)
		entries[key], writes[key] = "v", []byte("v")
	}
	root, _ := applyAll(f, nil, shelf{}, writes)
	for _, key := range []string{"key 3", "absent"} {
		f.Add(prove(f, root, shelf{}, key, entries).Encode(), []byte(key))
	}
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte("x"))
	f.Fuzz(func(t *testing.T, b, key []byte) {
		p, err := DecodeProof(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Encode(), b) {
			t.Fatalf("%x encodes as %x", b, p.Encode())
		}
		value, ok, err := p.Verify(rootHash(root), key)
		want, there := entries[string(key)]
		if err == nil && (ok != there || string(value) != want) {
			t.Fatalf("%q: a forged proof passes", key)
		}
	})
}

func BenchmarkTree(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			writes := make(map[string][]byte, n)
			for i := range n {
				writes[fmt.Sprint("key ", i)] = []byte("value")
			}
			root, _ := applyAll(b, nil, shelf{}, writes)
			round := 0
			for b.Loop() {
				b.StopTimer()
				round++
				some := make(map[string][]byte, 4000)
				for i := range 4000 {
					some[fmt.Sprint("key ", (i*7919+round*104729)%n)] = fmt.Append(nil, "value ", round)
				}
				changes := sorted(some)
				b.StartTimer()
				u := &update{nodes: shelf{}}
				if _, err := u.apply(root, changes); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(u.fresh)), "nodes")
			}
		})
	}
}
