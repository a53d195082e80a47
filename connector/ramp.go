package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrCrossings means that too many crossings of this owner are open.
var ErrCrossings = errors.New("connector: too many open crossings")

// maxCrossings bounds the crossings that are open at once: each has a goroutine.
const maxCrossings = 1024

// RampRole names the carriers in the store: the log of one is the stream ramp/ID, and open_machines
// lists those that are not over.
const RampRole = "ramp"

// RampOptions make a Ramp. All are required but Changed.
type RampOptions struct {
	Store *store.Store
	// Ledgers are the chain and the external ones, To the ledger that each asset crosses to.
	Ledgers map[cypherlink.LedgerID]ledger.Ramp
	To      map[cypherlink.Asset]cypherlink.LedgerID
	Signer  Signer
	Network cypherlink.NetworkID
	// Resend is how long a command may stay unanswered before another is signed and handed in.
	Resend time.Duration
	// Changed is told of each crossing after each durable change, by any goroutine: it must not block.
	Changed func(x ledger.Crossing, stage Stage)
	Log     *slog.Logger
}

// Ramp carries its owner's crossings, each in a goroutine of its own, and takes up again after a
// start what was open.
type Ramp struct {
	RampOptions
	sequence atomic.Uint64
	begins   chan beginning
	ended    chan struct{} // has room for all that are open
	done     chan struct{}
}

type beginning struct {
	crossing ledger.Crossing
	reply    chan error
}

// carriage is a carrier and its place in the store.
type carriage struct {
	id      ledger.CrossingID
	carrier *Carrier
	strides int64
}

// NewRamp makes a ramp; Run starts it.
func NewRamp(o RampOptions) *Ramp {
	return &Ramp{
		RampOptions: o, begins: make(chan beginning), ended: make(chan struct{}, maxCrossings),
		done: make(chan struct{}),
	}
}

func rampStream(id ledger.CrossingID) string { return RampRole + "/" + id.String() }

// Begin carries a crossing, and returns when that is durable. A repetition is harmless; another
// crossing under its id is ErrBegun, somebody else's or one that crosses nowhere ErrForeign, one too
// many ErrCrossings. A process that stops is ErrStopped.
func (r *Ramp) Begin(ctx context.Context, x ledger.Crossing) error {
	if x.Owner != r.Signer.ID() || r.To[x.Asset] == "" {
		return fmt.Errorf("crossing %d of %s: %w", x.Nonce, x.Asset, ErrForeign)
	}
	reply := make(chan error, 1)
	select {
	case r.begins <- beginning{x, reply}:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return ErrStopped
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.done:
		return ErrStopped
	}
}

// begin makes a crossing durable. It gives nil for one that has begun before.
func (r *Ramp) begin(ctx context.Context, x ledger.Crossing) (c *carriage, err error) {
	err = r.Store.Update(ctx, func(tx *store.Tx) error {
		c = nil
		fresh, err := r.load(&tx.Reader, x.ID(r.Network))
		if err != nil {
			return err
		}
		if fresh.strides > 0 {
			if fresh.carrier.Crossing() != x {
				return fmt.Errorf("crossing %d: %w", x.Nonce, ErrBegun)
			}
			return nil
		}
		effects, err := fresh.carrier.Step(time.Now(), Carry{x})
		if err != nil {
			return err
		}
		if err := fresh.append(tx, effects.Persist); err != nil {
			return err
		}
		c, err = r.load(&tx.Reader, fresh.id) // nothing was sent: it begins as after a start
		return err
	})
	return c, err
}

// load restores a carriage from its log, which may be empty.
func (r *Ramp) load(reader *store.Reader, id ledger.CrossingID) (*carriage, error) {
	log, err := loadStrides(reader, id)
	if err != nil {
		return nil, err
	}
	carrier, err := NewCarrier(r.Resend, log)
	return &carriage{id: id, carrier: carrier, strides: int64(len(log))}, err
}

// Crossing is a crossing and how far it has come; the stage is zero if there is none.
func (r *Ramp) Crossing(ctx context.Context, id ledger.CrossingID) (ledger.Crossing, Stage, error) {
	var c *carriage
	err := r.Store.View(ctx, func(reader *store.Reader) (err error) {
		c, err = r.load(reader, id)
		return err
	})
	if err != nil {
		return ledger.Crossing{}, 0, err
	}
	return c.carrier.Crossing(), c.carrier.Stage(), nil
}

// Run carries what is open until ctx ends, which is no error, or until the store fails. It may be
// called once.
func (r *Ramp) Run(ctx context.Context) error {
	err := r.run(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (r *Ramp) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	var tasks sync.WaitGroup
	defer func() {
		stop()
		tasks.Wait()
		close(r.done)
	}()
	carry := func(c *carriage) {
		tasks.Go(func() {
			if err := r.carry(ctx, c); err != nil && ctx.Err() == nil {
				select {
				case failed <- fmt.Errorf("crossing %s: %w", c.id, err):
				default: // one is enough
				}
			}
			r.ended <- struct{}{}
		})
	}
	all, err := r.restore(ctx)
	if err != nil {
		return fmt.Errorf("restore the crossings: %w", err)
	}
	for _, c := range all {
		carry(c)
	}
	for open := len(all); ; {
		select {
		case b := <-r.begins:
			if open == maxCrossings {
				b.reply <- ErrCrossings
				continue
			}
			c, err := r.begin(ctx, b.crossing)
			if c != nil {
				open++
				r.tell(c)
				carry(c)
			}
			b.reply <- err
		case <-r.ended:
			open--
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// restore loads what is open, and takes a fresh range of command sequences.
func (r *Ramp) restore(ctx context.Context) (open []*carriage, err error) {
	err = r.Store.Update(ctx, func(tx *store.Tx) error {
		open = nil
		epoch, err := tx.Count(epochRecord)
		if err != nil {
			return err
		}
		r.sequence.Store(epoch << 32)
		var streams []string
		for row := range tx.Query(
			`SELECT stream FROM open_machines WHERE stream LIKE $1 ORDER BY stream`, RampRole+"/%") {
			var s string
			if err := row.Scan(&s); err != nil {
				return err
			}
			streams = append(streams, s)
		}
		for _, s := range streams {
			var id ledger.CrossingID
			if err := id.UnmarshalText([]byte(strings.TrimPrefix(s, RampRole+"/"))); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
			c, err := r.load(&tx.Reader, id)
			if err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
			open = append(open, c)
		}
		return nil
	})
	return open, err
}

// carry drives one crossing to its end, or until ctx ends. The error is the store's. A crossing of
// which a ledger contradicts itself stays as it is: the operator must look.
func (r *Ramp) carry(ctx context.Context, c *carriage) error {
	var in CarrierInput = CarrierTick{}
	for {
		effects, err := r.step(ctx, c, in)
		if errors.Is(err, ErrLedger) || errors.Is(err, ErrForeign) {
			r.Log.ErrorContext(ctx, "a ledger contradicts itself", slog.String("crossing", c.id.String()),
				slog.Any("error", err))
			return nil
		}
		if err != nil || c.carrier.Over() {
			return err
		}
		in = CarrierTick{}
		if effects.Submit != nil {
			if heard := r.handIn(ctx, effects.Submit); heard != nil {
				in = heard
				continue
			}
		}
		if !rest(ctx, effects.WakeAt) {
			return nil
		}
	}
}

// rest waits until then, and tells whether ctx has not ended.
func rest(ctx context.Context, until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// step tells the carrier an input and makes what follows durable.
func (r *Ramp) step(ctx context.Context, c *carriage, in CarrierInput) (CarrierEffects, error) {
	effects, err := c.carrier.Step(time.Now(), in)
	if err != nil || len(effects.Persist) == 0 {
		return effects, err
	}
	err = r.Store.Update(ctx, func(tx *store.Tx) error { return c.append(tx, effects.Persist) })
	if err == nil {
		c.strides += int64(len(effects.Persist))
		r.tell(c)
	}
	return effects, err
}

func (r *Ramp) tell(c *carriage) {
	if r.Changed != nil {
		r.Changed(c.carrier.Crossing(), c.carrier.Stage())
	}
}

// append writes strides and keeps the list of what is open.
func (c *carriage) append(tx *store.Tx, strides []Stride) error {
	stream := rampStream(c.id)
	for i, s := range strides {
		event := store.Event{Kind: s.Stage.String(), Body: s.Encode()}
		if err := tx.Append(stream, c.strides+int64(i), event); err != nil {
			return err
		}
		var err error
		switch s.Stage {
		case Leaving:
			_, err = tx.Exec(`INSERT INTO open_machines (stream) VALUES ($1)`, stream)
		case Arrived, Lapsed:
			_, err = tx.Exec(`DELETE FROM open_machines WHERE stream = $1`, stream)
		case Arriving:
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func loadStrides(r *store.Reader, id ledger.CrossingID) ([]Stride, error) {
	stored, err := r.Load(rampStream(id), 0)
	if err != nil {
		return nil, err
	}
	log := make([]Stride, len(stored))
	for i, e := range stored {
		if log[i], err = DecodeStride(e.Body); err != nil {
			return nil, fmt.Errorf("stride %d: %w", e.Sequence, err)
		}
	}
	return log, nil
}

// handIn signs a command, submits it and gives what its ledger told, or nil if it told nothing that
// counts.
func (r *Ramp) handIn(ctx context.Context, command ledger.Command) CarrierInput {
	var to cypherlink.LedgerID
	switch body := command.(type) {
	case *ledger.Leave:
		to = body.Asset.Ledger
	case *ledger.Enter:
		to = r.To[body.Asset]
	case *ledger.Prepare, *ledger.Confirm, *ledger.Return:
	}
	about := slog.String("crossing", command.About(r.Network).String())
	l, ok := r.Ledgers[to]
	if !ok {
		r.Log.ErrorContext(ctx, "no such ledger", about, slog.String("ledger", string(to)))
		return nil
	}
	signed := &ledger.SignedCommand{
		Network: r.Network, Ledger: to, Signer: r.Signer.ID(), Sequence: r.sequence.Add(1), Command: command,
	}
	var err error
	if signed.Signature, err = r.Signer.Sign(signed.Frame()); err != nil {
		r.Log.ErrorContext(ctx, "a command is not signed", about, slog.Any("error", err))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.Resend)
	defer cancel()
	passage, err := l.Cross(ctx, signed)
	switch {
	case err == nil:
		return Passed{passage}
	case cypherlink.ErrorCode(err) == ledger.CodeLapsed:
		return Overdue{}
	case ctx.Err() == nil:
		r.Log.WarnContext(ctx, "a crossing does not pass yet", about, slog.String("ledger", string(to)),
			slog.Any("error", err))
	}
	return nil
}
