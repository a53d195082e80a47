package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/payment"
)

// report says how the act has ended.
func (a *channelAct) report(ctx context.Context) error {
	ends := map[string]int{}
	reasons := map[string]int{}
	for i := range a.payments {
		p := &a.payments[i]
		ends[p.status]++
		if p.reason != "" {
			reasons[p.status+": "+p.reason]++
		}
	}
	d := a.demo
	d.say("")
	for _, status := range sorted(ends) {
		d.say("%4d of %d payments are %s", ends[status], channelPayments, status)
	}
	for _, reason := range sorted(reasons) {
		d.say("     %d %s", reasons[reason], reason)
	}
	if times := a.times(); len(times) > 0 {
		d.say("     from instruction to SETTLED: p50 %d ms, p99 %d ms", median(times), late(times))
	}
	if err := a.anchors(ctx); err != nil {
		return err
	}
	if err := a.told(ctx); err != nil {
		return err
	}
	return a.balances(ctx)
}

func sorted(m map[string]int) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// times are how long the settled payments took, ascending.
func (a *channelAct) times() []time.Duration {
	var all []time.Duration
	for i := range a.payments {
		if t := a.payments[i].settled; t > 0 {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	return all
}

func median(all []time.Duration) int64 { return all[len(all)/2].Milliseconds() }

func late(all []time.Duration) int64 { return all[len(all)*99/100].Milliseconds() }

// anchors says how many anchors there were, and which one covers the most.
func (a *channelAct) anchors(ctx context.Context) error {
	bank, err := a.demo.bank(folderA)
	if err != nil {
		return err
	}
	var id channels.ID
	if err := id.UnmarshalText([]byte(a.id)); err != nil {
		return err
	}
	covered, err := a.covered(ctx)
	if err != nil {
		return err
	}
	var before [2]channels.Lane
	count, most, height := 0, 0, uint64(0)
	for index := a.index; index < bank.follow.Head().Roots.FeedSize; index++ {
		e, err := bank.follow.Entry(ctx, index)
		if err != nil {
			return err
		}
		fact, ok := e.Event.Fact.(state.ChannelFact)
		if !ok || fact.Channel.ID != id {
			continue
		}
		c := &fact.Channel
		payments := 0
		for lane := range c.Lanes {
			for seq := before[lane].Head.Seq + 1; seq <= c.Lanes[lane].Head.Seq; seq++ {
				payments += covered[slotOf{channels.Side(lane), before[lane].Gen, seq}]
			}
		}
		if c.Lanes[0].Head != before[0].Head || c.Lanes[1].Head != before[1].Head {
			count++
		}
		if payments > most {
			most, height = payments, e.Event.Height
		}
		before = c.Lanes
	}
	a.demo.say("     anchors: %d; the one in block %d covers %d payments", count-1, height, most) // the first is the opening
	return nil
}

// slotOf is a place in a lane.
type slotOf struct {
	lane channels.Side
	gen  uint32
	seq  uint32
}

// covered is how many payments stand in each update.
func (a *channelAct) covered(ctx context.Context) (map[slotOf]int, error) {
	all := map[slotOf]int{}
	for i := range a.payments {
		p := &a.payments[i]
		bank, err := a.demo.bank([]string{folderA, folderB}[p.from])
		if err != nil {
			return nil, err
		}
		var id channels.ID
		if err := id.UnmarshalText([]byte(a.id)); err != nil {
			return nil, err
		}
		c, err := bank.connect.Tellers.Channel(ctx, id)
		if err != nil {
			return nil, err
		}
		slot, ok, err := bank.connect.Slot(ctx, p.uetr)
		if _, unknown := errors.AsType[*cypherlink.Error](err); unknown { // Bank B lost it with its store
			continue
		}
		if err != nil {
			return nil, err
		}
		if ok {
			all[slotOf{c.Own, slot.Gen, slot.Seq}]++
		}
	}
	return all, nil
}

// told says what the customers of the first payment were told, and those of the first that the chain has
// ended, if there is one, and when.
func (a *channelAct) told(ctx context.Context) error {
	if err := a.toldOf(ctx, &a.payments[0]); err != nil {
		return err
	}
	for i := range a.payments {
		if a.payments[i].status == string(payment.StatusAborted) {
			return a.toldOf(ctx, &a.payments[i])
		}
	}
	return nil
}

func (a *channelAct) toldOf(ctx context.Context, p *channelPayment) error {
	a.demo.say("")
	a.demo.say("What the customers of payment %s were told, and when:", p.uetr)
	for i, folder := range []string{folderA, folderB} {
		bank, err := a.demo.bank(folder)
		if err != nil {
			return err
		}
		entries, err := bank.connect.Events(ctx, p.uetr)
		if _, unknown := errors.AsType[*cypherlink.Error](err); unknown { // Bank B lost it with its store
			continue
		}
		if err != nil {
			return err
		}
		debtor := i == p.from
		who := "creditor"
		if debtor {
			who = "debtor"
		}
		for _, e := range entries {
			if words := customerIsTold(e.To, debtor); e.From != e.To && words != "" {
				a.demo.say("     %s  %-8s  %-9s %-4s  %s", e.At.Format("15:04:05.000"), who, e.To, e.To.ISO(), words)
			}
		}
	}
	return nil
}

// customerIsTold is what a status means for a customer, empty where he is told nothing.
func customerIsTold(s payment.Status, debtor bool) string {
	switch s {
	case payment.StatusReserved:
		return "the money is set aside; nothing is signed yet"
	case payment.StatusSigned1:
		return "in execution, cannot be cancelled"
	case payment.StatusInDoubt:
		return "pending until the deadline"
	case payment.StatusSigned2:
		if debtor {
			return "will settle"
		}
		return "advice: the money will come"
	case payment.StatusSettled:
		if debtor {
			return "settled"
		}
		return "the money is here"
	case payment.StatusPosted:
		if !debtor {
			return "credited"
		}
	case payment.StatusCompleted:
		if debtor {
			return "the creditor is credited"
		}
	case payment.StatusAborted:
		return "rejected, refunded"
	case payment.StatusReceived, payment.StatusChecked, payment.StatusNegotiating, payment.StatusAgreed,
		payment.StatusValidating, payment.StatusApproved, payment.StatusRejected, payment.StatusExpired,
		payment.StatusReturnPending, payment.StatusReturned:
	}
	return ""
}

// balances prints what belongs to whom in the channel.
func (a *channelAct) balances(ctx context.Context) error {
	c, err := a.banks[0].channel(ctx, a.id)
	if err != nil {
		return err
	}
	a.demo.say("")
	a.demo.say("%-10s %-10s %18s %18s %14s %12s", "channel", "bank", "put in", "balance", "anchored up to", "generation")
	a.demo.say("%-10s %-10s %18s %18s %14d %12d", a.id[:8], "Bank A", c.Funds.Own, c.Balances.Own,
		c.Anchored.Own, c.Lanes.Own.Generation)
	a.demo.say("%-10s %-10s %18s %18s %14d %12d", a.id[:8], "Bank B", c.Funds.Peer, c.Balances.Peer,
		c.Anchored.Peer, c.Lanes.Peer.Generation)
	a.end = c
	return nil
}

// channelSummary and channelPaymentsSummary are the act's parts of summary.json.
type channelSummary struct {
	ID       string            `json:"id"`
	Asset    string            `json:"asset"`
	Banks    []string          `json:"banks"`
	Balances map[string]string `json:"balances"`
	Anchored map[string]uint32 `json:"anchored_seq"`
}

type channelPaymentsSummary struct {
	Count   int   `json:"count"`
	Settled int   `json:"settled"`
	P50MS   int64 `json:"p50_ms"`
	P99MS   int64 `json:"p99_ms"`
}

func (a *channelAct) summary() ([]channelSummary, channelPaymentsSummary) {
	c, times := a.end, a.times()
	s := channelPaymentsSummary{Count: channelPayments, Settled: len(times)}
	if len(times) > 0 {
		s.P50MS, s.P99MS = median(times), late(times)
	}
	return []channelSummary{{
		ID: a.id, Asset: c.Asset, Banks: []string{folderA, folderB},
		Balances: map[string]string{folderA: c.Balances.Own, folderB: c.Balances.Peer},
		Anchored: map[string]uint32{folderA: c.Anchored.Own, folderB: c.Anchored.Peer},
	}}, s
}
