package payment

import (
	"testing"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
)

// Between banks of which one is suspended nothing new begins; what is open may end.
func TestASuspendedBankBeginsNothing(t *testing.T) {
	for side := range 2 {
		v := newVote(t)
		open := v.crossing(1)
		first := v.asks(nil, open)
		v.endorsed(first)
		var err error
		if v.roll, err = v.roll.Amend(1, &chain.Suspend{ID: v.channel.Banks[side]}, 5, v.nowS); err != nil {
			t.Fatal(err)
		}
		v.refused(v.asks(first, v.crossing(2)), channels.V.Code(), "AG10")
		unlock := v.asks(first)
		unlock.Operations = []channels.Operation{channels.Unlock{Lock: v.lock(open).ID}}
		unlock.Update.Locked -= v.lock(open).Amount
		unlock.Update.Body, unlock.Update.Locks = channels.BodyRoot(unlock.Operations), channels.LockRoot(nil)
		unlock.seal()
		v.endorsed(unlock)
	}
}
