package book_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/ledger"
)

// BenchmarkPairs: a prepare with two of three verdicts, and then its confirm, every signature
// checked, every receipt signed, every answer on disk. The commands are signed beforehand. All
// submitters pay from one account to one account.
func BenchmarkPairs(b *testing.B) {
	for _, submitters := range []int{1, 64} {
		b.Run(fmt.Sprintf("submitters=%d", submitters), func(b *testing.B) {
			storetest.Engines(b, func(b *testing.B, dsn string) {
				wipe(b, dsn)
				h := newHouse(b, dsn)
				type pair struct{ prepare, confirm *ledger.SignedCommand }
				pairs := make([]pair, b.N)
				for i := range pairs {
					p := h.Payment(fmt.Sprint(i), 1, start+3600)
					pairs[i] = pair{h.Prepare(p), h.Confirm(h.Bob, p)}
				}
				var next atomic.Int64
				var all sync.WaitGroup
				b.ResetTimer()
				for range submitters {
					all.Go(func() {
						for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
							for _, c := range []*ledger.SignedCommand{pairs[i].prepare, pairs[i].confirm} {
								if _, err := h.book.Submit(b.Context(), c); err != nil {
									b.Error(err)
								}
							}
						}
					})
				}
				all.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
				if a := h.audit(); a.Events != 2*int64(b.N) {
					b.Errorf("%d events of %d pairs", a.Events, b.N)
				}
			})
		})
	}
}
