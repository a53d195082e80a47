package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
)

// Band is how much a bank wants to have free in a channel of an asset: what is below Low is brought up to
// Target from its account on the chain, what is above High is brought down to Target. The zero Band
// leaves everything to the operator.
type Band struct{ Low, Target, High cypherlink.Amount }

// Valid reports ErrBank unless the band is zero or in order.
func (b Band) Valid() error {
	if b != (Band{}) && (b.Low < 0 || b.Target <= b.Low || b.High <= b.Target) {
		return fmt.Errorf("band %d, %d, %d: %w", b.Low, b.Target, b.High, ErrBank)
	}
	return nil
}

// rebalance moves the bank's own money between its account and its channels where a channel has left its
// band. Each movement waits for the one before.
func (s *Tellers) rebalance(ctx context.Context) error {
	s.mu.Lock()
	var all []*teller
	for _, t := range s.tellers {
		all = append(all, t)
	}
	s.mu.Unlock()
	for _, t := range all {
		band, shown := s.Lanes.Bands[t.asset], t.shown.Load()
		if band == (Band{}) || shown == nil || shown.State != channels.Opened || !shown.Synced {
			continue
		}
		var err error
		spare := s.spare(t.peer, t.asset) // what is promised stays
		switch {
		case shown.Free < band.Low:
			err = s.topUp(ctx, t, shown, band.Target-shown.Free)
		case spare > band.High:
			t.tell(tellerInput{release: &releaseOrder{release: release{Amount: spare - band.Target}}})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// topUp funds the channel with as much of the amount as the account has, unless a funding is under way.
func (s *Tellers) topUp(ctx context.Context, t *teller, shown *Channel, amount cypherlink.Amount) error {
	has, _, err := s.Chain.Balance(shown.Accounts[t.own], t.asset)
	if err != nil {
		return err
	}
	pending, err := s.ordered(ctx, t.id, shown.Fundings[t.own])
	if amount = min(amount, has); err != nil || amount <= 0 || len(pending.fundings) > 0 || pending.closing {
		return err
	}
	in := tellerInput{fund: &funding{Amount: amount}}
	err = s.Store.Update(ctx, func(tx *store.Tx) error { return t.order(tx, in.fund) })
	if _, refused := errors.AsType[*cypherlink.Error](err); refused {
		return nil // it is to be closed since
	}
	if err != nil {
		return err
	}
	t.log.InfoContext(ctx, "the channel is topped up", slog.Int64("amount", int64(amount)))
	t.tell(in)
	return nil
}
