package payment

import (
	"context"
	"fmt"

	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
)

// orderStream is the log of what was ordered to be put into a channel.
func orderStream(id channels.ID) string { return "funding/" + id.String() }

// fundings are the orders to fund a channel that the chain does not show yet: above its count.
func (c *Connect) fundings(ctx context.Context, id channels.ID, done uint64) ([]funding, error) {
	var all []funding
	err := c.Store.View(ctx, func(r *store.Reader) error {
		stored, err := r.Load(orderStream(id), 0)
		if err != nil {
			return err
		}
		all = nil
		for _, e := range stored {
			f, err := decodeFunding(e.Body)
			if err != nil {
				return fmt.Errorf("%s, event %d: %w", orderStream(id), e.Sequence, err)
			}
			if f.Number > done {
				all = append(all, f)
			}
		}
		return nil
	})
	return all, err
}

// Order does what an operator wants of a channel, in the background. A funding is kept until the chain
// has it; a release and a close are tried once, and where the other bank does not agree to close, this
// bank closes alone. The refusal of a release is told.
func (c *Connect) Order(
	ctx context.Context, id channels.ID, o Order, raw []byte, key string,
) (replayed bool, err error) {
	if _, err := c.Channel(ctx, id); err != nil {
		return false, err
	}
	if key, err = checkKey("order/", key); err != nil {
		return false, err
	}
	t, in := c.teller(id), tellerInput{reply: make(chan error, 1)}
	if t == nil {
		return false, refuse(channels.T0.Code(), "ED06", "T0: the channel is not open yet", nil)
	}
	switch o := o.(type) {
	case FundOrder:
		in.fund = &funding{Amount: o.Amount}
	case ReleaseOrder:
		in.ask = channels.Release{Amount: o.Amount}
	case CloseOrder:
		in.ask, in.close = channels.Settlement{}, true
	}
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		replayed = false
		stream, _, err := standingUnder(tx, key, raw)
		if err != nil {
			return err
		}
		if stream != "" {
			replayed = true
			return nil
		}
		if in.fund != nil {
			if err := t.order(tx, in.fund); err != nil {
				return err
			}
		}
		return standUnder(tx, key, raw, orderStream(id), 1)
	})
	if err != nil || replayed {
		return replayed, err
	}
	t.tell(in)
	select {
	case err := <-in.reply:
		return false, err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// order numbers a funding and keeps it.
func (t *teller) order(tx *store.Tx, f *funding) error {
	stored, err := tx.Load(orderStream(t.id), 0)
	if err != nil {
		return err
	}
	f.Number = t.shown.Load().Fundings[t.own] + 1
	if n := len(stored); n > 0 {
		last, err := decodeFunding(stored[n-1].Body)
		if err != nil {
			return err
		}
		f.Number = max(f.Number, last.Number+1)
	}
	return tx.Append(orderStream(t.id), int64(len(stored)), store.Event{Kind: "fund", Body: f.encode()})
}
