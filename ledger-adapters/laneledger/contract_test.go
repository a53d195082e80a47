package laneledger_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/payment"
)

// both is the channel as one ledger: each command is handed in where it belongs, and is done when both
// ends have it; what is told is what one end tells.
type both struct {
	*strait
	teller ledgertest.Actor
}

// Submit hands Bob's commands in at his end, and everybody else's at Alice's.
func (b both) Submit(ctx context.Context, c *ledger.SignedCommand) (ledger.Receipt, error) {
	at := b.world.Alice
	if c.Signer == b.world.Bob.ID {
		at = b.world.Bob
	}
	r, err := b.end(at).ledger.Submit(ctx, c)
	if err != nil {
		return r, err
	}
	for _, other := range []ledgertest.Actor{b.world.Alice, b.world.Bob} {
		b.eventually("both ends have it", func() bool {
			told, err := b.end(other).ledger.Lookup(ctx, r.Custody.ID)
			return err == nil && told.Custody.State == r.Custody.State || ctx.Err() != nil
		})
	}
	return b.Lookup(ctx, r.Custody.ID)
}

func (b both) Lookup(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	return b.end(b.teller).ledger.Lookup(ctx, id)
}

func (b both) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return b.end(b.teller).ledger.Events(ctx, after)
}

// balance is what an actor can pay, once what was decided is written in the lanes too.
func (b both) balance(account cypherlink.Account, _ cypherlink.Asset) (cypherlink.Amount, error) {
	w := b.world
	if account.Owner == w.Mallory.ID {
		amount, _, err := b.chain.Balance(ledgertest.Account(w.Mallory), w.Asset)
		return amount, err
	}
	var free map[cypherlink.ParticipantID]cypherlink.Amount
	b.eventually("the lanes have what was decided", func() bool {
		held := cypherlink.Amount(0)
		events, err := b.end(b.teller).connect.Tellers.Locks().Events(context.Background(), 0, 10_000)
		if err != nil {
			b.Error(err)
		}
		for _, e := range events {
			if e.Last.State == ledger.Prepared {
				held += e.Content().Subject.Fields.Amount
			} else {
				held -= e.Content().Subject.Fields.Amount
			}
		}
		free = map[cypherlink.ParticipantID]cypherlink.Amount{}
		for _, of := range []ledgertest.Actor{w.Alice, w.Bob} {
			ch, err := b.end(of).connect.Tellers.Channel(context.Background(), b.id)
			if err != nil {
				b.Error(err)
			}
			free[of.ID] = ch.Free
			held += ch.Free
		}
		return held == 2*ledgertest.Opening
	})
	return free[account.Owner], nil
}

func (b both) harness() ledgertest.Harness {
	verifier := &payment.LaneVerifier{
		Network: b.world.Network, Ledger: b.world.Ledger, Roll: b.chain.Registry(),
	}
	return ledgertest.Harness{
		Ledger: b, Now: b.now, Advance: b.advance, Balance: b.balance,
		Margin: b.lanes.LagS + b.lanes.InclusionS,
		Check: func(r ledger.Receipt) error {
			f, err := verifier.Verify(r.Evidence)
			switch {
			case err != nil:
				return err
			case !reflect.DeepEqual(f.Receipt, r):
				return errors.New("the receipt is not what its evidence says")
			case f.Bank != b.teller.ID:
				return fmt.Errorf("it is the word of %s", f.Bank)
			case r.Custody.State == ledger.Prepared && f.Proved == nil:
				return errors.New("nothing proves the lock")
			}
			return nil
		},
		Restart: func() ledger.Ledger {
			b.stop()
			b.start(b.world.Alice)
			b.start(b.world.Bob)
			b.seen(0)
			return b
		},
	}
}

// A channel keeps the contract of a ledger, as its payer tells it and as its payee does.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(*ledgertest.World) ledgertest.Actor{
		"told by the payer": func(w *ledgertest.World) ledgertest.Actor { return w.Alice },
		"told by the payee": func(w *ledgertest.World) ledgertest.Actor { return w.Bob },
	} {
		t.Run(name, func(t *testing.T) {
			ledgertest.Run(t, func(t *testing.T, w *ledgertest.World) ledgertest.Harness {
				return both{newStrait(t, w), of(w)}.harness()
			})
		})
	}
}
