package state

import (
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

func stateKey(key []byte) []byte { return append([]byte{spaceState}, key...) }

func encodeIndex(i uint64) []byte {
	w := wire.NewWriter(8)
	w.U64(i)
	return w.Bytes()
}

func feedKey(level uint8, index uint64) []byte {
	w := wire.NewWriter(9)
	w.U8(level)
	w.U64(index)
	return w.Bytes()
}

// get reads a record that may be missing; missing is ErrUnknown.
func (s *State) get(what string, space byte, key []byte) ([]byte, error) {
	value, ok, err := s.store.Get(append([]byte{space}, key...))
	if err != nil {
		return nil, fmt.Errorf("%s %x: %w", what, key, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s %x: %w", what, key, ErrUnknown)
	}
	return value, nil
}

// node implements nodeReader.
func (s *State) node(hash cypherlink.Hash) ([]byte, error) {
	value, ok, err := s.store.Get(append([]byte{spaceNode}, hash[:]...))
	if err == nil && !ok {
		err = ErrTree
	}
	return value, err
}

// feedNode implements feedReader.
func (s *State) feedNode(level uint8, index uint64) (cypherlink.Hash, error) {
	value, err := s.get("node of the feed", spaceFeed, feedKey(level, index))
	if err != nil {
		return cypherlink.Hash{}, err
	}
	if len(value) != 32 {
		return cypherlink.Hash{}, recordError("node of the feed", nil)
	}
	return cypherlink.Hash(value), nil
}

// Balance is what the account holds of the asset in the final state; ok tells whether it is
// open.
func (s *State) Balance(
	account cypherlink.Account, asset cypherlink.Asset,
) (amount cypherlink.Amount, ok bool, err error) {
	value, ok, err := s.store.Get(stateKey(BalanceKey(account, asset)))
	if err != nil || !ok {
		return 0, false, err
	}
	amount, err = DecodeAmount(value)
	return amount, err == nil, err
}

// Balances lists every account of the final state with what it holds, in the order of owner,
// number and asset.
func (s *State) Balances() ([]ledger.Balance, error) {
	var all []ledger.Balance
	var bad error
	from, to := []byte{spaceState, kindBalance}, []byte{spaceState, kindBalance + 1}
	err := s.store.Scan(from, to, func(key, value []byte) bool {
		r := wire.NewReader(key[2:])
		b := ledger.Balance{Account: cypherlink.ReadAccount(r), Asset: cypherlink.ReadAsset(r)}
		if bad = r.End(); bad == nil {
			b.Amount, bad = DecodeAmount(value)
		}
		all = append(all, b)
		return bad == nil
	})
	if err == nil && bad != nil {
		err = recordError("balance", bad)
	}
	return all, err
}

// Custodies calls yield with every custody of the final state, in the order of their ids,
// until it returns false.
func (s *State) Custodies(yield func(ledger.Custody) bool) error {
	var bad error
	from, to := []byte{spaceState, kindCustody}, []byte{spaceState, kindCustody + 1}
	err := s.store.Scan(from, to, func(_, value []byte) bool {
		var c ledger.Custody
		if c, bad = DecodeCustody(append([]byte(nil), value...)); bad != nil {
			return false
		}
		return yield(c)
	})
	if err == nil {
		err = bad
	}
	return err
}

// HeaderAt is the header of the final block of that height; ErrUnknown above the last one.
func (s *State) HeaderAt(height uint64) (chain.Header, error) {
	raw, err := s.get("block", spaceBlock, encodeIndex(height))
	if err != nil {
		return chain.Header{}, err
	}
	h, err := chain.DecodeHeader(raw[:min(chain.HeaderSize, len(raw))])
	if err != nil {
		return chain.Header{}, recordError(fmt.Sprint("block ", height), err)
	}
	return h, nil
}

// BlockAt is the final block of that height; ErrUnknown above the last one.
func (s *State) BlockAt(height uint64) (chain.Block, error) {
	raw, err := s.get("block", spaceBlock, encodeIndex(height))
	if err != nil {
		return chain.Block{}, err
	}
	b, err := chain.DecodeBlock(raw)
	if err != nil {
		return chain.Block{}, recordError(fmt.Sprint("block ", height), err)
	}
	return b, nil
}

// ProofAt proves that the block of that height is final; ErrUnknown if it has no proof of its
// own. Members store one with every block but the first.
func (s *State) ProofAt(height uint64) (chain.FinalityProof, error) {
	p, err := s.ProofFrom(height)
	if err == nil && p.Headers[0].Height != height {
		err = fmt.Errorf("proof at height %d: %w", height, ErrUnknown)
	}
	if err != nil {
		return chain.FinalityProof{}, err
	}
	return p, nil
}

// ProofFrom proves that the first block from that height on that has a proof of its own is
// final. Whatever the feed held at that height, it holds under that block too. ErrUnknown
// above the last proof.
func (s *State) ProofFrom(height uint64) (chain.FinalityProof, error) {
	var raw []byte
	from, to := append([]byte{spaceProof}, encodeIndex(height)...), []byte{spaceProof + 1}
	err := s.store.Scan(from, to, func(_, value []byte) bool {
		raw = slices.Clone(value)
		return false
	})
	if err != nil {
		return chain.FinalityProof{}, err
	}
	if raw == nil {
		return chain.FinalityProof{}, fmt.Errorf("proof from height %d: %w", height, ErrUnknown)
	}
	p, err := chain.DecodeFinalityProof(raw)
	if err != nil || len(p.Headers) == 0 {
		return chain.FinalityProof{}, recordError(fmt.Sprint("proof from height ", height), err)
	}
	return p, nil
}

// EventAt is the event at an index of the feed, from 0; ErrUnknown past its end.
func (s *State) EventAt(index uint64) (*Event, error) {
	raw, err := s.get("event", spaceEvent, encodeIndex(index))
	if err != nil {
		return nil, err
	}
	e, err := DecodeEvent(raw)
	if err != nil {
		return nil, recordError(fmt.Sprint("event ", index), err)
	}
	return e, nil
}

// LatestEvent is the index of the latest event about a subject, such as the id of a custody;
// ErrUnknown if there is none.
func (s *State) LatestEvent(subject cypherlink.Hash) (uint64, error) {
	raw, err := s.get("receipt", spaceReceipt, subject[:])
	if err != nil {
		return 0, err
	}
	r := wire.NewReader(raw)
	index := r.U64()
	if err := r.End(); err != nil {
		return 0, recordError("receipt", err)
	}
	return index, nil
}

// EventPath proves that the event at index is in the feed of its first size events, as a
// header names it: the audit path of merkle.VerifyInclusion. Past the end it is ErrUnknown.
func (s *State) EventPath(index, size uint64) ([]merkle.Hash, error) {
	if index >= size {
		return nil, fmt.Errorf("event %d of %d: %w", index, size, ErrUnknown)
	}
	path, err := feedPath(index, size, s)
	if err != nil {
		return nil, err
	}
	plain := make([]merkle.Hash, len(path))
	for i, h := range path {
		plain[i] = h
	}
	return plain, nil
}
