package chain_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
)

// house is a committee with its members' keys.
type house struct {
	*chain.Committee
	at         chain.Header
	keys       []*sign.Key
	identities []*sign.Identity
}

// source is a reader of bytes from a seed.
func source(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func newKeyBlock(t testing.TB, n int) (chain.KeyBlock, []*sign.Key, []*sign.Identity) {
	t.Helper()
	random := source(byte(n))
	k := chain.KeyBlock{
		Epoch: 1, Depth: 2, TermViews: 1, Topology: chain.Mesh, Leaders: chain.RoundRobin,
		IdleMS: 1000, MaxBaseMS: 500, MinExpiryS: uint32(5 + 4*n),
	}
	keys, identities := make([]*sign.Key, n), make([]*sign.Identity, n)
	members := make([]cosi.Member, n)
	for i := range n {
		var err error
		if keys[i], err = sign.GenerateKey(random); err != nil {
			t.Fatal(err)
		}
		if identities[i], err = sign.GenerateIdentity(random); err != nil {
			t.Fatal(err)
		}
		m := chain.Member{
			ID:  cypherlink.NewParticipantID(identities[i].Public()),
			Key: keys[i].Public(), Possession: keys[i].Possession(),
			Identity: identities[i].Public(), TLS: cypherlink.Hash{byte(i), 7},
		}
		k.Members = append(k.Members, m)
		members[i] = cosi.Member{ID: m.ID, Key: m.Key}
	}
	roster, err := cosi.NewRoster(members, cosi.All())
	if err != nil {
		t.Fatal(err)
	}
	k.Sum = roster.Sum()
	return k, keys, identities
}

func newHouse(t testing.TB, n int, change ...func(*chain.KeyBlock)) house {
	t.Helper()
	k, keys, identities := newKeyBlock(t, n)
	for _, c := range change {
		c(&k)
	}
	at := chain.GenesisHeader(cypherlink.NetworkID{1, 2, 3}, 1_700_000_000_000, k, chain.Roots{})
	c, err := chain.NewCommittee(at, k)
	if err != nil {
		t.Fatal(err)
	}
	return house{c, at, keys, identities}
}

// child is a block on parent in a view, with a TC of the view before if it skips views.
func (h house) child(parent chain.Header, view uint64, txs ...[]byte) chain.Header {
	payload := chain.Payload(txs)
	b := chain.Header{
		Network: h.Network(), Epoch: h.Epoch(), Committee: h.Roster().Root(),
		View: view, Height: parent.Height + 1, TimeMS: parent.TimeMS + 10,
		Parent:      h.TupleOf(parent),
		PayloadRoot: payload.Root(), PayloadCount: uint32(len(txs)),
		Roots:    chain.Roots{State: cypherlink.Hash{byte(view)}, FeedSize: view},
		Proposer: h.KeyBlock().Members[h.Leader(view)].ID,
	}
	if view > b.Parent.View+1 {
		b.TCView = view - 1
	}
	return b
}

func (h house) vote(t testing.TB, i int, tuple chain.Tuple) chain.Vote {
	t.Helper()
	s, err := h.keys[i].SignRecorded(h.VoteFrame(tuple))
	if err != nil {
		t.Fatal(err)
	}
	return chain.Vote{Tuple: tuple, Member: i, Signature: s}
}

func (h house) timeout(t testing.TB, i int, view uint64, high chain.QC) chain.Timeout {
	t.Helper()
	s, err := h.keys[i].SignRecorded(h.TimeoutFrame(view, high.Tuple.View))
	if err != nil {
		t.Fatal(err)
	}
	return chain.Timeout{View: view, High: high, Member: i, Signature: s}
}

func (h house) qc(t testing.TB, tuple chain.Tuple, members ...int) chain.QC {
	t.Helper()
	shares := map[int]cosi.Signature{}
	for _, i := range members {
		shares[i] = h.vote(t, i, tuple).Signature
	}
	q, wrong, err := h.AggregateVotes(tuple, shares)
	if err != nil || len(wrong) > 0 {
		t.Fatal(wrong, err)
	}
	return q
}

// tc is a TC of view whose members report the QCs in order.
func (h house) tc(t testing.TB, view uint64, highs ...chain.QC) chain.TC {
	t.Helper()
	var timeouts []chain.Timeout
	for i, high := range highs {
		timeouts = append(timeouts, h.timeout(t, i, view, high))
	}
	tc, err := h.AggregateTimeouts(view, timeouts)
	if err != nil {
		t.Fatal(err)
	}
	return tc
}

func (h house) signed(t testing.TB, b chain.Header) chain.SignedHeader {
	t.Helper()
	i, ok := h.Roster().Index(b.Proposer)
	if !ok {
		t.Fatal("proposer is no member")
	}
	s, err := h.identities[i].SignRecorded(h.ProposalFrame(b.Tuple()))
	if err != nil {
		t.Fatal(err)
	}
	return chain.SignedHeader{Header: b, Signature: s}
}

func TestKeyBlockRules(t *testing.T) {
	good, _, _ := newKeyBlock(t, 4)
	other, _, _ := newKeyBlock(t, 5)
	for _, tt := range []struct {
		name   string
		change func(*chain.KeyBlock)
		ok     bool
	}{
		{"as it is", func(*chain.KeyBlock) {}, true},
		{"epoch 0", func(k *chain.KeyBlock) { k.Epoch = 0 }, false},
		{"depth 1", func(k *chain.KeyBlock) { k.Depth = 1 }, false},
		{"depth 4", func(k *chain.KeyBlock) { k.Depth = 4 }, false},
		{"depth 3", func(k *chain.KeyBlock) { k.Depth = 3 }, true},
		{"terms of no view", func(k *chain.KeyBlock) { k.TermViews = 0 }, false},
		{"terms of too many views", func(k *chain.KeyBlock) { k.TermViews = 257 }, false},
		{"no topology", func(k *chain.KeyBlock) { k.Topology = 0 }, false},
		{"unknown topology", func(k *chain.KeyBlock) { k.Topology = 4 }, false},
		{"a star at k = D", func(k *chain.KeyBlock) {
			k.Topology, k.TermViews, k.MinExpiryS = chain.Star, 2, 100
		}, false},
		{"a star at k = D+1", func(k *chain.KeyBlock) {
			k.Topology, k.TermViews, k.MinExpiryS = chain.Star, 3, 100
		}, true},
		{"unknown leader policy", func(k *chain.KeyBlock) { k.Leaders = 2 }, false},
		{"no idle interval", func(k *chain.KeyBlock) { k.IdleMS = 0 }, false},
		{"idle for two minutes", func(k *chain.KeyBlock) { k.IdleMS, k.MinExpiryS = 120_000, 9999 }, false},
		{"no base", func(k *chain.KeyBlock) { k.MaxBaseMS = 0 }, false},
		{"three members", func(k *chain.KeyBlock) { k.Members = k.Members[:3] }, false},
		{"another sum", func(k *chain.KeyBlock) { k.Sum = other.Sum }, false},
		{"another proof of possession", func(k *chain.KeyBlock) {
			k.Members[1].Possession = k.Members[0].Possession
		}, false},
		{
			"one identity key twice",
			func(k *chain.KeyBlock) { k.Members[1].Identity = k.Members[0].Identity }, false,
		},
		{"one TLS key twice", func(k *chain.KeyBlock) { k.Members[1].TLS = k.Members[0].TLS }, false},
		{"one member twice", func(k *chain.KeyBlock) { k.Members[1].ID = k.Members[0].ID }, false},
		{"one key twice", func(k *chain.KeyBlock) { k.Members[1].Key = k.Members[0].Key }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := good
			k.Members = append([]chain.Member(nil), good.Members...)
			tt.change(&k)
			err := k.Check()
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, chain.ErrKeyBlock) {
				t.Fatal(err)
			}
		})
	}
}

// The demo's parameters: 4 idle seconds, then f+1 = 2 failed terms of 1.5 and 2.25 s.
func TestMinExpiryOutlastsTheWorstRotation(t *testing.T) {
	k, _, _ := newKeyBlock(t, 4)
	k.MinExpiryS = 8 // above 7.75
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	k.MinExpiryS = 7
	if err := k.Check(); !errors.Is(err, chain.ErrKeyBlock) {
		t.Fatal(err)
	}
	k.TermViews, k.MinExpiryS = 2, 11 // 8 + 3.75
	if err := k.Check(); !errors.Is(err, chain.ErrKeyBlock) {
		t.Fatal(err)
	}
	k.MinExpiryS = 12
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	k.TermViews, k.IdleMS, k.MaxBaseMS, k.MinExpiryS = 1, 1600, 400, 11 // 6.4 + 2 + 3 = 11.4
	if err := k.Check(); !errors.Is(err, chain.ErrKeyBlock) {
		t.Fatal(err)
	}
}

func TestGrowth(t *testing.T) {
	for failed, want := range []int64{1000, 1500, 2250, 3375, 5062, 7593, 8000, 8000} {
		if got := chain.Grow(1000, failed); int64(got) != want {
			t.Errorf("after %d failed terms: %d, want %d", failed, got, want)
		}
	}
	if chain.Grow(1000, 1<<40) != 8000 {
		t.Error("no cap")
	}
}

func TestCommitteeBelongsToItsKeyBlock(t *testing.T) {
	k, _, _ := newKeyBlock(t, 4)
	at := chain.GenesisHeader(cypherlink.NetworkID{1}, 0, k, chain.Roots{})
	changed := k
	changed.IdleMS = 900
	if _, err := chain.NewCommittee(at, changed); !errors.Is(err, chain.ErrKeyBlock) {
		t.Fatal("another key block passes:", err)
	}
	at.Epoch = 1
	if _, err := chain.NewCommittee(at, k); !errors.Is(err, chain.ErrKeyBlock) {
		t.Fatal("a key block of another epoch passes:", err)
	}
}

func TestTermsAndLeaders(t *testing.T) {
	h := newHouse(t, 4, func(k *chain.KeyBlock) { k.TermViews, k.MinExpiryS = 3, 60 })
	for _, tt := range []struct {
		view, last uint64
		leader     int
	}{{1, 3, 0}, {3, 3, 0}, {4, 6, 1}, {6, 6, 1}, {12, 12, 3}, {13, 15, 0}} {
		if h.Leader(tt.view) != tt.leader || h.LastOfTerm(tt.view) != tt.last {
			t.Errorf("view %d: leader %d, last %d", tt.view, h.Leader(tt.view), h.LastOfTerm(tt.view))
		}
	}
}

func TestFramesDifferByKindEpochAndView(t *testing.T) {
	h := newHouse(t, 4)
	tuple := h.child(h.at, 1).Tuple()
	vote, proposal := h.VoteFrame(tuple), h.ProposalFrame(tuple)
	if vote.Payload != proposal.Payload || vote.Type == proposal.Type {
		t.Fatal("a vote and a proposal differ by their type alone")
	}
	if vote.Sequence != 1 || vote.Epoch != 1 || vote.Roster != h.Roster().Root() ||
		[8]byte(vote.Scope[:8]) != vote.Network || [24]byte(vote.Scope[8:]) != [24]byte{} {
		t.Fatalf("%+v", vote)
	}
	if h.TimeoutFrame(3, 1).Payload == h.TimeoutFrame(3, 2).Payload {
		t.Fatal("a timeout does not sign its QC's view")
	}
}
