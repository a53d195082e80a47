package channels

import (
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/merkle"
	"github.com/cypherlink/cypherlink/internal/wire"
)

const locksDomain wire.Domain = "cypherlink/locks/v1"

const (
	// MaxOperations bounds the operations of one update.
	MaxOperations = 256
	// MaxLocksEver bounds the open locks of a lane, whatever a channel's own limit is.
	MaxLocksEver = 256
)

// Operation is one thing that an update does: Pay, Lock, Settle or Unlock.
//
//sumtype:decl
type Operation interface {
	appendWire(w *wire.Writer)
	operation()
}

// Pay pays. Terms is the hash of what the parties agreed, and Payment its UETR.
type Pay struct {
	Payment cypherlink.UETR
	Amount  cypherlink.Amount
	Terms   cypherlink.Hash
}

// LockID names a lock: the id of the custody that it is, from terms hash and leg.
type LockID cypherlink.Hash

// String is the lower-case hexadecimal form.
func (id LockID) String() string { return cypherlink.Hash(id).String() }

// Lock is money that belongs to nobody until the preimage, before the expiry, gives it to the
// payee, or the payer takes it back.
type Lock struct {
	ID        LockID
	Amount    cypherlink.Amount
	Condition cypherlink.Condition
	// Expiry is in seconds since 1970, by block time: at the expiry it is too late.
	Expiry int64
}

// Settle pays a lock out to the payee.
type Settle struct {
	Lock     LockID
	Preimage cypherlink.Preimage
}

// Unlock gives a lock back to the payer.
type Unlock struct{ Lock LockID }

const (
	opPay uint8 = iota + 1
	opLock
	opSettle
	opUnlock
)

func (Pay) operation()    {}
func (Lock) operation()   {}
func (Settle) operation() {}
func (Unlock) operation() {}

func (p Pay) appendWire(w *wire.Writer) {
	w.U8(opPay)
	p.Payment.AppendWire(w)
	w.I64(int64(p.Amount))
	w.Fixed(p.Terms[:])
}

func (l Lock) appendWire(w *wire.Writer) {
	w.U8(opLock)
	l.append(w)
}

func (l Lock) append(w *wire.Writer) {
	w.Fixed(l.ID[:])
	w.I64(int64(l.Amount))
	w.Fixed(l.Condition[:])
	w.I64(l.Expiry)
}

func (s Settle) appendWire(w *wire.Writer) {
	w.U8(opSettle)
	w.Fixed(s.Lock[:])
	w.Fixed(s.Preimage[:])
}

func (u Unlock) appendWire(w *wire.Writer) {
	w.U8(opUnlock)
	w.Fixed(u.Lock[:])
}

func readLock(r *wire.Reader) Lock {
	var l Lock
	r.Fixed(l.ID[:])
	l.Amount = readAmount(r)
	r.Fixed(l.Condition[:])
	l.Expiry = r.I64()
	return l
}

func readOperation(r *wire.Reader) Operation {
	switch kind := r.U8(); kind {
	case opPay:
		p := Pay{Payment: cypherlink.ReadUETR(r), Amount: readAmount(r)}
		r.Fixed(p.Terms[:])
		return p
	case opLock:
		return readLock(r)
	case opSettle:
		var s Settle
		r.Fixed(s.Lock[:])
		r.Fixed(s.Preimage[:])
		return s
	case opUnlock:
		var u Unlock
		r.Fixed(u.Lock[:])
		return u
	default:
		r.Fail(fmt.Errorf("operation %d: %w", kind, ErrForm))
		return nil
	}
}

// OperationBytes is the canonical form of an operation: a leaf under Update.Body.
func OperationBytes(op Operation) []byte {
	w := wire.NewWriter(96)
	op.appendWire(w)
	return w.Bytes()
}

// AppendOperations appends the canonical form of an update's operations.
func AppendOperations(w *wire.Writer, ops []Operation) {
	w.U32(uint32(len(ops))) //nolint:gosec // at most MaxOperations
	for _, op := range ops {
		op.appendWire(w)
	}
}

// ReadOperations reads what AppendOperations wrote: 1 to MaxOperations.
func ReadOperations(r *wire.Reader) []Operation {
	n := r.Count(MaxOperations, 33)
	if n == 0 && r.Err() == nil {
		r.Fail(fmt.Errorf("no operations: %w", ErrForm))
	}
	ops := make([]Operation, 0, n)
	for ; n > 0 && r.Err() == nil; n-- {
		ops = append(ops, readOperation(r))
	}
	return ops
}

// BodyRoot is the RFC 6962 root over the operations.
func BodyRoot(ops []Operation) cypherlink.Hash {
	leaves := make([]merkle.Hash, len(ops))
	for i, op := range ops {
		leaves[i] = merkle.Leaf(OperationBytes(op))
	}
	return merkle.Root(leaves)
}

// LockRoot is the hash of a list of open locks, in the order in which they were made.
func LockRoot(locks []Lock) cypherlink.Hash {
	w := wire.NewWriter(4 + 80*len(locks))
	AppendLocks(w, locks)
	return wire.Sum(locksDomain, w.Bytes())
}

// AppendLocks appends the canonical form of a list of locks.
func AppendLocks(w *wire.Writer, locks []Lock) {
	w.U32(uint32(len(locks))) //nolint:gosec // at most MaxLocksEver
	for i := range locks {
		locks[i].append(w)
	}
}

// ReadLocks reads what AppendLocks wrote, at most MaxLocksEver.
func ReadLocks(r *wire.Reader) []Lock {
	n := r.Count(MaxLocksEver, 80)
	locks := make([]Lock, n)
	for i := range locks {
		locks[i] = readLock(r)
	}
	return locks
}

// tip is a lane's head with the locks that are open there.
type tip struct {
	Head
	locks []Lock
}

// apply gives the totals and locks after the operations. What cannot be is an error: it names the
// operation, and never depends on time, balances or what a bank knows.
func (t tip) apply(ops []Operation) (tip, error) {
	if len(ops) == 0 || len(ops) > MaxOperations {
		return tip{}, fmt.Errorf("%d operations", len(ops))
	}
	next := t
	if slices.ContainsFunc(ops, func(op Operation) bool { _, pays := op.(Pay); return !pays }) {
		next.locks = slices.Clone(t.locks) // else both have the same ones
	}
	for i, op := range ops {
		if err := next.operate(op); err != nil {
			return tip{}, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	next.Locks = LockRoot(next.locks)
	return next, nil
}

func (t *tip) operate(op Operation) (err error) {
	switch op := op.(type) {
	case Pay:
		if op.Amount <= 0 {
			return fmt.Errorf("pays %d", op.Amount)
		}
		t.Paid, err = t.Paid.Add(op.Amount)
		return err
	case Lock:
		if op.Amount <= 0 || op.Expiry <= 0 || op.Condition == (cypherlink.Condition{}) {
			return fmt.Errorf("locks %d until %d", op.Amount, op.Expiry)
		}
		for _, l := range t.locks {
			if l.ID == op.ID || l.Condition == op.Condition {
				return fmt.Errorf("lock %s stands, or its condition does", op.ID)
			}
		}
		if len(t.locks) == MaxLocksEver {
			return fmt.Errorf("more than %d locks", MaxLocksEver)
		}
		t.locks = append(t.locks, op)
		t.Locked, err = t.Locked.Add(op.Amount)
		return err
	case Settle:
		l, err := t.drop(op.Lock)
		if err != nil {
			return err
		}
		if !l.Condition.FulfilledBy(op.Preimage) {
			return fmt.Errorf("lock %s: a wrong preimage", op.Lock)
		}
		t.Paid, err = t.Paid.Add(l.Amount)
		return err
	case Unlock:
		_, err := t.drop(op.Lock)
		return err
	default:
		return fmt.Errorf("%T", op)
	}
}

// drop takes a lock off the list.
func (t *tip) drop(id LockID) (Lock, error) {
	i := slices.IndexFunc(t.locks, func(l Lock) bool { return l.ID == id })
	if i < 0 {
		return Lock{}, fmt.Errorf("lock %s is not open", id)
	}
	l := t.locks[i]
	t.locks = slices.Delete(t.locks, i, i+1)
	var err error
	t.Locked, err = t.Locked.Sub(l.Amount)
	return l, err
}
