package payment

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/validator"
)

// How a Connect lies in the store: each payment's log is the stream payment/UETR; the table
// open_payments lists the streams of those that are not over, idempotency_keys what was asked
// before and by how much of a stream it was answered; the offsets of witness/LEDGER are how far
// the ledgers' events were read. A Clearing's offers are the streams quote/HASH. The record
// terms_epoch counts the starts, so that no start proposes under another's sequences.

const epochRecord = "terms_epoch"

const paymentPrefix = "payment/"

func streamOf(u cypherlink.UETR) string { return paymentPrefix + u.String() }

func offerStream(quote cypherlink.Hash) string { return "quote/" + quote.String() }

// loadLog is a stream as events, empty if there is none.
func loadLog(r *store.Reader, stream string, keys validator.Keys) ([]Event, error) {
	stored, err := r.Load(stream, 0)
	if err != nil {
		return nil, err
	}
	log := make([]Event, len(stored))
	for i, e := range stored {
		if log[i], err = DecodeEvent(e.Body, keys); err != nil {
			return nil, fmt.Errorf("%s, event %d: %w", stream, e.Sequence, err)
		}
	}
	return log, nil
}

func appendEvents(tx *store.Tx, stream string, before int64, events []Event) error {
	all := make([]store.Event, len(events))
	for i, e := range events {
		all[i] = store.Event{Kind: KindName(e.Fact), Body: EncodeEvent(e)}
	}
	return tx.Append(stream, before, all...)
}

func openStream(tx *store.Tx, stream string) error {
	_, err := tx.Exec(`INSERT INTO open_payments (stream) VALUES ($1)`, stream)
	return err
}

func closeStream(tx *store.Tx, stream string) error {
	_, err := tx.Exec(`DELETE FROM open_payments WHERE stream = $1`, stream)
	return err
}

// keep stores what a step of a machine of the store said, and keeps the list of open payments: was
// tells whether the payment was on it.
func keep(tx *store.Tx, stream string, before int, was bool, m machine, e Effects) error {
	if len(e.Persist) == 0 {
		return nil
	}
	if err := appendEvents(tx, stream, int64(before), e.Persist); err != nil {
		return err
	}
	switch {
	case m.Over() && was:
		return closeStream(tx, stream)
	case !m.Over() && !was:
		return openStream(tx, stream)
	}
	return nil
}

// restore loads the payments that are not over, and takes a fresh range of sequences.
func (c *Connect) restore(ctx context.Context) ([]*live, error) {
	var open []*live
	err := c.Store.Update(ctx, func(tx *store.Tx) error {
		open = nil
		epoch, err := tx.Count(epochRecord)
		if err != nil {
			return err
		}
		c.table.epoch = epoch
		var streams []string
		for row := range tx.Query(`SELECT stream FROM open_payments ORDER BY stream`) {
			var s string
			if err := row.Scan(&s); err != nil {
				return err
			}
			streams = append(streams, s)
		}
		for _, stream := range streams {
			l, err := c.restoreOne(tx, stream)
			if err != nil {
				return fmt.Errorf("%s: %w", stream, err)
			}
			open = append(open, l)
		}
		return nil
	})
	return open, err
}

func (c *Connect) restoreOne(tx *store.Tx, stream string) (*live, error) {
	uetr, err := cypherlink.ParseUETR(strings.TrimPrefix(stream, paymentPrefix))
	if err != nil {
		return nil, err
	}
	log, err := loadLog(&tx.Reader, stream, c.Bank.Genesis)
	if err != nil {
		return nil, err
	}
	if len(log) == 0 {
		return nil, fmt.Errorf("an open payment without a log: %w", ErrEvent)
	}
	again := time.Now() // a tick says again what is wanted
	if _, incoming := log[0].Fact.(Announced); incoming {
		m, err := NewIncoming(c.Bank, log)
		if err != nil {
			return nil, err
		}
		l := newLive(uetr)
		l.announced, l.first.WakeAt = m.announced.Payer, again
		if !m.direct() { // no machine on the ledgers takes it
			l.proof = m.proof
		}
		return l, nil
	}
	m, err := NewOutgoing(c.Bank, c.Random, log)
	if err != nil {
		return nil, err
	}
	l := newOutgoingLive(uetr, m, len(log))
	l.first.WakeAt = again
	if custodies, ok := l.machine.Custodies(); ok && !l.machine.direct() {
		c.enlist(l, l.machine.drafted.Terms.Hash(), custodies[:]...)
	}
	return l, nil
}

var errNone = errors.New("no such payment")

// logOf is the log of a payment that exists; otherwise CodeUnknown.
func (c *Connect) logOf(ctx context.Context, uetr cypherlink.UETR) ([]Event, error) {
	var log []Event
	err := c.Store.View(ctx, func(r *store.Reader) (err error) {
		log, err = loadLog(r, streamOf(uetr), c.Bank.Genesis)
		return err
	})
	if err == nil && len(log) == 0 {
		return nil, refuse(CodeUnknown, "", "this bank knows no payment of that UETR", errNone)
	}
	return log, err
}
