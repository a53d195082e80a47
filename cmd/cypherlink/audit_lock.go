package main

import (
	"slices"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// heldLock is a hash lock as its lane has it: what makes it, and what ends it, nil if nothing does.
type heldLock struct {
	lock channels.Lock
	end  channels.Operation
}

// lane is a lane's updates from its beginning: those up to the head that the chain has, and those after it
// that both banks have signed.
type lane struct {
	channel         *channels.Channel
	side            channels.Side
	anchored, after []*channels.Entry
	// broken: the log of no bank has one of the anchored updates.
	broken cypherlink.Hash
}

// followed are all lanes, each followed from its head in both directions by what the banks' logs say.
func (a *audit) followed() []lane {
	next := map[cypherlink.Hash]*channels.Entry{}
	for hash, e := range a.lanes.updates {
		if a.lanes.agreed[hash] {
			next[e.Update.Prev] = e
		}
	}
	var all []lane
	for id, c := range a.ledger[a.genesis.Chain()].channels.open {
		for i := range c.Lanes {
			l := lane{channel: c, side: channels.Side(i)}
			for at := c.Lanes[i].Head.Hash; at != cypherlink.Hash(id); {
				e := a.lanes.updates[at]
				if e == nil {
					l.broken = at
					break
				}
				l.anchored = append(l.anchored, e)
				at = e.Update.Prev
			}
			slices.Reverse(l.anchored)
			for e := next[c.Lanes[i].Head.Hash]; e != nil && l.goesOn(e); e = next[e.Update.Hash] {
				l.after = append(l.after, e)
			}
			all = append(all, l)
		}
	}
	return all
}

// goesOn tells whether an update belongs to the lane's present generation; a closed channel has none.
func (l *lane) goesOn(e *channels.Entry) bool {
	u := &e.Update
	return u.Channel == l.channel.ID && u.Lane == l.side && u.Gen == l.channel.Lanes[l.side].Gen &&
		l.channel.State != channels.Closed
}

// locks are those of a lane's updates.
func locksOf(entries ...[]*channels.Entry) map[channels.LockID]*heldLock {
	held := map[channels.LockID]*heldLock{}
	end := func(id channels.LockID, op channels.Operation) {
		if h := held[id]; h != nil && h.end == nil {
			h.end = op
		}
	}
	for _, e := range slices.Concat(entries...) {
		for _, op := range e.Operations {
			switch op := op.(type) {
			case channels.Lock:
				held[op.ID] = &heldLock{lock: op}
			case channels.Settle:
				end(op.Lock, op)
			case channels.Unlock:
				end(op.Lock, op)
			case channels.Pay:
			}
		}
	}
	return held
}

// sums are what a lane's anchored updates pay and keep locked.
func (l *lane) sums() (paid, locked cypherlink.Amount) {
	for _, e := range l.anchored {
		for _, op := range e.Operations {
			if pay, ok := op.(channels.Pay); ok {
				paid += pay.Amount
			}
		}
	}
	for _, h := range locksOf(l.anchored) {
		switch h.end.(type) {
		case channels.Settle:
			paid += h.lock.Amount
		case channels.Unlock:
		default:
			locked += h.lock.Amount
		}
	}
	return paid, locked
}

// compareSums holds what the chain says of a lane against its updates.
func (a *audit) compareSums(l *lane) {
	about, head := "channel "+l.channel.ID.String(), &l.channel.Lanes[l.side].Head
	if l.broken != (cypherlink.Hash{}) {
		a.differs(about, "lane %s: update %s is anchored, and in no bank's log", l.side, l.broken)
		return
	}
	scale := l.channel.Asset.Scale
	paid, locked := l.sums()
	if paid != head.Paid {
		a.differs(about, "lane %s: %s are paid by the chain, its payments are %s", l.side,
			head.Paid.Format(scale), paid.Format(scale))
	}
	if locked != head.Locked && l.channel.State != channels.Closed {
		a.differs(about, "lane %s: %s are locked by the chain, its locks are %s", l.side,
			head.Locked.Format(scale), locked.Format(scale))
	}
}

// readLocks makes custodies of the locks in all lanes.
func (a *audit) readLocks() {
	books := a.ledger[a.genesis.Chain()]
	if books == nil {
		return // why stands among the differences
	}
	for _, l := range a.followed() {
		for id, h := range locksOf(l.anchored, l.after) {
			a.lanes.locks[ledger.CustodyID(id)] = h.custody(l.channel, books)
		}
	}
}

// custody is how the lock stands as a custody: by what ends it, by the chain's word of its preimage, and by
// the chain's time. Its subject says no more than the lock does.
func (h *heldLock) custody(c *channels.Channel, chain *accounts) ledger.Custody {
	out := ledger.Custody{ID: ledger.CustodyID(h.lock.ID), State: ledger.Prepared}
	out.Subject.Condition, out.Subject.Fields = h.lock.Condition, terms.Leg{
		Asset: c.Asset, Amount: h.lock.Amount, Expiry: h.lock.Expiry,
	}
	at, revealed := chain.channels.revealed[h.lock.Condition]
	switch h.end.(type) {
	case channels.Settle:
		out.State = ledger.Confirmed
	case channels.Unlock:
		out.State = ledger.Returned
	default:
		switch {
		case revealed && at < h.lock.Expiry:
			out.State = ledger.Confirmed
		case chain.timeMS/1000 >= h.lock.Expiry || c.State == channels.Closed:
			out.State = ledger.Returned
		}
	}
	return out
}

// lockFor is the lock as which a leg of the terms moves; what is not in a channel as the terms have it is
// Absent, or keeps a subject that is not the terms'.
func (b *laneBook) lockFor(network cypherlink.NetworkID, t *terms.Terms, leg uint8) ledger.Custody {
	want := validator.Subject{Terms: t.Hash(), Leg: leg, Fields: t.Legs[leg], Condition: t.Condition}
	lock, _ := payment.LockOf(network, &want)
	held, ok := b.locks[ledger.CustodyID(lock.ID)]
	same := held.Subject.Condition == lock.Condition && held.Subject.Fields.Amount == lock.Amount &&
		held.Subject.Fields.Expiry == lock.Expiry && held.Subject.Fields.Asset == want.Fields.Asset
	if ok && same {
		held.Subject = want
	}
	return held
}

// unknownLocks are those that no payment knows.
func (a *audit) unknownLocks(known map[ledger.CustodyID]bool) {
	var lines []string
	for id, c := range a.lanes.locks {
		if !known[id] {
			lines = append(lines, "no payment knows lock "+id.String()+", which is "+c.State.String())
		}
	}
	slices.SortFunc(lines, strings.Compare)
	for _, line := range lines {
		a.differs(string(a.genesis.Chain()), "%s", line)
	}
}
