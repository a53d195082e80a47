package follow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

func receipt(t testing.TB, f *follow.Follower, id ledger.CustodyID) ledger.Receipt {
	t.Helper()
	r, err := f.Receipt(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReceipts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		w := c.World
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		p := w.Payment("one", 100, start+60)
		c.block(t, 1)
		reach(t, f, 1)
		check := func(want ledger.State, sequence uint64, seconds int64, height, head uint64) {
			t.Helper()
			reach(t, f, head)
			r := receipt(t, f, w.ID(p))
			if c, err := f.Standing(w.ID(p)); err != nil || c.State != want || c.ID != w.ID(p) {
				t.Fatalf("standing %+v, %v", c, err)
			}
			if r.Custody.State != want || r.Sequence != sequence || r.TimeMS != (start+seconds)*1000 ||
				r.Ledger != w.Ledger || r.Custody.ID != w.ID(p) {
				t.Fatalf("receipt %+v", r)
			}
			s, err := follow.VerifyEvidence(c.Genesis, r)
			if err != nil {
				t.Fatal(err)
			}
			if s.Height != height || s.Block.Height < height || len(s.Signers) != c.Committee.Quorum() ||
				s.Receipt.TimeMS != r.TimeMS {
				t.Fatalf("statement %+v", s)
			}
		}
		check(ledger.Absent, 0, 1, 1, 1)
		c.block(t, 2, w.Prepare(w.Payment("two", 1, start+70)), w.Prepare(p))
		check(ledger.Prepared, 2, 2, 2, 2)
		c.block(t, 3)
		check(ledger.Prepared, 2, 2, 2, 3)
		c.block(t, 4, w.Confirm(w.Bob, p))
		check(ledger.Confirmed, 3, 4, 4, 4)
		c.block(t, 80)
		reach(t, f, 5)
		r := receipt(t, f, w.ID(w.Payment("other", 1, 1)))
		if r.Custody.State != ledger.Absent || r.Sequence != 4 || r.TimeMS != (start+80)*1000 {
			t.Fatalf("receipt %+v", r)
		}
		if r := receipt(t, f, w.ID(w.Payment("two", 1, start+70))); r.Custody.State != ledger.Returned {
			t.Fatalf("receipt %+v", r)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// Before the first block nothing is proved yet, not even that a custody is absent.
func TestReceiptWaitsForAProof(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := f.Receipt(ctx, ledger.CustodyID{1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { c.block(t, 1) })
		if r := receipt(t, f, ledger.CustodyID{1}); r.TimeMS != (start+1)*1000 {
			t.Fatalf("receipt %+v", r)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A follower that stopped amid a long answer holds final blocks without a proof. It tells
// nothing of them before the next proof has come.
func TestStopAmidAnAnswer(t *testing.T) {
	c := newCommittee(t)
	w := c.World
	p := w.Payment("one", 100, start+900)
	c.block(t, 1)
	c.block(t, 2, w.Prepare(p))
	store := state.NewMemory()
	s, err := state.Open(store, c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range c.blocks { // as Run does, without the last block of the answer
		v, err := s.Execute(s.Final(), b.Block.Header, b.Block.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(v, state.Final{Block: b.Block}); err != nil {
			t.Fatal(err)
		}
	}
	inBubble(t, func(t *testing.T) {
		c.changed = make(chan struct{})
		f, stop := following(t, c.options(store, c.honest()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, id := range []ledger.CustodyID{w.ID(p), {1}} {
			if _, err := f.Receipt(ctx, id); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("a receipt without a proof: %v", err)
			}
		}
		for _, err := range f.Events(ctx, 0) {
			t.Fatalf("an event without a proof: %v", err)
		}
		time.AfterFunc(time.Second, func() { c.block(t, 3) })
		if r := receipt(t, f, w.ID(p)); r.Custody.State != ledger.Prepared {
			t.Fatalf("receipt %+v", r)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEvents(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		w := c.World
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		verifier, err := follow.NewVerifier(c.Genesis)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := range 8 {
				time.Sleep(time.Second)
				var commands []*ledger.SignedCommand
				for j := range i % 3 {
					commands = append(commands, w.Prepare(w.Payment(fmt.Sprint(i, j), 1, start+900)))
				}
				c.block(t, int64(i+1), commands...)
			}
		}()
		for _, after := range []ledger.Cursor{0, 3} {
			next := after
			for e, err := range f.Events(t.Context(), after) {
				next++
				if err != nil || e.Cursor != next || e.Receipt.Sequence != uint64(next) {
					t.Fatalf("event %d is %d: %v", next, e.Cursor, err)
				}
				if _, err := verifier.Verify(e.Receipt); err != nil {
					t.Fatal(err)
				}
				if next == 7 { // blocks of 0, 1, 2, 0, 1, 2, 0 and 1 events
					break
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for e, err := range f.Events(ctx, 7) {
			t.Fatalf("an event after the last: %+v, %v", e, err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestProve(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		w := c.World
		f, stop := following(t, c.options(state.NewMemory(), c.honest()))
		c.block(t, 1, w.Prepare(w.Payment("one", 100, start+60)))
		p, err := f.Prove(t.Context(), state.BalanceKey(ledgertest.Account(w.Alice), w.Asset))
		if err != nil {
			t.Fatal(err)
		}
		block, err := c.Committee.VerifyFinality(p.Finality)
		if err != nil {
			t.Fatal(err)
		}
		value, ok, err := p.Entry.Verify(block.Roots.State, p.Key)
		if err != nil || !ok {
			t.Fatalf("%t, %v", ok, err)
		}
		if amount, err := state.DecodeAmount(value); err != nil || amount != ledgertest.Opening-100 {
			t.Fatalf("%d, %v", amount, err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// evidences are one of each kind, with the receipts that they are of.
func evidences(t testing.TB) (*committee, []ledger.Receipt) {
	t.Helper()
	c := newCommittee(t)
	w := c.World
	p := w.Payment("one", 100, start+60)
	c.block(t, 1, w.Prepare(w.Payment("two", 5, start+60)), w.Prepare(p))
	c.block(t, 2, w.Confirm(w.Bob, p))
	f, err := follow.Open(c.options(state.NewMemory(), c.honest()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for f.Head().Height < 2 {
		<-time.After(time.Millisecond)
	}
	return c, []ledger.Receipt{receipt(t, f, w.ID(p)), receipt(t, f, ledger.CustodyID{1})}
}

// Every byte of evidence is signed, hashed, or compared with the receipt.
func TestEveryByteOfEvidenceCounts(t *testing.T) {
	c, receipts := evidences(t)
	verifier, err := follow.NewVerifier(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	step := 3
	if testing.Short() {
		step = 17
	}
	for _, r := range receipts {
		if _, err := verifier.Verify(r); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(r.Evidence); at += step {
			bad := r
			bad.Evidence = slices.Clone(r.Evidence)
			bad.Evidence[at] ^= 1
			if _, err := verifier.Verify(bad); !errors.Is(err, follow.ErrEvidence) {
				t.Fatalf("%s: byte %d of %d does not count: %v", r.Custody.State, at, len(r.Evidence), err)
			}
		}
		short, long := r.Evidence[:len(r.Evidence)-1], append(slices.Clone(r.Evidence), 0)
		for _, bad := range [][]byte{nil, short, long} {
			r.Evidence = bad
			if _, err := verifier.Verify(r); !errors.Is(err, follow.ErrEvidence) {
				t.Fatalf("%d bytes pass: %v", len(bad), err)
			}
		}
	}
}

func TestReceiptsThatSayMore(t *testing.T) {
	c, receipts := evidences(t)
	verifier, err := follow.NewVerifier(c.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	other := chaintest.New(t, func(g *chain.GenesisFile) { g.Scheme = "another" })
	for i, good := range receipts {
		for name, edit := range map[string]func(r *ledger.Receipt){
			"another ledger":   func(r *ledger.Receipt) { r.Ledger = "x" },
			"another sequence": func(r *ledger.Receipt) { r.Sequence++ },
			"another time":     func(r *ledger.Receipt) { r.TimeMS++ },
			"another custody":  func(r *ledger.Receipt) { r.Custody.ID[0] ^= 1 },
			"another state":    func(r *ledger.Receipt) { r.Custody.State ^= 3 },
			"another's proof":  func(r *ledger.Receipt) { r.Evidence = receipts[1-i].Evidence },
		} {
			r := good
			edit(&r)
			if _, err := verifier.Verify(r); !errors.Is(err, follow.ErrEvidence) {
				t.Errorf("%s: %s passes: %v", good.Custody.State, name, err)
			}
		}
		if _, err := follow.VerifyEvidence(other.Genesis, good); !errors.Is(err, follow.ErrEvidence) {
			t.Errorf("another network's evidence passes: %v", err)
		}
	}
	amount := receipts[0]
	amount.Custody.Subject.Fields.Amount++
	if _, err := verifier.Verify(amount); !errors.Is(err, follow.ErrEvidence) {
		t.Errorf("another amount passes: %v", err)
	}
}

// A custody that is there cannot be shown to be absent by the proof of another one.
func TestForgedAbsence(t *testing.T) {
	c, receipts := evidences(t)
	e, err := follow.DecodeEvidence(receipts[1].Evidence)
	if err != nil {
		t.Fatal(err)
	}
	e.Custody = receipts[0].Custody.ID
	r := receipts[1]
	r.Custody.ID, r.Evidence = e.Custody, e.Encode()
	if _, err := follow.VerifyEvidence(c.Genesis, r); !errors.Is(err, follow.ErrEvidence) {
		t.Fatalf("passes: %v", err)
	}
	proof, err := c.state.Prove(state.CustodyKey(e.Custody)) // the proof that it is there
	if err != nil {
		t.Fatal(err)
	}
	e.Absent = proof
	r.Evidence = e.Encode()
	if _, err := follow.VerifyEvidence(c.Genesis, r); !errors.Is(err, follow.ErrEvidence) {
		t.Fatalf("passes: %v", err)
	}
}

func FuzzEvidence(f *testing.F) {
	c, receipts := evidences(f)
	verifier, err := follow.NewVerifier(c.Genesis)
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range receipts {
		f.Add(r.Evidence)
		known[string(r.Evidence)] = true
	}
	_, burn := burnOf(f)
	f.Add(burn.Evidence) // of another network: its form is right
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := follow.DecodeEvidence(b)
		if err != nil {
			if !errors.Is(err, follow.ErrEvidence) {
				t.Fatal(err)
			}
			return
		}
		if string(e.Encode()) != string(b) {
			t.Fatalf("%x encodes as %x", b, e.Encode())
		}
		if _, err := verifier.Statement(b); err == nil && !known[string(b)] {
			t.Fatalf("forged: %x", b)
		}
	})
}

// Only proofs that were verified are kept: the ones beside the blocks before the last of an
// answer may be anything.
func TestUnverifiedProofsAreNotTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		w := c.World
		p := w.Payment("one", 100, start+60)
		c.block(t, 1, w.Prepare(p))
		c.block(t, 2)
		liar := &source{name: "liar"}
		liar.answer = func(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
			b, err := c.answer(ctx, call)
			if err == nil && len(b.Blocks) > 0 {
				b.Blocks[0].Proof.QC.Votes.Signature[20] ^= 1
			}
			return b, err
		}
		f, stop := following(t, c.options(state.NewMemory(), liar))
		reach(t, f, 2)
		if _, err := follow.VerifyEvidence(c.Genesis, receipt(t, f, w.ID(p))); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}
