package book

import (
	"context"
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

var _ ledger.Ramp = (*Book)(nil)

const insertCrossings = `INSERT INTO book_crossings
	(sequence, id, events, code, amount, debit, credit, record) VALUES`

// withEscrow is the opening with the escrow account of each asset that crosses, which holds nothing
// at first. An account of an escrow's number is ErrChart.
func withEscrow(charter *ledger.Charter, opening []ledger.Balance) ([]ledger.Balance, error) {
	var all []ledger.Balance
	for _, b := range opening {
		if b.Account.Number == ledger.EscrowNumber {
			return nil, fmt.Errorf("account %s is that of an escrow: %w", b.Account, ErrChart)
		}
		all = append(all, b)
	}
	for _, asset := range charter.Assets() {
		if backing, ok := charter.Backings[asset]; ok {
			all = append(all, ledger.Balance{Account: backing.Escrow, Asset: asset})
		}
	}
	return all, nil
}

// Cross implements ledger.Ramp. Commands that wait at the same time share one transaction.
func (b *Book) Cross(ctx context.Context, command *ledger.SignedCommand) (ledger.Passage, error) {
	j, err := b.handIn(ctx, command, (*Batch).cross)
	if err != nil {
		return ledger.Passage{}, err
	}
	return j.passage, j.err
}

// Cross lets a crossing pass by a command that has been authenticated. The error is nil, a refusal,
// ledger.ErrRepeated with the passage that stands, or one that the callback must return.
func (b *Batch) Cross(command *ledger.SignedCommand) (ledger.Passage, error) {
	x, err := b.book.charter.Cross(ramp{rules{b}}, b.head.timeMS, command)
	if err != nil && !errors.Is(err, ledger.ErrRepeated) {
		return ledger.Passage{}, err
	}
	p, _, found := b.passage(x.ID(b.book.charter.Network))
	return p, errors.Join(err, found)
}

// passages are those that a batch knows.
type passages struct {
	byID map[ledger.CrossingID]ledger.Passage // the zero passage where there is none
	// last is the number of the last one, read before the first is added.
	last  int64
	known bool
	rows  [][]any
}

func (b *Batch) passage(id ledger.CrossingID) (p ledger.Passage, ok bool, err error) {
	p, known := b.passages.byID[id]
	if !known {
		var record []byte
		err := b.Tx.QueryRow("SELECT record FROM book_crossings WHERE id = $1", id[:]).Scan(&record)
		if err == nil {
			p, err = passageOf(record)
		} else if errors.Is(err, store.ErrNoRow) {
			err = nil
		}
		if err != nil {
			return ledger.Passage{}, false, err
		}
		b.passages.byID[id] = p
	}
	return p, p.Sequence > 0, nil
}

// passageOf reads a record of our own database: its signature was made here.
func passageOf(record []byte) (ledger.Passage, error) {
	decoded, err := ledger.DecodeRampRecord(record)
	if err != nil {
		return ledger.Passage{}, fmt.Errorf("%w: %w", ErrBooks, err)
	}
	p := decoded.Passage
	p.Evidence = record
	return p, nil
}

// ramp is the batch as the rules of the ramp see it.
type ramp struct{ rules }

// Held is what is in escrow.
func (r ramp) Held(asset cypherlink.Asset) (cypherlink.Amount, error) {
	amount, _, err := r.Balance(r.book.charter.Backings[asset].Escrow, asset)
	return amount, err
}

// Crossing is the one that has passed under the id.
func (r ramp) Crossing(id ledger.CrossingID) (ledger.Crossing, bool, error) {
	p, ok, err := r.passage(id)
	return p.Crossing, ok, err
}

// Cross moves the amount into escrow or out of it, and makes the record.
func (r ramp) Cross(asset cypherlink.Asset, x ledger.Crossing) error {
	escrow := place(r.book.charter.Backings[asset].Escrow)
	debit, credit := crossed(&x, asset, escrow)
	if err := r.move(asset.Code, x.Amount, debit, credit); err != nil {
		return fmt.Errorf("crossing %s: %w", x.ID(r.book.charter.Network), err)
	}
	p, err := r.number(x)
	if err != nil {
		return err
	}
	id := x.ID(r.book.charter.Network)
	r.passages.byID[id] = p
	r.passages.rows = append(r.passages.rows, []any{
		r.passages.last, id[:], r.head.sequence, asset.Code, int64(x.Amount), debit, credit, p.Evidence,
	})
	if r.book.publishPassage != nil {
		return r.book.publishPassage(r.Tx, p)
	}
	return nil
}

// crossed tells from which place to which a crossing's amount moves on the ledger of the asset.
func crossed(x *ledger.Crossing, asset cypherlink.Asset, escrow string) (debit, credit string) {
	if x.Asset == asset {
		return place(x.Debit()), escrow
	}
	return escrow, place(x.Credit())
}

// number gives the crossing the ramp's next number, and signs its record at the head's time.
func (b *Batch) number(x ledger.Crossing) (ledger.Passage, error) {
	if !b.passages.known {
		err := b.Tx.QueryRow("SELECT COALESCE(MAX(sequence), 0) FROM book_crossings").Scan(&b.passages.last)
		if err != nil {
			return ledger.Passage{}, err
		}
		b.passages.known = true
	}
	b.passages.last++
	record := ledger.RampRecord{Network: b.book.charter.Network, Passage: ledger.Passage{
		Ledger: b.book.charter.Ledger, Crossing: x,
		Sequence: uint64(b.passages.last), TimeMS: b.head.timeMS, //nolint:gosec // counts from 1
	}}
	var err error
	if record.Signature, err = b.book.signer.Sign(record.Frame()); err != nil {
		return ledger.Passage{}, fmt.Errorf("sign passage %d: %w", b.passages.last, err)
	}
	record.Passage.Evidence = record.Encode()
	return record.Passage, nil
}
