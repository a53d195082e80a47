package payment

import (
	"errors"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// Dealer is who a connector is and how it deals: all that its offers have to know. It does not
// change.
type Dealer struct {
	Genesis *chain.Genesis
	ID      cypherlink.ParticipantID
	// Account is the number of the connector's own account on every ledger.
	Account uint32
	// Margins give the holds of a quote and the relay window that terms must leave.
	Margins connector.Margins
	// Valid is how long a quote may be used, in whole seconds; Slack by how much the payer's
	// clock may differ.
	Valid, Slack time.Duration
}

// Check reports ErrBank unless the connector is registered as a clearing bank, its holds are
// whole seconds, and its times are positive.
func (d *Dealer) Check() error {
	self, ok := d.Genesis.Participant(d.ID)
	if !ok || self.Role != chain.RoleClearing {
		return fmt.Errorf("%s is no clearing bank of the network: %w", d.ID, ErrBank)
	}
	for _, t := range []time.Duration{d.Margins.SourceHold, d.Margins.DestinationHold, d.Valid, d.Slack} {
		if t < time.Second || t%time.Second != 0 {
			return fmt.Errorf("a hold, validity or slack of %s: %w", t, ErrBank)
		}
	}
	return nil
}

// Quote is an offer at now, under that id, which is random.
func (d *Dealer) Quote(
	now time.Time, id cypherlink.Hash, asker cypherlink.ParticipantID, r *QuoteRequest, price connector.Price,
) (*connector.Quote, error) {
	source, err := price.Source(r.Amount)
	if err != nil {
		return nil, err
	}
	account := cypherlink.Account{Owner: d.ID, Number: d.Account}
	q := &connector.Quote{
		Network: d.Genesis.Network(), ID: id, Connector: d.ID, Asker: asker,
		Source:      connector.Movement{Asset: r.Source, Amount: source, Account: account},
		Destination: connector.Movement{Asset: r.Destination, Amount: r.Amount, Account: account},
		Price:       price, ValidUntil: now.Add(d.Valid).Unix(),
		SourceHold:      int64(d.Margins.SourceHold / time.Second),
		DestinationHold: int64(d.Margins.DestinationHold / time.Second),
	}
	return q, q.Valid()
}

// Offer is the connector's machine for one quote: it is used for one payment's terms, once.
// Its first input is Issue.
type Offer struct {
	dealer *Dealer
	quote  *connector.SignedQuote
	taken  *terms.Terms
	bound  *terms.Proof
}

// NewOffer restores an offer from its log, which is empty for a new one.
func NewOffer(dealer *Dealer, log []Event) (*Offer, error) {
	o := &Offer{dealer: dealer}
	for i, e := range log {
		if err := o.apply(e); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	return o, nil
}

// Taken are the terms that the connector signs on the quote, or nil.
func (o *Offer) Taken() *terms.Terms { return o.taken }

func (o *Offer) apply(e Event) error {
	fits := false
	switch f := e.Fact.(type) {
	case Offered:
		fits, o.quote = o.quote == nil, f.Quote
	case Taken:
		fits, o.taken = o.quote != nil && o.taken == nil, f.Terms
	case Bound:
		fits, o.bound = o.taken != nil && o.bound == nil, f.Proof
	case Instructed, Routed, Disclosed, Addressed, Quoted, Drafted, Agreed, Judged, Relayed, Moved,
		Witnessed, Ended, Announced, Promised, Held, Laned, Booked, Credited, Returning, Returned:
	}
	if !fits {
		return fmt.Errorf("%s in the log of an offer: %w", KindName(e.Fact), ErrEvent)
	}
	return nil
}

// Step tells the machine something at the connector's time now. A question is answered by
// Effects.Refusal, nil meaning yes; a repeated one as it was the first time.
func (o *Offer) Step(now time.Time, in Input) (Effects, error) {
	var facts []Fact
	var e Effects
	switch in := in.(type) {
	case Issue:
		if o.quote == nil {
			facts = []Fact{Offered(in)}
		}
	case Propose:
		facts, e.Refusal = o.propose(now, in)
	case Present:
		facts, e.Refusal = o.present(in)
	case Tick:
	case Instruct, GotSetup, GotQuote, GotProof, GotVerdicts, GotRelay, GotPayer, Refused, Seen, Moves,
		Ask, GotHold, InLane, NotInLane, GotBooked, GotCredited, GotReturning, GotReturned:
		return Effects{}, fmt.Errorf("%T: %w", in, errInput)
	}
	for _, f := range facts {
		event := Event{At: now.UnixMilli(), Fact: f}
		if err := o.apply(event); err != nil {
			return Effects{}, err // propose and present know what may follow
		}
		e.Persist = append(e.Persist, event)
	}
	return e, nil
}

// propose judges terms: they are what was quoted, in time, for the asker, and leave the relay
// its window; and no other terms took the quote.
func (o *Offer) propose(now time.Time, in Propose) ([]Fact, *cypherlink.Error) {
	t := in.Terms
	switch {
	case in.From != t.Payer || t.Connector != o.dealer.ID:
		return nil, refuse(CodeParty, "AGNT", "the terms are another bank's", nil)
	case o.quote == nil:
		return nil, refuse(CodeQuote, "NARR", "the connector gave no such quote", nil)
	case o.taken != nil && o.taken.Hash() == t.Hash():
		return nil, nil // a signature that was given is given again
	case o.taken != nil:
		return nil, refuse(CodeQuote, "DU03", "the quote is used", nil)
	}
	if ledger.InChannel(t.Last()) && !in.Channel {
		return nil, refuse(CodeTerms, "AG03", "the connector pays the paid bank in no channel", nil)
	}
	slack := int64(o.dealer.Slack / time.Second)
	switch err := o.quote.Quote.Covers(t, now.Unix(), slack); {
	case errors.Is(err, connector.ErrQuoteExpired):
		return nil, refuse(CodeQuote, "TM01", "the quote has expired", err)
	case err != nil:
		return nil, refuse(CodeQuote, "AM09", "the terms are not what was quoted", err)
	}
	if err := o.dealer.Margins.Cascade(t); err != nil {
		return nil, refuse(CodeTerms, "TM01", "the terms leave the connector too little time", err)
	}
	return []Fact{Taken{t}}, nil
}

// present takes the proof of the terms that the connector signed.
func (o *Offer) present(in Present) ([]Fact, *cypherlink.Error) {
	switch {
	case in.From != in.Proof.Terms.Payer:
		return nil, refuse(CodeParty, "AGNT", "the terms are another bank's", nil)
	case o.taken == nil || in.Proof.Terms.Hash() != o.taken.Hash():
		return nil, refuse(CodeTerms, "DU03", "these are not the terms that the connector signed", nil)
	case o.bound != nil:
		return nil, nil
	}
	return []Fact{Bound{in.Proof}}, nil
}
