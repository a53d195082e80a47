// Package chainledger is the Cypherium ledger, the committee chain, as a ledger.Ledger.
//
// Its noun is the Ledger: a participant's hand on the chain. Commands go to every member, and
// what becomes of them is read from the participant's own follower, which has verified and
// re-executed every block. It takes no member's word that something is final, and a refusal
// only if so many members agree that one of them is honest, none of them behind the follower.
// Source: the design of the committee chain, "Transactions" and finality proofs.
package chainledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrOptions means that a ledger cannot run with what it is given.
var ErrOptions = errors.New("chainledger: unusable options")

const (
	// waitMS is how long a member may hold back that a command is pending, in milliseconds.
	waitMS = 10_000
	// pause is how long a member that could not be asked, or whose word did not count, is
	// left alone.
	pause = 100 * time.Millisecond
)

// Member is a committee member that takes commands: *submit.Member is one. Its calls end
// with ctx.
type Member interface {
	// Submit hands in a transaction and gives that member's word on it.
	Submit(ctx context.Context, call follow.Submission) (follow.Outcome, error)
}

// Ledger is the chain as its users see it. It is safe for concurrent use.
type Ledger struct {
	charter  *ledger.Charter
	follower *follow.Follower
	members  []Member
	// honest is so many members that one of them is honest.
	honest int
}

var _ ledger.Ledger = (*Ledger)(nil)

// New makes the ledger of a follower that runs, and of all members of the committee; fewer
// are ErrOptions.
func New[M Member](
	genesis *chain.Genesis, follower *follow.Follower, members []M,
) (*Ledger, error) {
	charter, err := genesis.Charter(genesis.Chain())
	if err != nil {
		return nil, err
	}
	charter.Verifier = nil // a command is handed in once, and its verdicts are the members' business
	if n := len(genesis.File().KeyBlock.Members); len(members) != n {
		return nil, fmt.Errorf("%d members, the committee has %d: %w", len(members), n, ErrOptions)
	}
	l := &Ledger{charter: charter, follower: follower, honest: cosi.MaxFaulty(len(members)) + 1}
	for _, m := range members {
		l.members = append(l.members, m)
	}
	return l, nil
}

// Lookup implements ledger.Ledger.
func (l *Ledger) Lookup(ctx context.Context, id ledger.CustodyID) (ledger.Receipt, error) {
	return l.follower.Receipt(ctx, id)
}

// Events implements ledger.Ledger.
func (l *Ledger) Events(ctx context.Context, after ledger.Cursor) iter.Seq2[ledger.Event, error] {
	return l.follower.Events(ctx, after)
}

// charterNow is the charter with whoever may speak by the registry that the follower has verified.
func (l *Ledger) charterNow() *ledger.Charter {
	now, roll := *l.charter, l.follower.Registry()
	now.Keys, now.Signers = roll, roll
	return &now
}

// Submit implements ledger.Ledger. The command goes to every member at once and again until
// something is known, so a member that keeps it back, restarts or is down costs nothing.
//
// A refusal for want of funds, account or custody says what the final state of then was.
// Until the command's expiry a dishonest member can still have it included when that has
// changed: that it never will be, Lookup says by its time.
func (l *Ledger) Submit(ctx context.Context, command *ledger.SignedCommand) (ledger.Receipt, error) {
	if command.Crosses() {
		return ledger.Receipt{}, &cypherlink.Error{
			Code: ledger.CodeMalformed, Reason: "FF01", Message: "the command is about no custody",
		}
	}
	if err := l.charterNow().Authenticate(command)[0]; err != nil {
		return ledger.Receipt{}, err
	}
	id := ledger.CustodyID(command.Command.About(command.Network))
	err := l.await(ctx, command, func() (bool, error) {
		standing, err := l.follower.Standing(id)
		return err == nil && stands(&standing, command.Command), err
	})
	if err != nil {
		return ledger.Receipt{}, err
	}
	return l.follower.Receipt(ctx, id)
}

// await hands the command to all members until done is true, or so many have refused that one of
// them is honest.
func (l *Ledger) await(
	ctx context.Context, command *ledger.SignedCommand, done func() (bool, error),
) error {
	err := l.HandIn(ctx, state.Command{Signed: command}, done)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("command about %s: %w", command.Command.About(command.Network), err)
	}
	return err
}

// HandIn hands a transaction to all members at once, and again, until done is true or fails, or until
// so many have refused it that one of them is honest: then a *cypherlink.Error. Done is asked before,
// and after each final block that the follower has verified. At the end of ctx it is not known whether
// the transaction has taken effect.
func (l *Ledger) HandIn(ctx context.Context, body state.Body, done func() (bool, error)) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	words, asked := make(chan word), false
	heard := tally{from: l.follower.Head().Height, refused: map[int]*cypherlink.Error{}}
	for {
		changed := l.follower.Changed()
		if ok, err := done(); ok || err != nil {
			return err
		}
		if !asked {
			asked = true
			tx := state.NewTransaction(body)
			for i, m := range l.members {
				asking.Go(func() { press(ctx, i, m, tx, words) })
			}
		}
		select {
		case w := <-words:
			if refusal := heard.add(w, l.honest); refusal != nil {
				return refusal
			}
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stands tells whether the custody is as the command wants it: then it has taken effect, or
// would be a repetition.
func stands(c *ledger.Custody, command ledger.Command) bool {
	switch want := command.(type) {
	case *ledger.Prepare:
		return c.State != ledger.Absent && c.Subject == want.Subject && bytes.Equal(c.Packet, want.Packet)
	case *ledger.Confirm:
		return c.State == ledger.Confirmed && c.Subject.Condition.FulfilledBy(want.Preimage)
	case *ledger.Return:
		return c.State == ledger.Returned
	default:
		return false
	}
}

// word is what one member said last.
type word struct {
	member  int
	outcome follow.Outcome
}

// press asks a member again and again until ctx ends.
func press(ctx context.Context, member int, m Member, tx *state.Transaction, words chan<- word) {
	for ctx.Err() == nil {
		outcome, err := m.Submit(ctx, follow.Submission{WaitMS: waitMS, Transaction: tx})
		if err == nil {
			select {
			case words <- word{member, outcome}:
			case <-ctx.Done():
			}
		}
		rest(ctx)
	}
}

// rest waits a little, or until ctx ends.
func rest(ctx context.Context) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// tally is the members' last words.
type tally struct {
	// from is the height below which a refusal does not count: its member does not know yet
	// what the submitter knew.
	from    uint64
	refused map[int]*cypherlink.Error
}

// add gives the refusal that so many members agree on, or nil.
func (t *tally) add(w word, honest int) *cypherlink.Error {
	refusal := w.outcome.Refusal
	switch {
	case w.outcome.Status != follow.Refused || w.outcome.Height < t.from || refusal == nil,
		refusal.Code == ledger.CodeLapsed: // that is for block time to say, not for members' clocks
		delete(t.refused, w.member)
		return nil
	}
	t.refused[w.member] = refusal
	agree := 0
	for _, other := range t.refused {
		if other.Code == refusal.Code {
			agree++
		}
	}
	if agree < honest {
		return nil
	}
	return refusal
}
