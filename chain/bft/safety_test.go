package bft_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// vault is a safety module of member 0 on a fake disk.
type vault struct {
	t         testing.TB
	committee *chain.Committee
	disk      *fakeDisk
	identity  bft.Key[[64]byte]
	*bft.Safety
}

func newVault(t testing.TB, n int) *vault {
	t.Helper()
	s := newSim(t, 1, config{n: n})
	return vaultOf(t, s)
}

func vaultOf(t testing.TB, s *sim) *vault {
	t.Helper()
	m := s.members[0]
	v := &vault{t: t, committee: s.Committee, disk: m.disk, identity: m.identity}
	if err := bft.Format(v.disk, s.Committee); err != nil {
		t.Fatal(err)
	}
	v.open(0)
	return v
}

func (v *vault) reopen(stored uint64) (*bft.Safety, error) {
	return bft.OpenSafety(v.disk, v.committee, 0, fakeKey{0}, v.identity, stored)
}

func (v *vault) open(stored uint64) {
	v.t.Helper()
	var err error
	if v.Safety, err = v.reopen(stored); err != nil {
		v.t.Fatal(err)
	}
}

func tuple(view, parent uint64, block byte) chain.Tuple {
	return chain.Tuple{View: view, Height: view, Block: cypherlink.Hash{block}, ParentView: parent}
}

// blockOf is a block with a QC of view parent.
func blockOf(view, parent uint64, tc *chain.TC, mark byte) chain.Block {
	h := chain.Header{View: view, Height: view, Parent: tuple(parent, 0, mark)}
	return chain.Block{Header: h, TC: tc}
}

// voteFor is what the replica persists for a vote.
func (v *vault) voteFor(b chain.Block) bft.Persist {
	r := v.Record()
	r.Vote = b.Header.Tuple()
	r.VotedView = max(r.VotedView, r.Vote.View)
	if r.High.Tuple.View < b.Header.Parent.View {
		r.High = chain.QC{Tuple: b.Header.Parent}
	}
	return bft.Persist{Record: &r, Blocks: []chain.Block{b}}
}

func (v *vault) timeOut(view uint64) bft.Persist {
	r := v.Record()
	r.TimeoutView, r.TimeoutHigh, r.VotedView = view, r.High, max(r.VotedView, view)
	return bft.Persist{Record: &r}
}

func (v *vault) save(p bft.Persist) {
	v.t.Helper()
	if err := v.Save(p); err != nil {
		v.t.Fatal(err)
	}
}

// filled is a vault with records of every field.
func filled(t testing.TB, n int) *vault {
	v := newVault(t, n)
	v.fill()
	return v
}

func (v *vault) fill() {
	n := v.committee.Roster().Len()
	if err := bft.Format(v.disk, v.committee); err != nil {
		v.t.Fatal(err)
	}
	v.open(0)
	v.save(v.voteFor(blockOf(1, 0, nil, 1)))
	v.save(v.timeOut(2))
	tc := &chain.TC{
		View: 2, Timeouts: cosi.Certificate{Bitmap: make([]byte, (n+7)/8)},
		High: chain.QC{Tuple: tuple(1, 0, 1)},
	}
	for i := range n {
		tc.Timeouts.Bitmap[i/8] |= 1 << (i % 8)
		tc.HighViews = append(tc.HighViews, 1)
	}
	p := v.voteFor(blockOf(3, 1, tc, 2))
	p.Record.TC = tc
	p.Record.Proposal = p.Record.Vote
	v.save(p)
}

func TestRecordSurvivesReopening(t *testing.T) {
	most := chain.MaxMembers
	if testing.Short() {
		most = 20
	}
	for _, n := range []int{4, most} {
		v := filled(t, n)
		want, sequence := v.Record(), v.Sequence()
		v.open(sequence)
		if !bytes.Equal(wired(v.Record()), wired(want)) || v.Sequence() != sequence {
			t.Fatalf("n = %d: %+v, want %+v", n, v.Record(), want)
		}
	}
}

func wired(v interface{ AppendWire(*wire.Writer) }) []byte {
	var w wire.Writer
	v.AppendWire(&w)
	return w.Bytes()
}

func TestSafetySignsWhatIsDurable(t *testing.T) {
	v := newVault(t, 4)
	for i := range bft.Intent(5) {
		if _, err := v.Sign(i); !errors.Is(err, bft.ErrUnsafe) {
			t.Fatalf("intent %d is signed without a record: %v", i, err)
		}
	}
	v = filled(t, 4)
	vote, err := v.Sign(bft.SignVote)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.committee.VerifyVote(vote.(bft.OwnVote).Vote); err != nil {
		t.Fatal(err)
	}
	timeout, err := v.Sign(bft.SignTimeout)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.committee.VerifyTimeout(timeout.(bft.OwnTimeout).Timeout); err != nil {
		t.Fatal(err)
	}
	proposal, err := v.Sign(bft.SignProposal)
	if err != nil {
		t.Fatal(err)
	}
	own := proposal.(bft.OwnProposal)
	key := v.committee.KeyBlock().Members[0].Identity
	if err := cosi.VerifyEd25519(key, v.committee.ProposalFrame(own.Tuple), own.Signature); err != nil {
		t.Fatal(err)
	}
	v.open(0)
	again, err := v.Sign(bft.SignVote)
	if err != nil || again != vote {
		t.Fatal("after a restart the same intent has another signature:", err)
	}
}

// nextRecord makes what is saved after the records of a vault.
type nextRecord func(v *vault) bft.Persist

// votes makes the record of a vote for a block.
func votes(view, parent uint64, tc *chain.TC, mark byte) nextRecord {
	return func(v *vault) bft.Persist { return v.voteFor(blockOf(view, parent, tc, mark)) }
}

// Every way in which a record could let the member contradict itself.
func TestSafetyRefusesUnsafeRecords(t *testing.T) {
	tcOf := func(view, high uint64) *chain.TC { return &chain.TC{View: view, HighViews: []uint64{high, 0}} }
	for _, tt := range []struct {
		name string
		next nextRecord // after a vote for view 3 on 2, and a timeout of view 4 over 2
		ok   bool
	}{
		{"a vote for the next view", votes(6, 5, nil, 1), true},
		{"a vote after a TC", votes(6, 2, tcOf(5, 2), 1), true},
		{"a vote in the same view", votes(3, 2, nil, 9), false},
		{"a vote in a view given up", votes(4, 3, nil, 1), false},
		{"a vote over a gap", votes(6, 4, nil, 1), false},
		{"a vote below a TC's maximum", votes(6, 2, tcOf(5, 3), 1), false},
		{"a vote by another TC", votes(7, 2, tcOf(5, 2), 1), false},
		{"a vote for a block that is not stored", func(v *vault) bft.Persist {
			p := v.voteFor(blockOf(6, 5, nil, 1))
			p.Blocks = []chain.Block{blockOf(6, 5, nil, 2)}
			return p
		}, false},
		{"a vote on a QC that is not recorded", func(v *vault) bft.Persist {
			p := v.voteFor(blockOf(6, 5, nil, 1))
			p.Record.High = v.Record().High
			return p
		}, false},
		{"a vote without its view", func(v *vault) bft.Persist {
			p := v.voteFor(blockOf(6, 5, nil, 1))
			p.Record.VotedView = 5
			return p
		}, false},
		{"a timeout", func(v *vault) bft.Persist { return v.timeOut(6) }, true},
		{"a timeout within a term", func(v *vault) bft.Persist { return v.timeOut(5) }, false},
		{"a timeout of an earlier view", func(v *vault) bft.Persist { return v.timeOut(2) }, false},
		{"a timeout that denies the QC voted on", func(v *vault) bft.Persist {
			p := v.timeOut(6)
			p.Record.TimeoutHigh = chain.QC{Tuple: tuple(1, 0, 1)}
			return p
		}, false},
		{"a timeout that denies the QC of the vote beside it", func(v *vault) bft.Persist {
			p := v.voteFor(blockOf(6, 5, nil, 1))
			p.Record.TimeoutView, p.Record.TimeoutHigh = 6, v.Record().High
			return p
		}, false},
		{"a timeout over a QC of its own view", func(v *vault) bft.Persist {
			p := v.timeOut(6)
			p.Record.High = chain.QC{Tuple: tuple(6, 5, 1)}
			p.Record.TimeoutHigh = p.Record.High
			return p
		}, false},
		{"the same timeout over another QC", func(v *vault) bft.Persist {
			p := v.timeOut(4)
			p.Record.TimeoutHigh = chain.QC{Tuple: tuple(3, 2, 1)}
			return p
		}, false},
		{"a lower high QC", func(v *vault) bft.Persist {
			r := v.Record()
			r.High = v.committee.Genesis()
			return bft.Persist{Record: &r}
		}, false},
		{"a TC", func(v *vault) bft.Persist {
			r := v.Record()
			r.TC = tcOf(4, 2)
			return bft.Persist{Record: &r}
		}, true},
		{"a lower voted view", func(v *vault) bft.Persist {
			r := v.Record()
			r.VotedView = 3
			return bft.Persist{Record: &r}
		}, false},
		{"a proposal", func(v *vault) bft.Persist {
			r := v.Record()
			r.Proposal = tuple(5, 4, 1)
			return bft.Persist{Record: &r}
		}, true},
		{"a second proposal in a view", func(v *vault) bft.Persist {
			r := v.Record()
			r.Proposal = tuple(3, 2, 2)
			return bft.Persist{Record: &r}
		}, false},
		{"another epoch", func(v *vault) bft.Persist {
			r := v.Record()
			r.Epoch = 2
			return bft.Persist{Record: &r}
		}, false},
		{"another committee", func(v *vault) bft.Persist {
			r := v.Record()
			r.Committee[0]++
			return bft.Persist{Record: &r}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSim(t, 1, config{n: 4, change: func(k *chain.KeyBlock) { k.TermViews = 2 }})
			v := vaultOf(t, s)
			p := v.voteFor(blockOf(3, 2, nil, 1))
			p.Record.Proposal = tuple(3, 2, 1)
			v.save(p)
			v.save(v.timeOut(4))
			before := v.Sequence()
			err := v.Save(tt.next(v))
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, bft.ErrUnsafe) {
				t.Fatal(err)
			}
			if !tt.ok && v.Sequence() != before {
				t.Fatal("an unsafe record is written")
			}
		})
	}
}

func TestTCNeverGetsLower(t *testing.T) {
	v := filled(t, 4)
	r := v.Record()
	r.TC = nil
	if err := v.Save(bft.Persist{Record: &r}); !errors.Is(err, bft.ErrUnsafe) {
		t.Fatal(err)
	}
}

func TestRetiredKeySignsNoMore(t *testing.T) {
	v := filled(t, 4)
	r := v.Record()
	r.Retired = true
	v.save(bft.Persist{Record: &r})
	if _, err := v.Sign(bft.SignVote); !errors.Is(err, bft.ErrUnsafe) {
		t.Fatal(err)
	}
	back := r
	back.Retired = false
	if err := v.Save(bft.Persist{Record: &back}); !errors.Is(err, bft.ErrUnsafe) {
		t.Fatal(err)
	}
	if _, err := v.reopen(0); !errors.Is(err, bft.ErrObserver) {
		t.Fatal(err)
	}
}

// Whatever a replica asks for, in whatever order and with whatever crashes: no two signatures
// of the member contradict each other.
func TestSafetyNeverContradictsItself(t *testing.T) {
	var sims []*sim
	for k := range uint16(3) {
		terms := func(b *chain.KeyBlock) { b.TermViews = k + 1 }
		sims = append(sims, newSim(t, 1, config{n: 4, change: terms}))
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(sims).Draw(t, "k")
		v := vaultOf(s.t, s)
		said := &promises{frames: map[slot]cosi.Frame{}}
		views := rapid.Uint64Range(0, 12)
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) {},
			"vote": func(t *rapid.T) {
				var tc *chain.TC
				if rapid.Bool().Draw(t, "tc") {
					tc = &chain.TC{View: views.Draw(t, "tc view"), HighViews: []uint64{views.Draw(t, "max")}}
				}
				b := blockOf(views.Draw(t, "view"), views.Draw(t, "parent"), tc, byte(views.Draw(t, "mark")))
				if v.Save(v.voteFor(b)) == nil {
					said.sign(t, v, bft.SignVote)
				}
			},
			"timeout": func(t *rapid.T) {
				p := v.timeOut(views.Draw(t, "view"))
				if rapid.Bool().Draw(t, "another QC") {
					p.Record.TimeoutHigh = chain.QC{Tuple: tuple(views.Draw(t, "high"), 0, 1)}
				}
				if v.Save(p) == nil {
					said.sign(t, v, bft.SignTimeout)
				}
			},
			"propose": func(t *rapid.T) {
				r := v.Record()
				r.Proposal = tuple(views.Draw(t, "view"), 0, byte(views.Draw(t, "mark")))
				if v.Save(bft.Persist{Record: &r}) == nil {
					said.sign(t, v, bft.SignProposal)
				}
			},
			"repeat": func(t *rapid.T) {
				said.sign(t, v, bft.Intent(rapid.IntRange(1, 3).Draw(t, "intent")))
			},
			"crash": func(*rapid.T) {
				v.disk.crash()
				v.open(v.Sequence())
			},
		})
	})
}

// promises is everything that a member has signed.
type promises struct {
	frames   map[slot]cosi.Frame
	votes    []chain.Vote
	timeouts []chain.Timeout
}

func (p *promises) sign(t *rapid.T, v *vault, i bft.Intent) {
	in, err := v.Sign(i)
	if err != nil {
		return
	}
	switch in := in.(type) {
	case bft.OwnVote:
		p.once(t, v.committee.VoteFrame(in.Vote.Tuple))
		p.votes = append(p.votes, in.Vote)
	case bft.OwnTimeout:
		p.once(t, v.committee.TimeoutFrame(in.Timeout.View, in.Timeout.High.Tuple.View))
		p.timeouts = append(p.timeouts, in.Timeout)
	case bft.OwnProposal:
		p.once(t, v.committee.ProposalFrame(in.Tuple))
	default:
		t.Fatalf("signs %T", in)
	}
	for _, vote := range p.votes {
		for _, timeout := range p.timeouts {
			if timeout.View >= vote.Tuple.View && timeout.High.Tuple.View < vote.Tuple.ParentView {
				t.Fatalf("vote %+v, timeout of %d over %d", vote.Tuple, timeout.View, timeout.High.Tuple.View)
			}
		}
	}
}

func (p *promises) once(t *rapid.T, f cosi.Frame) {
	at := slot{0, f.Type, f.Sequence}
	if first, ok := p.frames[at]; ok && first != f {
		t.Fatalf("two frames of type %#x in view %d", f.Type, f.Sequence)
	}
	p.frames[at] = f
}
