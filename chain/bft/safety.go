package bft

import (
	"fmt"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// Intent is a signature that the replica wants on what its record holds. The record is
// durable before it is signed, and signed before it is sent (I1, I2).
type Intent uint8

// The intents.
const (
	SignProposal Intent = 1 // Record.Proposal, with the Ed25519 key
	SignVote     Intent = 2 // Record.Vote, with the BLS key
	SignTimeout  Intent = 3 // Record.TimeoutView and TimeoutHigh, with the BLS key
)

// Safety is the only thing that signs for a member. It signs what its durable record holds,
// and lets no record follow that contradicts the one before. It is not safe for concurrent
// use.
type Safety struct {
	committee *chain.Committee
	self      int
	votes     Key[cosi.Signature]
	proposals Key[[64]byte]
	slots     *slots
	record    Record
}

// Format writes the first record of an epoch to d, which is DiskSize bytes long. It is for a
// key that never signed in the epoch: formatting again forgets promises.
func Format(d Disk, c *chain.Committee) error { return formatSlots(d, encodeRecord(NewRecord(c))) }

// OpenSafety reads the record of member self. stored is the record's sequence that the block
// store holds (I4), zero if none: a record below it is an old copy. ErrObserver if the member
// must not sign; any other error comes from the disk.
func OpenSafety(
	d Disk, c *chain.Committee, self int,
	votes Key[cosi.Signature], proposals Key[[64]byte], stored uint64,
) (*Safety, error) {
	s, body, err := openSlots(d)
	if err != nil {
		return nil, err
	}
	r := wire.NewReader(body)
	record := ReadRecord(r)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("safety record: %w: %w", ErrObserver, err)
	}
	switch {
	case record.Epoch != c.Epoch() || record.Committee != c.Roster().Root():
		return nil, fmt.Errorf("safety record of epoch %d, committee %s: %w",
			record.Epoch, record.Committee, ErrObserver)
	case s.sequence < stored:
		return nil, fmt.Errorf("safety record %d, the store knows %d: %w", s.sequence, stored, ErrObserver)
	case record.Retired:
		return nil, fmt.Errorf("the key was used elsewhere: %w", ErrObserver)
	}
	return &Safety{
		committee: c, self: self, votes: votes, proposals: proposals, slots: s, record: record,
	}, nil
}

// Record is what is durable. Its QCs and TC are shared, not copied.
func (s *Safety) Record() Record { return s.record }

// Sequence numbers the durable records, from 1. The host stores it with every final block.
func (s *Safety) Sequence() uint64 { return s.slots.sequence }

// Save makes the record of p durable, if it has one. ErrUnsafe if it must not follow the one
// before; an error of the disk. After any error the member stops; starting again decides.
func (s *Safety) Save(p Persist) error {
	if p.Record == nil {
		return nil
	}
	if err := s.record.admits(*p.Record, p.Blocks, s.committee); err != nil {
		return err
	}
	if err := s.slots.put(encodeRecord(*p.Record)); err != nil {
		return err
	}
	s.record = *p.Record
	return nil
}

// Sign signs what the durable record holds and gives it as an input for the replica.
// ErrUnsafe if the record holds nothing of the kind, or the key is retired. Signing again
// gives the same signature.
func (s *Safety) Sign(i Intent) (Input, error) {
	r := s.record
	if s.slots.failed != nil {
		return nil, s.slots.failed
	}
	switch {
	case r.Retired:
	case i == SignProposal && r.Proposal.View > 0:
		signature, err := s.proposals.SignRecorded(s.committee.ProposalFrame(r.Proposal))
		return OwnProposal{Tuple: r.Proposal, Signature: signature}, err
	case i == SignVote && r.Vote.View > 0:
		signature, err := s.votes.SignRecorded(s.committee.VoteFrame(r.Vote))
		return OwnVote{chain.Vote{Tuple: r.Vote, Member: s.self, Signature: signature}}, err
	case i == SignTimeout && r.TimeoutView > 0:
		frame := s.committee.TimeoutFrame(r.TimeoutView, r.TimeoutHigh.Tuple.View)
		signature, err := s.votes.SignRecorded(frame)
		return OwnTimeout{chain.Timeout{
			View: r.TimeoutView, High: r.TimeoutHigh, TC: r.TC, Member: s.self, Signature: signature,
		}}, err
	}
	return nil, fmt.Errorf("intent %d, retired %t: %w", i, r.Retired, ErrUnsafe)
}

func encodeRecord(r Record) []byte {
	var w wire.Writer
	r.AppendWire(&w)
	return w.Bytes()
}
