package terms

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrSession means that a roster is not that of the parties, or that a batch or a party is of
// another session.
var ErrSession = errors.New("terms: not of this session")

const (
	sessionDomain wire.Domain = "cypherlink/terms-session/v1"
	batchDomain   wire.Domain = "cypherlink/terms-batch/v1"
)

// Session is one set of parties, and which of them pays and proposes. Its batches have a
// sequence of their own. It is immutable and safe for concurrent use.
type Session struct {
	network cypherlink.NetworkID
	payer   cypherlink.ParticipantID
	roster  *cosi.Roster
	scope   cypherlink.Hash
}

// NewSession refuses with ErrSession a roster that is not two or three parties in the order
// of their ids, the payer among them. All of them have to sign.
func NewSession(
	network cypherlink.NetworkID, payer cypherlink.ParticipantID, roster *cosi.Roster,
) (*Session, error) {
	n := roster.Len()
	if n < 2 || n > 3 {
		return nil, fmt.Errorf("%d parties: %w", n, ErrSession)
	}
	w := wire.NewWriter(4 + 32*(n+1))
	w.U32(uint32(n))
	for i := range n {
		id := roster.Member(i).ID
		if before := roster.Member(max(0, i-1)).ID; i > 0 && string(before[:]) >= string(id[:]) {
			return nil, fmt.Errorf("parties %d and %d are not in order: %w", i-1, i, ErrSession)
		}
		w.Fixed(id[:])
	}
	if _, ok := roster.Index(payer); !ok {
		return nil, fmt.Errorf("payer %s is not in the roster: %w", payer, ErrSession)
	}
	w.Fixed(payer[:])
	return &Session{
		network: network, payer: payer, roster: roster, scope: wire.Sum(sessionDomain, w.Bytes()),
	}, nil
}

// Frame is what all parties sign of a batch with that root: the session is its scope.
func (s *Session) frame(sequence uint64, root cypherlink.Hash, count uint32) cosi.Frame {
	w := wire.NewWriter(36)
	w.Fixed(root[:])
	w.U32(count)
	return cosi.Frame{
		Type: cosi.Terms, Network: s.network, Roster: s.roster.Root(), Scope: s.scope,
		Sequence: sequence, Payload: wire.Sum(batchDomain, w.Bytes()),
	}
}

// Frame is what all parties sign of the batch.
func (s *Session) Frame(b *Batch) cosi.Frame {
	return s.frame(b.Sequence, merkle.Root(b.leaves()), uint32(len(b.Terms))) //nolint:gosec // MaxBatch
}

// admits reports ErrSession unless the terms are of this session.
func (s *Session) admits(t *Terms) error {
	signers := t.Signers()
	if t.Network != s.network || t.Payer != s.payer || len(signers) != s.roster.Len() {
		return fmt.Errorf("payment %s: %w", t.UETR, ErrSession)
	}
	for i, id := range signers {
		if s.roster.Member(i).ID != id {
			return fmt.Errorf("payment %s, party %s: %w", t.UETR, id, ErrSession)
		}
	}
	return nil
}

// Countersign is the answer of a party to a batch that the payer proposed: its share, or its
// refusals if judge has any. Judge says which of the terms the party does not agree to; what it
// does agree to, it has made durable when it returns. An error of judge is returned, and
// nothing is answered.
func (s *Session) Countersign(
	b *Batch, key Signer, judge func(*Batch) ([]Refusal, error),
) (*Answer, error) {
	if err := b.Valid(); err != nil {
		return nil, err
	}
	for _, t := range b.Terms {
		if err := s.admits(t); err != nil {
			return nil, err
		}
	}
	refusals, err := judge(b)
	if err != nil {
		return nil, err
	}
	answer := &Answer{Sequence: b.Sequence, Refusals: refusals}
	if len(refusals) == 0 {
		if answer.Share, err = key.Sign(s.Frame(b)); err != nil {
			return nil, fmt.Errorf("sign batch %d: %w", b.Sequence, err)
		}
	}
	return answer, answer.Valid()
}

// prove makes the proofs of a batch out of its certificate.
func (s *Session) prove(b *Batch, certificate cosi.Certificate) []*Proof {
	leaves := b.leaves()
	root, all := merkle.Root(leaves), paths(leaves)
	proofs := make([]*Proof, len(b.Terms))
	for i, t := range b.Terms {
		proofs[i] = &Proof{
			Terms: t, Sequence: b.Sequence,
			Index: uint32(i), Count: uint32(len(b.Terms)), //nolint:gosec // MaxBatch
			Root: root, Path: all[i], Certificate: certificate,
		}
	}
	return proofs
}
