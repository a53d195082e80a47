package bft_test

import (
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/cosi"
)

// mallory is a faulty member: she has her keys and sees everything that reaches her. She
// votes for every proposal and gives up every term, over whatever QC suits her; proposes two
// blocks a view and shows each to some; withholds QCs and shows them late; answers requests
// with nonsense.
type mallory struct {
	*member
	machine  *fakeMachine
	blocks   map[cypherlink.Hash]chain.Block
	qcs      []chain.QC
	tcs      []chain.TC
	known    map[chain.Tuple]bool
	votes    map[chain.Tuple]map[int]cosi.Signature
	timeouts map[uint64]map[int]chain.Timeout
	proposed map[uint64]bool
	silent   bool
}

func corrupt(m *member) {
	m.actor = &mallory{
		member: m, machine: newFakeMachine(m.genesis.ID()),
		blocks: map[cypherlink.Hash]chain.Block{}, qcs: []chain.QC{m.Genesis()},
		known: map[chain.Tuple]bool{}, votes: map[chain.Tuple]map[int]cosi.Signature{},
		timeouts: map[uint64]map[int]chain.Timeout{}, proposed: map[uint64]bool{},
	}
}

func (a *mallory) start() { a.propose() }

func (a *mallory) chance(p float64) bool { return a.random.Float64() < p }

// show sends a message to some members.
func (a *mallory) show(m bft.Message) {
	for to := range a.members {
		if to != a.index && a.chance(0.6) {
			a.transmit(a.index, to, m)
		}
	}
}

func (a *mallory) receive(m bft.Message) {
	if a.silent {
		return
	}
	switch m := m.(type) {
	case bft.Proposal:
		a.learnBlock(m.Block)
		a.voteFor(m.Block.Header.Tuple())
	case bft.Vote:
		a.learnVote(m.Vote)
	case bft.Timeout:
		a.learnQC(m.High)
		a.learnTimeout(m.Timeout)
	case bft.Certified:
		a.learnQC(m.QC)
	case bft.TimedOut:
		a.learnTC(m.TC)
	case bft.Status:
		a.learnQC(m.High)
	case bft.Fetch:
		if b, ok := a.blocks[m.QC.Tuple.Block]; ok {
			b.Votes.Signature[3] ^= 1
			a.show(bft.Blocks{Blocks: []chain.Block{b}, QC: m.QC})
		}
	case bft.Hello:
		a.show(bft.Status{High: a.pickQC(0)})
	case bft.Blocks:
	}
	a.propose()
}

func (a *mallory) learnBlock(b chain.Block) {
	if _, err := a.machine.Execute(b.Header, b.Payload); err == nil {
		a.blocks[b.Header.ID()] = b
	}
	a.learnQC(b.QC())
	if b.TC != nil {
		a.learnTC(*b.TC)
	}
}

func (a *mallory) learnQC(q chain.QC) {
	if a.known[q.Tuple] || a.VerifyQC(q) != nil {
		return
	}
	a.known[q.Tuple] = true
	a.qcs = append(a.qcs, q)
	if a.chance(0.2) {
		late := time.Duration(a.random.IntN(2000)) * time.Millisecond
		a.after(late, func() { a.show(bft.Certified{QC: q}) })
	}
}

func (a *mallory) learnTC(tc chain.TC) {
	a.learnQC(tc.High)
	for _, other := range a.tcs {
		if other.View == tc.View && other.MaxHigh() == tc.MaxHigh() {
			return
		}
	}
	if a.VerifyTC(tc) == nil {
		a.tcs = append(a.tcs, tc)
	}
}

// pickQC is any QC of a view from least.
func (a *mallory) pickQC(least uint64) chain.QC {
	best := a.qcs[0]
	for _, i := range a.random.Perm(len(a.qcs)) {
		if q := a.qcs[i]; q.Tuple.View >= least {
			return q
		} else if q.Tuple.View > best.Tuple.View {
			best = q
		}
	}
	return best
}

func (a *mallory) voteFor(t chain.Tuple) {
	signature, _ := a.key.SignRecorded(a.VoteFrame(t))
	v := chain.Vote{Tuple: t, Member: a.index, Signature: signature}
	a.learnVote(v)
	if a.chance(0.1) {
		v.Signature[5] ^= 1
	}
	a.show(bft.Vote{Vote: v})
}

func (a *mallory) learnVote(v chain.Vote) {
	if a.votes[v.Tuple] == nil {
		a.votes[v.Tuple] = map[int]cosi.Signature{}
	}
	a.votes[v.Tuple][v.Member] = v.Signature
	if qc, _, err := a.AggregateVotes(v.Tuple, a.votes[v.Tuple]); err == nil {
		a.learnQC(qc)
	}
}

// learnTimeout answers each timeout with some of her own for the view, over old QCs.
func (a *mallory) learnTimeout(t chain.Timeout) {
	if t.TC != nil {
		a.learnTC(*t.TC)
	}
	if a.timeouts[t.View] == nil {
		a.timeouts[t.View] = map[int]chain.Timeout{}
	}
	all := a.timeouts[t.View]
	all[t.Member] = t
	view := t.View
	if a.chance(0.05) {
		view = a.LastOfTerm(view + 1 + uint64(a.random.IntN(200)))
	}
	high := a.pickQC(0)
	if a.chance(0.5) {
		high = a.qcs[0]
	}
	if high.Tuple.View >= view {
		return
	}
	signature, _ := a.key.SignRecorded(a.TimeoutFrame(view, high.Tuple.View))
	own := chain.Timeout{View: view, High: high, Member: a.index, Signature: signature}
	if view == t.View {
		all[a.index] = own
	}
	a.show(bft.Timeout{Timeout: own})
	group := make([]chain.Timeout, 0, len(all))
	for i := range a.members {
		if other, ok := all[i]; ok {
			group = append(group, other)
		}
	}
	if tc, err := a.AggregateTimeouts(t.View, group); err == nil {
		a.learnTC(tc)
		if a.chance(0.3) {
			a.show(bft.TimedOut{TC: tc})
		}
	}
}

// propose makes up to two blocks for each of her views that a certificate justifies.
func (a *mallory) propose() {
	newest := a.qcs[len(a.qcs)-1].Tuple.View + 1
	for _, tc := range a.tcs[max(0, len(a.tcs)-3):] {
		newest = max(newest, tc.View+1)
	}
	for view := newest; view+3 > newest && view > 0; view-- {
		if a.Leader(view) == a.index && !a.proposed[view] {
			a.proposeIn(view)
		}
	}
}

func (a *mallory) proposeIn(view uint64) {
	var grounds []chain.Block
	for _, q := range a.qcs {
		if q.Tuple.View+1 == view {
			grounds = append(grounds, a.onto(q, nil))
		}
	}
	for _, tc := range a.tcs {
		if q := a.pickQC(tc.MaxHigh()); tc.View+1 == view && q.Tuple.View < tc.View {
			grounds = append(grounds, a.onto(q, &tc))
		}
	}
	for i, b := range grounds {
		if b.Header.View = view; a.finish(&b, i) {
			a.proposed[view] = true
			signature, _ := a.identity.SignRecorded(a.ProposalFrame(b.Header.Tuple()))
			p := bft.Proposal{Proposal: chain.Proposal{Block: b, Signature: signature}}
			late := time.Duration(a.random.IntN(300)) * time.Millisecond
			a.after(late, func() { a.show(p) })
			a.learnBlock(b)
			a.voteFor(b.Header.Tuple())
		}
	}
	if len(grounds) > 0 && a.chance(0.7) {
		a.proposed[view] = false // and again, differently, when something else comes in
	}
	if len(grounds) > 0 && a.chance(0.2) {
		a.proposed[view] = true
	}
}

func (a *mallory) onto(q chain.QC, tc *chain.TC) chain.Block {
	h := chain.Header{
		Network: a.Network(), Epoch: a.Epoch(), Committee: a.Roster().Root(),
		Height: q.Tuple.Height + 1, Parent: q.Tuple, Proposer: a.KeyBlock().Members[a.index].ID,
	}
	if tc != nil && q.Tuple.View < tc.View {
		h.TCView = tc.View
	}
	return chain.Block{Header: h, Votes: q.Votes, TC: tc}
}

// finish gives a block its time, payload and roots; false if she does not know its parent.
func (a *mallory) finish(b *chain.Block, i int) bool {
	h := &b.Header
	parentMS := a.genesis.TimeMS
	if parent, ok := a.blocks[h.Parent.Block]; ok {
		parentMS = parent.Header.TimeMS
	} else if h.Parent != a.Genesis().Tuple {
		return false
	}
	h.TimeMS = max(parentMS+1, a.now.UnixMilli()+int64(a.random.IntN(800)-400))
	switch a.random.IntN(6) {
	case 0:
		a.machine.pool = [][]byte{fmt.Appendf(nil, "mallory %d %d", h.View, i)}
	case 1:
		a.machine.pool = [][]byte{{0xff, byte(i)}}
	default:
		a.machine.pool = nil
	}
	p, roots, err := a.machine.Build(*h)
	if err != nil {
		return false
	}
	if a.chance(0.05) {
		roots.State[0] ^= 1
	}
	b.Payload = p
	h.PayloadRoot, h.PayloadCount, h.Roots = p.Root(), uint32(len(p)), roots
	return true
}
