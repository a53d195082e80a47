package follow_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// newPort is a committee whose chain has a ramp.
func newPort(t testing.TB) (*committee, *ledgertest.Ramp) {
	t.Helper()
	n, ramp := chaintest.NewRamp(t)
	s, err := state.Open(state.NewMemory(), n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	n.SetRoots(t, s.Header().Roots)
	return &committee{Network: n, state: s, qc: n.Committee.Genesis(), changed: make(chan struct{})}, ramp
}

// crossed is a chain on which 10,000 came in, 4,000 went out and a custody was made.
func crossed(t testing.TB) (c *committee, ramp *ledgertest.Ramp, in, out ledger.Crossing) {
	t.Helper()
	c, ramp = newPort(t)
	in, out = ramp.Deposit(1, 10_000, start+60), ramp.Burn(1, 4_000, start+60)
	c.block(t, 1, ramp.Enter(ramp.Alice, in, ramp.Record(in, 1, (start+1)*1000).Encode()))
	c.block(t, 2, ramp.Prepare(ramp.Payment("one", 5, start+60)))
	c.block(t, 3, ramp.Leave(ramp.Alice, out))
	return c, ramp, in, out
}

// passage is the follower's, of one that has passed.
func passage(t testing.TB, f *follow.Follower, x ledger.Crossing, c *committee) ledger.Passage {
	t.Helper()
	p, ok, err := f.Passage(t.Context(), x.ID(c.Genesis.Network()))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	return p
}

func TestPassages(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, ramp, in, out := crossed(t)
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		reach(t, f, 3)
		verifier, err := follow.NewVerifier(c.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		credit, burn := passage(t, f, in, c), passage(t, f, out, c)
		if credit.Crossing != in || credit.Sequence != 1 || credit.Left() || credit.Ledger != ramp.Claim.Ledger ||
			burn.Crossing != out || burn.Sequence != 3 || !burn.Left() || burn.TimeMS != (start+3)*1000 {
			t.Fatalf("%+v, %+v", credit, burn)
		}
		for _, p := range []ledger.Passage{credit, burn} {
			if got, err := verifier.Passage(p.Evidence); err != nil || !reflect.DeepEqual(got, p) {
				t.Fatalf("%+v, want %+v, %v", got, p, err)
			}
		}
		if x, err := verifier.Burn(burn.Evidence); err != nil || x != out {
			t.Fatalf("%+v, %v", x, err)
		}
		if _, ok, err := f.Passage(t.Context(), ledger.CrossingID{1}); ok || err != nil {
			t.Fatal("a crossing that never was", err)
		}
		custody := receipt(t, f, ramp.ID(ramp.Payment("one", 5, start+60)))
		absent := receipt(t, f, ledger.CustodyID{1})
		for name, evidence := range map[string][]byte{
			"a credit": credit.Evidence, "a custody": custody.Evidence, "an absence": absent.Evidence,
		} {
			if _, err := verifier.Burn(evidence); !errors.Is(err, follow.ErrEvidence) {
				t.Errorf("%s is a burn: %v", name, err)
			}
		}
		if _, err := verifier.Statement(burn.Evidence); !errors.Is(err, follow.ErrEvidence) {
			t.Errorf("a burn is a custody: %v", err)
		}
		// the feed's other events do not disturb those of custodies
		for e, err := range f.Events(t.Context(), 0) {
			if err != nil || e.Cursor != 2 || e.Receipt.Sequence != 2 {
				t.Fatalf("%+v, %v", e, err)
			}
			break
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// burnOf is the evidence of a final burn, on a follower that has stopped.
func burnOf(t testing.TB) (c *committee, burn ledger.Passage) {
	t.Helper()
	c, _, _, out := crossed(t)
	f, err := follow.Open(c.options(state.NewMemory(), c.honest()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	for f.Head().Height < 3 {
		<-time.After(time.Millisecond)
	}
	burn = passage(t, f, out, c)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c, burn
}

func TestForgedBurns(t *testing.T) {
	c, burn := burnOf(t)
	verifier, err := follow.NewVerifier(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(t *testing.T, e *follow.Evidence){
		"a block that is certified and not final": func(t *testing.T, e *follow.Evidence) {
			e.Proof.Headers = e.Proof.Headers[:1]
			e.Proof.QC = c.Certify(t, e.Proof.Headers[0])
		},
		"no quorum": func(t *testing.T, e *follow.Evidence) {
			frame := c.Committee.VoteFrame(e.Proof.Headers[1].Tuple())
			certificate := cosi.Certificate{}
			for i := range c.Committee.Quorum() - 1 {
				vote, err := c.Keys[i].SignRecorded(frame)
				if err != nil {
					t.Fatal(err)
				}
				one := cosi.Certificate{Bitmap: []byte{1 << i}, Signature: vote}
				if i == 0 {
					certificate = one
				} else if certificate, err = cosi.Merge(certificate, one); err != nil {
					t.Fatal(err)
				}
			}
			e.Proof.QC.Votes = certificate
		},
		"nobody's signature": func(_ *testing.T, e *follow.Evidence) { e.Proof.QC.Votes.Signature = cosi.Signature{} },
		"another amount": func(_ *testing.T, e *follow.Evidence) {
			f := e.Event.Fact.(state.BurnFact)
			f.Crossing.Amount++
			e.Event.Fact = f
		},
		"another place in the feed": func(_ *testing.T, e *follow.Evidence) { e.Index-- },
		"a credit called a burn": func(_ *testing.T, e *follow.Evidence) {
			e.Event.Fact = state.CreditFact{Passed: e.Event.Fact.(state.BurnFact).Passed}
		},
		"the block before": func(_ *testing.T, e *follow.Evidence) { e.Proof = c.blocks[1].Proof },
	} {
		t.Run(name, func(t *testing.T) {
			e, err := follow.DecodeEvidence(burn.Evidence)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verifier.Burn(e.Encode()); err != nil {
				t.Fatal(err)
			}
			edit(t, e)
			if _, err := verifier.Burn(e.Encode()); !errors.Is(err, follow.ErrEvidence) {
				t.Fatal(err)
			}
		})
	}
	other, err := follow.NewVerifier(network(t).Genesis)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Burn(burn.Evidence); !errors.Is(err, follow.ErrEvidence) {
		t.Errorf("another network's burn: %v", err)
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for at := 0; at < len(burn.Evidence); at += step {
		bad := slices.Clone(burn.Evidence)
		bad[at] ^= 1
		if _, err := verifier.Burn(bad); !errors.Is(err, follow.ErrEvidence) {
			t.Fatalf("byte %d of %d does not count: %v", at, len(bad), err)
		}
	}
}

// lengthen makes the proof of the last block one of n headers: the leaders after it failed, each
// second view.
func (c *committee) lengthen(t testing.TB, n int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	last := &c.blocks[len(c.blocks)-1]
	headers := []chain.Header{last.Block.Header}
	for i := 1; i < n; i++ {
		parent := headers[i-1]
		h := c.Block(chain.QC{Tuple: parent.Tuple()}, parent.TimeMS+1, nil, parent.Roots).Header
		if i < n-1 {
			h.View++
			h.TCView = h.View - 1
			h.Proposer = c.Committee.Roster().Member(c.Committee.Leader(h.View)).ID
		}
		headers = append(headers, h)
	}
	last.Proof = chain.FinalityProof{Headers: headers, QC: c.Certify(t, headers[n-1])}
	if _, err := c.Committee.VerifyFinality(last.Proof); err != nil {
		t.Fatal(err)
	}
}

// A burn whose own block has a long proof is proved by a later block, so that its evidence always
// fits an Enter.
func TestLongProofsAreAvoided(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, _, _, out := crossed(t)
		c.lengthen(t, 121) // before anybody has the block
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		reach(t, f, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := f.Passage(ctx, out.ID(c.Genesis.Network())); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { c.block(t, 4) })
		burn := passage(t, f, out, c)
		e, err := follow.DecodeEvidence(burn.Evidence)
		if err != nil || e.Proof.Headers[0].Height != 4 || len(e.Proof.Headers) != 2 || burn.TimeMS != (start+3)*1000 {
			t.Fatalf("%+v, %v", e, err)
		}
		if x, err := follow.NewVerifier(c.Genesis); err != nil {
			t.Fatal(err)
		} else if _, err := x.Burn(burn.Evidence); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// The longest evidence that a follower gives fits an Enter, of the largest committee too.
func TestTheLongestEvidenceFits(t *testing.T) {
	_, burn := burnOf(t)
	e, err := follow.DecodeEvidence(burn.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	for len(e.Proof.Headers) < 120 {
		e.Proof.Headers = append(e.Proof.Headers, e.Proof.Headers[0])
	}
	e.Path = make([]merkle.Hash, 64)
	e.Proof.QC.Votes.Bitmap = make([]byte, (chain.MaxMembers+7)/8)
	n := len(e.Encode()) + 2*16 // the names of the asset are not the longest
	if n > ledger.MaxEvidence {
		t.Errorf("%d bytes of %d", n, ledger.MaxEvidence)
	}
	if longer := n + chain.HeaderSize*8; longer < ledger.MaxEvidence {
		t.Errorf("%d bytes more would fit too", ledger.MaxEvidence-n)
	}
}
