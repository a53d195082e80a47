package member

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
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
	if p50 != 50 || p99 != 99 || p100 != 99 {
		t.Fatalf("p50 %d, p99 %d, p100 %d", p50, p99, p100)
	}
	h.add(100 * time.Hour)
	if h.Counts[buckets-1] != 1 {
		t.Fatal("the longest is in the last bucket")
	}
	for i := 1; i < buckets; i++ {
		if Bound(i) <= Bound(i-1) || i > exact && Bound(i)*steps > Bound(i-1)*(steps+1) {
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
	asked, disk := make(chan struct{}), make(chan error)
	written := func() error {
		asked <- struct{}{}
		return <-disk
	}
	m.jobs <- job{wait: written, do: func() { m.news.publish(1) }}
	repeated := make(chan uint64, 1)
	m.jobs <- job{do: func() { h, _ := m.news.latest(); repeated <- h }}
	<-asked
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
	<-asked
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
		b := encodeTransactions(txs, 0)
		got, err := decodeTransactions(b)
		if err != nil || len(got) != len(txs) || !bytes.Equal(encodeTransactions(got, 0), b) {
			t.Fatalf("%d of %d, %v", len(got), len(txs), err)
		}
		for n := range b {
			if _, err := decodeTransactions(b[:n]); !errors.Is(err, bft.ErrMessage) {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
		again := bytes.Clone(b)
		clear(b)
		if !bytes.Equal(encodeTransactions(got, 0), again) {
			t.Fatal("a transaction keeps the memory of the whole message")
		}
	})
}

// Votes come behind transactions on one connection: a full queue loses those.
func TestGossipDoesNotWait(t *testing.T) {
	m := &Member{arrivals: make(chan arrival, 1)}
	body := encodeTransactions([]*state.Transaction{made('a', 0, 0), made('a', 1, 0), made('a', 2, 0)}, 0)
	if err := m.receive(t.Context(), 1, kindTransactions, body); err != nil {
		t.Fatal(err)
	}
	if len(m.arrivals) != 1 || m.meters.dropped.Load() != 2 {
		t.Fatalf("%d arrived, %d dropped", len(m.arrivals), m.meters.dropped.Load())
	}
}

func FuzzTransactions(f *testing.F) {
	f.Add(encodeTransactions([]*state.Transaction{made('a', 0, 10), made('b', 1, 0)}, 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		txs, err := decodeTransactions(b)
		if err == nil && !bytes.Equal(encodeTransactions(txs, 0), b) {
			t.Fatalf("accepted %x", b)
		}
	})
}

// loom makes blocks without consensus.
type loom struct {
	*chaintest.Network
	*machine
}

func newLoom(t *testing.T) *loom {
	t.Helper()
	n := chaintest.New(t, nil)
	s, err := state.Open(state.NewMemory(), n.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	n.SetRoots(t, s.Header().Roots)
	return &loom{n, newMachine(s, newPool(DefaultLimits()))}
}

// build makes and executes a block on the one that qc certifies.
func (l *loom) build(t *testing.T, qc chain.QC, at int64) chain.Block {
	t.Helper()
	b := l.Block(qc, chaintest.Start+at, nil, chain.Roots{})
	payload, roots, err := l.Build(b.Header)
	if err != nil {
		t.Fatal(err)
	}
	b = l.Block(qc, chaintest.Start+at, payload, roots)
	if got, err := l.Execute(b.Header, b.Payload); err != nil || got != roots {
		t.Fatal(err)
	}
	return b
}

func (l *loom) prepare(name string, amount cypherlink.Amount) *state.Transaction {
	return state.NewTransaction(state.Command{Signed: l.World.Prepare(l.World.Payment(name, amount, chaintest.Start/1000+600))})
}

// A block that cannot become final any more gives its transactions back; one that still can
// keeps them.
func TestLostBlocksGiveTheirTransactionsBack(t *testing.T) {
	l := newLoom(t)
	first, second := l.prepare("first", 1), l.prepare("second", 1)
	l.pool.add(first, time.Now())
	one := l.build(t, l.Committee.Genesis(), 1000)
	l.pool.add(second, time.Now())
	other := l.build(t, l.Committee.Genesis(), 2000) // the same height, with both
	if len(one.Payload) != 1 || len(other.Payload) != 2 {
		t.Fatalf("%d and %d transactions", len(one.Payload), len(other.Payload))
	}
	child := l.build(t, l.Certify(t, one.Header), 3000) // what its parent holds is not in it again
	if len(child.Payload) != 1 || !bytes.Equal(child.Payload[0], second.Encode()) {
		t.Fatalf("%d transactions in the child", len(child.Payload))
	}
	if l.pool.due(time.Now().Add(-time.Minute)) != nil {
		t.Fatal("a transaction in flight is tried again")
	}
	// The other block's second transaction has meanwhile left the pool.
	l.pool.remove(second.Hash)
	m := &Member{
		log: slog.New(slog.DiscardHandler), state: l.state, machine: l.machine, pool: l.pool, now: time.Now,
		store: &ahead{}, proposals: &proposals{}, jobs: make(chan job, 1),
	}
	err := m.apply(t.Context(), bft.Final{Block: one, Proof: chain.FinalityProof{
		Headers: []chain.Header{one.Header, child.Header}, QC: l.Certify(t, child.Header),
	}})
	if err != nil || len(l.executed) != 1 || l.newest.Height() != 2 {
		t.Fatalf("%d blocks left, newest at height %d, %v", len(l.executed), l.newest.Height(), err)
	}
	back := l.pool.get(second.Hash)
	if back == nil || l.pool.due(time.Time{}) == nil {
		t.Fatal("the transaction is not back, or not tried first")
	}
}

// What the final state refuses may still succeed on a block that is on its way, and what a
// block on its way excludes may still succeed if that block is lost: neither is refused.
func TestJudgement(t *testing.T) {
	l := newLoom(t)
	m := &Member{state: l.state, machine: l.machine, genesis: l.Genesis}
	now := time.UnixMilli(chaintest.Start + 5000)
	payment := l.World.Payment("one", ledgertest.Opening, chaintest.Start/1000+600)
	prepare := state.NewTransaction(state.Command{Signed: l.World.Prepare(payment)})
	confirm := state.NewTransaction(state.Command{Signed: l.World.Confirm(l.World.Bob, payment)})
	rival := l.prepare("rival", 1)
	judge := func(tx *state.Transaction, want follow.Status) follow.Outcome {
		t.Helper()
		o, err := m.judge(tx, now)
		if err != nil || o.Status != want {
			t.Fatalf("%+v, %v", o, err)
		}
		return o
	}
	judge(confirm, follow.Refused)
	l.pool.add(prepare, time.Time{})
	block := l.build(t, l.Committee.Genesis(), 1000)
	judge(confirm, follow.Pending) // by the newest state
	judge(rival, follow.Pending)   // by the final one
	judge(prepare, follow.Pending) // in flight
	child := l.build(t, l.Certify(t, block.Header), 2000)
	if _, err := l.commit(state.Final{Block: block, Proof: chain.FinalityProof{
		Headers: []chain.Header{block.Header, child.Header}, QC: l.Certify(t, child.Header),
	}}); err != nil {
		t.Fatal(err)
	}
	if o := judge(prepare, follow.Final); o.Height != 1 {
		t.Fatalf("final at height %d", o.Height)
	}
	if o := judge(rival, follow.Refused); o.Refusal.Code != ledger.CodeFunds || o.Height != 1 {
		t.Fatalf("%+v", o)
	}
}
