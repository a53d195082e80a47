package chain

import (
	"fmt"

	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// Block is a header with everything that travels and is stored beside it.
type Block struct {
	Header Header
	// Votes certify Header.Parent; empty if that is the epoch's genesis QC.
	Votes cosi.Certificate
	// TC is the timeout certificate of Header.TCView, or nil if that is zero.
	TC      *TC
	Payload Payload
}

// SignedHeader is a header under its proposer's Ed25519 signature.
type SignedHeader struct {
	Header    Header
	Signature [64]byte
}

// Proposal is a block under its proposer's Ed25519 signature.
type Proposal struct {
	Block     Block
	Signature [64]byte
}

// QC is the certificate that the block carries, of its parent.
func (b Block) QC() QC { return QC{Tuple: b.Header.Parent, Votes: b.Votes} }

// Signed is the proposal without what the signature does not reach.
func (p Proposal) Signed() SignedHeader {
	return SignedHeader{Header: p.Block.Header, Signature: p.Signature}
}

// AppendWire appends the header, the certificate unless Parent.View is zero, the TC unless
// TCView is zero, and the payload.
func (b Block) AppendWire(w *wire.Writer) {
	b.Header.AppendWire(w)
	b.QC().appendVotes(w)
	if b.Header.TCView > 0 && b.TC != nil {
		b.TC.AppendWire(w)
	}
	b.Payload.AppendWire(w)
}

// ReadBlock reads what AppendWire wrote. The transactions are parts of the input.
func ReadBlock(r *wire.Reader) Block {
	b := Block{Header: ReadHeader(r)}
	b.Votes = readVotes(r, b.Header.Parent).Votes
	if b.Header.TCView > 0 {
		tc := ReadTC(r)
		b.TC = &tc
	}
	b.Payload = ReadPayload(r)
	return b
}

// Encode is the canonical form.
func (b Block) Encode() []byte {
	var w wire.Writer
	b.AppendWire(&w)
	return w.Bytes()
}

// DecodeBlock takes exactly the form of Encode; otherwise ErrHeader. The transactions are
// parts of the input.
func DecodeBlock(b []byte) (Block, error) {
	r := wire.NewReader(b)
	block := ReadBlock(r)
	if err := r.End(); err != nil {
		return Block{}, fmt.Errorf("block: %w: %w", ErrHeader, err)
	}
	return block, nil
}

// AppendWire appends the header and the signature.
func (s SignedHeader) AppendWire(w *wire.Writer) {
	s.Header.AppendWire(w)
	w.Fixed(s.Signature[:])
}

// ReadSignedHeader reads what AppendWire wrote.
func ReadSignedHeader(r *wire.Reader) SignedHeader {
	s := SignedHeader{Header: ReadHeader(r)}
	r.Fixed(s.Signature[:])
	return s
}

// AppendWire appends the block and the signature.
func (p Proposal) AppendWire(w *wire.Writer) {
	p.Block.AppendWire(w)
	w.Fixed(p.Signature[:])
}

// ReadProposal reads what AppendWire wrote. The transactions are parts of the input.
func ReadProposal(r *wire.Reader) Proposal {
	p := Proposal{Block: ReadBlock(r)}
	r.Fixed(p.Signature[:])
	return p
}
