package state

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrBlock means that a block is not valid on the state that it claims to stand on.
var ErrBlock = errors.New("state: invalid block")

// MaxReturns bounds the custodies that expire in one block, so that many with one expiry
// cannot make a block that no member can execute in time. The others follow in the next
// blocks, and until then nobody can confirm them either.
const MaxReturns = 4096

// Execute executes a block on its parent's state: it returns every custody whose expiry has
// come, then applies each transaction to what the one before left. A block of which any
// transaction fails, or whose header names other roots, is ErrBlock. Nothing is written to
// the store; parent stays as it is.
func (s *State) Execute(parent *Version, h chain.Header, payload chain.Payload) (*Version, error) {
	txs := make([]*Transaction, len(payload))
	for i, raw := range payload {
		tx, err := DecodeTransaction(raw)
		if err != nil {
			return nil, fmt.Errorf("transaction %d: %w: %w", i, ErrBlock, err)
		}
		txs[i] = tx
	}
	v, err := s.begin(parent, h.Height, h.TimeMS)
	if err != nil {
		return nil, err
	}
	for i, err := range v.rules.verify(txs) {
		if err != nil {
			return nil, fmt.Errorf("transaction %d: %w: %w", i, ErrBlock, err)
		}
	}
	for i, tx := range txs {
		if err := tx.Body.apply(s, v); err != nil {
			if refusal(err) {
				return nil, fmt.Errorf("transaction %d: %w: %w", i, ErrBlock, err)
			}
			return nil, err
		}
	}
	if err := s.seal(v); err != nil {
		return nil, err
	}
	if got := v.Roots(); got != h.Roots {
		return nil, fmt.Errorf("roots %+v, the header has %+v: %w", got, h.Roots, ErrBlock)
	}
	return v, nil
}

// Built is a block that a leader may propose.
type Built struct {
	Version *Version
	Payload chain.Payload
	// LeftOut are the candidates that would fail, with their reasons. A candidate that is
	// neither here nor in the payload found no room.
	LeftOut []LeftOut
}

// LeftOut is a transaction that cannot be in the block.
type LeftOut struct {
	Transaction *Transaction
	// Err is a refusal of package ledger, or ledger.ErrRepeated.
	Err error
}

// Build executes a block at that height and time on parent's state from as many of the
// candidates as succeed and find room, in their order.
func (s *State) Build(
	parent *Version, height uint64, timeMS int64, candidates []*Transaction,
) (*Built, error) {
	v, err := s.begin(parent, height, timeMS)
	if err != nil {
		return nil, err
	}
	b := &Built{Version: v}
	size := 0
	verified := v.rules.verify(candidates)
	for i, tx := range candidates {
		if len(b.Payload) == chain.MaxTransactions {
			break
		}
		if size+4+len(tx.raw) > chain.MaxPayload {
			continue
		}
		err := verified[i]
		if err == nil {
			err = tx.Body.apply(s, v)
		}
		switch {
		case err == nil:
			b.Payload = append(b.Payload, tx.raw)
			size += 4 + len(tx.raw)
		case refusal(err):
			b.LeftOut = append(b.LeftOut, LeftOut{Transaction: tx, Err: err})
		default:
			return nil, err
		}
	}
	return b, s.seal(v)
}

// Try tells whether the transaction would succeed alone in a block of that time on the
// version: nil, a refusal of package ledger, ledger.ErrRepeated, or an error of the store.
func (s *State) Try(on *Version, timeMS int64, tx *Transaction) error {
	if err := s.live(on); err != nil {
		return err
	}
	t := &s.trial
	timeMS = max(timeMS, on.timeMS+1)
	if t.on != on || t.begun.timeMS/1000 != timeMS/1000 {
		v, err := s.begin(on, on.height+1, timeMS)
		if err != nil {
			return err
		}
		t.on, t.begun = on, v
	}
	v := t.begun.child(t.begun.height, t.begun.timeMS)
	v.rules = t.begun.rules
	if err := v.rules.verify([]*Transaction{tx})[0]; err != nil {
		return err
	}
	return tx.Body.apply(s, v)
}

// trial is a block that Try has begun. The rules know seconds alone, so it serves for every
// transaction that is tried on that version in that second.
type trial struct{ on, begun *Version }

// begin starts a block: time and height follow the parent's, and what has expired is returned.
func (s *State) begin(parent *Version, height uint64, timeMS int64) (*Version, error) {
	if height != parent.height+1 || timeMS <= parent.timeMS {
		return nil, fmt.Errorf("height %d, time %d on height %d, time %d: %w",
			height, timeMS, parent.height, parent.timeMS, ErrBlock)
	}
	if err := s.live(parent); err != nil {
		return nil, err
	}
	v := parent.child(height, timeMS)
	v.rules = s.rulesAt(parent.registry, timeMS)
	due, err := s.due(v, timeMS/1000, MaxReturns)
	if err != nil {
		return nil, err
	}
	for _, id := range due {
		_, changed, err := ledger.Expire(book{s, v}, timeMS, id)
		if err != nil {
			return nil, fmt.Errorf("expiry of %s: %w", id, err)
		}
		if !changed {
			return nil, recordError(fmt.Sprintf("expiry of %s", id), nil)
		}
	}
	return v, s.expireChannels(v)
}

// child is a version that has changed nothing yet.
func (v *Version) child(height uint64, timeMS int64) *Version {
	return &Version{
		height: height, timeMS: timeMS, root: v.root, feed: v.feed, registry: v.registry,
		parent: v, writes: map[string][]byte{},
	}
}

// refusal tells a transaction that fails from a store that does.
func refusal(err error) bool {
	_, ok := errors.AsType[*cypherlink.Error](err)
	return ok || errors.Is(err, ledger.ErrRepeated)
}

// book is what the ledger's rules read and change: a block in the making.
type book struct {
	state *State
	v     *Version
}

// Balance implements ledger.Book.
func (b book) Balance(
	account cypherlink.Account, asset cypherlink.Asset,
) (amount cypherlink.Amount, ok bool, err error) {
	value, ok, err := b.state.lookup(b.v, BalanceKey(account, asset))
	if err != nil || !ok {
		return 0, false, err
	}
	amount, err = DecodeAmount(value)
	return amount, err == nil, err
}

// Custody implements ledger.Book.
func (b book) Custody(id ledger.CustodyID) (custody ledger.Custody, ok bool, err error) {
	value, ok, err := b.state.lookup(b.v, CustodyKey(id))
	if err != nil || !ok {
		return ledger.Custody{}, false, err
	}
	custody, err = DecodeCustody(value)
	return custody, err == nil, err
}

// Locked implements ledger.Book.
func (b book) Locked(condition cypherlink.Condition) (bool, error) {
	_, ok, err := b.state.lookup(b.v, conditionKey(condition))
	return ok, err
}

// Write implements ledger.Book. It changes everything or, with an error, nothing.
func (b book) Write(c ledger.Custody) error {
	leg := c.Leg()
	account := leg.Debit
	if c.State == ledger.Confirmed {
		account = leg.Credit
	}
	balance, ok, err := b.Balance(account, leg.Asset)
	if err != nil {
		return err
	}
	if !ok {
		return recordError("account of a custody", nil)
	}
	if c.State == ledger.Prepared {
		balance, err = balance.Sub(leg.Amount)
	} else {
		balance, err = balance.Add(leg.Amount)
	}
	if err != nil {
		return fmt.Errorf("custody %s: %w", c.ID, err)
	}
	w := b.v.writes
	w[string(BalanceKey(account, leg.Asset))] = encodeAmount(balance)
	w[string(CustodyKey(c.ID))] = encodeCustody(&c)
	expiry := string(expiryKey(leg.Expiry, c.ID))
	if c.State == ledger.Prepared {
		w[string(conditionKey(c.Subject.Condition))] = c.ID[:]
		w[expiry] = []byte{}
	} else {
		w[expiry] = nil
	}
	b.v.tell(CustodyFact{c})
	return nil
}
