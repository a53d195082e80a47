package chainledger_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// onRamp runs a test on a fabric at height 1 whose chain has a ramp.
func onRamp(t *testing.T, test func(f *fabric, r *ledgertest.Ramp)) {
	t.Helper()
	n, ramp := chaintest.NewRamp(t)
	bubble(t, func(t *testing.T) *fabric { return weaveOn(t, n) }, func(f *fabric) { test(f, ramp) })
}

// cross gives a command a minute.
func (f *fabric) cross(c *ledger.SignedCommand) (ledger.Passage, error) {
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	defer cancel()
	return f.ledger.Cross(ctx, c)
}

// credit is the Enter of a deposit that the operator recorded.
func credit(r *ledgertest.Ramp, x ledger.Crossing) *ledger.SignedCommand {
	return r.Enter(r.Alice, x, r.Record(x, 1, (start+1)*1000).Encode())
}

func TestCrossWaitsForTheBlock(t *testing.T) {
	onRamp(t, func(f *fabric, r *ledgertest.Ramp) {
		verifier, err := follow.NewVerifier(f.Genesis)
		if err != nil {
			f.t.Fatal(err)
		}
		in, out := r.Deposit(1, 10_000, start+600), r.Burn(1, 4_000, start+600)
		for i, c := range []*ledger.SignedCommand{credit(r, in), r.Leave(r.Alice, out)} {
			time.AfterFunc(20*time.Second, func() { f.block(int64(21+i), c) })
			p, err := f.cross(c)
			if err != nil || p.Sequence != uint64(i)+1 || p.Left() != (i == 1) {
				f.t.Fatalf("%+v, %v", p, err)
			}
			if told, err := verifier.Passage(p.Evidence); err != nil || !reflect.DeepEqual(told, p) {
				f.t.Fatalf("%+v, its evidence says %+v, %v", p, told, err)
			}
			// what has passed is answered at once, although no member can be asked, by another signature too
			f.say(down, down, down, down)
			again := *c
			again.Sequence = 99
			ledgertest.Resign(r.Alice, &again)
			if p2, err := f.cross(&again); err != nil || !reflect.DeepEqual(p2, p) {
				f.t.Fatalf("%+v, %v", p2, err)
			}
			f.say(pending, pending, pending, pending)
		}
	})
}

func TestCrossIsRefused(t *testing.T) {
	onRamp(t, func(f *fabric, r *ledgertest.Ramp) {
		in := r.Deposit(1, 10_000, start+600)
		leave := r.Leave(r.Alice, r.Burn(1, 4_000, start+600))
		f.say(refuses(ledger.CodeFunds, 1), down, down, down)
		if _, err := f.cross(leave); !errors.Is(err, context.DeadlineExceeded) {
			f.t.Errorf("one member refuses it: %v", err)
		}
		f.say(refuses(ledger.CodeFunds, 1), refuses(ledger.CodeFunds, 1), down, down)
		if _, err := f.cross(leave); code(err) != ledger.CodeFunds {
			f.t.Errorf("two members refuse it: %v", err)
		}
		forged := credit(r, in)
		forged.Command = &ledger.Enter{Crossing: in, Evidence: []byte("no record")}
		ledgertest.Resign(r.Alice, forged)
		if _, err := f.cross(forged); code(err) != ledger.CodeEvidence {
			f.t.Errorf("without evidence: %v", err)
		}
		f.block(2, credit(r, in))
		other := in
		other.To++
		differs := refuses(ledger.CodeCrossingDiffers, 99)
		f.say(differs, differs, down, down)
		if _, err := f.cross(credit(r, other)); code(err) != ledger.CodeCrossingDiffers {
			f.t.Errorf("another one under an id that has passed: %v", err)
		}
		p := r.Payment("one", 1, start+600)
		if _, err := f.cross(r.Prepare(p)); code(err) != ledger.CodeMalformed {
			f.t.Errorf("a custody: %v", err)
		}
		if _, err := f.submit(leave); code(err) != ledger.CodeMalformed {
			f.t.Errorf("a crossing that is submitted: %v", err)
		}
		none := &ledger.SignedCommand{}
		if _, err := f.cross(none); code(err) != ledger.CodeMalformed {
			f.t.Errorf("no command: %v", err)
		}
	})
}

// That a crossing never leaves is said by the time of a final block alone: members' clocks may be
// ahead, and one of their blocks may still be in time.
func TestLapsedByBlockTimeAlone(t *testing.T) {
	onRamp(t, func(f *fabric, r *ledgertest.Ramp) {
		lapsed := refuses(ledger.CodeLapsed, 99)
		f.block(2, credit(r, r.Deposit(1, 10_000, start+600)))
		c := r.Leave(r.Alice, r.Burn(1, 4_000, start+30))
		f.say(lapsed, lapsed, lapsed, lapsed)
		time.AfterFunc(20*time.Second, func() { f.block(29, c) })
		if p, err := f.cross(c); err != nil || p.TimeMS != (start+29)*1000 {
			f.t.Errorf("in time, although all members say that it has lapsed: %+v, %v", p, err)
		}
		late := r.Leave(r.Alice, r.Burn(2, 4_000, start+40))
		f.say(pending, pending, pending, pending)
		time.AfterFunc(10*time.Second, func() { f.block(39) })
		began := time.Now()
		time.AfterFunc(20*time.Second, func() { f.block(40) })
		if _, err := f.cross(late); code(err) != ledger.CodeLapsed || time.Since(began) < 20*time.Second {
			f.t.Errorf("%v after %s", err, time.Since(began))
		}
		// what has left stays, whatever the time is; what comes in never lapses
		if _, err := f.cross(c); err != nil {
			f.t.Error(err)
		}
		in := r.Deposit(2, 5, start+5)
		enter := r.Enter(r.Alice, in, r.Record(in, 1, (start+4)*1000).Encode())
		time.AfterFunc(10*time.Second, func() { f.block(50, enter) })
		if _, err := f.cross(enter); err != nil {
			f.t.Error(err)
		}
	})
}

// Both directions over a chain that makes a block of every command at once, many times at once.
func TestManyCross(t *testing.T) {
	n, r := chaintest.NewRamp(t)
	v := &village{fabric: weaveOn(t, n), nowMS: chaintest.Start + 1000}
	for _, m := range v.members {
		m.judge = v.judge
	}
	stop := v.follow()
	defer stop()
	v.advance(time.Second)
	var all sync.WaitGroup
	for nonce := range uint64(6) {
		for range 3 {
			all.Go(func() {
				in, out := r.Deposit(nonce, 100, start+600), r.Burn(nonce, 100, start+600)
				for _, c := range []*ledger.SignedCommand{credit(r, in), r.Leave(r.Alice, out)} {
					if _, err := v.cross(c); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	// a block's crossings have passed in the store before the follower tells its header
	reach(t, v.follower, v.now().UnixMilli())
	if got, ok, err := v.follower.Balance(ledgertest.Account(r.Alice), r.Claim); got != 0 || !ok || err != nil {
		t.Errorf("Alice has %d, %v, %v", got, ok, err)
	}
	if size := v.follower.Head().Roots.FeedSize; size != 12 {
		t.Errorf("%d events", size)
	}
}
