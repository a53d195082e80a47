package book

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// Foresee reads what the commands will ask for, in a few statements for all of them. It
// changes no outcome: what it does not foresee is read when it is needed.
func (b *Batch) Foresee(commands ...*ledger.SignedCommand) error {
	var ids, conditions []any
	places := []any{custodyPlace}
	for _, c := range commands {
		if c.Crosses() {
			continue // they are few
		}
		id := ledger.CustodyID(c.Command.About(b.book.charter.Network))
		if _, known := b.standing[id]; !known {
			b.standing[id] = ledger.Receipt{}
			ids = append(ids, id[:])
		}
		p, ok := c.Command.(*ledger.Prepare)
		if !ok {
			continue
		}
		if _, known := b.conditions[p.Subject.Condition]; !known {
			b.conditions[p.Subject.Condition] = false
			conditions = append(conditions, p.Subject.Condition[:])
		}
		places = append(places, place(p.Subject.Fields.Debit), place(p.Subject.Fields.Credit))
	}
	for row := range selectIn(&b.Tx.Reader, `SELECT e.record FROM book_custodies c
		JOIN book_events e ON e.sequence = c.sequence WHERE c.id IN`, ids) {
		var record []byte
		if err := row.Scan(&record); err != nil {
			return err
		}
		receipt, err := receiptOf(record)
		if err != nil {
			return err
		}
		b.standing[receipt.Custody.ID] = receipt
		leg := receipt.Custody.Leg()
		places = append(places, place(leg.Debit), place(leg.Credit))
	}
	for row := range selectIn(&b.Tx.Reader,
		"SELECT condition FROM book_custodies WHERE condition IN", conditions) {
		var condition []byte
		if err := row.Scan(&condition); err != nil {
			return err
		}
		if len(condition) != len(cypherlink.Condition{}) {
			return fmt.Errorf("condition %x: %w", condition, ErrBooks)
		}
		b.conditions[cypherlink.Condition(condition)] = true
	}
	return b.foreseePlaces(places)
}

func (b *Batch) foreseePlaces(places []any) error {
	for row := range selectIn(&b.Tx.Reader,
		"SELECT place, code, balance FROM book_places WHERE place IN", distinct(places)) {
		var h holding
		p := balance{open: true}
		if err := row.Scan(&h.place, &h.code, (*int64)(&p.amount)); err != nil {
			return err
		}
		if _, known := b.places[h]; !known {
			b.places[h] = &p
		}
	}
	return nil
}

func distinct(all []any) []any {
	seen := make(map[any]bool, len(all))
	var once []any
	for _, x := range all {
		if !seen[x] {
			seen[x] = true
			once = append(once, x)
		}
	}
	return once
}

// selectIn yields the rows of a SELECT that ends in IN, for all the keys, in statements of
// three sizes.
func selectIn(r *store.Reader, query string, keys []any) func(yield func(store.Row) bool) {
	return func(yield func(store.Row) bool) {
		for _, size := range []int{64, 8, 1} {
			for len(keys) >= size {
				for row := range r.Query(query+values(1, size), keys[:size]...) {
					if !yield(row) {
						return
					}
				}
				keys = keys[size:]
			}
		}
	}
}
