package book_test

import (
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/ledger/book"
)

// Every way to falsify the books shows in the audit, or is refused by the database.
func TestAuditFindsWhatIsFalse(t *testing.T) {
	const (
		newLine    = "INSERT INTO book_journal (sequence, line, code, amount, debit, credit) VALUES "
		newEvent   = "INSERT INTO book_events (sequence, custody, state, time_ms, record) "
		newCustody = "INSERT INTO book_custodies (id, condition, state, code, amount, expiry, sequence) "
	)
	tests := []struct{ name, statement string }{
		{"a richer account", "UPDATE book_places SET balance = balance + 1 WHERE place <> 'custody'"},
		{"an emptier custody", `UPDATE book_places SET balance = balance - 1
			WHERE place = 'custody' AND code = 'EUR'`},
		{"money moved between accounts", `UPDATE book_places SET balance = 1999300 - balance
			WHERE code = 'EUR' AND balance IN (999000, 1000300)`},
		{"a place that is gone", "DELETE FROM book_places WHERE place <> 'custody'"},
		{"a line with another amount", "UPDATE book_journal SET amount = amount + 1 WHERE sequence = 1"},
		{"a line to another place", "UPDATE book_journal SET credit = 'elsewhere' WHERE sequence = 2"},
		{"a line that is gone", "DELETE FROM book_journal WHERE sequence = 2"},
		{"a line without an event", newLine + "(9, 0, 'EUR', 1, 'issue', 'custody')"},
		{"a second line of an event", newLine + "(2, 1, 'EUR', 1, 'issue', 'custody')"},
		{"more issued", "UPDATE book_journal SET amount = amount + 1 WHERE sequence = 0"},
		{"an opening out of an account", "UPDATE book_journal SET debit = 'custody' WHERE sequence = 0"},
		{"an event that is gone", "DELETE FROM book_events WHERE sequence = 2"},
		{"an event with another time", "UPDATE book_events SET time_ms = time_ms + 1 WHERE sequence = 2"},
		{"an event with another state", "UPDATE book_events SET state = 3 WHERE sequence = 2"},
		{"an event with another's record", `UPDATE book_events SET record =
			(SELECT record FROM book_events WHERE sequence = 1) WHERE sequence = 3`},
		{"a record that is none", "UPDATE book_events SET record = custody WHERE sequence = 3"},
		{"a custody that stands elsewhere", "UPDATE book_custodies SET state = 3 WHERE state = 1"},
		{"a custody with another expiry", "UPDATE book_custodies SET expiry = expiry + 1"},
		{"a custody that is gone", "DELETE FROM book_custodies WHERE state = 1"},
		{"a head that is behind", "UPDATE book_head SET sequence = sequence - 1"},
		{"a time that is behind", "UPDATE book_head SET time_ms = 1"},
		{"a negative balance", "UPDATE book_places SET balance = -1"},
		{"a custody that ends twice", newEvent + `SELECT 4, custody, 3, time_ms, record
			FROM book_events WHERE sequence = 2`},
		{"a condition used twice", newCustody + `SELECT condition, condition, state, code, amount, expiry, 9
			FROM book_custodies WHERE state = 1`},
		{"a line from a place to itself", "UPDATE book_journal SET credit = debit WHERE sequence = 1"},
		{"a line of nothing", "UPDATE book_journal SET amount = 0 WHERE sequence = 1"},
	}
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				h.t = t
				h.reopen(h.options(), true)
				p, q := h.Payment("one", 700, start+20), h.Payment("two", 300, start+20)
				h.must(h.Prepare(p))
				h.must(h.Confirm(h.Bob, p))
				h.must(h.Prepare(q))
				h.audit()
				err := h.store.Update(t.Context(), func(tx *store.Tx) error {
					n, err := tx.Exec(tt.statement)
					if err == nil && n == 0 {
						t.Error("the statement changes nothing")
					}
					return err
				})
				if errors.Is(err, store.ErrConstraint) {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				_, err = book.Audit(t.Context(), h.store, h.word(), nil)
				if !errors.Is(err, book.ErrBooks) {
					t.Fatalf("audit: %v", err)
				}
			})
		}
	})
	t.Run("another operator", func(t *testing.T) {
		h := newHouse(t, "sqlite:"+t.TempDir()+"/store.db")
		h.must(h.Prepare(h.Payment("one", 700, start+20)))
		operator := h.word()
		operator.Key = h.Mallory.Key
		if _, err := book.Audit(t.Context(), h.store, operator, nil); !errors.Is(err, book.ErrBooks) {
			t.Fatal(err)
		}
	})
}
