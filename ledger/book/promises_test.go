package book_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// B5: the ledger's time never goes back, and what it was told is stored.
func TestTimeNeverGoesBack(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		p, q := h.Payment("one", 700, start+20), h.Payment("two", 700, start+60)
		h.clock.ms.Store((start + 30) * 1000)
		r, err := h.book.Lookup(t.Context(), h.ID(p))
		if err != nil || r.Custody.State != ledger.Absent || r.TimeMS != (start+30)*1000 {
			t.Fatalf("%+v, %v", r, err)
		}
		h.close()
		h.clock.ms.Store(start * 1000) // the machine's clock goes back
		h.open()
		_, err = h.book.Submit(t.Context(), h.Prepare(p))
		if cypherlink.ErrorCode(err) != ledger.CodeExpiry {
			t.Fatalf("a custody that was told absent for ever: %v", err)
		}
		if r := h.must(h.Prepare(q)); r.TimeMS != (start+30)*1000 {
			t.Fatalf("event at %d", r.TimeMS)
		}
		h.clock.ms.Store((start + 59) * 1000)
		if r := h.must(h.Confirm(h.Bob, q)); r.TimeMS != (start+59)*1000 {
			t.Fatalf("event at %d", r.TimeMS)
		}
		h.audit()
	})
}

// B6: what has expired while the ledger was down is returned before the first command.
func TestExpiryWhileDown(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		var payments []ledgertest.Payment
		for i := range 100 { // more than one statement's rows
			payments = append(payments, h.Payment(fmt.Sprint(i), 10_000, start+20+int64(i%3)))
			h.must(h.Prepare(payments[i]))
		}
		h.close()
		h.clock.ms.Store((start + 22) * 1000)
		h.open()
		err := h.book.Update(t.Context(), func(b *book.Batch) error {
			_, err := b.Apply(h.Prepare(h.Payment("all", ledgertest.Opening, start+60)))
			return err
		})
		if err != nil {
			t.Fatalf("the returned amount cannot be used: %v", err)
		}
		a := h.audit()
		if a.Events != 201 {
			t.Fatalf("%d events", a.Events)
		}
		for e, err := range h.book.Events(t.Context(), 100) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Cursor == 201 {
				break
			}
			if e.Receipt.Custody.State != ledger.Returned || e.Receipt.TimeMS != (start+22)*1000 {
				t.Fatalf("%+v", e.Receipt)
			}
		}
	})
}

// B6: however many expire at once, a transaction returns a bounded number of them: else a ledger
// that was down could never start again for want of memory. Nobody confirms one that waits.
func TestManyExpireAtOnce(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		const many, most = 1500, 1024
		var last ledgertest.Payment
		err := h.book.Update(t.Context(), func(b *book.Batch) error {
			for i := range many {
				last = h.Payment(fmt.Sprint(i), 1, start+20)
				if i == many-1 {
					last.Subject.Fields.Expiry++ // so it is returned last
				}
				last.Subject.Fields.Asset = h.Free
				prepare := h.Sign(h.Alice, &ledger.Prepare{Subject: last.Subject})
				if _, err := b.Apply(prepare); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		o := h.options()
		o.Sweep = time.Hour
		returned := 0
		o.Publish = func(*store.Tx, ledger.Receipt) error {
			returned++
			return nil
		}
		h.reopen(o, false)
		h.clock.ms.Store((start + 21) * 1000)
		for _, want := range []int{most, many - most, 0} {
			returned = 0
			err := h.book.Update(t.Context(), func(b *book.Batch) error {
				_, err := b.Apply(h.Confirm(h.Bob, last))
				if code := cypherlink.ErrorCode(err); returned == most && code != ledger.CodeExpired {
					t.Errorf("a confirm of one that waits: %v", err)
				}
				return nil
			})
			if err != nil || returned != want {
				t.Fatalf("%d are returned, want %d, %v", returned, want, err)
			}
		}
		if a := h.audit(); a.Events != 2*many || a.Custodies[h.ID(last)] != ledger.Returned {
			t.Fatalf("%d events, the last custody is %s", a.Events, a.Custodies[h.ID(last)])
		}
	})
}

func TestOpening(t *testing.T) {
	tests := []struct {
		name string
		edit func(*book.Options)
		err  error
		part string
	}{
		{"the same again", func(*book.Options) {}, nil, ""},
		{"in another order", func(o *book.Options) { slices.Reverse(o.Opening) }, nil, ""},
		{"another amount", func(o *book.Options) { o.Opening[1].Amount++ }, book.ErrChart, "opened with"},
		{"an account less", func(o *book.Options) { o.Opening = o.Opening[1:] }, book.ErrChart, "accounts"},
		{"an account more", func(o *book.Options) {
			o.Opening = append(o.Opening, o.Opening[0])
			o.Opening[len(o.Opening)-1].Account.Number = 9
		}, book.ErrChart, "accounts"},
		{"another account", func(o *book.Options) { o.Opening[0].Account.Number = 9 }, book.ErrChart, "/9"},
		{"an account twice", func(o *book.Options) {
			o.Opening = append(o.Opening, o.Opening[0])
		}, book.ErrChart, "twice"},
		{"an asset of nobody", func(o *book.Options) {
			o.Opening[0].Asset.Code = "XYZ"
		}, book.ErrChart, "XYZ"},
		{"a negative amount", func(o *book.Options) { o.Opening[0].Amount = -1 }, book.ErrChart, "total"},
		{"more than an amount holds", func(o *book.Options) {
			o.Opening[0].Amount = math.MaxInt64
		}, cypherlink.ErrAmountRange, "total"},
		{"another network", func(o *book.Options) { o.Charter.Network[0]++ }, book.ErrChart, "network"},
		{"no signer", func(o *book.Options) { o.Signer = nil }, book.ErrChart, "signer"},
		{"a charter that is not valid", func(o *book.Options) {
			o.Charter.Keys = nil
		}, ledger.ErrCharter, "keys"},
	}
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		if err := h.book.Close(); err != nil {
			t.Fatal(err)
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				o := h.options()
				tt.edit(&o)
				b, err := book.Open(t.Context(), h.store, o)
				if err == nil {
					err = b.Close()
				}
				if !errors.Is(err, tt.err) || err != nil && !strings.Contains(err.Error(), tt.part) {
					t.Fatalf("%v, want %v with %q", err, tt.err, tt.part)
				}
			})
		}
	})
}

// One account may hold all that an Amount can.
func TestLargestAmount(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		o := h.options()
		o.Opening = []ledger.Balance{
			{Account: ledgertest.Account(h.Alice), Asset: h.Asset, Amount: math.MaxInt64 - 1},
			{Account: ledgertest.Account(h.Bob), Asset: h.Asset, Amount: 1},
		}
		h.reopen(o, true)
		p := h.Payment("one", math.MaxInt64-1, start+20)
		h.must(h.Prepare(p))
		h.must(h.Confirm(h.Bob, p))
		balances, err := h.book.Balances(t.Context())
		if err != nil || len(balances) != 2 {
			t.Fatal(balances, err)
		}
		want := map[cypherlink.ParticipantID]cypherlink.Amount{h.Bob.ID: math.MaxInt64}
		for _, b := range balances {
			if b.Amount != want[b.Account.Owner] {
				t.Errorf("%s has %d", b.Account, b.Amount)
			}
		}
		if _, err := book.Audit(t.Context(), h.store, h.word(), nil); err != nil {
			t.Fatal(err)
		}
	})
}

// Events are published in their order, in their transaction, and with nothing that was undone.
func TestPublish(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		o := h.options()
		o.Publish = func(tx *store.Tx, event ledger.Receipt) error {
			return tx.Enqueue("records", nil, event.Evidence)
		}
		h.reopen(o, false)
		p := h.Payment("one", 700, start+20)
		want := [][]byte{h.must(h.Prepare(p)).Evidence, h.must(h.Confirm(h.Bob, p)).Evidence}
		undone := errors.New("undone")
		err := h.book.Update(t.Context(), func(b *book.Batch) error {
			_, err := b.Apply(h.Prepare(h.Payment("two", 700, start+20)))
			return errors.Join(err, undone)
		})
		if !errors.Is(err, undone) {
			t.Fatal(err)
		}
		if _, err := h.book.Submit(t.Context(), h.Return(h.Bob, p)); err == nil {
			t.Fatal("returned what was confirmed")
		}
		err = h.store.View(t.Context(), func(r *store.Reader) error {
			messages, err := r.Pending("records", 10)
			if len(messages) != len(want) {
				t.Fatalf("%d messages", len(messages))
			}
			for i, m := range messages {
				if !bytes.Equal(m.Payload, want[i]) {
					t.Errorf("message %d is not the record of event %d", i, i+1)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestClose(t *testing.T) {
	h := newHouse(t, "sqlite:"+t.TempDir()+"/store.db")
	h.must(h.Prepare(h.Payment("one", 700, start+20)))
	ended := make(chan error, 1)
	started := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for _, err := range h.book.Events(t.Context(), 0) {
			if err != nil {
				ended <- err
				return
			}
			close(started)
		}
	})
	<-started
	for range 2 {
		if err := h.book.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, book.ErrClosed) {
		t.Errorf("events end with %v", err)
	}
	all.Wait()
	_, err := h.book.Submit(t.Context(), h.Prepare(h.Payment("two", 700, start+20)))
	if !errors.Is(err, book.ErrClosed) {
		t.Errorf("submit: %v", err)
	}
}

// Whoever submits while the book closes gets a receipt or an error, and never waits.
func TestCloseUnderLoad(t *testing.T) {
	h := newHouse(t, "sqlite:"+t.TempDir()+"/store.db")
	var all sync.WaitGroup
	first := make(chan struct{}, 64)
	for i := range 64 {
		all.Go(func() {
			for n := 0; ; n++ {
				_, err := h.book.Submit(t.Context(), h.Prepare(h.Payment(fmt.Sprint(i, "/", n), 1, start+20)))
				if errors.Is(err, book.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				first <- struct{}{}
				<-first
			}
		})
	}
	first <- struct{}{}
	<-first
	if err := h.book.Close(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	h.audit()
}

func TestCursorThatNeverWas(t *testing.T) {
	h := newHouse(t, "sqlite:"+t.TempDir()+"/store.db")
	h.must(h.Prepare(h.Payment("one", 700, start+20)))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, cursor := range []ledger.Cursor{2, math.MaxUint64} {
		n := 0
		for _, err := range h.book.Events(ctx, cursor) {
			if n++; !errors.Is(err, book.ErrCursor) {
				t.Errorf("after %d: %v", cursor, err)
			}
		}
		if n != 1 {
			t.Errorf("after %d: %d events", cursor, n)
		}
	}
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
	any chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.any <- struct{}{}:
	default:
	}
	return l.buf.Write(p)
}

// A book whose store is gone says so, to the log and to whoever asks.
func TestStoreIsGone(t *testing.T) {
	h := newHouse(t, "sqlite:"+t.TempDir()+"/store.db")
	o := h.options()
	out := &lines{any: make(chan struct{}, 1)}
	o.Log = slog.New(slog.NewTextHandler(out, nil))
	h.reopen(o, false)
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	<-out.any
	_, err := h.book.Submit(t.Context(), h.Prepare(h.Payment("one", 700, start+20)))
	if !errors.Is(err, store.ErrClosed) || cypherlink.ErrorCode(err) != "internal" {
		t.Errorf("submit: %v", err)
	}
	if _, err := h.book.Lookup(t.Context(), ledger.CustodyID{1}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("look up: %v", err)
	}
	for _, err := range h.book.Events(t.Context(), 0) {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("events: %v", err)
		}
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	if !strings.Contains(out.buf.String(), "expired custodies are not returned") {
		t.Errorf("log: %s", out.buf.String())
	}
}

// The book looks for expiries by itself, as often as it is told.
func TestSweep(t *testing.T) {
	h := newHouse(t, "sqlite:"+t.TempDir()+"/store.db")
	p := h.Payment("one", 700, start+20)
	h.must(h.Prepare(p))
	h.clock.ms.Store((start+20)*1000 - 1)
	deadline := time.After(time.Minute)
	quiet := make(chan ledger.Event)
	go func() {
		for e, err := range h.book.Events(t.Context(), 1) {
			if err == nil {
				quiet <- e
				return
			}
		}
	}()
	h.clock.ms.Add(1)
	select {
	case e := <-quiet:
		if e.Receipt.Custody.State != ledger.Returned || e.Receipt.TimeMS != (start+20)*1000 {
			t.Fatalf("%+v", e.Receipt)
		}
	case <-deadline:
		t.Fatal("nothing is returned")
	}
}

// Within one transaction each command sees what those before it did, foreseen or not.
func TestOneTransaction(t *testing.T) {
	for _, foreseen := range []bool{false, true} {
		storetest.Engines(t, func(t *testing.T, dsn string) {
			h := newHouse(t, dsn)
			p, q := h.Payment("one", ledgertest.Opening-1, start+20), h.Payment("two", 1, start+20)
			q.Subject.Condition = p.Subject.Condition
			steps := []struct {
				command *ledger.SignedCommand
				state   ledger.State
				code    cypherlink.Code
			}{
				{h.Return(h.Bob, p), 0, ledger.CodeUnknownCustody},
				{h.Prepare(p), ledger.Prepared, ""},
				{h.Prepare(p), ledger.Prepared, ""},
				{h.Prepare(q), 0, ledger.CodeConditionUsed},
				{h.Prepare(h.Payment("three", 2, start+20)), 0, ledger.CodeFunds},
				{h.Prepare(h.Payment("four", 1, start+20)), ledger.Prepared, ""},
				{h.Confirm(h.Bob, p), ledger.Confirmed, ""},
				{h.Confirm(h.Bob, p), ledger.Confirmed, ""},
				{h.Return(h.Bob, p), 0, ledger.CodeAlreadyPaid},
				{h.Prepare(p), ledger.Confirmed, ""},
			}
			err := h.book.Update(t.Context(), func(b *book.Batch) error {
				for i, s := range steps {
					if foreseen {
						if err := b.Foresee(s.command, h.Prepare(p), h.Confirm(h.Bob, p)); err != nil {
							return err
						}
					}
					r, err := b.Apply(s.command)
					if errors.Is(err, ledger.ErrRepeated) {
						err = nil
					}
					if cypherlink.ErrorCode(err) != s.code || r.Custody.State != s.state {
						t.Errorf("step %d: %s, %v, want %s and %q", i, r.Custody.State, err, s.state, s.code)
					}
				}
				r, err := b.Lookup(h.ID(p))
				if err != nil || r.Custody.State != ledger.Confirmed || r.Sequence != 3 {
					t.Errorf("looked up %+v, %v", r, err)
				}
				if r, err = b.Lookup(h.ID(q)); r.Custody.State != ledger.Absent || r.Sequence != 3 {
					t.Errorf("looked up %+v", r)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if a := h.audit(); a.Events != 3 || len(a.Custodies) != 2 {
				t.Fatalf("%+v", a)
			}
		})
	}
}
