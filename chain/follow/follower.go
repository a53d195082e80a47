package follow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
)

var (
	// ErrOptions means that a follower cannot run with its options.
	ErrOptions = errors.New("follow: unusable options")
	// ErrNoSource means that every source has been dropped as wrong.
	ErrNoSource = errors.New("follow: no source is left")
)

// Options are how a follower runs.
type Options struct {
	Genesis *chain.Genesis
	// Store is the follower's own.
	Store state.Store
	// Sources are the members that it asks, one at a time, in this order at first.
	Sources []Source
	// Wait is how long a source may hold an answer back while there is no block: 1 ms to
	// MaxWaitMS. When an answer took more than half of it, another source is asked next. So a
	// source that keeps blocks back delays them by Wait and Grace at most, and not for long.
	Wait time.Duration
	// Grace is how long an answer may take beyond Wait, and how long the follower rests when
	// no source has answered: positive.
	Grace time.Duration
	Log   *slog.Logger
}

// DefaultOptions are those of a network, still without store, sources and log. An honest
// member has a block within two idle intervals and timeouts, unless the network stands.
func DefaultOptions(genesis *chain.Genesis) Options {
	key := genesis.File().KeyBlock
	wait := min(2*(key.Idle()+key.MaxBase()), MaxWaitMS*time.Millisecond)
	return Options{Genesis: genesis, Wait: wait, Grace: 2 * time.Second}
}

// Validate reports ErrOptions unless every option is set and in its bounds.
func (o *Options) Validate() error {
	switch {
	case o.Genesis == nil || o.Store == nil || len(o.Sources) == 0 || o.Log == nil:
		return fmt.Errorf("genesis, store, sources and log have to be set: %w", ErrOptions)
	case o.Wait < time.Millisecond || o.Wait > MaxWaitMS*time.Millisecond:
		return fmt.Errorf("wait %s: %w", o.Wait, ErrOptions)
	case o.Grace <= 0:
		return fmt.Errorf("grace %s: %w", o.Grace, ErrOptions)
	}
	return nil
}

// Follower is a verified copy of the chain that keeps up with it while Run runs. Its other
// methods may be called by any goroutine, also before and after.
type Follower struct {
	o Options
	// mu guards mirror's changes and proofs, sources, dropped and changed.
	mu      sync.Mutex
	mirror  *mirror
	sources []Source
	dropped []Dropped
	// head is the last final block, changed is closed when it moves.
	head    chain.Header
	changed chan struct{}
}

// Dropped is a source that was wrong, and why it is asked no more.
type Dropped struct {
	Source string
	Err    error
}

// Open opens the follower's copy, which it begins with the genesis if the store is empty.
func Open(o Options) (*Follower, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m, err := openMirror(o.Store, o.Genesis)
	if err != nil {
		return nil, err
	}
	return &Follower{
		o: o, mirror: m, sources: append([]Source(nil), o.Sources...),
		head: m.state.Header(), changed: make(chan struct{}),
	}, nil
}

// Run keeps up with the chain until ctx ends, which is no error. ErrDiverged, ErrNoSource and
// an error of the store end it too: the operator has to look.
func (f *Follower) Run(ctx context.Context) error {
	silent := 0
	for ctx.Err() == nil {
		source, _ := f.next()
		if source == nil {
			return ErrNoSource
		}
		asked := time.Now()
		blocks, err := f.fetch(ctx, source)
		slow := time.Since(asked) > f.o.Wait/2
		if err == nil {
			err = f.apply(blocks)
		}
		switch {
		case ctx.Err() != nil:
		case err == nil && (slow || len(blocks) > 0):
			if silent = 0; slow {
				f.later(source) // perhaps it keeps blocks back
			}
		case err == nil: // nothing, and at once: not what was asked for
			silent = f.unanswered(ctx, source, silent, errNoAnswer)
		case errors.Is(err, ErrSource) || errors.Is(err, ErrMessage):
			f.drop(source, err)
		case errors.Is(err, errNoAnswer):
			silent = f.unanswered(ctx, source, silent, err)
		default:
			return err
		}
	}
	return nil
}

// unanswered asks another source next, and rests if one after another has not answered. It
// gives how many have not.
func (f *Follower) unanswered(ctx context.Context, s Source, silent int, err error) int {
	f.o.Log.LogAttrs(ctx, slog.LevelDebug, "source does not answer",
		slog.String("member", s.Name()), slog.Any("error", err))
	f.later(s)
	if _, sources := f.next(); silent+1 < sources {
		return silent + 1
	}
	timer := time.NewTimer(f.o.Grace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return 0
}

// errNoAnswer means that a source could not be asked.
var errNoAnswer = errors.New("follow: no answer")

// fetch asks one source for the next blocks.
func (f *Follower) fetch(ctx context.Context, s Source) ([]FinalBlock, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Wait+f.o.Grace)
	defer cancel()
	from := f.Head().Height + 1
	wait := uint32(f.o.Wait / time.Millisecond) //nolint:gosec // at most MaxWaitMS
	answer, err := s.Fetch(ctx, Fetch{From: from, WaitMS: wait})
	if err != nil && !errors.Is(err, ErrMessage) {
		err = fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	return answer.Blocks, err
}

// apply verifies an answer, and then executes and stores it block by block.
func (f *Follower) apply(blocks []FinalBlock) error {
	if err := f.locked(func() error { return f.mirror.check(blocks) }); err != nil {
		return err
	}
	for i, b := range blocks {
		last := i == len(blocks)-1
		if err := f.locked(func() error { return f.mirror.take(b, last) }); err != nil {
			return err
		}
	}
	if len(blocks) > 0 {
		f.publish(blocks[len(blocks)-1].Block.Header)
	}
	return nil
}

func (f *Follower) locked(do func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return do()
}

func (f *Follower) publish(head chain.Header) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.head = head
	close(f.changed)
	f.changed = make(chan struct{})
}

// next is the source to ask, and how many there are.
func (f *Follower) next() (Source, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sources) == 0 {
		return nil, 0
	}
	return f.sources[0], len(f.sources)
}

// later puts the source that was asked behind all others.
func (f *Follower) later(s Source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sources = append(f.sources[1:], s)
}

// drop asks the source no more.
func (f *Follower) drop(s Source, err error) {
	f.o.Log.Error("source is wrong and asked no more",
		slog.String("member", s.Name()), slog.Any("error", err))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sources = f.sources[1:]
	f.dropped = append(f.dropped, Dropped{Source: s.Name(), Err: err})
}

// Dropped lists the sources that were wrong, in the order in which they were found out.
func (f *Follower) Dropped() []Dropped {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Dropped(nil), f.dropped...)
}

// Head is the header of the last block that is verified and stored.
func (f *Follower) Head() chain.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// HeaderAt is the header of the final block of a height; state.ErrUnknown above Head's.
func (f *Follower) HeaderAt(height uint64) (chain.Header, error) {
	return f.mirror.state.HeaderAt(height)
}

// Registry is that of the last block that is verified and stored, at the block's time: who may speak
// now, by which keys, and which Validators an asset asks for, on any ledger of the network. It stays
// what it is; whoever wants to know what has changed since asks again.
func (f *Follower) Registry() chain.Roll { return f.mirror.state.Registry() }

// Changed is closed when Head moves.
func (f *Follower) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// Balance is what the account holds of the asset now; ok tells whether it is open.
func (f *Follower) Balance(
	account cypherlink.Account, asset cypherlink.Asset,
) (amount cypherlink.Amount, ok bool, err error) {
	return f.mirror.state.Balance(account, asset)
}

// Standing is the custody as it stands in the final state, without evidence; in state Absent
// where there is none.
func (f *Follower) Standing(id ledger.CustodyID) (ledger.Custody, error) {
	index, err := f.mirror.state.LatestEvent(cypherlink.Hash(id))
	if errors.Is(err, state.ErrUnknown) {
		return ledger.Custody{ID: id, State: ledger.Absent}, nil
	}
	if err != nil {
		return ledger.Custody{}, err
	}
	e, err := f.mirror.state.EventAt(index)
	if err != nil {
		return ledger.Custody{}, err
	}
	custody, ok := e.Custody()
	if !ok {
		return ledger.Custody{}, fmt.Errorf("custody %s: %w", id, errOther)
	}
	return custody, nil
}

// Receipt is the latest one of a custody, with its evidence; of a custody that is not there,
// in state Absent. It waits, until ctx ends, only while there is no proof yet: before the
// first block, and after a start amid blocks that were being fetched.
func (f *Follower) Receipt(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	return proved(ctx, f, func() (ledger.Receipt, error) { return f.mirror.receipt(id) })
}

// Passage is how the crossing passed, with its evidence; ok tells whether it did. It waits as Receipt
// does.
func (f *Follower) Passage(ctx context.Context, id ledger.CrossingID) (p ledger.Passage, ok bool, err error) {
	p, err = proved(ctx, f, func() (p ledger.Passage, err error) {
		p, ok, err = f.mirror.passage(id)
		return p, err
	})
	return p, ok, err
}

// Proved is what Prove says: the value under Key, by the state of the block that Finality
// begins with.
type Proved struct {
	Finality chain.FinalityProof
	Key      []byte
	Entry    *state.Proof
}

// Prove proves what the state holds under a key, such as state.BalanceKey. It waits as
// Receipt does.
func (f *Follower) Prove(ctx context.Context, key []byte) (Proved, error) {
	return proved(ctx, f, func() (Proved, error) {
		finality, entry, err := f.mirror.prove(key)
		return Proved{Finality: finality, Key: key, Entry: entry}, err
	})
}

// proved asks again whenever the head moves, until there is a proof.
func proved[T any](ctx context.Context, f *Follower, ask func() (T, error)) (T, error) {
	for {
		changed := f.Changed()
		f.mu.Lock()
		answer, err := ask()
		f.mu.Unlock()
		if !errors.Is(err, errUnproved) {
			return answer, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return answer, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// Events yields every final event of a custody after the cursor, in order, with its evidence, and
// then waits for the next one until ctx ends, which ends the sequence without an error.
func (f *Follower) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for next := uint64(after); ; {
			changed := f.Changed()
			for end := f.Head().Roots.FeedSize; next < end; next++ {
				receipt, err := proved(ctx, f, func() (ledger.Receipt, error) { return f.mirror.event(next) })
				event := ledger.Event{Cursor: ledger.Cursor(next + 1), Receipt: receipt}
				switch {
				case ctx.Err() != nil:
					return
				case errors.Is(err, errOther):
				case !yield(event, err) || err != nil:
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}
