package channels

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// Limits are agreed when a channel opens, and stay.
type Limits struct {
	// A deadline has passed when block time is after its start plus WindowS, in seconds, and at
	// least Blocks blocks have followed (T7). Both are at least how far a bank's follower may be
	// behind, plus the time of inclusion, plus a margin.
	WindowS int64
	Blocks  uint64
	// Uncertified is how many updates of a lane may wait for the payee's signature (L2).
	Uncertified uint32
	// Locks and Locked bound the number and the sum of a lane's open locks.
	Locks  uint32
	Locked cypherlink.Amount
	// Reserve is what a bank's balance keeps at least, by L3.
	Reserve cypherlink.Amount
	// MinExpiryS and MaxExpiryS bound how long before its expiry a lock is made, in seconds.
	MinExpiryS, MaxExpiryS int64
}

// The bounds of the limits themselves.
const (
	// MaxWindowS is 30 days.
	MaxWindowS = 30 * 24 * 3600
	// MaxBlocks is the number of blocks in MaxWindowS at one a second.
	MaxBlocks = MaxWindowS
	// MaxUncertified bounds Limits.Uncertified.
	MaxUncertified = 4096
)

// DefaultLimits are those of a channel on a network with a block a second.
func DefaultLimits() Limits {
	return Limits{
		WindowS: 30, Blocks: 10, Uncertified: 256, Locks: 64, Locked: 1 << 50, MinExpiryS: 10,
		MaxExpiryS: 24 * 3600,
	}
}

// Valid reports ErrForm unless every limit is in its bounds.
func (l Limits) Valid() error {
	switch {
	case l.WindowS < 2 || l.WindowS > MaxWindowS || l.Blocks < 2 || l.Blocks > MaxBlocks:
		return fmt.Errorf("window %d s and %d blocks: %w", l.WindowS, l.Blocks, ErrForm)
	case l.Uncertified == 0 || l.Uncertified > MaxUncertified:
		return fmt.Errorf("%d uncertified updates: %w", l.Uncertified, ErrForm)
	case l.Locks > MaxLocksEver || l.Locked < 0 || l.Reserve < 0:
		return fmt.Errorf("%d locks of %d, reserve %d: %w", l.Locks, l.Locked, l.Reserve, ErrForm)
	case l.MinExpiryS < 0 || l.MaxExpiryS < l.MinExpiryS || l.MaxExpiryS > MaxWindowS:
		return fmt.Errorf("locks of %d to %d s: %w", l.MinExpiryS, l.MaxExpiryS, ErrForm)
	}
	return nil
}

func (l Limits) appendWire(w *wire.Writer) {
	w.I64(l.WindowS)
	w.U64(l.Blocks)
	w.U32(l.Uncertified)
	w.U32(l.Locks)
	w.I64(int64(l.Locked))
	w.I64(int64(l.Reserve))
	w.I64(l.MinExpiryS)
	w.I64(l.MaxExpiryS)
}

func readLimits(r *wire.Reader) Limits {
	l := Limits{WindowS: r.I64(), Blocks: r.U64(), Uncertified: r.U32(), Locks: r.U32()}
	l.Locked, l.Reserve = readAmount(r), readAmount(r)
	l.MinExpiryS, l.MaxExpiryS = r.I64(), r.I64()
	if r.Err() == nil {
		if err := l.Valid(); err != nil {
			r.Fail(err)
		}
	}
	return l
}
