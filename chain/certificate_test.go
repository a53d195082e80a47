package chain_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// encoded and decoded are one wire form.
func encoded(v interface{ AppendWire(*wire.Writer) }) []byte {
	var w wire.Writer
	v.AppendWire(&w)
	return w.Bytes()
}

func decoded[T any](b []byte, read func(*wire.Reader) T) (T, error) {
	r := wire.NewReader(b)
	v := read(r)
	return v, r.End()
}

// refuseEveryByte changes each byte of an encoding, each in another bit; what still decodes
// must not verify.
func refuseEveryByte[T any](t *testing.T, b []byte, read func(*wire.Reader) T, verify func(T) error) {
	t.Helper()
	step := 1
	if testing.Short() {
		step = 9
	}
	v, err := decoded(b, read)
	if err != nil || verify(v) != nil {
		t.Fatal("the original is refused:", err, verify(v))
	}
	for i := 0; i < len(b); i += step {
		mutant := bytes.Clone(b)
		mutant[i] ^= 1 << (i / step % 8)
		v, err := decoded(mutant, read)
		if err == nil && verify(v) == nil {
			t.Fatalf("byte %d is not bound", i)
		}
	}
}

func TestEveryByteOfEveryCertificateIsBound(t *testing.T) {
	h := newHouse(t, 4)
	one := h.child(h.at, 1)
	two := h.child(one, 2)
	low, high := h.qc(t, one.Tuple(), 0, 1, 2), h.qc(t, two.Tuple(), 1, 2, 3)
	t.Run("vote", func(t *testing.T) {
		refuseEveryByte(t, encoded(h.vote(t, 2, one.Tuple())), chain.ReadVote, h.VerifyVote)
	})
	t.Run("QC", func(t *testing.T) {
		refuseEveryByte(t, encoded(low), chain.ReadQC, h.VerifyQC)
	})
	t.Run("genesis QC", func(t *testing.T) {
		refuseEveryByte(t, encoded(h.Genesis()), chain.ReadQC, h.VerifyQC)
	})
	t.Run("timeout", func(t *testing.T) {
		tc := h.tc(t, 2, low, low, h.Genesis())
		timeout := h.timeout(t, 3, 3, high)
		timeout.TC = &tc
		refuseEveryByte(t, encoded(timeout), chain.ReadTimeout, func(x chain.Timeout) error {
			if x.TC == nil {
				return errors.New("the TC is gone")
			}
			return errors.Join(h.VerifyTimeout(x), h.VerifyQC(x.High), h.VerifyTC(*x.TC))
		})
	})
	t.Run("TC", func(t *testing.T) {
		refuseEveryByte(t, encoded(h.tc(t, 3, low, high, low)), chain.ReadTC, h.VerifyTC)
	})
	t.Run("signed header", func(t *testing.T) {
		refuseEveryByte(t, encoded(h.signed(t, two)), chain.ReadSignedHeader, h.VerifyProposer)
	})
	t.Run("finality proof", func(t *testing.T) {
		proof := chain.FinalityProof{Headers: []chain.Header{one, two}, QC: high}
		refuseEveryByte(t, encoded(proof), chain.ReadFinalityProof, func(p chain.FinalityProof) error {
			_, err := h.VerifyFinality(p)
			return err
		})
	})
}

// relab/hotstuff#291: a QC relabelled to another view verified there.
func TestQCFieldsAreSigned(t *testing.T) {
	h := newHouse(t, 4)
	one := h.child(h.at, 1)
	good := h.qc(t, one.Tuple(), 0, 1, 2)
	for name, change := range map[string]func(*chain.QC){
		"view":        func(q *chain.QC) { q.Tuple.View = 1_000_000 },
		"height":      func(q *chain.QC) { q.Tuple.Height++ },
		"block":       func(q *chain.QC) { q.Tuple.Block[0]++ },
		"parent view": func(q *chain.QC) { q.Tuple.View, q.Tuple.ParentView = 2, 1 },
		"one more signer": func(q *chain.QC) {
			q.Votes.Bitmap = []byte{0b1111}
		},
		"another signer":       func(q *chain.QC) { q.Votes.Bitmap = []byte{0b1101} },
		"no quorum":            func(q *chain.QC) { q.Votes.Bitmap = []byte{0b0011} },
		"a bit beyond":         func(q *chain.QC) { q.Votes.Bitmap = []byte{0b10111} },
		"a longer bitmap":      func(q *chain.QC) { q.Votes.Bitmap = []byte{0b111, 0} },
		"a shorter bitmap":     func(q *chain.QC) { q.Votes.Bitmap = nil },
		"the genesis view":     func(q *chain.QC) { q.Tuple.View = 0 },
		"parent view is view":  func(q *chain.QC) { q.Tuple.ParentView = 1 },
		"the height of before": func(q *chain.QC) { q.Tuple.Height = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			q := good
			change(&q)
			if h.VerifyQC(q) == nil {
				t.Fatal("verifies")
			}
		})
	}
	if err := h.VerifyQC(good); err != nil {
		t.Fatal(err)
	}
}

// No block has such a tuple, so a quorum that signs it shows nothing.
func TestImpossibleTuplesAreRefusedThoughSigned(t *testing.T) {
	h := newHouse(t, 4)
	block := cypherlink.Hash{1}
	for name, tuple := range map[string]chain.Tuple{
		"a parent view not below its view": {View: 2, Height: 2, Block: block, ParentView: 2},
		"the key block's height":           {View: 2, Height: 0, Block: block, ParentView: 1},
	} {
		if err := h.VerifyQC(h.qc(t, tuple, 0, 1, 2)); !errors.Is(err, chain.ErrCertificate) {
			t.Errorf("QC with %s: %v", name, err)
		}
		if err := h.VerifyVote(h.vote(t, 1, tuple)); !errors.Is(err, chain.ErrCertificate) {
			t.Errorf("vote with %s: %v", name, err)
		}
	}
	if err := h.VerifyVote(h.vote(t, 1, h.Genesis().Tuple)); !errors.Is(err, chain.ErrCertificate) {
		t.Error("a vote for the key block:", err)
	}
}

func TestGenesisQCIsExact(t *testing.T) {
	h := newHouse(t, 4)
	for name, change := range map[string]func(*chain.QC){
		"signed":        func(q *chain.QC) { q.Votes.Bitmap = []byte{0b111} },
		"a signature":   func(q *chain.QC) { q.Votes.Signature[0] = 1 },
		"another block": func(q *chain.QC) { q.Tuple.Block[0]++ },
		"height":        func(q *chain.QC) { q.Tuple.Height++ },
	} {
		q := h.Genesis()
		change(&q)
		if err := h.VerifyQC(q); !errors.Is(err, chain.ErrCertificate) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestQuorumIsRightForEverySize(t *testing.T) {
	for n, q := range map[int]int{4: 3, 5: 4, 6: 4, 7: 5} {
		h := newHouse(t, n)
		tuple := h.child(h.at, 1).Tuple()
		shares := map[int]cosi.Signature{}
		for i := range q - 1 {
			shares[i] = h.vote(t, i, tuple).Signature
		}
		if _, _, err := h.AggregateVotes(tuple, shares); !errors.Is(err, cosi.ErrPolicy) {
			t.Fatalf("n = %d: %d votes make a QC: %v", n, q-1, err)
		}
		shares[q-1] = h.vote(t, q-1, tuple).Signature
		qc, _, err := h.AggregateVotes(tuple, shares)
		if err != nil || h.VerifyQC(qc) != nil {
			t.Fatalf("n = %d: %d votes make no QC: %v", n, q, err)
		}
	}
}

func TestWrongVoteIsBlamedAndLeftOut(t *testing.T) {
	h := newHouse(t, 4)
	one, two := h.child(h.at, 1), h.child(h.at, 2)
	shares := map[int]cosi.Signature{}
	for i := range 3 {
		shares[i] = h.vote(t, i, one.Tuple()).Signature
	}
	shares[3] = h.vote(t, 3, two.Tuple()).Signature
	q, wrong, err := h.AggregateVotes(one.Tuple(), shares)
	if err != nil || len(wrong) != 1 || wrong[0] != 3 || h.VerifyQC(q) != nil {
		t.Fatal(wrong, err)
	}
	delete(shares, 0)
	_, wrong, err = h.AggregateVotes(one.Tuple(), shares)
	if !errors.Is(err, cosi.ErrPolicy) || len(wrong) != 1 || wrong[0] != 3 {
		t.Fatal(wrong, err)
	}
}

// TC maximum: diem PR#10069 is the missing comparison of timeout and QC views.
func TestTCRules(t *testing.T) {
	h := newHouse(t, 4, func(k *chain.KeyBlock) { k.TermViews, k.MinExpiryS = 3, 60 })
	one := h.child(h.at, 1)
	two := h.child(one, 2)
	low, high := h.qc(t, one.Tuple(), 0, 1, 2), h.qc(t, two.Tuple(), 0, 1, 2)
	good := h.tc(t, 3, low, high, low)
	if err := h.VerifyTC(good); err != nil || good.MaxHigh() != 2 || good.High.Tuple != high.Tuple {
		t.Fatal(err, good)
	}
	for name, change := range map[string]func(*chain.TC){
		"a QC below the maximum": func(tc *chain.TC) { tc.High = low },
		"a QC of another view":   func(tc *chain.TC) { tc.High = h.Genesis() },
		"views reported lower": func(tc *chain.TC) {
			tc.HighViews, tc.High = []uint64{1, 1, 1}, low
		},
		"views in another order":        func(tc *chain.TC) { tc.HighViews = []uint64{2, 1, 1} },
		"one view less":                 func(tc *chain.TC) { tc.HighViews = tc.HighViews[:2] },
		"one view more":                 func(tc *chain.TC) { tc.HighViews = append(tc.HighViews, 1) },
		"view within a term":            func(tc *chain.TC) { tc.View = 4 },
		"another term":                  func(tc *chain.TC) { tc.View = 6 },
		"view zero":                     func(tc *chain.TC) { tc.View = 0 },
		"a signer beyond the committee": func(tc *chain.TC) { tc.Timeouts.Bitmap = []byte{0b10011} },
		"a longer bitmap":               func(tc *chain.TC) { tc.Timeouts.Bitmap = []byte{0b111, 0} },
		"no signer": func(tc *chain.TC) {
			tc.Timeouts.Bitmap, tc.HighViews = []byte{0}, nil
		},
		"no quorum": func(tc *chain.TC) {
			tc.Timeouts.Bitmap, tc.HighViews = []byte{0b011}, []uint64{1, 2}
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc := good
			tc.HighViews = append([]uint64(nil), good.HighViews...)
			change(&tc)
			if h.VerifyTC(tc) == nil {
				t.Fatal("verifies")
			}
		})
	}
	t.Run("a quorum over mixed views", func(t *testing.T) {
		// relab counts timeouts of all views: 3 and 6 make no TC here.
		_, err := h.AggregateTimeouts(3, []chain.Timeout{
			h.timeout(t, 0, 3, low), h.timeout(t, 1, 6, low), h.timeout(t, 2, 3, low),
		})
		if !errors.Is(err, cosi.ErrPolicy) {
			t.Fatal(err)
		}
	})
	t.Run("a QC of the view itself", func(t *testing.T) {
		four := h.child(two, 3)
		same := h.timeout(t, 0, 3, h.qc(t, four.Tuple(), 0, 1, 2))
		if err := h.VerifyTimeout(same); !errors.Is(err, chain.ErrCertificate) {
			t.Fatal(err)
		}
	})
	t.Run("a timeout within a term", func(t *testing.T) {
		if err := h.VerifyTimeout(h.timeout(t, 0, 2, low)); !errors.Is(err, chain.ErrCertificate) {
			t.Fatal(err)
		}
	})
}

// A signature of another network, epoch or committee is none here.
func TestSignaturesStayInTheirCommittee(t *testing.T) {
	h := newHouse(t, 4)
	tuple := h.child(h.at, 1).Tuple()
	k := h.KeyBlock()
	for name, at := range map[string]chain.Header{
		"network": chain.GenesisHeader(cypherlink.NetworkID{9}, h.at.TimeMS, k, chain.Roots{}),
	} {
		other, err := chain.NewCommittee(at, k)
		if err != nil {
			t.Fatal(err)
		}
		q := h.qc(t, tuple, 0, 1, 2)
		if err := other.VerifyQC(q); !errors.Is(err, cosi.ErrSignature) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	later := k
	later.Epoch = 2
	at := chain.GenesisHeader(h.Network(), h.at.TimeMS, later, chain.Roots{})
	at.Epoch = 1
	other, err := chain.NewCommittee(at, later)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.VerifyQC(h.qc(t, tuple, 0, 1, 2)); !errors.Is(err, cosi.ErrSignature) {
		t.Error("another epoch:", err)
	}
}
