package member_test

import (
	"testing"

	"github.com/cypherlink/cypherlink/chain/follow"
)

func TestFourMembersMakeCommandsFinal(t *testing.T) {
	w := found(t, nil)
	w.startAll()
	p := w.payment("one")
	prepare := w.World.Prepare(p)
	prepared := w.settle(w.client(w.bank, 0), prepare)
	confirmed := w.settle(w.client(w.bank, 2), w.World.Confirm(w.World.Bob, p))
	if prepared == 0 || confirmed <= prepared {
		t.Fatalf("prepared at %d, confirmed at %d", prepared, confirmed)
	}
	for i := range w.runs {
		c := w.client(w.bank, i)
		blocks, err := fetch(c, confirmed, patience)
		if err != nil || len(blocks.Blocks) == 0 {
			t.Fatalf("member %d: %d blocks, %v", i, len(blocks.Blocks), err)
		}
		b := blocks.Blocks[0]
		h, err := w.Committee.VerifyFinality(b.Proof)
		if err != nil || h != b.Block.Header || h.Height != confirmed || h.PayloadCount != 1 {
			t.Fatalf("member %d: height %d, %v", i, h.Height, err)
		}
		// Whoever asks again is answered from the state, with the custody's latest event.
		o, err := submit(c, 0, prepare)
		if err != nil || o.Status != follow.Final || o.Height != confirmed {
			t.Fatalf("member %d: repeated prepare: %+v, %v", i, o, err)
		}
	}
}
