package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/payment/books"
	"github.com/cypherlink/cypherlink/terms"
)

// channelRole is the prefix of the logs of channels: channel/ID.
const channelRole = "channel"

// laneBook is what the banks' own logs say of the lanes, and their own books of customers.
type laneBook struct {
	// updates are those that a bank has written or countersigned, with what they do.
	updates map[cypherlink.Hash]*channels.Entry
	// agreed are those of which a bank's log says that both have signed.
	agreed map[cypherlink.Hash]bool
	// locks are the hash locks in the lanes.
	locks map[ledger.CustodyID]ledger.Custody
	// trials are the balances of the banks' own books, by folder.
	trials map[string][]books.Balance
}

// readLanes reads a bank's logs of its channels, and its books.
func (a *audit) readLanes(ctx context.Context, db *store.Store, folder string) error {
	kept, err := books.Open(ctx, db, nil)
	if err != nil {
		return err
	}
	trial, err := kept.Trial(ctx)
	if err != nil {
		return err
	}
	a.lanes.trials[folder] = trial
	return a.readLaneLogs(ctx, db, folder)
}

// readLaneLogs reads an institution's logs of its channels.
func (a *audit) readLaneLogs(ctx context.Context, db *store.Store, folder string) error {
	return db.View(ctx, func(r *store.Reader) error {
		streams, err := readNames(r, "DISTINCT stream FROM events", channelRole+"/")
		if err != nil {
			return err
		}
		for _, stream := range streams {
			if err := a.readLane(r, stream); err != nil {
				a.differs(folder, "%s: %v", stream, err)
			}
		}
		return nil
	})
}

func (a *audit) readLane(r *store.Reader, stream string) error {
	events, err := r.Load(stream, 0)
	if err != nil {
		return err
	}
	var written []channels.Update
	for i := range events {
		if events[i].Sequence != int64(i)+1 {
			return fmt.Errorf("event %d is missing: %w", i+1, errLog)
		}
		e, err := channels.DecodeEvent(events[i].Body)
		if err != nil {
			return fmt.Errorf("event %d: %w", i+1, err)
		}
		switch e := e.(type) {
		case channels.Wrote:
			a.lanes.updates[e.Entry.Update.Hash] = &e.Entry
			written = append(written, e.Entry.Update)
		case channels.Countersigned:
			a.lanes.updates[e.Entry.Update.Hash] = &e.Entry
			a.lanes.agreed[e.Entry.Update.Hash] = true
		case channels.Certified: // the whole prefix
			for _, u := range written {
				if u.Seq <= e.Seq {
					a.lanes.agreed[u.Hash] = true
				}
			}
		case channels.Ended:
			if len(written) > 0 && e.Lane == written[0].Lane {
				written = nil
			}
		default:
		}
	}
	return nil
}

// passage is a payment that the chain has anchored: in which channel, from which side, and how often.
type passage struct {
	channel *channels.Channel
	lane    channels.Side
	pay     channels.Pay
	times   int
	// out and in tell whether the payer's and the payee's bank know it.
	out, in bool
}

func (p *passage) seen(by payment.Direction) {
	p.out, p.in = p.out || by == payment.Out, p.in || by == payment.In
}

// anchoredPayments are those in the lanes' updates up to the heads that the chain has. Locks are not payments
// of customers.
func (a *audit) anchoredPayments() map[cypherlink.Hash]*passage {
	found := map[cypherlink.Hash]*passage{}
	for _, l := range a.followed() {
		a.compareSums(&l)
		for _, e := range l.anchored {
			for _, op := range e.Operations {
				pay, ok := op.(channels.Pay)
				if !ok {
					continue
				}
				if found[pay.Terms] == nil {
					found[pay.Terms] = &passage{channel: l.channel, lane: l.side, pay: pay}
				}
				found[pay.Terms].times++
			}
		}
	}
	return found
}

// compareLanes holds every payment over a channel, and both banks' own books, against the chain.
func (a *audit) compareLanes() {
	if a.ledger[a.genesis.Chain()] == nil {
		return // why stands among the differences
	}
	passed := a.anchoredPayments()
	moved := map[string]map[string]int64{} // by folder and the account of a channel
	for _, r := range a.records {
		if r.terms == nil || len(r.terms.Legs) != 1 {
			continue
		}
		p := passed[r.terms.Hash()]
		if what := judgeDirect(r, p); what != "" {
			a.differences = append(a.differences, difference{
				about: "payment " + r.uetr, stands: r.bank + " " + string(r.status), what: what,
			})
		}
		if p != nil {
			p.seen(r.direction)
			p.book(r, moved)
		}
	}
	for hash, p := range passed {
		if p.times > 1 {
			a.differs("payment "+p.pay.Payment.String(), "terms %s are paid %d times", hash, p.times)
		}
		if !p.out || !p.in {
			a.differs("payment "+p.pay.Payment.String(), "it is anchored, and one of the banks does not know it")
		}
	}
	a.compareBooks(moved)
}

// book adds what the payment has moved in a bank's own books.
func (p *passage) book(r *record, moved map[string]map[string]int64) {
	if !booked(r) {
		return
	}
	if moved[r.bank] == nil {
		moved[r.bank] = map[string]int64{}
	}
	amount := int64(r.terms.Legs[terms.Source].Amount)
	if r.direction == payment.In {
		amount = -amount
	}
	moved[r.bank][channelRole+"/"+p.channel.ID.String()] += amount
}

// booked tells whether a bank's own books have moved the payment to or from its channel.
func booked(r *record) bool {
	switch r.status {
	case payment.StatusPosted, payment.StatusCompleted, payment.StatusReturned:
		return true
	case payment.StatusReturnPending:
		return r.direction == payment.Out || r.refused
	case payment.StatusReceived, payment.StatusChecked, payment.StatusNegotiating, payment.StatusAgreed,
		payment.StatusValidating, payment.StatusApproved, payment.StatusReserved, payment.StatusSettled,
		payment.StatusRejected, payment.StatusExpired, payment.StatusSigned1, payment.StatusInDoubt,
		payment.StatusSigned2, payment.StatusAborted:
	}
	return false
}

// judgeDirect is what does not fit between a bank's record of a payment over a channel and the chain, or
// empty.
func judgeDirect(r *record, p *passage) string {
	switch r.status {
	case payment.StatusSettled, payment.StatusPosted, payment.StatusCompleted, payment.StatusReturnPending,
		payment.StatusReturned:
		if p == nil {
			return "the bank calls it settled, and the chain has not anchored it"
		}
	case payment.StatusRejected, payment.StatusAborted:
		if p != nil {
			return fmt.Sprintf("the bank calls it %s, and the chain has anchored it", r.status)
		}
	case payment.StatusExpired: // the payee's bank may give up what then arrives
		if p != nil && r.direction == payment.Out {
			return "the bank calls it expired, and the chain has anchored it"
		}
	case payment.StatusReceived, payment.StatusChecked, payment.StatusNegotiating, payment.StatusAgreed,
		payment.StatusValidating, payment.StatusApproved, payment.StatusReserved, payment.StatusSigned1,
		payment.StatusInDoubt, payment.StatusSigned2:
	}
	return ""
}

// compareBooks holds the banks' own books of their channels against the payments that they have booked. A
// process that stopped between the two has one payment more in its books than its log says.
func (a *audit) compareBooks(moved map[string]map[string]int64) {
	for folder, trial := range a.lanes.trials {
		sums := map[cypherlink.Asset]int64{}
		for _, b := range trial {
			sums[b.Asset] += int64(b.Amount)
			if !strings.HasPrefix(b.Account, channelRole+"/") {
				continue
			}
			if booked := moved[folder][b.Account]; booked != int64(b.Amount) && !a.underWay(folder) {
				a.differs(folder, "its books have %s in %s, its payments %s", b.Amount.Format(b.Asset.Scale),
					b.Account, cypherlink.Amount(booked).Format(b.Asset.Scale))
			}
			delete(moved[folder], b.Account)
		}
		for asset, sum := range sums {
			if sum != 0 {
				a.differs(folder, "its books do not add up in %s", asset)
			}
		}
	}
}

// underWay tells whether a bank has payments over channels that are settled and not booked in its log.
func (a *audit) underWay(folder string) bool {
	return slices.ContainsFunc(a.records, func(r *record) bool {
		return r.bank == folder && r.status == payment.StatusSettled && len(r.terms.Legs) == 1
	})
}
