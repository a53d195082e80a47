package payment

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// How locks lie in the store: the stream locks has what has become final of them in all of the bank's
// channels, in the order in which it did; the stream lock/ID the payer's Prepare of one lock, and then
// which of those events are about it; the record lock_condition/CONDITION is the lock that has it.

const locksStream = "locks"

func lockStream(id channels.LockID) string { return "lock/" + id.String() }

func conditionRecord(c cypherlink.Condition) string { return "lock_condition/" + c.String() }

// Locks are the hash locks in a bank's channels: what was prepared, and what has become of it. It is safe
// for concurrent use.
type Locks struct {
	of *Tellers

	mu      sync.Mutex
	changed chan struct{}
}

func newLocks(of *Tellers) *Locks { return &Locks{of: of, changed: make(chan struct{})} }

// Locks are those in the institution's channels.
func (s *Tellers) Locks() *Locks { return s.locks }

// told wakes whoever waits for events.
func (l *Locks) told() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

// Changed is closed when there are later events.
func (l *Locks) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// LockRecord is what the bank's store has of a lock.
type LockRecord struct {
	// Prepare is its payer's signed command, nil if there is none.
	Prepare *ledger.SignedCommand
	// Last is the last event, nil if nothing has become final.
	Last *LockEvent
}

// Content is the command of the record, which has one.
func (r *LockRecord) Content() *ledger.Prepare {
	if r.Prepare == nil {
		return nil
	}
	p, _ := r.Prepare.Command.(*ledger.Prepare)
	return p
}

// Find is the record of a lock, empty if there is none.
func (l *Locks) Find(ctx context.Context, id channels.LockID) (record LockRecord, err error) {
	err = l.of.Store.View(ctx, func(r *store.Reader) (err error) {
		record, err = loadLock(r, id)
		return err
	})
	return record, err
}

func loadLock(r *store.Reader, id channels.LockID) (LockRecord, error) {
	stored, err := r.Load(lockStream(id), 0)
	if err != nil || len(stored) == 0 {
		return LockRecord{}, err
	}
	record := LockRecord{}
	if record.Prepare, err = ledger.DecodeCommand(stored[0].Body); err != nil {
		return LockRecord{}, fmt.Errorf("%s: %w", lockStream(id), err)
	}
	if len(stored) == 1 {
		return record, nil
	}
	at, err := decodePlace(stored[len(stored)-1].Body)
	if err != nil {
		return LockRecord{}, fmt.Errorf("%s: %w", lockStream(id), err)
	}
	events, err := eventsAfter(r, at-1, 1)
	switch {
	case err != nil:
		return LockRecord{}, err
	case len(events) == 0 || events[0].Lock != id:
		return LockRecord{}, fmt.Errorf("%s: event %d is not about it: %w", lockStream(id), at, ErrLock)
	}
	record.Last = &events[0]
	return record, nil
}

// File keeps a payer's signed Prepare of a lock, durably: the same again changes nothing, other content is
// ledger.CodeCustodyDiffers, a condition that another lock has ledger.CodeConditionUsed. Nothing is locked
// by it, and the rules of the ledger the caller has applied.
func (l *Locks) File(ctx context.Context, command *ledger.SignedCommand) error {
	p, ok := command.Command.(*ledger.Prepare)
	if !ok {
		return fmt.Errorf("%T: %w", command.Command, ErrLock)
	}
	id := channels.LockID(p.About(l.of.Genesis.Network()))
	err := l.of.Store.Update(ctx, func(tx *store.Tx) error {
		record, err := loadLock(&tx.Reader, id)
		if err != nil {
			return err
		}
		if have := record.Content(); have != nil {
			if have.Subject != p.Subject || !bytes.Equal(have.Packet, p.Packet) {
				return refuse(ledger.CodeCustodyDiffers, "DU03",
					"the lock was prepared with other content", nil)
			}
			return nil
		}
		under, err := tx.Get(conditionRecord(p.Subject.Condition))
		if err != nil {
			return err
		}
		if under != nil {
			return refuse(ledger.CodeConditionUsed, "DU03", "another lock has the condition", nil)
		}
		if err := tx.Put(conditionRecord(p.Subject.Condition), id[:]); err != nil {
			return err
		}
		return tx.Append(lockStream(id), 0, store.Event{Kind: "prepare", Body: command.Encode()})
	})
	if t := l.teller(p); err == nil && t != nil {
		t.tell(tellerInput{lock: &lockOrder{filed: true, id: id}})
	}
	return err
}

// Offer gives a Prepare to the payee of its lock, who keeps it or refuses it.
func (l *Locks) Offer(ctx context.Context, command *ledger.SignedCommand) error {
	p, ok := command.Command.(*ledger.Prepare)
	if !ok {
		return fmt.Errorf("%T: %w", command.Command, ErrLock)
	}
	ctx, cancel := context.WithTimeout(ctx, callPatience*l.of.Lanes.Resend)
	defer cancel()
	_, err := l.of.Peers.Call(ctx, p.Subject.Fields.Credit.Owner, KindLock, command.Encode())
	return err
}

// teller is that of the open channel in which the Prepare's leg moves, or nil.
func (l *Locks) teller(p *ledger.Prepare) *teller {
	return l.of.across(&p.Subject.Fields)
}

// Channel is the open channel in which a leg of a Prepare moves, or nil. The caller does not change it.
func (l *Locks) Channel(p *ledger.Prepare) *Channel {
	if t := l.teller(p); t != nil {
		return t.shown.Load()
	}
	return nil
}

// Make has a lock made of a Prepare that is filed here and at the lane's payee: it is done when an event
// tells. The channel that comes back takes what is refused, or ErrNotNow.
func (l *Locks) Make(p *ledger.Prepare) <-chan error {
	reply := make(chan error, 1)
	if t := l.teller(p); t != nil {
		t.tell(tellerInput{lock: &lockOrder{make: p, reply: reply}})
	} else {
		reply <- fmt.Errorf("no open channel: %w", ErrNotNow)
	}
	return reply
}

// Learn tells the channel of a lock its preimage: to be paid for it, or to pay (H1, H3). Reply is as that
// of Make.
func (l *Locks) Learn(at channels.ID, id channels.LockID, preimage cypherlink.Preimage) <-chan error {
	return l.order(at, &lockOrder{learn: &preimage, id: id})
}

// Fail gives up a lock in the other bank's lane, before its expiry too (H4). Reply is as that of Make.
func (l *Locks) Fail(at channels.ID, id channels.LockID) <-chan error {
	return l.order(at, &lockOrder{fail: true, id: id})
}

func (l *Locks) order(at channels.ID, o *lockOrder) <-chan error {
	o.reply = make(chan error, 1)
	if t := l.of.teller(at); t != nil {
		t.tell(tellerInput{lock: o})
	} else {
		o.reply <- fmt.Errorf("channel %s is not taken up: %w", at, ErrNotNow)
	}
	return o.reply
}

// Present is the final block time, in milliseconds since 1970, up to which all of the bank's channels have
// been looked at. It is ErrNotNow while one of them is not, and while it is not known whether there will be
// a custody of that lock. A channel that has paid out may have been followed by nobody while it did, so it
// is looked at too until all is told of its locks.
func (l *Locks) Present(id channels.LockID) (nowMS int64, err error) {
	all, err := l.of.Chain.Channels()
	if err != nil {
		return 0, err
	}
	var over *channels.Channel
	for _, ch := range all {
		if _, ours := ch.Side(l.of.ID); !ours {
			continue
		}
		t := l.of.teller(ch.ID)
		if t == nil {
			if !l.of.kept(ch.ID) {
				return 0, fmt.Errorf("channel %s is not taken up: %w", ch.ID, ErrNotNow)
			}
			over = ch
			continue
		}
		at := t.shown.Load().Now.S * 1000 // before it is asked: what is shown later may have more
		if t.undecides(id) {
			return 0, fmt.Errorf("lock %s is not bound: %w", id, ErrNotNow)
		}
		if nowMS == 0 || at < nowMS {
			nowMS = at
		}
	}
	if nowMS == 0 && over != nil { // a payment may outlive the last channel
		v, err := l.of.Chain.View(over.ID, nil)
		return v.Now.S * 1000, err
	}
	if nowMS == 0 {
		return 0, fmt.Errorf("there is no channel: %w", ErrNotNow)
	}
	return nowMS, nil
}

// Bank is the one whose channels they are, and Registry who may speak now.
func (l *Locks) Bank() cypherlink.ParticipantID { return l.of.ID }

// Registry is who may speak now.
func (l *Locks) Registry() chain.Roll { return l.of.Chain.Registry() }

// Count is the sequence of the last event.
func (l *Locks) Count(ctx context.Context) (n uint64, err error) {
	err = l.of.Store.View(ctx, func(r *store.Reader) error {
		at, err := lastEvent(r)
		n = uint64(at) //nolint:gosec // counts
		return err
	})
	return n, err
}

// Events are those after a sequence, with the Prepares of their locks, at most as many.
func (l *Locks) Events(ctx context.Context, after uint64, most int) (events []LockRecord, err error) {
	err = l.of.Store.View(ctx, func(r *store.Reader) error {
		all, err := eventsAfter(r, int64(after), most) //nolint:gosec // counts
		if err != nil {
			return err
		}
		events = make([]LockRecord, len(all))
		for i := range all {
			record, err := loadLock(r, all[i].Lock)
			if err != nil {
				return err
			}
			events[i] = LockRecord{record.Prepare, &all[i]}
		}
		return nil
	})
	return events, err
}
