package payment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// ErrOptions means that a Connect or a Clearing cannot be made of its options.
var ErrOptions = errors.New("payment: unusable options")

// callsAtOnce bounds the calls that a Connect has out at one time.
const callsAtOnce = 256

// Options make a Connect. Every field but Changed is needed, those of channels if the bank pays assets over
// them (Bank.Direct).
type Options struct {
	Bank  *Bank
	Store *store.Store
	// Venues are those that the bank can reach: to pay, both of a payment's; to be paid, its own.
	connector.Venues
	// Identity signs the bank's commands, Cosigner its share of terms.
	Identity  connector.Signer
	Cosigner  terms.Signer
	Peers     Peers
	Customers Customers
	// Tellers are the bank's channels, Books its own books, and Anchors proves what the chain has of lanes.
	Tellers *Tellers
	Books   Books
	Anchors Anchors
	// Random is a cryptographic source.
	Random io.Reader
	// Changed is told of each payment after each durable change; nil if nobody is. It must
	// not block.
	Changed func(*Payment)
	Log     *slog.Logger
}

// Connect is a bank's side of payments as a process: it takes instructions, drives its outgoing
// payments, and answers the other institutions. Each outgoing payment has one goroutine that
// owns its machine; an incoming one lives in the store and is taken up for each call.
type Connect struct {
	Options
	payer *connector.Engine[*connector.Payer]
	payee *connector.Engine[*connector.Payee]
	table *table
	// begins keeps two calls from beginning one payee machine.
	begins singleflight.Group
	calls  chan struct{}
	// started is closed once Run has taken up what was open.
	started chan struct{}
	// recent are incoming payments as the last takeUp of each left them. They belong to the callbacks of
	// Store.Update.
	recent map[cypherlink.UETR]recalled
	// failed: something could not be stored, so Run ends, and no cursor moves any more.
	failed atomic.Bool

	mu        sync.Mutex
	running   context.Context //nolint:containedctx // of Run: what Submit starts lives in it
	tasks     sync.WaitGroup
	byTerms   map[cypherlink.Hash]*live
	byCustody map[ledger.CustodyID]*live
	byUETR    map[cypherlink.UETR]*live
	// announcers are the banks that have announced payments here.
	announcers map[cypherlink.ParticipantID]*announcer
	fatal      chan error
}

// NewConnect refuses with ErrOptions or ErrBank what cannot work.
func NewConnect(o Options) (*Connect, error) {
	if o.Bank == nil || o.Store == nil || o.Identity == nil || o.Cosigner == nil || o.Peers == nil ||
		o.Customers == nil || o.Random == nil || o.Log == nil {
		return nil, fmt.Errorf("a part is missing: %w", ErrOptions)
	}
	if err := o.Bank.Valid(); err != nil {
		return nil, err
	}
	if o.Identity.ID() != o.Bank.ID {
		return nil, fmt.Errorf("identity of %s, bank %s: %w", o.Identity.ID(), o.Bank.ID, ErrOptions)
	}
	if len(o.Bank.Direct) > 0 && (o.Tellers == nil || o.Books == nil || o.Anchors == nil) {
		return nil, fmt.Errorf("a part of the channels is missing: %w", ErrOptions)
	}
	if o.Tellers == nil {
		o.Tellers = newTellers(TellersOptions{Genesis: o.Bank.Genesis, ID: o.Bank.ID})
	}
	if o.Tellers.ID != o.Bank.ID || !o.Tellers.has(o.Bank.Direct) {
		return nil, fmt.Errorf("channels of %s in %v, bank %s: %w",
			o.Tellers.ID, o.Tellers.Assets, o.Bank.ID, ErrOptions)
	}
	c := &Connect{
		Options: o, calls: make(chan struct{}, callsAtOnce), fatal: make(chan error, 1),
		started: make(chan struct{}), byTerms: map[cypherlink.Hash]*live{},
		byCustody: map[ledger.CustodyID]*live{},
		byUETR:    map[cypherlink.UETR]*live{}, announcers: map[cypherlink.ParticipantID]*announcer{},
		recent: map[cypherlink.UETR]recalled{},
	}
	o.Tellers.payments = c
	c.payer = connector.NewEngine(connector.Options[*connector.Payer]{
		Role: "payer", Store: o.Store, Venues: o.Venues, Signer: o.Identity, Log: o.Log,
		Network: o.Bank.Genesis.Network(), Changed: c.payerMoved,
		Restore: func(log []connector.Event) (*connector.Payer, error) {
			return connector.NewPayer(o.Bank.Margins, log)
		},
	})
	c.payee = connector.NewEngine(connector.Options[*connector.Payee]{
		Role: "payee", Store: o.Store, Venues: o.Venues, Signer: o.Identity, Log: o.Log,
		Network: o.Bank.Genesis.Network(), Changed: c.payeeMoved, Restore: c.restorePayee,
	})
	c.table = newTable(&o, NewRosters(o.Bank.Genesis))
	return c, nil
}

func (c *Connect) restorePayee(log []connector.Event) (*connector.Payee, error) {
	return connector.NewPayee(c.Bank.Margins, c.Bank.Base, c.Bank.Secret, log)
}

// Run takes up what is open and works until ctx ends, which is no error, or until the store
// fails. It may be called once.
func (c *Connect) Run(ctx context.Context) error { return unlessEnded(ctx, c.run(ctx)) }

// unlessEnded is err, but that ctx has ended is no error.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

func (c *Connect) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	defer func() {
		c.mu.Lock()
		c.running = nil // nothing is started any more
		c.mu.Unlock()
		c.tasks.Wait()
	}()
	open, err := c.restore(ctx)
	if err != nil {
		return fmt.Errorf("take up the open payments: %w", err)
	}
	c.mu.Lock()
	c.running = ctx
	c.mu.Unlock()
	group.Go(func() error { return c.payer.Run(ctx) })
	group.Go(func() error { return c.payee.Run(ctx) })
	group.Go(func() error { return c.table.run(ctx) })
	for name, l := range c.Feeds() {
		group.Go(func() error { return c.follow(ctx, name, l) })
	}
	group.Go(func() error {
		select {
		case err := <-c.fatal:
			return err
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error { return c.takeUpOpen(ctx, open) })
	return group.Wait()
}

// takeUpOpen goes on with what was open, the channels first: the payments need them. Then it keeps them.
func (c *Connect) takeUpOpen(ctx context.Context, open []*live) error {
	var held, others []*live
	for _, l := range open {
		if l.machine != nil && l.machine.InChannel() {
			held = append(held, l)
			c.know(l)
		} else {
			others = append(others, l)
		}
	}
	goOn := func() {
		for _, l := range others {
			c.start(l)
		}
		close(c.started)
	}
	if len(c.Tellers.Assets) == 0 {
		goOn()
		return nil
	}
	return c.Tellers.run(ctx, held, goOn)
}

// ready waits until the Connect runs, and reports connector.ErrStopped when it does no more:
// what comes before or after would not be taken up.
func (c *Connect) ready(ctx context.Context) error {
	select {
	case <-c.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil || c.running.Err() != nil {
		return connector.ErrStopped
	}
	return nil
}

// start gives a payment its goroutine, if the Connect runs and the payment has none.
func (c *Connect) start(l *live) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx := c.running
	if ctx == nil || ctx.Err() != nil || c.byUETR[l.uetr] != nil {
		return
	}
	c.byUETR[l.uetr] = l
	if l.machine == nil {
		c.announcer(l.announced).open++
	}
	c.spawn(ctx, l)
}

// know makes a payment findable that has no goroutine, since the teller of its channel has it.
func (c *Connect) know(l *live) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byUETR[l.uetr] = l
}

// resume gives a payment its goroutine back after it has left its channel.
func (c *Connect) resume(l *live) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx := c.running; ctx != nil && ctx.Err() == nil {
		c.spawn(ctx, l)
	}
}

// spawn starts the goroutine of a payment; c.mu is held.
func (c *Connect) spawn(ctx context.Context, l *live) {
	c.tasks.Go(func() {
		var err error
		entered := false
		if l.machine != nil {
			entered, err = c.drive(ctx, l)
		} else {
			err = c.attend(ctx, l)
		}
		if !entered {
			c.dismiss(l)
		}
		if err != nil && ctx.Err() == nil {
			c.fail(fmt.Errorf("payment %s: %w", l.uetr, err))
		}
	})
}

// fail ends Run with an error.
func (c *Connect) fail(err error) {
	select {
	case c.fatal <- err:
	default:
	}
}

// enlist makes a payment findable by its terms and, where it witnesses them, its custodies.
func (c *Connect) enlist(l *live, hash cypherlink.Hash, custodies ...ledger.CustodyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.terms, l.custodies = hash, custodies
	c.byTerms[hash] = l
	for _, id := range custodies {
		c.byCustody[id] = l
	}
}

// dismiss forgets a payment whose goroutine ends. An incoming one of which something was heard meanwhile,
// such as that it has arrived all the same, gets another.
func (c *Connect) dismiss(l *live) {
	c.mu.Lock()
	left := l.close()
	delete(c.byUETR, l.uetr)
	if l.machine == nil {
		c.announcer(l.announced).open--
	}
	delete(c.byTerms, l.terms)
	for _, id := range l.custodies {
		delete(c.byCustody, id)
	}
	c.mu.Unlock()
	for _, n := range left {
		n.end()
	}
	if len(left) > 0 && l.machine == nil {
		c.reach(l.uetr, l.announced, note{inputs: []Input{Tick{}}}, time.Now())
	}
}

// payerMoved is called by the payer's engine.
func (c *Connect) payerMoved(hash cypherlink.Hash, m *connector.Payer) {
	c.mu.Lock()
	l := c.byTerms[hash]
	c.mu.Unlock()
	if l != nil {
		l.tell(note{inputs: []Input{payerMoves(m)}})
	}
}

func payerMoves(m *connector.Payer) Moves {
	in := Moves{Outcome: m.Outcome()}
	if r, ok := m.Refusal(); ok {
		in.Cause = refuse(r.Code, r.Reason, "the source ledger refused the custody", nil)
	}
	return in
}

// payeeMoved is called by the payee's engine.
func (c *Connect) payeeMoved(hash cypherlink.Hash, m *connector.Payee) {
	c.mu.Lock()
	l := c.byTerms[hash]
	c.mu.Unlock()
	if l != nil {
		l.tell(note{inputs: []Input{payeeMoves(m)}})
	}
}

func payeeMoves(m *connector.Payee) Moves {
	in := Moves{Outcome: m.Outcome()}
	if why := m.Declined(); why != "" {
		in.Cause = refuse(
			CodeDeclined, declinedReason(why), "this bank gave the custody back: "+string(why), nil)
	}
	return in
}

func declinedReason(why connector.Reason) string {
	switch why {
	case connector.ReasonCustody:
		return "AM09"
	case connector.ReasonLate, connector.ReasonReturned:
		return "TM01"
	case connector.ReasonPacket, connector.ReasonCondition:
	}
	return "MS03"
}
