package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/api"
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
