package store

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxPage is the most names or messages that one call returns.
const maxPage = 10_000

// Event is one fact in a stream. Its stream's owner gives kind and body their meaning.
type Event struct {
	// Sequence counts from 1 in each stream, without gap. Append sets it.
	Sequence int64
	// Kind is a name: 1 to 255 bytes of printable ASCII without space.
	Kind string
	// Body is opaque.
	Body []byte
}

// Append adds events to the end of a stream, whose last sequence must be expected (0 for a
// stream that does not exist). Otherwise it writes nothing and returns ErrConflict, after
// which the transaction is still usable. The events' own Sequence fields are not read.
func (t *Tx) Append(stream string, expected int64, events ...Event) error {
	if err := named(stream); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	for _, e := range events {
		if err := named(e.Kind); err != nil {
			return fmt.Errorf("append to %s: kind: %w", stream, err)
		}
	}
	for i, e := range events {
		sequence := expected + int64(i) + 1
		query, args := insertEvent, []any{stream, sequence, e.Kind, bytes(e.Body)}
		switch {
		case i > 0: // the one before is in
		case sequence == 1:
			query = insertFirst
		default:
			query, args = insertNext, append(args, expected)
		}
		n, err := t.Exec(query, args...)
		if err != nil {
			return fmt.Errorf("append to %s: %w", stream, err)
		}
		if n == 0 {
			return fmt.Errorf("append to %s after %d: %w", stream, expected, ErrConflict)
		}
	}
	return nil
}

// How an event is inserted: after one that is there; the first, whose number may be taken; and any other,
// whose number may be taken, and before which there may be a gap. The breach of the primary key would on
// PostgreSQL be the end of the transaction.
const (
	insertEvent = `INSERT INTO events (stream, sequence, kind, body) VALUES ($1, $2, $3, $4)`
	insertFirst = insertEvent + ` ON CONFLICT DO NOTHING`
	insertNext  = `INSERT INTO events (stream, sequence, kind, body) SELECT $1, $2, $3, $4
		WHERE EXISTS (SELECT 1 FROM events WHERE stream = $1 AND sequence = $5) ON CONFLICT DO NOTHING`
)

// Load returns the events of a stream that follow sequence after, oldest first; none for a
// stream that does not exist.
func (r *Reader) Load(stream string, after int64) ([]Event, error) {
	if err := named(stream); err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	var events []Event
	for row := range r.Query(`SELECT sequence, kind, body FROM events
		WHERE stream = $1 AND sequence > $2 ORDER BY sequence`, stream, after) {
		var e Event
		if err := row.Scan(&e.Sequence, &e.Kind, &e.Body); err != nil {
			return nil, fmt.Errorf("load %s: %w", stream, err)
		}
		e.Body = bytes(e.Body)
		events = append(events, e)
	}
	return events, nil
}

// Last is the sequence of the last event of a stream: 0 for one that does not exist.
func (r *Reader) Last(stream string) (int64, error) {
	if err := named(stream); err != nil {
		return 0, fmt.Errorf("last: %w", err)
	}
	var last int64
	err := r.QueryRow("SELECT COALESCE(MAX(sequence), 0) FROM events WHERE stream = $1", stream).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("last of %s: %w", stream, err)
	}
	return last, nil
}

// Streams lists streams whose names begin with prefix and follow after, in the order of
// their bytes, at most limit (at most 10,000). "" stands for any prefix and for the
// beginning.
func (r *Reader) Streams(prefix, after string, limit int) ([]string, error) {
	if !printable(prefix) || !printable(after) {
		return nil, fmt.Errorf("streams %.40q after %.40q: %w", prefix, after, ErrValue)
	}
	var streams []string
	for row := range r.Query(`SELECT stream FROM events
		WHERE sequence = 1 AND stream >= $1 AND stream < $2 AND stream > $3
		ORDER BY stream LIMIT $4`, prefix, prefix+"\x7f", after, clampPage(limit)) {
		var stream string
		if err := row.Scan(&stream); err != nil {
			return nil, fmt.Errorf("streams %q: %w", prefix, err)
		}
		streams = append(streams, stream)
	}
	return streams, nil
}

func clampPage(limit int) int { return max(0, min(limit, maxPage)) }

// Get returns the record of that name, or nil if there is none. A record that was Put with
// no bytes is empty, not nil.
func (r *Reader) Get(name string) ([]byte, error) {
	if err := named(name); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	var value []byte
	err := r.QueryRow("SELECT value FROM records WHERE name = $1", name).Scan(&value)
	if errors.Is(err, ErrNoRow) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return bytes(value), nil
}

// Put sets the record of that name: a small value of this process alone, such as a persisted
// clock. What has a history belongs into a stream.
func (t *Tx) Put(name string, value []byte) error {
	if err := named(name); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	_, err := t.Exec(`INSERT INTO records (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, bytes(value))
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

// Count adds one to the counter in the record of that name and returns it; the first is 1. A
// record that is no counter is ErrMisuse: to begin again would give numbers out twice.
func (t *Tx) Count(name string) (uint64, error) {
	b, err := t.Get(name)
	if err != nil {
		return 0, err
	}
	var n uint64
	switch len(b) {
	case 0:
		if b != nil {
			return 0, fmt.Errorf("count %s: empty record: %w", name, ErrMisuse)
		}
	case 8:
		n = binary.BigEndian.Uint64(b)
	default:
		return 0, fmt.Errorf("count %s: record of %d bytes: %w", name, len(b), ErrMisuse)
	}
	n++
	return n, t.Put(name, binary.BigEndian.AppendUint64(nil, n))
}
