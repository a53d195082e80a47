package member

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
)

// Load is work for measurements: custodies that are prepared and, when that is final,
// confirmed, as fast as the members make them final.
type Load struct {
	// Clients are connections to members by follow.Protocol. Commands go to one after the other.
	Clients []*peer.Client
	// InFlight is how many custodies are under way at a time.
	InFlight int
	// Pair makes the commands of custody i, from 0. It is called by many goroutines.
	Pair func(i int) (prepare, confirm *ledger.SignedCommand)
}

// Report is what came of a Load.
type Report struct {
	Commands uint64
	Elapsed  time.Duration
	// Latency counts commands by the time from their submission to the word that they are final.
	Latency Histogram
}

// PerSecond is how many commands became final in a second.
func (r *Report) PerSecond() float64 { return float64(r.Commands) / r.Elapsed.Seconds() }

// Run does that many custodies and measures. It ends early with ctx, or with the first command
// that does not become final within 30 s.
func (l *Load) Run(ctx context.Context, custodies int) (*Report, error) {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	workers := make([]Histogram, l.InFlight)
	began := time.Now()
	for w := range l.InFlight {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < custodies; i = int(next.Add(1)) - 1 {
				prepare, confirm := l.Pair(i)
				var final uint64
				for j, command := range []*ledger.SignedCommand{prepare, confirm} {
					began := time.Now()
					height, err := settle(ctx, l.Clients[(i+j)%len(l.Clients)], command, final)
					if err != nil {
						return fmt.Errorf("custody %d, command %d: %w", i, j, err)
					}
					workers[w].add(time.Since(began))
					final = height
				}
			}
			return nil
		})
	}
	err := g.Wait()
	r := &Report{Elapsed: time.Since(began)}
	for i := range workers {
		r.Latency.merge(&workers[i])
	}
	r.Commands = r.Latency.Count()
	return r, err
}

// settle submits a command until it is final, and gives the height. A member that has not yet
// come to the height on which the command rests may refuse it, and is asked again when it has.
func settle(ctx context.Context, c *peer.Client, command *ledger.SignedCommand, on uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, follow.MaxWaitMS*time.Millisecond)
	defer cancel()
	tx := state.NewTransaction(state.Command{Signed: command})
	body := follow.Submission{WaitMS: follow.MaxWaitMS, Transaction: tx}.Encode()
	for {
		answer, err := c.Call(ctx, follow.KindSubmit, body)
		if err != nil {
			return 0, err
		}
		outcome, err := follow.DecodeOutcome(answer)
		if err != nil {
			return 0, err
		}
		switch {
		case outcome.Status == follow.Final:
			return outcome.Height, nil
		case outcome.Status == follow.Pending:
			return 0, fmt.Errorf("not final: %w", context.DeadlineExceeded)
		case outcome.Height >= on:
			return 0, outcome.Refusal
		}
		await := follow.Fetch{From: on, WaitMS: follow.MaxWaitMS}.Encode()
		if _, err := c.Call(ctx, follow.KindFetch, await); err != nil {
			return 0, err
		}
	}
}
