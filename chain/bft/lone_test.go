package bft_test

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/cosi"
)

// alice is the index of the one member that runs; the test speaks for the others.
const alice = 3

// lone is a committee of which only alice runs.
type lone struct {
	*sim
	alice   *member
	machine *fakeMachine // executes what the others propose
	blocks  map[cypherlink.Hash]chain.Block
	sent    []bft.Message
}

// newLone starts alice, answers her hello, and forgets what she said so far.
func newLone(t testing.TB, change func(*chain.KeyBlock)) *lone {
	t.Helper()
	s := newSim(t, 1, config{n: 4, change: change})
	l := &lone{
		sim: s, alice: s.members[alice], machine: newFakeMachine(s.genesis.ID()),
		blocks: map[cypherlink.Hash]chain.Block{},
	}
	s.watch = func(from int, m bft.Message) {
		if from == alice {
			l.sent = append(l.sent, m)
		}
	}
	l.alice.start()
	l.greet(s.Genesis())
	l.sent = nil
	return l
}

// greet answers alice's hello from two members, which is a quorum with her.
func (l *lone) greet(high chain.QC) {
	for from := range 2 {
		l.say(from, bft.Status{High: high})
	}
}

func (l *lone) say(from int, m bft.Message) {
	l.alice.receive(from, bft.Encode(l.Epoch(), m))
}

// try tells alice something without carrying out what she answers, and gives her error.
func (l *lone) try(from int, m bft.Message) error {
	_, err := l.alice.replica.Step(l.alice.clock(), bft.Received{From: from, Message: m})
	return err
}

// pass lets time pass without anything coming in.
func (l *lone) pass(d time.Duration) { l.run(d) }

// block is one on parent in a view, valid unless change makes it otherwise.
func (l *lone) block(parent chain.Header, view uint64, change ...func(*chain.Block)) chain.Block {
	h := chain.Header{
		Network: l.Network(), Epoch: l.Epoch(), Committee: l.Roster().Root(),
		View: view, Height: parent.Height + 1, TimeMS: max(parent.TimeMS+1, l.now.UnixMilli()),
		Parent:   l.TupleOf(parent),
		Proposer: l.KeyBlock().Members[l.Leader(view)].ID,
	}
	b := chain.Block{Header: h}
	if h.Parent.View > 0 {
		b.Votes = l.qc(parent).Votes
	}
	for _, c := range change {
		c(&b)
	}
	if b.Header.PayloadRoot == (cypherlink.Hash{}) {
		b.Header.PayloadRoot, b.Header.PayloadCount = b.Payload.Root(), uint32(len(b.Payload))
	}
	if state := l.machine.states[parent.ID()]; state != nil && b.Header.Roots == (chain.Roots{}) {
		b.Header.Roots = rootsAfter(state, b.Header, b.Payload)
		_, _ = l.machine.Execute(b.Header, b.Payload)
	}
	l.blocks[b.Header.ID()] = b
	return b
}

func payload(txs ...string) func(*chain.Block) {
	return func(b *chain.Block) {
		for _, tx := range txs {
			b.Payload = append(b.Payload, []byte(tx))
		}
	}
}

func after(tc chain.TC) func(*chain.Block) {
	return func(b *chain.Block) { b.TC, b.Header.TCView = &tc, tc.View }
}

// qc is a QC on a header by the three others.
func (l *lone) qc(h chain.Header) chain.QC {
	tuple := l.TupleOf(h)
	if tuple.View == 0 {
		return l.Genesis()
	}
	q, _, err := l.AggregateVotes(tuple, l.shares(chain.Block{Header: h}, 0, 1, 2))
	if err != nil {
		l.t.Fatal(err)
	}
	return q
}

// shares are members' votes for a block.
func (l *lone) shares(b chain.Block, members ...int) map[int]cosi.Signature {
	shares := map[int]cosi.Signature{}
	for _, i := range members {
		shares[i] = l.vote(i, b.Header.Tuple()).Signature
	}
	return shares
}

func (l *lone) vote(i int, tuple chain.Tuple) chain.Vote {
	signature, _ := l.members[i].key.SignRecorded(l.VoteFrame(tuple))
	return chain.Vote{Tuple: tuple, Member: i, Signature: signature}
}

func (l *lone) timeout(i int, view uint64, high chain.QC) chain.Timeout {
	signature, _ := l.members[i].key.SignRecorded(l.TimeoutFrame(view, high.Tuple.View))
	return chain.Timeout{View: view, High: high, Member: i, Signature: signature}
}

// tc is a TC of the first members, which report the QCs in order.
func (l *lone) tc(view uint64, highs ...chain.QC) chain.TC {
	var timeouts []chain.Timeout
	for i, high := range highs {
		timeouts = append(timeouts, l.timeout(i, view, high))
	}
	tc, err := l.AggregateTimeouts(view, timeouts)
	if err != nil {
		l.t.Fatal(err)
	}
	return tc
}

func (l *lone) proposal(b chain.Block) bft.Proposal {
	i, ok := l.Roster().Index(b.Header.Proposer)
	if !ok {
		i = 0
	}
	signature, err := l.members[i].identity.SignRecorded(l.ProposalFrame(b.Header.Tuple()))
	if err != nil {
		l.t.Fatal(err)
	}
	return bft.Proposal{Proposal: chain.Proposal{Block: b, Signature: signature}}
}

// propose has the view's leader propose b to alice.
func (l *lone) propose(b chain.Block) { l.say(l.Leader(b.Header.View), l.proposal(b)) }

// voted tells whether alice has sent a vote for b.
func (l *lone) voted(b chain.Block) bool {
	for _, m := range l.sent {
		if v, ok := m.(bft.Vote); ok && v.Tuple == b.Header.Tuple() {
			return true
		}
	}
	return false
}

// timedOut gives the timeouts that alice has sent.
func (l *lone) timedOut() []chain.Timeout {
	var out []chain.Timeout
	for _, m := range l.sent {
		if t, ok := m.(bft.Timeout); ok {
			out = append(out, t.Timeout)
		}
	}
	return out
}
