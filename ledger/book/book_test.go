package book_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

const start = 1_800_000_000 // seconds

// clock is a hand-set clock in milliseconds.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(start * 1000)
	return c
}

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// house is a book over a database, and what it takes to open it again.
type house struct {
	*ledgertest.World
	t     testing.TB
	dsn   string
	clock *clock
	store *store.Store
	book  *book.Book
}

func newHouse(t testing.TB, dsn string) *house {
	t.Helper()
	h := &house{World: ledgertest.NewWorld(), t: t, dsn: dsn, clock: newClock()}
	h.open()
	t.Cleanup(h.close)
	return h
}

func (h *house) options() book.Options {
	return book.Options{
		Charter: h.Charter(), Opening: h.Balances(), Signer: h.Operator,
		Now: h.clock.now, Sweep: 5 * time.Millisecond,
	}
}

func (h *house) open() {
	h.t.Helper()
	s, err := store.Open(context.Background(), h.dsn)
	if err != nil {
		h.t.Fatal(err)
	}
	b, err := book.Open(context.Background(), s, h.options())
	if err != nil {
		h.t.Fatal(errors.Join(err, s.Close()))
	}
	h.store, h.book = s, b
}

// reopen starts the book again over the same store, emptied or not.
func (h *house) reopen(o book.Options, fresh bool) {
	h.t.Helper()
	if err := h.book.Close(); err != nil {
		h.t.Fatal(err)
	}
	if fresh {
		empty(h.t, h.store)
	}
	b, err := book.Open(h.t.Context(), h.store, o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.book = b
}

func (h *house) close() {
	h.t.Helper()
	if h.book == nil {
		return
	}
	if err := errors.Join(h.book.Close(), h.store.Close()); err != nil {
		h.t.Error(err)
	}
	h.book = nil
}

func (h *house) word() ledger.Operator {
	return ledger.Operator{Network: h.Network, Ledger: h.Ledger, Key: h.Operator.Key}
}

// audit wants the books in order.
func (h *house) audit() book.Audited {
	h.t.Helper()
	a, err := book.Audit(context.Background(), h.store, h.word(), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, totals := range a.Assets {
		if totals.Issued != 3*ledgertest.Opening || totals.Issued != totals.Accounts+totals.Custody {
			h.t.Fatalf("audit: %+v", totals)
		}
	}
	return a
}

func (h *house) must(c *ledger.SignedCommand) ledger.Receipt {
	h.t.Helper()
	r, err := h.book.Submit(h.t.Context(), c)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (h *house) harness() ledgertest.Harness {
	operator := h.word()
	return ledgertest.Harness{
		Ledger:  h.book,
		Now:     h.clock.now,
		Advance: func(d time.Duration) { h.clock.ms.Add(d.Milliseconds()) },
		Check: func(r ledger.Receipt) error {
			told, err := operator.Receipt(r.Evidence)
			if err == nil && !reflect.DeepEqual(told, r) {
				err = errors.New("the receipt is not what its evidence says")
			}
			return err
		},
		Balance: func(a cypherlink.Account, asset cypherlink.Asset) (cypherlink.Amount, error) {
			balances, err := h.book.Balances(h.t.Context())
			for _, b := range balances {
				if b.Account == a && b.Asset == asset {
					return b.Amount, nil
				}
			}
			return 0, errors.Join(err, errors.New("no such account"))
		},
		Restart: func() ledger.Ledger {
			h.close()
			h.open()
			return h.book
		},
	}
}

func TestMain(m *testing.M) {
	if dsn := os.Getenv(childDSN); dsn != "" {
		os.Exit(child(dsn))
	}
	flag.Parse()
	if testing.Short() {
		if err := flag.Set("rapid.checks", "10"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

func TestContract(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		ledgertest.Run(t, func(t *testing.T, w *ledgertest.World) ledgertest.Harness {
			h.World, h.t = w, t
			h.clock.ms.Store(start * 1000)
			h.reopen(h.options(), true)
			t.Cleanup(func() { h.audit() })
			return h.harness()
		})
		h.t = t
	})
}

// wipe empties the book's tables, so that one database serves many tests.
func wipe(t testing.TB, dsn string) {
	t.Helper()
	s, err := store.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	empty(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func empty(t testing.TB, s *store.Store) {
	t.Helper()
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		for _, table := range []string{"head", "places", "events", "journal", "custodies", "crossings"} {
			if _, err := tx.Exec("DELETE FROM book_" + table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
