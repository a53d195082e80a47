package book

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// Places that are no account.
const (
	custodyPlace = "custody" // what the prepared custodies hold
	issuePlace   = "issue"   // where the opening balances come from
)

// The beginnings of the statements for insert.
const (
	insertPlaces    = "INSERT INTO book_places (place, code, balance) VALUES"
	insertLines     = "INSERT INTO book_journal (sequence, line, code, amount, debit, credit) VALUES"
	insertEvents    = "INSERT INTO book_events (sequence, custody, state, time_ms, record) VALUES"
	insertCustodies = `INSERT INTO book_custodies
		(id, condition, state, code, amount, expiry, sequence) VALUES`
)

// place is the account in the tables.
func place(a cypherlink.Account) string { return a.String() }

// head is the ledger's last event and its time.
type head struct {
	sequence int64
	timeMS   int64
}

func readHead(r *store.Reader) (h head, err error) {
	err = r.QueryRow("SELECT sequence, time_ms FROM book_head").Scan(&h.sequence, &h.timeMS)
	return h, err
}

func writeHead(tx *store.Tx, h head) error {
	n, err := tx.Exec(`UPDATE book_head SET sequence = $1, time_ms = $2
		WHERE sequence <= $1 AND time_ms <= $2`, h.sequence, h.timeMS)
	if err == nil && n != 1 {
		err = fmt.Errorf("the ledger's time or sequence goes back: %w", ErrBooks)
	}
	return err
}

// readReceipt finds the receipt that stands of a custody.
func readReceipt(r *store.Reader, id ledger.CustodyID) (receipt ledger.Receipt, ok bool, err error) {
	var record []byte
	err = r.QueryRow(`SELECT e.record FROM book_custodies c JOIN book_events e ON e.sequence = c.sequence
		WHERE c.id = $1`, id[:]).Scan(&record)
	if errors.Is(err, store.ErrNoRow) {
		return ledger.Receipt{}, false, nil
	}
	if err != nil {
		return ledger.Receipt{}, false, err
	}
	receipt, err = receiptOf(record)
	return receipt, err == nil, err
}

// receiptOf reads a record of our own database: its signature was made here.
func receiptOf(record []byte) (ledger.Receipt, error) {
	decoded, err := ledger.DecodeRecord(record)
	if err != nil {
		return ledger.Receipt{}, fmt.Errorf("%w: %w", ErrBooks, err)
	}
	receipt := decoded.Receipt
	receipt.Evidence = record
	return receipt, nil
}

// readDue lists the prepared custodies whose expiry has come, in the order of their return, at
// most dueLength.
func readDue(r *store.Reader, nowMS int64) ([]ledger.CustodyID, error) {
	var due []ledger.CustodyID
	for row := range r.Query(`SELECT id FROM book_custodies
		WHERE state = 1 AND expiry <= $1 ORDER BY expiry, id LIMIT $2`, nowMS/1000, dueLength) {
		var id []byte
		if err := row.Scan(&id); err != nil {
			return nil, err
		}
		if len(id) != len(ledger.CustodyID{}) {
			return nil, fmt.Errorf("custody id %x: %w", id, ErrBooks)
		}
		due = append(due, ledger.CustodyID(id))
	}
	return due, nil
}

// anyDue tells whether a custody has to be returned at nowMS.
func anyDue(r *store.Reader, nowMS int64) (bool, error) {
	var one int64
	err := r.QueryRow("SELECT 1 FROM book_custodies WHERE state = 1 AND expiry <= $1 LIMIT 1",
		nowMS/1000).Scan(&one)
	if errors.Is(err, store.ErrNoRow) {
		return false, nil
	}
	return err == nil, err
}

// readEvents reads at most limit events after the sequence.
func readEvents(r *store.Reader, after int64, limit int) ([]ledger.Event, error) {
	var events []ledger.Event
	for row := range r.Query(`SELECT record FROM book_events
		WHERE sequence > $1 ORDER BY sequence LIMIT $2`, after, limit) {
		var record []byte
		if err := row.Scan(&record); err != nil {
			return nil, err
		}
		receipt, err := receiptOf(record)
		if err != nil {
			return nil, err
		}
		events = append(events, ledger.Event{Cursor: ledger.Cursor(receipt.Sequence), Receipt: receipt})
	}
	return events, nil
}

// insert runs one INSERT with many rows: statement is its beginning up to VALUES, end what
// follows the rows. It returns how many rows were changed. Three sizes of statement serve all
// numbers of rows, so that each is prepared once.
func insert(tx *store.Tx, statement, end string, rows [][]any) (changed int64, err error) {
	for _, size := range []int{64, 8, 1} {
		for len(rows) >= size {
			n, err := tx.Exec(statement+values(size, len(rows[0]))+end, flat(rows[:size])...)
			if err != nil {
				return changed, err
			}
			changed += n
			rows = rows[size:]
		}
	}
	return changed, nil
}

// values is "($1, $2), ($3, $4)" for 2 rows of 2 columns.
func values(rows, columns int) string {
	var b strings.Builder
	for i := range rows * columns {
		switch {
		case i == 0:
			b.WriteString(" (")
		case i%columns == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	b.WriteString(") ")
	return b.String()
}

func flat(rows [][]any) []any {
	all := make([]any, 0, len(rows)*len(rows[0]))
	for _, row := range rows {
		all = append(all, row...)
	}
	return all
}
