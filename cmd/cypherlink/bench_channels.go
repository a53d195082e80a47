package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/payment"
)

// benchChannels measures one lane by itself, and what a channel and a payment in it cost in memory. The
// lane's two banks are two Parties with their stores and keys; their messages go from one to the other in
// their canonical form, without a socket, and no Validator endorses.
type benchChannels struct {
	Updates  int `help:"How many updates of the lane." default:"20000"`
	PerEach  int `name:"payments-per-update" help:"How many payments in each update, 1 to 256." default:"1"`
	Channels int `help:"How many idle channels." default:"1000"`
	Open     int `help:"How many payments are open in a channel whose other bank is silent." default:"500"`
}

// Run measures.
func (c *benchChannels) Run(s *session) error {
	if c.Updates < 1 || c.PerEach < 1 || c.PerEach > channels.MaxOperations || c.Channels < 1 || c.Open < 1 {
		return refusal{errors.New("there are 1 to 256 payments in an update, and at least one of everything")}
	}
	return inFolder(func(dir string, logs io.Writer) error { return c.run(s, dir, logs) })
}

func (c *benchChannels) run(s *session, dir string, logs io.Writer) error {
	took, err := c.lane(s, filepath.Join(dir, "lane"))
	if err != nil {
		return err
	}
	idle, err := heldByParties(s, filepath.Join(dir, "idle"), c.Channels)
	if err != nil {
		return err
	}
	open, err := heldByPayments(s, filepath.Join(dir, "net"), logs, c.Open)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "One lane of two banks with their stores, on %s\n\n", hardware())
	perSecond := float64(c.Updates) / took.Seconds()
	err = printTable(s.out, [][]string{
		{"updates", "payments in each", "updates/s", "payments/s"},
		{
			strconv.Itoa(c.Updates), strconv.Itoa(c.PerEach), fmt.Sprintf("%.0f", perSecond),
			fmt.Sprintf("%.0f", perSecond*float64(c.PerEach)),
		},
	})
	fmt.Fprintln(s.out)
	return errors.Join(err, printTable(s.out, [][]string{
		{"memory", "how many", "KiB each"},
		{"a Party of an idle channel, restored", strconv.Itoa(c.Channels), kib(idle, c.Channels)},
		{"a payment that waits in a channel, both banks", strconv.Itoa(c.Open), kib(open, c.Open)},
	}))
}

// perAnchor is how many updates are anchored together.
const perAnchor = 256

// lane measures how long the updates take from the first order until all are bound, and anchored.
func (c *benchChannels) lane(s *session, dir string) (took time.Duration, err error) {
	p, err := newLanePair(s, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	bar := newProgress(s.log, "updates", c.Updates)
	began := time.Now()
	for left := c.Updates; left > 0 && err == nil; left -= perAnchor {
		if err = p.pay(s, min(left, perAnchor), c.PerEach, bar.step); err == nil {
			err = p.anchor(s)
		}
	}
	return time.Since(began), err
}

// kib is what one of many takes.
func kib(bytes int64, n int) string { return fmt.Sprintf("%.1f", float64(bytes)/float64(n)/1024) }

// inUse is the memory that is reachable: heap and stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what had a finalizer
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse) //nolint:gosec // less than 1 << 63
}

// lanePair is an open channel of two banks, funded by both.
type lanePair struct {
	channel *channels.Channel
	rules   channels.Rules
	banks   [2]*laneBank
	now     channels.Time
	before  uint32 // the updates of earlier calls of pay
	paid    uint32 // the payments so far
}

// laneBank is a bank's side of it.
type laneBank struct {
	network  cypherlink.NetworkID
	id       cypherlink.ParticipantID
	settings channels.Settings
	key      *sign.Identity
	store    *store.Store
	party    *channels.Party
	sequence int64         // of the stored log
	heard    chan [][]byte // messages of the other bank
}

const laneStream = "channel"

func newLanePair(ctx context.Context, dir string) (_ *lanePair, err error) {
	p := &lanePair{now: channels.Time{S: time.Now().Unix(), Height: 1}}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	var ids [2]cypherlink.ParticipantID
	for i := range p.banks {
		b := &laneBank{heard: make(chan [][]byte, channels.MaxUncertified)}
		if b.key, err = sign.GenerateIdentity(rand.Reader); err != nil {
			return nil, err
		}
		b.id = cypherlink.NewParticipantID(b.key.Public())
		if b.store, err = openStore(ctx, "", path(filepath.Join(dir, fmt.Sprint("lane-", i)))); err != nil {
			return nil, err
		}
		ids[i], p.banks[i] = b.id, b
	}
	if ordered := channels.InOrder(ids); ordered != ids {
		ids = ordered
		p.banks[0], p.banks[1] = p.banks[1], p.banks[0]
	}
	p.rules = channels.Rules{
		Verify: cosi.VerifyEd25519Batch,
		Signers: func(_ *channels.Channel, lane channels.Side) channels.Signers {
			return channels.Signers{Payer: p.banks[lane].key.Public(), Payee: p.banks[lane.Other()].key.Public()}
		},
	}
	open := channels.Open{
		Banks: ids, Accounts: [2]cypherlink.Account{{Owner: ids[0]}, {Owner: ids[1]}}, Asset: assetClaim(),
		Limits: channels.DefaultLimits(),
	}
	p.channel, err = channels.New(&p.rules, p.now, &channels.Joint{
		Channel: channels.NewID(p.rules.Network, ids, open.Asset, 0), Do: open, ValidUntil: p.now.S + 1,
	})
	if err != nil {
		return nil, err
	}
	for _, b := range p.banks {
		fund := channels.Fund{Channel: p.channel.ID, Amount: openingADE, Number: 1}
		if _, err := p.channel.Apply(&p.rules, p.now, b.id, fund); err != nil {
			return nil, err
		}
	}
	return p, p.meet(ctx)
}

func (p *lanePair) close() error {
	var errs []error
	for _, b := range p.banks {
		if b != nil && b.store != nil {
			errs = append(errs, b.store.Close())
		}
	}
	return errors.Join(errs...)
}

// meet starts both Parties and has them compare their logs.
func (p *lanePair) meet(ctx context.Context) error {
	for i, b := range p.banks {
		b.settings = channels.Settings{
			Channel: p.channel.ID, Side: channels.Side(i), LagS: 3, InclusionS: 2,
			CertifyMS: time.Hour.Milliseconds(), ResendMS: time.Hour.Milliseconds(), JointS: 3,
			Verify: cosi.VerifyEd25519Batch,
		}
		b.party = channels.NewParty(b.settings, p.channel, nil)
	}
	for i, b := range p.banks {
		start, err := b.party.Start(time.Now().UnixMilli(), uint64(i)+1)
		if err == nil {
			err = p.give(ctx, b, start)
		}
		if err = errors.Join(err, p.see(ctx, b)); err != nil {
			return err
		}
	}
	for len(p.banks[0].heard)+len(p.banks[1].heard) > 0 {
		for _, b := range p.banks {
			select {
			case messages := <-b.heard:
				if err := p.hear(ctx, b, messages); err != nil {
					return err
				}
			default:
			}
		}
	}
	return nil
}

// see shows a bank the chain.
func (p *lanePair) see(ctx context.Context, b *laneBank) error {
	shown := *p.channel
	e, err := b.party.See(time.Now().UnixMilli(), channels.View{Channel: shown, Now: p.now, Fresh: true})
	if err != nil {
		return err
	}
	return p.give(ctx, b, e)
}

// hear lets a bank take messages.
func (p *lanePair) hear(ctx context.Context, b *laneBank, messages [][]byte) error {
	var all channels.Effects
	for _, raw := range messages {
		m, err := channels.DecodeMessage(raw)
		if err != nil {
			return err
		}
		e, err := b.party.Hear(time.Now().UnixMilli(), m)
		if err != nil {
			return err
		}
		all.Persist, all.Send = append(all.Persist, e.Persist...), append(all.Send, e.Send...)
	}
	return p.give(ctx, b, all)
}

// give makes what a bank's Party says durable, and then lets it go to the other bank.
func (p *lanePair) give(ctx context.Context, b *laneBank, e channels.Effects) error {
	if len(e.Persist) > 0 {
		stored := make([]store.Event, len(e.Persist))
		for i, event := range e.Persist {
			stored[i] = store.Event{Kind: "lane", Body: channels.EncodeEvent(event)}
		}
		err := b.store.Update(ctx, func(tx *store.Tx) error {
			return tx.Append(laneStream, b.sequence, stored...)
		})
		if err != nil {
			return err
		}
		b.sequence += int64(len(stored))
	}
	var messages [][]byte
	for _, m := range e.Send {
		m, err := b.sign(m)
		if err != nil {
			return err
		}
		messages = append(messages, channels.EncodeMessage(m))
	}
	if len(messages) > 0 {
		p.banks[b.settings.Side.Other()].heard <- messages // it has room for more than a window
	}
	return nil
}

// sign puts the bank's signature into a message that has one.
func (b *laneBank) sign(m channels.Message) (channels.Message, error) {
	var err error
	switch m := m.(type) {
	case channels.Offer:
		m.Entry.Peer, err = b.key.SignRecorded(m.Entry.Update.Frame(b.network))
		return m, err
	case channels.Countersignature:
		m.Payee, err = b.key.SignRecorded(cosi.Frame{
			Type: cosi.LaneUpdate, Network: b.network,
			Scope:    channels.LaneScope(b.settings.Channel, b.settings.Side.Other()),
			Sequence: uint64(m.Slot.Gen)<<32 | uint64(m.Slot.Seq), Payload: m.Hash,
		})
		return m, err
	default:
		return m, nil
	}
}

// pay writes so many updates into lane A, as many at a time as the window lets, and waits until all are
// bound.
func (p *lanePair) pay(ctx context.Context, updates, perEach int, step func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.answer(ctx, p.banks[channels.B]) })
	group.Go(func() error {
		defer cancel()
		payer := p.banks[channels.A]
		written, bound := 0, 0
		for bound < updates {
			n := min(updates-written, int(p.channel.Limits.Uncertified)-(written-bound))
			if err := p.order(ctx, payer, n, perEach); err != nil {
				return err
			}
			written += n
			select {
			case messages := <-payer.heard:
				if err := p.hear(ctx, payer, messages); err != nil {
					return err
				}
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			now := int(payer.party.Standing().Lanes[channels.A].Bound - p.before)
			for ; bound < now; bound++ {
				step()
			}
		}
		p.before += uint32(updates) //nolint:gosec // a few thousand
		return nil
	})
	return group.Wait()
}

// order writes so many updates, in one commit.
func (p *lanePair) order(ctx context.Context, payer *laneBank, updates, perEach int) error {
	var all channels.Effects
	for range updates {
		e, err := payer.party.Order(time.Now().UnixMilli(), p.payments(perEach))
		if err != nil {
			return err
		}
		all.Persist, all.Send = append(all.Persist, e.Persist...), append(all.Send, e.Send...)
	}
	return p.give(ctx, payer, all)
}

// answer takes what a bank hears until ctx ends.
func (p *lanePair) answer(ctx context.Context, b *laneBank) error {
	for {
		select {
		case messages := <-b.heard:
			if err := p.hear(context.WithoutCancel(ctx), b, messages); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// payments are new payments, for one update.
func (p *lanePair) payments(n int) []channels.Operation {
	ops := make([]channels.Operation, n)
	for i := range ops {
		p.paid++
		pay := channels.Pay{Amount: 1, Payment: cypherlink.UETR{6: 0x40, 8: 0x80}}
		binary.BigEndian.PutUint32(pay.Payment[:], p.paid)
		binary.BigEndian.PutUint32(pay.Terms[:], p.paid)
		ops[i] = pay
	}
	return ops
}

// anchor puts what is bound onto the chain, and shows it to both banks.
func (p *lanePair) anchor(ctx context.Context) error {
	payer := p.banks[channels.A]
	a, ok := payer.party.Best()
	if !ok || a.Heads[channels.A] == nil {
		return errors.New("the lane has nothing to anchor")
	}
	head := a.Heads[channels.A]
	var err error
	if head.Payer, err = payer.key.SignRecorded(head.Update.Frame(p.rules.Network)); err != nil {
		return err
	}
	if _, err := p.channel.Apply(&p.rules, p.now, payer.id, a); err != nil {
		return err
	}
	for _, b := range p.banks {
		if err := p.see(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// heldByParties is the memory of so many Parties that are restored from a log of some updates, of which
// all are anchored.
func heldByParties(ctx context.Context, dir string, n int) (_ int64, err error) {
	const some = 4
	p, err := newLanePair(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := errors.Join(p.pay(ctx, some, 1, func() {}), p.anchor(ctx)); err != nil {
		return 0, err
	}
	b := p.banks[channels.A]
	var stored []store.Event
	err = b.store.View(ctx, func(r *store.Reader) (err error) {
		stored, err = r.Load(laneStream, 0)
		return err
	})
	if err != nil {
		return 0, err
	}
	encoded := p.channel.Encode()
	before, all := inUse(), make([]*channels.Party, n)
	for i := range all {
		own, err := channels.DecodeChannel(encoded)
		if err != nil {
			return 0, err
		}
		events := make([]channels.Event, len(stored))
		for j := range stored {
			if events[j], err = channels.DecodeEvent(stored[j].Body); err != nil {
				return 0, err
			}
		}
		all[i] = channels.NewParty(b.settings, own, events)
		shown := channels.View{Channel: *own, Now: p.now, Fresh: true}
		if _, err := all[i].See(time.Now().UnixMilli(), shown); err != nil {
			return 0, err
		}
	}
	after := inUse()
	runtime.KeepAlive(all)
	return after - before, nil
}

// heldByPayments is the memory of so many payments whose money is held, and that wait in a channel for the
// other bank, which is silent: in a network that is raised for it, at both banks.
func heldByPayments(ctx context.Context, dir string, logs io.Writer, n int) (_ int64, err error) {
	t := newTraffic(func(s payment.Status) bool { return s == payment.StatusReserved || over(s) })
	var silent hush
	through := func(folder string) lens {
		l := t.watch(folder)
		if folder == folderB {
			l.peers, l.answer = silent.peers, silent.answer
		}
		return l
	}
	if err := t.raise(ctx, dir, logs, through); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	silent.Store(true)
	t.oneWay = true
	if _, err := t.pay(ctx, payersAtOnce, payersAtOnce, func() {}); err != nil {
		return 0, err
	}
	before := inUse()
	waiting, err := t.pay(ctx, n, payersAtOnce, func() {})
	if err != nil {
		return 0, err
	}
	for i := range waiting {
		if waiting[i].status != payment.StatusReserved {
			return 0, fmt.Errorf("a payment that was to wait is %s", waiting[i].status)
		}
	}
	return inUse() - before, nil
}
