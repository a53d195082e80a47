package bft_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain/bft"
)

// BenchmarkBlock is one block of a committee of four in one goroutine: proposal, votes, QCs
// and the safety module at all four members, the codec, and no waiting for network or disk.
func BenchmarkBlock(b *testing.B) {
	for _, bls := range []bool{true, false} {
		for _, txs := range []int{0, 400} {
			b.Run(fmt.Sprintf("bls=%t/txs=%d", bls, txs), func(b *testing.B) {
				s := newSim(b, 1, config{n: 4, real: bls})
				s.delay = func() time.Duration { return time.Millisecond }
				s.trusting = true
				s.startAll()
				for _, m := range s.members {
					m.machine.trusting = true
				}
				s.run(100 * time.Millisecond)
				i := 0
				for b.Loop() {
					i++
					for _, m := range s.members {
						m.machine.pool = nil
						for tx := range max(1, txs) {
							raw := fmt.Appendf(make([]byte, 240), "%d %d", i, tx)
							m.machine.pool = append(m.machine.pool, raw)
						}
						m.step(bft.Pool{Pending: true})
					}
					s.reaches(1, time.Minute)
				}
				b.ReportMetric(float64(s.sent)/float64(s.height()), "B/block")
			})
		}
	}
}
