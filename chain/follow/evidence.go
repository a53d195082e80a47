package follow

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrEvidence means that bytes are not evidence, or that it does not show what it should.
var ErrEvidence = errors.New("follow: the evidence does not hold")

// maxPath is the length of an audit path in a feed of 2^64 events.
const maxPath = 64

const (
	evidenceEvent  uint8 = 1
	evidenceAbsent uint8 = 2
)

// Evidence shows, to whoever holds the genesis, what stands of a custody on the chain (an event of
// it, or that there is none), that a crossing has passed, or where a channel has come to.
type Evidence struct {
	// Proof shows that its first block is final.
	Proof chain.FinalityProof
	// Event is at Index, from 0, of that block's feed, by Path; nil if the custody is absent.
	Event *state.Event
	Index uint64
	Path  []merkle.Hash
	// Absent shows by that block's state that there is no custody under the id; nil if there
	// is an event.
	Absent *state.Proof
	// Custody is the one that the event is of, or that is absent; zero for any other event.
	Custody ledger.CustodyID
}

// Encode is the canonical form.
func (e *Evidence) Encode() []byte {
	w := wire.NewWriter(4096)
	e.Proof.AppendWire(w)
	if e.Event == nil {
		w.U8(evidenceAbsent)
		w.Fixed(e.Custody[:])
		w.Var(e.Absent.Encode())
		return w.Bytes()
	}
	w.U8(evidenceEvent)
	w.Var(e.Event.Encode())
	w.U64(e.Index)
	w.U32(uint32(len(e.Path))) //nolint:gosec // at most 64
	for _, h := range e.Path {
		w.Fixed(h[:])
	}
	return w.Bytes()
}

// DecodeEvidence takes exactly the form of Encode; otherwise ErrEvidence. It checks the form:
// what it shows, Verifier.Verify says. The result shares memory with b.
func DecodeEvidence(b []byte) (*Evidence, error) {
	r := wire.NewReader(b)
	e := Evidence{Proof: chain.ReadFinalityProof(r)}
	switch kind := r.U8(); kind {
	case evidenceEvent:
		e.readEvent(r)
	case evidenceAbsent:
		e.readAbsent(r)
	default:
		r.Fail(fmt.Errorf("kind %d: %w", kind, ErrEvidence))
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return &e, nil
}

func (e *Evidence) readEvent(r *wire.Reader) {
	raw := r.Var(state.MaxEvent)
	e.Index = r.U64()
	e.Path = make([]merkle.Hash, r.Count(maxPath, 32))
	for i := range e.Path {
		r.Fixed(e.Path[i][:])
	}
	if r.Err() != nil {
		return
	}
	event, err := state.DecodeEvent(raw)
	if err != nil {
		r.Fail(err)
		return
	}
	custody, _ := event.Custody()
	e.Event, e.Custody = event, custody.ID
}

func (e *Evidence) readAbsent(r *wire.Reader) {
	r.Fixed(e.Custody[:])
	raw := r.Var(state.MaxKey + state.MaxValue + 33*256 + 12)
	if r.Err() != nil {
		return
	}
	proof, err := state.DecodeProof(raw)
	if err != nil {
		r.Fail(err)
		return
	}
	e.Absent = proof
}

// Statement is what evidence shows.
type Statement struct {
	// Receipt is what a ledger tells by it.
	Receipt ledger.Receipt
	// Height is that of the block in which the event happened; of an absent custody, that of
	// Block.
	Height uint64
	// Block is the header that is proved final, at or after Height.
	Block chain.Header
	// Signers are the members whose signatures made it final.
	Signers []cypherlink.ParticipantID
}

// Verifier checks evidence by the genesis alone. It is immutable and safe for concurrent use.
type Verifier struct {
	committee *chain.Committee
	ledger    cypherlink.LedgerID
}

// NewVerifier makes the verifier of a network, which takes some milliseconds.
func NewVerifier(genesis *chain.Genesis) (*Verifier, error) {
	committee, err := state.Committee(genesis)
	if err != nil {
		return nil, err
	}
	return &Verifier{committee: committee, ledger: genesis.Chain()}, nil
}

// VerifyEvidence is Verify of one receipt by a network's genesis.
func VerifyEvidence(genesis *chain.Genesis, receipt ledger.Receipt) (Statement, error) {
	v, err := NewVerifier(genesis)
	if err != nil {
		return Statement{}, err
	}
	return v.Verify(receipt)
}

// Verify says what the receipt's evidence shows, if that is exactly the receipt; otherwise
// ErrEvidence, or the error of the finality proof. Costs one pairing check.
func (v *Verifier) Verify(receipt ledger.Receipt) (Statement, error) {
	s, err := v.Statement(receipt.Evidence)
	if err != nil {
		return Statement{}, err
	}
	got := s.Receipt
	if got.Ledger != receipt.Ledger || got.Sequence != receipt.Sequence || got.TimeMS != receipt.TimeMS ||
		!sameCustody(&got.Custody, &receipt.Custody) {
		return Statement{}, fmt.Errorf("custody %s: the receipt says something else: %w",
			receipt.Custody.ID, ErrEvidence)
	}
	return s, nil
}

func sameCustody(a, b *ledger.Custody) bool {
	encode := func(c *ledger.Custody) string {
		var w wire.Writer
		c.AppendWire(&w)
		return string(w.Bytes())
	}
	return encode(a) == encode(b)
}

// Statement says what evidence shows of a custody; otherwise ErrEvidence, or the error of the
// finality proof.
func (v *Verifier) Statement(evidence []byte) (Statement, error) {
	e, block, err := v.open(evidence)
	if err != nil {
		return Statement{}, err
	}
	s := v.statement(e, block)
	s.Receipt.Evidence = evidence
	if e.Event == nil {
		_, present, err := e.Absent.Verify(block.Roots.State, state.CustodyKey(e.Custody))
		if err != nil || present {
			return Statement{}, fmt.Errorf("custody %s is not absent: %w: %w", e.Custody, ErrEvidence, err)
		}
		s.Receipt.Custody = ledger.Custody{ID: e.Custody, State: ledger.Absent}
		return s, nil
	}
	custody, ok := e.Event.Custody()
	if !ok {
		return Statement{}, fmt.Errorf("event %d is of no custody: %w", e.Index, ErrEvidence)
	}
	s.Receipt.Custody = custody
	return s, nil
}

// statement is what all evidence says: when, and who made it final.
func (v *Verifier) statement(e *Evidence, block chain.Header) Statement {
	s := Statement{Block: block, Height: block.Height, Receipt: ledger.Receipt{
		Ledger: v.ledger, Sequence: block.Roots.FeedSize, TimeMS: block.TimeMS,
	}}
	if e.Event != nil {
		s.Height, s.Receipt.Sequence, s.Receipt.TimeMS = e.Event.Height, e.Index+1, e.Event.TimeMS
	}
	for _, i := range e.Proof.QC.Votes.Signers() {
		s.Signers = append(s.Signers, v.committee.Roster().Member(i).ID)
	}
	return s
}

// open decodes evidence and verifies that its block is final and, unless it shows that a custody is
// absent, that its event is in that block's feed.
func (v *Verifier) open(evidence []byte) (*Evidence, chain.Header, error) {
	e, err := DecodeEvidence(evidence)
	if err != nil {
		return nil, chain.Header{}, err
	}
	block, err := v.committee.VerifyFinality(e.Proof)
	if err != nil {
		return nil, chain.Header{}, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	if e.Event == nil {
		return e, block, nil
	}
	leaf := merkle.Leaf(e.Event.Encode())
	err = merkle.VerifyInclusion(leaf, e.Index, block.Roots.FeedSize, e.Path, block.Roots.Feed)
	if err != nil {
		return nil, chain.Header{}, fmt.Errorf("event %d: %w: %w", e.Index, ErrEvidence, err)
	}
	return e, block, nil
}
