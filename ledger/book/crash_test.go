package book_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

const (
	childDSN  = "CYPHERLINK_TEST_CHILD" // the database that a child is to work on
	childName = "CYPHERLINK_TEST_NAME"  // what its payments begin with
	workers   = 8
)

// child makes custodies and ends them until it is killed, and prints "name state" for each
// receipt that it is given.
func child(dsn string) int {
	ctx := context.Background()
	s, err := store.Open(ctx, dsn)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	h := &house{World: ledgertest.NewWorld(), clock: newClock(), store: s}
	if h.book, err = book.Open(ctx, s, h.options()); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	var out sync.Mutex
	submit := func(name string, c *ledger.SignedCommand) {
		r, err := h.book.Submit(ctx, c)
		out.Lock()
		defer out.Unlock()
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println(name, uint8(r.Custody.State))
	}
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%s/%d/%d", os.Getenv(childName), worker, i)
				p := h.Payment(name, 1, start+3600)
				submit(name, h.Prepare(p))
				end := h.Confirm(h.Bob, p)
				if i%2 == 1 {
					end = h.Return(h.Bob, p)
				}
				submit(name, end)
			}
		})
	}
	wg.Wait()
	return 0
}

// A killed process has lost nothing that it told, and has doubled nothing.
func TestKilledProcess(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	storetest.Engines(t, func(t *testing.T, dsn string) {
		told := map[string]ledger.State{}
		for round := range rounds {
			killed(t, dsn, fmt.Sprint(round), 1+rand.IntN(300), told)
			h := newHouse(t, dsn)
			h.audit()
			for name, state := range told {
				r, err := h.book.Lookup(t.Context(), h.ID(h.Payment(name, 1, 1)))
				if err != nil || r.Custody.State < state {
					t.Fatalf("%s is %s, %v; told was %s", name, r.Custody.State, err, state)
				}
				// the same command again changes nothing
				again := h.must(h.Prepare(h.Payment(name, 1, start+3600)))
				if again.Sequence != r.Sequence {
					t.Fatalf("%s: repeated makes event %d of %d", name, again.Sequence, r.Sequence)
				}
			}
			h.audit()
			h.close()
		}
	})
}

// killed runs a child, kills it after that many receipts, and notes what it told.
func killed(t *testing.T, dsn, name string, receipts int, told map[string]ledger.State) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDSN+"="+dsn, childName+"="+name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		var payment string
		var state uint8
		if _, err := fmt.Sscan(scanner.Text(), &payment, &state); err != nil {
			t.Error(scanner.Text())
			break
		}
		told[payment] = ledger.State(state)
		if lines++; lines == receipts {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if lines < receipts {
		t.Errorf("killed after %d receipts, want %d", lines, receipts)
	}
}

// failingSigner fails at one of its calls.
type failingSigner struct {
	ledgertest.Actor
	calls int
}

var errSigner = errors.New("no signature today")

func (s *failingSigner) Sign(f cosi.Frame) ([64]byte, error) {
	if s.calls--; s.calls == 0 {
		return [64]byte{}, errSigner
	}
	return s.Actor.Sign(f)
}

// Whatever step of a transaction fails, nothing of it is there, everybody in it is told that
// the outcome is not a refusal, and the same commands work afterwards.
func TestFailedTransaction(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		h := newHouse(t, dsn)
		signer := &failingSigner{Actor: h.Operator}
		o := h.options()
		o.Signer = signer
		h.reopen(o, false)
		p, q := h.Payment("one", 700, start+20), h.Payment("two", 300, start+20)
		commands := []*ledger.SignedCommand{h.Prepare(p), h.Prepare(q), h.Confirm(h.Bob, p)}
		all := func() error {
			return h.book.Update(t.Context(), func(b *book.Batch) error {
				for _, c := range commands {
					if _, err := b.Apply(c); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for step := range commands {
			signer.calls = step + 1
			if err := all(); !errors.Is(err, errSigner) {
				t.Fatalf("step %d: %v", step, err)
			}
			signer.calls = 1
			_, err := h.book.Submit(t.Context(), commands[0])
			if !errors.Is(err, errSigner) || !strings.Contains(err.Error(), "sign record") {
				t.Fatalf("step %d: %v", step, err)
			}
			if a := h.audit(); a.Events != 0 || len(a.Custodies) != 0 {
				t.Fatalf("step %d: %+v", step, a)
			}
		}
		if err := all(); err != nil {
			t.Fatal(err)
		}
		if a := h.audit(); a.Events != 3 || len(a.Custodies) != 2 {
			t.Fatalf("%+v", a)
		}
	})
}
