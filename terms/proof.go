package terms

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrProof means that bytes are not a proof, or that a proof does not show that all parties
// signed its terms.
var ErrProof = errors.New("terms: not signed by its parties")

// maxPath is the longest way from a leaf to the root of a batch.
const maxPath = 8

// MaxProofSize bounds the canonical bytes of a proof.
const MaxProofSize = 4 + MaxSize + 8 + 4 + 4 + 32 + 4 + 32*maxPath + 4 + 1 + cosi.SignatureSize

// Proof shows to anybody who knows the parties' keys that they signed the terms.
type Proof struct {
	Terms *Terms
	// Sequence is the batch's, Index the place of the terms in it, Count its length.
	Sequence     uint64
	Index, Count uint32
	// Root is the batch's RFC 6962 root, Path leads to it from the terms' hash.
	Root cypherlink.Hash
	Path []cypherlink.Hash
	// Certificate holds the signatures of all parties.
	Certificate cosi.Certificate
}

// Verify reports ErrProof unless every party of the terms signed them. The roster is that of
// Terms.Signers, in that order, with the policy that all sign. Costs one pairing check.
func (p *Proof) Verify(network cypherlink.NetworkID, roster *cosi.Roster) error {
	if err := p.Terms.Valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	s, err := NewSession(network, p.Terms.Payer, roster)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if err := s.admits(p.Terms); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	hash, path := p.Terms.Hash(), make([]merkle.Hash, len(p.Path))
	for i, h := range p.Path {
		path[i] = h
	}
	err = merkle.VerifyInclusion(merkle.Leaf(hash[:]), uint64(p.Index), uint64(p.Count), path, p.Root)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if n := len(p.Certificate.Signers()); n != roster.Len() {
		return fmt.Errorf("%d of %d parties: %w", n, roster.Len(), ErrProof)
	}
	if err := roster.Verify(s.frame(p.Sequence, p.Root, p.Count), p.Certificate); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	return nil
}

// Encode is the canonical form.
func (p *Proof) Encode() []byte {
	w := wire.NewWriter(MaxProofSize)
	w.Var(p.Terms.Encode())
	w.U64(p.Sequence)
	w.U32(p.Index)
	w.U32(p.Count)
	w.Fixed(p.Root[:])
	w.U32(uint32(len(p.Path))) //nolint:gosec // at most maxPath
	for _, h := range p.Path {
		w.Fixed(h[:])
	}
	p.Certificate.AppendWire(w)
	return w.Bytes()
}

// DecodeProof takes exactly the form of Encode; otherwise ErrProof or ErrTerms. It checks the
// form, not the signatures.
func DecodeProof(raw []byte) (*Proof, error) {
	if len(raw) > MaxProofSize {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(raw), MaxProofSize, ErrProof)
	}
	r := wire.NewReader(raw)
	encoded := r.Var(MaxSize)
	p := Proof{Sequence: r.U64(), Index: r.U32(), Count: r.U32()}
	r.Fixed(p.Root[:])
	p.Path = make([]cypherlink.Hash, r.Count(maxPath, 32))
	for i := range p.Path {
		r.Fixed(p.Path[i][:])
	}
	p.Certificate = cosi.ReadCertificate(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	var err error
	if p.Terms, err = Decode(encoded); err != nil {
		return nil, err
	}
	return &p, nil
}
