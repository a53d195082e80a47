package payment

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// witnessLag bounds the events that a start reads again.
const witnessLag = 256

// follow reads a venue's events and gives those of open outgoing payments to them. Its
// cursor is stored behind what the payments have stored.
func (c *Connect) follow(ctx context.Context, feed string, l ledger.Ledger) error {
	w := &witness{connect: c, topic: "witness/" + feed}
	if err := w.load(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		for event, err := range l.Events(ctx, w.at) {
			if err != nil {
				if ctx.Err() == nil {
					c.Log.WarnContext(ctx, "events break off", slog.String("feed", feed),
						slog.String("cause", err.Error()))
				}
				break
			}
			if err := w.see(ctx, event); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.Bank.Patience.Resend):
		}
	}
	return nil
}

// witness is how far a Connect has read one ledger's events.
type witness struct {
	connect *Connect
	topic   string
	at      ledger.Cursor
	stored  ledger.Cursor
	open    sync.WaitGroup // receipts that payments have not stored yet
}

func (w *witness) load(ctx context.Context) error {
	return w.connect.Store.View(ctx, func(r *store.Reader) error {
		at, err := r.Offset(w.topic, 0)
		w.at = ledger.Cursor(at) //nolint:gosec // not negative
		w.stored = w.at
		return err
	})
}

// see passes on an event, and now and then stores how far it has read.
func (w *witness) see(ctx context.Context, event ledger.Event) error {
	c := w.connect
	c.mu.Lock()
	l := c.byCustody[event.Receipt.Custody.ID]
	c.mu.Unlock()
	if l != nil {
		w.open.Add(1)
		l.tell(note{inputs: []Input{Seen{event.Receipt}}, taken: w.open.Done})
	}
	w.at = event.Cursor
	if w.at < w.stored+witnessLag {
		return nil
	}
	w.open.Wait()
	if stopping := ctx.Err(); stopping != nil || c.failed.Load() {
		return nil //nolint:nilerr // no failure here: some receipts may not be stored, so the cursor stays
	}
	err := c.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.SetOffset(w.topic, 0, int64(w.at)) //nolint:gosec // counts events
	})
	if err == nil {
		w.stored = w.at
	}
	return err
}
