package payment

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// Money of a channel is promised once: until it is locked, or until the promise ends.
func TestEarmarks(t *testing.T) {
	playChannel(t, func(t *testing.T, w *channelWorld, a, b *Connect) {
		s := a.Tellers
		spare := func(want cypherlink.Amount) {
			t.Helper()
			if got := s.spare(w.b.id(), assetDCEP()); got != want {
				t.Errorf("%d, want %d", got, want)
			}
		}
		promise := func(name byte, amount cypherlink.Amount) bool {
			return s.earmark(cypherlink.Hash{name}, earmark{
				w.b.id(), assetDCEP(), amount, time.Now().Add(10 * time.Second),
			})
		}
		spare(0)
		if promise(1, 1) {
			t.Error("promised without a channel")
		}
		w.opened(a, b)
		spare(funds)
		if s.spare(w.clearing.id(), assetDCEP()) != 0 || s.spare(w.b.id(), assetDE()) != 0 {
			t.Error("another's channel, or another asset's")
		}
		if !promise(1, funds-10) || promise(2, 11) || !promise(3, 10) {
			t.Error("promised twice, or not at all")
		}
		spare(0)
		s.locked(channels.LockID{3})
		spare(10)
		s.assign(cypherlink.Hash{1}, channels.LockID{4})
		s.assign(cypherlink.Hash{9}, channels.LockID{5}) // of no promise
		spare(10)
		s.locked(channels.LockID{4})
		spare(funds)
		promise(6, 7)
		time.Sleep(9 * time.Second)
		spare(funds - 7)
		time.Sleep(time.Second)
		spare(funds)
	})
}
