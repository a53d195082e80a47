package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
)

// BenchmarkUpdate: one event of 256 bytes and one outbox message in each Update, every
// commit on disk. The callers wait for their own outcome before they go on.
func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			storetest.Engines(b, func(b *testing.B, dsn string) {
				s := storetest.Open(b, dsn)
				body := make([]byte, 256)
				var left atomic.Int64
				left.Store(int64(b.N))
				var wg sync.WaitGroup
				b.ResetTimer()
				for caller := range callers {
					wg.Go(func() {
						stream := fmt.Sprint("s/", caller)
						for i := int64(0); left.Add(-1) >= 0; i++ {
							err := s.Update(b.Context(), func(tx *store.Tx) error {
								return errors.Join(
									tx.Append(stream, i, store.Event{Kind: "k", Body: body}),
									tx.Enqueue("q", nil, body))
							})
							if err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
			})
		})
	}
}

// BenchmarkLoad reads a stream of ten events in a View of its own.
func BenchmarkLoad(b *testing.B) {
	storetest.Engines(b, func(b *testing.B, dsn string) {
		s := storetest.Open(b, dsn)
		update(b, s, func(tx *store.Tx) error {
			return tx.Append("s", 0, make10(make([]byte, 256))...)
		})
		for b.Loop() {
			view(b, s, func(r *store.Reader) error {
				_, err := r.Load("s", 0)
				return err
			})
		}
	})
}

func make10(body []byte) (events []store.Event) {
	for range 10 {
		events = append(events, store.Event{Kind: "k", Body: body})
	}
	return events
}
