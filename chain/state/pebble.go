package state

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble is a Store in a folder.
type Pebble struct{ db *pebble.DB }

// PebbleOptions are how a store runs.
type PebbleOptions struct {
	// Log gets what the store has to say.
	Log *slog.Logger
	// Exit ends the process and does not come back. It is called when a write to the log
	// failed: what is durable is not known any more, and only a new start can find out.
	Exit func()
	// CacheBytes is the size of the cache of blocks, 8 MiB if zero.
	CacheBytes int64

	fs vfs.FS
}

// OpenPebble opens the store in a folder, which is made if there is none. A folder that
// another process has open is an error.
func OpenPebble(folder string, o PebbleOptions) (*Pebble, error) {
	options := &pebble.Options{
		FS: o.fs, CacheSize: o.CacheBytes, FormatMajorVersion: pebble.FormatNewest,
		Logger: pebbleLog(o), LoggerAndTracer: nil,
	}
	for i := range options.Levels {
		// Most lookups of a condition, and many of a custody, find nothing.
		options.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	options.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) { o.Log.Error("store works badly", slog.Any("error", err)) },
	}
	db, err := pebble.Open(folder, options)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", folder, err)
	}
	return &Pebble{db: db}, nil
}

// Close lets go of the folder. Nothing else may be under way.
func (p *Pebble) Close() error { return p.db.Close() }

// Get implements Store.
func (p *Pebble) Get(key []byte) (value []byte, ok bool, err error) {
	stored, closer, err := p.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = slices.Clone(stored)
	return value, true, closer.Close()
}

// Scan implements Store.
func (p *Pebble) Scan(from, to []byte, yield func(key, value []byte) bool) (err error) {
	it, err := p.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if !yield(it.Key(), value) {
			return nil
		}
	}
	return it.Error()
}

// Write implements Store.
func (p *Pebble) Write(writes []Write) error {
	wait, err := p.Begin(writes)
	if err != nil {
		return err
	}
	return wait()
}

// Begin is Write in two halves: when it returns, reads see all of the writes; when wait
// returns, which has to be called once, they are durable. Writes become durable in the order
// in which they began.
func (p *Pebble) Begin(writes []Write) (wait func() error, err error) {
	b := p.db.NewBatch()
	for _, w := range writes {
		if w.Value == nil {
			err = b.Delete(w.Key, nil)
		} else {
			err = b.Set(w.Key, w.Value, nil)
		}
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	if err := p.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return func() error { return errors.Join(b.SyncWait(), b.Close()) }, nil
}

// pebbleLog passes on what Pebble says. Its Infof is about its housekeeping, and left out.
type pebbleLog PebbleOptions

// Infof implements pebble.Logger.
func (pebbleLog) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l pebbleLog) Errorf(format string, args ...any) {
	l.Log.Error("store reports an error", slog.String("message", fmt.Sprintf(format, args...)))
}

// Fatalf implements pebble.Logger.
func (l pebbleLog) Fatalf(format string, args ...any) {
	l.Log.Error("store cannot go on", slog.String("message", fmt.Sprintf(format, args...)))
	l.Exit()
}
