package payment

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
)

// lockBook is what a teller knows of the locks of its channel that have not ended: the fold of the
// channel's log, with what has been told of each. It decides by the H rules, from what the own follower
// shows, what has become final. It is pure.
type lockBook struct {
	own   channels.Side
	lanes [2]laneTape
	locks map[channels.LockID]*heldLock
}

// laneTape is a lane's log from the anchored head on, as proofs are cut from it.
type laneTape struct {
	entries []channels.Entry
	// certified is the last update of which the certificate is held, bound the last one that is bound.
	certified, bound uint32
}

// heldLock is a lock that has not ended.
type heldLock struct {
	channels.Lock
	lane channels.Side
	at   channels.Slot
	// bound: the update that makes it is bound, or anchored. void: the lane's generation ended without
	// it. gone: what stands behind it may fail (H5), of the own lane. released: the preimage has left, of
	// the other lane.
	bound, void, gone, released bool
	// end is the bound Settle or Unlock that ends it, if any.
	end channels.Operation
	// made and ended prove what makes it and what ends it; nil where nothing is bound.
	made, ended *LockProof
	// stray: it came without its payer's Prepare, so it is nobody's custody.
	stray bool
	told  ledger.State
}

func newLockBook(own channels.Side) *lockBook {
	return &lockBook{own: own, locks: map[channels.LockID]*heldLock{}}
}

// fold takes an event of the channel's log.
func (b *lockBook) fold(e channels.Event) {
	switch e := e.(type) {
	case channels.Wrote:
		b.push(b.own, e.Entry)
	case channels.Countersigned:
		b.push(b.own.Other(), e.Entry)
		b.lanes[b.own.Other()].certified = e.Entry.Update.Seq
	case channels.Certified:
		l := &b.lanes[b.own]
		if i := l.index(e.Seq); i >= 0 {
			l.entries[i].Peer, l.certified = e.Payee, e.Seq
		}
	case channels.Bound:
		b.bind(e.Lane, e.Seq)
	case channels.Anchored:
		b.rest(e.Lane, e.Head, false)
	case channels.Ended:
		b.rest(e.Lane, e.Head, true)
	case channels.Gone:
		if h := b.locks[e.Lock]; h != nil {
			h.gone = true
		}
	case channels.Released:
		if h := b.locks[e.Lock]; h != nil {
			h.released = true
		}
	case channels.Joined, channels.Barred, channels.Stopped, channels.Listed, channels.Learned,
		channels.Failed:
	}
}

func (b *lockBook) push(lane channels.Side, e channels.Entry) {
	l := &b.lanes[lane]
	l.entries = append(l.entries, e)
	for _, op := range e.Operations {
		if lock, ok := op.(channels.Lock); ok && b.locks[lock.ID] == nil {
			b.locks[lock.ID] = &heldLock{Lock: lock, lane: lane, at: e.Update.Slot()}
		}
	}
}

// index is the place of an update on the tape, negative if it is not there.
func (l *laneTape) index(seq uint32) int {
	return slices.IndexFunc(l.entries, func(e channels.Entry) bool { return e.Update.Seq == seq })
}

// bind takes the lane's updates up to that sequence as bound.
func (b *lockBook) bind(lane channels.Side, seq uint32) {
	l := &b.lanes[lane]
	for i := range l.entries {
		at := l.entries[i].Update.Seq
		if at <= l.bound || at > seq {
			continue
		}
		for _, op := range l.entries[i].Operations {
			b.binds(lane, i, op)
		}
	}
	l.bound = max(l.bound, seq)
}

func (b *lockBook) binds(lane channels.Side, at int, op channels.Operation) {
	var h *heldLock
	switch op := op.(type) {
	case channels.Lock:
		if h = b.locks[op.ID]; h != nil && h.lane == lane {
			h.bound, h.made = true, b.lanes[lane].proof(at, op, lane == b.own)
		}
		return
	case channels.Settle:
		h = b.locks[op.Lock]
	case channels.Unlock:
		h = b.locks[op.Lock]
	case channels.Pay:
	}
	if h != nil && h.lane == lane && h.end == nil {
		h.end, h.ended = op, b.lanes[lane].proof(at, op, lane == b.own)
	}
}

// rest takes the lane's anchored head: what is up to it is bound, and where a generation ends, what is
// after it is void. If it is another bank's copy of the log, everything is.
func (b *lockBook) rest(lane channels.Side, head channels.Head, ends bool) {
	l := &b.lanes[lane]
	at := l.index(head.Seq)
	known := at >= 0 && l.entries[at].Update.Hash == head.Hash
	if known {
		b.bind(lane, head.Seq)
	}
	foreign := at >= 0 && !known
	kept := l.entries[:0:0]
	for _, e := range l.entries {
		switch {
		case e.Update.Seq <= head.Seq && !foreign:
		case ends || foreign:
			b.voids(e.Operations)
		default:
			kept = append(kept, e)
		}
	}
	l.entries, l.bound = kept, head.Seq
	if l.certified = max(l.certified, head.Seq); ends {
		l.certified = head.Seq
	}
}

func (b *lockBook) voids(ops []channels.Operation) {
	for _, op := range ops {
		if lock, ok := op.(channels.Lock); ok && b.locks[lock.ID] != nil {
			b.locks[lock.ID].void = true
		}
	}
}

// final tells whether the log alone says that nothing is to be told of the lock any more, once
// everything before was.
func (h *heldLock) final() bool { return h.end != nil || h.gone || h.void }

// conditions are those of the locks, in no order.
func (b *lockBook) conditions() []cypherlink.Condition {
	all := make([]cypherlink.Condition, 0, len(b.locks))
	for _, h := range b.locks {
		all = append(all, h.Condition)
	}
	return all
}

// news is what has become final of locks, in their order, and which of them never were a custody and
// never will be. What is returned counts as told.
func (b *lockBook) news(v *channels.View) (told []LockEvent, never []channels.LockID) {
	inOrder := slices.SortedFunc(maps.Values(b.locks), func(a, b *heldLock) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.lane, b.lane), bytes.Compare(a.ID[:], b.ID[:]))
	})
	for _, h := range inOrder {
		for !h.stray {
			next, preimage := h.next(b.own, v)
			if next == h.told {
				break
			}
			e := LockEvent{
				Channel: v.Channel.ID, Lane: h.lane, Lock: h.ID, State: next, TimeMS: v.Now.S * 1000,
				Preimage: preimage, Proof: h.made, lock: h.Lock,
			}
			if next != ledger.Prepared && h.ended != nil {
				e.Proof = h.ended
			}
			told, h.told = append(told, e), next
		}
		switch over := h.never(b.own, v); {
		case h.told > ledger.Prepared:
			delete(b.locks, h.ID)
		case over && h.told == ledger.Absent:
			never = append(never, h.ID)
			delete(b.locks, h.ID)
		}
	}
	return told, never
}

// next is the state that follows what was told, or that again.
func (h *heldLock) next(own channels.Side, v *channels.View) (s ledger.State, preimage cypherlink.Preimage) {
	if h.told == ledger.Absent {
		if h.bound && !h.never(own, v) {
			return ledger.Prepared, preimage
		}
		return ledger.Absent, preimage
	}
	if h.told != ledger.Prepared {
		return h.told, preimage
	}
	if h.lane == own && h.gone { // H5
		return ledger.Returned, preimage
	}
	if settle, ok := h.end.(channels.Settle); ok {
		return ledger.Confirmed, settle.Preimage
	}
	if preimage, ok := h.revealed(v); ok {
		return ledger.Confirmed, preimage
	}
	// A channel that has paid out was followed by nobody while it did: every lock is decided (T9).
	if h.lane != own && h.lost(v) || v.Channel.State == channels.Closed {
		return ledger.Returned, preimage
	}
	return ledger.Prepared, preimage
}

// never tells whether a lock of which nothing was told never will be a custody.
func (h *heldLock) never(own channels.Side, v *channels.View) bool {
	if h.lane == own {
		return h.gone || v.Channel.State == channels.Closed && !h.bound
	}
	_, settled := h.end.(channels.Settle)
	_, revealed := h.revealed(v)
	return !settled && !revealed && h.lost(v)
}

// lost tells of a lock in the other lane, that is neither settled nor revealed in time, whether this bank
// will never be paid for it: it has consented to unlock, or the lock is void, or final time is at the
// expiry. If the preimage has left off chain, an honest payer may still settle.
func (h *heldLock) lost(v *channels.View) bool {
	_, unlocked := h.end.(channels.Unlock)
	return unlocked || h.void || v.Now.S >= h.Expiry && !h.released
}

// revealed is the lock's preimage, if it was revealed on the chain in time.
func (h *heldLock) revealed(v *channels.View) (preimage cypherlink.Preimage, ok bool) {
	for _, r := range v.Revealed {
		if r.S < h.Expiry && h.Condition.FulfilledBy(r.Preimage) {
			return r.Preimage, true
		}
	}
	return preimage, false
}
