package follow

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
)

var (
	// ErrSource means that a source sent what no honest member sends.
	ErrSource = errors.New("follow: the source is wrong")
	// ErrDiverged means that the committee made a block final that is not valid here: more
	// members are faulty than it tolerates, or this copy is damaged. Nothing that follows can
	// be called final.
	ErrDiverged = errors.New("follow: the committee's block is not valid here")
	// errOther means that an event is about no custody.
	errOther = errors.New("follow: the event is about no custody")
	// errUnproved means that what was asked for is final, and the proof of it has not come yet.
	errUnproved = errors.New("follow: not proved yet")
)

// mirror is the state of the chain as far as it is verified. One goroutine at a time may use
// what changes or proves the state.
type mirror struct {
	state     *state.State
	committee *chain.Committee
	ledger    cypherlink.LedgerID
}

func openMirror(store state.Store, genesis *chain.Genesis) (*mirror, error) {
	committee, err := state.Committee(genesis)
	if err != nil {
		return nil, err
	}
	s, err := state.Open(store, genesis)
	if err != nil {
		return nil, err
	}
	return &mirror{state: s, committee: committee, ledger: genesis.Chain()}, nil
}

// check reports ErrSource, and why, unless the blocks follow the last one here, each with its
// payload, and the last of them is proved final, and so all of them. The certificates that
// the blocks carry of their parents are not verified: nothing here rests on them.
func (m *mirror) check(blocks []FinalBlock) error {
	if len(blocks) == 0 {
		return nil
	}
	parent := m.state.Header()
	for i := range blocks {
		b := blocks[i].Block
		if err := m.committee.CheckBlock(b); err != nil {
			return fmt.Errorf("height %d: %w: %w", b.Header.Height, ErrSource, err)
		}
		// A parent that is a key block would end the epoch: so far, execution refuses it.
		if err := m.committee.CheckChild(b.Header, parent, false); err != nil {
			return fmt.Errorf("height %d: %w: %w", b.Header.Height, ErrSource, err)
		}
		parent = b.Header
	}
	proved, err := m.committee.VerifyFinality(blocks[len(blocks)-1].Proof)
	if err != nil {
		return fmt.Errorf("proof of height %d: %w: %w", parent.Height, ErrSource, err)
	}
	if proved != parent {
		return fmt.Errorf("proof of height %d, not %d: %w", proved.Height, parent.Height, ErrSource)
	}
	return nil
}

// take executes and stores the next of the blocks that check has accepted. Only the proof of
// the last of them is verified, and stored.
func (m *mirror) take(b FinalBlock, last bool) error {
	v, err := m.state.Execute(m.state.Final(), b.Block.Header, b.Block.Payload)
	if errors.Is(err, state.ErrBlock) {
		return fmt.Errorf("height %d: %w: %w", b.Block.Header.Height, ErrDiverged, err)
	}
	if err != nil {
		return err
	}
	final := state.Final{Block: b.Block}
	if last {
		final.Proof = b.Proof
	}
	return m.state.Commit(v, final)
}

// event is the receipt of the event at index, with its evidence; errUnproved if no proof
// covers it yet, errOther if it is about no custody.
func (m *mirror) event(index uint64) (ledger.Receipt, error) {
	e, err := m.entry(index)
	if err != nil {
		return ledger.Receipt{}, err
	}
	custody, ok := e.Event.Custody()
	if !ok {
		return ledger.Receipt{}, errOther
	}
	return ledger.Receipt{
		Ledger: m.ledger, Custody: custody, Sequence: index + 1, TimeMS: e.Event.TimeMS,
		Evidence: e.Evidence().Encode(),
	}, nil
}

// receipt is the latest one of a custody, also where it is absent; errUnproved if no proof
// covers it yet.
func (m *mirror) receipt(id ledger.CustodyID) (ledger.Receipt, error) {
	index, err := m.state.LatestEvent(cypherlink.Hash(id))
	if err == nil {
		return m.event(index)
	}
	if !errors.Is(err, state.ErrUnknown) {
		return ledger.Receipt{}, err
	}
	proof, absent, err := m.prove(state.CustodyKey(id))
	if err != nil {
		return ledger.Receipt{}, err
	}
	evidence := Evidence{Proof: proof, Absent: absent, Custody: id}
	h := proof.Headers[0]
	return ledger.Receipt{
		Ledger: m.ledger, Custody: ledger.Custody{ID: id, State: ledger.Absent},
		Sequence: h.Roots.FeedSize, TimeMS: h.TimeMS, Evidence: evidence.Encode(),
	}, nil
}

// prove proves the last final block, and by its state what is under a key; errUnproved if
// that block has no proof yet.
func (m *mirror) prove(key []byte) (chain.FinalityProof, *state.Proof, error) {
	proof, err := m.state.ProofAt(m.state.Header().Height)
	if errors.Is(err, state.ErrUnknown) {
		return chain.FinalityProof{}, nil, fmt.Errorf("height %d: %w", m.state.Header().Height, errUnproved)
	}
	if err != nil {
		return chain.FinalityProof{}, nil, err
	}
	p, err := m.state.Prove(key)
	return proof, p, err
}
