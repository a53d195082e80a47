package book_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// The book does what the book in memory does, command for command, over restarts.
func TestAgainstMemory(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		rapid.Check(t, func(r *rapid.T) {
			h.clock.ms.Store(start * 1000)
			h.reopen(h.options(), true)
			m := &mirror{house: h, memory: ledgertest.NewMemory(h.Balances()), charter: h.Charter()}
			for range rapid.IntRange(1, 25).Draw(r, "steps") {
				m.step(r)
			}
			m.compare(r)
		})
	})
}

// mirror runs every command on the book and on a book in memory.
type mirror struct {
	*house
	memory  *ledgertest.Memory
	charter ledger.Charter
	events  int64
}

func (m *mirror) step(r *rapid.T) {
	amount := rapid.SampledFrom([]cypherlink.Amount{1, 400_000, ledgertest.Opening}).Draw(r, "amount")
	expiry := m.clock.now().Unix() + rapid.Int64Range(7, 12).Draw(r, "wait")
	p := m.Payment(rapid.StringMatching("[a-d]").Draw(r, "name"), amount, expiry)
	switch rapid.IntRange(0, 6).Draw(r, "what") {
	case 0:
		m.clock.ms.Add(rapid.SampledFrom([]int64{1, 999, 4000, 9000}).Draw(r, "ms"))
	case 1:
		m.reopen(m.options(), false)
	case 2, 3, 4:
		m.both(r, m.Prepare(p))
	case 5:
		m.both(r, m.Confirm(m.Bob, p))
	case 6:
		m.both(r, m.Return(m.Bob, p))
	}
}

func (m *mirror) both(r *rapid.T, c *ledger.SignedCommand) {
	nowMS := m.clock.ms.Load()
	got, err := m.book.Submit(m.t.Context(), c)
	for _, id := range m.memory.Due(nowMS) {
		if _, _, err := ledger.Expire(m.memory, nowMS, id); err != nil {
			r.Fatal(err)
		}
		m.events++
	}
	want, wantErr := m.charter.Apply(m.memory, nowMS, c)
	switch {
	case errors.Is(wantErr, ledger.ErrRepeated):
		wantErr = nil
	case wantErr == nil:
		if m.events++; got.Sequence != uint64(m.events) || got.TimeMS != nowMS {
			r.Fatalf("%T is event %d at %d, want %d at %d",
				c.Command, got.Sequence, got.TimeMS, m.events, nowMS)
		}
	}
	if cypherlink.ErrorCode(err) != cypherlink.ErrorCode(wantErr) {
		r.Fatalf("%T: %v, want %v", c.Command, err, wantErr)
	}
	if got.Custody.State != want.State || got.Custody.Subject != want.Subject {
		r.Fatalf("%T: %+v, want %+v", c.Command, got.Custody, want)
	}
}

func (m *mirror) compare(r *rapid.T) {
	nowMS := m.clock.ms.Load()
	for _, id := range m.memory.Due(nowMS) { // the book has returned them, or is about to
		if _, _, err := ledger.Expire(m.memory, nowMS, id); err != nil {
			r.Fatal(err)
		}
	}
	if err := m.book.Update(m.t.Context(), func(*book.Batch) error { return nil }); err != nil {
		r.Fatal(err)
	}
	balances, err := m.book.Balances(m.t.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, b := range balances {
		if want, _, _ := m.memory.Balance(b.Account, b.Asset); b.Amount != want {
			r.Fatalf("%s has %d %s, want %d", b.Account, b.Amount, b.Asset, want)
		}
	}
	m.audit()
}
