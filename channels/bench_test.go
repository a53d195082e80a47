package channels

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
)

// unanchored has the banks pay each other in turn, so often, in a channel that nobody anchors: all of it is
// bound in the end.
func unanchored(t rapid.TB, n int) {
	p := newPair(t)
	p.settle()
	for i := range n {
		pay := Pay{Amount: 1, Payment: cypherlink.UETR{6: 0x40, 8: 0x80}}
		binary.BigEndian.PutUint32(pay.Payment[:], uint32(i))
		p.order(Side(i%2), pay)
		for len(p.flying[A])+len(p.flying[B]) > 0 {
			for _, s := range []Side{A, B} {
				for len(p.flying[s]) > 0 {
					p.deliver(s, 0, false)
				}
			}
		}
		if _, locks := p.parties[A].Before(p.parties[A].own().last.Seq + 1); len(locks) > 0 {
			t.Fatal("locks are open")
		}
	}
	for _, s := range []Side{A, B} {
		if l := p.parties[s].own(); int(l.bound-l.base.Seq) != n/2 {
			t.Fatalf("%d of %d payments are bound and not anchored", l.bound-l.base.Seq, n/2)
		}
	}
}

func BenchmarkUnanchored(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				unanchored(b, n)
			}
		})
	}
}

// What a payment costs does not grow with the payments before it that nobody has anchored: ten times as many
// take ten times the memory, and not a hundred times.
func TestUnanchoredAreLinear(t *testing.T) {
	allocated := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		unanchored(t, n)
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	few, many := allocated(200), allocated(2_000)
	if many > 20*few {
		t.Errorf("200 payments take %d bytes, 2,000 take %d", few, many)
	}
}
