package book

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// Balances lists what every account holds, in the order of the accounts' text form.
func (b *Book) Balances(ctx context.Context) ([]ledger.Balance, error) {
	assets := map[string]cypherlink.Asset{}
	for _, a := range b.charter.Assets() {
		assets[a.Code] = a
	}
	var balances []ledger.Balance
	err := b.store.View(ctx, func(r *store.Reader) error {
		balances = nil
		for row := range r.Query(`SELECT place, code, balance FROM book_places
			WHERE place <> $1 ORDER BY place, code`, custodyPlace) {
			var h holding
			var one ledger.Balance
			if err := row.Scan(&h.place, &h.code, (*int64)(&one.Amount)); err != nil {
				return err
			}
			if err := one.Account.UnmarshalText([]byte(h.place)); err != nil {
				return fmt.Errorf("%w: %w", ErrBooks, err)
			}
			one.Asset = assets[h.code]
			balances = append(balances, one)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("balances: %w", err)
	}
	return balances, nil
}

// Totals is what an asset adds up to.
type Totals struct {
	// Code is the asset's.
	Code string
	// Issued is what the opening issued, Accounts what all accounts hold, Custody what is in
	// custody. Issued is the sum of the other two.
	Issued, Accounts, Custody cypherlink.Amount
}

// Audited is the result of an audit.
type Audited struct {
	// Events counts them; Custodies tells where each custody stands.
	Events    int64
	Custodies map[ledger.CustodyID]ledger.State
	// Passages are what crossed, in the order of the ramp's numbers.
	Passages []ledger.Passage
	// Assets are in the order of their codes.
	Assets []Totals
}

// Audit checks the books in the store by themselves, on one consistent state: it replays the
// opening, every event and every passage, verifies the operator's signature of each, and compares
// what comes out with what the tables say (B1 to B5, B7). Backings are the charter's. The book need
// not run. A contradiction is ErrBooks.
func Audit(
	ctx context.Context, s *store.Store, operator ledger.Operator,
	backings map[cypherlink.Asset]ledger.Backing,
) (Audited, error) {
	var a *audit
	err := s.View(ctx, func(r *store.Reader) error {
		a = &audit{
			operator: operator, backings: backings, balances: chart{}, issued: map[string]int64{},
			custodies: map[ledger.CustodyID]ledger.Receipt{}, passed: map[ledger.CrossingID]bool{},
		}
		return errors.Join(a.opening(r), a.crossings(r), a.events(r), a.places(r), a.standing(r), a.lines(r))
	})
	if err != nil {
		return Audited{}, fmt.Errorf("audit of ledger %s: %w", operator.Ledger, err)
	}
	return a.result(), nil
}

// audit is what the replay knows.
type audit struct {
	operator  ledger.Operator
	balances  chart
	issued    map[string]int64
	custodies map[ledger.CustodyID]ledger.Receipt // the last of each
	last      head
	count     int64 // lines
	journal   int64 // those of them that are in the journal

	backings map[cypherlink.Asset]ledger.Backing
	ahead    []crossing // not replayed yet
	passed   map[ledger.CrossingID]bool
	passages []ledger.Passage
}

func broken(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrBooks)...)
}

// move replays a line: no place ever has less than nothing (B1).
func (a *audit) move(code string, amount int64, debit, credit string) error {
	a.count++
	from, to := holding{debit, code}, holding{credit, code}
	if debit != issuePlace {
		if a.balances[from] < amount {
			return broken("line %d takes %d %s from %s, which has %d", a.count, amount, code, debit,
				a.balances[from])
		}
		a.balances[from] -= amount
	}
	sum, err := cypherlink.Amount(a.balances[to]).Add(cypherlink.Amount(amount))
	if err != nil {
		return broken("line %d: %w", a.count, err)
	}
	a.balances[to] = int64(sum)
	return nil
}

func (a *audit) opening(r *store.Reader) error {
	for row := range r.Query(`SELECT code, amount, debit, credit FROM book_journal
		WHERE sequence = 0 ORDER BY line`) {
		var code, debit, credit string
		var amount int64
		if err := row.Scan(&code, &amount, &debit, &credit); err != nil {
			return err
		}
		if debit != issuePlace || a.escrow(credit) {
			return broken("the opening takes from %s and gives to %s", debit, credit)
		}
		a.journal++
		if err := a.move(code, amount, debit, credit); err != nil {
			return err
		}
		total, err := cypherlink.Amount(a.issued[code]).Add(cypherlink.Amount(amount))
		if err != nil {
			return broken("the opening issues %s: %w", code, err)
		}
		a.issued[code] = int64(total)
	}
	return nil
}

// events replays them, each with its line and its record (B4).
func (a *audit) events(r *store.Reader) error {
	for row := range r.Query(`SELECT e.sequence, e.custody, e.state, e.time_ms, e.record,
			j.code, j.amount, j.debit, j.credit
		FROM book_events e JOIN book_journal j ON j.sequence = e.sequence AND j.line = 0
		ORDER BY e.sequence`) {
		var e event
		if err := row.Scan(&e.sequence, &e.custody, &e.state, &e.timeMS, &e.record,
			&e.code, &e.amount, &e.debit, &e.credit); err != nil {
			return err
		}
		if err := a.passUntil(e.sequence - 1); err != nil {
			return err
		}
		if err := a.replay(&e); err != nil {
			return fmt.Errorf("event %d: %w", e.sequence, err)
		}
	}
	if err := a.passUntil(a.last.sequence); err != nil {
		return err
	}
	if len(a.ahead) > 0 {
		c := a.ahead[0]
		return broken("passage %d follows event %d, which is not there", c.sequence, c.events)
	}
	return nil
}

// event is an event's row and its line.
type event struct {
	sequence, state, timeMS, amount int64
	custody, record                 []byte
	code, debit, credit             string
}

func (a *audit) replay(e *event) error {
	receipt, err := a.operator.Receipt(e.record)
	if err != nil {
		return broken("its record: %w", err)
	}
	c := receipt.Custody
	before, exists := a.custodies[c.ID]
	debit, credit := route(&c)
	switch {
	case e.sequence != a.last.sequence+1:
		return broken("it follows event %d", a.last.sequence)
	case e.timeMS < a.last.timeMS:
		return broken("its time %d is before %d", e.timeMS, a.last.timeMS)
	case receipt.Sequence != uint64(e.sequence) || receipt.TimeMS != e.timeMS || //nolint:gosec // positive
		int64(c.State) != e.state || !bytes.Equal(c.ID[:], e.custody):
		return broken("its record is of another event")
	case e.debit != debit || e.credit != credit || e.code != c.Leg().Asset.Code ||
		e.amount != int64(c.Leg().Amount):
		return broken("its line moves %d %s from %s to %s", e.amount, e.code, e.debit, e.credit)
	case exists != (c.State != ledger.Prepared) || exists && before.Custody.State != ledger.Prepared:
		return broken("custody %s goes from %s to %s", c.ID, before.Custody.State, c.State)
	case exists && before.Custody.Subject != c.Subject:
		return broken("custody %s changes its content", c.ID)
	case a.escrow(e.debit) || a.escrow(e.credit):
		return broken("custody %s moves what is in escrow", c.ID)
	}
	a.journal++
	a.last = head{e.sequence, e.timeMS}
	a.custodies[c.ID] = receipt
	return a.move(e.code, e.amount, e.debit, e.credit)
}

// places compares the balances (B2, B3).
func (a *audit) places(r *store.Reader) error {
	var errs []error
	seen := map[holding]bool{}
	held := map[string]int64{}
	for row := range r.Query("SELECT place, code, balance FROM book_places ORDER BY place, code") {
		var h holding
		var amount int64
		if err := row.Scan(&h.place, &h.code, &amount); err != nil {
			return err
		}
		seen[h] = true
		held[h.code] += amount
		if want := a.balances[h]; amount != want {
			errs = append(errs, broken("%s has %d %s, its lines say %d", h.place, amount, h.code, want))
		}
	}
	for h, amount := range a.balances {
		if amount != 0 && !seen[h] {
			errs = append(errs, broken("%s has no balance in %s, its lines say %d", h.place, h.code, amount))
		}
	}
	for code, total := range held {
		if total != a.issued[code] {
			errs = append(errs, broken("%d %s are held, %d were issued", total, code, a.issued[code]))
		}
	}
	return errors.Join(errs...)
}

// standing compares where custodies stand, and the head.
func (a *audit) standing(r *store.Reader) error {
	h, err := readHead(r)
	if err != nil {
		return err
	}
	if h.sequence != a.last.sequence || h.timeMS < a.last.timeMS {
		return broken("the head is event %d at %d, the last event is %d at %d",
			h.sequence, h.timeMS, a.last.sequence, a.last.timeMS)
	}
	n := 0
	for row := range r.Query(`SELECT id, condition, state, code, amount, expiry, sequence
		FROM book_custodies`) {
		var id, condition []byte
		var state, amount, expiry, sequence int64
		var code string
		if err := row.Scan(&id, &condition, &state, &code, &amount, &expiry, &sequence); err != nil {
			return err
		}
		n++
		if len(id) != len(ledger.CustodyID{}) {
			return broken("custody id %x", id)
		}
		receipt := a.custodies[ledger.CustodyID(id)]
		c := receipt.Custody
		if int64(c.State) != state || sequence != int64(receipt.Sequence) || //nolint:gosec // replayed
			c.Leg().Asset.Code != code || int64(c.Leg().Amount) != amount || c.Leg().Expiry != expiry ||
			!bytes.Equal(c.Subject.Condition[:], condition) {
			return broken("custody %x is not what its events say", id)
		}
	}
	if n != len(a.custodies) {
		return broken("%d custodies, by the events %d", n, len(a.custodies))
	}
	return nil
}

// lines finds lines that belong to no event, and events without a line.
func (a *audit) lines(r *store.Reader) error {
	var lines, events int64
	err := errors.Join(
		r.QueryRow("SELECT COUNT(*) FROM book_journal").Scan(&lines),
		r.QueryRow("SELECT COUNT(*) FROM book_events").Scan(&events))
	if err != nil {
		return err
	}
	if lines != a.journal || events != a.last.sequence {
		return broken("%d lines and %d events, of which %d and %d belong together",
			lines, events, a.journal, a.last.sequence)
	}
	return nil
}

func (a *audit) result() Audited {
	result := Audited{
		Events: a.last.sequence, Custodies: map[ledger.CustodyID]ledger.State{}, Passages: a.passages,
	}
	for id, receipt := range a.custodies {
		result.Custodies[id] = receipt.Custody.State
	}
	totals := map[string]*Totals{}
	for code, issued := range a.issued {
		totals[code] = &Totals{Code: code, Issued: cypherlink.Amount(issued)}
	}
	for h, amount := range a.balances {
		t, ok := totals[h.code]
		switch {
		case !ok:
		case h.place == custodyPlace:
			t.Custody += cypherlink.Amount(amount)
		default:
			t.Accounts += cypherlink.Amount(amount)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(totals)) {
		result.Assets = append(result.Assets, *totals[code])
	}
	return result
}
