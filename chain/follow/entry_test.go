package follow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/merkle"
)

// holds reports what is wrong with an entry for whoever has the genesis alone.
func holds(c *committee, e follow.Entry) error {
	h, err := c.Committee.VerifyFinality(e.Finality)
	if err != nil {
		return err
	}
	if h.Height < e.Event.Height {
		return fmt.Errorf("proved by block %d, before its own", h.Height)
	}
	leaf := merkle.Leaf(e.Event.Encode())
	return merkle.VerifyInclusion(leaf, e.Index, h.Roots.FeedSize, e.Path, h.Roots.Feed)
}

// Entries and the blocks that prove them come in the order of the feed, also while blocks come
// several at once, of which the last alone has a proof.
func TestEntries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		w := c.World
		for i := range 9 {
			c.block(t, int64(i+1), w.Prepare(w.Payment(fmt.Sprint(i), 1, start+900)))
		}
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		last := uint64(0)
		for i := range uint64(9) { // some before their block is here
			reach(t, f, i+1)
			e, err := f.Entry(t.Context(), i)
			if err == nil {
				err = holds(c, e)
			}
			if err != nil || e.Index != i || e.Event.Height != i+1 {
				t.Fatalf("entry %d: %+v, %v", i, e, err)
			}
			p, err := f.Finality(t.Context(), i+1)
			if err != nil || p.Headers[0] != e.Finality.Headers[0] || p.Headers[0].Height < last {
				t.Fatalf("height %d: %v", i+1, err)
			}
			last = p.Headers[0].Height
		}
		if _, err := f.Entry(t.Context(), 9); !errors.Is(err, state.ErrUnknown) {
			t.Error(err)
		}
		if _, err := f.Finality(t.Context(), 10); !errors.Is(err, state.ErrUnknown) {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Nothing proves the block of height zero before there is another one.
func TestFinalityWaits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		f, _ := following(t, c.options(state.NewMemory(), c.honest()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := f.Finality(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		c.block(t, 1)
		if p, err := f.Finality(t.Context(), 0); err != nil || p.Headers[0].Height != 1 {
			t.Fatal(err)
		}
	})
}
