package payment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrNotNow means that nothing can be said of a lock, or done, at present. It may later.
var ErrNotNow = errors.New("payment: not now")

// lockOrder is something for the locks of a channel. One of make, learn, fail and filed is set.
type lockOrder struct {
	// make is a payer's Prepare, to be made a lock of.
	make *ledger.Prepare
	// learn is the preimage of the lock id, fail the consent to unlock it, filed that its Prepare is known.
	learn       *cypherlink.Preimage
	fail, filed bool
	id          channels.LockID
	// reply takes what is refused, or why the lock will not be; it has room for it. Nil where nobody
	// asks.
	reply chan error
}

// tellerLocks is the part of a teller that has to do with locks.
type tellerLocks struct {
	book *lockBook
	// asked are the locks that were ordered and are not told yet.
	asked map[channels.LockID]*askedLock
}

type askedLock struct {
	prepare *ledger.Prepare
	waiting []chan error
}

// newTellerLocks folds the channel's log, and takes up what has been told of locks.
func newTellerLocks(r *store.Reader, own channels.Side, log []channels.Event) (*tellerLocks, error) {
	l := &tellerLocks{book: newLockBook(own), asked: map[channels.LockID]*askedLock{}}
	for _, e := range log {
		l.book.fold(e)
	}
	for id, h := range l.book.locks {
		if h.final() {
			delete(l.book.locks, id) // it was told in the commit of what ended it
			continue
		}
		record, err := loadLock(r, id)
		if err != nil {
			return nil, err
		}
		h.stray = record.Prepare == nil
		if record.Last != nil {
			h.told = record.Last.State
		}
		if h.told > ledger.Prepared {
			delete(l.book.locks, id)
		}
	}
	return l, nil
}

// take does what is ordered of a lock.
func (t *teller) take(ctx context.Context, n *turn, o *lockOrder) {
	switch {
	case o.make != nil:
		t.makeLock(ctx, n, o)
	case o.learn != nil:
		h := t.locks.book.locks[o.id]
		due := t.view.Now.S + t.tellers.Lanes.LagS + t.tellers.Lanes.InclusionS
		if h != nil && h.lane != t.own && !h.released && due >= h.Expiry {
			n.reply(o.reply, refuse(channels.H1.Code(), "TM01",
				"H1: it is too late to release the preimage", nil))
			return
		}
		err := t.do(n, func(ms int64) (channels.Effects, error) { return t.party.Learn(ms, *o.learn) })
		n.refuse(o.reply, err)
	case o.fail:
		err := t.do(n, func(ms int64) (channels.Effects, error) { return t.party.Fail(ms, o.id) })
		n.refuse(o.reply, err)
	case o.filed:
		if h := t.locks.book.locks[o.id]; h != nil {
			h.stray = false
		}
	}
}

// refuse answers with an error, if there is one.
func (n *turn) refuse(to chan error, err error) {
	if err != nil {
		n.reply(to, err)
	}
}

// makeLock orders the lock, unless it is ordered or made, or has ended: an order may be slower than its lock.
func (t *teller) makeLock(ctx context.Context, n *turn, o *lockOrder) {
	lock, ok := LockOf(t.network(), &o.make.Subject)
	if !ok {
		n.reply(o.reply, refuse(channels.L4.Code(), "FF01", "L4: the leg moves as no lock", nil))
		return
	}
	if a := t.locks.asked[lock.ID]; a != nil {
		a.waiting = append(a.waiting, o.reply)
		return
	}
	h := t.locks.book.locks[lock.ID]
	if h != nil && h.told != ledger.Absent {
		return
	}
	if h != nil {
		t.locks.asked[lock.ID] = &askedLock{o.make, []chan error{o.reply}}
		return
	}
	record, err := t.tellers.locks.Find(ctx, lock.ID)
	if err != nil || record.Last != nil {
		n.refuse(o.reply, err)
		return
	}
	t.locks.asked[lock.ID] = &askedLock{o.make, []chan error{o.reply}}
	err = t.do(n, func(ms int64) (channels.Effects, error) {
		return t.party.Order(ms, []channels.Operation{lock})
	})
	if err != nil {
		delete(t.locks.asked, lock.ID)
		n.reply(o.reply, err)
		return
	}
	n.replies = append(n.replies, func() { t.tellers.locked(lock.ID) })
}

// dropLock answers for a lock whose update was not signed: the Validators have refused it, or it fell with
// another one.
func (t *teller) dropLock(n *turn, id channels.LockID, refusal *cypherlink.Error) {
	if refusal != nil {
		t.answerLock(n, id, refusal)
		return
	}
	t.answerLock(n, id, fmt.Errorf("lock %s was not signed: %w", id, ErrNotNow))
}

// answerLock tells those who wait for a lock that it will not be.
func (t *teller) answerLock(n *turn, id channels.LockID, err error) {
	a := t.locks.asked[id]
	if a == nil {
		return
	}
	delete(t.locks.asked, id)
	for _, to := range a.waiting {
		n.reply(to, err)
	}
}

// judgeLocks decides what is final of locks, at the end of a turn.
func (t *teller) judgeLocks(n *turn) {
	told, never := t.locks.book.news(&t.view)
	for i := range told {
		e := &told[i]
		if err := t.completeProof(e); err != nil {
			t.log.Error("a lock's certificate is not signed", slog.String("cause", err.Error()))
			e.Proof = nil
		}
		delete(t.locks.asked, e.Lock)
	}
	for _, id := range never {
		t.answerLock(n, id, refuse(channels.H4.Code(), "ED05", "H4: the lock is void, or has lapsed", nil))
	}
	n.locks = told
}

// completeProof puts the own signature into a proof.
func (t *teller) completeProof(e *LockEvent) error {
	if e.Proof == nil || e.Proof.Payer != [64]byte{} && e.Proof.Payee != [64]byte{} {
		return nil
	}
	own, err := t.signUpdate(e.Proof.Last().Frame(t.network()))
	if e.Lane == t.own {
		e.Proof.Payer = own
	} else {
		e.Proof.Payee = own
	}
	return err
}

// tellLocks writes what has become final of locks. A lock without a Prepare, or that is not what was
// prepared, is nobody's custody: it is left alone until one is filed. So is one that has ended and is made
// again: what was told of it stands.
func (t *teller) tellLocks(tx *store.Tx, all []LockEvent) (strays []channels.LockID, err error) {
	for i := range all {
		e := &all[i]
		record, err := loadLock(&tx.Reader, e.Lock)
		if err != nil {
			return nil, err
		}
		prepared := record.Content()
		switch {
		case prepared == nil:
		case record.Last != nil && record.Last.State > ledger.Prepared:
			t.log.Error("a lock that has ended is made again", slog.String("lock", e.Lock.String()))
			prepared = nil
		case !t.moves(e, &prepared.Subject):
			t.log.Error("a lock is not what was prepared", slog.String("lock", e.Lock.String()))
			prepared = nil
		}
		if prepared == nil {
			strays = append(strays, e.Lock)
		} else if err := tellLock(tx, e); err != nil {
			return nil, err
		}
	}
	return strays, nil
}

// moves tells whether the lock of an event, of this channel, is the one as which the leg moves.
func (t *teller) moves(e *LockEvent, s *validator.Subject) bool {
	lock, ok := LockOf(t.network(), s)
	leg := &s.Fields
	return ok && lock == e.lock && leg.Asset == t.asset &&
		leg.Debit.Owner == t.banks[e.Lane] && leg.Credit.Owner == t.banks[e.Lane.Other()]
}

// stray takes back that locks were told of which are nobody's custody.
func (t *teller) stray(ids []channels.LockID) {
	for _, id := range ids {
		if h := t.locks.book.locks[id]; h != nil {
			h.stray, h.told = true, ledger.Absent
		}
	}
}

// showLocks publishes of which locks it is not known yet whether they will be a custody.
func (t *teller) showLocks() {
	open := map[channels.LockID]bool{}
	for id := range t.locks.asked {
		open[id] = true
	}
	for id, h := range t.locks.book.locks {
		if h.told == ledger.Absent {
			open[id] = true
		}
	}
	t.mu.Lock()
	t.undecided = open
	t.mu.Unlock()
}

// undecides tells whether it is not known yet whether there will be a custody of that lock.
func (t *teller) undecides(id channels.LockID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.undecided[id]
}

// conditions are those of the locks in the lanes, and of those of which there is still something to tell.
func (t *teller) conditions() []cypherlink.Condition {
	all := append(t.party.Conditions(), t.locks.book.conditions()...)
	slices.SortFunc(all, func(a, b cypherlink.Condition) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(all)
}
