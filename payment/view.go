package payment

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/terms"
)

// Direction tells on which side of a payment a bank stands.
type Direction string

// The directions.
const (
	Out Direction = "outgoing"
	In  Direction = "incoming"
)

// Money is an amount with its asset.
type Money struct {
	Asset  cypherlink.Asset
	Amount cypherlink.Amount
}

// Payment is where a payment stands, as the bank that is asked knows it.
type Payment struct {
	UETR       cypherlink.UETR
	Direction  Direction
	Status     Status
	EndToEndID string
	// Source is what the payer's bank pays, nil until the connector has quoted it, and for an
	// incoming payment until the terms are signed; Destination is what arrives, nil if the
	// instruction was not right.
	Source, Destination *Money
	// Refusal is why the payment ended without settlement, otherwise nil.
	Refusal *cypherlink.Error
	// Loss: settled, at the connector's cost, since the source custody was returned.
	Loss bool
	// Terms is the hash of the agreed terms, zero until they are agreed.
	Terms cypherlink.Hash
	// Received and Updated are the times of the first and the last event.
	Received, Updated time.Time
}

// Entry is one event as it is shown: what happened, and how the status changed.
type Entry struct {
	// Sequence counts from 1.
	Sequence int64
	At       time.Time
	Kind     string
	From, To Status
	// Detail says what Kind leaves open: the ledger of verdicts and receipts, the outcome.
	Detail string
	// Actor says whose word or deed it is: payer, payee, connector, parties, validators or
	// ledger.
	Actor string
	// Reason is the ISO reason of an end or a refusal, or empty.
	Reason string
	// Hash is SHA-256 of the event as it is stored.
	Hash cypherlink.Hash
	// Evidence says where the proof of the event lies.
	Evidence []Evidence
}

// Evidence says where the proof of an event lies.
type Evidence struct {
	// Kind is instruction (the bytes received), terms (signed by all parties), verdict (signed
	// by a Validator), block (of the committee's ledger), record (signed by an operator) or update
	// (of a channel's lane).
	Kind string
	// Ledger is that of a verdict, block or record, otherwise empty.
	Ledger cypherlink.LedgerID
	// Height is a block's, Sequence a record's or an update's; otherwise zero.
	Height, Sequence uint64
	// Hash identifies what Kind says.
	Hash cypherlink.Hash
}

// machine is what Outgoing and Incoming have in common.
type machine interface {
	apply(e Event) error
	Status() Status
	Over() bool
	Step(now time.Time, in Input) (Effects, error)
	payment() *Payment
	// legs are the agreed terms'.
	legs() []terms.Leg
}

// newMachine is an empty machine of the kind to which a log with that first fact belongs.
func newMachine(bank *Bank, first Fact) machine {
	if _, incoming := first.(Announced); incoming {
		return &Incoming{bank: bank}
	}
	return &Outgoing{bank: bank}
}

// view is the payment of a log, with its entries.
func view(bank *Bank, log []Event) (*Payment, []Entry, error) {
	m := newMachine(bank, log[0].Fact)
	entries := make([]Entry, len(log))
	for i, e := range log {
		from := m.Status()
		if err := m.apply(e); err != nil {
			return nil, nil, err
		}
		entries[i] = Entry{
			Sequence: int64(i) + 1, At: moment(e.At), Kind: KindName(e.Fact), From: from, To: m.Status(),
			Detail: detail(m, e.Fact), Actor: actor(e.Fact), Reason: reasonIn(e.Fact),
			Hash: sha256.Sum256(EncodeEvent(e)), Evidence: evidenceIn(bank.Genesis, m, e.Fact),
		}
	}
	return m.payment(), entries, nil
}

func actor(f Fact) string {
	switch f := f.(type) {
	case Instructed, Routed, Disclosed, Drafted, Announced:
		return "payer"
	case Addressed, Promised:
		return "payee"
	case Quoted, Relayed, Offered, Taken, Bound:
		return "connector"
	case Agreed:
		return "parties"
	case Judged:
		return "validators"
	case Moved, Witnessed:
		return "ledger"
	case Held:
		return "payer"
	case Laned:
		return [...]string{
			Signed: "payer", Doubtful: "ledger", Binding: "parties", Anchored: "ledger", Void: "ledger",
		}[f.Stage]
	case Credited, Returning:
		return "payee"
	case Booked, Returned, Ended:
	}
	return ""
}

// evidenceIn is where the proof of a fact lies that the machine has taken.
func evidenceIn(g *chain.Genesis, m machine, f Fact) []Evidence {
	switch f := f.(type) {
	case Instructed:
		return []Evidence{{Kind: "instruction", Hash: sha256.Sum256(f.Raw)}}
	case Agreed:
		return []Evidence{{Kind: "terms", Hash: f.Proof.Terms.Hash()}}
	case Judged:
		all := make([]Evidence, len(f.Verdicts))
		for i := range f.Verdicts {
			all[i] = Evidence{
				Kind: "verdict", Ledger: m.legs()[f.Leg].Asset.Ledger,
				Hash: sha256.Sum256(EncodeVerdict(&f.Verdicts[i])),
			}
		}
		return all
	case Witnessed:
		r := &f.Receipt
		e := Evidence{Kind: "record", Ledger: r.Ledger, Sequence: r.Sequence, Hash: sha256.Sum256(r.Evidence)}
		s, err := readEvidence(g, r.Ledger, r.Evidence)
		if err == nil && s.Chain != nil && len(s.Chain.Proof.Headers) > 0 {
			e.Kind, e.Height, e.Hash = "block", s.Chain.Event.Height, s.Chain.Proof.Headers[0].ID()
		}
		return []Evidence{e}
	case Promised:
		return []Evidence{{Kind: "terms", Hash: f.Terms.Hash()}}
	case Laned:
		return []Evidence{{Kind: "update", Sequence: uint64(f.Slot.Seq), Hash: f.Update}}
	case Routed, Disclosed, Addressed, Quoted, Drafted, Relayed, Moved, Ended, Announced,
		Offered, Taken, Bound, Held, Booked, Credited, Returning, Returned:
	}
	return nil
}

// detail is a few words on a fact that the machine has taken.
func detail(m machine, f Fact) string {
	switch f := f.(type) {
	case Judged:
		return string(m.legs()[f.Leg].Asset.Ledger) + " approved"
	case Witnessed:
		return string(f.Receipt.Ledger) + " " + f.Receipt.Custody.State.String()
	case Moved:
		return f.Outcome.String()
	case Ended:
		return f.Refusal.Message
	case Laned:
		return fmt.Sprintf("%s: channel %s, generation %d, update %d",
			f.Stage, f.Channel, f.Slot.Gen, f.Slot.Seq)
	case Booked:
		return f.Entry.String()
	case Returning:
		return f.By.String()
	case Instructed, Routed, Disclosed, Addressed, Quoted, Drafted, Agreed, Relayed, Announced, Promised,
		Offered, Taken, Bound, Held, Credited, Returned:
	}
	return ""
}

func reasonIn(f Fact) string {
	switch f := f.(type) {
	case Ended:
		return f.Refusal.Reason
	case Moved:
		if f.Cause != nil {
			return f.Cause.Reason
		}
	case Booked:
		return f.Reason
	case Laned:
		if f.Stage == Void {
			return void().Reason
		}
	case Instructed, Routed, Disclosed, Addressed, Quoted, Drafted, Agreed, Judged, Relayed, Witnessed,
		Announced, Promised, Offered, Taken, Bound, Held, Credited, Returning, Returned:
	}
	return ""
}

func (o *Outgoing) legs() []terms.Leg { return o.proof.Terms.Legs }

func (m *Incoming) legs() []terms.Leg { return m.promised.Legs }

func (o *Outgoing) payment() *Payment {
	p := &Payment{
		UETR: o.instructed.Instruction.UETR, Direction: Out, Status: o.status,
		EndToEndID: o.instructed.Instruction.EndToEndID,
	}
	if o.route != nil {
		p.Destination = &Money{o.route.Destination, o.route.Amount}
	}
	if o.direct() {
		p.Source = p.Destination
	}
	if o.quote != nil {
		p.Source = &Money{o.quote.Quote.Source.Asset, o.quote.Quote.Source.Amount}
	}
	p.Received, p.Updated = o.since, o.updated
	p.finish(o.proof, o.moved, o.ended)
	return p
}

func (m *Incoming) payment() *Payment {
	setup := m.announced.Setup
	p := &Payment{
		UETR: setup.UETR, Direction: In, Status: m.status, EndToEndID: setup.Disclosure.Reference,
		Destination: &Money{setup.Asset, setup.Amount},
	}
	if m.promised != nil {
		source := m.promised.Legs[terms.Source]
		p.Source = &Money{source.Asset, source.Amount}
	}
	p.Received, p.Updated = m.since, m.updated
	p.finish(m.proof, m.moved, m.ended)
	return p
}

func (p *Payment) finish(proof *terms.Proof, moved *Moved, ended *Ended) {
	if proof != nil {
		p.Terms = proof.Terms.Hash()
	}
	p.Loss = moved != nil && moved.Outcome == connector.Loss
	switch {
	case ended != nil:
		p.Refusal = ended.Refusal
	case p.Status == StatusAborted:
		p.Refusal = void()
	}
}

// report is the pacs.002 of a payment, a bare Document, made of its log alone: the same log, the
// same bytes.
func report(bank *Bank, log []Event) ([]byte, error) {
	p, entries, err := view(bank, log)
	if err != nil {
		return nil, err
	}
	own, _ := bank.Genesis.Participant(bank.ID)
	last := len(entries) - 1 // the last change of the status
	for last > 0 && entries[last].From == entries[last].To {
		last--
	}
	created := entries[last].At
	status := iso20022.TransactionStatus{
		StatusID: reportID(p.UETR, last+1), OriginalUETR: p.UETR, OriginalEndToEndID: p.EndToEndID,
		Status: p.Status.ISO(), InstructingAgent: iso20022.Agent{BIC: own.BIC},
	}
	if first, ok := log[0].Fact.(Instructed); ok && first.Format == XML {
		i := first.Instruction
		status.Original = i.Original
		status.OriginalInstructionID, status.OriginalTransactionID = i.InstructionID, i.TransactionID
		status.InstructedAgent = iso20022.Agent{BIC: i.Instructing}
	}
	for _, e := range entries {
		if e.To == StatusAgreed && e.From != StatusAgreed {
			status.Accepted = e.At
		}
	}
	if p.Refusal != nil {
		status.Reasons = []iso20022.StatusReason{iso20022.NewStatusReason(p.Refusal)}
	}
	r := iso20022.StatusReport{
		MessageID: status.StatusID, Created: created, Transactions: []iso20022.TransactionStatus{status},
	}
	return r.Encode(nil)
}

// reportID is at most 35 characters: the UETR without hyphens, and the number of events.
func reportID(u cypherlink.UETR, events int) string {
	id := cypherlink.AppendHex(nil, u[:])
	return string(append(id, '-', base36(events/36), base36(events%36)))
}

func base36(n int) byte { return "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[n%36] }
