package bft

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrMessage means that bytes are not a message.
var ErrMessage = errors.New("bft: malformed message")

// Bounds of messages.
const (
	// MaxMessage is the length of an encoded message, in bytes.
	MaxMessage = 2 << 20
	// maxBlocks and maxBlocksSize bound an answer to a member that is behind.
	maxBlocks     = 64
	maxBlocksSize = 1 << 20
)

// The first byte of a message's body.
const (
	kindProposal = 1
	kindVote     = 2
	kindTimeout  = 3
	kindQC       = 4
	kindTC       = 5
	kindFetch    = 6
	kindBlocks   = 7
	kindHello    = 8
	kindStatus   = 9
)

// Message is what members tell each other.
//
//sumtype:decl
type Message interface {
	kind() uint8
	AppendWire(w *wire.Writer)
}

type (
	// Proposal is the block of a view, by its leader.
	Proposal struct{ chain.Proposal }
	// Vote is one vote, to everybody.
	Vote struct{ chain.Vote }
	// Timeout is one member giving up a term.
	Timeout struct{ chain.Timeout }
	// Certified is a QC from a leader that does not propose at once.
	Certified struct{ chain.QC }
	// TimedOut is a TC from who formed it.
	TimedOut struct{ chain.TC }
	// Fetch asks for the blocks from height From to the block of QC.
	Fetch struct {
		From uint64
		QC   chain.QC
	}
	// Blocks answers: blocks in a row, and the QC of the last.
	Blocks struct {
		Blocks []chain.Block
		QC     chain.QC
	}
	// Hello says that the sender has just started and signs nothing until it knows that it
	// holds its own newest record.
	Hello struct{}
	// Status answers: what the sender knows, and the last that it has of whom it answers.
	Status struct {
		High     chain.QC
		TC       *chain.TC
		Vote     *chain.Vote
		Timeout  *chain.Timeout
		Proposal *chain.SignedHeader
	}
)

func (Proposal) kind() uint8  { return kindProposal }
func (Vote) kind() uint8      { return kindVote }
func (Timeout) kind() uint8   { return kindTimeout }
func (Certified) kind() uint8 { return kindQC }
func (TimedOut) kind() uint8  { return kindTC }
func (Fetch) kind() uint8     { return kindFetch }
func (Blocks) kind() uint8    { return kindBlocks }
func (Hello) kind() uint8     { return kindHello }
func (Status) kind() uint8    { return kindStatus }

// Encode is the canonical form of a message of an epoch: 64-bit epoch, kind, body.
func Encode(epoch uint64, m Message) []byte {
	var w wire.Writer
	w.U64(epoch)
	w.U8(m.kind())
	m.AppendWire(&w)
	return w.Bytes()
}

// Decode takes exactly the form of Encode, at most MaxMessage bytes; otherwise ErrMessage.
// Transactions are parts of the input.
func Decode(b []byte) (epoch uint64, m Message, err error) {
	if len(b) > MaxMessage {
		return 0, nil, fmt.Errorf("%d bytes: %w", len(b), ErrMessage)
	}
	r := wire.NewReader(b)
	epoch = r.U64()
	switch kind := r.U8(); kind {
	case kindProposal:
		m = Proposal{chain.ReadProposal(r)}
	case kindVote:
		m = Vote{chain.ReadVote(r)}
	case kindTimeout:
		m = Timeout{chain.ReadTimeout(r)}
	case kindQC:
		m = Certified{chain.ReadQC(r)}
	case kindTC:
		m = TimedOut{chain.ReadTC(r)}
	case kindFetch:
		m = Fetch{From: r.U64(), QC: chain.ReadQC(r)}
	case kindBlocks:
		m = readBlocks(r)
	case kindHello:
		m = Hello{}
	case kindStatus:
		m = readStatus(r)
	default:
		r.Fail(fmt.Errorf("kind %d: %w", kind, ErrMessage))
	}
	if err := r.End(); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return epoch, m, nil
}

// AppendWire appends the canonical form.
func (f Fetch) AppendWire(w *wire.Writer) {
	w.U64(f.From)
	f.QC.AppendWire(w)
}

// AppendWire appends the canonical form.
func (b Blocks) AppendWire(w *wire.Writer) {
	w.U32(uint32(len(b.Blocks))) //nolint:gosec // at most maxBlocks
	for _, block := range b.Blocks {
		block.AppendWire(w)
	}
	b.QC.AppendWire(w)
}

func readBlocks(r *wire.Reader) Blocks {
	b := Blocks{Blocks: make([]chain.Block, r.Count(maxBlocks, chain.HeaderSize))}
	for i := range b.Blocks {
		b.Blocks[i] = chain.ReadBlock(r)
	}
	b.QC = chain.ReadQC(r)
	return b
}

// AppendWire appends nothing.
func (Hello) AppendWire(*wire.Writer) {}

// AppendWire appends the canonical form.
func (s Status) AppendWire(w *wire.Writer) {
	s.High.AppendWire(w)
	appendOptional(w, s.TC)
	appendOptional(w, s.Vote)
	appendOptional(w, s.Timeout)
	appendOptional(w, s.Proposal)
}

func readStatus(r *wire.Reader) Status {
	return Status{
		High: chain.ReadQC(r), TC: readOptional(r, chain.ReadTC), Vote: readOptional(r, chain.ReadVote),
		Timeout:  readOptional(r, chain.ReadTimeout),
		Proposal: readOptional(r, chain.ReadSignedHeader),
	}
}

func appendOptional[T interface{ AppendWire(w *wire.Writer) }](w *wire.Writer, v *T) {
	w.Bool(v != nil)
	if v != nil {
		(*v).AppendWire(w)
	}
}

func readOptional[T any](r *wire.Reader, read func(*wire.Reader) T) *T {
	if !r.Bool() {
		return nil
	}
	v := read(r)
	return &v
}
