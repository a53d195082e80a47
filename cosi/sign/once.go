package sign

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

var (
	// ErrBinds means that a frame of this type is signed through Once alone.
	ErrBinds = errors.New("sign: this type of frame binds and needs a sign-once table")
	// ErrTwice means that the slot already holds another frame.
	ErrTwice = errors.New("sign: the slot holds another frame")
	// ErrRestored means that the table lacks a frame that the key has signed: it is an old
	// copy. Nothing that binds is signed with this key again.
	ErrRestored = errors.New("sign: the sign-once table is an old copy")
)

// Binds tells whether the signer of such a frame is bound to it: a second frame of the same
// type, epoch, scope and sequence would contradict the first. For the other types whoever
// executes them decides what a repetition means.
func Binds(t cosi.Type) bool {
	switch t {
	case cosi.Anchor, cosi.Vote, cosi.Netting, cosi.RegistryChange, cosi.FeedCheckpoint,
		cosi.Timeout, cosi.Proposal, cosi.Availability, cosi.LaneUpdate:
		return true
	case cosi.Checkpoint, cosi.Approval, cosi.IdentityAnchor, cosi.Terms, cosi.Verdict,
		cosi.Refusal, cosi.Stop, cosi.Command, cosi.Record, cosi.Quote:
		return false
	}
	return true // a type that is not in the list: the strict answer
}

// Signer is a key that signs a frame whose slot its caller has recorded: *Key or *Identity.
type Signer[S any] interface {
	SignRecorded(f cosi.Frame) (S, error)
}

// Once signs with one key, and in every slot one frame. It is no safer for concurrent use
// than its table is; its own state is a single latch, for one goroutine.
type Once[S any] struct {
	key      Signer[S]
	slots    Slots
	restored bool
}

// restoredMark is the slot, of no frame's type, that a table holds once it was found to be
// an old copy.
func restoredMark() Slot { return Slot{} }

// NewOnce puts the table in front of the key. It fails only if the table cannot be read.
func NewOnce[S any](key Signer[S], slots Slots) (*Once[S], error) {
	_, restored, err := slots.Lookup(restoredMark())
	if err != nil {
		return nil, fmt.Errorf("read the sign-once table: %w", err)
	}
	return &Once[S]{key: key, slots: slots, restored: restored}, nil
}

// Sign signs f. If f binds, its slot is claimed first, durably; the slot of another frame is
// ErrTwice, and the same frame is signed again with the same result. After an error nothing was
// signed, yet the slot may be taken: offer the same frame again, no other.
func (o *Once[S]) Sign(f cosi.Frame) (S, error) {
	var none S
	if err := f.Valid(); err != nil {
		return none, err
	}
	if Binds(f.Type) {
		if o.restored {
			return none, ErrRestored
		}
		slot, hash := slotOf(f)
		standing, err := o.slots.Claim(slot, hash)
		if err != nil {
			return none, fmt.Errorf("claim type %#x, sequence %d: %w", uint8(f.Type), f.Sequence, err)
		}
		if standing != hash {
			return none, fmt.Errorf("type %#x, sequence %d, %s: %w",
				uint8(f.Type), f.Sequence, standing, ErrTwice)
		}
	}
	return o.key.SignRecorded(f)
}

// Seen compares the table with a frame that the key signed, as someone else keeps it: a
// peer's copy of the last lane update, a certificate with this member's bit. The caller has
// verified that signature. If the table does not hold f it was restored from an older copy,
// and what else is missing nobody knows: from then on, and after a restart, everything that
// binds is ErrRestored. Ask the peers before the first signature after a start.
func (o *Once[S]) Seen(f cosi.Frame) error {
	if err := f.Valid(); err != nil {
		return err
	}
	if !Binds(f.Type) {
		return nil
	}
	slot, hash := slotOf(f)
	standing, found, err := o.slots.Lookup(slot)
	if err != nil {
		return fmt.Errorf("read the sign-once table: %w", err)
	}
	if found && standing == hash {
		return nil
	}
	o.restored = true
	if _, err := o.slots.Claim(restoredMark(), hash); err != nil {
		return fmt.Errorf("%w, and that is not recorded: %w", ErrRestored, err)
	}
	return fmt.Errorf("type %#x, sequence %d, %s: %w", uint8(f.Type), f.Sequence, hash, ErrRestored)
}

func slotOf(f cosi.Frame) (Slot, cypherlink.Hash) {
	b := f.Encode()
	return Slot{Type: f.Type, Epoch: f.Epoch, Scope: f.Scope, Sequence: f.Sequence}, sha256.Sum256(b[:])
}
