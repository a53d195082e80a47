package chainledger_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// The ledger keeps the contract over a chain that makes a block of every command at once.
func TestContract(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T, w *ledgertest.World) ledgertest.Harness {
		v := &village{fabric: weave(t), nowMS: chaintest.Start + 1000}
		w.Network = v.Genesis.Network()
		for _, m := range v.members {
			m.judge = v.judge
		}
		stop := v.follow()
		t.Cleanup(func() { stop() })
		v.advance(time.Second)
		verifier, err := follow.NewVerifier(v.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		return ledgertest.Harness{
			Ledger: v.ledger, Now: v.now, Advance: v.advance, Balance: balance(&v.follower),
			Check: func(r ledger.Receipt) error {
				_, err := verifier.Verify(r)
				return err
			},
			Restart: func() ledger.Ledger {
				stop()
				stop = v.follow()
				return v.ledger
			},
		}
	})
}

func balance(
	f **follow.Follower,
) func(cypherlink.Account, cypherlink.Asset) (cypherlink.Amount, error) {
	return func(a cypherlink.Account, asset cypherlink.Asset) (cypherlink.Amount, error) {
		amount, _, err := (*f).Balance(a, asset)
		return amount, err
	}
}

// village is a fabric with a clock, whose members judge as real ones do.
type village struct {
	*fabric
	turn  sync.Mutex
	nowMS int64
}

func (v *village) now() time.Time {
	v.turn.Lock()
	defer v.turn.Unlock()
	return time.UnixMilli(v.nowMS)
}

// judge makes a block of a transaction that succeeds.
func (v *village) judge(tx *state.Transaction) follow.Outcome {
	v.turn.Lock()
	defer v.turn.Unlock()
	height := v.state.Header().Height
	err := v.state.Try(v.state.Final(), v.nowMS, tx)
	if refusal, ok := errors.AsType[*cypherlink.Error](err); ok {
		return follow.Outcome{Status: follow.Refused, Height: height, Refusal: refusal}
	}
	if err == nil {
		v.nowMS = max(v.nowMS, v.state.Header().TimeMS+1)
		v.blockAt(v.nowMS, tx.Body.(state.Command).Signed)
	}
	return follow.Outcome{Status: follow.Pending}
}

// advance lets time pass and waits until the follower knows.
func (v *village) advance(d time.Duration) {
	v.t.Helper()
	v.turn.Lock()
	v.nowMS += d.Milliseconds()
	then := v.nowMS
	if then > v.state.Header().TimeMS {
		v.blockAt(then)
	}
	v.turn.Unlock()
	reach(v.t, v.follower, then)
}

// reach waits for a verified block of that time.
func reach(t testing.TB, f *follow.Follower, timeMS int64) {
	t.Helper()
	patience := time.NewTimer(time.Minute)
	defer patience.Stop()
	for {
		changed := f.Changed()
		if f.Head().TimeMS >= timeMS {
			return
		}
		select {
		case <-changed:
		case <-patience.C:
			t.Fatalf("no block of %d; the last is of %d", timeMS, f.Head().TimeMS)
		}
	}
}
