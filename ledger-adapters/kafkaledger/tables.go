package kafkaledger

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// readRefusals finds which of the commands were refused before.
func readRefusals(r *store.Reader, requests []*request) (map[cypherlink.Hash][]byte, error) {
	const size = 64 // of one statement: the last hash fills it up
	refusals := map[cypherlink.Hash][]byte{}
	query := "SELECT command, refusal FROM kafka_refusals WHERE command IN (" + parameters(size) + ")"
	var hashes []any
	for i, request := range requests {
		if request.command != nil {
			hashes = append(hashes, request.hash[:])
		}
		if len(hashes) == 0 || len(hashes) < size && i < len(requests)-1 {
			continue
		}
		for len(hashes) < size {
			hashes = append(hashes, hashes[0])
		}
		for row := range r.Query(query, hashes...) {
			var hash, refusal []byte
			if err := row.Scan(&hash, &refusal); err != nil {
				return nil, err
			}
			refusals[cypherlink.Hash(hash)] = refusal
		}
		hashes = nil
	}
	return refusals, nil
}

// parameters is "$1, $2" for 2.
func parameters(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	return b.String()
}

// chronicle is what a gateway has stored of one ledger's events.
type chronicle struct{ ledger string }

// last is the last event's receipt, the zero receipt before the first.
func (c chronicle) last(r *store.Reader) (ledger.Receipt, error) {
	return c.one(r, `SELECT record FROM kafka_records WHERE ledger = $1
		ORDER BY sequence DESC LIMIT 1`, c.ledger)
}

// at is the receipt of that event.
func (c chronicle) at(r *store.Reader, sequence uint64) (ledger.Receipt, error) {
	return c.one(r, "SELECT record FROM kafka_records WHERE ledger = $1 AND sequence = $2",
		c.ledger, int64(sequence)) //nolint:gosec // at most the last
}

// standing is the last receipt of the custody, the zero receipt if there is none.
func (c chronicle) standing(r *store.Reader, id ledger.CustodyID) (ledger.Receipt, error) {
	return c.one(r, `SELECT record FROM kafka_records WHERE ledger = $1 AND custody = $2
		ORDER BY sequence DESC LIMIT 1`, c.ledger, id[:])
}

// first is the first receipt of the custody, the zero receipt if there is none.
func (c chronicle) first(r *store.Reader, id ledger.CustodyID) (ledger.Receipt, error) {
	return c.one(r, `SELECT record FROM kafka_records WHERE ledger = $1 AND custody = $2
		ORDER BY sequence LIMIT 1`, c.ledger, id[:])
}

func (c chronicle) one(r *store.Reader, query string, args ...any) (ledger.Receipt, error) {
	var evidence []byte
	err := r.QueryRow(query, args...).Scan(&evidence)
	if errors.Is(err, store.ErrNoRow) {
		return ledger.Receipt{}, nil
	}
	if err != nil {
		return ledger.Receipt{}, err
	}
	return verified(evidence)
}

// after reads at most limit events after the cursor.
func (c chronicle) after(r *store.Reader, cursor ledger.Cursor, limit int) ([]ledger.Event, error) {
	var events []ledger.Event
	for row := range r.Query(`SELECT record FROM kafka_records WHERE ledger = $1 AND sequence > $2
		ORDER BY sequence LIMIT $3`, c.ledger, int64(cursor), limit) { //nolint:gosec // clamped
		var evidence []byte
		if err := row.Scan(&evidence); err != nil {
			return nil, err
		}
		receipt, err := verified(evidence)
		if err != nil {
			return nil, err
		}
		events = append(events, ledger.Event{Cursor: ledger.Cursor(receipt.Sequence), Receipt: receipt})
	}
	return events, nil
}

func (c chronicle) add(tx *store.Tx, r ledger.Receipt) error {
	_, err := tx.Exec("INSERT INTO kafka_records (ledger, sequence, custody, record) VALUES ($1, $2, $3, $4)",
		c.ledger, int64(r.Sequence), r.Custody.ID[:], r.Evidence) //nolint:gosec // the next
	return err
}

// verified reads evidence that was verified before it was stored.
func verified(evidence []byte) (ledger.Receipt, error) {
	record, err := ledger.DecodeRecord(evidence)
	if err != nil {
		return ledger.Receipt{}, fmt.Errorf("stored record: %w", err)
	}
	record.Receipt.Evidence = evidence
	return record.Receipt, nil
}
