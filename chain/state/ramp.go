package state

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

var _ ledger.RampBook = book{}

// CrossingKey is where the state keeps a crossing that was credited or burned, for ever.
func CrossingKey(id ledger.CrossingID) []byte {
	return append([]byte{kindCrossing}, id[:]...)
}

// SupplyKey is where the state keeps what was credited of an asset and not burned: what all its
// accounts, custodies and channels hold together.
func SupplyKey(asset cypherlink.Asset) []byte {
	w := wire.NewWriter(MaxKey)
	w.U8(kindSupply)
	asset.AppendWire(w)
	return w.Bytes()
}

// Passed is a crossing that the chain let pass.
type Passed struct {
	ID       ledger.CrossingID
	Crossing ledger.Crossing
}

// Subject is the crossing's id.
func (p Passed) Subject() cypherlink.Hash { return cypherlink.Hash(p.ID) }

func (p Passed) appendWire(w *wire.Writer) {
	w.Fixed(p.ID[:])
	p.Crossing.AppendWire(w)
}

func readPassed(r *wire.Reader) Passed {
	var p Passed
	r.Fixed(p.ID[:])
	p.Crossing = ledger.ReadCrossing(r)
	return p
}

// CreditFact tells that a crossing came in: its owner has the amount on the chain.
type CreditFact struct{ Passed }

func (CreditFact) kind() uint8 { return factCredit }

// BurnFact tells that a crossing left: its owner no longer has the amount on the chain, and the
// external ledger owes it.
type BurnFact struct{ Passed }

func (BurnFact) kind() uint8 { return factBurn }

// Passed is the crossing that the event tells of; ok tells whether it is of one.
func (e *Event) Passed() (p Passed, ok bool) {
	switch f := e.Fact.(type) {
	case CreditFact:
		return f.Passed, true
	case BurnFact:
		return f.Passed, true
	default:
		return Passed{}, false
	}
}

// DecodeCrossing reads the value under a CrossingKey; otherwise ErrRecord.
func DecodeCrossing(b []byte) (ledger.Crossing, error) {
	r := wire.NewReader(b)
	x := ledger.ReadCrossing(r)
	if err := r.End(); err != nil {
		return ledger.Crossing{}, recordError("crossing", err)
	}
	return x, nil
}

// Held implements ledger.RampBook: the supply.
func (b book) Held(asset cypherlink.Asset) (cypherlink.Amount, error) {
	value, ok, err := b.state.lookup(b.v, SupplyKey(asset))
	if err != nil || !ok {
		return 0, err
	}
	return DecodeAmount(value)
}

// Crossing implements ledger.RampBook.
func (b book) Crossing(id ledger.CrossingID) (x ledger.Crossing, ok bool, err error) {
	value, ok, err := b.state.lookup(b.v, CrossingKey(id))
	if err != nil || !ok {
		return ledger.Crossing{}, false, err
	}
	x, err = DecodeCrossing(value)
	return x, err == nil, err
}

// Cross implements ledger.RampBook. It changes everything or, with an error, nothing.
func (b book) Cross(asset cypherlink.Asset, x ledger.Crossing) error {
	passed := Passed{ID: x.ID(b.state.base.Network), Crossing: x}
	var fact Fact = CreditFact{passed}
	account, move := x.Credit(), cypherlink.Amount.Add
	if x.Asset == asset {
		fact, account, move = BurnFact{passed}, x.Debit(), cypherlink.Amount.Sub
	}
	balance, _, err := b.Balance(account, asset)
	if err != nil {
		return err
	}
	supply, err := b.Held(asset)
	if err != nil {
		return err
	}
	if balance, err = move(balance, x.Amount); err == nil {
		supply, err = move(supply, x.Amount)
	}
	if err != nil {
		return fmt.Errorf("crossing %s: %w", passed.ID, err)
	}
	w := b.v.writes
	w[string(BalanceKey(account, asset))] = encodeAmount(balance)
	w[string(SupplyKey(asset))] = encodeAmount(supply)
	var value wire.Writer
	x.AppendWire(&value)
	w[string(CrossingKey(passed.ID))] = value.Bytes()
	b.v.tell(fact)
	return nil
}

// Supply is what was credited of the asset and not burned, in the final state.
func (s *State) Supply(asset cypherlink.Asset) (cypherlink.Amount, error) {
	return book{s, s.final}.Held(asset)
}

// Crossings calls yield with every crossing of the final state, in the order of their ids, until it
// returns false.
func (s *State) Crossings(yield func(Passed) bool) error {
	var bad error
	from, to := []byte{spaceState, kindCrossing}, []byte{spaceState, kindCrossing + 1}
	err := s.store.Scan(from, to, func(key, value []byte) bool {
		p := Passed{}
		copy(p.ID[:], key[2:])
		if p.Crossing, bad = DecodeCrossing(value); bad != nil {
			return false
		}
		return yield(p)
	})
	if err == nil {
		err = bad
	}
	return err
}
