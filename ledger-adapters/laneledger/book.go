package laneledger

import (
	"errors"
	"fmt"
	"math"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// book is what the rules read of a lane, for one command. They write nothing: what they would write is
// what the lane is asked for.
type book struct {
	self cypherlink.ParticipantID
	// channel is the one in which a Prepare's leg moves, nil if there is none.
	channel *payment.Channel
	id      ledger.CustodyID
	record  payment.LockRecord
}

var _ ledger.Book = (*book)(nil)

// Balance implements ledger.Book: the own bank's is what it can pay in the channel now; of the other bank's
// this one cannot say, and the lane's own rules hold.
func (b *book) Balance(
	account cypherlink.Account, asset cypherlink.Asset,
) (amount cypherlink.Amount, ok bool, err error) {
	ch := b.channel
	if ch == nil || account.Number != ledger.ChannelNumber || asset != ch.Asset {
		return 0, false, nil
	}
	switch account.Owner {
	case b.self:
		return ch.Free, true, nil
	case ch.Banks[ch.Own.Other()]:
		return math.MaxInt64, true, nil
	}
	return 0, false, nil
}

// Custody implements ledger.Book.
func (b *book) Custody(id ledger.CustodyID) (custody ledger.Custody, ok bool, err error) {
	if id != b.id || b.record.Last == nil {
		return ledger.Custody{}, false, nil
	}
	return custodyOf(&b.record), true, nil
}

// Locked implements ledger.Book. Whether another lock has the condition is decided where the Prepare is
// filed, in one commit.
func (b *book) Locked(cypherlink.Condition) (bool, error) { return false, nil }

// Write implements ledger.Book.
func (b *book) Write(ledger.Custody) error { return nil }

// custodyOf is the custody that a lock is, of which there are a Prepare and an event.
func custodyOf(r *payment.LockRecord) ledger.Custody {
	p := r.Content()
	return ledger.Custody{
		ID: ledger.CustodyID(r.Last.Lock), Subject: p.Subject, Packet: p.Packet, State: r.Last.State,
		Preimage: r.Last.Preimage,
	}
}

func refuse(code cypherlink.Code, reason, message string, cause error) error {
	return &cypherlink.Error{Code: code, Reason: reason, Message: message, Err: cause}
}

// refusal is what the lane said, in the words of a ledger. What may be otherwise later is no refusal.
func refusal(err error) error {
	e, ok := errors.AsType[*cypherlink.Error](err)
	if !ok {
		return err
	}
	var code cypherlink.Code
	switch {
	case e.Code == channels.L3.Code():
		code = ledger.CodeFunds
	case e.Code == channels.L4.Code() && e.Reason == "TM01":
		code = ledger.CodeExpiry
	case e.Code == channels.L4.Code() && e.Reason == "FF01":
		code = ledger.CodeConditionUsed
	case e.Code == channels.H1.Code():
		code = ledger.CodeExpired
	case e.Code == channels.H4.Code() && e.Reason == "ED05":
		code = ledger.CodeAlreadyReturned
	case e.Code == channels.V.Code() && e.Reason == "DS0A":
		code = ledger.CodeNotApproved
	default:
		return fmt.Errorf("%w: %s", payment.ErrNotNow, e.Message)
	}
	return refuse(code, e.Reason, e.Message, err)
}
