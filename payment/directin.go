package payment

import (
	"io"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/terms"
)

// direct tells whether the payment comes over a channel.
func (m *incoming) direct() bool { return m.promised != nil && len(m.promised.Legs) == 1 }

// overDirect tells whether nothing can change any more. What was given up may still arrive.
func (m *incoming) overDirect() bool {
	switch m.status {
	case StatusRejected, StatusExpired, StatusAborted, StatusCompleted, StatusReturned:
		return true
	case "", StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusValidating,
		StatusApproved, StatusReserved, StatusSettled, StatusSigned1, StatusInDoubt, StatusSigned2,
		StatusPosted, StatusReturnPending:
	}
	return false
}

// deadlineDirect is when a payment that is not written into the channel is given up: after the terms'
// expiry, as long as a message may be under way.
func (m *Incoming) deadlineDirect() (at time.Time, ok bool) {
	if m.status != StatusAgreed {
		return time.Time{}, false
	}
	return time.Unix(m.promised.Legs[terms.Source].Expiry, 0).Add(m.bank.Patience.Negotiate), true
}

// overChannel turns what becomes of a direct payment into facts.
func (m *Incoming) overChannel(in Input) []Fact {
	if !m.direct() {
		return nil
	}
	switch in := in.(type) {
	case InLane:
		if in.pays(m.promised) && m.counts(in.Laned) {
			return []Fact{in.Laned}
		}
	case GotBooked:
		posted := in.Entry == EnteredPost && m.status == StatusSettled
		if m.lane.booked == 0 && (posted || in.Entry == EnteredRefuse && m.arrived()) {
			return []Fact{Booked(in)}
		}
	case GotCredited:
		if m.status == StatusPosted || m.staysHere() {
			return []Fact{Credited(in)}
		}
	case GotReturning:
		if m.lane.booked == EnteredRefuse && m.lane.returning != in.By {
			return []Fact{Returning(in)}
		}
	case GotReturned:
		if m.status == StatusReturnPending && !m.lane.returning.IsZero() {
			return []Fact{Returned(in)}
		}
	default:
	}
	return nil
}

// counts tells whether how far the payment has come in the lane is news here. What was given up, or was
// void, counts again once it is anchored.
func (m *incoming) counts(at Laned) bool {
	over := m.status == StatusExpired || m.status == StatusAborted
	return at.Stage >= Binding && m.lane.news(at) && (!over || at.Stage == Anchored)
}

// staysHere tells whether the payment brings another one's money back, and the account has not taken that
// either: it stays with this bank, whose customer it is owed to, and does not go back again.
func (m *incoming) staysHere() bool {
	return m.status == StatusReturnPending && m.lane.booked == EnteredRefuse &&
		!m.announced.Setup.Returns.IsZero()
}

// arrived tells whether the money is here and not posted yet.
func (m *incoming) arrived() bool {
	return m.lane.last.Stage == Anchored && (m.status == StatusSettled || m.status == StatusReturnPending)
}

// posting is what the payment asks of the bank's own books.
func (m *Incoming) posting() Posting {
	setup := m.announced.Setup
	return Posting{
		Payment: setup.UETR, Direction: In, Customer: setup.Disclosure.Creditor.Account,
		Money: Money{setup.Asset, setup.Amount}, Channel: m.lane.last.Channel,
	}
}

// returning is the order that brings the money back to whom it came from: the same data with its
// parties exchanged.
func (m *Incoming) returningOrder(random io.Reader) (*Instruction, error) {
	uetr, err := cypherlink.NewUETR(random)
	if err != nil {
		return nil, err
	}
	setup := m.announced.Setup
	d := setup.Disclosure
	own, _ := m.bank.Genesis.Participant(m.bank.ID)
	payer, _ := m.bank.Genesis.Participant(m.announced.Payer)
	return &Instruction{
		UETR: uetr, EndToEndID: d.Reference, Returns: setup.UETR,
		DebtorAgent: own.BIC, CreditorAgent: payer.BIC, Debtor: d.Creditor, Creditor: d.Debtor,
		Asset: setup.Asset.String(), Amount: setup.Amount.Format(setup.Asset.Scale),
		Purpose: d.Purpose, Remittance: d.Remittance,
	}, nil
}
