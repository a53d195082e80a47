package kafkaledger_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// BenchmarkPairs: a prepare with two of three verdicts, and then its confirm, from the gateway
// through the embedded broker to the host's book and back: every signature checked, every
// answer on both disks. The commands are signed beforehand.
func BenchmarkPairs(b *testing.B) {
	for _, submitters := range []int{1, 64} {
		b.Run(fmt.Sprintf("submitters=%d", submitters), func(b *testing.B) {
			s := newSite(b, embedded(b), ledgertest.NewWorld())
			commands := make([][2]*ledger.SignedCommand, b.N)
			for i := range commands {
				p := s.Payment(fmt.Sprint(i), 1, start+3600)
				commands[i] = [2]*ledger.SignedCommand{s.Prepare(p), s.Confirm(s.Bob, p)}
			}
			var next atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range submitters {
				all.Go(func() {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						for _, c := range commands[i] {
							if _, err := s.gateway.Submit(b.Context(), c); err != nil {
								b.Error(err)
							}
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
			if a := s.audit(); a.Events != 2*int64(b.N) {
				b.Errorf("%d events of %d pairs", a.Events, b.N)
			}
		})
	}
}
