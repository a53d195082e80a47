package book

import (
	"bytes"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
)

// crossing is a row of what crossed: a passage and its line.
type crossing struct {
	sequence, events, amount int64
	id, record               []byte
	code, debit, credit      string
}

// crossings reads them; they are replayed between the events (B7).
func (a *audit) crossings(r *store.Reader) error {
	for row := range r.Query(`SELECT sequence, id, events, code, amount, debit, credit, record
		FROM book_crossings ORDER BY sequence`) {
		var c crossing
		if err := row.Scan(&c.sequence, &c.id, &c.events, &c.code, &c.amount, &c.debit, &c.credit,
			&c.record); err != nil {
			return err
		}
		a.ahead = append(a.ahead, c)
	}
	return nil
}

// passUntil replays the passages that came before or after no more than so many events.
func (a *audit) passUntil(events int64) error {
	for len(a.ahead) > 0 && a.ahead[0].events <= events {
		c := a.ahead[0]
		a.ahead = a.ahead[1:]
		if err := a.pass(&c); err != nil {
			return broken("passage %d: %w", c.sequence, err)
		}
	}
	return nil
}

func (a *audit) pass(c *crossing) error {
	p, err := a.operator.Passage(c.record)
	if err != nil {
		return err
	}
	x := p.Crossing
	id := x.ID(a.operator.Network)
	asset, escrow := a.side(x.Asset)
	debit, credit := crossed(&x, asset, place(escrow))
	switch {
	case c.sequence != int64(len(a.passages))+1 || int64(p.Sequence) != c.sequence: //nolint:gosec // compared
		return broken("it follows passage %d", len(a.passages))
	case p.TimeMS < a.last.timeMS:
		return broken("its time %d is before %d", p.TimeMS, a.last.timeMS)
	case c.events != a.last.sequence:
		return broken("it is said to follow event %d, which comes later", c.events)
	case !bytes.Equal(id[:], c.id) || a.passed[id]:
		return broken("crossing %s passes twice, or under another id", id)
	case c.code != asset.Code || c.amount != int64(x.Amount) || c.debit != debit || c.credit != credit:
		return broken("its line moves %d %s from %s to %s", c.amount, c.code, c.debit, c.credit)
	}
	a.last.timeMS = p.TimeMS
	a.passed[id] = true
	a.passages = append(a.passages, p)
	return a.move(c.code, c.amount, c.debit, c.credit)
}

// side is this ledger's asset of a crossing, and the escrow behind it; zero for one that does not
// cross here.
func (a *audit) side(asset cypherlink.Asset) (cypherlink.Asset, cypherlink.Account) {
	for own, b := range a.backings {
		if own == asset || b.Other == asset {
			return own, b.Escrow
		}
	}
	return cypherlink.Asset{}, cypherlink.Account{}
}

// escrow tells whether the place is an escrow account.
func (a *audit) escrow(name string) bool {
	for _, b := range a.backings {
		if name == place(b.Escrow) {
			return true
		}
	}
	return false
}
