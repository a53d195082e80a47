package books

import (
	"context"
	"errors"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/payment"
)

var errUndone = errors.New("undone")

// Undone takes a step in a transaction that is rolled back, as the first of two runs is.
func (b *Books) Undone(ctx context.Context, step Step, asked *payment.Posting) error {
	p, err := newPosting(step, asked)
	if err != nil {
		return nil //nolint:nilerr // no transaction comes of it
	}
	err = b.store.Update(ctx, func(tx *store.Tx) error {
		if _, err := b.step(tx, step, &p); err != nil {
			return err
		}
		return errUndone
	})
	if errors.Is(err, errUndone) || errors.Is(err, ErrContradiction) {
		return nil
	}
	return err
}
