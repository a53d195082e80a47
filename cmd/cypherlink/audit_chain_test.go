package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/cosi"
)

// copyOf makes a copy of a chain of empty blocks, a second each, in memory. From the height of
// the fork on every block has another time. The first three members sign, if anybody does.
func copyOf(t *testing.T, n *chaintest.Network, height, fork uint64) *replica {
	t.Helper()
	store := state.NewMemory()
	s, err := state.Open(store, n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	n.SetRoots(t, s.Header().Roots)
	qc := n.Committee.Genesis()
	for range height {
		at := s.Header().TimeMS + 1000
		if s.Header().Height+1 >= fork {
			at++
		}
		built, err := s.Build(s.Final(), s.Header().Height+1, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		block := n.Block(qc, at, built.Payload, built.Version.Roots())
		qc = chain.QC{Tuple: block.Header.Tuple(), Votes: cosi.Certificate{Bitmap: []byte{0b0111}}}
		proof := chain.FinalityProof{Headers: []chain.Header{block.Header}, QC: qc}
		if err := s.Commit(built.Version, state.Final{Block: block, Proof: proof}); err != nil {
			t.Fatal(err)
		}
	}
	return &replica{folder: fmt.Sprint("of ", height), store: store, state: s, member: -1}
}

const noFork = 1 << 62

// finds holds an error against what it should say, empty for nil.
func finds(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err == nil {
		return
	}
	if err == nil || want == "" || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestACopyIsTheBeginningOfTheLongest(t *testing.T) {
	n := chaintest.New(t, nil)
	best := copyOf(t, n, 6, noFork)
	for _, tt := range []struct {
		name string
		copy *replica
		want string
	}{
		{"the same", copyOf(t, n, 6, noFork), ""},
		{"shorter", copyOf(t, n, 3, noFork), ""},
		{"longer", copyOf(t, n, 8, noFork), "it has block 8"},
		{"shorter, with another last block", copyOf(t, n, 5, 5), "block 5 is"},
		{"as long, another one from the middle on", copyOf(t, n, 6, 3), "block 3 is"},
	} {
		t.Run(tt.name, func(t *testing.T) { finds(t, tt.copy.prefix(best), tt.want) })
	}
}

func TestAMemberHasWhatItSigned(t *testing.T) {
	n := chaintest.New(t, nil)
	best := copyOf(t, n, 6, noFork)
	hold := func(r *replica, heights ...uint64) {
		for _, h := range heights {
			block, err := best.state.BlockAt(h)
			if err != nil {
				t.Fatal(err)
			}
			id := block.Header.ID()
			write := state.Write{Key: append([]byte{spaceProposals}, id[:]...), Value: block.Encode()}
			if err := r.store.Write([]state.Write{write}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		member int
		held   []uint64
		want   string
	}{
		{"it did not sign", 3, nil, ""},
		{"it signed and stored", 1, []uint64{5, 6}, ""},
		{"it signed and lost the last but one", 1, []uint64{6}, "it ends at block 4, but the member signed block 5"},
		{"it signed and lost the last", 1, []uint64{5}, "it ends at block 4, but the member signed block 6"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := copyOf(t, n, 4, noFork)
			r.member = tt.member
			hold(r, tt.held...)
			finds(t, r.outdated(best), tt.want)
		})
	}
}

func TestEveryBlockOfACopyIsChecked(t *testing.T) {
	n := chaintest.New(t, nil)
	long := uint64(270) // state.Open itself links the last 256
	a := &audit{genesis: n.Genesis}
	other := copyOf(t, n, 5, 5)
	for _, tt := range []struct {
		name   string
		change func(b *chain.Block)
		want   string
	}{
		{"whole", func(*chain.Block) {}, ""},
		{"another block in its place", func(b *chain.Block) {
			var err error
			if *b, err = other.state.BlockAt(5); err != nil {
				t.Fatal(err)
			}
		}, "block 6: "},
		{"a transaction too many", func(b *chain.Block) {
			b.Payload = chain.Payload{[]byte("more")}
		}, "block 5: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := copyOf(t, n, long, noFork)
			block, err := r.state.BlockAt(5)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&block)
			key := append([]byte{'b'}, 0, 0, 0, 0, 0, 0, 0, 5)
			if err := r.store.Write([]state.Write{{Key: key, Value: block.Encode()}}); err != nil {
				t.Fatal(err)
			}
			if r.state, err = state.Open(r.store, n.Genesis); err != nil {
				t.Fatal(err)
			}
			finds(t, a.check(r), tt.want)
		})
	}
}
