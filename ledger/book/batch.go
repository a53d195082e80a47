package book

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// Batch is one transaction of the book. What it reads includes what it wrote; what it wrote
// goes to the tables together, at its end. It ends with the callback that got it.
type Batch struct {
	// Tx is the transaction, for what must be durable together with the effects.
	Tx *store.Tx

	book       *Book
	head       head
	places     map[holding]*balance
	standing   map[ledger.CustodyID]ledger.Receipt // the zero receipt where there is no custody
	conditions map[cypherlink.Condition]bool
	events     []ledger.Receipt
	lines      [][]any
	passages   passages
}

// holding is a place and the code of an asset.
type holding struct{ place, code string }

type balance struct {
	amount  cypherlink.Amount
	open    bool
	changed bool
}

// begin reads the head, moves the ledger's time on, and returns what has expired (B5, B6).
func (b *Book) begin(tx *store.Tx) (*Batch, error) {
	h, err := readHead(&tx.Reader)
	if err != nil {
		return nil, err
	}
	h.timeMS = max(h.timeMS, b.now().UnixMilli())
	batch := &Batch{
		Tx: tx, book: b, head: h,
		places:     map[holding]*balance{},
		standing:   map[ledger.CustodyID]ledger.Receipt{},
		conditions: map[cypherlink.Condition]bool{},
		passages:   passages{byID: map[ledger.CrossingID]ledger.Passage{}},
	}
	due, err := readDue(&tx.Reader, h.timeMS)
	if err != nil {
		return nil, err
	}
	for _, id := range due {
		if _, _, err := ledger.Expire(rules{batch}, h.timeMS, id); err != nil {
			return nil, err
		}
	}
	return batch, nil
}

// Apply applies a command about a custody that has been authenticated. The error is nil, a refusal,
// ledger.ErrRepeated with the receipt that stands, or one that the callback must return.
func (b *Batch) Apply(command *ledger.SignedCommand) (ledger.Receipt, error) {
	custody, err := b.book.charter.Apply(rules{b}, b.head.timeMS, command)
	if err != nil && !errors.Is(err, ledger.ErrRepeated) {
		return ledger.Receipt{}, err
	}
	return b.standing[custody.ID], err
}

// Lookup is the receipt that stands of a custody, or a signed one that it is absent now.
func (b *Batch) Lookup(id ledger.CustodyID) (ledger.Receipt, error) {
	receipt, ok, err := b.receipt(id)
	if ok || err != nil {
		return receipt, err
	}
	return b.sign(ledger.Custody{ID: id})
}

func (b *Batch) receipt(id ledger.CustodyID) (ledger.Receipt, bool, error) {
	receipt, known := b.standing[id]
	if !known {
		var err error
		if receipt, _, err = readReceipt(&b.Tx.Reader, id); err != nil {
			return ledger.Receipt{}, false, err
		}
		b.standing[id] = receipt
	}
	return receipt, receipt.Sequence > 0, nil
}

// sign makes the receipt of a custody at the head's sequence and time.
func (b *Batch) sign(c ledger.Custody) (ledger.Receipt, error) {
	record := ledger.Record{Network: b.book.charter.Network, Receipt: ledger.Receipt{
		Ledger: b.book.charter.Ledger, Custody: c,
		Sequence: uint64(b.head.sequence), TimeMS: b.head.timeMS, //nolint:gosec // not negative: CHECK
	}}
	var err error
	if record.Signature, err = b.book.signer.Sign(record.Frame()); err != nil {
		return ledger.Receipt{}, fmt.Errorf("sign record %d: %w", b.head.sequence, err)
	}
	record.Receipt.Evidence = record.Encode()
	return record.Receipt, nil
}

func (b *Batch) balance(h holding) (*balance, error) {
	if got, ok := b.places[h]; ok {
		return got, nil
	}
	got := &balance{open: true}
	err := b.Tx.QueryRow("SELECT balance FROM book_places WHERE place = $1 AND code = $2",
		h.place, h.code).Scan((*int64)(&got.amount))
	if errors.Is(err, store.ErrNoRow) {
		got.open, err = false, nil
	}
	if err != nil {
		return nil, err
	}
	b.places[h] = got
	return got, nil
}

// rules is the batch as the rules see it. Its methods are not for the batch's own callers.
type rules struct{ *Batch }

// Balance is what the account holds of the asset.
func (r rules) Balance(
	account cypherlink.Account, asset cypherlink.Asset,
) (amount cypherlink.Amount, ok bool, err error) {
	got, err := r.balance(holding{place(account), asset.Code})
	if err != nil {
		return 0, false, err
	}
	return got.amount, got.open, nil
}

// Custody is the record under the id.
func (r rules) Custody(id ledger.CustodyID) (ledger.Custody, bool, error) {
	receipt, ok, err := r.receipt(id)
	return receipt.Custody, ok, err
}

// Locked tells whether the condition was ever used.
func (r rules) Locked(condition cypherlink.Condition) (bool, error) {
	if locked, known := r.conditions[condition]; known {
		return locked, nil
	}
	var one int64
	err := r.Tx.QueryRow("SELECT 1 FROM book_custodies WHERE condition = $1", condition[:]).Scan(&one)
	if err != nil && !errors.Is(err, store.ErrNoRow) {
		return false, err
	}
	r.conditions[condition] = err == nil
	return err == nil, nil
}

// Write makes the event of the custody's new state.
func (r rules) Write(c ledger.Custody) error {
	leg := c.Leg()
	debit, credit := route(&c)
	if err := r.move(leg.Asset.Code, leg.Amount, debit, credit); err != nil {
		return fmt.Errorf("custody %s: %w", c.ID, err)
	}
	r.head.sequence++
	receipt, err := r.sign(c)
	if err != nil {
		return err
	}
	r.standing[c.ID] = receipt
	r.conditions[c.Subject.Condition] = true
	r.events = append(r.events, receipt)
	r.lines = append(r.lines,
		[]any{r.head.sequence, 0, leg.Asset.Code, int64(leg.Amount), debit, credit})
	if r.book.publish != nil {
		return r.book.publish(r.Tx, receipt)
	}
	return nil
}

// route tells from which place to which a custody's amount moves when it gets to its state.
func route(c *ledger.Custody) (debit, credit string) {
	leg := c.Leg()
	switch c.State {
	case ledger.Prepared:
		return place(leg.Debit), custodyPlace
	case ledger.Confirmed:
		return custodyPlace, place(leg.Credit)
	case ledger.Returned:
		return custodyPlace, place(leg.Debit)
	case ledger.Absent:
	}
	return "", "" // no such places
}

// move takes the amount out of one place and puts it into another (B1).
func (b *Batch) move(code string, amount cypherlink.Amount, debit, credit string) error {
	from, err := b.balance(holding{debit, code})
	if err != nil {
		return err
	}
	to, err := b.balance(holding{credit, code})
	if err != nil {
		return err
	}
	if !from.open || !to.open {
		return fmt.Errorf("a place is not open in %s: %w", code, ErrBooks)
	}
	rest, err := from.amount.Sub(amount)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBooks, err)
	}
	sum, err := to.amount.Add(amount)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBooks, err)
	}
	from.amount, from.changed = rest, true
	to.amount, to.changed = sum, true
	return nil
}

// end writes everything to the tables.
func (b *Batch) end() error {
	events := make([][]any, len(b.events))
	last := map[ledger.CustodyID]ledger.Receipt{}
	for i, e := range b.events {
		events[i] = []any{
			int64(e.Sequence), e.Custody.ID[:], int64(e.Custody.State), //nolint:gosec // ours
			e.TimeMS, e.Evidence,
		}
		last[e.Custody.ID] = e
	}
	if _, err := insert(b.Tx, insertEvents, "", events); err != nil {
		return err
	}
	if _, err := insert(b.Tx, insertLines, "", b.lines); err != nil {
		return err
	}
	if _, err := insert(b.Tx, insertCrossings, "", b.passages.rows); err != nil {
		return err
	}
	if err := b.writeCustodies(last); err != nil {
		return err
	}
	if err := b.writePlaces(); err != nil {
		return err
	}
	return writeHead(b.Tx, b.head)
}

// writeCustodies stores where custodies stand now. Only a prepared one changes (B4).
func (b *Batch) writeCustodies(last map[ledger.CustodyID]ledger.Receipt) error {
	var rows [][]any
	for _, id := range slices.SortedFunc(maps.Keys(last), func(a, b ledger.CustodyID) int {
		return bytes.Compare(a[:], b[:])
	}) {
		e := last[id]
		leg := e.Custody.Leg()
		rows = append(rows, []any{
			e.Custody.ID[:], e.Custody.Subject.Condition[:], int64(e.Custody.State),
			leg.Asset.Code, int64(leg.Amount), leg.Expiry, int64(e.Sequence), //nolint:gosec // ours
		})
	}
	n, err := insert(b.Tx, insertCustodies,
		`ON CONFLICT (id) DO UPDATE SET state = excluded.state, sequence = excluded.sequence
			WHERE book_custodies.state = 1`, rows)
	if err == nil && n != int64(len(rows)) {
		err = fmt.Errorf("a custody left its end: %w", ErrBooks)
	}
	return err
}

func (b *Batch) writePlaces() error {
	var rows [][]any
	for _, h := range slices.SortedFunc(maps.Keys(b.places), func(a, b holding) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.code, b.code))
	}) {
		if p := b.places[h]; p.changed {
			rows = append(rows, []any{h.place, h.code, int64(p.amount)})
		}
	}
	_, err := insert(b.Tx, insertPlaces,
		"ON CONFLICT (place, code) DO UPDATE SET balance = excluded.balance", rows)
	return err
}
