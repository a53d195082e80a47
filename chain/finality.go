package chain

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrFinality means that a proof does not show that its block is final.
var ErrFinality = errors.New("chain: not a proof of finality")

// MaxProofHeaders bounds a finality proof.
const MaxProofHeaders = 1024

// FinalityProof shows, to anybody who holds the committee, that its first block is final.
type FinalityProof struct {
	// Headers begin with the block and are linked, parent to child. The last D, the depth of
	// the epoch, have consecutive views; those before them lead down to the block.
	Headers []Header
	// QC certifies the last header. One is enough: its honest signers have checked the
	// certificates of the headers before.
	QC QC
}

// VerifyFinality gives the header that p proves final, or says why it proves none:
// ErrFinality, ErrHeader, or an error of VerifyQC. All blocks before it are final too; so are
// those after it but the last D-1, as far as they have no Ending. Costs one pairing check.
func (c *Committee) VerifyFinality(p FinalityProof) (Header, error) {
	n, depth := len(p.Headers), int(c.key.Depth)
	if n < depth || n > MaxProofHeaders {
		return Header{}, fmt.Errorf("%d headers at depth %d: %w", n, depth, ErrFinality)
	}
	if p.Headers[0].Ending != (cypherlink.Hash{}) {
		// The committee's term ended with an earlier block: this one never becomes final.
		return Header{}, fmt.Errorf("block after key block %s: %w", p.Headers[0].Ending, ErrFinality)
	}
	for i, h := range p.Headers {
		if err := c.CheckHeader(h); err != nil {
			return Header{}, fmt.Errorf("header %d: %w", i, err)
		}
		if i == 0 {
			continue
		}
		parent := p.Headers[i-1]
		if err := h.follows(parent, parent.Tuple()); err != nil {
			return Header{}, fmt.Errorf("header %d: %w", i, err)
		}
		if i > n-depth && h.View != parent.View+1 {
			return Header{}, fmt.Errorf("views %d and %d: %w", parent.View, h.View, ErrFinality)
		}
	}
	if last := p.Headers[n-1]; p.QC.Tuple != last.Tuple() {
		return Header{}, fmt.Errorf("QC on %+v, last is %+v: %w", p.QC.Tuple, last.Tuple(), ErrFinality)
	}
	if err := c.VerifyQC(p.QC); err != nil {
		return Header{}, err
	}
	return p.Headers[0], nil
}

// Encode is the canonical form: a 32-bit count, the headers, the QC.
func (p FinalityProof) Encode() []byte {
	w := wire.NewWriter(4 + HeaderSize*len(p.Headers) + 256)
	p.AppendWire(w)
	return w.Bytes()
}

// DecodeFinalityProof takes exactly the form of Encode; otherwise ErrFinality.
func DecodeFinalityProof(b []byte) (FinalityProof, error) {
	r := wire.NewReader(b)
	p := ReadFinalityProof(r)
	if err := r.End(); err != nil {
		return FinalityProof{}, fmt.Errorf("%w: %w", ErrFinality, err)
	}
	return p, nil
}

// AppendWire appends the canonical form.
func (p FinalityProof) AppendWire(w *wire.Writer) {
	w.U32(uint32(len(p.Headers))) //nolint:gosec // at most MaxProofHeaders
	for _, h := range p.Headers {
		h.AppendWire(w)
	}
	p.QC.AppendWire(w)
}

// ReadFinalityProof reads what AppendWire wrote.
func ReadFinalityProof(r *wire.Reader) FinalityProof {
	p := FinalityProof{Headers: make([]Header, r.Count(MaxProofHeaders, HeaderSize))}
	for i := range p.Headers {
		p.Headers[i] = ReadHeader(r)
	}
	p.QC = ReadQC(r)
	return p
}
