package follow

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrMessage means that bytes are not the message that they should be.
var ErrMessage = errors.New("follow: malformed message")

// Protocol names, for ALPN, the protocol that members speak with every participant. Both its
// calls are answered; there are no one-way messages.
const Protocol = "cypherlink/ledger/1"

// The kinds of calls.
const (
	// KindSubmit is a Submission, answered by an Outcome.
	KindSubmit uint8 = 1
	// KindFetch is a Fetch, answered by Blocks.
	KindFetch uint8 = 2
)

// Bounds of the messages.
const (
	// MaxMessage is the length of a call or an answer, in bytes.
	MaxMessage = 2 << 20
	// MaxWaitMS is how long a call may ask a member to hold its answer back, in milliseconds.
	MaxWaitMS = 30_000
	// MaxBlocks is the number of blocks in an answer.
	MaxBlocks = 64

	maxCode    = 64
	maxReason  = 8
	maxMessage = 1024
)

// Submission hands a transaction to a member.
type Submission struct {
	// WaitMS is how long the member may hold a Pending back, waiting for something better:
	// 0 to MaxWaitMS.
	WaitMS      uint32
	Transaction *state.Transaction
}

// Status is what became of a transaction, as far as one member knows.
type Status uint8

// The statuses.
const (
	// Pending: the member holds the transaction and spreads it; nothing is decided.
	Pending Status = 1
	// Final: its effect stands in a final block.
	Final Status = 2
	// Refused: it cannot succeed on the final state of now.
	Refused Status = 3
)

// Outcome answers a Submission. It is one member's word and proves nothing: what is final is
// proved by the blocks.
type Outcome struct {
	Status Status
	// Height is that of the block, if Status is Final: of the latest event of the
	// transaction's custody. If it is Refused, that of the final state which bears it out.
	Height uint64
	// Refusal says why, if Status is Refused: code, ISO reason and message.
	Refusal *cypherlink.Error
}

// Fetch asks for final blocks.
type Fetch struct {
	// From is the first height.
	From uint64
	// WaitMS is how long the member may hold the answer back if that block is not final yet:
	// 0 to MaxWaitMS.
	WaitMS uint32
}

// FinalBlock is a final block with its proof. Height 0 has none and is never sent.
type FinalBlock struct {
	Block chain.Block
	Proof chain.FinalityProof
}

// Blocks answers a Fetch.
type Blocks struct {
	// Head is the height of the member's newest final block.
	Head uint64
	// Blocks are in a row from the height that was asked for: as many as the answer has room
	// for, none if Head is below it.
	Blocks []FinalBlock
}

// Encode is the canonical form.
func (s Submission) Encode() []byte {
	raw := s.Transaction.Encode()
	w := wire.NewWriter(8 + len(raw))
	w.U32(s.WaitMS)
	w.Var(raw)
	return w.Bytes()
}

// DecodeSubmission takes exactly the form of Encode; otherwise ErrMessage. It checks the form,
// not the signature. The result shares memory with b.
func DecodeSubmission(b []byte) (Submission, error) {
	r := wire.NewReader(b)
	s := Submission{WaitMS: readWait(r)}
	raw := r.Var(state.MaxTransaction)
	if err := r.End(); err != nil {
		return Submission{}, fmt.Errorf("submission: %w: %w", ErrMessage, err)
	}
	tx, err := state.DecodeTransaction(raw)
	if err != nil {
		return Submission{}, fmt.Errorf("submission: %w: %w", ErrMessage, err)
	}
	s.Transaction = tx
	return s, nil
}

func readWait(r *wire.Reader) uint32 {
	ms := r.U32()
	if ms > MaxWaitMS {
		r.Fail(fmt.Errorf("wait of %d ms, at most %d: %w", ms, MaxWaitMS, ErrMessage))
	}
	return ms
}

// Encode is the canonical form. A refusal's texts are cut to 64, 8 and 1,024 bytes; its
// pointer and its cause stay at home.
func (o Outcome) Encode() []byte {
	w := wire.NewWriter(64)
	w.U8(uint8(o.Status))
	switch {
	case o.Status == Final:
		w.U64(o.Height)
	case o.Status == Refused && o.Refusal != nil:
		w.U64(o.Height)
		w.Str(cut(string(o.Refusal.Code), maxCode))
		w.Str(cut(o.Refusal.Reason, maxReason))
		w.Str(cut(o.Refusal.Message, maxMessage))
	}
	return w.Bytes()
}

// cut drops what is longer than limit bytes, and what is no UTF-8.
func cut(text string, limit int) string {
	clean := make([]rune, 0, min(len(text), limit))
	for _, c := range text {
		if limit -= len(string(c)); limit < 0 {
			break
		}
		clean = append(clean, c)
	}
	return string(clean)
}

// DecodeOutcome takes exactly the form of Encode; otherwise ErrMessage.
func DecodeOutcome(b []byte) (Outcome, error) {
	r := wire.NewReader(b)
	o := Outcome{Status: Status(r.U8())}
	switch o.Status {
	case Pending:
	case Final:
		o.Height = r.U64()
	case Refused:
		o.Height = r.U64()
		o.Refusal = &cypherlink.Error{
			Code: cypherlink.Code(r.Str(maxCode)), Reason: r.Str(maxReason), Message: r.Str(maxMessage),
		}
	default:
		r.Fail(fmt.Errorf("status %d: %w", o.Status, ErrMessage))
	}
	if err := r.End(); err != nil {
		return Outcome{}, fmt.Errorf("outcome: %w: %w", ErrMessage, err)
	}
	return o, nil
}

// Encode is the canonical form.
func (f Fetch) Encode() []byte {
	w := wire.NewWriter(12)
	w.U64(f.From)
	w.U32(f.WaitMS)
	return w.Bytes()
}

// DecodeFetch takes exactly the form of Encode; otherwise ErrMessage.
func DecodeFetch(b []byte) (Fetch, error) {
	r := wire.NewReader(b)
	f := Fetch{From: r.U64(), WaitMS: readWait(r)}
	if err := r.End(); err != nil {
		return Fetch{}, fmt.Errorf("fetch: %w: %w", ErrMessage, err)
	}
	return f, nil
}

// Encode is the canonical form.
func (b Blocks) Encode() []byte {
	w := wire.NewWriter(16 + 2048*len(b.Blocks))
	w.U64(b.Head)
	w.U32(uint32(len(b.Blocks))) //nolint:gosec // at most MaxBlocks
	for _, f := range b.Blocks {
		f.Block.AppendWire(w)
		f.Proof.AppendWire(w)
	}
	return w.Bytes()
}

// DecodeBlocks takes exactly the form of Encode; otherwise ErrMessage. It checks the form:
// what the proofs are worth is for chain.Committee. Transactions share memory with b.
func DecodeBlocks(b []byte) (Blocks, error) {
	r := wire.NewReader(b)
	blocks := Blocks{Head: r.U64()}
	blocks.Blocks = make([]FinalBlock, r.Count(MaxBlocks, chain.HeaderSize))
	for i := range blocks.Blocks {
		blocks.Blocks[i] = FinalBlock{Block: chain.ReadBlock(r), Proof: chain.ReadFinalityProof(r)}
	}
	if err := r.End(); err != nil {
		return Blocks{}, fmt.Errorf("blocks: %w: %w", ErrMessage, err)
	}
	return blocks, nil
}
