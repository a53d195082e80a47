package payment

import (
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/terms"
)

// A direct payment goes over a channel of the two banks: one asset, one leg, no connector, no
// custody. It is agreed and judged as any other; then its customer's money is held, and the channel's
// goroutine has it until the chain has decided; then it is booked.

// void is why an aborted payment ended.
func void() *cypherlink.Error {
	return refuse(CodeVoid, "ED05", "the channel's generation ended without the payment", nil)
}

// laned is the fold of what became of a payment in a channel: of either bank's machine.
type laned struct {
	// channel is over which an outgoing payment goes.
	channel channels.ID
	// last is how far it has come, zero if it was never written.
	last Laned
	// booked is what the own books did last, zero if nothing.
	booked Entered
	// returning is the payment that brings the money back, zero if none does.
	returning cypherlink.UETR
}

// apply folds a fact and gives the status that follows.
func (l *laned) apply(f Fact, now Status) Status {
	switch f := f.(type) {
	case Held:
		return StatusReserved
	case Laned:
		l.last = f
		if now == StatusExpired || now == StatusAborted { // this bank had given it up
			return StatusReturnPending
		}
		return [...]Status{
			Signed: StatusSigned1, Doubtful: StatusInDoubt, Binding: StatusSigned2, Anchored: StatusSettled,
			Void: StatusAborted,
		}[f.Stage]
	case Booked:
		l.booked = f.Entry
		switch {
		case f.Entry == EnteredPost && now == StatusSettled:
			return StatusPosted
		case f.Entry == EnteredRefuse:
			return StatusReturnPending
		}
	case Credited:
		return StatusCompleted
	case Returning:
		l.returning = f.By
		return StatusReturnPending
	case Returned:
		return StatusReturned
	default:
	}
	return now
}

// news tells whether an input of a channel says more than is known.
func (l *laned) news(in Laned) bool {
	switch l.last.Stage {
	case Anchored:
		return false
	case Void: // but the payer may write it again
		return in.Stage == Anchored && in.Update != l.last.Update
	case Signed, Doubtful, Binding:
	}
	return in.Stage > l.last.Stage
}

// pays tells whether the lane moves what was agreed. The Validators look too, where the asset asks for
// it; but it is the paid bank that would credit what it has not got.
func (in *InLane) pays(t *terms.Terms) bool {
	leg := &t.Legs[terms.Source]
	return len(t.Legs) == 1 && in.Terms == t.Hash() && in.Payer == t.Payer &&
		in.Money == Money{leg.Asset, leg.Amount}
}

// direct tells whether the payment goes over a channel.
func (o *outgoing) direct() bool { return o.route != nil && o.route.direct() }

// InChannel tells whether the channel's goroutine has the payment: its money is held, and the chain
// has not decided yet.
func (o *Outgoing) InChannel() bool {
	switch o.status {
	case StatusReserved, StatusSigned1, StatusInDoubt, StatusSigned2:
		return o.direct()
	case "", StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusValidating,
		StatusApproved, StatusSettled, StatusRejected, StatusExpired, StatusPosted, StatusCompleted,
		StatusAborted, StatusReturnPending, StatusReturned:
	}
	return false
}

// draftDirect draws up terms of one leg.
func (o *Outgoing) draftDirect(now time.Time, a *SetupAnswer) (*Drafted, error) {
	file, err := kyc.NewFile(o.disclosure, &a.Answer)
	if err != nil {
		return nil, err
	}
	t := &terms.Terms{
		Network: o.bank.Genesis.Network(), UETR: o.instructed.Instruction.UETR,
		Payer: o.bank.ID, Payee: o.route.Payee,
		Legs: []terms.Leg{{
			Asset: o.route.Source, Amount: o.route.Amount, Expiry: now.Add(o.bank.DirectHold).Unix(),
			Debit:  cypherlink.Account{Owner: o.bank.ID, Number: o.bank.Account},
			Credit: a.Account,
		}},
		KYC: file.Root(),
	}
	return &Drafted{Terms: t}, t.Valid()
}

// openDirect are the questions that the present state of a direct payment asks.
func (o *Outgoing) openDirect() []Question {
	switch o.status {
	case StatusNegotiating:
		if o.setup == nil {
			return []Question{QuestionSetup}
		}
		return []Question{QuestionTerms}
	case StatusAgreed:
		return []Question{QuestionVerdicts}
	case StatusApproved:
		return []Question{QuestionHold}
	case StatusSettled, StatusRejected, StatusExpired, StatusAborted:
		if o.entry() != o.lane.booked {
			return []Question{QuestionBook}
		}
	case StatusReturnPending:
		return []Question{QuestionReturn}
	case "", StatusReceived, StatusChecked, StatusValidating, StatusReserved, StatusSigned1, StatusInDoubt,
		StatusSigned2, StatusPosted, StatusCompleted, StatusReturned:
	}
	return nil
}

// overDirect tells whether nothing can change any more.
func (o *Outgoing) overDirect() bool {
	switch o.status {
	case StatusCompleted, StatusReturned:
		return true
	case StatusRejected, StatusExpired, StatusAborted:
		return o.entry() == o.lane.booked
	case "", StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusValidating,
		StatusApproved, StatusReserved, StatusSettled, StatusSigned1, StatusInDoubt, StatusSigned2,
		StatusPosted, StatusReturnPending:
	}
	return false
}

// entry is what the own books have to have done at the end: zero if they were never asked.
func (o *outgoing) entry() Entered {
	switch {
	case o.lane.last.Stage == Anchored:
		return EnteredPost
	case o.judged[terms.Source]: // from then on a hold may be made
		return EnteredRelease
	}
	return 0
}

// posting is what the payment asks of the bank's own books.
func (o *outgoing) posting() Posting {
	i := o.instructed.Instruction
	return Posting{
		Payment: i.UETR, Direction: Out, Customer: i.Debtor.Account, Returns: i.Returns,
		Money: Money{o.route.Source, o.route.Amount}, Channel: o.lane.channel,
	}
}

// overChannel turns what becomes of a direct payment into facts.
func (o *Outgoing) overChannel(now time.Time, in Input) []Fact {
	switch in := in.(type) {
	case GotHold:
		if o.status == StatusApproved {
			return []Fact{Held{}}
		}
	case InLane:
		if o.InChannel() && in.pays(o.drafted.Terms) && o.lane.news(in.Laned) {
			return []Fact{in.Laned}
		}
	case NotInLane:
		if o.status == StatusReserved {
			return []Fact{Ended{StatusRejected, in.Refusal}}
		}
	case GotBooked:
		if in.Entry == o.entry() && o.lane.booked != in.Entry && o.status.Final() {
			return []Fact{Booked(in)}
		}
	case GotCredited:
		if o.status == StatusPosted {
			return []Fact{Credited(in)}
		}
	case GotReturning: // another one, if the first has failed
		if o.status == StatusPosted || o.status == StatusReturnPending && o.lane.returning != in.By &&
			!o.namedLately(now) {
			return []Fact{Returning(in)}
		}
	case GotReturned:
		if o.status == StatusReturnPending {
			return []Fact{Returned(in)}
		}
	default:
	}
	return nil
}

// namedLately tells whether the creditor's bank has just named a payment that brings the money back, so that
// it has no other one yet.
func (o *outgoing) namedLately(now time.Time) bool {
	return o.status == StatusReturnPending && now.Before(o.updated.Add(returnPause))
}
