package payment

import (
	"fmt"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/wire"
)

func lastEvent(r *store.Reader) (at int64, err error) {
	err = r.QueryRow(`SELECT COALESCE(MAX(sequence), 0) FROM events WHERE stream = $1`, locksStream).Scan(&at)
	return at, err
}

// eventsAfter are at most that many events of locks after a sequence.
func eventsAfter(r *store.Reader, after int64, most int) ([]LockEvent, error) {
	var all []LockEvent
	for row := range r.Query(`SELECT sequence, body FROM events
		WHERE stream = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`, locksStream, after, most) {
		var at int64
		var body []byte
		if err := row.Scan(&at, &body); err != nil {
			return nil, err
		}
		e, err := decodeLockEvent(body)
		if err != nil {
			return nil, fmt.Errorf("lock event %d: %w", at, err)
		}
		e.Sequence = uint64(at) //nolint:gosec // counts from 1
		all = append(all, e)
	}
	return all, nil
}

// tellLock appends an event of a lock whose Prepare is known.
func tellLock(tx *store.Tx, e *LockEvent) error {
	of, err := tx.Load(lockStream(e.Lock), 0)
	if err != nil {
		return err
	}
	last, err := lastEvent(&tx.Reader)
	if err != nil {
		return err
	}
	before, err := eventsAfter(&tx.Reader, last-1, 1)
	if err != nil {
		return err
	}
	if len(before) > 0 {
		e.TimeMS = max(e.TimeMS, before[0].TimeMS)
	}
	kind := e.State.String()
	if err := tx.Append(locksStream, last, store.Event{Kind: kind, Body: e.encode()}); err != nil {
		return err
	}
	return tx.Append(lockStream(e.Lock), int64(len(of)),
		store.Event{Kind: kind, Body: encodePlace(last + 1)})
}

func encodePlace(at int64) []byte {
	w := wire.NewWriter(8)
	w.I64(at)
	return w.Bytes()
}

func decodePlace(raw []byte) (at int64, err error) {
	r := wire.NewReader(raw)
	if at = r.I64(); r.Err() == nil && at < 1 {
		r.Fail(fmt.Errorf("event %d: %w", at, ErrLock))
	}
	return at, r.End()
}
