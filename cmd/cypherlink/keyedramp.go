package main

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// crossingWithin is how long a crossing may take to leave its ledger before it lapses.
const crossingWithin = 10 * time.Minute

const crossingKeyDomain wire.Domain = "cypherlink/crossing-key/v1"

// keyedRamp begins crossings of an institution's own money under idempotency keys, between its two
// accounts of number zero. It implements api.Crossings. A key's crossing has a nonce that is made of
// the key, so the crossing itself is what is kept of the key.
type keyedRamp struct {
	ramp *connector.Ramp
	mu   sync.Mutex // one key begins one crossing
}

// Cross implements api.Crossings.
func (c *keyedRamp) Cross(
	ctx context.Context, asset cypherlink.Asset, amount cypherlink.Amount, key string,
) (ledger.Crossing, connector.Stage, bool, error) {
	x := ledger.Crossing{
		Owner: c.ramp.Signer.ID(), Asset: asset, Amount: amount, Nonce: nonceOf(c.ramp.Signer.ID(), key),
		Expiry: time.Now().Add(crossingWithin).Unix(),
	}
	if c.ramp.To[asset] == "" {
		return x, 0, false, &cypherlink.Error{
			Code: payment.CodeRoute, Reason: "AM03", Pointer: "/asset",
			Message: "the asset neither backs one on the chain nor is backed",
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first, stage, err := c.under(ctx, x.Nonce)
	switch {
	case err != nil:
		return x, 0, false, err
	case stage == 0:
		err = c.ramp.Begin(ctx, x)
		if errors.Is(err, connector.ErrCrossings) {
			err = &cypherlink.Error{
				Code: api.CodeCrossings, Reason: "AM23", Err: err,
				Message: "too many crossings are open: wait until one of them has ended",
			}
		}
		return x, connector.Leaving, false, err
	case first.Asset != asset || first.Amount != amount:
		return x, 0, false, &cypherlink.Error{
			Code: payment.CodeKeyReused, Reason: "DU01",
			Message: "the idempotency key was used for another asset or amount",
		}
	}
	return first, stage, true, nil
}

// Crossing implements api.Crossings.
func (c *keyedRamp) Crossing(
	ctx context.Context, id ledger.CrossingID,
) (ledger.Crossing, connector.Stage, error) {
	x, stage, err := c.ramp.Crossing(ctx, id)
	if err == nil && stage == 0 {
		err = &cypherlink.Error{
			Code: api.CodeNoCrossing, Message: "this institution has no such crossing",
		}
	}
	return x, stage, err
}

// under is the crossing with a nonce, whichever ledger it leaves; the stage is zero if there is none.
func (c *keyedRamp) under(ctx context.Context, nonce uint64) (ledger.Crossing, connector.Stage, error) {
	for asset := range c.ramp.To {
		id := (&ledger.Crossing{Owner: c.ramp.Signer.ID(), Asset: asset, Nonce: nonce}).ID(c.ramp.Network)
		if x, stage, err := c.ramp.Crossing(ctx, id); err != nil || stage != 0 {
			return x, stage, err
		}
	}
	return ledger.Crossing{}, 0, nil
}

// nonceOf is an owner's nonce for a key.
func nonceOf(owner cypherlink.ParticipantID, key string) uint64 {
	sum := wire.Sum(crossingKeyDomain, append(owner[:], key...))
	return binary.BigEndian.Uint64(sum[:8])
}
