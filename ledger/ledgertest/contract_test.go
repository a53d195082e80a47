package ledgertest_test

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// simple is the least ledger that keeps the contract: the rules over a book in memory, behind
// a lock.
type simple struct {
	world   *ledgertest.World
	charter ledger.Charter

	mu     sync.Mutex
	book   *ledgertest.Memory
	nowMS  int64
	events []ledger.Receipt
	more   chan struct{} // closed and replaced at each event
}

func newSimple(w *ledgertest.World) *simple {
	return &simple{
		world: w, charter: w.Charter(), book: ledgertest.NewMemory(w.Balances()),
		nowMS: 1_800_000_000_000, more: make(chan struct{}),
	}
}

// tell makes the receipt of a custody at a sequence, signed by the operator.
func (l *simple) tell(c ledger.Custody, sequence uint64) ledger.Receipt {
	r := ledger.Record{Network: l.world.Network, Receipt: ledger.Receipt{
		Ledger: l.world.Ledger, Custody: c, Sequence: sequence, TimeMS: l.nowMS,
	}}
	r.Signature, _ = l.world.Operator.Sign(r.Frame())
	r.Receipt.Evidence = r.Encode()
	return r.Receipt
}

func (l *simple) event(c ledger.Custody) ledger.Receipt {
	r := l.tell(c, uint64(len(l.events))+1)
	l.events = append(l.events, r)
	close(l.more)
	l.more = make(chan struct{})
	return r
}

func (l *simple) expire() error {
	for _, id := range l.book.Due(l.nowMS) {
		c, _, err := ledger.Expire(l.book, l.nowMS, id)
		if err != nil {
			return err
		}
		l.event(c)
	}
	return nil
}

func (l *simple) standing(id ledger.CustodyID) (ledger.Receipt, bool) {
	for _, r := range slices.Backward(l.events) {
		if r.Custody.ID == id {
			return r, true
		}
	}
	return ledger.Receipt{}, false
}

func (l *simple) Submit(ctx context.Context, command *ledger.SignedCommand) (ledger.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return ledger.Receipt{}, err
	}
	if err := l.charter.Authenticate(command)[0]; err != nil {
		return ledger.Receipt{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.expire(); err != nil {
		return ledger.Receipt{}, err
	}
	c, err := l.charter.Apply(l.book, l.nowMS, command)
	switch {
	case errors.Is(err, ledger.ErrRepeated):
		r, _ := l.standing(c.ID)
		return r, nil
	case err != nil:
		return ledger.Receipt{}, err
	}
	return l.event(c), nil
}

func (l *simple) Lookup(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return ledger.Receipt{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.standing(id); ok {
		return r, nil
	}
	return l.tell(ledger.Custody{ID: id}, uint64(len(l.events))), nil
}

func (l *simple) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for ctx.Err() == nil {
			l.mu.Lock()
			fresh, more := l.events[after:], l.more
			l.mu.Unlock()
			for _, r := range fresh {
				after++
				if !yield(ledger.Event{Cursor: after, Receipt: r}, nil) {
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
			}
		}
	}
}

func (l *simple) harness() ledgertest.Harness {
	operator := ledger.Operator{Network: l.world.Network, Ledger: l.world.Ledger, Key: l.world.Operator.Key}
	return ledgertest.Harness{
		Ledger: l,
		Now: func() time.Time {
			l.mu.Lock()
			defer l.mu.Unlock()
			return time.UnixMilli(l.nowMS)
		},
		Advance: func(d time.Duration) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.nowMS += d.Milliseconds()
			if err := l.expire(); err != nil {
				panic(err)
			}
		},
		Check: func(r ledger.Receipt) error {
			told, err := operator.Receipt(r.Evidence)
			if err == nil && !reflect.DeepEqual(told, r) {
				err = errors.New("the receipt is not what its evidence says")
			}
			return err
		},
		Balance: func(a cypherlink.Account, asset cypherlink.Asset) (cypherlink.Amount, error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			amount, _, err := l.book.Balance(a, asset)
			return amount, err
		},
		Restart: func() ledger.Ledger { return l },
	}
}

func TestContract(t *testing.T) {
	ledgertest.Run(t, func(_ *testing.T, w *ledgertest.World) ledgertest.Harness {
		return newSimple(w).harness()
	})
}
