package member_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/ledger"
)

// Whole custodies with every signature, two verdicts, execution and fsync of four members in
// one process over TLS; one operation is one command that became final.
func BenchmarkFinality(b *testing.B) {
	for _, inFlight := range []int{1, 32, 512} {
		for _, approved := range []bool{false, true} {
			b.Run(fmt.Sprintf("in_flight=%d/verdicts=%t", inFlight, approved), func(b *testing.B) {
				benchmarkFinality(b, inFlight, approved)
			})
		}
	}
}

func benchmarkFinality(b *testing.B, inFlight int, approved bool) {
	w := found(b, quick())
	w.startAll()
	load := member.Load{InFlight: inFlight, Pair: w.pair(approved)}
	for i := range w.runs {
		load.Clients = append(load.Clients, w.client(i))
	}
	w.settle(load.Clients[0], w.World.Prepare(w.payment("warm up")))
	before := w.runs[0].Metrics()
	b.ResetTimer()
	r, err := load.Run(b.Context(), (b.N+1)/2)
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	after := w.runs[0].Metrics()
	b.ReportMetric(r.PerSecond(), "tx/s")
	b.ReportMetric(float64(after.Blocks-before.Blocks)/r.Elapsed.Seconds(), "blocks/s")
	b.ReportMetric(float64(r.Latency.Quantile(50)), "p50-ms")
	b.ReportMetric(float64(r.Latency.Quantile(99)), "p99-ms")
}

// Empty blocks as fast as four members in one process make them final: what consensus costs
// without anything to decide. One operation is one block.
func BenchmarkEmptyBlocks(b *testing.B) {
	w := found(b, discover(b, func(f *chain.GenesisFile) {
		f.KeyBlock.IdleMS, f.KeyBlock.MaxBaseMS = 1, 1000
	}))
	w.startAll()
	from := w.settle(w.client(0), w.World.Prepare(w.payment("warm up")))
	b.ResetTimer()
	for height := from; height < from+uint64(b.N); {
		blocks, err := fetch(w.client(0), height+1, patience)
		if err != nil || len(blocks.Blocks) == 0 {
			b.Fatal(err)
		}
		height += uint64(len(blocks.Blocks))
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
	f := w.runs[0].Metrics().Finality
	b.ReportMetric(float64(f.Quantile(50)), "p50-ms")
	b.ReportMetric(float64(f.Quantile(99)), "p99-ms")
}

// pair makes custodies of one minor unit.
func (w *town) pair(approved bool) func(int) (prepare, confirm *ledger.SignedCommand) {
	expiry := time.Now().Add(time.Hour).Unix()
	return func(i int) (prepare, confirm *ledger.SignedCommand) {
		p := w.World.Payment(fmt.Sprint("custody ", i), 1, expiry)
		if approved {
			return w.World.Prepare(p), w.World.Confirm(w.World.Bob, p)
		}
		p.Subject.Fields.Asset = w.World.Free
		prepare = w.World.Sign(w.World.Alice, &ledger.Prepare{Subject: p.Subject, Packet: p.Packet})
		return prepare, w.World.Confirm(w.World.Bob, p)
	}
}
