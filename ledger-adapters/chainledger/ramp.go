package chainledger

import (
	"context"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

var _ ledger.Ramp = (*Ledger)(nil)

// Cross implements ledger.Ramp. The command goes to the members as in Submit. That a crossing has
// lapsed is said when a final block's time is at or after its expiry and it has not left, not by
// members, whose clocks may be ahead of the blocks.
func (l *Ledger) Cross(ctx context.Context, command *ledger.SignedCommand) (ledger.Passage, error) {
	if err := l.charterNow().Authenticate(command)[0]; err != nil {
		return ledger.Passage{}, err
	}
	var x ledger.Crossing
	leaves := false
	switch body := command.Command.(type) {
	case *ledger.Leave:
		x, leaves = body.Crossing, true
	case *ledger.Enter:
		x = body.Crossing
	case *ledger.Prepare, *ledger.Confirm, *ledger.Return:
		return ledger.Passage{}, &cypherlink.Error{
			Code: ledger.CodeMalformed, Reason: "FF01", Message: "the command is about no crossing",
		}
	}
	id := x.ID(command.Network)
	err := l.await(ctx, command, func() (bool, error) {
		now := l.follower.Head().Seconds() // before the look at what has passed until then
		passed, ok, err := l.follower.Passed(id)
		switch {
		case err != nil:
			return false, err
		case ok:
			return passed == x, nil // of another one under the id the members say so
		case leaves && now >= x.Expiry:
			return false, &cypherlink.Error{
				Code: ledger.CodeLapsed, Reason: "TM01", Message: "the crossing has expired on the chain",
			}
		}
		return false, nil
	})
	if err != nil {
		return ledger.Passage{}, err
	}
	p, ok, err := l.follower.Passage(ctx, id)
	if err == nil && !ok {
		err = fmt.Errorf("crossing %s has passed and is gone", id)
	}
	return p, err
}
