package connector

import (
	"context"
	"fmt"
	"maps"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// How an engine lies in the store: each machine's log is the stream ROLE/TERMS; the table
// open_machines lists the streams of those that are not over; the offsets of events/ROLE/FEED
// are the cursors; the record command_epoch counts the starts, so that no start reuses
// another's command sequences.

const epochRecord = "command_epoch"

func (e *Engine[M]) stream(terms cypherlink.Hash) string { return e.Role + "/" + terms.String() }

func (e *Engine[M]) topic(feed string) string {
	return "events/" + e.Role + "/" + feed
}

// persist appends every log, moves the cursors on and keeps the list of open machines, in one
// commit. Nothing to write is no commit.
func (e *Engine[M]) persist(ctx context.Context, changes []change[M]) error {
	dirty := false
	for _, c := range changes {
		dirty = dirty || len(c.effects.Persist) > 0
	}
	for id, cursor := range e.cursors {
		dirty = dirty || cursor > e.stored[id]+cursorLag
	}
	if !dirty {
		return nil
	}
	err := e.Store.Update(ctx, func(tx *store.Tx) error {
		for _, c := range changes {
			if err := e.append(tx, c); err != nil {
				return err
			}
		}
		for id, cursor := range e.cursors {
			if cursor == e.stored[id] {
				continue
			}
			at := int64(cursor) //nolint:gosec // counts events
			if err := tx.SetOffset(e.topic(id), 0, at); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	maps.Copy(e.stored, e.cursors)
	return nil
}

func (e *Engine[M]) append(tx *store.Tx, c change[M]) error {
	stream := e.stream(c.entry.terms)
	events := make([]store.Event, len(c.effects.Persist))
	for i, ev := range c.effects.Persist {
		events[i] = store.Event{Kind: kindName(ev), Body: EncodeEvent(ev)}
	}
	if err := tx.Append(stream, c.before, events...); err != nil {
		return err
	}
	if c.fresh {
		if _, err := tx.Exec(`INSERT INTO open_machines (stream) VALUES ($1)`, stream); err != nil {
			return err
		}
	}
	if c.entry.machine.Over() {
		if _, err := tx.Exec(`DELETE FROM open_machines WHERE stream = $1`, stream); err != nil {
			return err
		}
	}
	return nil
}

func kindName(ev Event) string {
	switch ev.(type) {
	case Begun:
		return "begun"
	case Seen:
		return "seen"
	case Decided:
		return "decided"
	case Refused:
		return "refused"
	}
	return "event"
}

// restore loads the open machines and the cursors and takes a fresh range of command
// sequences.
func (e *Engine[M]) restore(ctx context.Context) error {
	return e.Store.Update(ctx, func(tx *store.Tx) error {
		epoch, err := tx.Count(epochRecord)
		if err != nil {
			return err
		}
		e.sequence = epoch << 32
		for feed := range e.Feeds() {
			at, err := tx.Offset(e.topic(feed), 0)
			if err != nil {
				return err
			}
			cursor := ledger.Cursor(at) //nolint:gosec // not negative
			e.cursors[feed], e.stored[feed] = cursor, cursor
		}
		var streams []string
		for row := range tx.Query(
			`SELECT stream FROM open_machines WHERE stream LIKE $1 ORDER BY stream`, e.Role+"/%") {
			var s string
			if err := row.Scan(&s); err != nil {
				return err
			}
			streams = append(streams, s)
		}
		for _, s := range streams {
			if err := e.restoreOne(tx, s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
}

func (e *Engine[M]) restoreOne(tx *store.Tx, stream string) error {
	en := &entry[M]{running: map[task]bool{}}
	if err := en.terms.UnmarshalText([]byte(stream[len(e.Role)+1:])); err != nil {
		return err
	}
	log, err := loadLog(&tx.Reader, stream)
	if err != nil {
		return err
	}
	if len(log) == 0 {
		return fmt.Errorf("an open payment without a log: %w", ErrEvent)
	}
	if en.machine, err = e.Restore(log); err != nil {
		return err
	}
	en.sequence = int64(len(log))
	if begun, ok := log[0].(Begun); ok {
		e.adopt(en, Begin(begun))
	}
	return nil
}

func loadLog(r *store.Reader, stream string) ([]Event, error) {
	stored, err := r.Load(stream, 0)
	if err != nil {
		return nil, err
	}
	log := make([]Event, len(stored))
	for i, ev := range stored {
		if log[i], err = DecodeEvent(ev.Body); err != nil {
			return nil, fmt.Errorf("event %d: %w", ev.Sequence, err)
		}
	}
	return log, nil
}

// History is the log of the machine with these terms, empty if there is none: for enquiries about
// payments that are over, and for the audit.
func (e *Engine[M]) History(ctx context.Context, terms cypherlink.Hash) ([]Event, error) {
	var log []Event
	err := e.Store.View(ctx, func(r *store.Reader) (err error) {
		log, err = loadLog(r, e.stream(terms))
		return err
	})
	return log, err
}
