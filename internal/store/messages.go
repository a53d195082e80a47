package store

import (
	"errors"
	"fmt"
)

// Message is an outbox row.
type Message struct {
	// ID is positive, grows in the order of commits, and is never used again.
	ID int64
	// Key orders: messages of one key must reach their receiver in the order of their IDs.
	Key []byte
	// Payload is what is to be sent.
	Payload []byte
}

// Enqueue puts a message into the outbox, to be sent after the commit.
func (t *Tx) Enqueue(queue string, key, payload []byte) error {
	if err := named(queue); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	_, err := t.Exec("INSERT INTO outbox (id, queue, key, payload) VALUES ($1, $2, $3, $4)",
		t.number(), queue, bytes(key), bytes(payload))
	if err != nil {
		return fmt.Errorf("enqueue for %s: %w", queue, err)
	}
	t.enqueued = append(t.enqueued, queue)
	return nil
}

// Pending returns the queue's oldest messages that are not done, at most limit (at most
// 10,000).
func (r *Reader) Pending(queue string, limit int) ([]Message, error) {
	if err := named(queue); err != nil {
		return nil, fmt.Errorf("pending: %w", err)
	}
	var messages []Message
	for row := range r.Query(`SELECT id, key, payload FROM outbox
		WHERE queue = $1 ORDER BY id LIMIT $2`, queue, clampPage(limit)) {
		var m Message
		if err := row.Scan(&m.ID, &m.Key, &m.Payload); err != nil {
			return nil, fmt.Errorf("pending in %s: %w", queue, err)
		}
		m.Key, m.Payload = bytes(m.Key), bytes(m.Payload)
		messages = append(messages, m)
	}
	return messages, nil
}

// Done removes a message that its receiver has. It may be repeated.
func (t *Tx) Done(id int64) error {
	if _, err := t.Exec("DELETE FROM outbox WHERE id = $1", id); err != nil {
		return fmt.Errorf("done %d: %w", id, err)
	}
	return nil
}

// Receive marks a sender's message as received and tells whether it is fresh: seen for the
// first time. What the message causes belongs into the same Update; if fresh is false, it
// has happened.
func (t *Tx) Receive(sender string, message []byte) (fresh bool, err error) {
	if err := named(sender); err != nil {
		return false, fmt.Errorf("receive: %w", err)
	}
	n, err := t.Exec("INSERT INTO inbox (sender, message) VALUES ($1, $2) ON CONFLICT DO NOTHING",
		sender, bytes(message))
	if err != nil {
		return false, fmt.Errorf("receive from %s: %w", sender, err)
	}
	return n == 1, nil
}

// Offset returns the offset of the next record to read from a partition: 0 at first.
func (r *Reader) Offset(topic string, partition int) (int64, error) {
	if err := named(topic); err != nil {
		return 0, fmt.Errorf("offset: %w", err)
	}
	var next int64
	err := r.QueryRow("SELECT next FROM offsets WHERE topic = $1 AND partition = $2",
		topic, partition).Scan(&next)
	if err != nil && !errors.Is(err, ErrNoRow) {
		return 0, fmt.Errorf("offset of %s/%d: %w", topic, partition, err)
	}
	return next, nil
}

// SetOffset sets the offset of the next record to read from a partition, in the Update that
// holds what the records before it caused. An offset never moves back: ErrConflict.
func (t *Tx) SetOffset(topic string, partition int, next int64) error {
	if err := named(topic); err != nil {
		return fmt.Errorf("set offset: %w", err)
	}
	n, err := t.Exec(`INSERT INTO offsets (topic, partition, next) VALUES ($1, $2, $3)
		ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next
		WHERE offsets.next <= excluded.next`, topic, partition, next)
	if err != nil {
		return fmt.Errorf("set offset of %s/%d: %w", topic, partition, err)
	}
	if n == 0 {
		return fmt.Errorf("offset of %s/%d back to %d: %w", topic, partition, next, ErrConflict)
	}
	return nil
}
