package member

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/state"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	if h.Quantile(50) != 0 {
		t.Fatal("a quantile of nothing")
	}
	for ms := range 100 {
		h.add(time.Duration(ms) * time.Millisecond)
	}
	h.add(-time.Second)
	if h.Count() != 101 || h.SumMS != 4950 || h.MaxMS != 99 || h.Counts[0] != 2 {
		t.Fatalf("%+v", h)
	}
	p50, p99, p100 := h.Quantile(50), h.Quantile(99), h.Quantile(100)
	if p50 != 56 || p99 != 99 || p100 != 99 {
		t.Fatalf("p50 %d, p99 %d, p100 %d", p50, p99, p100)
	}
	h.add(100 * time.Hour)
	if h.Counts[buckets-1] != 1 {
		t.Fatal("the longest is in the last bucket")
	}
	for i := 1; i < buckets; i++ {
		if Bound(i) <= Bound(i-1) || i > 16 && Bound(i)*4 > Bound(i-1)*5 {
			t.Fatalf("bucket %d from %d to %d ms", i, Bound(i-1), Bound(i))
		}
	}
	var sum Histogram
	sum.merge(&h)
	sum.merge(&h)
	if sum.Count() != 2*h.Count() || sum.SumMS != 2*h.SumMS || sum.MaxMS != h.MaxMS {
		t.Fatalf("%+v", sum)
	}
}

// I4: what is final is told when it is durable, in order, and never after the disk has failed.
func TestHeraldTellsWhatIsDurable(t *testing.T) {
	m := &Member{jobs: make(chan job, 8), news: news{changed: make(chan struct{})}}
	ended := make(chan error)
	go func() { ended <- m.herald() }()
	disk := make(chan error)
	written := func() error { return <-disk }
	m.jobs <- job{wait: written, do: func() { m.news.publish(1) }}
	repeated := make(chan uint64, 1)
	m.jobs <- job{do: func() { h, _ := m.news.latest(); repeated <- h }}
	if h, _ := m.news.latest(); h != 0 {
		t.Fatal("announced before it is durable")
	}
	_, changed := m.news.latest()
	disk <- nil
	<-changed
	if h := <-repeated; h != 1 {
		t.Fatalf("answered at height %d, before the block that it speaks of", h)
	}
	broken := errors.New("broken disk")
	m.jobs <- job{wait: written, do: func() { m.news.publish(2) }}
	m.jobs <- job{do: func() { m.news.publish(3) }}
	disk <- broken
	close(m.jobs)
	if err := <-ended; !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if h, _ := m.news.latest(); h != 1 {
		t.Fatalf("height %d announced after the disk has failed", h)
	}
}

// One member that floods delays himself.
func TestInboxIsFair(t *testing.T) {
	b := newInbox(4)
	for range messagesInBox {
		b.put(t.Context(), 1, bft.Hello{})
	}
	b.put(t.Context(), 3, bft.Hello{})
	first, _ := b.take()
	second, _ := b.take()
	if first.(bft.Received).From != 1 || second.(bft.Received).From != 3 {
		t.Fatalf("%+v, then %+v", first, second)
	}
}

func pebble(t *testing.T) *state.Pebble {
	t.Helper()
	p, err := state.OpenPebble(t.TempDir(), state.PebbleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func block(height, view uint64) chain.Block {
	return chain.Block{Header: chain.Header{Height: height, View: view}}
}

func TestProposalsOutliveAStartUntilTheirHeightIsFinal(t *testing.T) {
	store := pebble(t)
	p, _, err := openProposals(store, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.put([]chain.Block{block(1, 1), block(2, 2), block(2, 3)}); err != nil {
		t.Fatal(err)
	}
	if err := p.put([]chain.Block{block(2, 2)}); err != nil { // the leader's own vote
		t.Fatal(err)
	}
	p.final(1)
	if err := p.put([]chain.Block{block(3, 4)}); err != nil {
		t.Fatal(err)
	}
	p, blocks, err := openProposals(store, 2)
	if err != nil || len(blocks) != 1 || blocks[0].Header != block(3, 4).Header {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	if len(p.stale) != 2 {
		t.Fatalf("%d stale blocks: the first was removed, two are due", len(p.stale))
	}
	damaged := state.Write{Key: blockKey(3, cypherlink.Hash{}), Value: []byte{1}}
	if err := store.Write([]state.Write{damaged}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openProposals(store, 2); !errors.Is(err, state.ErrStore) {
		t.Fatalf("a damaged proposal: %v", err)
	}
}

func evidences(t testing.TB) []chain.Evidence {
	t.Helper()
	v, w := chain.Vote{Tuple: chain.Tuple{View: 1}}, chain.Vote{Tuple: chain.Tuple{View: 2}}
	return []chain.Evidence{
		chain.DoubleVote{First: v, Second: w},
		chain.DoubleTimeout{First: chain.Timeout{View: 3}, Second: chain.Timeout{View: 4}},
		chain.DoubleProposal{First: chain.SignedHeader{Signature: [64]byte{1}}},
		chain.BrokenLock{Vote: v, Timeout: chain.Timeout{View: 5}},
	}
}

func TestEvidenceKeepsItsForm(t *testing.T) {
	for _, e := range evidences(t) {
		kind, b := encodeEvidence(e)
		got, err := decodeEvidence(kind, b)
		if err != nil {
			t.Fatalf("%T: %v", e, err)
		}
		if again, c := encodeEvidence(got); again != kind || !bytes.Equal(b, c) {
			t.Fatalf("%T: another form", e)
		}
		if _, err := decodeEvidence(kind, append(b, 0)); !errors.Is(err, state.ErrStore) {
			t.Fatalf("%T: a byte too many: %v", e, err)
		}
	}
	if _, err := decodeEvidence(9, nil); !errors.Is(err, state.ErrStore) {
		t.Fatal(err)
	}
}

func FuzzEvidence(f *testing.F) {
	for _, e := range evidences(f) {
		kind, b := encodeEvidence(e)
		f.Add(kind, b)
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		e, err := decodeEvidence(kind, b)
		if err != nil {
			return
		}
		if again, c := encodeEvidence(e); again != kind || !bytes.Equal(b, c) {
			t.Fatalf("accepted %x, encodes as %x", b, c)
		}
	})
}

func TestTransactionsKeepTheirForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var txs []*state.Transaction
		for i := range rapid.Uint64Range(0, 2).Draw(t, "count") {
			txs = append(txs, made('a', i, int(i)*100))
		}
		b := encodeTransactions(txs)
		got, err := decodeTransactions(b)
		if err != nil || len(got) != len(txs) || !bytes.Equal(encodeTransactions(got), b) {
			t.Fatalf("%d of %d, %v", len(got), len(txs), err)
		}
		for n := range b {
			if _, err := decodeTransactions(b[:n]); !errors.Is(err, bft.ErrMessage) {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
	})
}

func FuzzTransactions(f *testing.F) {
	f.Add(encodeTransactions([]*state.Transaction{made('a', 0, 10), made('b', 1, 0)}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		txs, err := decodeTransactions(b)
		if err == nil && !bytes.Equal(encodeTransactions(txs), b) {
			t.Fatalf("accepted %x", b)
		}
	})
}

// A block that cannot become final any more gives its transactions back; one that still can
// keeps them.
func TestLostBlocksGiveTheirTransactionsBack(t *testing.T) {
	n := chaintest.New(t, nil)
	s, err := state.Open(state.NewMemory(), n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	n.SetRoots(t, s.Header().Roots)
	w := n.World
	p := newPool(DefaultLimits())
	m := newMachine(s, p)
	build := func(qc chain.QC, at int64) chain.Block {
		t.Helper()
		b := n.Block(qc, chaintest.Start+at, nil, chain.Roots{})
		if b.Payload, b.Header.Roots, err = m.Build(b.Header); err != nil {
			t.Fatal(err)
		}
		b = n.Block(qc, chaintest.Start+at, b.Payload, b.Header.Roots)
		if roots, err := m.Execute(b.Header, b.Payload); err != nil || roots != b.Header.Roots {
			t.Fatal(err)
		}
		return b
	}
	add := func(name string) *state.Transaction {
		tx := state.NewTransaction(w.Prepare(w.Payment(name, 1, chaintest.Start/1000+600)))
		p.add(tx, time.Time{})
		return tx
	}
	first := add("first")
	one := build(n.Committee.Genesis(), 1000)
	second := add("second")
	other := build(n.Committee.Genesis(), 2000) // the same height, with both
	if len(one.Payload) != 1 || len(other.Payload) != 2 {
		t.Fatalf("%d and %d transactions", len(one.Payload), len(other.Payload))
	}
	child := build(n.Certify(t, one.Header), 3000) // what its parent holds is not in it again
	if len(child.Payload) != 1 || !bytes.Equal(child.Payload[0], second.Encode()) {
		t.Fatalf("%d transactions in the child", len(child.Payload))
	}
	final := state.Final{Block: one, Proof: chain.FinalityProof{
		Headers: []chain.Header{one.Header, child.Header}, QC: n.Certify(t, child.Header),
	}}
	lost, err := m.commit(final)
	if err != nil || len(lost) != 1 || len(lost[0]) != 2 || !bytes.Equal(lost[0][0], first.Encode()) {
		t.Fatalf("lost %d payloads, %v", len(lost), err)
	}
	if len(m.executed) != 1 || m.newest.Height() != 2 {
		t.Fatalf("%d blocks left, newest at height %d", len(m.executed), m.newest.Height())
	}
}
