package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// quay is a ledger of the ramp over a book in memory, by the clock.
type quay struct {
	s       *harbour
	charter ledger.Charter
	book    *ledgertest.Memory
	passed  map[ledger.CrossingID]ledger.Passage
}

// harbour is both ledgers, and what goes wrong between them and the owner.
type harbour struct {
	ramp  *ledgertest.Ramp
	burns ledgertest.Burns

	mu    sync.Mutex
	quays map[cypherlink.LedgerID]*quay
	calls int
	// fault is what becomes of a call, by its number from 1: nothing, or one of the errors below.
	fault func(call int) error
}

var (
	errNotHandedIn = errors.New("the command is lost")
	errNoAnswer    = errors.New("the answer is lost")
)

func newHarbour() *harbour {
	r := ledgertest.NewRamp("cypherium")
	h := &harbour{ramp: r, burns: ledgertest.Burns{}, quays: map[cypherlink.LedgerID]*quay{}}
	for _, c := range []ledger.Charter{r.External(h.burns), r.OnChain()} {
		c.Verifier = nil
		opening := r.Balances()
		if c.Ledger == r.Claim.Ledger {
			opening = nil
		}
		q := &quay{
			s: h, charter: c, book: ledgertest.NewMemory(opening), passed: map[ledger.CrossingID]ledger.Passage{},
		}
		q.book.AddRamp(&q.charter)
		h.quays[c.Ledger] = q
	}
	h.fault = func(int) error { return nil }
	return h
}

// Cross implements ledger.Ramp.
func (q *quay) Cross(ctx context.Context, c *ledger.SignedCommand) (ledger.Passage, error) {
	q.s.mu.Lock()
	defer q.s.mu.Unlock()
	q.s.calls++
	fault := q.s.fault(q.s.calls)
	if errors.Is(fault, errNotHandedIn) || ctx.Err() != nil {
		return ledger.Passage{}, errNotHandedIn
	}
	p, err := q.cross(c)
	if fault != nil {
		return ledger.Passage{}, fault
	}
	return p, err
}

func (q *quay) cross(c *ledger.SignedCommand) (ledger.Passage, error) {
	if err := q.charter.Authenticate(c)[0]; err != nil {
		return ledger.Passage{}, err
	}
	x, err := q.charter.Cross(q.book, time.Now().UnixMilli(), c)
	id := x.ID(q.charter.Network)
	if errors.Is(err, ledger.ErrRepeated) {
		return q.passed[id], nil
	}
	if err != nil {
		return ledger.Passage{}, err
	}
	p := ledger.Passage{
		Ledger: q.charter.Ledger, Crossing: x, Sequence: uint64(len(q.passed) + 1), TimeMS: time.Now().UnixMilli(),
	}
	if q.charter.Burns == nil {
		p.Evidence = fmt.Appendf(nil, "burn %d", p.Sequence)
		q.s.burns[string(p.Evidence)] = x
	} else {
		p.Evidence = q.s.ramp.Record(x, p.Sequence, p.TimeMS).Encode()
	}
	q.passed[id] = p
	return p, nil
}

func (h *harbour) options(st *store.Store) RampOptions {
	return RampOptions{
		Store: st, Network: h.ramp.Network, Signer: actorSigner{h.ramp.Alice}, Resend: time.Second,
		Ledgers: map[cypherlink.LedgerID]ledger.Ramp{
			h.ramp.Backing.Ledger: h.quays[h.ramp.Backing.Ledger], h.ramp.Claim.Ledger: h.quays[h.ramp.Claim.Ledger],
		},
		To: map[cypherlink.Asset]cypherlink.LedgerID{
			h.ramp.Backing: h.ramp.Claim.Ledger, h.ramp.Claim: h.ramp.Backing.Ledger,
		},
		Log: slog.New(slog.DiscardHandler),
	}
}

// sail runs a ramp over the store until stop is called, which wants its Run to end without an error.
func sail(t *testing.T, o RampOptions) (r *Ramp, stop func()) {
	t.Helper()
	r = NewRamp(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// holds wants so much in escrow and on the chain.
func (h *harbour) holds(t *testing.T, want cypherlink.Amount) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	escrow, _ := h.quays[h.ramp.Backing.Ledger].book.Held(h.ramp.Backing)
	supply, _ := h.quays[h.ramp.Claim.Ledger].book.Held(h.ramp.Claim)
	if escrow != want || supply != want {
		t.Errorf("escrow %d, supply %d, want %d", escrow, supply, want)
	}
}

func rampStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// reaches waits until the crossing has come to that stage.
func reaches(t *testing.T, r *Ramp, x ledger.Crossing, want Stage) {
	t.Helper()
	for range 600 {
		same, got, err := r.Crossing(t.Context(), x.ID(r.Network))
		if err != nil || same != x {
			t.Fatal(same, err)
		}
		if got == want {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("crossing %d does not come to be %s", x.Nonce, want)
}

// Both directions survive whatever becomes of each call, and a crash right after it.
func TestRampSurvivesACrashAtEveryCall(t *testing.T) {
	for call := 1; call <= 4; call++ {
		for _, fault := range []error{errNotHandedIn, errNoAnswer} {
			for _, crash := range []bool{false, true} {
				t.Run(fmt.Sprint("call ", call, ", ", fault, ", crash ", crash), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { strike(t, call, fault, crash) })
				})
			}
		}
	}
}

// strike deposits and burns, with one call that goes wrong.
func strike(t *testing.T, call int, fault error, crash bool) {
	t.Helper()
	st := rampStore(t)
	h := newHarbour()
	struck := make(chan struct{})
	h.fault = func(n int) error {
		if n != call {
			return nil
		}
		close(struck)
		return fault
	}
	r, stop := sail(t, h.options(st))
	crashed := !crash
	until := time.Now().Unix() + 3600
	for _, x := range []ledger.Crossing{h.ramp.Deposit(1, 10_000, until), h.ramp.Burn(1, 4_000, until)} {
		if err := r.Begin(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case <-struck:
			if !crashed {
				crashed = true
				stop()
				r, stop = sail(t, h.options(st))
			}
		default:
		}
		reaches(t, r, x, Arrived)
		if err := r.Begin(t.Context(), x); err != nil { // a repetition is harmless, also at the end
			t.Error(err)
		}
	}
	h.holds(t, 6_000)
	stop()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

func TestRampLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := rampStore(t)
		h := newHarbour()
		var mu sync.Mutex
		var told []Stage
		o := h.options(st)
		o.Changed = func(_ ledger.Crossing, s Stage) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, s)
		}
		r, stop := sail(t, o)
		x := h.ramp.Deposit(1, ledgertest.Opening+1, time.Now().Unix()+20)
		if err := r.Begin(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second) // refused for want of funds, again and again
		if _, got, err := r.Crossing(t.Context(), x.ID(r.Network)); got != Leaving || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		if h.mu.Lock(); h.calls < 9 || h.calls > 12 {
			t.Errorf("%d calls in ten seconds", h.calls)
		}
		h.mu.Unlock()
		reaches(t, r, x, Lapsed)
		h.holds(t, 0)
		other := x
		other.Amount = 1
		if err := r.Begin(t.Context(), other); !errors.Is(err, ErrBegun) {
			t.Errorf("another crossing under the nonce: %v", err)
		}
		foreign := x
		foreign.Owner = h.ramp.Bob.ID
		nowhere := x
		nowhere.Asset = h.ramp.Free
		for _, x := range []ledger.Crossing{foreign, nowhere} {
			if err := r.Begin(t.Context(), x); !errors.Is(err, ErrForeign) {
				t.Error(err)
			}
		}
		if _, got, err := r.Crossing(t.Context(), ledger.CrossingID{1}); got != 0 || err != nil {
			t.Errorf("%s, %v", got, err)
		}
		stop()
		if err := r.Begin(t.Context(), x); !errors.Is(err, ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(told, []Stage{Leaving, Lapsed}) {
			t.Errorf("told %v", told)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A ramp that is stopped before it has taken up what is open has ended without an error.
func TestRampIsStoppedAtItsStart(t *testing.T) {
	st := rampStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewRamp(newHarbour().options(st)).Run(ctx); err != nil {
		t.Error(err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// Many crossings at once, each of whose calls may be lost either way, and a restart in the middle.
func TestManyCrossings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := rampStore(t)
		h := newHarbour()
		h.fault = func(n int) error {
			switch n % 5 {
			case 1:
				return errNotHandedIn
			case 3:
				return errNoAnswer
			}
			return nil
		}
		r, stop := sail(t, h.options(st))
		until := time.Now().Unix() + 3600
		for nonce := range uint64(20) {
			if err := r.Begin(t.Context(), h.ramp.Deposit(nonce, 100, until)); err != nil {
				t.Fatal(err)
			}
			if nonce == 10 {
				synctest.Wait()
				stop()
				r, stop = sail(t, h.options(st))
			}
		}
		for nonce := range uint64(20) {
			reaches(t, r, h.ramp.Deposit(nonce, 100, until), Arrived)
		}
		h.holds(t, 2_000)
		stop()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}
