package connector

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// ErrStopped means that the engine does not run any more, so the input may not have been
// taken.
var ErrStopped = errors.New("connector: the engine has stopped")

// The bounds of an engine.
const (
	inputsQueued  = 4096 // inputs that wait for the loop
	inputsBatched = 512  // inputs that share one commit
	cursorLag     = 1024 // irrelevant events whose cursor may be forgotten by a crash
	feedRetry     = 250 * time.Millisecond
)

// Options make an engine.
type Options[M Machine] struct {
	// Role names the machines in the store: "payer", "relay" or "payee".
	Role string
	// Restore makes a machine from its log.
	Restore func(log []Event) (M, error)
	Store   *store.Store
	// Venues are where the machines' legs may move.
	Venues
	Signer  Signer
	Network cypherlink.NetworkID
	// Changed is told of each machine after each durable change, in the engine's goroutine:
	// it must not block, and must not keep the machine.
	Changed func(of cypherlink.Hash, m M)
	Log     *slog.Logger
}

// Engine drives the machines of one role in one process: it writes their logs, hands their
// commands to the ledgers, and tells them what became final. One goroutine owns all machines;
// the inputs that wait for it share one commit.
type Engine[M Machine] struct {
	Options[M]
	inputs chan input
	done   chan struct{}

	// The rest belongs to the goroutine of Run.
	entries   map[cypherlink.Hash]*entry[M]
	custodies map[ledger.CustodyID]*entry[M]
	wakes     wakeHeap[M]
	cursors   map[string]ledger.Cursor // by the names of Venues.Feeds
	stored    map[string]ledger.Cursor
	sequence  uint64
	tasks     sync.WaitGroup
}

// input is something for a machine, by its terms or by a custody of it.
type input struct {
	terms   cypherlink.Hash
	custody ledger.CustodyID
	in      Input
	// feed and cursor are where a Final stood in a venue's events, if it came from there.
	feed   string
	cursor ledger.Cursor
	// settled tells that a task is finished, so that it may be begun again.
	settled *task
	reply   chan error
}

type task struct {
	custody ledger.CustodyID
	verb    verb
}

type entry[M Machine] struct {
	terms    cypherlink.Hash
	machine  M
	sequence int64
	wake     time.Time
	running  map[task]bool
}

// NewEngine makes an engine; Run starts it.
func NewEngine[M Machine](o Options[M]) *Engine[M] {
	return &Engine[M]{
		Options: o, inputs: make(chan input, inputsQueued), done: make(chan struct{}),
		entries: map[cypherlink.Hash]*entry[M]{}, custodies: map[ledger.CustodyID]*entry[M]{},
		cursors: map[string]ledger.Cursor{}, stored: map[string]ledger.Cursor{},
	}
}

// Begin starts a machine and returns when that is durable. A repetition is harmless. It
// refuses terms that the machine refuses, and a process that stops is ErrStopped.
func (e *Engine[M]) Begin(ctx context.Context, b Begin) error {
	reply := make(chan error, 1)
	select {
	case e.inputs <- input{terms: b.Terms.Hash(), in: b, reply: reply}:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return ErrStopped
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-e.done:
		return ErrStopped
	}
}

// Run restores what is open and drives it until ctx ends, which is no error, or until the
// store fails. It may be called once.
func (e *Engine[M]) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		e.tasks.Wait()
		close(e.done)
	}()
	if err := e.restore(ctx); err != nil {
		return fmt.Errorf("restore the %s's payments: %w", e.Role, err)
	}
	for name, l := range e.Feeds() {
		after := e.cursors[name] // the loop owns the map
		e.tasks.Go(func() { e.feed(ctx, name, l, after) })
	}
	for _, en := range e.entries {
		if err := e.handle(ctx, []input{{terms: en.terms, in: Tick{}}}); err != nil {
			return err
		}
	}
	return e.loop(ctx)
}

func (e *Engine[M]) loop(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(e.wakes.next(time.Now()))
		select {
		case <-ctx.Done():
			return nil
		case in := <-e.inputs:
			if err := e.handle(ctx, e.gather(in)); err != nil {
				return err
			}
		case <-timer.C:
			if err := e.handle(ctx, e.due(time.Now())); err != nil {
				return err
			}
		}
	}
}

// gather takes what waits, up to a batch.
func (e *Engine[M]) gather(first input) []input {
	batch := []input{first}
	for len(batch) < inputsBatched {
		select {
		case in := <-e.inputs:
			batch = append(batch, in)
		default:
			return batch
		}
	}
	return batch
}

// due turns the machines whose time has come into ticks.
func (e *Engine[M]) due(now time.Time) []input {
	var batch []input
	for len(e.wakes) > 0 && !e.wakes[0].at.After(now) {
		w, ok := heap.Pop(&e.wakes).(wake[M])
		if ok && w.entry.wake.Equal(w.at) {
			w.entry.wake = time.Time{}
			batch = append(batch, input{terms: w.entry.terms, in: Tick{}})
		}
	}
	return batch
}

// change is what one input of a batch led to.
type change[M Machine] struct {
	entry   *entry[M]
	fresh   bool
	before  int64
	effects Effects
	reply   chan error
}

// handle steps the machines through a batch, makes all of it durable in one commit, and only
// then carries it out and answers.
func (e *Engine[M]) handle(ctx context.Context, batch []input) error {
	now := time.Now()
	var changes []change[M]
	for _, in := range batch {
		if in.settled != nil {
			if en := e.custodies[in.settled.custody]; en != nil {
				delete(en.running, *in.settled)
			}
		}
		if in.feed != "" {
			e.cursors[in.feed] = in.cursor
		}
		if c, ok := e.step(now, in); ok {
			changes = append(changes, c)
		}
	}
	if err := e.persist(ctx, changes); err != nil {
		return fmt.Errorf("persist the %s's payments: %w", e.Role, err)
	}
	for _, c := range changes {
		e.carryOut(ctx, c)
		if c.reply != nil {
			c.reply <- nil
		}
	}
	return nil
}

// step tells a machine one input. What the machine refuses is answered or logged; it changes
// nothing.
func (e *Engine[M]) step(now time.Time, in input) (change[M], bool) {
	refuse := func(err error) (change[M], bool) {
		if in.reply != nil {
			in.reply <- err
		} else {
			e.Log.Error("a machine refuses an input", slog.String("role", e.Role),
				slog.String("terms", in.terms.String()), slog.String("cause", err.Error()))
		}
		return change[M]{}, false
	}
	en, fresh := e.find(in), false
	if en == nil {
		if _, ok := in.in.(Begin); !ok {
			return change[M]{}, false // somebody else's custody, or one that is over
		}
		m, err := e.Restore(nil)
		if err != nil {
			return refuse(err)
		}
		en, fresh = &entry[M]{terms: in.terms, machine: m, running: map[task]bool{}}, true
	}
	if in.in == nil {
		return change[M]{}, false
	}
	effects, err := en.machine.Step(now, in.in)
	if err != nil {
		return refuse(err)
	}
	if fresh {
		e.adopt(en, in.in)
	}
	c := change[M]{entry: en, fresh: fresh, before: en.sequence, effects: effects, reply: in.reply}
	en.sequence += int64(len(effects.Persist))
	return c, true
}

func (e *Engine[M]) find(in input) *entry[M] {
	if in.terms != (cypherlink.Hash{}) {
		return e.entries[in.terms]
	}
	return e.custodies[in.custody]
}

// adopt makes a machine findable by its terms and its custodies.
func (e *Engine[M]) adopt(en *entry[M], in Input) {
	begin, ok := in.(Begin)
	if !ok {
		return
	}
	e.entries[en.terms] = en
	for i := range begin.Terms.Legs {
		e.custodies[ledger.NewCustodyID(e.Network, en.terms, uint8(i))] = en
	}
}

// carryOut starts what a durable step asks for.
func (e *Engine[M]) carryOut(ctx context.Context, c change[M]) {
	en := c.entry
	for _, s := range c.effects.Submit {
		e.submit(ctx, en, s)
	}
	for _, q := range c.effects.Ask {
		t := task{q.Custody, ask}
		if en.running[t] {
			continue
		}
		en.running[t] = true
		e.tasks.Go(func() { e.lookUp(ctx, q, t) })
	}
	if at := c.effects.WakeAt; !at.IsZero() && (en.wake.IsZero() || at.Before(en.wake)) {
		en.wake = at
		heap.Push(&e.wakes, wake[M]{at, en})
	}
	if len(c.effects.Persist) > 0 && e.Changed != nil {
		e.Changed(en.terms, en.machine)
	}
	if en.machine.Over() {
		e.forget(en)
	}
}

// forget lets go of a machine that is over; its log stays.
func (e *Engine[M]) forget(en *entry[M]) {
	delete(e.entries, en.terms)
	for i := range uint8(2) {
		delete(e.custodies, ledger.NewCustodyID(e.Network, en.terms, i))
	}
}

// send gives the loop an input, unless the engine stops.
func (e *Engine[M]) send(ctx context.Context, in input) {
	select {
	case e.inputs <- in:
	case <-ctx.Done():
	}
}

func (e *Engine[M]) submit(ctx context.Context, en *entry[M], s Submission) {
	t := task{ledger.CustodyID(s.Command.About(e.Network)), submitReturn}
	switch s.Command.(type) {
	case *ledger.Prepare:
		t.verb = submitPrepare
	case *ledger.Confirm:
		t.verb = submitConfirm
	case *ledger.Return, *ledger.Leave, *ledger.Enter: // no machine submits the last two
	}
	if en.running[t] {
		return
	}
	e.sequence++
	command := &ledger.SignedCommand{
		Network: e.Network, Ledger: s.Leg.Asset.Ledger, Signer: e.Signer.ID(), Sequence: e.sequence,
		Command: s.Command,
	}
	en.running[t] = true
	e.tasks.Go(func() { e.handIn(ctx, &s.Leg, command, t) })
}

// handIn signs a command, submits it and reports the outcome. An unknown outcome is no news:
// the machine repeats what it still wants.
func (e *Engine[M]) handIn(ctx context.Context, leg *terms.Leg, command *ledger.SignedCommand, t task) {
	out := input{custody: t.custody, settled: &t}
	defer func() { e.send(ctx, out) }()
	l := e.at(ctx, leg)
	if l == nil {
		return
	}
	signature, err := e.Signer.Sign(command.Frame())
	if err != nil {
		e.Log.ErrorContext(ctx, "a command is not signed", slog.String("cause", err.Error()))
		return
	}
	command.Signature = signature
	receipt, err := l.Submit(ctx, command)
	refusal, refused := errors.AsType[*cypherlink.Error](err)
	switch prepare, isPrepare := command.Command.(*ledger.Prepare); {
	case err == nil:
		out.in = Final{Receipt: receipt}
	case refused && isPrepare:
		out.in = Refusal{Leg: prepare.Subject.Leg, Code: refusal.Code, Reason: refusal.Reason}
	case ctx.Err() == nil:
		e.Log.WarnContext(ctx, "a command has no effect yet", slog.String("role", e.Role),
			slog.String("custody", t.custody.String()), slog.String("cause", err.Error()))
	}
}

// at is where a leg moves; nil if that is out of reach.
func (e *Engine[M]) at(ctx context.Context, leg *terms.Leg) ledger.Ledger {
	l := e.Of(e.Signer.ID(), leg)
	if l == nil {
		e.Log.ErrorContext(ctx, "a leg moves where nothing is reached",
			slog.String("asset", leg.Asset.String()), slog.Bool("in_channel", ledger.InChannel(leg)))
	}
	return l
}

func (e *Engine[M]) lookUp(ctx context.Context, q Question, t task) {
	out := input{custody: t.custody, settled: &t}
	defer func() { e.send(ctx, out) }()
	l := e.at(ctx, &q.Leg)
	if l == nil {
		return
	}
	receipt, err := l.Lookup(ctx, q.Custody)
	if err != nil {
		if ctx.Err() == nil {
			e.Log.WarnContext(ctx, "a custody cannot be looked up", slog.String("role", e.Role),
				slog.String("custody", q.Custody.String()), slog.String("cause", err.Error()))
		}
		return
	}
	out.in = Final{Receipt: receipt}
}

// feed follows a venue's events. After an error it begins again where it was.
func (e *Engine[M]) feed(ctx context.Context, name string, l ledger.Ledger, after ledger.Cursor) {
	for ctx.Err() == nil {
		for event, err := range l.Events(ctx, after) {
			if err != nil {
				if ctx.Err() == nil {
					e.Log.WarnContext(ctx, "events break off", slog.String("feed", name),
						slog.String("cause", err.Error()))
				}
				break
			}
			after = event.Cursor
			e.send(ctx, input{
				custody: event.Receipt.Custody.ID, in: Final{Receipt: event.Receipt},
				feed: name, cursor: after,
			})
		}
		select {
		case <-ctx.Done():
		case <-time.After(feedRetry):
		}
	}
}

// wake is a moment at which an entry wants a tick.
type wake[M Machine] struct {
	at    time.Time
	entry *entry[M]
}

type wakeHeap[M Machine] []wake[M]

func (h wakeHeap[M]) Len() int           { return len(h) }
func (h wakeHeap[M]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h wakeHeap[M]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for container/heap.
func (h *wakeHeap[M]) Push(x any) {
	if w, ok := x.(wake[M]); ok {
		*h = append(*h, w)
	}
}

// Pop is for container/heap.
func (h *wakeHeap[M]) Pop() any {
	old := *h
	w := old[len(old)-1]
	*h = old[:len(old)-1]
	return w
}

// next is the time until the first wake, at most an hour.
func (h wakeHeap[M]) next(now time.Time) time.Duration {
	if len(h) == 0 {
		return time.Hour
	}
	return min(time.Hour, max(0, h[0].at.Sub(now)))
}
