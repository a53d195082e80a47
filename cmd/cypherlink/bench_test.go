package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/payment"
)

// BenchmarkPayments measures whole cross-ledger payments, from the instruction to SETTLED, on
// a network in this process with everything on: signatures, verdicts, consensus among four
// members over mutual TLS, the embedded broker, every store durable.
func BenchmarkPayments(b *testing.B) {
	for _, inFlight := range []int{1, 32} {
		b.Run(fmt.Sprintf("in_flight=%d", inFlight), func(b *testing.B) {
			s, err := raise(b.Context(), filepath.Join(b.TempDir(), "net"), io.Discard, unwatched)
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := s.stopAll(); err != nil {
					b.Error(err)
				}
			}()
			bank, ok := s.plays[folderA].process.(*connectProcess)
			if !ok {
				b.Fatal("no bank")
			}
			if _, err := pay(b.Context(), bank, "first"); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			start := time.Now()
			took := payAll(b, bank, inFlight)
			reportPayments(b, took, time.Since(start))
		})
	}
}

// payAll makes b.N payments, so many at a time, and gives how long each took.
func payAll(b *testing.B, bank *connectProcess, inFlight int) []time.Duration {
	var mu sync.Mutex
	var took []time.Duration
	var next atomic.Int64
	var group sync.WaitGroup
	for range inFlight {
		group.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				d, err := pay(b.Context(), bank, fmt.Sprint("key-", n))
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return took
}

// pay makes one payment and waits until it is settled.
func pay(ctx context.Context, bank *connectProcess, key string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	body := strings.Replace(samplePayment, "2000.00", "20.00", 1)
	start := time.Now()
	a, err := bank.connect.Submit(ctx, []byte(body), payment.JSON, key)
	if err != nil {
		return 0, err
	}
	p := a.Payment
	for err == nil && !p.Status.Final() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("payment %s is %s: %w", p.UETR, p.Status, ctx.Err())
		}
		p, err = bank.connect.Payment(ctx, p.UETR)
	}
	if err == nil && p.Status != payment.StatusSettled {
		err = fmt.Errorf("payment %s is %s", p.UETR, p.Status)
	}
	return time.Since(start), err
}
