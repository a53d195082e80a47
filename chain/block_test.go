package chain_test

import (
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

func TestHeaderRules(t *testing.T) {
	h := newHouse(t, 4)
	one := h.child(h.at, 1)
	good := h.child(one, 2)
	for _, tt := range []struct {
		name   string
		change func(*chain.Header)
		ok     bool
	}{
		{"as it is", func(*chain.Header) {}, true},
		{"another network", func(b *chain.Header) { b.Network[0]++ }, false},
		{"another epoch", func(b *chain.Header) { b.Epoch++ }, false},
		{"another committee", func(b *chain.Header) { b.Committee[0]++ }, false},
		{"its QC's view", func(b *chain.Header) { b.Parent.View = 2 }, false},
		{"a height skipped", func(b *chain.Header) { b.Height++ }, false},
		{"a TC that it does not need", func(b *chain.Header) { b.TCView = 1 }, false},
		{
			"a view skipped without TC",
			func(b *chain.Header) { b.View, b.Proposer = 3, h.KeyBlock().Members[2].ID }, false,
		},
		{"a view skipped with TC", func(b *chain.Header) {
			b.View, b.TCView, b.Proposer = 3, 2, h.KeyBlock().Members[2].ID
		}, true},
		{"a view skipped with an older TC", func(b *chain.Header) {
			b.View, b.TCView, b.Proposer = 3, 1, h.KeyBlock().Members[2].ID
		}, false},
		{"another leader", func(b *chain.Header) { b.Proposer = h.KeyBlock().Members[2].ID }, false},
		{"no member", func(b *chain.Header) { b.Proposer = cypherlink.ParticipantID{} }, false},
		{
			"transactions after a key block",
			func(b *chain.Header) { b.Ending[0], b.PayloadCount = 1, 1 }, false,
		},
		{"a parent of view 0 that is not the key block", func(b *chain.Header) {
			b.View, b.Parent.View, b.Proposer = 1, 0, h.KeyBlock().Members[0].ID
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := good
			tt.change(&b)
			err := h.CheckHeader(b)
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, chain.ErrHeader) {
				t.Fatal(err)
			}
		})
	}
}

func TestTCEndsATermOnly(t *testing.T) {
	h := newHouse(t, 4, func(k *chain.KeyBlock) { k.TermViews, k.MinExpiryS = 2, 60 })
	if err := h.CheckHeader(h.child(h.at, 2)); !errors.Is(err, chain.ErrHeader) {
		t.Fatal("a TC of view 1 in a term of two:", err)
	}
	if err := h.CheckHeader(h.child(h.at, 3)); err != nil {
		t.Fatal(err)
	}
}

func TestChildRules(t *testing.T) {
	h := newHouse(t, 4)
	one := h.child(h.at, 1)
	good := h.child(one, 2)
	for _, tt := range []struct {
		name     string
		change   func(*chain.Header)
		endsWith bool
		ok       bool
	}{
		{"as it is", func(*chain.Header) {}, false, true},
		{"the time of its parent", func(b *chain.Header) { b.TimeMS = one.TimeMS }, false, false},
		{"another parent", func(b *chain.Header) { b.Parent.Block[0]++ }, false, false},
		{"another parent view", func(b *chain.Header) { b.Parent.ParentView++ }, false, false},
		{"no ending after a key block", func(*chain.Header) {}, true, false},
		{"the key block as ending", func(b *chain.Header) { b.Ending = one.ID() }, true, true},
		{"an ending after no key block", func(b *chain.Header) { b.Ending = one.ID() }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := good
			tt.change(&b)
			err := h.CheckChild(b, one, tt.endsWith)
			if tt.ok != (err == nil) || err != nil && !errors.Is(err, chain.ErrHeader) {
				t.Fatal(err)
			}
		})
	}
	t.Run("the first block of an epoch has no ending", func(t *testing.T) {
		if err := h.CheckChild(one, h.at, true); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("the oldest key block stays the ending", func(t *testing.T) {
		ending := good
		ending.Ending = cypherlink.Hash{5}
		next := h.child(ending, 3)
		if err := h.CheckChild(next, ending, true); !errors.Is(err, chain.ErrHeader) {
			t.Fatal(err)
		}
		next.Ending = cypherlink.Hash{5}
		if err := h.CheckChild(next, ending, true); err != nil {
			t.Fatal(err)
		}
	})
}

func TestBlockRules(t *testing.T) {
	h := newHouse(t, 4)
	tx := []byte("transaction")
	good := chain.Block{Header: h.child(h.at, 1, tx), Payload: chain.Payload{tx}}
	next := h.KeyBlock()
	next.Epoch = 2
	keyBlock := func(k chain.KeyBlock) chain.Block {
		return chain.Block{Header: h.child(h.at, 1, k.Encode()), Payload: chain.Payload{k.Encode()}}
	}
	mixed := chain.Payload{tx, next.Encode()}
	first := chain.Payload{next.Encode(), tx}
	many := make(chain.Payload, chain.MaxTransactions+1)
	for i := range many {
		many[i] = []byte{1}
	}
	large := chain.Payload{make([]byte, chain.MaxPayload-3)}
	bound := chain.Payload{make([]byte, chain.MaxPayload-4)}
	with := func(p chain.Payload) chain.Block {
		return chain.Block{Header: h.child(h.at, 1, p...), Payload: p}
	}
	for _, tt := range []struct {
		name  string
		block chain.Block
		err   error
	}{
		{"as it is", good, nil},
		{"empty", with(nil), nil},
		{
			"another transaction",
			chain.Block{Header: good.Header, Payload: chain.Payload{[]byte("other")}},
			chain.ErrPayload,
		},
		{"without its payload", chain.Block{Header: good.Header}, chain.ErrPayload},
		{
			"a TC out of place",
			chain.Block{Header: good.Header, Payload: good.Payload, TC: &chain.TC{}},
			chain.ErrHeader,
		},
		{"a TC missing", chain.Block{Header: h.child(h.at, 2)}, chain.ErrHeader},
		{
			"a TC of another view",
			chain.Block{Header: h.child(h.at, 2), TC: &chain.TC{View: 3}},
			chain.ErrHeader,
		},
		{"the next key block", keyBlock(next), nil},
		{"a key block of this epoch", keyBlock(h.KeyBlock()), chain.ErrPayload},
		{"a key block after a transaction", with(mixed), chain.ErrPayload},
		{"a key block before a transaction", with(first), chain.ErrPayload},
		{"a malformed key block", with(chain.Payload{next.Encode()[:100]}), chain.ErrPayload},
		{"an empty transaction", with(chain.Payload{{}}), chain.ErrPayload},
		{"too many transactions", with(many), chain.ErrPayload},
		{"too many bytes", with(large), chain.ErrPayload},
		{"as many bytes as may be", with(bound), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := h.CheckBlock(tt.block); !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatal(err)
			}
			if tt.err != nil {
				return
			}
			if back, err := chain.DecodeBlock(tt.block.Encode()); err != nil || h.CheckBlock(back) != nil {
				t.Fatal("does not travel:", err)
			}
		})
	}
	t.Run("bounds hold on the wire", func(t *testing.T) {
		for _, p := range []chain.Payload{many, large, {{}}} {
			if _, err := decoded(encoded(p), chain.ReadPayload); err == nil {
				t.Fatal("decodes")
			}
		}
	})
}

func TestPayloadPathProvesATransaction(t *testing.T) {
	p := chain.Payload{[]byte("a"), []byte("b"), []byte("c")}
	for i, tx := range p {
		err := merkle.VerifyInclusion(merkle.Leaf(tx), uint64(i), 3, p.Path(i), p.Root())
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestFinality(t *testing.T) {
	h := newHouse(t, 4)
	a := h.child(h.at, 1)
	b := h.child(a, 2)
	c := h.child(b, 4) // view 3 timed out
	d := h.child(c, 5)
	ending := d
	ending.Ending = a.ID()
	ending.PayloadCount, ending.PayloadRoot = 0, chain.Payload(nil).Root()
	late := h.child(c, 6)
	proof := func(hs ...chain.Header) chain.FinalityProof {
		return chain.FinalityProof{Headers: hs, QC: h.qc(t, hs[len(hs)-1].Tuple(), 0, 1, 2)}
	}
	relinked := d
	relinked.Parent = b.Tuple()
	slow := d
	slow.TimeMS = c.TimeMS
	for _, tt := range []struct {
		name  string
		proof chain.FinalityProof
		ok    bool
	}{
		{"two consecutive views", proof(a, b), true},
		{"an ancestor across a gap", proof(a, b, c, d), true},
		{"a block after which the term ended", proof(c, ending), true},
		{"the last views are not consecutive", proof(b, c), false},
		{"the last views are not consecutive, an ancestor", proof(a, b, c, late), false},
		{"one header", proof(a), false},
		{"no header", chain.FinalityProof{}, false},
		{
			"a QC on another block",
			chain.FinalityProof{Headers: []chain.Header{a, b}, QC: h.qc(t, a.Tuple(), 0, 1, 2)},
			false,
		},
		{"a header left out", proof(a, c, d), false},
		{"a child of another block", proof(c, relinked), false},
		{"time standing still", proof(c, slow), false},
		{"a block with an ending", proof(ending, h.child(ending, 6)), false},
		{"the genesis header", proof(h.at, a, b), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := h.VerifyFinality(tt.proof)
			if tt.ok != (err == nil) || tt.ok && got != tt.proof.Headers[0] {
				t.Fatal(err)
			}
		})
	}
	t.Run("depth 3 needs three", func(t *testing.T) {
		h := newHouse(t, 4, func(k *chain.KeyBlock) { k.Depth = 3 })
		a := h.child(h.at, 1)
		b := h.child(a, 2)
		c := h.child(b, 3)
		two := chain.FinalityProof{Headers: []chain.Header{a, b}, QC: h.qc(t, b.Tuple(), 0, 1, 2)}
		if _, err := h.VerifyFinality(two); !errors.Is(err, chain.ErrFinality) {
			t.Fatal(err)
		}
		three := chain.FinalityProof{Headers: []chain.Header{a, b, c}, QC: h.qc(t, c.Tuple(), 1, 2, 3)}
		if _, err := h.VerifyFinality(three); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("too many headers", func(t *testing.T) {
		long := chain.FinalityProof{Headers: make([]chain.Header, chain.MaxProofHeaders+1)}
		if _, err := h.VerifyFinality(long); !errors.Is(err, chain.ErrFinality) {
			t.Fatal(err)
		}
		if _, err := chain.DecodeFinalityProof(long.Encode()); !errors.Is(err, chain.ErrFinality) {
			t.Fatal(err)
		}
	})
}

func TestEvidence(t *testing.T) {
	h := newHouse(t, 4)
	one := h.child(h.at, 1)
	twin := one
	twin.TimeMS++
	two := h.child(one, 2)
	q1, q2 := h.qc(t, one.Tuple(), 0, 1, 2), h.qc(t, two.Tuple(), 0, 1, 2)
	three := h.child(two, 3)
	forged := h.vote(t, 2, twin.Tuple())
	forged.Member = 3
	for _, tt := range []struct {
		name     string
		evidence chain.Evidence
		member   int
		ok       bool
	}{
		{
			"two votes in a view",
			chain.DoubleVote{First: h.vote(t, 3, one.Tuple()), Second: h.vote(t, 3, twin.Tuple())},
			3, true,
		},
		{
			"one vote twice",
			chain.DoubleVote{First: h.vote(t, 3, one.Tuple()), Second: h.vote(t, 3, one.Tuple())},
			0, false,
		},
		{
			"votes in two views",
			chain.DoubleVote{First: h.vote(t, 3, one.Tuple()), Second: h.vote(t, 3, two.Tuple())},
			0, false,
		},
		{
			"votes of two members",
			chain.DoubleVote{First: h.vote(t, 3, one.Tuple()), Second: h.vote(t, 2, twin.Tuple())},
			0, false,
		},
		{"a forged vote", chain.DoubleVote{First: h.vote(t, 3, one.Tuple()), Second: forged}, 0, false},
		{
			"two timeouts of a view",
			chain.DoubleTimeout{First: h.timeout(t, 1, 4, q1), Second: h.timeout(t, 1, 4, q2)},
			1, true,
		},
		{
			"one timeout twice",
			chain.DoubleTimeout{First: h.timeout(t, 1, 4, q1), Second: h.timeout(t, 1, 4, q1)},
			0, false,
		},
		{
			"timeouts of two views",
			chain.DoubleTimeout{First: h.timeout(t, 1, 4, q1), Second: h.timeout(t, 1, 5, q2)},
			0, false,
		},
		{
			"two proposals in a view",
			chain.DoubleProposal{First: h.signed(t, one), Second: h.signed(t, twin)},
			0, true,
		},
		{
			"one proposal twice",
			chain.DoubleProposal{First: h.signed(t, one), Second: h.signed(t, one)},
			0, false,
		},
		{
			"proposals in two views",
			chain.DoubleProposal{First: h.signed(t, one), Second: h.signed(t, two)},
			0, false,
		},
		{
			"a QC denied",
			chain.BrokenLock{Vote: h.vote(t, 2, three.Tuple()), Timeout: h.timeout(t, 2, 3, q1)},
			2, true,
		},
		{
			"a QC reported",
			chain.BrokenLock{Vote: h.vote(t, 2, three.Tuple()), Timeout: h.timeout(t, 2, 3, q2)},
			0, false,
		},
		{
			"a QC not yet known",
			chain.BrokenLock{Vote: h.vote(t, 2, three.Tuple()), Timeout: h.timeout(t, 2, 2, q1)},
			0, false,
		},
		{
			"vote and timeout of two members",
			chain.BrokenLock{Vote: h.vote(t, 2, three.Tuple()), Timeout: h.timeout(t, 1, 3, q1)},
			0, false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			member, err := h.VerifyEvidence(tt.evidence)
			if tt.ok != (err == nil) || tt.ok && member != tt.member {
				t.Fatal(member, err)
			}
		})
	}
	if _, err := h.VerifyEvidence(nil); !errors.Is(err, chain.ErrEvidence) {
		t.Fatal(err)
	}
}

// The layouts are for good: a changed byte here is another network.
func TestLayoutsStayAsTheyAre(t *testing.T) {
	h := newHouse(t, 4)
	one := h.child(h.at, 1, []byte("transaction"))
	for _, tt := range []struct{ name, got, want string }{
		{"header", one.ID().String(), goldenHeader},
		{"key block", hashOf(h.KeyBlock().Encode()), goldenKeyBlock},
		{"vote frame", h.VoteFrame(one.Tuple()).Payload.String(), goldenVote},
		{"timeout frame", h.TimeoutFrame(7, 3).Payload.String(), goldenTimeout},
		{"QC", hashOf(encoded(h.qc(t, one.Tuple(), 0, 2, 3))), goldenQC},
		{
			"TC",
			hashOf(encoded(h.tc(t, 2, h.Genesis(), h.qc(t, one.Tuple(), 0, 2, 3), h.Genesis()))), goldenTC,
		},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s", tt.name, tt.got)
		}
	}
}

func hashOf(b []byte) string { return cypherlink.Hash(wire.Sum("golden", b)).String() }

const (
	goldenHeader   = "8bbf84187c1e7c17d3691b2430a7e201713d40cee49ca77905f3332e9ca85e17"
	goldenKeyBlock = "fe085076407bc96e74a54648cbb93c49e9dd408fd4a0ce4346b79a0b589f56c2"
	goldenVote     = "81a90d2dde5939c5d82a62c84d91e1f54cfa68eb210866311626f7aab3679600"
	goldenTimeout  = "4258d21fa8b089775e259aa9febfd960b65e9680b40d5bb7e9dfc74ccc784538"
	goldenQC       = "43f96d6421fb399e907d1e3beb6639f9937295a37c55c601571e8016c3ec3b8b"
	goldenTC       = "dcd2dbed84f64c3d51d9853936a63f0a3f30e6a4b20a7aad725aaca8420a8dca"
)
