package peer_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cypherlink/cypherlink/internal/peer"
)

// BenchmarkCall is a round trip over mutual TLS on loopback: the request and the answer have
// the same size.
func BenchmarkCall(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			_, client := pair(b, echo(b))
			body := make([]byte, size)
			call(b, client, body)
			b.SetBytes(2 * int64(size))
			b.ReportAllocs()
			for b.Loop() {
				call(b, client, body)
			}
		})
	}
}

// BenchmarkCallsInFlight has 64 callers on one connection.
func BenchmarkCallsInFlight(b *testing.B) {
	_, client := pair(b, echo(b))
	body := make([]byte, 1<<10)
	b.SetParallelism(32) // times GOMAXPROCS
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call(b, client, body)
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// BenchmarkSend is one-way messages, from the queue to the handler.
func BenchmarkSend(b *testing.B) {
	for _, size := range []int{200, 4 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			var got atomic.Int64
			all := make(chan struct{})
			_, client := pair(b, peer.Service{
				Receive: func(context.Context, peer.SPKI, uint8, []byte) {
					if got.Add(1) == int64(b.N) {
						close(all)
					}
				},
			}, peer.Class{Length: 1024})
			body := make([]byte, size)
			b.SetBytes(int64(size))
			b.ResetTimer()
			for range b.N {
				if err := client.Send(b.Context(), 0, 1, body); err != nil {
					b.Fatal(err)
				}
			}
			<-all
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkVote is what a member waits for in a mesh of four: a message to each of the three
// others, and a message back from two of them.
func BenchmarkVote(b *testing.B) {
	const others, needed = 3, 2
	back := make(chan struct{}, others)
	home := listen(b, peer.Service{
		Receive: func(context.Context, peer.SPKI, uint8, []byte) { back <- struct{}{} },
	})
	var clients []*peer.Client
	for range others {
		var reply *peer.Client
		l := listen(b, peer.Service{
			Receive: func(ctx context.Context, _ peer.SPKI, _ uint8, body []byte) {
				_ = reply.Send(ctx, 0, 1, body)
			},
		})
		reply = dial(b, home, peer.Class{Length: 64, Drop: true})
		clients = append(clients, dial(b, l, peer.Class{Length: 64, Drop: true}))
	}
	body := make([]byte, 300)
	var wg sync.WaitGroup
	defer wg.Wait()
	for b.Loop() {
		for _, c := range clients {
			if err := c.Send(b.Context(), 0, 1, body); err != nil {
				b.Fatal(err)
			}
		}
		for range needed {
			<-back
		}
		<-back // the third, so that rounds do not mix
	}
}
