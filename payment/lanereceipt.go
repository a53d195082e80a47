package payment

import (
	"context"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/terms"
)

// laneReceipt is the proof of a direct payment: from the terms to the final block that anchors the
// update which pays it. Until then it is CodeNoReceipt.
func (c *Connect) laneReceipt(ctx context.Context, o *Outgoing) ([]byte, error) {
	at := o.lane.last
	if at.Stage != Anchored {
		return nil, refuse(CodeNoReceipt, "", "the payment is not anchored here", nil)
	}
	channel, err := c.Tellers.Channel(ctx, at.Channel)
	if err != nil {
		return nil, err
	}
	entry, err := c.Anchors.Anchoring(ctx, at.Channel, channel.Own, at.Slot.Seq)
	if err != nil {
		return nil, err
	}
	fact, ok := entry.Event.Fact.(state.ChannelFact)
	if !ok {
		return nil, fmt.Errorf("%T: %w", entry.Event.Fact, ErrReceipt)
	}
	ops, updates, err := c.written(ctx, at, fact.Channel.Lanes[channel.Own].Head.Hash)
	if err != nil {
		return nil, err
	}
	proof, err := NewLaneProof(o.proof, o.verdicts[terms.Source], ops, updates, entry)
	if err != nil {
		return nil, err
	}
	return proof.Encode()
}

// written are the updates of the own lane from where a payment stands up to the head, by Prev, with what
// the first one does.
func (c *Connect) written(
	ctx context.Context, from Laned, head cypherlink.Hash,
) (ops []channels.Operation, updates []channels.Update, err error) {
	by := map[cypherlink.Hash]channels.Update{}
	err = c.Store.View(ctx, func(r *store.Reader) error {
		clear(by)
		stored, err := r.Load(channelStream(from.Channel), 0)
		if err != nil {
			return err
		}
		for i := range stored {
			e, err := channels.DecodeEvent(stored[i].Body)
			if err != nil {
				return fmt.Errorf("event %d: %w", stored[i].Sequence, err)
			}
			if wrote, ok := e.(channels.Wrote); ok {
				by[wrote.Entry.Update.Hash] = wrote.Entry.Update
				if wrote.Entry.Update.Hash == from.Update {
					ops = wrote.Entry.Operations
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	for at := head; ; {
		u, ok := by[at]
		if !ok {
			return nil, nil, fmt.Errorf("update %s is not in this bank's log: %w", at, ErrReceipt)
		}
		updates = append(updates, u)
		if at == from.Update {
			slices.Reverse(updates)
			return ops, updates, nil
		}
		at = u.Prev
	}
}
