package payment

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// ClearingOptions make a Clearing. Every field but Tellers is needed.
type ClearingOptions struct {
	Dealer *Dealer
	Store  *store.Store
	// Venues are those between which the connector stands.
	connector.Venues
	Identity connector.Signer
	Cosigner terms.Signer
	Prices   Prices
	// Tellers are the connector's channels; nil if it has none.
	Tellers *Tellers
	// Random is a cryptographic source.
	Random io.Reader
	Log    *slog.Logger
}

// Clearing is a connector's side of payments as a process: it gives quotes, signs terms on them,
// and carries payments. An offer lives in the store alone and is taken up for each call.
type Clearing struct {
	ClearingOptions
	relay   *connector.Engine[*connector.Relay]
	rosters *Rosters
	// begins keeps two calls from beginning one relay machine.
	begins singleflight.Group
}

// NewClearing refuses with ErrOptions or ErrBank what cannot work.
func NewClearing(o ClearingOptions) (*Clearing, error) {
	if o.Dealer == nil || o.Store == nil || o.Identity == nil || o.Cosigner == nil || o.Prices == nil ||
		o.Random == nil || o.Log == nil {
		return nil, fmt.Errorf("a part is missing: %w", ErrOptions)
	}
	if err := o.Dealer.Check(); err != nil {
		return nil, err
	}
	if o.Identity.ID() != o.Dealer.ID {
		return nil, fmt.Errorf("identity of %s, connector %s: %w", o.Identity.ID(), o.Dealer.ID, ErrOptions)
	}
	if o.Tellers == nil {
		o.Tellers = newTellers(TellersOptions{Genesis: o.Dealer.Genesis, ID: o.Dealer.ID})
	}
	if o.Tellers.ID != o.Dealer.ID {
		return nil, fmt.Errorf("channels of %s, connector %s: %w", o.Tellers.ID, o.Dealer.ID, ErrOptions)
	}
	c := &Clearing{ClearingOptions: o, rosters: NewRosters(o.Dealer.Genesis)}
	c.relay = connector.NewEngine(connector.Options[*connector.Relay]{
		Role: "relay", Store: o.Store, Venues: o.Venues, Signer: o.Identity, Log: o.Log,
		Network: o.Dealer.Genesis.Network(),
		Restore: func(log []connector.Event) (*connector.Relay, error) {
			return connector.NewRelay(o.Dealer.Margins, log)
		},
	})
	return c, nil
}

// Run carries payments and keeps the channels until ctx ends, which is no error, or until the store
// fails. It may be called once.
func (c *Clearing) Run(ctx context.Context) error {
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { return c.relay.Run(inner) })
	if len(c.Tellers.Assets) > 0 {
		group.Go(func() error { return c.Tellers.run(inner, nil, func() {}) })
	}
	return unlessEnded(ctx, group.Wait())
}

// Serve answers a call of another institution, whom the caller has authenticated. A refusal that
// may be told is a *cypherlink.Error.
func (c *Clearing) Serve(
	ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte,
) ([]byte, error) {
	if len(c.Tellers.Assets) > 0 { // what it promises depends on its channels
		if err := c.Tellers.ready(ctx); err != nil {
			return nil, err
		}
	}
	switch kind {
	case KindQuote:
		request, err := DecodeQuoteRequest(body)
		if err != nil {
			return nil, malformed(err)
		}
		quote, err := c.Quote(ctx, from, request)
		if err != nil {
			return nil, err
		}
		return quote.Encode(), nil
	case KindTerms:
		return c.countersign(ctx, from, body)
	case KindBegin:
		return nil, c.begin(ctx, from, body)
	}
	if answer, ok, err := c.Tellers.serve(ctx, from, kind, body); ok {
		return answer, err
	}
	return nil, fmt.Errorf("call of kind %d: %w", kind, ErrMessage)
}

// Quote gives a signed quote to a bank, which alone may use it. It is stored before it is told.
func (c *Clearing) Quote(
	ctx context.Context, asker cypherlink.ParticipantID, r *QuoteRequest,
) (*connector.SignedQuote, error) {
	signed, err := c.sign(ctx, asker, r)
	if err != nil {
		return nil, err
	}
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		_, err := c.takeUp(tx, signed.Quote.Hash(), Issue{signed})
		return err
	})
	return signed, err
}

// QuoteOnce is Quote under an idempotency key, of 1 to 512 printable ASCII characters, for the
// request whose bytes are raw: the same again gives the quote that was given then, and replayed;
// another body is CodeKeyReused.
func (c *Clearing) QuoteOnce(
	ctx context.Context, asker cypherlink.ParticipantID, r *QuoteRequest, raw []byte, key string,
) (quote *connector.SignedQuote, replayed bool, err error) {
	if key, err = checkKey("quote/", key); err != nil {
		return nil, false, err
	}
	fresh, none := c.sign(ctx, asker, r) // none counts for nobody who has a quote already
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		quote, replayed = fresh, false
		stream, _, err := standingUnder(tx, key, raw)
		if err != nil {
			return err
		}
		if stream != "" {
			log, err := loadLog(&tx.Reader, stream, c.Dealer.Genesis)
			if err != nil {
				return err
			}
			o, err := NewOffer(c.Dealer, log)
			if err == nil {
				quote, replayed = o.quote, true
			}
			return err
		}
		if none != nil {
			return none
		}
		hash := fresh.Quote.Hash()
		if _, err := c.takeUp(tx, hash, Issue{fresh}); err != nil {
			return err
		}
		return standUnder(tx, key, raw, offerStream(hash), 1)
	})
	if fresh != nil && (err != nil || replayed) {
		c.Tellers.forgo(fresh.Quote.Hash())
	}
	return quote, replayed, err
}

// sign makes a quote under the connector's signature.
func (c *Clearing) sign(
	ctx context.Context, asker cypherlink.ParticipantID, r *QuoteRequest,
) (*connector.SignedQuote, error) {
	price, ok := c.Prices.Price(ctx, r.Source, r.Destination)
	if !ok {
		return nil, refuse(CodeNoQuote, "AM03", "the connector does not deal in these assets", nil)
	}
	var id cypherlink.Hash
	if _, err := io.ReadFull(c.Random, id[:]); err != nil {
		return nil, err
	}
	q, err := c.Dealer.Quote(time.Now(), id, asker, r, price)
	if err != nil {
		return nil, refuse(CodeNoQuote, "AM12", "no quote for this amount", err)
	}
	c.choose(q, r)
	signature, err := c.Identity.Sign(q.Frame())
	if err != nil {
		return nil, err
	}
	return &connector.SignedQuote{Quote: *q, Signature: signature}, nil
}

// choose has the legs of a quote move in the connector's channels where these have the money: the source if
// the asker says so and the connector sees their channel too, the destination if the paid bank is known. What
// it promises of its own is kept for the quote, as long as this may be used.
func (c *Clearing) choose(q *connector.Quote, r *QuoteRequest) {
	if r.Lane >= q.Source.Amount && c.Tellers.channelWith(q.Asker, r.Source) != nil {
		q.Source.Account.Number = ledger.ChannelNumber
	}
	on := *q
	on.Destination.Account.Number = ledger.ChannelNumber
	until := time.Unix(q.ValidUntil+q.DestinationHold, 0).Add(c.Dealer.Slack)
	if c.Tellers.earmark(on.Hash(), earmark{r.Payee, r.Destination, r.Amount, until}) {
		*q = on
	}
}

// takeUp loads an offer, tells it something, and stores what it says.
func (c *Clearing) takeUp(tx *store.Tx, quote cypherlink.Hash, in Input) (*cypherlink.Error, error) {
	log, err := loadLog(&tx.Reader, offerStream(quote), c.Dealer.Genesis)
	if err != nil {
		return nil, err
	}
	o, err := NewOffer(c.Dealer, log)
	if err != nil {
		return nil, err
	}
	e, err := o.Step(time.Now(), in)
	if err != nil || len(e.Persist) == 0 {
		return e.Refusal, err
	}
	return e.Refusal, appendEvents(tx, offerStream(quote), int64(len(log)), e.Persist)
}

// countersign signs a batch of terms, if all of them are what was quoted. The quotes are used
// in one commit, before the signature.
func (c *Clearing) countersign(
	ctx context.Context, from cypherlink.ParticipantID, body []byte,
) ([]byte, error) {
	b, err := terms.DecodeBatch(body)
	if err != nil {
		return nil, malformed(err)
	}
	session, _, err := c.rosters.session(b.Terms[0])
	if err != nil {
		return nil, malformed(err)
	}
	answer, err := session.Countersign(b, c.Cosigner, func(b *terms.Batch) ([]terms.Refusal, error) {
		var refusals []terms.Refusal
		err := c.Store.Update(ctx, func(tx *store.Tx) error {
			refusals = nil
			for i, t := range b.Terms {
				in := Propose{From: from, Terms: t}
				in.Channel = c.Tellers.across(t.Last()) != nil && c.Tellers.keeps(t.Quote, t.Payee)
				refusal, err := c.takeUp(tx, t.Quote, in)
				if err != nil {
					return err
				}
				if refusal != nil {
					refusals = append(refusals, refusalAt(i, refusal))
					continue
				}
				lock := ledger.NewCustodyID(t.Network, t.Hash(), terms.Destination)
				c.Tellers.assign(t.Quote, channels.LockID(lock))
			}
			return nil
		})
		return refusals, err
	})
	if err != nil {
		return nil, err
	}
	return answer.Encode(), nil
}

// begin takes a payment on: the proof and the destination's verdicts hold, and the relay's
// machine is begun, durably.
func (c *Clearing) begin(ctx context.Context, from cypherlink.ParticipantID, body []byte) error {
	r, err := DecodeBeginRequest(body)
	if err != nil {
		return malformed(err)
	}
	t := r.Proof.Terms
	if from != t.Payer {
		return refuse(CodeParty, "AGNT", "the terms are another bank's", nil)
	}
	_, err, _ = c.begins.Do(t.Hash().String(), func() (any, error) {
		log, err := c.relay.History(ctx, t.Hash())
		if err != nil || len(log) > 0 {
			return nil, err // it carries the payment already
		}
		if err := c.bind(ctx, from, r); err != nil {
			return nil, err
		}
		return nil, c.relay.Begin(ctx, connector.Begin{Terms: t, Verdicts: r.Verdicts})
	})
	return err
}

// bind checks what a payment is taken on with, and keeps its proof.
func (c *Clearing) bind(ctx context.Context, from cypherlink.ParticipantID, r *BeginRequest) error {
	if err := c.rosters.Verify(r.Proof); err != nil {
		return refuse(CodeTerms, "DS0B", "the proof does not hold", err)
	}
	err := approved(c.Dealer.Genesis, r.Proof.Terms, terms.Destination, r.Verdicts, time.Now())
	if err != nil {
		return refuse(CodeVerdict, "DS0A", "the destination's validators have not approved", err)
	}
	var refusal *cypherlink.Error
	err = c.Store.Update(ctx, func(tx *store.Tx) (err error) {
		refusal, err = c.takeUp(tx, r.Proof.Terms.Quote, Present{From: from, Proof: r.Proof})
		return err
	})
	if err == nil && refusal != nil {
		return refusal
	}
	return err
}
