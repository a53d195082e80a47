package book

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// open writes the opening into a new database, or compares it with that of an old one.
func open(tx *store.Tx, charter *ledger.Charter, opening []ledger.Balance, nowMS int64) error {
	opening, err := withEscrow(charter, opening)
	if err != nil {
		return err
	}
	chart, err := newChart(charter, opening)
	if err != nil {
		return err
	}
	var network, id string
	err = tx.QueryRow("SELECT network, ledger FROM book_head").Scan(&network, &id)
	switch {
	case errors.Is(err, store.ErrNoRow):
		return chart.write(tx, charter, opening, nowMS)
	case err != nil:
		return err
	case network != charter.Network.String() || id != string(charter.Ledger):
		return fmt.Errorf("the database is that of ledger %s of network %s: %w", id, network, ErrChart)
	}
	return chart.compare(&tx.Reader)
}

// chart is what every account holds at first.
type chart map[holding]int64

// newChart checks the opening: assets of the charter, each account once in each, and no asset
// with more than an Amount holds, from which it follows that no credit ever overflows.
func newChart(charter *ledger.Charter, opening []ledger.Balance) (chart, error) {
	c := chart{}
	issued := map[cypherlink.Asset]cypherlink.Amount{}
	for _, b := range opening {
		h := holding{place(b.Account), b.Asset.Code}
		if _, known := charter.Policies[b.Asset]; !known {
			return nil, fmt.Errorf("asset %s is not of this ledger: %w", b.Asset, ErrChart)
		}
		if _, twice := c[h]; twice {
			return nil, fmt.Errorf("account %s stands twice in %s: %w", b.Account, b.Asset, ErrChart)
		}
		total, err := issued[b.Asset].Add(b.Amount)
		if err != nil {
			return nil, fmt.Errorf("the total of %s: %w: %w", b.Asset, ErrChart, err)
		}
		issued[b.Asset] = total
		c[h] = int64(b.Amount)
	}
	return c, nil
}

func (c chart) write(
	tx *store.Tx, charter *ledger.Charter, opening []ledger.Balance, nowMS int64,
) error {
	var places, lines [][]any
	for _, asset := range charter.Assets() {
		places = append(places, []any{custodyPlace, asset.Code, 0})
	}
	for i, b := range opening {
		places = append(places, []any{place(b.Account), b.Asset.Code, int64(b.Amount)})
		if b.Amount > 0 {
			lines = append(lines, []any{0, i, b.Asset.Code, int64(b.Amount), issuePlace, place(b.Account)})
		}
	}
	if _, err := insert(tx, insertPlaces, "", places); err != nil {
		return err
	}
	if _, err := insert(tx, insertLines, "", lines); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO book_head (one, network, ledger, sequence, time_ms)
		VALUES (1, $1, $2, 0, $3)`, charter.Network.String(), string(charter.Ledger), nowMS)
	return err
}

// compare reports ErrChart unless the database was opened with the same chart.
func (c chart) compare(r *store.Reader) error {
	stored := chart{}
	for row := range r.Query("SELECT place, code FROM book_places WHERE place <> $1", custodyPlace) {
		var h holding
		if err := row.Scan(&h.place, &h.code); err != nil {
			return err
		}
		stored[h] = 0
	}
	for row := range r.Query("SELECT credit, code, amount FROM book_journal WHERE sequence = 0") {
		var h holding
		var amount int64
		if err := row.Scan(&h.place, &h.code, &amount); err != nil {
			return err
		}
		stored[h] = amount
	}
	if len(stored) != len(c) {
		return fmt.Errorf("the database has %d accounts, the opening %d: %w", len(stored), len(c), ErrChart)
	}
	for h, amount := range c {
		if got, ok := stored[h]; !ok || got != amount {
			return fmt.Errorf("account %s opened with %d %s, not %d: %w",
				h.place, got, h.code, amount, ErrChart)
		}
	}
	return nil
}
