package book

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

var (
	// ErrBooks means that the books contradict themselves: the process must stop.
	ErrBooks = errors.New("book: the books do not hold together")
	// ErrChart means that the opening balances are malformed, or that the database was opened
	// with others, or for another ledger.
	ErrChart = errors.New("book: wrong opening")
	// ErrClosed means that the book was closed.
	ErrClosed = errors.New("book: closed")
	// ErrCursor means that events are asked for after one that the ledger never had.
	ErrCursor = errors.New("book: no such cursor")
)

const (
	queueLength = 1024 // commands that wait in line
	batchLength = 256  // commands in one transaction
	pageLength  = 256  // events in one read
	dueLength   = 1024 // custodies returned in one transaction: each has a packet
)

// Options make a Book. Charter, Opening and Signer are required.
type Options struct {
	// Charter is what the rules rest on. Its keys may change while the book runs.
	Charter ledger.Charter
	// Opening holds every account with what it has at first. It is written when the database
	// is new, and must be the same ever after.
	Opening []ledger.Balance
	// Signer is the operator.
	Signer Signer
	// Publish, if it is set, is called with every event, in order, in the event's own
	// transaction: for an outbox. It may be called more than once, like Update's fn.
	Publish func(tx *store.Tx, event ledger.Receipt) error
	// PublishPassage is Publish for what crosses.
	PublishPassage func(tx *store.Tx, passage ledger.Passage) error
	// Now is the clock, time.Now if nil.
	Now func() time.Time
	// Sweep is how often the book looks for custodies whose expiry has come while nobody
	// sends a command; 250 ms if zero.
	Sweep time.Duration
	// Log gets what happens while nobody waits for it; nothing is logged if nil.
	Log *slog.Logger
}

// Book is a running ledger. It implements ledger.Ledger.
type Book struct {
	store   *store.Store
	charter ledger.Charter
	signer  Signer
	publish func(*store.Tx, ledger.Receipt) error
	now     func() time.Time
	log     *slog.Logger

	publishPassage func(*store.Tx, ledger.Passage) error

	jobs    chan *job
	closing chan struct{}
	ended   sync.WaitGroup
	close   func()

	mu   sync.Mutex
	more chan struct{} // closed and replaced when events were committed
}

var _ ledger.Ledger = (*Book)(nil)

// job is one Submit or Cross in line.
type job struct {
	gone    <-chan struct{} // the caller has left
	command *ledger.SignedCommand
	do      func(*Batch, *job) error
	receipt ledger.Receipt
	passage ledger.Passage
	err     error
	done    chan struct{} // closed when receipt or passage, and err, are set
}

// Open runs the ledger of the charter over the store, which it does not close. In a new
// database it writes the opening; otherwise ErrChart unless charter and opening are those of
// the database. The caller closes the book before the store.
func Open(ctx context.Context, s *store.Store, o Options) (*Book, error) {
	if err := o.Charter.Valid(); err != nil {
		return nil, fmt.Errorf("open book: %w", err)
	}
	if o.Signer == nil {
		return nil, fmt.Errorf("open book: no signer: %w", ErrChart)
	}
	b := &Book{
		store: s, charter: o.Charter, signer: o.Signer, publish: o.Publish, now: o.Now, log: o.Log,
		publishPassage: o.PublishPassage,
		jobs:           make(chan *job, queueLength), closing: make(chan struct{}), more: make(chan struct{}),
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if o.Sweep == 0 {
		o.Sweep = 250 * time.Millisecond
	}
	b.close = sync.OnceFunc(func() { close(b.closing) })
	err := s.Update(ctx, func(tx *store.Tx) error {
		return open(tx, &b.charter, o.Opening, b.now().UnixMilli())
	})
	if err != nil {
		return nil, fmt.Errorf("open book: %w", err)
	}
	b.ended.Go(func() { b.serve(o.Sweep) })
	return b, nil
}

// Close ends the book: commands in line are answered with ErrClosed. It may be repeated.
func (b *Book) Close() error {
	b.close()
	b.ended.Wait()
	return nil
}

// Charter is what the rules rest on, for whoever authenticates commands for Update.
func (b *Book) Charter() *ledger.Charter { return &b.charter }

// Update runs fn in one transaction at one ledger time, after what has expired was returned (B6),
// and returns nil when its effects are durable. fn authenticates commands before it
// applies them, must not wait, and may run more than once; its error undoes everything. Other
// errors are the store's.
func (b *Book) Update(ctx context.Context, fn func(*Batch) error) error {
	var events int
	err := b.store.Update(ctx, func(tx *store.Tx) error {
		batch, err := b.begin(tx)
		if err != nil {
			return err
		}
		if err := fn(batch); err != nil {
			return err
		}
		events = len(batch.events)
		return batch.end()
	})
	if err != nil {
		return fmt.Errorf("book: %w", err)
	}
	if events > 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		close(b.more)
		b.more = make(chan struct{})
	}
	return nil
}

// Submit implements ledger.Ledger. Commands that wait at the same time share one transaction.
func (b *Book) Submit(ctx context.Context, command *ledger.SignedCommand) (ledger.Receipt, error) {
	j, err := b.handIn(ctx, command, (*Batch).submit)
	if err != nil {
		return ledger.Receipt{}, err
	}
	return j.receipt, j.err
}

// handIn puts the command in line for do and waits until it is done.
func (b *Book) handIn(
	ctx context.Context, command *ledger.SignedCommand, do func(*Batch, *job) error,
) (*job, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	j := &job{gone: ctx.Done(), command: command, do: do, done: make(chan struct{})}
	select {
	case <-b.closing:
		return nil, ErrClosed
	default:
	}
	select {
	case b.jobs <- j:
	case <-b.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("submit: %w", ctx.Err())
	}
	select {
	case <-j.done:
		return j, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("submit: %w", ctx.Err())
	}
}

func (b *Batch) submit(j *job) (err error) {
	j.receipt, err = b.Apply(j.command)
	return err
}

func (b *Batch) cross(j *job) (err error) {
	j.passage, err = b.Cross(j.command)
	return err
}

// Lookup implements ledger.Ledger.
func (b *Book) Lookup(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	var receipt ledger.Receipt
	var found bool
	err := b.store.View(ctx, func(r *store.Reader) (err error) {
		receipt, found, err = readReceipt(r, id)
		return err
	})
	if err == nil && !found {
		// the time that an absent custody's receipt tells has to be stored first (B5)
		err = b.Update(ctx, func(batch *Batch) (err error) {
			receipt, err = batch.Lookup(id)
			return err
		})
	}
	if err != nil {
		return ledger.Receipt{}, fmt.Errorf("look up %s: %w", id, err)
	}
	return receipt, nil
}

// Events implements ledger.Ledger. A cursor that the ledger never gave is ErrCursor: its
// database is older than what the caller has seen.
func (b *Book) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		cursor := after
		for {
			b.mu.Lock()
			more := b.more
			b.mu.Unlock()
			page, err := b.page(ctx, cursor)
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				cursor = e.Cursor
			}
			if err == nil && len(page) < pageLength {
				err = b.wait(ctx, more)
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(ledger.Event{}, fmt.Errorf("events after %d: %w", cursor, err))
				return
			}
		}
	}
}

// wait returns when there is more, or with ErrClosed, or when ctx ends.
func (b *Book) wait(ctx context.Context, more <-chan struct{}) error {
	select {
	case <-more:
	case <-b.closing:
		return ErrClosed
	case <-ctx.Done():
	}
	return nil
}

func (b *Book) page(ctx context.Context, after ledger.Cursor) (page []ledger.Event, err error) {
	err = b.store.View(ctx, func(r *store.Reader) error {
		h, err := readHead(r)
		if err != nil {
			return err
		}
		if uint64(after) > uint64(h.sequence) { //nolint:gosec // not negative: CHECK
			return fmt.Errorf("the last is %d: %w", h.sequence, ErrCursor)
		}
		page, err = readEvents(r, int64(after), pageLength) //nolint:gosec // at most the head's
		return err
	})
	return page, err
}

// serve is the goroutine that runs the commands, and looks for expiries when there are none.
func (b *Book) serve(sweep time.Duration) {
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	for {
		select {
		case <-b.closing:
			b.refuseAll()
			return
		case j := <-b.jobs:
			b.run(b.gather(j))
		case <-tick.C:
			b.sweep()
		}
	}
}

// gather makes a batch of first and whoever stands in line behind it.
func (b *Book) gather(first *job) []*job {
	batch := []*job{first}
	for len(batch) < batchLength {
		select {
		case j := <-b.jobs:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// run answers a batch of jobs, whose effects share one transaction.
func (b *Book) run(batch []*job) {
	batch = b.authentic(batch)
	if len(batch) == 0 {
		return
	}
	err := b.Update(context.Background(), func(tx *Batch) error { return apply(tx, batch) })
	for _, j := range batch {
		if err != nil {
			j.receipt, j.passage, j.err = ledger.Receipt{}, ledger.Passage{}, err
		}
		close(j.done)
	}
}

// authentic answers who has left and whose command is not authentic, and returns the others.
func (b *Book) authentic(batch []*job) []*job {
	var there []*job
	for _, j := range batch {
		select {
		case <-j.gone:
			j.err = context.Canceled
			close(j.done)
		default:
			there = append(there, j)
		}
	}
	var authentic []*job
	for i, err := range b.charter.Authenticate(commands(there)...) {
		if j := there[i]; err != nil {
			j.err = err
			close(j.done)
		} else {
			authentic = append(authentic, j)
		}
	}
	return authentic
}

// apply sets each job's receipt, passage or refusal. Any other error is its own.
func apply(tx *Batch, batch []*job) error {
	if err := tx.Foresee(commands(batch)...); err != nil {
		return err
	}
	for _, j := range batch {
		j.err = j.do(tx, j)
		if errors.Is(j.err, ledger.ErrRepeated) {
			j.err = nil
		}
		if _, refused := errors.AsType[*cypherlink.Error](j.err); j.err != nil && !refused {
			return j.err
		}
	}
	return nil
}

func commands(batch []*job) []*ledger.SignedCommand {
	all := make([]*ledger.SignedCommand, len(batch))
	for i, j := range batch {
		all[i] = j.command
	}
	return all
}

// sweep returns what has expired. Where there is nothing, it only reads.
func (b *Book) sweep() {
	ctx := context.Background()
	due := false
	err := b.store.View(ctx, func(r *store.Reader) (err error) {
		due, err = anyDue(r, b.now().UnixMilli())
		return err
	})
	if err == nil && due {
		err = b.Update(ctx, func(*Batch) error { return nil })
	}
	if err != nil {
		b.log.LogAttrs(ctx, slog.LevelError, "expired custodies are not returned",
			slog.Any("error", err))
	}
}

// refuseAll answers who is still in line when the book closes.
func (b *Book) refuseAll() {
	for {
		select {
		case j := <-b.jobs:
			j.err = ErrClosed
			close(j.done)
		default:
			return
		}
	}
}
