package main

import (
	"context"
	"sync/atomic"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/payment"
)

// hush makes a bank silent in its channels while it is set: it neither hears nor says anything there,
// and does everything else.
type hush struct{ atomic.Bool }

// hushed is what a bank that is silent asks through.
type hushed struct {
	hush  *hush
	inner payment.Peers
}

func (h *hush) peers(p payment.Peers) payment.Peers { return hushed{h, p} }

// Call implements payment.Peers.
func (p hushed) Call(
	ctx context.Context, to cypherlink.ParticipantID, kind uint8, body []byte,
) ([]byte, error) {
	if kind == payment.KindLane && p.hush.Load() {
		return nil, errSilent
	}
	return p.inner.Call(ctx, to, kind, body)
}

func (h *hush) answer(a answer) answer {
	return func(ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error) {
		if kind == payment.KindLane && h.Load() {
			return nil, errSilent
		}
		return a(ctx, from, kind, body)
	}
}
