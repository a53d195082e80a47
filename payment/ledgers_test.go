package payment

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// errDown is what a ledger that is not reached answers.
var errDown = errors.New("not reached")

// memoryLedger is a ledger in memory: the rules of package ledger on the reference book, with
// the clock of package time, and with evidence as its kind has it.
type memoryLedger struct {
	charter *ledger.Charter
	attest  func(ledger.Receipt) []byte

	mu      sync.Mutex
	book    *ledgertest.Memory
	events  []ledger.Receipt
	changed chan struct{}
	down    bool
	refuse  error         // of every Prepare
	delay   time.Duration // from an event to its being told
	// before and after are called around a command, without the lock; an error of theirs is told
	// instead.
	before, after func(c *ledger.SignedCommand) error
}

func newLedger(tb testing.TB, n *network, id cypherlink.LedgerID) *memoryLedger {
	tb.Helper()
	charter, err := n.genesis.Charter(id)
	if err != nil {
		tb.Fatal(err)
	}
	l := &memoryLedger{charter: charter, changed: make(chan struct{})}
	var opening []ledger.Balance
	for _, o := range n.opening {
		if o.Asset.Ledger == id {
			opening = append(opening, o)
		}
	}
	l.book = ledgertest.NewMemory(opening)
	l.attest = n.record(tb)
	if id == n.genesis.Chain() {
		l.attest = (&blocks{tb: tb, network: n, qc: n.committee.Committee.Genesis()}).attest
	}
	return l
}

// record is the evidence of the DE ledger: its operator's word.
func (n *network) record(tb testing.TB) func(ledger.Receipt) []byte {
	return func(r ledger.Receipt) []byte {
		record := ledger.Record{Network: n.genesis.Network(), Receipt: r}
		signature, err := n.operator.identity.Sign(record.Frame())
		if err != nil {
			tb.Error(err)
		}
		record.Signature = signature
		return record.Encode()
	}
}

// blocks is the evidence of the chain: a final block for every event.
type blocks struct {
	tb      testing.TB
	network *network
	qc      chain.QC
	leaves  []merkle.Hash
}

func (b *blocks) attest(r ledger.Receipt) []byte {
	if r.Custody.State == ledger.Absent {
		return nil // payments keep none of it
	}
	event := &state.Event{Height: b.qc.Tuple.Height + 1, TimeMS: r.TimeMS, Fact: state.CustodyFact{Custody: r.Custody}}
	b.leaves = append(b.leaves, merkle.Leaf(event.Encode()))
	roots := chain.Roots{Feed: merkle.Root(b.leaves), FeedSize: uint64(len(b.leaves))}
	c := b.network.committee
	block := c.Block(b.qc, r.TimeMS, nil, roots)
	b.qc = c.Certify(b.tb, block.Header)
	child := c.Block(b.qc, r.TimeMS+1, nil, roots)
	e := follow.Evidence{
		Proof: chain.FinalityProof{
			Headers: []chain.Header{block.Header, child.Header}, QC: c.Certify(b.tb, child.Header),
		},
		Event: event, Index: uint64(len(b.leaves) - 1), Custody: r.Custody.ID,
		Path: merkle.Inclusion(b.leaves, len(b.leaves)-1),
	}
	return e.Encode()
}

// pass returns what has expired. The caller holds mu.
func (l *memoryLedger) pass() {
	now := time.Now().UnixMilli()
	for _, id := range l.book.Due(now) {
		custody, changed, err := ledger.Expire(l.book, now, id)
		if err == nil && changed {
			l.add(custody)
		}
	}
}

func (l *memoryLedger) add(c ledger.Custody) ledger.Receipt {
	r := ledger.Receipt{
		Ledger: l.charter.Ledger, Custody: c,
		Sequence: uint64(len(l.events)) + 1, TimeMS: time.Now().UnixMilli(),
	}
	r.Evidence = l.attest(r)
	l.events = append(l.events, r)
	close(l.changed)
	l.changed = make(chan struct{})
	return r
}

// latest is the newest receipt of a custody, or the one of its absence. The caller holds mu.
func (l *memoryLedger) latest(id ledger.CustodyID) ledger.Receipt {
	for _, r := range slices.Backward(l.events) {
		if r.Custody.ID == id {
			return r
		}
	}
	r := ledger.Receipt{
		Ledger: l.charter.Ledger, Custody: ledger.Custody{ID: id},
		Sequence: uint64(len(l.events)), TimeMS: time.Now().UnixMilli(),
	}
	r.Evidence = l.attest(r)
	return r
}

// Submit is ledger.Ledger's.
func (l *memoryLedger) Submit(_ context.Context, c *ledger.SignedCommand) (ledger.Receipt, error) {
	l.mu.Lock()
	before, after := l.before, l.after
	l.mu.Unlock()
	if before != nil {
		if err := before(c); err != nil {
			return ledger.Receipt{}, err
		}
	}
	r, err := l.submit(c)
	if after != nil {
		if err := after(c); err != nil {
			return ledger.Receipt{}, err
		}
	}
	return r, err
}

func (l *memoryLedger) submit(c *ledger.SignedCommand) (ledger.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return ledger.Receipt{}, errDown
	}
	l.pass()
	if err := l.charter.Authenticate(c)[0]; err != nil {
		return ledger.Receipt{}, err
	}
	if _, prepare := c.Command.(*ledger.Prepare); prepare && l.refuse != nil {
		return ledger.Receipt{}, l.refuse
	}
	custody, err := l.charter.Apply(l.book, time.Now().UnixMilli(), c)
	switch {
	case errors.Is(err, ledger.ErrRepeated):
		return l.latest(custody.ID), nil
	case err != nil:
		return ledger.Receipt{}, err
	}
	return l.add(custody), nil
}

// Lookup is ledger.Ledger's.
func (l *memoryLedger) Lookup(_ context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return ledger.Receipt{}, errDown
	}
	l.pass()
	return l.latest(id), nil
}

// Events is ledger.Ledger's.
func (l *memoryLedger) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for ctx.Err() == nil {
			l.mu.Lock()
			l.pass()
			down, changed := l.down, l.changed
			var next []ledger.Receipt
			if uint64(after) < uint64(len(l.events)) {
				next = l.events[after:]
			}
			l.mu.Unlock()
			if down {
				yield(ledger.Event{}, errDown)
				return
			}
			for _, r := range next {
				select {
				case <-time.After(l.lag(r)):
				case <-ctx.Done():
					return
				}
				after++
				if !yield(ledger.Event{Cursor: after, Receipt: r}, nil) {
					return
				}
			}
			if len(next) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-time.After(250 * time.Millisecond): // what expires is noticed so
			case <-ctx.Done():
			}
		}
	}
}

// lag is how long an event is not told yet.
func (l *memoryLedger) lag(r ledger.Receipt) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(time.UnixMilli(r.TimeMS).Add(l.delay))
}

// balance is what a player has.
func (l *memoryLedger) balance(tb testing.TB, of *player, asset cypherlink.Asset) cypherlink.Amount {
	tb.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	amount, _, err := l.book.Balance(cypherlink.Account{Owner: of.id()}, asset)
	if err != nil {
		tb.Fatal(err)
	}
	return amount
}

// set changes how the ledger behaves.
func (l *memoryLedger) set(change func(l *memoryLedger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}
