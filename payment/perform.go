package payment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// callPatience is how many resend intervals a call may take before it is given up.
const callPatience = 4

// perform does a task and gives what it came to; nothing if that is unknown.
func (c *Connect) perform(ctx context.Context, l *live, t Task) []Input {
	select {
	case c.calls <- struct{}{}:
		defer func() { <-c.calls }()
	case <-ctx.Done():
		return nil
	}
	call := ctx
	switch t.(type) {
	case Agree, BeginPayer, AwaitReturn: // within this process, which answers in time
	case Hold, Book, AskSetup, AskQuote, Judge, Certify, BeginRelay, LookUp:
		var cancel context.CancelFunc
		call, cancel = context.WithTimeout(ctx, callPatience*c.Bank.Patience.Resend)
		defer cancel()
	}
	inputs, err := c.try(call, t)
	if err == nil {
		return inputs
	}
	if refusal, ok := errors.AsType[*cypherlink.Error](err); ok && refusal.Code != CodeCrowded {
		return []Input{Refused{Question: t.Question(), Refusal: refusal}}
	}
	if ctx.Err() == nil {
		c.Log.WarnContext(ctx, "a payment's question is not answered yet",
			slog.String("uetr", l.uetr.String()), slog.Int("question", int(t.Question())),
			slog.String("cause", err.Error()))
	}
	return nil
}

// try does a task once. A refusal is a *cypherlink.Error; after any other error the task may
// be repeated.
func (c *Connect) try(ctx context.Context, t Task) ([]Input, error) {
	switch t := t.(type) {
	case AskSetup:
		raw, err := c.Peers.Call(ctx, t.To, KindSetup, t.Setup.Encode())
		if err != nil {
			return nil, err
		}
		a, err := DecodeSetupAnswer(raw)
		return []Input{GotSetup{a}}, err
	case AskQuote:
		return c.askQuote(ctx, t)
	case Agree:
		return c.agree(ctx, t.Terms)
	case Judge:
		verdicts, err := pollAll(ctx, c.Bank.Genesis, c.Peers, c.Log, t.Request)
		return []Input{GotVerdicts{Leg: t.Request.Leg, Verdicts: verdicts}}, err
	case Certify:
		raw, err := c.Peers.Call(ctx, t.To, KindCertify, t.Proof.Encode())
		if err != nil {
			return nil, err
		}
		verdicts, err := DecodeVerdicts(raw)
		return []Input{GotVerdicts{Leg: terms.Destination, Verdicts: verdicts}}, err
	case BeginRelay:
		_, err := c.Peers.Call(ctx, t.To, KindBegin, t.Request.Encode())
		return []Input{GotRelay{}}, err
	case BeginPayer:
		return c.beginPayer(ctx, t)
	case LookUp:
		return c.lookUp(ctx, t)
	case Hold:
		return []Input{GotHold{}}, c.Books.Hold(ctx, t.Posting)
	case Book:
		return []Input{GotBooked{Entry: t.Entry}}, c.enterBooks(ctx, t)
	case AwaitReturn:
		return c.broughtBack(ctx, t)
	}
	return nil, fmt.Errorf("%T: %w", t, errInput)
}

// askQuote asks for a price, and for a payment in the channel with the connector if that has the money.
func (c *Connect) askQuote(ctx context.Context, t AskQuote) ([]Input, error) {
	request := *t.Request
	request.Lane = c.Tellers.spare(t.To, request.Source)
	raw, err := c.Peers.Call(ctx, t.To, KindQuote, request.Encode())
	if err != nil {
		return nil, err
	}
	signed, err := connector.DecodeQuote(raw, c.Bank.Genesis)
	if err != nil {
		return nil, err
	}
	q := &signed.Quote
	hold := min(q.SourceHold, int64(c.Bank.Margins.MaxHold/time.Second)) // a longer one is not agreed to
	until := time.Now().Add(time.Duration(hold) * time.Second)
	if q.Source.Account.Number == ledger.ChannelNumber &&
		!c.Tellers.earmark(q.Hash(), earmark{t.To, request.Source, q.Source.Amount, until}) {
		// the next quote is without
		return nil, fmt.Errorf("another payment has the channel's money: %w", ErrNotNow)
	}
	return []Input{GotQuote{signed, request.Lane}}, nil
}

// agree has terms signed. Those of one leg need a channel, for which there is no other way.
func (c *Connect) agree(ctx context.Context, t *terms.Terms) ([]Input, error) {
	var in GotProof
	if len(t.Legs) == 1 {
		teller := c.Tellers.channelWith(t.Payee, t.Legs[terms.Source].Asset)
		if teller == nil {
			return nil, refuse(CodeNoWay, "AG03", "there is no open channel with the creditor's bank", nil)
		}
		in.Channel = teller.id
	}
	c.Tellers.assign(t.Quote, channels.LockID(ledger.NewCustodyID(t.Network, t.Hash(), terms.Source)))
	var err error
	in.Proof, err = c.table.agree(ctx, t)
	return []Input{in}, err
}

// beginPayer starts the machine on the ledgers, unless it was started before this process
// was: then it tells where that stands.
func (c *Connect) beginPayer(ctx context.Context, t BeginPayer) ([]Input, error) {
	log, err := c.payer.History(ctx, t.Terms.Hash())
	if err != nil {
		return nil, err
	}
	if len(log) > 0 {
		m, err := connector.NewPayer(c.Bank.Margins, log)
		if err != nil {
			return nil, err
		}
		return []Input{GotPayer{}, payerMoves(m)}, nil
	}
	err = c.payer.Begin(ctx, connector.Begin{Terms: t.Terms, Packet: t.Packet, Verdicts: t.Verdicts})
	if errors.Is(err, connector.ErrMargin) {
		return nil, refuse(CodeLate, "TM01", "the terms leave no time for the custody", err)
	}
	return []Input{GotPayer{}}, err
}

func (c *Connect) lookUp(ctx context.Context, t LookUp) ([]Input, error) {
	l := c.Of(c.Bank.ID, &t.Fields)
	if l == nil {
		return nil, fmt.Errorf("where leg %d moves is not reached from here: %w", t.Leg, ErrOptions)
	}
	receipt, err := l.Lookup(ctx, t.Custody)
	if err != nil {
		return nil, err
	}
	return []Input{Seen{receipt}}, nil
}
