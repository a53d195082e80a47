package payment

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// ErrLock means that a lock's proof or event is malformed, or that a proof does not hold.
var ErrLock = errors.New("payment: malformed or unproved lock")

// maxPath is the height of a tree over channels.MaxOperations operations.
const maxPath = 8

// LockProof shows that an operation on a lock stands in a lane whose certificate both banks and the
// asset's Validators have signed.
type LockProof struct {
	Operation channels.Operation
	// Path leads from the operation to the body of the first update.
	Path []PathStep
	// Updates begin with the one that has the operation, each the Prev of the next: 1 to 8192. The last one
	// is certified.
	Updates []channels.Update
	// Payer and Payee are the banks' signatures on the last update, Endorsements the Validators'.
	Payer, Payee [64]byte
	Endorsements []channels.Endorsement
}

// proof cuts the proof of an operation from the tape, without the own bank's signature; nil where no
// certificate is held, since the chain alone has told.
func (l *laneTape) proof(at int, op channels.Operation, own bool) *LockProof {
	end := l.index(l.certified)
	if end < at {
		return nil
	}
	first := &l.entries[at]
	leaves, place := make([]merkle.Hash, len(first.Operations)), 0
	for i, other := range first.Operations {
		leaves[i] = merkle.Leaf(channels.OperationBytes(other))
		if other == op {
			place = i
		}
	}
	p := &LockProof{Operation: op, Path: pathIn(leaves, place)}
	if !own {
		end = at // each one has its payer's signature
	}
	for i := at; i <= end; i++ {
		p.Updates = append(p.Updates, l.entries[i].Update)
	}
	last := &l.entries[end]
	p.Endorsements = last.Endorsements
	if own {
		p.Payee = last.Peer
	} else {
		p.Payer = last.Peer
	}
	return p
}

// Last is the certified update.
func (p *LockProof) Last() *channels.Update { return &p.Updates[len(p.Updates)-1] }

// Verify reports ErrLock unless the operation stands in a lane of these signers, up to a certified update.
func (p *LockProof) Verify(network cypherlink.NetworkID, s *channels.Signers) error {
	first := &p.Updates[0]
	if climb(merkle.Leaf(channels.OperationBytes(p.Operation)), p.Path) != first.Body {
		return fmt.Errorf("update %s has no such operation: %w", first.Hash, ErrLock)
	}
	for i := range p.Updates[1:] {
		u, before := &p.Updates[1+i], &p.Updates[i]
		if u.Prev != before.Hash || u.Channel != before.Channel || u.Lane != before.Lane {
			return fmt.Errorf("update %s does not follow update %s: %w", u.Hash, before.Hash, ErrLock)
		}
	}
	f := p.Last().Frame(network)
	err := errors.Join(cosi.VerifyEd25519(s.Payer, f, p.Payer), cosi.VerifyEd25519(s.Payee, f, p.Payee))
	if err != nil {
		return fmt.Errorf("the banks on update %s: %w: %w", p.Last().Hash, ErrLock, err)
	}
	endorsed := map[cypherlink.ParticipantID]bool{}
	for _, v := range s.Validators {
		for _, e := range p.Endorsements {
			if e.Validator == v.ID && cosi.VerifyEd25519(v.Key, f, e.Signature) == nil {
				endorsed[v.ID] = true
			}
		}
	}
	if len(endorsed) < int(s.Threshold) {
		return fmt.Errorf("%d Validators on update %s, %d are needed: %w",
			len(endorsed), p.Last().Hash, s.Threshold, ErrLock)
	}
	return nil
}

// AppendWire appends the canonical form.
func (p *LockProof) AppendWire(w *wire.Writer) {
	channels.AppendOperations(w, []channels.Operation{p.Operation})
	w.U32(uint32(len(p.Path))) //nolint:gosec // at most maxPath
	for _, step := range p.Path {
		w.Fixed(step.Sibling[:])
		w.Bool(step.Left)
	}
	w.U32(uint32(len(p.Updates))) //nolint:gosec // at most maxUpdates
	for i := range p.Updates {
		p.Updates[i].AppendWire(w)
	}
	c := channels.Certificate{Update: *p.Last(), Payer: p.Payer, Payee: p.Payee, Endorsements: p.Endorsements}
	c.AppendWire(w)
}

// ReadLockProof reads what AppendWire wrote. It checks the form alone.
func ReadLockProof(r *wire.Reader) *LockProof {
	ops := channels.ReadOperations(r)
	p := &LockProof{}
	for n := r.Count(maxPath, 33); n > 0; n-- {
		var step PathStep
		r.Fixed(step.Sibling[:])
		step.Left = r.Bool()
		p.Path = append(p.Path, step)
	}
	for n := r.Count(maxUpdates, 100); n > 0; n-- {
		p.Updates = append(p.Updates, channels.ReadUpdate(r))
	}
	c := channels.ReadCertificate(r)
	p.Payer, p.Payee, p.Endorsements = c.Payer, c.Payee, c.Endorsements
	if r.Err() == nil && (len(ops) != 1 || len(p.Updates) == 0 || c.Update != *p.Last()) {
		r.Fail(fmt.Errorf("%d operations, %d updates: %w", len(ops), len(p.Updates), ErrLock))
	}
	if len(ops) > 0 {
		p.Operation = ops[0]
	}
	return p
}
