package chainledger_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/ledger"
)

// BenchmarkCustodyPairs is what a bank has of the chain: Prepare with two verdicts, then
// Confirm, each answered when it is final in the bank's own follower, which has verified and
// executed the block; four members over TLS and the bank in one process, every signature,
// balance check and fsync on. One operation is one pair.
func BenchmarkCustodyPairs(b *testing.B) {
	for _, inFlight := range []int{1, 32, 256} {
		b.Run(fmt.Sprint("in_flight=", inFlight), func(b *testing.B) { custodyPairs(b, inFlight) })
	}
}

func custodyPairs(b *testing.B, inFlight int) {
	c := found(b, 1)
	c.start()
	defer c.stop()
	c.advance(0)
	var taken atomic.Int64
	var mu sync.Mutex
	var waits []time.Duration
	submit := func(command *ledger.SignedCommand) {
		began := time.Now()
		if _, err := c.ledger.Submit(b.Context(), command); err != nil {
			b.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, time.Since(began))
	}
	height := c.follower.Head().Height
	b.ResetTimer()
	var all sync.WaitGroup
	for range min(inFlight, b.N) {
		all.Go(func() {
			for i := taken.Add(1); i <= int64(b.N); i = taken.Add(1) {
				p := c.World.Payment(fmt.Sprint("pair ", i), 1, c.clock.now().Unix()+3600)
				submit(c.World.Prepare(p))
				submit(c.World.Confirm(c.World.Bob, p))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	slices.Sort(waits)
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(b.N)/seconds, "pairs/s")
	b.ReportMetric(float64(c.follower.Head().Height-height)/seconds, "blocks/s")
	b.ReportMetric(float64(waits[len(waits)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds())/1000, "p99-ms")
}
