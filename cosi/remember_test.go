package cosi

import (
	"slices"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink"
)

func TestAMemoryKeepsTheLaterHalf(t *testing.T) {
	m := memory{size: 1 << 10}
	hash := func(i int) []cypherlink.Hash { return []cypherlink.Hash{{byte(i), byte(i >> 8), byte(i >> 16)}} }
	known := func(i int) bool { return len(m.unknown(hash(i))) == 0 }
	for i := range 3 * m.size {
		m.add(hash(i), []int{0})
		if !known(i) || len(m.newer) > m.size || len(m.older) > m.size {
			t.Fatalf("after %d: %d and %d", i, len(m.newer), len(m.older))
		}
	}
	if known(0) || !known(2*m.size) {
		t.Fatal("it keeps the wrong half")
	}
}

// What was wrong is never remembered, whoever asks and however often.
func TestAMemoryOfWhatIsRightAlone(t *testing.T) {
	m := memory{size: 1 << 10}
	batch := []IdentitySignature{{Frame: Frame{Type: Command}}, {Frame: Frame{Type: Verdict}}}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 10 {
				if got := m.verify(batch); !slices.Equal(got, []int{0, 1}) {
					t.Errorf("wrong are %v", got)
				}
			}
		})
	}
	all.Wait()
	if len(m.newer) > 0 {
		t.Errorf("%d remembered", len(m.newer))
	}
}
