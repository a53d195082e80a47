package laneledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// ErrOptions means that a ledger cannot run with what it is given.
var ErrOptions = errors.New("laneledger: unusable options")

// eventsAtOnce is how many events are read at a time.
const eventsAtOnce = 256

// Options make a Ledger. Every field is needed.
type Options struct {
	Genesis *chain.Genesis
	// Locks are those of the bank that Identity is.
	Locks    *payment.Locks
	Identity connector.Signer
	// Resend is how long a command waits for its effect before the lane is told again.
	Resend time.Duration
}

// Ledger is a bank's end of its channels. It is safe for concurrent use.
type Ledger struct {
	Options
	charter *ledger.Charter
}

var _ ledger.Ledger = (*Ledger)(nil)

// New refuses with ErrOptions what cannot work.
func New(o Options) (*Ledger, error) {
	if o.Genesis == nil || o.Locks == nil || o.Identity == nil || o.Resend <= 0 {
		return nil, fmt.Errorf("a part is missing: %w", ErrOptions)
	}
	if o.Identity.ID() != o.Locks.Bank() {
		return nil, fmt.Errorf("identity of %s, channels of %s: %w",
			o.Identity.ID(), o.Locks.Bank(), ErrOptions)
	}
	charter, err := o.Genesis.Charter(o.Genesis.Chain())
	if err != nil {
		return nil, err
	}
	charter.Channels = true
	return &Ledger{o, charter}, nil
}

// charterFor is the charter with whoever may speak by the own follower, for a leg in that channel.
func (l *Ledger) charterFor(ch *payment.Channel) *ledger.Charter {
	now, roll := *l.charter, l.Locks.Registry()
	now.Keys, now.Signers = roll, roll
	if ch != nil {
		now.MinExpiry = max(now.MinExpiry, ch.Limits.MinExpiryS)
	}
	return &now
}

// judged is a command by the rules, with what the store has of its lock.
type judged struct {
	// want is the custody as the command leaves it.
	want   ledger.Custody
	record payment.LockRecord
	// due tells whether the custody's expiry has come.
	due bool
}

// judge applies the rules to a command of the own bank's, or to a Prepare of the other bank's. A repeated
// one is ledger.ErrRepeated.
func (l *Ledger) judge(ctx context.Context, command *ledger.SignedCommand) (j judged, err error) {
	b := book{self: l.Locks.Bank()}
	if p, ok := command.Command.(*ledger.Prepare); ok {
		b.channel = l.Locks.Channel(p)
	}
	charter := l.charterFor(b.channel)
	if err := charter.Authenticate(command)[0]; err != nil {
		return j, err
	}
	b.id = ledger.CustodyID(command.Command.About(command.Network))
	if b.record, err = l.Locks.Find(ctx, channels.LockID(b.id)); err != nil {
		return j, err
	}
	nowMS, err := l.Locks.Present(channels.LockID{})
	if err != nil {
		return j, err
	}
	want, err := charter.Apply(&b, nowMS, command)
	return judged{want, b.record, want.Expired(nowMS)}, err
}

// Submit implements ledger.Ledger. A Prepare is handed in at its payer's end, a Return before the expiry at
// its payee's, everything else at either.
func (l *Ledger) Submit(ctx context.Context, command *ledger.SignedCommand) (ledger.Receipt, error) {
	if command.Crosses() {
		return ledger.Receipt{}, refuse(ledger.CodeMalformed, "FF01", "the command is about no custody", nil)
	}
	j, err := l.judge(ctx, command)
	switch {
	case errors.Is(err, ledger.ErrRepeated):
		return l.receipt(&j.record)
	case err != nil:
		return ledger.Receipt{}, err
	}
	if err := l.place(command.Command, &j); err != nil {
		return ledger.Receipt{}, err
	}
	if _, ok := command.Command.(*ledger.Prepare); ok {
		if err := l.Locks.File(ctx, command); err != nil {
			return ledger.Receipt{}, err
		}
		if err := l.Locks.Offer(ctx, command); err != nil {
			return ledger.Receipt{}, err
		}
	}
	return l.await(ctx, command.Command, &j)
}

// place refuses what the other end has to do.
func (l *Ledger) place(command ledger.Command, j *judged) error {
	leg := j.want.Leg()
	switch command.(type) {
	case *ledger.Prepare:
		if leg.Debit.Owner != l.Locks.Bank() {
			return refuse(ledger.CodeNotAllowed, "DS0H", "a lock is prepared at its payer's end", nil)
		}
	case *ledger.Return:
		if !j.due && leg.Credit.Owner != l.Locks.Bank() {
			return refuse(ledger.CodeNotAllowed, "DS0H",
				"before the expiry a lock is given back at its payee's end", nil)
		}
	case *ledger.Confirm, *ledger.Leave, *ledger.Enter:
	}
	return nil
}

// Take answers payment.KindLock of a participant whom the caller has authenticated: it keeps the other
// bank's Prepare of a lock that is to come, or refuses it by the rules.
func (l *Ledger) Take(ctx context.Context, from cypherlink.ParticipantID, body []byte) error {
	command, err := ledger.DecodeCommand(body)
	if err != nil {
		return refuse(ledger.CodeMalformed, "FF01", "the message is malformed", err)
	}
	if _, ok := command.Command.(*ledger.Prepare); !ok || from != command.Signer {
		return refuse(ledger.CodeNotAllowed, "DS0H", "the command is no Prepare of its sender's", nil)
	}
	_, err = l.judge(ctx, command)
	if err == nil {
		err = l.Locks.File(ctx, command)
	}
	if errors.Is(err, ledger.ErrRepeated) {
		return nil
	}
	return err
}

// await tells the lane what is wanted, again and again, until an event says how the custody stands.
func (l *Ledger) await(ctx context.Context, command ledger.Command, j *judged) (ledger.Receipt, error) {
	again := time.NewTicker(l.Resend)
	defer again.Stop()
	want := &j.want
	id := channels.LockID(want.ID)
	refused := l.order(command, j)
	for {
		changed := l.Locks.Changed()
		record, err := l.Locks.Find(ctx, id)
		if err != nil {
			return ledger.Receipt{}, err
		}
		if record.Last != nil && (record.Last.State == want.State || record.Last.State > ledger.Prepared) {
			return l.outcome(&record, want)
		}
		select {
		case <-changed:
		case err := <-refused:
			return ledger.Receipt{}, refusal(err)
		case <-again.C:
			refused = l.order(command, j)
		case <-ctx.Done():
			return ledger.Receipt{}, fmt.Errorf("lock %s: %w", id, context.Cause(ctx))
		}
	}
}

// outcome is the receipt of an event, if it is what was wanted.
func (l *Ledger) outcome(record *payment.LockRecord, want *ledger.Custody) (ledger.Receipt, error) {
	switch got := record.Last.State; {
	case got == want.State || want.State == ledger.Prepared:
		return l.receipt(record)
	case got == ledger.Confirmed:
		return ledger.Receipt{}, refuse(ledger.CodeAlreadyPaid, "ED05", "the custody was confirmed", nil)
	default:
		return ledger.Receipt{}, refuse(ledger.CodeAlreadyReturned, "ED05", "the custody was returned", nil)
	}
}

// order tells the lane what a command wants of it. What comes back takes a refusal.
func (l *Ledger) order(command ledger.Command, j *judged) <-chan error {
	switch c := command.(type) {
	case *ledger.Prepare:
		return l.Locks.Make(c)
	case *ledger.Confirm:
		return l.Locks.Learn(j.record.Last.Channel, j.record.Last.Lock, c.Preimage)
	case *ledger.Return:
		if j.want.Leg().Credit.Owner == l.Locks.Bank() {
			// refused once the preimage has left: then the chain decides
			l.Locks.Fail(j.record.Last.Channel, j.record.Last.Lock)
		}
	case *ledger.Leave, *ledger.Enter:
	}
	return nil // an event tells
}

// Lookup implements ledger.Ledger. While it is not known whether a lock that was signed will be bound, it
// is payment.ErrNotNow: that there is no custody would not be final.
func (l *Ledger) Lookup(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	nowMS, undecided := l.Locks.Present(channels.LockID(id)) // before the store is read
	record, err := l.Locks.Find(ctx, channels.LockID(id))
	if err != nil {
		return ledger.Receipt{}, err
	}
	if record.Last != nil {
		return l.receipt(&record)
	}
	if undecided != nil {
		return ledger.Receipt{}, undecided
	}
	count, err := l.Locks.Count(ctx)
	if err != nil {
		return ledger.Receipt{}, err
	}
	return l.absent(id, count, nowMS)
}

// Events implements ledger.Ledger.
func (l *Ledger) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for ctx.Err() == nil {
			changed := l.Locks.Changed()
			events, err := l.events(ctx, after)
			if err != nil {
				if ctx.Err() == nil {
					yield(ledger.Event{}, err)
				}
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
				after = e.Cursor
			}
			if len(events) == 0 {
				wait(ctx, changed)
			}
		}
	}
}

func wait(ctx context.Context, changed <-chan struct{}) {
	select {
	case <-changed:
	case <-ctx.Done():
	}
}

// events are the next ones after a cursor, if there are any.
func (l *Ledger) events(ctx context.Context, after ledger.Cursor) ([]ledger.Event, error) {
	records, err := l.Locks.Events(ctx, uint64(after), eventsAtOnce)
	if err != nil {
		return nil, err
	}
	events := make([]ledger.Event, len(records))
	for i := range records {
		receipt, err := l.receipt(&records[i])
		if err != nil {
			return nil, err
		}
		events[i] = ledger.Event{Cursor: ledger.Cursor(receipt.Sequence), Receipt: receipt}
	}
	return events, nil
}
