package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/internal/hold"
)

// BenchmarkPaymentsOverREST is BenchmarkPayments with every process by itself, as a bank's
// customer system sees it: over REST and mutual TLS.
func BenchmarkPaymentsOverREST(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "cypherlink")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for _, inFlight := range []int{1, 32} {
		b.Run(fmt.Sprintf("in_flight=%d", inFlight), func(b *testing.B) {
			c := restClient(b, binary)
			c.every = time.Duration(inFlight) * 2 * time.Millisecond // of the 1,000 requests/s that it has
			if _, err := c.pay(b.Context(), "first"); err != nil {
				b.Fatal(err)
			}
			var mu sync.Mutex
			var took []time.Duration
			var next atomic.Int64
			var group sync.WaitGroup
			b.ResetTimer()
			start := time.Now()
			for range inFlight {
				group.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						d, err := c.pay(b.Context(), fmt.Sprint("key-", n))
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
			reportPayments(b, took, time.Since(start))
		})
	}
}

// reportPayments reports the rate and the latency of payments.
func reportPayments(b *testing.B, took []time.Duration, elapsed time.Duration) {
	b.Helper()
	if len(took) == 0 {
		b.Fatal("no payment")
	}
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/elapsed.Seconds(), "payments/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50_ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99_ms")
}

// customer is a system of Bank A's that pays over REST.
type customer struct {
	http  *http.Client
	url   string
	every time.Duration // it asks where a payment stands
}

// restClient starts a network of separate processes for the time of the benchmark.
func restClient(b *testing.B, binary string) *customer {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "net")
	if err := createNetwork(b.Context(), dir); err != nil {
		b.Fatal(err)
	}
	for _, folder := range everybody() {
		startProcess(b, binary, dir, folder)
		for _, err := os.Stat(filepath.Join(dir, folder, hold.ReadyName)); err != nil; {
			if b.Context().Err() != nil {
				b.Fatal(err)
			}
			time.Sleep(pollEvery)
			_, err = os.Stat(filepath.Join(dir, folder, hold.ReadyName))
		}
	}
	tls, err := tlsFiles{
		Cert: path(filepath.Join(dir, "client.pem")), Key: path(filepath.Join(dir, "client.key")),
		CA: path(filepath.Join(dir, "ca.pem")),
	}.config()
	if err != nil {
		b.Fatal(err)
	}
	var bank connectConfig
	if err := readConfig(filepath.Join(dir, folderA, configName), &bank); err != nil {
		b.Fatal(err)
	}
	c := &customer{
		http: &http.Client{Transport: &http.Transport{TLSClientConfig: tls, ForceAttemptHTTP2: true}},
		url:  "https://" + bank.API.Listen + "/v1/payments",
	}
	b.Cleanup(c.http.CloseIdleConnections)
	return c
}

// pay makes one payment and asks until it is settled.
func (c *customer) pay(ctx context.Context, key string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	start := time.Now()
	p, err := c.call(ctx, http.MethodPost, c.url, key, strings.Replace(samplePayment, "2000.00", "20.00", 1))
	for err == nil && !p.Final {
		select {
		case <-time.After(c.every):
		case <-ctx.Done():
			return 0, fmt.Errorf("payment %s is %s: %w", p.UETR, p.Status, ctx.Err())
		}
		p, err = c.call(ctx, http.MethodGet, c.url+"/"+p.UETR, "", "")
	}
	if err == nil && p.Status != "SETTLED" {
		err = fmt.Errorf("payment %s is %s", p.UETR, p.Status)
	}
	return time.Since(start), err
}

func (c *customer) call(ctx context.Context, method, url, key, body string) (*api.Payment, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		return nil, fmt.Errorf("%s: %s", answer.Status, raw)
	}
	var p api.Payment
	return &p, json.Unmarshal(raw, &p)
}
