package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/payment"
)

// benchPayments measures payments in one asset over the channels of a local network, from the
// instruction, which comes through REST, to SETTLED. The network is in this process, as the demonstration's
// is: four members, every bank, both Validators, the clearing bank and the DE ledger, with their own
// stores, sockets and keys; and so is the customers' system, which hands the instructions in.
type benchPayments struct {
	Banks    int    `help:"How many banks, each with a channel to each other: 2 to 10." default:"2"`
	Payments int    `help:"How many payments." default:"2000"`
	InFlight int    `help:"How many are under way at a time." default:"64"`
	Profile  string `help:"Keep the CPU profile in this file." type:"path"`
}

// Run measures.
func (c *benchPayments) Run(s *session) error {
	if c.Banks < 2 || c.Banks > 10 || c.Payments < 1 || c.InFlight < 1 {
		return refusal{errors.New("there are 2 to 10 banks, and at least one payment, and one at a time")}
	}
	return inFolder(func(dir string, logs io.Writer) error { return c.run(s, dir, logs) })
}

func (c *benchPayments) run(s *session, dir string, logs io.Writer) (err error) {
	t := newTraffic(over)
	if err := t.raise(s, filepath.Join(dir, "net"), logs, t.watch, furtherBanks(c.Banks-2)...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	// The first payment in each direction of a channel is not counted.
	first, err := t.pay(s, 2*len(t.pairs), min(c.InFlight, 2*len(t.pairs)), func() {})
	if err != nil {
		return err
	}
	for i := range first {
		if first[i].status != payment.StatusCompleted {
			return fmt.Errorf("the first payments end as %s", first[i].status)
		}
	}
	bar := newProgress(s.log, "payments", c.Payments)
	var paid []paidOne
	began := time.Now()
	shares, err := profiled(c.Profile, func() (err error) {
		paid, err = t.pay(s, c.Payments, c.InFlight, bar.step)
		return err
	})
	if err != nil {
		return err
	}
	took := time.Since(began)
	if err := t.stamp(s, paid); err != nil {
		return err
	}
	return c.report(s.out, len(t.pairs), paid, took, shares)
}

// traffic is payments over the channels of a network.
type traffic struct {
	stage    *stage
	banks    []*restBank
	pairs    [][2]int // of banks that have a channel
	channels []string // of the pairs
	// ended tells which statuses end the wait for a payment.
	ended func(payment.Status) bool
	// oneWay: only the first bank of each pair pays.
	oneWay bool

	mu      sync.Mutex
	waiting map[cypherlink.UETR]chan payment.Status
}

// paidOne is one payment.
type paidOne struct {
	uetr cypherlink.UETR
	from int // an index of banks
	sent time.Time
	// status is how the wait for it ended, and reason the ISO reason if it was refused.
	status payment.Status
	reason string
	// settled is how long it took by the paying bank's own events, from the instruction to SETTLED; seen is
	// the same from the sending of the request on.
	settled, seen time.Duration
	// way are the statuses that led to SETTLED, and how long each lasted.
	way []stay
}

// stay is how long a payment had a status.
type stay struct {
	status payment.Status
	lasted time.Duration
}

func newTraffic(ended func(payment.Status) bool) *traffic {
	return &traffic{
		ended: ended, waiting: map[cypherlink.UETR]chan payment.Status{},
	}
}

// raise starts a network in a folder, and has every pair of its banks open a channel.
func (t *traffic) raise(
	ctx context.Context, dir string, logs io.Writer, through func(folder string) lens, further ...bank,
) (err error) {
	if t.stage, err = raise(ctx, dir, logs, through, further...); err != nil {
		return err
	}
	who := []actor{actorA(), actorB()}
	for _, b := range further {
		who = append(who, b.actor)
	}
	if t.banks, err = restBanks(dir, who...); err == nil {
		err = t.open(ctx)
	}
	if err != nil {
		err = errors.Join(err, t.stage.stopAll())
	}
	return err
}

func (t *traffic) close() error {
	t.banks[0].http.CloseIdleConnections()
	return t.stage.stopAll()
}

// watch has the banks tell when a payment that they have made is where it is waited for.
func (t *traffic) watch(string) lens {
	l := bare()
	l.told = func(p *payment.Payment) {
		if p.Direction != payment.Out || !t.ended(p.Status) {
			return
		}
		t.mu.Lock()
		waits := t.waiting[p.UETR]
		delete(t.waiting, p.UETR)
		t.mu.Unlock()
		if waits != nil {
			waits <- p.Status // it has room
		}
	}
	return l
}

// open brings money onto the chain, and opens and funds a channel of each pair of banks.
func (t *traffic) open(ctx context.Context) error {
	const share = "4000.00" // nine times that is less than what is brought
	for i := range t.banks {
		for j := range i {
			t.pairs = append(t.pairs, [2]int{j, i})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(len(t.pairs))*startWithin)
	defer cancel()
	group, crossing := errgroup.WithContext(ctx)
	for _, b := range t.banks {
		group.Go(func() error { return b.cross(crossing) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	t.channels = make([]string, len(t.pairs))
	group, ctx = errgroup.WithContext(ctx)
	group.SetLimit(payersAtOnce)
	for i, pair := range t.pairs {
		group.Go(func() error {
			a, b := t.banks[pair[0]], t.banks[pair[1]]
			id, err := a.open(ctx, b, labelClaim)
			if err != nil {
				return err
			}
			t.channels[i] = id
			return errors.Join(a.fund(ctx, id, share), b.fund(ctx, id, share))
		})
	}
	return group.Wait()
}

// pay makes so many payments, so many at a time, over all channels in turn and in both directions, and
// waits for each. step is called after each.
func (t *traffic) pay(ctx context.Context, payments, inFlight int, step func()) ([]paidOne, error) {
	all := make([]paidOne, payments)
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range inFlight {
		group.Go(func() error {
			for n := int(next.Add(1)) - 1; n < payments; n = int(next.Add(1)) - 1 {
				if err := t.payOne(ctx, n, &all[n]); err != nil {
					return fmt.Errorf("payment %d: %w", n, err)
				}
				step()
			}
			return nil
		})
	}
	return all, group.Wait()
}

func (t *traffic) payOne(ctx context.Context, n int, p *paidOne) (err error) {
	pair := t.pairs[n%len(t.pairs)]
	if n/len(t.pairs)%2 == 1 && !t.oneWay {
		pair[0], pair[1] = pair[1], pair[0]
	}
	if p.uetr, err = newUETR(); err != nil {
		return err
	}
	from, to := t.banks[pair[0]], t.banks[pair[1]]
	body := fmt.Appendf(nil, `{"uetr": %q, "end_to_end_id": "BENCH",
"debtor": {"name": %q, "account": %q, "agent": %q}, "creditor": {"name": %q, "account": %q, "agent": %q},
"destination": {"asset": %q, "amount": "0.01"}, "purpose": "INTC"}`,
		p.uetr, treasuryName, treasuryAccount, from.agent(), treasuryName, treasuryAccount, to.agent(), labelClaim)
	ended := make(chan payment.Status, 1)
	t.mu.Lock()
	t.waiting[p.uetr] = ended
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*startWithin)
	defer cancel()
	p.from, p.sent = pair[0], time.Now()
	if err := from.call(ctx, http.MethodPost, "/v1/payments", p.uetr.String(), body, nil); err != nil {
		return err
	}
	select {
	case p.status = <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s is not over: %w", p.uetr, context.Cause(ctx))
	}
}

// stamp reads when each payment was settled.
func (t *traffic) stamp(ctx context.Context, paid []paidOne) error {
	for i := range paid {
		p := &paid[i]
		t.stage.mu.Lock()
		on, ok := t.stage.plays[t.banks[p.from].folder].process.(*connectProcess)
		t.stage.mu.Unlock()
		if !ok {
			return fmt.Errorf("%s is no bank", t.banks[p.from].folder)
		}
		entries, err := on.connect.Events(ctx, p.uetr)
		if err != nil {
			return err
		}
		p.read(entries)
	}
	return nil
}

// read reads a payment's events up to SETTLED.
func (p *paidOne) read(entries []payment.Entry) {
	entered := entries[0].At
	for _, e := range entries {
		if e.Reason != "" {
			p.reason = e.Reason
		}
		if e.From == e.To {
			continue
		}
		if e.From != "" {
			p.way = append(p.way, stay{e.From, e.At.Sub(entered)})
		}
		entered = e.At
		if e.To == payment.StatusSettled {
			p.settled, p.seen = e.At.Sub(entries[0].At), e.At.Sub(p.sent)
			return
		}
	}
}

func (c *benchPayments) report(
	out io.Writer, channels int, paid []paidOne, took time.Duration, shares []cpuShare,
) error {
	var settled, seen times
	for i := range paid {
		if paid[i].settled > 0 {
			settled, seen = append(settled, paid[i].settled), append(seen, paid[i].seen)
		}
	}
	fmt.Fprintf(out, "Payments through REST, all parts in one process, on %s\n\n", hardware())
	return errors.Join(printTable(out, [][]string{
		{
			"banks", "channels", "payments", "settled", "in flight", "payments/s", "instructed to settled: p50 ms", "p99 ms",
			"sent to settled: p50 ms", "p99 ms",
		},
		{
			strconv.Itoa(c.Banks), strconv.Itoa(channels), strconv.Itoa(len(paid)), strconv.Itoa(len(settled)),
			strconv.Itoa(c.InFlight), fmt.Sprintf("%.1f", float64(len(settled))/took.Seconds()),
			settled.ms(50), settled.ms(99), seen.ms(50), seen.ms(99),
		},
	}), printRefused(out, paid), printStays(out, paid), printShares(out, len(paid), shares))
}

// printRefused prints how the payments ended that were not settled, if there are any.
func printRefused(out io.Writer, paid []paidOne) error {
	ends := map[string]int{}
	for i := range paid {
		if p := &paid[i]; p.settled == 0 {
			ends[string(p.status)+" "+p.reason]++
		}
	}
	if len(ends) == 0 {
		return nil
	}
	rows := [][]string{{"not settled", "payments"}}
	for _, end := range sorted(ends) {
		rows = append(rows, []string{end, strconv.Itoa(ends[end])})
	}
	fmt.Fprintln(out)
	return printTable(out, rows)
}

// printStays prints how long the payments had each status on the way to SETTLED.
func printStays(out io.Writer, paid []paidOne) error {
	var order []payment.Status
	by := map[payment.Status]times{}
	for i := range paid {
		for _, s := range paid[i].way {
			if by[s.status] == nil {
				order = append(order, s.status)
			}
			by[s.status] = append(by[s.status], s.lasted)
		}
	}
	rows := [][]string{{"where the time goes", "p50 ms", "p99 ms"}}
	for _, status := range order {
		rows = append(rows, []string{string(status), by[status].ms(50), by[status].ms(99)})
	}
	fmt.Fprintln(out)
	return printTable(out, rows)
}

// printShares prints what the components cost.
func printShares(out io.Writer, payments int, shares []cpuShare) error {
	var all time.Duration
	for _, s := range shares {
		all += s.took
	}
	rows := [][]string{{"where the CPU goes", "ms per payment", "share"}}
	for _, s := range append(shares, cpuShare{"all", all}) {
		rows = append(rows, []string{
			s.component, fmt.Sprintf("%.2f", s.took.Seconds()*1000/float64(payments)),
			fmt.Sprintf("%.0f %%", 100*s.took.Seconds()/max(all.Seconds(), 1e-9)),
		})
	}
	fmt.Fprintln(out)
	return printTable(out, rows)
}
