package kafkaledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
)

var _ ledger.Ramp = (*Gateway)(nil)

// cross lets a crossing pass; one that has passed is published again.
func (h *Host) cross(b *book.Batch, command *ledger.SignedCommand) error {
	p, err := b.Cross(command)
	if errors.Is(err, ledger.ErrRepeated) {
		err = h.enqueue(b.Tx, kindPassage, p.Evidence)
	}
	return err
}

// Cross implements ledger.Ramp, as Submit does ledger.Ledger. That a crossing has lapsed is what the
// operator said by its own time, which never goes back.
func (g *Gateway) Cross(ctx context.Context, command *ledger.SignedCommand) (ledger.Passage, error) {
	var x ledger.Crossing
	switch body := command.Command.(type) {
	case *ledger.Leave:
		x = body.Crossing
	case *ledger.Enter:
		x = body.Crossing
	default:
		return ledger.Passage{}, malformed(errors.New("the command is about no crossing"))
	}
	id := x.ID(g.operator.Network)
	passage, err := submit(ctx, g, command, func() (ledger.Passage, bool, error) {
		var standing ledger.Passage
		err := g.store.View(ctx, func(r *store.Reader) (err error) {
			standing, err = g.crossings().standing(r, id)
			return err
		})
		return standing, standing.Sequence > 0 && standing.Crossing == x, err
	})
	if err != nil {
		return ledger.Passage{}, fmt.Errorf("cross at ledger %s: %w", g.operator.Ledger, err)
	}
	return passage, nil
}

// crossings is what a gateway has stored of one ledger's passages.
type crossings struct{ ledger string }

func (g *Gateway) crossings() crossings { return crossings{g.chronicle.ledger} }

// last is the last passage, the zero passage before the first.
func (c crossings) last(r *store.Reader) (ledger.Passage, error) {
	return c.one(r, `SELECT record FROM kafka_crossings WHERE ledger = $1
		ORDER BY sequence DESC LIMIT 1`, c.ledger)
}

// at is the passage of that number.
func (c crossings) at(r *store.Reader, sequence uint64) (ledger.Passage, error) {
	return c.one(r, "SELECT record FROM kafka_crossings WHERE ledger = $1 AND sequence = $2",
		c.ledger, int64(sequence)) //nolint:gosec // at most the last
}

// standing is how the crossing passed, the zero passage if it did not.
func (c crossings) standing(r *store.Reader, id ledger.CrossingID) (ledger.Passage, error) {
	return c.one(r, "SELECT record FROM kafka_crossings WHERE ledger = $1 AND id = $2", c.ledger, id[:])
}

func (c crossings) one(r *store.Reader, query string, args ...any) (ledger.Passage, error) {
	var evidence []byte
	err := r.QueryRow(query, args...).Scan(&evidence)
	if errors.Is(err, store.ErrNoRow) {
		return ledger.Passage{}, nil
	}
	if err != nil {
		return ledger.Passage{}, err
	}
	record, err := ledger.DecodeRampRecord(evidence) // it was verified before it was stored
	if err != nil {
		return ledger.Passage{}, fmt.Errorf("stored passage: %w", err)
	}
	record.Passage.Evidence = evidence
	return record.Passage, nil
}

func (c crossings) add(tx *store.Tx, id ledger.CrossingID, p ledger.Passage) error {
	_, err := tx.Exec("INSERT INTO kafka_crossings (ledger, sequence, id, record) VALUES ($1, $2, $3, $4)",
		c.ledger, int64(p.Sequence), id[:], p.Evidence) //nolint:gosec // the next
	return err
}

// pass compares a passage with all that the operator said before, of which the last is given, and
// stores it if it is the next (K3, K4).
func (g *Gateway) pass(tx *store.Tx, said, last *ledger.Passage) error {
	c, id := g.crossings(), said.Crossing.ID(g.operator.Network)
	switch {
	case said.Sequence > last.Sequence+1:
		return fmt.Errorf("passage %d follows passage %d: %w", said.Sequence, last.Sequence, ErrGap)
	case said.Sequence <= last.Sequence:
		before, err := c.at(&tx.Reader, said.Sequence)
		if err == nil && (before.Crossing != said.Crossing || before.TimeMS != said.TimeMS) {
			err = fmt.Errorf("passage %d is said in two ways: %w", said.Sequence, ErrOperator)
		}
		return err
	case said.TimeMS < last.TimeMS:
		return fmt.Errorf("passage %d at %d is before passage %d at %d: %w",
			said.Sequence, said.TimeMS, last.Sequence, last.TimeMS, ErrOperator)
	}
	before, err := c.standing(&tx.Reader, id)
	if err == nil && before.Sequence > 0 {
		err = fmt.Errorf("crossing %s passes by %d and by %d: %w",
			id, before.Sequence, said.Sequence, ErrOperator)
	}
	if err != nil {
		return err
	}
	*last = *said
	return c.add(tx, id, *said)
}
