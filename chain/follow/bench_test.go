package follow_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
)

// BenchmarkCatchUp is a follower that was away: 64 blocks in an answer, verified, executed
// and written to Pebble. One operation is one block.
func BenchmarkCatchUp(b *testing.B) {
	for _, commands := range []int{0, 20} {
		b.Run(fmt.Sprint("commands=", commands), func(b *testing.B) { catchUp(b, commands) })
	}
}

func catchUp(b *testing.B, commands int) {
	c := newCommittee(b)
	for i := range b.N {
		var prepares []*ledger.SignedCommand
		for j := range commands {
			prepares = append(prepares, c.World.Prepare(c.World.Payment(fmt.Sprint(i, j), 1, start+1<<30)))
		}
		c.block(b, int64(i+1), prepares...)
	}
	store, err := state.OpenPebble(b.TempDir(), state.PebbleOptions{Log: c.options(nil).Log})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	member := &source{name: "member", answer: func(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
		if head := uint64(len(c.blocks)); call.From <= head {
			return follow.Blocks{Head: head, Blocks: c.blocks[call.From-1 : min(head, call.From+63)]}, nil
		}
		<-ctx.Done()
		return follow.Blocks{}, ctx.Err()
	}}
	f, err := follow.Open(c.options(store, member))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	done := make(chan error, 1)
	b.ResetTimer()
	go func() { done <- f.Run(ctx) }()
	for changed := f.Changed(); f.Head().Height < uint64(b.N); changed = f.Changed() {
		<-changed
	}
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "blocks/s")
}
