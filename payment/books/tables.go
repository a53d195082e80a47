package books

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/payment"
)

// open writes an account, and what it has at first where the asset is new to it.
func open(tx *store.Tx, a *Account) error {
	_, err := tx.Exec(`INSERT INTO bank_customers (account, holder, standing) VALUES ($1, $2, $3)
		ON CONFLICT (account) DO UPDATE SET holder = excluded.holder, standing = excluded.standing`,
		name(a.Number), a.Holder, int64(a.Standing))
	if err != nil {
		return err
	}
	for _, m := range a.Opening {
		account := customerAccount(name(a.Number))
		// the row is what tells that the opening is booked, of nothing too
		fresh, err := tx.Exec(`INSERT INTO bank_balances (account, ledger, code, scale, balance)
			VALUES ($1, $2, $3, $4, 0) ON CONFLICT (account, ledger, code) DO NOTHING`,
			account, string(m.Asset.Ledger), m.Asset.Code, int64(m.Asset.Scale))
		if err != nil {
			return err
		}
		if fresh == 0 { // with the scale that the asset has
			_, _, err = readBalances(&tx.Reader, m.Asset, account, openingAccount)
		}
		if err != nil {
			return err
		}
		if fresh == 0 || m.Amount == 0 {
			continue
		}
		line := Line{Step: Opening, Debit: openingAccount, Credit: account, Money: m}
		if err := line.write(tx); err != nil {
			return err
		}
	}
	return nil
}

func readCustomers(r *store.Reader) (map[string]customer, error) {
	customers := map[string]customer{}
	for row := range r.Query("SELECT account, holder, standing FROM bank_customers") {
		var name string
		var c customer
		if err := row.Scan(&name, &c.holder, &c.standing); err != nil {
			return nil, err
		}
		customers[name] = c
	}
	return customers, nil
}

// record is a posting as it is kept.
type record struct {
	posting
	at     state
	reason string // why the first answer was no, if it was
}

const postingColumns = "payment direction customer returns channel ledger code scale amount state reason"

// fields are where the columns are scanned to.
func (p *record) fields() []any {
	m := &p.money
	return []any{
		fixed(p.payment[:]), &p.direction, &p.customer, fixed(p.returns[:]), fixed(p.channel[:]),
		&m.Asset.Ledger, &m.Asset.Code, &m.Asset.Scale, (*int64)(&m.Amount), &p.at, &p.reason,
	}
}

// readPosting is a payment's, absent if there is none.
func readPosting(r *store.Reader, uetr cypherlink.UETR, direction payment.Direction) (p record, err error) {
	err = r.QueryRow("SELECT "+columns("p", postingColumns)+` FROM bank_postings p
		WHERE p.payment = $1 AND p.direction = $2`, uetr[:], string(direction)).Scan(p.fields()...)
	if errors.Is(err, store.ErrNoRow) {
		return record{}, nil
	}
	return p, err
}

// fixed is scanned from as many bytes, or from none, which is the zero value.
type fixed []byte

// Scan implements sql.Scanner.
func (f fixed) Scan(from any) error {
	b, ok := from.([]byte)
	if !ok || len(b) != 0 && len(b) != len(f) {
		return fmt.Errorf("%T of %d bytes, not of %d: %w", from, len(b), len(f), ErrBooks)
	}
	copy(f, b)
	return nil
}

// columns qualifies a list of columns with their table.
func columns(table, list string) string {
	return table + "." + strings.ReplaceAll(list, " ", ", "+table+".")
}

// optional is the bytes of a UETR, none of them for the zero value.
func optional(u cypherlink.UETR) []byte {
	if u.IsZero() {
		return []byte{}
	}
	return u[:]
}

// write notes where the posting stands.
func (p *posting) write(tx *store.Tx, at state, reason string) error {
	a := p.money.Asset
	_, err := tx.Exec("INSERT INTO bank_postings ("+strings.ReplaceAll(postingColumns, " ", ", ")+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (payment, direction) DO UPDATE SET state = excluded.state, reason = excluded.reason`,
		p.payment[:], string(p.direction), p.customer, optional(p.returns), p.channel[:],
		string(a.Ledger), a.Code, int64(a.Scale), int64(p.money.Amount), string(at), reason)
	return err
}

// returned tells whether a payment gives the incoming one back, or did.
func returned(r *store.Reader, incoming cypherlink.UETR) (bool, error) {
	var one int64
	err := r.QueryRow(`SELECT 1 FROM bank_postings
		WHERE returns = $1 AND length(returns) > 0 AND state IN ('held', 'posted')`, incoming[:]).Scan(&one)
	if errors.Is(err, store.ErrNoRow) {
		return false, nil
	}
	return err == nil, err
}

// readBalances is what two accounts have of the asset, nothing where they have no row.
func readBalances(r *store.Reader, a cypherlink.Asset, one, other string) (first, second int64, err error) {
	for row := range r.Query(`SELECT account, scale, balance FROM bank_balances
		WHERE ledger = $1 AND code = $2 AND account IN ($3, $4)`, string(a.Ledger), a.Code, one, other) {
		var account string
		var scale, balance int64
		if err := row.Scan(&account, &scale, &balance); err != nil {
			return 0, 0, err
		}
		switch {
		case scale != int64(a.Scale):
			return 0, 0, fmt.Errorf("%s has %d digits after the point, not %d: %w",
				a, scale, a.Scale, ErrContradiction)
		case account == one:
			first = balance
		default:
			second = balance
		}
	}
	return first, second, nil
}
