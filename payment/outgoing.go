package payment

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// Outgoing is the paying bank's machine for one payment.
type Outgoing struct {
	bank   *Bank
	random io.Reader
	outgoing
	// begun: this process knows that the payer machine exists. sent paces what is repeated.
	begun bool
	sent  [questionLast + 1]time.Time
}

// outgoing is the fold of an Outgoing's log.
type outgoing struct {
	status     Status
	instructed *Instructed
	since      time.Time // of the instruction
	updated    time.Time // by the last event
	route      *Route
	disclosure *kyc.Disclosure
	setup      *SetupAnswer
	file       *kyc.File
	quote      *connector.SignedQuote
	drafted    *Drafted
	draftedAt  time.Time
	proof      *terms.Proof
	verdicts   [2][]validator.Signed
	judged     [2]bool
	moved      *Moved
	// prepared and last are the receipts of both custodies: the first one, and the one that
	// cannot change any more.
	prepared, last [2]*ledger.Receipt
	ended          *Ended
	lane           laned
}

// NewOutgoing restores an Outgoing from its log, which is empty for a new one. Random is a
// cryptographic source: of salts, and of the packet's nonce.
func NewOutgoing(bank *Bank, random io.Reader, log []Event) (*Outgoing, error) {
	o := &Outgoing{bank: bank, random: random}
	for i, e := range log {
		if err := o.apply(e); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	return o, nil
}

// Status is where the payment stands.
func (o *Outgoing) Status() Status { return o.status }

// Over tells whether nothing can change any more, nor be added to the proof.
func (o *Outgoing) Over() bool {
	if o.direct() {
		return o.overDirect()
	}
	if o.status != StatusSettled {
		return o.status.Final()
	}
	for leg, last := range o.last {
		lock := ledger.InChannel(&o.drafted.Terms.Legs[leg]) // its end proves its beginning
		if last == nil || o.prepared[leg] == nil && last.Custody.State != ledger.Absent && !lock {
			return false
		}
	}
	return true
}

// Custodies are the ids of the two custodies, once terms are drawn up; ok tells whether they
// are.
func (o *Outgoing) Custodies() (ids [2]ledger.CustodyID, ok bool) {
	if o.drafted == nil {
		return ids, false
	}
	for leg := range ids {
		ids[leg] = o.custody(uint8(leg))
	}
	return ids, true
}

func (o *Outgoing) custody(leg uint8) ledger.CustodyID {
	t := o.drafted.Terms
	return ledger.NewCustodyID(t.Network, t.Hash(), leg)
}

// apply folds one event. An event that cannot follow is ErrEvent.
func (o *outgoing) apply(e Event) error {
	to := o.status
	switch f := e.Fact.(type) {
	case Instructed:
		o.instructed, o.since, to = &f, moment(e.At), StatusReceived
	case Routed:
		o.route, to = f.Route, StatusChecked
	case Disclosed:
		o.disclosure, to = f.Disclosure, StatusNegotiating
	case Addressed:
		o.setup = f.Setup
		file, err := kyc.NewFile(o.disclosure, &f.Setup.Answer)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrEvent, err)
		}
		o.file = file
	case Quoted:
		o.quote = f.Quote
	case Drafted:
		o.drafted, o.draftedAt = &f, moment(e.At)
	case Agreed:
		o.proof, o.lane.channel, to = f.Proof, f.Channel, StatusAgreed
	case Judged:
		if f.Leg > terms.Destination {
			return fmt.Errorf("leg %d: %w", f.Leg, ErrEvent)
		}
		o.verdicts[f.Leg], o.judged[f.Leg], to = f.Verdicts, true, StatusValidating
		if o.direct() {
			to = StatusApproved // it has one leg
		}
	case Relayed:
		to = StatusApproved
	case Moved:
		o.moved = &f
		to = movedTo(f.Outcome, to)
	case Witnessed:
		o.witness(f.Receipt)
	case Ended:
		o.ended, to = &f, f.Status
	case Held, Laned, Booked, Credited, Returning, Returned:
		to = o.lane.apply(f, to)
	case Announced, Promised, Offered, Taken, Bound:
		return fmt.Errorf("%s in the log of an outgoing payment: %w", KindName(f), ErrEvent)
	}
	if to != o.status && !o.status.leadsTo(to) {
		return fmt.Errorf("%s after %s: %w", to, o.status, ErrEvent)
	}
	o.status, o.updated = to, moment(e.At)
	return nil
}

// movedTo is the status that follows from what the ledgers did. Undone is no status yet: the
// receipts tell which end it is.
func movedTo(outcome connector.Outcome, now Status) Status {
	switch outcome {
	case connector.Reserved:
		return StatusReserved
	case connector.Settled, connector.Loss:
		return StatusSettled
	case connector.Pending, connector.Undone:
	}
	return now
}

func (o *outgoing) witness(r ledger.Receipt) {
	for i, l := range o.drafted.Terms.Legs {
		if l.Asset.Ledger != r.Ledger {
			continue
		}
		if r.Custody.State == ledger.Prepared {
			o.prepared[i] = &r
		} else {
			o.last[i] = &r
		}
	}
}

// Step tells the machine something at the bank's time now. A repeated input, an answer to a
// question that is answered, and any input after the end change nothing. A refused input, such
// as an answer that does not fit its question, is an error and changes nothing; the question
// stays open.
func (o *Outgoing) Step(now time.Time, in Input) (Effects, error) {
	facts, err := o.take(now, in)
	if err != nil {
		return Effects{}, err
	}
	var e Effects
	if err := o.record(now, &e, facts); err != nil {
		return Effects{}, err
	}
	if err := o.record(now, &e, o.decide(now)); err != nil {
		return Effects{}, err
	}
	o.want(now, &e)
	return e, nil
}

// record makes facts events.
func (o *Outgoing) record(now time.Time, e *Effects, facts []Fact) error {
	for _, f := range facts {
		event := Event{At: now.UnixMilli(), Fact: f}
		if err := o.apply(event); err != nil {
			return err // take and decide know what may follow
		}
		e.Persist = append(e.Persist, event)
	}
	return nil
}

// take turns an input into facts.
func (o *Outgoing) take(now time.Time, in Input) ([]Fact, error) {
	if first, ok := in.(Instruct); ok {
		return o.instruct(first)
	}
	if o.instructed == nil || o.Over() {
		return nil, nil
	}
	switch in := in.(type) {
	case GotSetup:
		return o.addressed(now, in)
	case GotQuote:
		return o.quoted(now, in)
	case GotProof:
		return o.agreed(in)
	case GotVerdicts:
		return o.verdict(now, Judged(in))
	case GotRelay:
		if o.status == StatusValidating && o.judged[terms.Source] && o.judged[terms.Destination] {
			return []Fact{Relayed{}}, nil
		}
	case GotPayer:
		o.begun = true
	case Refused:
		return o.refused(in), nil
	case Seen:
		return o.seen(in.Receipt)
	case Moves:
		return o.moves(Moved(in)), nil
	case GotHold, InLane, NotInLane, GotBooked, GotCredited, GotReturning, GotReturned:
		return o.overChannel(now, in), nil
	case Tick:
	case Instruct, Ask, Propose, Present, Issue:
		return nil, fmt.Errorf("%T: %w", in, errInput)
	}
	return nil, nil
}

func (o *Outgoing) instruct(in Instruct) ([]Fact, error) {
	if o.instructed != nil {
		return nil, nil
	}
	facts := []Fact{Instructed(in)}
	route, refusal := o.bank.route(in.Instruction)
	if refusal != nil {
		return append(facts, Ended{StatusRejected, refusal}), nil //nolint:nilerr // an end, no failure
	}
	d := in.Instruction.disclosure()
	if err := d.DrawSalts(o.random); err != nil {
		return nil, err
	}
	if cause := d.Valid(); cause != nil {
		return append(facts, Ended{StatusRejected, refuse(
			CodeMalformed, "NARR", "the parties' data are not such as can be disclosed", cause)}), nil
	}
	if reason := o.bank.Requirements.Examine(d); reason != "" {
		return append(facts, Ended{StatusRejected, complianceRefusal(reason)}), nil
	}
	return append(facts, Routed{route}, Disclosed{d}), nil
}

// complianceRefusal says no more than the reason: a hit must not be told.
func complianceRefusal(reason string) *cypherlink.Error {
	return refuse(CodeCompliance, reason, "the payment does not meet a bank's requirements", nil)
}

func (o *Outgoing) addressed(now time.Time, in GotSetup) ([]Fact, error) {
	if o.setup != nil {
		return nil, nil
	}
	a := in.Answer
	if _, err := ilp.ParseAddress(string(a.Address)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if a.Account.Owner != o.route.Payee {
		return nil, fmt.Errorf("account %s is not the paid bank's: %w", a.Account, ErrMessage)
	}
	if _, err := kyc.NewFile(o.disclosure, &a.Answer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	facts := []Fact{Addressed{a}}
	if !o.direct() {
		return facts, nil
	}
	drafted, err := o.draftDirect(now, a)
	return append(facts, *drafted), err
}

// quoted checks the quote and draws up the terms on it.
func (o *Outgoing) quoted(now time.Time, in GotQuote) ([]Fact, error) {
	if o.quote != nil || o.setup == nil {
		return nil, nil
	}
	q := &in.Quote.Quote
	switch {
	case q.Network != o.bank.Genesis.Network() || q.Connector != o.route.Connector || q.Asker != o.bank.ID:
		return nil, fmt.Errorf("a quote of others: %w", ErrMessage)
	case q.Source.Asset != o.route.Source || q.Destination.Asset != o.route.Destination ||
		q.Destination.Amount != o.route.Amount:
		return nil, fmt.Errorf("a quote for another amount: %w", ErrMessage)
	case q.Source.Account.Number == ledger.ChannelNumber && q.Source.Amount > in.Lane:
		return nil, fmt.Errorf("a quote for %d in a lane that can pay %d: %w",
			q.Source.Amount, in.Lane, ErrMessage)
	case now.Unix() >= q.ValidUntil:
		return nil, fmt.Errorf("a quote valid until %d: %w", q.ValidUntil, connector.ErrQuoteExpired)
	case q.SourceHold > int64(o.bank.Margins.MaxHold/time.Second):
		return []Fact{Ended{StatusRejected, refuse(
			CodeRoute, "TM01", "the connector wants the money held for too long", nil)}}, nil
	case !o.bank.accepts(q):
		return []Fact{Ended{StatusRejected, refuse(
			CodeQuote, "AM02", "the connector's price is above what this bank pays", nil)}}, nil
	}
	draft, err := o.draft(now, in.Quote)
	if err != nil {
		return nil, err
	}
	return []Fact{Quoted{in.Quote}, *draft}, nil
}

// draft is step 3 of the main job: terms, and the packet whose condition they hold.
func (o *Outgoing) draft(now time.Time, signed *connector.SignedQuote) (*Drafted, error) {
	q := &signed.Quote
	t := &terms.Terms{
		Network: q.Network, UETR: o.instructed.Instruction.UETR,
		Payer: o.bank.ID, Payee: o.route.Payee, Connector: q.Connector,
		Legs: []terms.Leg{
			{
				Asset: q.Source.Asset, Amount: q.Source.Amount, Expiry: now.Unix() + q.SourceHold,
				Debit:  alike(q.Source.Account, cypherlink.Account{Owner: o.bank.ID, Number: o.bank.Account}),
				Credit: q.Source.Account,
			},
			{
				Asset: q.Destination.Asset, Amount: q.Destination.Amount,
				Expiry: now.Unix() + q.DestinationHold,
				Debit:  q.Destination.Account,
				Credit: alike(q.Destination.Account, o.setup.Account),
			},
		},
		Quote: q.Hash(), KYC: o.file.Root(),
	}
	source, draft := t.Legs[terms.Source], t.Draft()
	packet, err := o.setup.Secret.NewPrepare(
		o.random, o.setup.Address, source.Amount, time.Unix(source.Expiry, 0),
		ilp.Delivery{Minimum: o.route.Amount, Content: draft[:]})
	if err != nil {
		return nil, err
	}
	t.Condition = packet.Condition
	raw, err := packet.Encode()
	if err != nil {
		return nil, err
	}
	return &Drafted{Terms: t, Packet: raw}, t.Valid()
}

// alike is a bank's account, or what it has in channels if that is where the connector's own account stands.
func alike(connectors, own cypherlink.Account) cypherlink.Account {
	if connectors.Number == ledger.ChannelNumber {
		own.Number = ledger.ChannelNumber
	}
	return own
}

func (o *Outgoing) agreed(in GotProof) ([]Fact, error) {
	if o.proof != nil || o.drafted == nil {
		return nil, nil
	}
	if in.Proof.Terms.Hash() != o.drafted.Terms.Hash() {
		return nil, fmt.Errorf("a proof of other terms: %w", ErrMessage)
	}
	return []Fact{Agreed(in)}, nil
}

func (o *Outgoing) verdict(now time.Time, in Judged) ([]Fact, error) {
	if o.proof == nil || in.Leg > terms.Destination || o.judged[in.Leg] {
		return nil, nil
	}
	if err := approved(o.bank.Genesis, o.proof.Terms, in.Leg, in.Verdicts, now); err != nil {
		return nil, err
	}
	return []Fact{in}, nil
}

// seen keeps a receipt that is new: of the custody itself, of its end, or of there never being
// one.
func (o *Outgoing) seen(r ledger.Receipt) ([]Fact, error) {
	if o.drafted == nil {
		return nil, nil
	}
	for i, l := range o.drafted.Terms.Legs {
		if r.Ledger != l.Asset.Ledger || r.Custody.ID != o.custody(uint8(i)) {
			continue
		}
		early := r.Custody.State == ledger.Absent && r.TimeMS/1000 < l.Expiry
		known := o.last[i] != nil
		if r.Custody.State == ledger.Prepared {
			known = o.prepared[i] != nil
		}
		if early || known {
			return nil, nil
		}
		return []Fact{Witnessed{r}}, nil
	}
	return nil, fmt.Errorf("custody %s on ledger %s: %w", r.Custody.ID, r.Ledger, connector.ErrForeign)
}

// moves keeps an outcome that is news.
func (o *Outgoing) moves(in Moved) []Fact {
	news := o.moved == nil || o.moved.Outcome == connector.Reserved && in.Outcome != connector.Reserved
	if o.proof == nil || in.Outcome == connector.Pending || !news {
		return nil
	}
	return []Fact{in}
}

// refused ends the payment, if the question was still open.
func (o *Outgoing) refused(in Refused) []Fact {
	lateNo := in.Question >= QuestionBook || in.Question == QuestionPayer && o.moved != nil
	if lateNo || !slices.Contains(o.open(), in.Question) {
		return nil
	}
	return []Fact{Ended{StatusRejected, in.Refusal}}
}

// open are the questions that the present state asks.
func (o *Outgoing) open() []Question {
	if o.direct() {
		return o.openDirect()
	}
	switch o.status {
	case StatusNegotiating:
		switch {
		case o.setup == nil:
			return []Question{QuestionSetup}
		case o.quote == nil && !o.direct():
			return []Question{QuestionQuote}
		}
		return []Question{QuestionTerms}
	case StatusAgreed, StatusValidating:
		var open []Question
		if !o.judged[terms.Source] {
			open = append(open, QuestionVerdicts)
		}
		if !o.judged[terms.Destination] {
			open = append(open, QuestionCertify)
		}
		if len(open) == 0 {
			open = append(open, QuestionRelay)
		}
		return open
	case StatusApproved, StatusReserved, StatusSettled:
		// After a start, where the payer machine stands is asked until that is known.
		if !o.begun && (o.moved == nil || o.moved.Outcome == connector.Reserved) {
			return []Question{QuestionPayer}
		}
		return o.unseen()
	case "", StatusReceived, StatusChecked, StatusRejected, StatusExpired, StatusSigned1, StatusInDoubt,
		StatusSigned2, StatusPosted, StatusCompleted, StatusAborted, StatusReturnPending, StatusReturned:
	}
	return nil
}

// unseen are the custodies whose end is not witnessed, though the payer machine knows it.
func (o *Outgoing) unseen() []Question {
	if o.moved == nil || o.moved.Outcome == connector.Reserved {
		return nil
	}
	var open []Question
	for leg := range o.last {
		if o.last[leg] == nil {
			open = append(open, QuestionLookUp+Question(leg))
		}
	}
	return open
}
