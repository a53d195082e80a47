package payment

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// Incoming is the paid bank's machine for one payment. It only ever answers: what the payer's
// bank asks, and asks again, decides what is done. Its first input is Ask.
type Incoming struct {
	bank *Bank
	incoming
}

// incoming is the fold of an Incoming's log.
type incoming struct {
	status    Status
	announced *Announced
	since     time.Time // of the announcement
	updated   time.Time // by the last event
	promised  *terms.Terms
	proof     *terms.Proof
	judged    bool
	verdicts  []validator.Signed
	moved     *Moved
	ended     *Ended
	lane      laned
}

// NewIncoming restores an Incoming from its log, which is empty for a new one.
func NewIncoming(bank *Bank, log []Event) (*Incoming, error) {
	m := &Incoming{bank: bank}
	for i, e := range log {
		if err := m.apply(e); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	return m, nil
}

// Status is where the payment stands, on the paid bank's own leg.
func (m *Incoming) Status() Status { return m.status }

// Over tells whether nothing can change any more.
func (m *Incoming) Over() bool {
	if m.direct() {
		return m.overDirect()
	}
	return m.status.Final()
}

// SetupAnswer is the answer to the Ask that was accepted.
func (m *Incoming) SetupAnswer() (*SetupAnswer, error) {
	secret, err := m.bank.Secret.Recover(m.bank.Base, m.announced.Address)
	if err != nil {
		return nil, err
	}
	return &SetupAnswer{
		Address: m.announced.Address, Secret: secret, Account: m.account(), Answer: m.announced.Answer,
	}, nil
}

// Proof is the proof that was presented, or nil.
func (m *Incoming) Proof() *terms.Proof { return m.proof }

// Verdicts are those that were pronounced; ok tells whether any were.
func (m *Incoming) Verdicts() (verdicts []validator.Signed, ok bool) { return m.verdicts, m.judged }

// Request is the question to the Validators of the leg on which the bank is paid.
func (m *Incoming) Request() (*VerdictRequest, error) {
	file, err := m.file()
	if err != nil {
		return nil, err
	}
	return &VerdictRequest{Proof: m.proof, Leg: terms.Destination, Opened: opened(file)}, nil
}

func (m *Incoming) account() cypherlink.Account {
	return cypherlink.Account{Owner: m.bank.ID, Number: m.bank.Account}
}

func (m *incoming) file() (*kyc.File, error) {
	return kyc.NewFile(m.announced.Setup.Disclosure, &m.announced.Answer)
}

func (m *incoming) apply(e Event) error {
	to := m.status
	switch f := e.Fact.(type) {
	case Announced:
		m.announced, m.since, to = &f, moment(e.At), StatusNegotiating
	case Promised:
		m.promised = f.Terms
		if m.direct() {
			to = StatusAgreed // this bank has signed; what the payer signs in the lane names the terms
		}
	case Agreed:
		m.proof, to = f.Proof, StatusAgreed
	case Judged:
		m.judged, m.verdicts, to = true, f.Verdicts, StatusApproved
	case Moved:
		m.moved, to = &f, movedTo(f.Outcome, to)
	case Ended:
		m.ended, to = &f, f.Status
	case Laned, Booked, Credited, Returning, Returned:
		to = m.lane.apply(f, to)
	case Instructed, Routed, Disclosed, Addressed, Quoted, Drafted, Relayed, Witnessed,
		Offered, Taken, Bound, Held:
		return fmt.Errorf("%s in the log of an incoming payment: %w", KindName(f), ErrEvent)
	}
	if to != m.status && !m.status.leadsTo(to) {
		return fmt.Errorf("%s after %s: %w", to, m.status, ErrEvent)
	}
	m.status, m.updated = to, moment(e.At)
	return nil
}

// Step tells the machine something at the bank's time now. A question is answered by
// Effects.Refusal, nil meaning yes; a repeated one as it was the first time.
func (m *Incoming) Step(now time.Time, in Input) (Effects, error) {
	facts, refusal, err := m.take(now, in)
	if err != nil {
		return Effects{}, err
	}
	e := Effects{Refusal: refusal}
	for _, f := range facts {
		event := Event{At: now.UnixMilli(), Fact: f}
		if err := m.apply(event); err != nil {
			return Effects{}, err // take knows what may follow
		}
		e.Persist = append(e.Persist, event)
	}
	e.WakeAt, _ = m.deadline()
	return e, nil
}

func (m *Incoming) take(now time.Time, in Input) ([]Fact, *cypherlink.Error, error) {
	if ask, ok := in.(Ask); ok {
		facts, refusal := m.ask(ask)
		return facts, refusal, nil
	}
	if m.announced == nil {
		return nil, unknownPayment(), nil
	}
	switch in := in.(type) {
	case Propose:
		facts, refusal := m.propose(now, in)
		return facts, refusal, nil
	case Present:
		facts, refusal := m.present(in)
		return facts, refusal, nil
	case GotVerdicts:
		if m.status != StatusAgreed || m.judged || in.Leg != terms.Destination {
			return nil, nil, nil
		}
		if err := approved(m.bank.Genesis, m.proof.Terms, in.Leg, in.Verdicts, now); err != nil {
			return nil, nil, err
		}
		return []Fact{Judged(in)}, nil, nil
	case Moves:
		news := m.moved == nil || m.moved.Outcome == connector.Reserved && in.Outcome != connector.Reserved
		if m.proof != nil && in.Outcome != connector.Pending && news {
			return m.ends(Moved(in)), nil, nil
		}
	case Tick:
		return m.late(now), nil, nil
	case InLane, GotBooked, GotCredited, GotReturning, GotReturned:
		return m.overChannel(in), nil, nil
	case GotHold, NotInLane, Instruct, GotSetup, GotQuote, GotProof, GotRelay, GotPayer, Refused, Seen, Ask,
		Issue:
		return nil, nil, fmt.Errorf("%T: %w", in, errInput)
	}
	return nil, nil, nil
}

func unknownPayment() *cypherlink.Error {
	return refuse(CodeUnknown, "NARR", "the payment was not announced", nil)
}

// ask answers a Setup: the first one by the bank's requirements, the same one again as before,
// and never another one under its UETR.
func (m *Incoming) ask(in Ask) ([]Fact, *cypherlink.Error) {
	if a := m.announced; a != nil {
		if a.Payer != in.From || !bytes.Equal(a.Setup.Encode(), in.Setup.Encode()) {
			return nil, refuse(CodeUETR, "DU03", "the UETR was announced for another payment", nil)
		}
		if a.Answer.Reason != "" {
			return nil, complianceRefusal(a.Answer.Reason)
		}
		return nil, nil
	}
	if !m.bank.knows(in.Setup.Asset) || in.From == m.bank.ID {
		return nil, refuse(CodeAsset, "AM03", "the asset is not of the network", nil)
	}
	first := Announced{
		Payer: in.From, Setup: in.Setup,
		Answer: m.bank.Requirements.Answer(in.Setup.Disclosure, in.Standing, in.Holder, in.Salt),
	}
	if reason := first.Answer.Reason; reason != "" {
		refusal := complianceRefusal(reason)
		return []Fact{first, Ended{StatusRejected, refusal}}, refusal
	}
	first.Address = in.Address
	return []Fact{first}, nil
}

// propose judges terms: they are what was announced, once, and leave time to confirm.
func (m *Incoming) propose(now time.Time, in Propose) ([]Fact, *cypherlink.Error) {
	t, asked := in.Terms, m.announced
	switch {
	case in.From != asked.Payer || t.Payer != asked.Payer || t.Payee != m.bank.ID:
		return nil, refuse(CodeParty, "AGNT", "the payment was announced by or for another bank", nil)
	case m.promised != nil && t.Hash() == m.promised.Hash():
		return nil, nil // a signature that was given is given again
	case m.promised != nil:
		return nil, refuse(CodeUETR, "DU03", "other terms of this payment are signed", nil)
	case m.status != StatusNegotiating:
		return nil, refuse(CodeOver, "TM01", "the payment has ended", nil)
	case len(t.Legs) == 1 && !slices.Contains(m.bank.Direct, t.Legs[terms.Source].Asset):
		return nil, refuse(CodeTerms, "AG03", "this bank is not paid in the asset over channels", nil)
	}
	leg := t.Legs[len(t.Legs)-1]
	file, err := m.file()
	switch {
	case err != nil:
		return nil, refuse(CodeTerms, "NARR", "the parties' data are not complete", nil)
	case leg.Asset != asked.Setup.Asset || leg.Amount != asked.Setup.Amount:
		return nil, refuse(CodeTerms, "AM09", "the amount is not the announced one", nil)
	case len(t.Legs) == 2 && ledger.InChannel(&leg) && !in.Channel:
		return nil, refuse(CodeTerms, "AG03", "this bank has no open channel with the connector", nil)
	case leg.Credit != m.account() && (len(t.Legs) != 2 || !m.inChannel(&leg)):
		return nil, refuse(CodeTerms, "AC01", "the account is not the one that was given", nil)
	case t.KYC != file.Root():
		return nil, refuse(CodeTerms, "NARR", "the parties' data are not the disclosed ones", nil)
	case len(t.Legs) == 1 && !time.Unix(leg.Expiry, 0).After(now),
		len(t.Legs) == 2 && !time.Unix(leg.Expiry, 0).Add(-m.bank.Margins.ConfirmWindow).After(now):
		return nil, refuse(CodeTerms, "TM01", "the terms leave no time to confirm", nil)
	case len(t.Legs) == 1 && time.Unix(leg.Expiry, 0).After(now.Add(m.bank.Margins.MaxHold)):
		return nil, refuse(CodeTerms, "TM01", "the terms keep the payment open for too long", nil)
	}
	return []Fact{Promised{t}}, nil
}

// inChannel tells whether a leg pays into what this bank has in channels.
func (m *Incoming) inChannel(leg *terms.Leg) bool {
	return leg.Credit.Owner == m.bank.ID && ledger.InChannel(leg)
}

// present takes the proof of the terms that this bank signed.
func (m *Incoming) present(in Present) ([]Fact, *cypherlink.Error) {
	switch {
	case in.From != m.announced.Payer:
		return nil, refuse(CodeParty, "AGNT", "the payment was announced by another bank", nil)
	case m.promised == nil || in.Proof.Terms.Hash() != m.promised.Hash():
		return nil, refuse(CodeTerms, "DU03", "these are not the terms that this bank signed", nil)
	case m.direct():
		return nil, refuse(CodeTerms, "FF01", "what goes over a channel is not certified", nil)
	case m.proof != nil:
		return nil, nil
	case m.Over():
		return nil, refuse(CodeOver, "TM01", "the payment has ended", nil)
	}
	return []Fact{Agreed{Proof: in.Proof}}, nil
}

// ends is an outcome and, if nothing moved, the end.
func (m *Incoming) ends(in Moved) []Fact {
	if in.Outcome != connector.Undone {
		return []Fact{in}
	}
	if in.Cause != nil {
		return []Fact{in, Ended{StatusRejected, in.Cause}}
	}
	return []Fact{in, Ended{StatusExpired, refuse(
		CodeLate, "TM01", "the custody was not made, or not confirmed, in time", nil)}}
}

// late ends a payment for which the payer's bank presented no proof in time.
func (m *Incoming) late(now time.Time) []Fact {
	deadline, ok := m.deadline()
	if !ok || now.Before(deadline) {
		return nil
	}
	return []Fact{Ended{StatusExpired, refuse(CodeSilent, "AB11", "the bank that pays did not go on", nil)}}
}

// deadline is when a payment without a proof is given up: the terms' own expiry once this bank
// has signed some, since until then their proof may come.
func (m *Incoming) deadline() (at time.Time, ok bool) {
	switch {
	case m.direct():
		return m.deadlineDirect()
	case m.status != StatusNegotiating:
		return time.Time{}, false
	case m.promised != nil:
		return time.Unix(m.promised.Legs[terms.Destination].Expiry, 0), true
	}
	return m.since.Add(m.bank.Patience.Negotiate), true
}
