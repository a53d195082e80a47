package terms_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/terms"
)

// BenchmarkSign is a whole batch: the proposer's part, three signatures, and the check of
// their sum.
func BenchmarkSign(b *testing.B) {
	w := newWorld(b)
	for _, n := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("terms=%d", n), func(b *testing.B) {
			all := batch(0, n).Terms
			for i := range b.N {
				p := terms.NewProposer(w.session, pace, uint64(i))
				w.submitTogether(b, p, time.Unix(1000, 0), all[:1])
				if n > 1 {
					b.StopTimer() // the batch that occupies the proposer
					p = terms.NewProposer(w.session, pace, uint64(i))
					w.submitTogether(b, p, time.Unix(1000, 0), all)
					b.StartTimer()
				}
				if e := w.answerAll(b, p, time.Unix(1000, 0), all[0].UETR); len(e.Settled) != n {
					b.Fatal(len(e.Settled))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/terms")
		})
	}
}

func BenchmarkCountersign(b *testing.B) {
	w := newWorld(b)
	key := w.keys[mainJob().Payee]
	for _, n := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("terms=%d", n), func(b *testing.B) {
			raw := batch(0, n).Encode()
			for b.Loop() {
				decoded, err := terms.DecodeBatch(raw)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.session.Countersign(decoded, key, w.agree); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkVerifyProof is the proof of one of many terms under a certificate that is known.
func BenchmarkVerifyProof(b *testing.B) {
	w := newWorld(b)
	p := w.prove(b, batch(9, 256))[100]
	for b.Loop() {
		if err := p.Verify(network, w.roster); err != nil {
			b.Fatal(err)
		}
	}
}
