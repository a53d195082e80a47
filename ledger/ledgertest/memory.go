package ledgertest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrBook means that a write would break the books: the rules let through what they must not.
var ErrBook = errors.New("ledgertest: the write would break the books")

// Posting moves an amount of an asset out of one place into another. A place is an account;
// the custody place of the asset is the zero account.
type Posting struct {
	Custody       ledger.CustodyID
	Asset         cypherlink.Asset
	Debit, Credit cypherlink.Account
	Amount        cypherlink.Amount
}

// Memory is a ledger.Book in memory that keeps a journal and refuses every write that double
// entry or the life of a custody forbids. It is not safe for concurrent use.
type Memory struct {
	balances  map[holding]cypherlink.Amount
	custodies map[ledger.CustodyID]ledger.Custody
	locked    map[cypherlink.Condition]bool
	journal   []Posting
	network   cypherlink.NetworkID
	backings  map[cypherlink.Asset]ledger.Backing
	held      map[cypherlink.Asset]cypherlink.Amount // on the chain
	crossings map[ledger.CrossingID]ledger.Crossing
}

type holding struct {
	account cypherlink.Account
	asset   cypherlink.Asset
}

// NewMemory opens the accounts with their balances.
func NewMemory(opening []ledger.Balance) *Memory {
	m := &Memory{
		balances:  map[holding]cypherlink.Amount{},
		custodies: map[ledger.CustodyID]ledger.Custody{},
		locked:    map[cypherlink.Condition]bool{},
	}
	for _, b := range opening {
		m.balances[holding{b.Account, b.Asset}] = b.Amount
	}
	return m
}

// AddRamp makes the book a ledger.RampBook for what the charter lets cross, and opens the escrow.
func (m *Memory) AddRamp(charter *ledger.Charter) {
	m.network, m.backings = charter.Network, charter.Backings
	m.held = map[cypherlink.Asset]cypherlink.Amount{}
	m.crossings = map[ledger.CrossingID]ledger.Crossing{}
	for asset, b := range m.backings {
		if b.Escrow != (cypherlink.Account{}) {
			m.balances[holding{b.Escrow, asset}] = 0
		}
	}
}

// Held is what the escrow holds, or what the chain has credited and not burned.
func (m *Memory) Held(asset cypherlink.Asset) (cypherlink.Amount, error) {
	b := m.backings[asset]
	if b.Escrow != (cypherlink.Account{}) {
		return m.balances[holding{b.Escrow, asset}], nil
	}
	return m.held[asset], nil
}

// Crossing is the one that has passed under the id; ok tells whether there is one.
func (m *Memory) Crossing(id ledger.CrossingID) (x ledger.Crossing, ok bool, err error) {
	x, ok = m.crossings[id]
	return x, ok, nil
}

// Cross lets the crossing pass, or reports ErrBook and changes nothing.
func (m *Memory) Cross(asset cypherlink.Asset, x ledger.Crossing) error {
	b, ok := m.backings[asset]
	id := x.ID(m.network)
	if _, passed := m.crossings[id]; !ok || passed || x.Asset != asset && x.Asset != b.Other {
		return fmt.Errorf("crossing %s of %s in %s, passed %v: %w", id, x.Asset, asset, passed, ErrBook)
	}
	p := Posting{Asset: asset, Debit: x.Debit(), Credit: b.Escrow, Amount: x.Amount}
	if x.Asset != asset {
		p.Debit, p.Credit = b.Escrow, x.Credit()
	}
	if b.Escrow != (cypherlink.Account{}) {
		if err := m.post(p); err != nil {
			return err
		}
		m.crossings[id] = x
		return nil
	}
	if err := m.mint(asset, x); err != nil {
		return fmt.Errorf("%w: %w", ErrBook, err)
	}
	m.crossings[id] = x
	return nil
}

// mint is the chain's side, which has no escrow.
func (m *Memory) mint(asset cypherlink.Asset, x ledger.Crossing) error {
	move := cypherlink.Amount.Add
	at := holding{x.Credit(), asset}
	if x.Asset == asset {
		move, at.account = cypherlink.Amount.Sub, x.Debit()
	}
	balance, err := move(m.balances[at], x.Amount)
	if err != nil {
		return err
	}
	held, err := move(m.held[asset], x.Amount)
	if err != nil {
		return err
	}
	m.balances[at], m.held[asset] = balance, held
	return nil
}

// Balance is what the account holds; ok tells whether it is open.
func (m *Memory) Balance(
	account cypherlink.Account, asset cypherlink.Asset,
) (amount cypherlink.Amount, ok bool, err error) {
	amount, ok = m.balances[holding{account, asset}]
	return amount, ok, nil
}

// Custody is the record under the id; ok tells whether there is one.
func (m *Memory) Custody(id ledger.CustodyID) (custody ledger.Custody, ok bool, err error) {
	custody, ok = m.custodies[id]
	return custody, ok, nil
}

// Locked tells whether any custody was ever made under the condition.
func (m *Memory) Locked(condition cypherlink.Condition) (bool, error) {
	return m.locked[condition], nil
}

// Write stores the custody and moves its amount, or reports ErrBook and changes nothing.
func (m *Memory) Write(c ledger.Custody) error {
	leg := c.Leg()
	held := cypherlink.Account{}
	before, exists := m.custodies[c.ID]
	p := Posting{Custody: c.ID, Asset: leg.Asset, Amount: leg.Amount}
	switch c.State {
	case ledger.Prepared:
		p.Debit, p.Credit = leg.Debit, held
	case ledger.Confirmed:
		p.Debit, p.Credit = held, leg.Credit
	case ledger.Returned:
		p.Debit, p.Credit = held, leg.Debit
	case ledger.Absent:
		return fmt.Errorf("custody %s is absent: %w", c.ID, ErrBook)
	}
	switch {
	case exists != (c.State != ledger.Prepared):
		return fmt.Errorf("custody %s as %s: exists %v: %w", c.ID, c.State, exists, ErrBook)
	case exists && before.State != ledger.Prepared:
		return fmt.Errorf("custody %s leaves %s: %w", c.ID, before.State, ErrBook)
	case exists && (before.Subject != c.Subject || !bytes.Equal(before.Packet, c.Packet)):
		return fmt.Errorf("custody %s changes its content: %w", c.ID, ErrBook)
	case !exists && m.locked[c.Subject.Condition]:
		return fmt.Errorf("custody %s under a used condition: %w", c.ID, ErrBook)
	}
	if err := m.post(p); err != nil {
		return err
	}
	m.custodies[c.ID] = c
	m.locked[c.Subject.Condition] = true
	return nil
}

func (m *Memory) post(p Posting) error {
	from, to := holding{p.Debit, p.Asset}, holding{p.Credit, p.Asset}
	custody := holding{cypherlink.Account{}, p.Asset}
	for _, place := range []holding{from, to} {
		if _, ok := m.balances[place]; !ok && place != custody {
			return fmt.Errorf("account %s is not open: %w", place.account, ErrBook)
		}
	}
	rest, err := m.balances[from].Sub(p.Amount)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBook, err)
	}
	sum, err := m.balances[to].Add(p.Amount)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBook, err)
	}
	m.balances[from], m.balances[to] = rest, sum
	m.journal = append(m.journal, p)
	return nil
}

// Total is the sum of the asset's accounts and of what is in custody; ErrBook if it leaves the
// range of an Amount, or if what is in custody is not the sum of the prepared custodies.
func (m *Memory) Total(asset cypherlink.Asset) (cypherlink.Amount, error) {
	var total, held cypherlink.Amount
	var err error
	for place, amount := range m.balances {
		if place.asset != asset {
			continue
		}
		if total, err = total.Add(amount); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrBook, err)
		}
	}
	for _, c := range m.custodies {
		if c.State == ledger.Prepared && c.Leg().Asset == asset {
			held += c.Leg().Amount
		}
	}
	if in := m.balances[holding{cypherlink.Account{}, asset}]; in != held {
		return 0, fmt.Errorf("%d in custody, custodies of %d: %w", in, held, ErrBook)
	}
	return total, nil
}

// Journal is every posting so far, oldest first.
func (m *Memory) Journal() []Posting { return slices.Clone(m.journal) }

// Due lists the prepared custodies whose expiry has come at nowMS, by expiry and id.
func (m *Memory) Due(nowMS int64) []ledger.CustodyID {
	var due []ledger.Custody
	for _, c := range m.custodies {
		if c.State == ledger.Prepared && c.Expired(nowMS) {
			due = append(due, c)
		}
	}
	slices.SortFunc(due, func(a, b ledger.Custody) int {
		return cmp.Or(cmp.Compare(a.Leg().Expiry, b.Leg().Expiry), bytes.Compare(a.ID[:], b.ID[:]))
	})
	ids := make([]ledger.CustodyID, 0, len(due))
	for _, c := range due {
		ids = append(ids, c.ID)
	}
	return ids
}
