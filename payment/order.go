package payment

import (
	"context"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
)

// orderStream is the log of what was ordered to be put into a channel, and of its close.
func orderStream(id channels.ID) string { return "funding/" + id.String() }

// The kinds of its events.
const (
	orderedFund    = "fund"
	orderedRelease = "release"
	orderedClose   = "close"
)

// ordered is what of a channel's orders the chain does not show yet.
type ordered struct {
	fundings []funding // above the chain's count, in its order
	waits    error     // why the chain does not take the first of them
	release  release   // the last one of this bank's, whatever has become of it
	closing  bool
}

// ordered loads what goes on after a start: done is the chain's count of the bank's fundings.
func (s *Tellers) ordered(ctx context.Context, id channels.ID, done uint64) (o ordered, err error) {
	err = s.Store.View(ctx, func(r *store.Reader) error {
		stored, err := r.Load(orderStream(id), 0)
		if err != nil {
			return err
		}
		o = ordered{}
		for _, e := range stored {
			switch e.Kind {
			case orderedClose:
				o.closing = true
			case orderedRelease:
				o.release, err = decodeRelease(e.Body)
			default:
				var f funding
				if f, err = decodeFunding(e.Body); err == nil && f.Number > done {
					o.fundings = append(o.fundings, f)
				}
			}
			if err != nil {
				return fmt.Errorf("%s, event %d: %w", orderStream(id), e.Sequence, err)
			}
		}
		return nil
	})
	return o, err
}

// Order does what an operator wants of a channel, in the background. A funding and a close are kept until
// the chain has them: where the other bank does not agree to close in time, this bank closes alone. A
// release is asked for once, and may happen until its time is over: until then, and if a release of its
// number has happened, its key stands for it; after that the same request asks again. Of one that is refused
// at once nothing is kept, nor of its key.
func (s *Tellers) Order(
	ctx context.Context, id channels.ID, o Order, raw []byte, key string,
) (replayed bool, err error) {
	if _, err := s.Channel(ctx, id); err != nil {
		return false, err
	}
	if key, err = checkKey("order/", key); err != nil {
		return false, err
	}
	t, in := s.teller(id), tellerInput{reply: make(chan error, 1)}
	if t == nil {
		return false, refuse(channels.T0.Code(), "ED06", "T0: the channel is not open yet", nil)
	}
	switch o := o.(type) {
	case FundOrder:
		in.fund = &funding{Amount: o.Amount}
	case ReleaseOrder:
		in.release = &releaseOrder{release: release{Amount: o.Amount}, key: key, raw: raw}
		err := t.await(ctx, in)
		return err == nil && in.release.replayed, err
	case CloseOrder:
		in.close = true
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		replayed = false
		stream, _, err := standingUnder(tx, key, raw)
		if err != nil {
			return err
		}
		if stream != "" {
			replayed = true
			return nil
		}
		switch {
		case in.fund != nil:
			err = t.order(tx, in.fund)
		case in.close:
			err = t.orderClose(tx)
		}
		if err != nil {
			return err
		}
		return standUnder(tx, key, raw, orderStream(id), 1)
	})
	if err != nil || replayed {
		return replayed, err
	}
	return false, t.await(ctx, in)
}

// await tells the teller something and waits for its answer.
func (t *teller) await(ctx context.Context, in tellerInput) error {
	t.tell(in)
	select {
	case err := <-in.reply:
		return err
	case <-t.ended:
		return connector.ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// orderClose keeps that the channel is to be closed.
func (t *teller) orderClose(tx *store.Tx) error {
	stored, err := tx.Load(orderStream(t.id), 0)
	if err != nil {
		return err
	}
	return tx.Append(orderStream(t.id), int64(len(stored)), store.Event{Kind: orderedClose})
}

// order numbers a funding and keeps it.
func (t *teller) order(tx *store.Tx, f *funding) error {
	stored, err := tx.Load(orderStream(t.id), 0)
	if err != nil {
		return err
	}
	shown := t.shown.Load()
	f.Number = shown.Fundings[t.own] + 1
	held := cypherlink.Amount(max(0, shown.Funds[t.own])) // and what is to come
	for _, e := range stored {
		if e.Kind == orderedClose {
			return refuse(channels.T1.Code(), "ED06", "T1: the channel is to be closed", nil)
		}
		if e.Kind == orderedRelease {
			continue
		}
		before, err := decodeFunding(e.Body)
		if err != nil {
			return err
		}
		f.Number = max(f.Number, before.Number+1)
		if before.Number > shown.Fundings[t.own] {
			if held, err = held.Add(before.Amount); err != nil {
				return err
			}
		}
	}
	if _, err := held.Add(f.Amount); err != nil {
		// the chain never takes it, and none after it
		return refuse(channels.T1.Code(), "AM02", "T1: no side of a channel holds that much", err)
	}
	return tx.Append(orderStream(t.id), int64(len(stored)), store.Event{Kind: orderedFund, Body: f.encode()})
}
