package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/payment"
)

// The second job: the two banks pay each other over a channel, in one asset, as their customers' own
// systems would have them: over REST.

// channelPayments is how many payments the demonstration makes over the channel, in both directions.
const channelPayments = 100

// payersAtOnce bounds the instructions that are being handed in at a time.
const payersAtOnce = 8

// channelAct is the second job while it is played.
type channelAct struct {
	demo     *demo
	banks    []*restBank // A and B
	id       string
	index    uint64 // of the feed, where the act begins
	payments [channelPayments]channelPayment
	end      *api.Channel // as Bank A sees it
}

// channelPayment is one payment of the act.
type channelPayment struct {
	from    int // an index of banks
	uetr    cypherlink.UETR
	status  string
	reason  string
	settled time.Duration // from the instruction
}

// body is an instruction of the act.
func (p *channelPayment) body(n int) []byte {
	parties := [2]string{
		fmt.Sprintf(`{"name": %q, "iban": %q, "agent": "CYPADEFFXXX", "country": "DE"}`, debtorName, debtorIBAN),
		fmt.Sprintf(`{"name": %q, "account": %q, "agent": "CYPBCNBJXXX", "country": "CN"}`, creditorName, creditorCN),
	}
	amount := [2]string{"120", "90"}[p.from]
	return fmt.Appendf(nil, `{"uetr": %q, "end_to_end_id": "LANE-%04d", "debtor": %s, "creditor": %s,
"destination": {"asset": %q, "amount": "%s.%02d"}}`,
		p.uetr, n, parties[p.from], parties[1-p.from], labelClaim, amount, n%100)
}

// playChannel is the act.
func (d *demo) playChannel() error {
	act := &channelAct{demo: d}
	d.act = act
	ctx, cancel := context.WithCancel(d.session)
	defer cancel()
	if err := act.open(ctx); err != nil {
		return err
	}
	d.say("")
	d.say("%d payments over it, in both directions ...", channelPayments)
	for n := range act.payments {
		act.payments[n].from = n % 2
		uetr, err := newUETR()
		if err != nil {
			return err
		}
		act.payments[n].uetr = uetr
	}
	var err error
	switch {
	case d.command.Restore == folderB:
		err = act.restoring(ctx)
	case d.command.Fail == folderB:
		err = act.failing(ctx)
	default:
		err = act.pay(ctx, 0, channelPayments)
	}
	if err != nil {
		return err
	}
	return act.report(ctx)
}

// open has the channel opened and funded.
func (a *channelAct) open(ctx context.Context) error {
	var err error
	if a.banks, err = restBanks(a.demo.dir, actorA(), actorB()); err != nil {
		return err
	}
	bank, err := a.demo.bank(folderA)
	if err != nil {
		return err
	}
	a.index = bank.follow.Head().Roots.FeedSize
	within, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	a.demo.say("")
	a.demo.say("The second job: a channel between Bank A and Bank B, in %s, which the ramp brings from %s.",
		labelClaim, labelDE)
	tell := func(format string, args ...any) {
		a.demo.say("     %s  "+format, append([]any{time.Now().UTC().Format("15:04:05.000")}, args...)...)
	}
	a.id, err = openChannel(within, a.banks[0], a.banks[1], tell)
	return err
}

// pay makes the payments from one number up to another, and waits until each has ended.
func (a *channelAct) pay(ctx context.Context, from, to int) error {
	next := make(chan int)
	errs := make(chan error, to-from)
	var all sync.WaitGroup
	for range payersAtOnce {
		all.Go(func() {
			for n := range next {
				errs <- a.submit(ctx, n)
			}
		})
	}
	for n := from; n < to; n++ {
		next <- n
	}
	close(next)
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	for n := from; n < to; n++ {
		if err := a.await(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// submit hands a payment in.
func (a *channelAct) submit(ctx context.Context, n int) error {
	p := &a.payments[n]
	key := fmt.Sprintf("lane-%d", n)
	return a.banks[p.from].call(ctx, http.MethodPost, "/v1/payments", key, p.body(n), nil)
}

// await waits until a payment has ended, and notes how.
func (a *channelAct) await(ctx context.Context, n int) error {
	p := &a.payments[n]
	within, cancel := context.WithTimeout(ctx, 3*startWithin)
	defer cancel()
	err := until(within, fmt.Sprintf("payment %d", n), func() (bool, error) {
		var now api.Payment
		if err := a.banks[p.from].get(within, "/v1/payments/"+p.uetr.String(), &now); err != nil {
			return false, err
		}
		p.status, p.reason = now.Status, now.Reason
		return over(payment.Status(now.Status)), nil
	})
	if err != nil {
		return err
	}
	bank, err := a.demo.bank([]string{folderA, folderB}[p.from])
	if err != nil {
		return err
	}
	entries, err := bank.connect.Events(ctx, p.uetr)
	for _, e := range entries {
		if e.To == payment.StatusSettled && e.From != e.To {
			p.settled = e.At.Sub(entries[0].At)
		}
	}
	return err
}

// over tells whether a payment over a channel never leaves the status.
func over(s payment.Status) bool {
	switch s {
	case payment.StatusCompleted, payment.StatusRejected, payment.StatusExpired, payment.StatusAborted,
		payment.StatusReturned:
		return true
	case payment.StatusReceived, payment.StatusChecked, payment.StatusNegotiating, payment.StatusAgreed,
		payment.StatusValidating, payment.StatusApproved, payment.StatusReserved, payment.StatusSigned1,
		payment.StatusInDoubt, payment.StatusSigned2, payment.StatusSettled, payment.StatusPosted,
		payment.StatusReturnPending:
	}
	return false
}

// failing has Bank B fall silent in the channel from the middle on.
func (a *channelAct) failing(ctx context.Context) error {
	if err := a.pay(ctx, 0, channelPayments/2); err != nil {
		return err
	}
	a.demo.say("     Bank B falls silent in the channel: it neither hears nor says anything there")
	a.demo.director.hush.Store(true)
	err := a.pay(ctx, channelPayments/2, channelPayments)
	a.demo.director.hush.Store(false)
	a.demo.say("     Bank B speaks again")
	if err != nil {
		return err
	}
	return a.met(ctx)
}

// met waits until both banks have compared their records, in generations that have begun.
func (a *channelAct) met(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, 3*startWithin)
	defer cancel()
	for _, bank := range a.banks {
		err := until(within, bank.name+" is in step with the other bank", func() (bool, error) {
			c, err := bank.channel(within, a.id)
			return err == nil && c.Synced && !c.Lanes.Own.Suspended && !c.Lanes.Peer.Suspended, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// restoring has Bank B lose its store, and go on with an older copy.
func (a *channelAct) restoring(ctx context.Context) error {
	const third = channelPayments / 3
	if err := a.pay(ctx, 0, third); err != nil {
		return err
	}
	data, copied := filepath.Join(a.demo.dir, folderB, dataName), filepath.Join(a.demo.dir, "copy")
	if err := a.demo.stage.stop(folderB); err != nil {
		return err
	}
	if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
		return err
	}
	a.demo.say("     a copy of Bank B's store is made after %d payments", third)
	if err := errors.Join(a.demo.stage.start(ctx, folderB), a.met(ctx)); err != nil {
		return err
	}
	if err := a.pay(ctx, third, 2*third); err != nil {
		return err
	}
	if err := a.demo.stage.stop(folderB); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(data), os.Rename(copied, data)); err != nil {
		return err
	}
	a.demo.say("     Bank B loses its store after %d payments, and goes on with the copy", 2*third)
	before, err := a.banks[0].channel(ctx, a.id)
	if err != nil {
		return err
	}
	if err := errors.Join(a.demo.stage.start(ctx, folderB), a.raised(ctx, before), a.met(ctx)); err != nil {
		return err
	}
	return a.pay(ctx, 2*third, channelPayments)
}

// raised waits until both lanes are in a later generation than before, in which Bank B signs again.
func (a *channelAct) raised(ctx context.Context, before *api.Channel) error {
	within, cancel := context.WithTimeout(ctx, 3*startWithin)
	defer cancel()
	var c *api.Channel
	err := until(within, "the lanes are in the next generation", func() (_ bool, err error) {
		c, err = a.banks[0].channel(within, a.id)
		return err == nil && c.Lanes.Own.Generation > before.Lanes.Own.Generation &&
			c.Lanes.Peer.Generation > before.Lanes.Peer.Generation, err
	})
	if err != nil {
		return err
	}
	a.demo.say("     Bank A shows Bank B what it had signed; Bank B signs nothing before the generations have ended")
	a.demo.say("     the lanes go on in generations %d and %d, and neither bank has evidence of a second signature",
		c.Lanes.Own.Generation, c.Lanes.Peer.Generation)
	return a.unbroken(c)
}

// unbroken reports evidence that somebody has signed twice: then the channel would not go on.
func (a *channelAct) unbroken(c *api.Channel) error {
	for _, alert := range c.Alerts {
		if strings.Contains(alert, "contradicts itself") {
			return fmt.Errorf("channel %s: %s", c.ID, alert)
		}
	}
	return nil
}

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
	a.demo.say("%4d anchors; the one in block %d covers %d payments", count-1, height, most) // the first is the opening
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
		c, err := bank.connect.Channel(ctx, id)
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
	a.demo.say("%-10s %-10s %18s %18s %14d %12d", a.id[:8], "Bank A", c.Escrow.Own, c.Balances.Own,
		c.Anchored.Own, c.Lanes.Own.Generation)
	a.demo.say("%-10s %-10s %18s %18s %14d %12d", a.id[:8], "Bank B", c.Escrow.Peer, c.Balances.Peer,
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
