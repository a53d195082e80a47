package bft

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink/chain"
)

var (
	// ErrInvalid is the answer of a Machine to a block with a transaction that fails.
	ErrInvalid = errors.New("bft: invalid payload")
	// ErrDiverged means that a quorum certified a block that this member's machine refuses or
	// executes to other roots. The member is broken, or more than f others are.
	ErrDiverged = errors.New("bft: execution differs from the committee's")
	// ErrFork means that a quorum certified a block against a final one: more than f members
	// are faulty.
	ErrFork = errors.New("bft: a certified block contradicts a final one")
	// ErrRetired means that this member's key signed what its record does not hold: another
	// process has the key, or this one runs on an old copy.
	ErrRetired = errors.New("bft: this member's key is in use elsewhere")
	// ErrOptions means that a replica cannot be made of what it is given.
	ErrOptions = errors.New("bft: wrong options")
)

// window is how many views around the current one votes and proposals are kept for, one of
// each by a member. Only certificates and f+1 timeouts move further.
const window = 64

// Options is what a replica is made of.
type Options struct {
	Committee *chain.Committee
	// Self is this member's index in the committee.
	Self    int
	Machine Machine
	Archive Archive
	// Observer says that the member must not sign (ErrObserver): it follows and serves blocks.
	Observer bool
}

// Start is what the member finds on its disks.
type Start struct {
	// Record is Safety.Record; NewRecord for an observer.
	Record Record
	// Final is the newest final block, at first that of the key block. The machine holds the
	// state after it.
	Final chain.Block
	// High is the highest QC in the store: that of Final's proof, or the genesis QC.
	High chain.QC
	// Blocks are the stored blocks above Final, in any order.
	Blocks []chain.Block
}

// mode is what a replica may do.
type mode uint8

const (
	// probing: just started; asks the others whether its record is its newest.
	probing mode = iota
	// voting: a member in good standing.
	voting
	// observing: signs nothing.
	observing
	// ended: knows an end proof of its epoch and signs nothing more in it (M3).
	ended
)

// Replica is one member's view of an epoch. It is not safe for concurrent use.
type Replica struct {
	committee *chain.Committee
	self      int
	machine   Machine
	archive   Archive
	mode      mode

	view uint64
	high chain.QC
	tc   *chain.TC
	// record is what is durable, with what this step makes durable.
	record Record
	tree   tree
	// certified holds a verified QC for each tuple of a view not below the final block's.
	certified map[chain.Tuple]chain.QC
	// candidates are the first proposal of each view of the window.
	candidates map[uint64]*candidate
	ballots    map[uint64]*ballot
	// timeouts are the highest of each member.
	timeouts []*chain.Timeout
	reported map[fault]bool

	pace  pacemaker
	pool  bool
	fetch fetch
	hello hello
	// resendAt is when the own timeout is due again.
	resendAt time.Time

	// Of the step that runs:
	now    time.Time
	out    Effects
	dirty  bool
	formed bool // a QC was formed here and is news to others
	failed error
}

// New makes a replica that has read its disks. The host calls Step with Tick at once.
func New(now time.Time, o Options, s Start) (*Replica, error) {
	c, k := o.Committee, o.Committee.KeyBlock()
	switch {
	case k.Topology != chain.Mesh:
		return nil, fmt.Errorf("topology %d is not built yet: %w", k.Topology, ErrOptions)
	case o.Self < 0 || o.Self >= len(k.Members):
		return nil, fmt.Errorf("member %d of %d: %w", o.Self, len(k.Members), ErrOptions)
	case s.Record.Epoch != c.Epoch():
		return nil, fmt.Errorf("record of epoch %d in epoch %d: %w", s.Record.Epoch, c.Epoch(), ErrOptions)
	}
	final := &node{block: s.Final, tuple: c.TupleOf(s.Final.Header)}
	if key, err := s.Final.Payload.KeyBlock(); err != nil {
		return nil, fmt.Errorf("final block: %w: %w", ErrOptions, err)
	} else if key != nil {
		final.ends = s.Final.Header.Epoch == c.Epoch()
	}
	r := &Replica{
		committee: c, self: o.Self, machine: o.Machine, archive: o.Archive,
		high: c.Genesis(), tc: s.Record.TC, record: s.Record, tree: newTree(final),
		certified:  map[chain.Tuple]chain.QC{c.Genesis().Tuple: c.Genesis()},
		candidates: map[uint64]*candidate{}, ballots: map[uint64]*ballot{},
		timeouts: make([]*chain.Timeout, len(k.Members)), reported: map[fault]bool{},
		pace: newPacemaker(k), hello: hello{answered: make([]bool, len(k.Members))}, now: now,
	}
	switch {
	case final.ends:
		r.mode = ended
	case o.Observer:
		r.mode = observing
	}
	r.restore(s)
	if r.failed != nil {
		return nil, r.failed
	}
	return r, nil
}

// restore takes the stored blocks and certificates, which were verified before they were
// stored (I5).
func (r *Replica) restore(s Start) {
	blocks := slices.Clone(s.Blocks)
	slices.SortStableFunc(blocks, func(a, b chain.Block) int {
		return cmp.Or(
			cmp.Compare(a.Header.Height, b.Header.Height), cmp.Compare(a.Header.View, b.Header.View))
	})
	for _, qc := range []chain.QC{s.High, s.Record.High} {
		r.recall(qc)
	}
	for _, b := range blocks {
		if _, ok := r.tree.nodes[b.Header.Parent.Block]; ok {
			r.recall(b.QC())
			if n := r.insert(b); n == nil && r.failed == nil {
				r.failed = fmt.Errorf("stored block %s: %w", b.Header.ID(), ErrDiverged)
			}
		}
		if b.Header.Tuple() == r.record.Proposal {
			r.candidates[b.Header.View] = newCandidate(chain.Proposal{Block: b})
		}
	}
	r.view = max(r.high.Tuple.View+1, r.record.VotedView)
	if r.tc != nil {
		r.view = max(r.view, r.tc.View+1)
	}
	r.pace.enter(r.now, r.busy())
}

func (r *Replica) recall(qc chain.QC) {
	r.certified[qc.Tuple] = qc
	if qc.Tuple.View > r.high.Tuple.View {
		r.high = qc
	}
	if n := r.tree.nodes[qc.Tuple.Block]; n != nil {
		r.commit(n, qc)
	}
}

// Step takes one input. Repeated, late and wrong inputs have no effect. An error is fatal and
// stays: the member must stop. now does not go back.
func (r *Replica) Step(now time.Time, in Input) (Effects, error) {
	if r.failed != nil {
		return Effects{}, r.failed
	}
	r.now = now
	r.take(in)
	r.proceed()
	if r.failed != nil {
		return Effects{}, r.failed
	}
	if r.dirty {
		r.record.High, r.record.TC = r.high, r.tc
		record := r.record
		r.out.Persist.Record = &record
	}
	out := r.out
	r.out, r.dirty, r.formed = Effects{}, false, false
	return out, nil
}

func (r *Replica) take(in Input) {
	switch in := in.(type) {
	case Tick:
	case Pool:
		r.pool = in.Pending
	case RoundTrip:
		r.pace.roundTrip = in.Largest
	case OwnProposal:
		r.onOwnProposal(in)
	case OwnVote:
		r.onVote(in.Vote)
		r.send(Everyone, Vote{in.Vote})
	case OwnTimeout:
		r.onTimeout(in.Timeout)
		r.send(Everyone, Timeout{in.Timeout})
	case Received:
		if in.From >= 0 && in.From < len(r.timeouts) && in.From != r.self {
			r.receive(in.From, in.Message)
		}
	}
}

func (r *Replica) receive(from int, m Message) {
	switch m := m.(type) {
	case Hello:
		r.onHello(from)
	case Fetch:
		r.onFetch(from, m)
	case Status:
		r.onStatus(from, m)
	case Blocks:
		r.onBlocks(from, m)
	case Proposal:
		r.onProposal(m.Proposal)
	case Vote:
		if m.Member == from {
			r.onVote(m.Vote)
		}
	case Timeout:
		if m.Member == from {
			r.onTimeout(m.Timeout)
		}
	case Certified:
		if m.Tuple.View > r.high.Tuple.View {
			r.refuse(r.admitQC(m.QC))
		}
	case TimedOut:
		if m.View >= r.view {
			r.refuse(r.admitTC(m.TC))
		}
	}
}

// refuse notes why a message has no effect; nil is no reason.
func (r *Replica) refuse(err error) {
	if err != nil {
		r.out.Refused = err
	}
}

// proceed does everything that the state allows now, whatever input led there.
func (r *Replica) proceed() {
	if r.failed != nil {
		return
	}
	r.connect()
	r.sayHello()
	if r.busy() {
		r.pace.work(r.now)
	}
	r.join()
	proposed := r.propose()
	if r.formed && !proposed && r.mode == voting && r.committee.Leader(r.view) == r.self {
		r.send(Everyone, Certified{r.high})
	}
	r.vote()
	r.giveUp()
	r.fetchMissing()
}

// busy tells whether the network has something to finish: an uncommitted ancestor of the next
// block carries payload or is a key block, or this member's pool is not empty.
func (r *Replica) busy() bool { return r.pool || r.unfinished() }

func (r *Replica) unfinished() bool {
	for n := r.tree.nodes[r.high.Tuple.Block]; n != nil && n != r.tree.final; n = n.parent {
		if len(n.block.Payload) > 0 {
			return true
		}
	}
	return false
}

func (r *Replica) send(to int, m Message) { r.out.Send = append(r.out.Send, Send{to, m}) }

func (r *Replica) wake(at time.Time) {
	if r.out.WakeAt.IsZero() || at.Before(r.out.WakeAt) {
		r.out.WakeAt = at
	}
}

func (r *Replica) fail(err error) {
	if r.failed == nil {
		r.failed = err
	}
}

// enter moves to a view, never back.
func (r *Replica) enter(view uint64) {
	if view <= r.view {
		return
	}
	r.view = view
	r.resendAt = time.Time{}
	r.pace.enter(r.now, r.busy())
	for v := range r.ballots {
		if v+window < view {
			delete(r.ballots, v)
		}
	}
	for v, c := range r.candidates {
		if v+window < view {
			if _, ok := r.certified[c.tuple]; !ok && c.node != nil && c.node != r.tree.final {
				r.tree.drop(c.node)
			}
			delete(r.candidates, v)
		}
	}
}
