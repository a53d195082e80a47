package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
)

func manyPrepares(s *stand) {
	const submitters, covered = 32, 8
	s.together(submitters, func(ctx context.Context, i int) error {
		p := s.Payment(fmt.Sprint(i), Opening/covered, s.in(20))
		_, err := s.h.Ledger.Submit(ctx, s.Prepare(p))
		return err
	}, map[cypherlink.Code]int{"": covered, ledger.CodeFunds: submitters - covered})
	s.moved(-Opening, 0, Opening)
}

func manyTimes(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	c := s.Prepare(p)
	receipts := make([]ledger.Receipt, 16)
	s.together(len(receipts), func(ctx context.Context, i int) (err error) {
		receipts[i], err = s.h.Ledger.Submit(ctx, c)
		return err
	}, map[cypherlink.Code]int{"": len(receipts)})
	for _, r := range receipts {
		if !same(r, receipts[0]) {
			s.t.Fatalf("%+v and %+v", r, receipts[0])
		}
	}
	s.moved(-700, 0, 700)
}

func race(s *stand) {
	const n = 8
	var payments []Payment
	for i := range n {
		payments = append(payments, s.Payment(fmt.Sprint(i), 10, s.in(20)))
		s.submit(s.Prepare(payments[i]), ledger.Prepared)
	}
	codes := make([]cypherlink.Code, 2*n)
	s.together(2*n, func(ctx context.Context, i int) error {
		c := s.Confirm(s.Bob, payments[i/2])
		if i%2 == 1 {
			c = s.Return(s.Bob, payments[i/2])
		}
		_, err := s.h.Ledger.Submit(ctx, c)
		codes[i] = refusal(s.t, err)
		if codes[i] != "" {
			return nil
		}
		return err
	}, map[cypherlink.Code]int{"": 2 * n})
	for i := range n {
		confirm, back := codes[2*i], codes[2*i+1]
		if (confirm != "" || back != ledger.CodeAlreadyPaid) &&
			(confirm != ledger.CodeAlreadyReturned || back != "") {
			s.t.Fatalf("confirm %q and return %q", confirm, back)
		}
	}
}

// together runs n calls at once and counts the codes of their errors.
func (s *stand) together(
	n int, call func(ctx context.Context, i int) error, want map[cypherlink.Code]int,
) {
	s.t.Helper()
	ctx := s.context()
	results := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { results[i] = call(ctx, i) })
	}
	all.Wait()
	got := map[cypherlink.Code]int{}
	for _, err := range results {
		got[cypherlink.ErrorCode(err)]++
	}
	for code, count := range got {
		if count != want[code] {
			s.t.Fatalf("%q %d times, want %v: %v", code, count, want, errors.Join(results...))
		}
	}
}

func endedContext(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	c := s.Prepare(p)
	ctx, cancel := context.WithCancel(s.context())
	cancel()
	if _, err := s.h.Ledger.Submit(ctx, c); refusal(s.t, err) != "" {
		s.t.Fatalf("the end of ctx is no refusal: %v", err)
	}
	s.submit(c, ledger.Prepared)
	if _, err := s.h.Ledger.Lookup(ctx, ledger.CustodyID{1}); refusal(s.t, err) != "" {
		s.t.Fatalf("the end of ctx is no refusal: %v", err)
	}
	s.moved(-700, 0, 700)
}

func liveEvents(s *stand) {
	ctx, cancel := context.WithCancel(s.context())
	defer cancel()
	const followers, n = 3, 4
	heard := make([]chan ledger.Event, followers)
	var all sync.WaitGroup
	for i := range followers {
		heard[i] = make(chan ledger.Event, n)
		all.Go(func() {
			for e, err := range s.h.Ledger.Events(ctx, 0) {
				if err != nil {
					s.t.Errorf("follower %d: %v", i, err)
					return
				}
				heard[i] <- e
			}
		})
	}
	for i := range n {
		r := s.submit(s.Prepare(s.Payment(fmt.Sprint(i), 10, s.in(20))), ledger.Prepared)
		for f := range followers {
			select {
			case e := <-heard[f]:
				if !same(e.Receipt, r) {
					s.t.Fatalf("follower %d hears %+v, want %+v", f, e.Receipt, r)
				}
			case <-ctx.Done():
				s.t.Fatalf("follower %d does not hear of event %d", f, i+1)
			}
		}
	}
	cancel()
	all.Wait()
}
