package member_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

func TestFourMembersMakeCommandsFinal(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	p := w.payment("one")
	prepare := w.World.Prepare(p)
	prepared := w.settle(w.client(0), prepare)
	confirmed := w.settle(w.client(2), w.World.Confirm(w.World.Bob, p))
	if prepared == 0 || confirmed <= prepared {
		t.Fatalf("prepared at %d, confirmed at %d", prepared, confirmed)
	}
	for i := range w.runs {
		c := w.client(i)
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

// A transaction ends the idle leader's wait, whichever member it is brought to.
func TestATransactionDoesNotWaitForTheIdleInterval(t *testing.T) {
	w := found(t, discover(t, func(f *chain.GenesisFile) {
		f.KeyBlock.IdleMS, f.KeyBlock.MinExpiryS = chain.MaxWait, 900
	}))
	w.startAll()
	expiry := time.Now().Add(time.Hour).Unix()
	for i := range w.runs {
		w.settle(w.client(i), w.World.Prepare(w.World.Payment(fmt.Sprint(i), 1, expiry)))
	}
}

// With one member gone for good a rotation costs a timeout, and the chain goes on.
func TestALeaderThatStopsCostsATimeout(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	c := w.client(0)
	w.settle(c, w.World.Prepare(w.payment("before")))
	w.stop(3)
	for i := range chaintest.Members { // each of the others leads in between
		w.settle(c, w.World.Prepare(w.payment(fmt.Sprint("after ", i))))
	}
	if m := w.runs[0].Metrics(); m.Timeouts == 0 {
		t.Fatalf("no timeout: %+v", m)
	}
}

// Without a quorum nothing becomes final, and the members say so. What they hold is completed
// when the others come back.
func TestWithoutAQuorumNothingIsFinal(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	c := w.client(0)
	w.settle(c, w.World.Prepare(w.payment("before")))
	w.stop(2)
	w.stop(3)
	prepare := w.World.Prepare(w.payment("during"))
	o, err := submit(c, 500*time.Millisecond, prepare)
	if err != nil || o.Status != follow.Pending {
		t.Fatalf("outcome %+v, %v", o, err)
	}
	if o, err = submit(c, 0, prepare); err != nil || o.Status != follow.Pending {
		t.Fatalf("asked again: %+v, %v", o, err)
	}
	size := len(state.NewTransaction(state.Command{Signed: prepare}).Encode())
	if m := w.runs[0].Metrics(); m.Pool != 1 || m.PoolBytes != size {
		t.Fatalf("%d transactions, %d bytes wait, once %d", m.Pool, m.PoolBytes, size)
	}
	w.start(2)
	if height := w.settle(c, prepare); height == 0 {
		t.Fatal("final without a block")
	}
	w.start(3)
	w.eventually("the last one catches up", func() bool {
		return w.runs[3].Metrics().Height >= w.runs[0].Metrics().Height
	})
	w.eventually("no pool holds it any more", func() bool {
		return w.runs[0].Metrics().Pool+w.runs[1].Metrics().Pool == 0
	})
}

// What all have voted for and none has made final survives when all stop at once (I3).
func TestAllStopAtOnce(t *testing.T) {
	w := found(t, quick())
	for round := range 3 {
		w.startAll()
		for i := range w.runs {
			w.settle(w.client(i), w.World.Prepare(w.payment(fmt.Sprint(round, " ", i))))
		}
		for i := range w.runs {
			w.stop(i)
		}
	}
}

func TestRefusals(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	c := w.client(1)
	good := w.payment("good")
	w.settle(c, w.World.Prepare(good))
	forged := w.World.Prepare(w.payment("forged"))
	forged.Signature[3] ^= 1
	bare := w.World.Prepare(w.payment("bare"))
	bare.Command.(*ledger.Prepare).Verdicts = nil
	ledgertest.Resign(w.World.Alice, bare)
	wrong := good
	wrong.Preimage[0] ^= 1
	tests := []struct {
		name    string
		command *ledger.SignedCommand
		code    cypherlink.Code
	}{
		{"a signature that is not the signer's", forged, ledger.CodeSignature},
		{"no verdict", bare, ledger.CodeNotApproved},
		{"a stranger", w.World.Confirm(w.World.Stranger, good), ledger.CodeUnknownSigner},
		{"a wrong preimage", w.World.Confirm(w.World.Bob, wrong), ledger.CodePreimage},
		{
			"a custody that is not there",
			w.World.Confirm(w.World.Bob, w.payment("unknown")), ledger.CodeUnknownCustody,
		},
		{
			"more than the account holds",
			w.World.Prepare(w.World.Payment("much", 1<<40, time.Now().Add(time.Hour).Unix())),
			ledger.CodeFunds,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, err := submit(c, patience, tt.command)
			if err != nil || o.Status != follow.Refused || o.Refusal.Code != tt.code {
				t.Fatalf("outcome %+v, %v", o, err)
			}
		})
	}
	if m := w.runs[1].Metrics(); m.Pool != 0 || m.Refused < uint64(len(tests)) {
		t.Fatalf("%d in the pool, %d refused", m.Pool, m.Refused)
	}
}

// Of two commands that exclude each other one becomes final, and the other's submitter hears
// of it although it was taken at first.
func TestTwoCommandsThatExcludeEachOther(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	half := ledgertest.Opening/2 + 1
	expiry := time.Now().Add(time.Hour).Unix()
	outcomes := make(chan follow.Outcome, 2)
	for i := range 2 {
		c := w.client(i)
		command := w.World.Prepare(w.World.Payment(fmt.Sprint("half ", i), half, expiry))
		go func() {
			o, err := submit(c, patience, command)
			if err != nil {
				t.Error(err)
			}
			outcomes <- o
		}()
	}
	a, b := <-outcomes, <-outcomes
	if a.Status == follow.Refused {
		a, b = b, a
	}
	if a.Status != follow.Final || b.Status != follow.Refused || b.Refusal.Code != ledger.CodeFunds {
		t.Fatalf("%+v and %+v", a, b)
	}
	w.eventually("the pools are empty", func() bool {
		for _, r := range w.runs {
			if r.Metrics().Pool > 0 {
				return false
			}
		}
		return true
	})
}

// A follower asks once and is answered when the block is final.
func TestFetchWaitsForTheNextBlock(t *testing.T) {
	w := found(t, discover(t, func(f *chain.GenesisFile) { f.KeyBlock.IdleMS = 400 }))
	w.startAll()
	c := w.client(3)
	first, err := fetch(c, 1, patience)
	if err != nil || len(first.Blocks) == 0 || first.Head == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	next := first.Head + 1
	more, err := fetch(c, next, patience)
	if err != nil || len(more.Blocks) == 0 || more.Blocks[0].Block.Header.Height != next {
		t.Fatalf("%+v, %v", more, err)
	}
	none, err := fetch(c, next+1000, 0)
	if err != nil || len(none.Blocks) > 0 || none.Head < next {
		t.Fatalf("%+v, %v", none, err)
	}
	began := time.Now()
	if none, err = fetch(c, next+1000, 100*time.Millisecond); err != nil || len(none.Blocks) > 0 {
		t.Fatalf("%+v, %v", none, err)
	}
	if time.Since(began) < 100*time.Millisecond {
		t.Fatal("the member did not wait")
	}
}

// What a participant fetches passes his own verification, from the genesis on.
func TestAFollowerKeepsUp(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	var height uint64
	for i := range 3 {
		height = w.settle(w.client(i), w.World.Prepare(w.payment(fmt.Sprint(i))))
	}
	s, err := state.Open(state.NewMemory(), w.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	c := w.client(0)
	for s.Header().Height < height {
		blocks, err := fetch(c, s.Header().Height+1, patience)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks.Blocks {
			if h, err := w.Committee.VerifyFinality(b.Proof); err != nil || h != b.Block.Header {
				t.Fatal(err)
			}
			v, err := s.Execute(s.Final(), b.Block.Header, b.Block.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Commit(v, state.Final{Block: b.Block, Proof: b.Proof}); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, _, err := s.Balance(ledgertest.Account(w.World.Alice), w.World.Asset)
	if err != nil || got != ledgertest.Opening-3 {
		t.Fatalf("Alice holds %d, %v", got, err)
	}
}

// A member whose safety record cannot be written stops at once.
func TestAMemberWithoutItsRecordStops(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	w.settle(w.client(0), w.World.Prepare(w.payment("before")))
	w.runs[3].broken = true
	if err := w.runs[3].BreakSafety(); err != nil {
		t.Fatal(err)
	}
	w.eventually("it answers no more", func() bool {
		o, err := submit(w.client(3), time.Second, w.World.Prepare(w.payment(fmt.Sprint(time.Now()))))
		return err != nil && o.Status == 0
	})
	w.settle(w.client(0), w.World.Prepare(w.payment("after")))
	w.stop(3)
}

// clock is the members' clock, as far ahead of time as a test says.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// startAt starts members that live by c.
func (w *town) startAt(c *clock, members ...int) {
	w.t.Helper()
	for _, i := range members {
		o := w.options(i)
		o.Now = c.now
		w.startWith(i, o)
	}
}

// What was taken and then expired, while nothing became final, is refused by the first block
// of a later time.
func TestWhatExpiresInThePoolIsRefused(t *testing.T) {
	w := found(t, quick())
	var c clock
	w.startAt(&c, 0, 1, 2)
	w.settle(w.client(0), w.World.Prepare(w.payment("before")))
	w.stop(2)
	soon := w.World.Payment("soon", 1, c.now().Add(20*time.Second).Unix())
	told := make(chan follow.Outcome, 1)
	go func() {
		o, err := submit(w.client(0), patience, w.World.Prepare(soon))
		if err != nil {
			t.Error(err)
		}
		told <- o
	}()
	w.eventually("it is in the pool", func() bool { return w.runs[0].Metrics().Pool == 1 })
	c.ahead.Store(int64(time.Minute))
	w.startAt(&c, 2)
	if o := <-told; o.Status != follow.Refused || o.Refusal.Code != ledger.CodeExpiry {
		t.Fatalf("%+v", o)
	}
	b, err := fetch(w.client(0), w.runs[0].Metrics().Height, patience)
	if err != nil || len(b.Blocks) == 0 {
		t.Fatal(err)
	}
	if at := b.Blocks[0].Block.Header.TimeMS; at < time.Now().Add(30*time.Second).UnixMilli() {
		t.Fatalf("a block of %s", time.UnixMilli(at))
	}
}

// An answer holds some 256 KiB of blocks and one block at least.
func TestAnswersAreBounded(t *testing.T) {
	w := found(t, quick())
	w.startAll()
	for i := range 10 {
		p := w.payment(fmt.Sprint("large ", i))
		p.Packet = make([]byte, ledger.MaxPacket)
		w.settle(w.client(0), w.World.Prepare(p))
	}
	from, answers := uint64(1), 0
	for head := from; from <= head; answers++ {
		b, err := fetch(w.client(0), from, 0)
		if err != nil || len(b.Blocks) == 0 {
			t.Fatal(err)
		}
		size := 0
		for _, f := range b.Blocks {
			size += f.Block.Payload.Size()
		}
		if size > 256<<10 && len(b.Blocks) > 1 {
			t.Fatalf("%d blocks of %d bytes", len(b.Blocks), size)
		}
		head, from = b.Head, from+uint64(len(b.Blocks))
	}
	if answers < 2 {
		t.Fatalf("330 KiB in %d answer", answers)
	}
}
