package books

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/payment"
)

// Line is a line of the journal.
type Line struct {
	// Sequence numbers all lines of the books, from 1 without a gap.
	Sequence int64
	// Payment and Direction are whose posting it is; both are zero for an opening.
	Payment   cypherlink.UETR
	Direction payment.Direction
	Step      Step
	// Debit and Credit are accounts of the chart. They hold customers' numbers: keep them out of logs.
	Debit, Credit string
	// Money has a positive amount.
	Money payment.Money
}

const lineColumns = "sequence payment direction step debit credit ledger code scale amount"

func (l *Line) fields() []any {
	m := &l.Money
	return []any{
		&l.Sequence, fixed(l.Payment[:]), &l.Direction, &l.Step, &l.Debit, &l.Credit,
		&m.Asset.Ledger, &m.Asset.Code, &m.Asset.Scale, (*int64)(&m.Amount),
	}
}

// write appends the line to the journal and moves the two balances (K1), unless one of them does not
// let it: then an error, and nothing is written.
func (l *Line) write(tx *store.Tx) error {
	a := l.Money.Asset
	debited, credited, err := readBalances(&tx.Reader, a, l.Debit, l.Credit)
	if err != nil {
		return err
	}
	if debited, err = moved(l.Debit, debited, -int64(l.Money.Amount)); err != nil {
		return err
	}
	if credited, err = moved(l.Credit, credited, int64(l.Money.Amount)); err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO bank_balances (account, ledger, code, scale, balance)
		VALUES ($1, $2, $3, $4, $5), ($6, $7, $8, $9, $10)
		ON CONFLICT (account, ledger, code) DO UPDATE SET balance = excluded.balance`,
		l.Debit, string(a.Ledger), a.Code, int64(a.Scale), debited,
		l.Credit, string(a.Ledger), a.Code, int64(a.Scale), credited)
	if err != nil {
		return err
	}
	_, err = tx.Exec("INSERT INTO bank_journal ("+strings.ReplaceAll(lineColumns, " ", ", ")+`)
		VALUES ((SELECT COALESCE(MAX(sequence), 0) + 1 FROM bank_journal),
			$1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		optional(l.Payment), string(l.Direction), string(l.Step), l.Debit, l.Credit,
		string(a.Ledger), a.Code, int64(a.Scale), int64(l.Money.Amount))
	return err
}

// sum is a balance after a change, or cypherlink.ErrAmountRange.
func sum(balance, change int64) (int64, error) {
	if change > 0 && balance > math.MaxInt64-change || change < 0 && balance < -math.MaxInt64-change {
		return 0, fmt.Errorf("%d and %d: %w", balance, change, cypherlink.ErrAmountRange)
	}
	return balance + change, nil
}

// moved is the account's balance after a change, or errShort if it falls below nothing and may not (K2).
func moved(account string, balance, change int64) (int64, error) {
	balance, err := sum(balance, change)
	if err != nil {
		return 0, err
	}
	if balance < 0 && account != openingAccount && !strings.HasPrefix(account, "channel/") {
		return 0, errShort
	}
	return balance, nil
}

// Journal lists the lines of a payment, at most two for each direction, in their order.
func (b *Books) Journal(ctx context.Context, uetr cypherlink.UETR) ([]Line, error) {
	var lines []Line
	err := b.store.View(ctx, func(r *store.Reader) error {
		for row := range r.Query("SELECT "+columns("j", lineColumns)+` FROM bank_journal j
			WHERE j.payment = $1 AND j.step <> 'open' ORDER BY j.sequence`, uetr[:]) {
			var l Line
			if err := row.Scan(l.fields()...); err != nil {
				return err
			}
			lines = append(lines, l)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("journal of %s: %w", uetr, err)
	}
	return lines, nil
}
