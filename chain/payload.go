package chain

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrPayload means that a payload exceeds its bounds, is malformed, or is not the one that
// its header names.
var ErrPayload = errors.New("chain: wrong payload")

// Bounds of a block.
const (
	// MaxTransactions is the number of transactions.
	MaxTransactions = 1024
	// MaxPayload is the length of all transactions together with a 4-byte length each.
	MaxPayload = 256 << 10
)

// payloadInline is the one form in which a payload travels until there are batches. The form
// byte is the place for them: a block over batches will name, for each, its digest, its
// availability certificate and a bitmap of the transactions that it includes. None of it is
// in the header: root and count cover the included transactions alone, in order, so a block
// has one id in every form.
const payloadInline = 1

// Payload is the transactions of a block, in order. Each is opaque here and has at least one
// byte.
type Payload [][]byte

// Root is the RFC 6962 root over the transactions.
func (p Payload) Root() cypherlink.Hash { return merkle.Root(p.leaves()) }

// Path proves that transaction i is in the payload: the audit path of merkle.VerifyInclusion.
// It panics if there is no such transaction, as indexing does.
func (p Payload) Path(i int) []merkle.Hash { return merkle.Inclusion(p.leaves(), i) }

func (p Payload) leaves() []merkle.Hash {
	leaves := make([]merkle.Hash, len(p))
	for i, tx := range p {
		leaves[i] = merkle.Leaf(tx)
	}
	return leaves
}

// Size is what MaxPayload bounds.
func (p Payload) Size() int {
	size := 0
	for _, tx := range p {
		size += 4 + len(tx)
	}
	return size
}

// check reports ErrPayload unless p is the payload of h and keeps the bounds. It gives the
// key block that p carries, or nil.
func (p Payload) check(h Header) (*KeyBlock, error) {
	if len(p) > MaxTransactions || p.Size() > MaxPayload {
		return nil, fmt.Errorf("%d transactions, %d bytes: %w", len(p), p.Size(), ErrPayload)
	}
	if i := slices.IndexFunc(p, func(tx []byte) bool { return len(tx) == 0 }); i >= 0 {
		return nil, fmt.Errorf("transaction %d is empty: %w", i, ErrPayload)
	}
	if uint64(len(p)) != uint64(h.PayloadCount) || p.Root() != h.PayloadRoot {
		return nil, fmt.Errorf("%d transactions of root %s: %w", len(p), p.Root(), ErrPayload)
	}
	return p.KeyBlock()
}

// KeyBlock is the key block that p carries, or nil. A key block is the first transaction and
// is known by its magic bytes; anywhere else, or malformed, it is ErrPayload. Until a
// committee can be replaced it is also the only one: what supports a key block (candidate
// lists, evidence) will follow it as further transactions.
func (p Payload) KeyBlock() (*KeyBlock, error) {
	at := slices.IndexFunc(p, func(tx []byte) bool { return bytes.HasPrefix(tx, []byte(keyBlockMagic)) })
	if at < 0 {
		return nil, nil //nolint:nilnil // most payloads carry none
	}
	if at > 0 || len(p) > 1 {
		return nil, fmt.Errorf("a key block is transaction %d of %d: %w", at, len(p), ErrPayload)
	}
	k, err := DecodeKeyBlock(p[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	return &k, nil
}

// AppendWire appends the canonical form: the form byte, a 32-bit count, and each transaction
// behind its 32-bit length.
func (p Payload) AppendWire(w *wire.Writer) {
	w.U8(payloadInline)
	w.U32(uint32(len(p))) //nolint:gosec // at most MaxTransactions
	for _, tx := range p {
		w.Var(tx)
	}
}

// ReadPayload reads what AppendWire wrote. The transactions are parts of the input.
func ReadPayload(r *wire.Reader) Payload {
	if form := r.U8(); r.Err() == nil && form != payloadInline {
		r.Fail(fmt.Errorf("form %d: %w", form, ErrPayload))
	}
	n := r.Count(MaxTransactions, 5)
	if n == 0 {
		return nil
	}
	p, left := make(Payload, n), MaxPayload
	for i := range p {
		p[i] = r.Var(max(left-4, 0))
		left -= 4 + len(p[i])
		if r.Err() == nil && len(p[i]) == 0 {
			r.Fail(fmt.Errorf("transaction %d is empty: %w", i, ErrPayload))
		}
	}
	return p
}
