package channels

import (
	"slices"

	"github.com/cypherlink/cypherlink"
)

// Entry is an update in a bank's log, with what it does and the signatures of others on it.
type Entry struct {
	Update       Update
	Operations   []Operation
	Endorsements []Endorsement
	// Peer is the other bank's signature: the payer's in its lane; in one's own lane the payee's,
	// zero where the payee has signed a later one.
	Peer [64]byte
}

// logged is an entry with the locks that are open after it.
type logged struct {
	Entry
	open []Lock
}

// laneLog is a lane in a bank's log: of the current generation, from the anchored head on.
type laneLog struct {
	gen uint32
	// base is the anchored head; listed tells whether its locks are known.
	base   tip
	listed bool
	// from is the update of the anchored head; zero where the lane begins, or where this bank has not
	// got it.
	from Update
	// entries follow base without a gap. Of the own lane they are what was written, of the other
	// one what was countersigned. They are many where nothing is anchored, so no payment goes through all
	// of them.
	entries []logged
	// last is where the entries end.
	last tip
	// certified is the last update of which the certificate is held, bound the last one that binds
	// both banks. Neither is below base.
	certified, bound uint32
	// barred says that nothing is signed in this generation (L10).
	barred bool
}

// at is the entry of a sequence, nil at or below the anchored head and beyond the end.
func (l *laneLog) at(seq uint32) *Entry {
	if seq <= l.base.Seq || seq > l.last.Seq {
		return nil
	}
	return &l.entries[seq-l.base.Seq-1].Entry
}

// head is the lane's head at a sequence from base on.
func (l *laneLog) head(seq uint32) Head {
	if e := l.at(seq); e != nil {
		return e.Update.Head
	}
	return l.base.Head
}

// point is head with what it relies on: nothing, where it is anchored.
func (l *laneLog) point(seq uint32) Point {
	if e := l.at(seq); e != nil {
		return e.Update.Point()
	}
	return Point{Gen: l.gen, Head: l.base.Head}
}

// relied is what the reverse lane may rely on: what is bound or anchored.
func (l *laneLog) relied() cypherlink.Amount { return l.head(l.bound).Paid }

// locksAt are the locks that are open at a sequence. They are not to be changed.
func (l *laneLog) locksAt(seq uint32) []Lock {
	if seq <= l.base.Seq || len(l.entries) == 0 {
		return l.base.locks
	}
	return l.entries[min(seq, l.last.Seq)-l.base.Seq-1].open
}

func (l *laneLog) push(e Entry) {
	next, _ := l.last.apply(e.Operations) // the rules have applied it
	next.Head = e.Update.Head
	l.entries, l.last = append(l.entries, logged{e, next.locks}), next
}

// updateAt is the update of a sequence, zero if this bank has not got it.
func (l *laneLog) updateAt(seq uint32) Update {
	if e := l.at(seq); e != nil {
		return e.Update
	}
	if l.from.Seq == seq {
		return l.from
	}
	return Update{}
}

// rebase makes the head, which is one of the log's, its base.
func (l *laneLog) rebase(seq uint32) {
	locks := l.locksAt(seq)
	l.from = l.updateAt(seq)
	l.base, l.entries = tip{l.head(seq), locks}, slices.Clone(l.entries[seq-l.base.Seq:])
	l.certified, l.bound = max(l.certified, seq), max(l.bound, seq)
}

// begin starts a lane at an anchored head of which the log may not know the locks.
func (l *laneLog) begin(gen uint32, head Head, locks []Lock, listed bool) {
	t := tip{head, locks}
	*l = laneLog{
		gen: gen, base: t, last: t, listed: listed || head.Locked == 0,
		certified: head.Seq, bound: head.Seq, barred: l.barred && gen == l.gen,
	}
}
