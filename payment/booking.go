package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
)

// unreadyPause is how long the creditor's bank waits before it tells the debtor's again what that was
// not ready for.
const unreadyPause = 50 * time.Millisecond

// credited tells whether a payment over a channel has reached its creditor's account.
func (s Status) credited() bool { return s == StatusPosted || s == StatusCompleted }

var errBooks = errors.New("the bank's own books do not take it yet")

// enterBooks has the own books do what an outgoing payment needs. A refusal is none of the payment's:
// it is settled, so the books have to take it.
func (c *Connect) enterBooks(ctx context.Context, t Book) error {
	var err error
	switch t.Entry {
	case EnteredPost:
		err = c.Books.Post(ctx, t.Posting)
	case EnteredRelease:
		err = c.Books.Release(ctx, t.Posting)
	case EnteredRefuse:
		err = errInput
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %v", errBooks, t.Entry, err) //nolint:errorlint // a refusal is none here
	}
	return nil
}

// arrived is called when an incoming payment has come further in its channel: its goroutine books it.
func (c *Connect) arrived(m *Incoming) {
	if c.Changed != nil {
		c.Changed(m.payment())
	}
	c.rouse(m, note{inputs: []Input{Tick{}}}, time.Now())
}

// book does what an incoming payment over a channel needs until nothing more can be done now: again is
// when to go on, zero if something has to come first.
func (c *Connect) book(ctx context.Context, l *live, m *Incoming) (_ *Incoming, again time.Time, err error) {
	for {
		in, err := c.nextBooking(ctx, l, m)
		if err != nil {
			pause := c.Bank.Patience.Resend
			if refusal, ok := errors.AsType[*cypherlink.Error](err); ok && refusal.Code == CodeUnready {
				pause = unreadyPause
			} else if ctx.Err() == nil {
				c.Log.WarnContext(ctx, "a payment is not booked yet", slog.String("uetr", l.uetr.String()),
					slog.String("cause", err.Error()))
			}
			return m, time.Now().Add(pause), nil
		}
		if in == nil {
			return m, again, nil
		}
		if back, ok := in.(GotReturning); ok {
			m, err = c.beginReturn(ctx, m, back)
		} else {
			m, _, err = c.incoming(ctx, l.uetr, in)
		}
		if err != nil {
			return nil, again, err
		}
	}
}

// nextBooking does the next thing that the payment needs, and gives what it came to; nil if it needs
// nothing.
func (c *Connect) nextBooking(ctx context.Context, l *live, m *Incoming) (Input, error) {
	payer, lane := m.announced.Payer, &m.lane
	ctx, cancel := context.WithTimeout(ctx, callPatience*c.Bank.Patience.Resend)
	defer cancel()
	switch m.status {
	case StatusSettled:
		err := c.Books.Post(ctx, m.posting())
		if refusal, refused := errors.AsType[*cypherlink.Error](err); refused {
			c.Log.WarnContext(ctx, "the creditor's account does not take a payment, which goes back",
				slog.String("uetr", l.uetr.String()), slog.String("cause", err.Error()))
			return GotBooked{EnteredRefuse, refusal.Reason}, c.Books.Refuse(ctx, m.posting())
		}
		return GotBooked{Entry: EnteredPost}, err
	case StatusPosted:
		return c.tellCredited(ctx, l, payer)
	case StatusReturnPending:
		switch {
		case lane.booked == 0:
			return GotBooked{EnteredRefuse, "TM01"}, c.Books.Refuse(ctx, m.posting()) // it had been given up
		case m.staysHere():
			return c.tellCredited(ctx, l, payer)
		case lane.returning.IsZero():
			return c.mayReturn(m)
		}
		return c.awaitReturn(ctx, l, m)
	case "", StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusValidating, StatusApproved,
		StatusReserved, StatusSigned1, StatusInDoubt, StatusSigned2, StatusRejected, StatusExpired,
		StatusCompleted, StatusAborted, StatusReturned:
	}
	return nil, nil //nolint:nilnil // nothing is needed
}

func (c *Connect) tellCredited(ctx context.Context, l *live, payer cypherlink.ParticipantID) (Input, error) {
	credit := &Credit{UETR: l.uetr}
	_, err := c.Peers.Call(ctx, payer, KindCredit, credit.Encode())
	return GotCredited{}, err
}

var errReturning = errors.New("the payment that brings it back is under way")

// returnPause is how long after a payment that did not bring the money back another one is tried.
const returnPause = time.Minute

// mayReturn lets a payment that brings the money back begin, if there is a way for it.
func (c *Connect) mayReturn(m *Incoming) (Input, error) {
	if c.Tellers.channelWith(m.announced.Payer, m.announced.Setup.Asset) == nil {
		return nil, fmt.Errorf("%w: there is no open channel", errReturning)
	}
	return GotReturning{}, nil
}

// awaitReturn tells the debtor's bank which payment brings the money back, and looks how that stands.
func (c *Connect) awaitReturn(ctx context.Context, l *live, m *Incoming) (Input, error) {
	if !l.told {
		credit := &Credit{UETR: l.uetr, Returns: m.lane.returning}
		if _, err := c.Peers.Call(ctx, m.announced.Payer, KindCredit, credit.Encode()); err != nil {
			return nil, err
		}
		l.told = true
	}
	back, err := c.Payment(ctx, m.lane.returning)
	switch {
	case err != nil:
		return nil, err
	case back.Status == StatusCompleted:
		return GotReturned{}, nil
	case slices.Contains([]Status{StatusRejected, StatusExpired, StatusAborted}, back.Status) &&
		time.Since(back.Updated) >= returnPause:
		l.told = false
		return c.mayReturn(m)
	}
	return nil, fmt.Errorf("%w: %s is %s", errReturning, m.lane.returning, back.Status)
}

// beginReturn begins the payment that brings the money of an incoming one back, in the commit that says
// so.
func (c *Connect) beginReturn(ctx context.Context, m *Incoming, in GotReturning) (*Incoming, error) {
	order, err := m.returningOrder(c.Random)
	if err != nil {
		return nil, err
	}
	in.By = order.UETR
	s := submission{connect: c, in: Instruct{Instruction: order, Format: JSON}}
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		var e Effects
		var err error
		if m, e, err = c.takeUp(tx, order.Returns, in); err != nil || len(e.Persist) == 0 {
			return err
		}
		return s.begin(tx, streamOf(order.UETR))
	})
	if err != nil {
		return nil, err
	}
	if c.Changed != nil {
		c.Changed(m.payment())
	}
	if s.machine != nil {
		p, _, err := view(c.Bank, s.log)
		if err != nil {
			return nil, err
		}
		c.begin(&s, p)
	}
	return m, nil
}

// broughtBack looks whether the payment that the creditor's bank has named has brought the money back.
func (c *Connect) broughtBack(ctx context.Context, t AwaitReturn) ([]Input, error) {
	log, err := c.logOf(ctx, t.By)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errReturning, err) //nolint:errorlint // it may come yet
	}
	if _, incoming := log[0].Fact.(Announced); !incoming {
		return nil, fmt.Errorf("%w: payment %s is this bank's own", errReturning, t.By)
	}
	m, err := NewIncoming(c.Bank, log)
	if err != nil {
		return nil, err
	}
	setup := m.announced.Setup
	switch {
	case setup.Returns != t.Of || m.announced.Payer != t.From || setup.Asset != t.Money.Asset ||
		setup.Amount != t.Money.Amount:
		return nil, fmt.Errorf("%w: payment %s brings back something else", errReturning, t.By)
	case !m.status.credited():
		return nil, nil
	}
	return []Input{GotReturned{}}, nil
}

// credited takes the creditor's bank's word on an outgoing payment. As long as that is not booked here
// it is to come again.
func (c *Connect) credited(ctx context.Context, from cypherlink.ParticipantID, body []byte) error {
	credit, err := DecodeCredit(body)
	if err != nil {
		return malformed(err)
	}
	c.mu.Lock()
	l := c.byUETR[credit.UETR]
	c.mu.Unlock()
	if l != nil && l.creditor == from { // it asks until the payment is booked
		switch status := l.shown.Load().Status; {
		case status == StatusPosted:
			return l.credit(ctx, credit)
		case status == StatusSettled, !status.Final():
			return refuse(CodeUnready, "ED06", "the payment is not booked here yet", nil)
		}
	}
	log, err := c.logOf(ctx, credit.UETR)
	if err != nil {
		return err
	}
	if _, outgoing := log[0].Fact.(Instructed); !outgoing {
		return refuse(CodeUnknown, "", "this bank has sent no such payment", errNone)
	}
	o, err := NewOutgoing(c.Bank, c.Random, log)
	if err != nil {
		return err
	}
	switch {
	case !o.direct() || o.route.Payee != from:
		return refuse(CodeParty, "AGNT", "the payment is to another bank", nil)
	case o.Over() || o.status == StatusReturnPending && o.lane.returning == credit.Returns:
		return nil
	case o.namedLately(time.Now()):
		return refuse(CodeUnready, "ED06", "another payment was just said to bring it back", nil)
	case l == nil || o.status != StatusPosted && (o.status != StatusReturnPending || credit.Returns.IsZero()):
		return refuse(CodeUnready, "ED06", "the payment is not booked here yet", nil)
	}
	return l.credit(ctx, credit)
}

// credit tells an outgoing payment the creditor's bank's word, and waits until that is durable.
func (l *live) credit(ctx context.Context, credit *Credit) error {
	var in Input = GotCredited{}
	if !credit.Returns.IsZero() {
		in = GotReturning{credit.Returns}
	}
	taken := make(chan struct{})
	l.tell(note{inputs: []Input{in}, taken: func() { close(taken) }})
	select {
	case <-taken:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
