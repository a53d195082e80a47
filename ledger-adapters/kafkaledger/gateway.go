package kafkaledger

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrStopped means that the gateway's Run has ended; the cause is in the chain.
var ErrStopped = errors.New("kafkaledger: the gateway has stopped")

const pageLength = 256 // events in one read

// Options make a Gateway. All but Log are required.
type Options struct {
	Broker Broker
	// Commands and Events are the two topics of the ledger.
	Commands, Events string
	// Operator is whose word about the ledger counts.
	Operator ledger.Operator
	// Participant asks about custodies that the gateway has not heard of, and signs that.
	Participant cypherlink.ParticipantID
	Signer      Signer
	// Log gets outages of the broker and what was written by somebody else than the operator;
	// nothing is logged if nil.
	Log *slog.Logger
}

// Gateway is a bank's side of a ledger behind Kafka. It implements ledger.Ledger while Run
// runs.
type Gateway struct {
	store       *store.Store
	operator    ledger.Operator
	participant cypherlink.ParticipantID
	signer      Signer
	client      *client
	commands    *topic
	events      *topic
	chronicle   chronicle
	log         *slog.Logger

	ignored atomic.Uint64
	stopped chan struct{} // closed when Run ends; why is set before

	mu      sync.Mutex
	why     error
	waiters map[[32]byte][]*waiter // by id of custody or crossing, and by command hash
	heardMS int64                  // the latest time that the operator told
	more    chan struct{}          // closed and replaced when events were stored
}

var _ ledger.Ledger = (*Gateway)(nil)

// waiter is a call that waits for news of a custody or a crossing, and of a command.
type waiter struct {
	keys   [][32]byte
	asks   bool          // it is a Lookup: that the custody is absent is an answer
	fromMS int64         // an older answer is one to somebody else
	signal chan struct{} // has room for one
	// set under the gateway's lock:
	refused error
	absent  ledger.Receipt
}

// NewGateway makes the gateway of one ledger over the store. The caller calls Run, and Close
// before it closes the store.
func NewGateway(s *store.Store, o Options) *Gateway {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := o.Broker.client()
	return &Gateway{
		store: s, operator: o.Operator, participant: o.Participant, signer: o.Signer, log: o.Log,
		client: c, commands: c.topic(o.Commands, o.Log), events: c.topic(o.Events, o.Log),
		chronicle: chronicle{string(o.Operator.Ledger)},
		stopped:   make(chan struct{}), more: make(chan struct{}),
		waiters: map[[32]byte][]*waiter{},
	}
}

// Ignored counts the values in the events topic that the operator did not sign.
func (g *Gateway) Ignored() uint64 { return g.ignored.Load() }

// Close ends the connections, after Run has returned.
func (g *Gateway) Close() error {
	err := errors.Join(g.commands.close(), g.events.close())
	g.client.close()
	return err
}

// Submit implements ledger.Ledger. A command that was refused once is refused for ever: to try
// again, sign another. A command whose effect the gateway has seen already is answered at once.
func (g *Gateway) Submit(ctx context.Context, command *ledger.SignedCommand) (ledger.Receipt, error) {
	if command.Command == nil || command.Crosses() {
		return ledger.Receipt{}, malformed(errors.New("the command is about no custody"))
	}
	id := ledger.CustodyID(command.Command.About(g.operator.Network))
	receipt, err := submit(ctx, g, command, func() (ledger.Receipt, bool, error) {
		standing, err := g.standing(ctx, id)
		return standing, err == nil && effected(command, &standing.Custody), err
	})
	if err != nil {
		return ledger.Receipt{}, fmt.Errorf("submit to ledger %s: %w", g.operator.Ledger, err)
	}
	return receipt, nil
}

// submit publishes a command and waits until done is true or the host has refused it.
func submit[T any](
	ctx context.Context, g *Gateway, command *ledger.SignedCommand, done func() (T, bool, error),
) (none T, err error) {
	encoded := command.Encode()
	if _, err := ledger.DecodeCommand(encoded); err != nil { // the host could not answer it
		return none, malformed(err)
	}
	about := command.Command.About(g.operator.Network)
	w := g.wait(&waiter{keys: [][32]byte{about, commandHash(encoded)}})
	defer g.forget(w)
	value := func() ([]byte, error) { return frame(kindCommand, encoded), nil }
	return await(ctx, g, w, value, done)
}

func malformed(cause error) error {
	return &cypherlink.Error{
		Code: ledger.CodeMalformed, Reason: "FF01", Message: "the command has no valid form", Err: cause,
	}
}

// effected tells whether the command's effect stands in the custody.
func effected(command *ledger.SignedCommand, c *ledger.Custody) bool {
	switch body := command.Command.(type) {
	case *ledger.Prepare:
		return c.State != ledger.Absent && c.Subject == body.Subject && bytes.Equal(c.Packet, body.Packet)
	case *ledger.Confirm:
		return c.State == ledger.Confirmed && c.Preimage == body.Preimage
	case *ledger.Return:
		return c.State == ledger.Returned
	case *ledger.Leave, *ledger.Enter:
	}
	return false
}

// Lookup implements ledger.Ledger. It asks the host only about a custody that the gateway has
// not heard of.
func (g *Gateway) Lookup(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	w := g.wait(&waiter{keys: [][32]byte{id}, asks: true})
	defer g.forget(w)
	ask := func() ([]byte, error) { return g.query(id) }
	receipt, err := await(ctx, g, w, ask, func() (ledger.Receipt, bool, error) {
		standing, err := g.standing(ctx, id)
		if err != nil || standing.Sequence > 0 {
			return standing, err == nil, err
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		return w.absent, w.absent.Ledger != "", nil
	})
	if err != nil {
		return ledger.Receipt{}, fmt.Errorf("look up %s on ledger %s: %w", id, g.operator.Ledger, err)
	}
	return receipt, nil
}

// query is the value of a signed question. Its sequence is random: a question has no effect.
func (g *Gateway) query(id ledger.CustodyID) ([]byte, error) {
	var sequence [8]byte
	if _, err := rand.Read(sequence[:]); err != nil {
		return nil, err
	}
	q := query{
		network: g.operator.Network, ledger: g.operator.Ledger, signer: g.participant,
		sequence: binary.BigEndian.Uint64(sequence[:]), custody: id,
	}
	var err error
	if q.signature, err = g.signer.Sign(q.frame()); err != nil {
		return nil, err
	}
	return frame(kindQuery, q.encode()), nil
}

// await waits until done is true or the host has refused. Unless done is true at once, it publishes
// the value first.
func await[T any](
	ctx context.Context, g *Gateway, w *waiter, value func() ([]byte, error), done func() (T, bool, error),
) (none T, err error) {
	for published := false; ; published = true {
		if answer, ok, err := done(); err != nil || ok {
			return answer, err
		}
		g.mu.Lock()
		refused, why := w.refused, g.why
		g.mu.Unlock()
		switch {
		case refused != nil:
			return none, refused
		case why != nil:
			return none, why
		}
		if !published {
			v, err := value()
			if err == nil {
				err = g.commands.publish(ctx, v)
			}
			if err != nil {
				return none, err
			}
		}
		select {
		case <-w.signal:
		case <-g.stopped:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

func (g *Gateway) standing(ctx context.Context, id ledger.CustodyID) (receipt ledger.Receipt, err error) {
	err = g.store.View(ctx, func(r *store.Reader) error {
		receipt, err = g.chronicle.standing(r, id)
		return err
	})
	return receipt, err
}

func (g *Gateway) wait(w *waiter) *waiter {
	w.signal = make(chan struct{}, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	w.fromMS = g.heardMS
	for _, key := range w.keys {
		g.waiters[key] = append(g.waiters[key], w)
	}
	return w
}

func (g *Gateway) forget(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, key := range w.keys {
		var others []*waiter
		for _, other := range g.waiters[key] {
			if other != w {
				others = append(others, other)
			}
		}
		if g.waiters[key] = others; len(others) == 0 {
			delete(g.waiters, key)
		}
	}
}

// Events implements ledger.Ledger.
func (g *Gateway) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		cursor := min(after, math.MaxInt64)
		for {
			g.mu.Lock()
			more := g.more
			g.mu.Unlock()
			var page []ledger.Event
			err := g.store.View(ctx, func(r *store.Reader) (err error) {
				page, err = g.chronicle.after(r, cursor, pageLength)
				return err
			})
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				cursor = e.Cursor
			}
			if err == nil && len(page) < pageLength {
				err = g.news(ctx, more)
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(ledger.Event{}, fmt.Errorf("events of ledger %s after %d: %w",
					g.operator.Ledger, cursor, err))
				return
			}
		}
	}
}

// news returns when there is more, or with the error that stopped the gateway.
func (g *Gateway) news(ctx context.Context, more <-chan struct{}) error {
	select {
	case <-more:
		return nil
	case <-ctx.Done():
		return nil
	case <-g.stopped:
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.why
	}
}
