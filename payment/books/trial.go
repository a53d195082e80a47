package books

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
)

// Balance is what an account of the chart has in an asset.
type Balance struct {
	// Account may hold a customer's number: keep it out of logs.
	Account string
	Asset   cypherlink.Asset
	// Amount is the credits less the debits, negative for the opening and for a claim in a channel.
	Amount cypherlink.Amount
}

// Trial is the trial balance: every account that was ever used, in the order of accounts, ledgers and
// codes. In every asset the amounts add up to nothing (K1). It replays the whole journal on one
// consistent state, and holds it against the balances and against where the postings stand (K1 to K3);
// ErrBooks if they differ.
func (b *Books) Trial(ctx context.Context) ([]Balance, error) {
	var balances []Balance
	err := b.store.View(ctx, func(r *store.Reader) (err error) {
		lines, steps, err := replay(r)
		if err != nil {
			return err
		}
		if err := match(r, steps); err != nil {
			return err
		}
		balances, err = compare(r, lines)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("trial: %w", err)
	}
	return balances, nil
}

// place is an account in an asset.
type place struct {
	account string
	asset   cypherlink.Asset
}

// sheet is what places have.
type sheet map[place]int64

func (s sheet) move(l *Line) error {
	from, to := place{l.Debit, l.Money.Asset}, place{l.Credit, l.Money.Asset}
	less, err := moved(l.Debit, s[from], -int64(l.Money.Amount))
	if err != nil {
		return err
	}
	more, err := moved(l.Credit, s[to], int64(l.Money.Amount))
	if err != nil {
		return err
	}
	s[from], s[to] = less, more
	return nil
}

// replay adds up the lines, and counts those that are no opening.
func replay(r *store.Reader) (s sheet, steps int64, err error) {
	s = sheet{}
	last := int64(0)
	for row := range r.Query("SELECT " + columns("j", lineColumns) + ` FROM bank_journal j
		ORDER BY j.sequence`) {
		var l Line
		if err := row.Scan(l.fields()...); err != nil {
			return nil, 0, err
		}
		if l.Sequence != last+1 {
			return nil, 0, broken("line %d follows line %d", l.Sequence, last)
		}
		last = l.Sequence
		if l.Step != Opening {
			steps++
		} else if l.Debit != openingAccount {
			return nil, 0, broken("line %d opens an account out of nothing", last)
		}
		if err := s.move(&l); err != nil {
			return nil, 0, broken("line %d: %w", last, err)
		}
	}
	return s, steps, nil
}

// match holds every line against its posting, so many lines in all. A step of a payment has one line at
// most, so that their number tells whether one is missing.
func match(r *store.Reader, steps int64) error {
	var matched, due int64
	for row := range r.Query("SELECT " + columns("j", lineColumns) + ", " + columns("p", postingColumns) + `
		FROM bank_journal j JOIN bank_postings p ON p.payment = j.payment AND p.direction = j.direction
		WHERE j.step <> 'open'`) {
		var l Line
		var p record
		if err := row.Scan(append(l.fields(), p.fields()...)...); err != nil {
			return err
		}
		debit, credit := p.route(l.Step)
		if !slices.Contains(p.steps(p.at), l.Step) ||
			l.Debit != debit || l.Credit != credit || l.Money != p.money {
			return broken("line %d is not what its payment, which is %s, says", l.Sequence, p.at)
		}
		matched++
	}
	for row := range r.Query(`SELECT direction, state, COUNT(*) FROM bank_postings
		GROUP BY direction, state`) {
		var p record
		var postings int64
		if err := row.Scan(&p.direction, &p.at, &postings); err != nil {
			return err
		}
		due += postings * int64(len(p.steps(p.at)))
	}
	if matched != steps || due != steps {
		return broken("%d lines, of which %d have a posting; the postings say %d", steps, matched, due)
	}
	return nil
}

// compare holds the balances against what the lines add up to.
func compare(r *store.Reader, lines sheet) ([]Balance, error) {
	var balances []Balance
	for row := range r.Query("SELECT account, ledger, code, scale, balance FROM bank_balances") {
		var b Balance
		err := row.Scan(&b.Account, &b.Asset.Ledger, &b.Asset.Code, &b.Asset.Scale, (*int64)(&b.Amount))
		if err != nil {
			return nil, err
		}
		at := place{b.Account, b.Asset}
		if int64(b.Amount) != lines[at] {
			return nil, broken("an account has %d %s, its lines say %d", b.Amount, b.Asset, lines[at])
		}
		delete(lines, at)
		balances = append(balances, b)
	}
	for at, amount := range lines {
		if amount != 0 {
			return nil, broken("an account has no balance in %s, its lines say %d", at.asset, amount)
		}
	}
	slices.SortFunc(balances, func(a, b Balance) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account),
			cmp.Compare(a.Asset.Ledger, b.Asset.Ledger), cmp.Compare(a.Asset.Code, b.Asset.Code))
	})
	return balances, nil
}

func broken(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrBooks)...)
}
