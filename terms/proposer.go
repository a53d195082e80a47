package terms

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

// ErrBusy means that so many terms wait that no more are taken now.
var ErrBusy = errors.New("terms: too many wait to be signed")

// The codes with which terms are not signed, beside those of the parties' own refusals.
const (
	// CodeSilent: a party did not answer in time.
	CodeSilent cypherlink.Code = "party_silent"
	// CodeShare: a party's share is not its signature.
	CodeShare cypherlink.Code = "share_invalid"
)

// maxWaiting bounds the terms that wait while a batch is being signed.
const maxWaiting = 4 * MaxBatch

// Pace is how patient a proposer is.
type Pace struct {
	// Resend is how long it waits before it asks a silent party again.
	Resend time.Duration
	// Timeout is how long terms wait for all parties, at most twice if a batch before theirs
	// waits in vain.
	Timeout time.Duration
}

// Input is what a proposer is told: Submit, Answered or Tick.
//
//sumtype:decl
type Input interface{ input() }

// Submit hands in terms to be signed. A repetition while they wait changes nothing.
type Submit struct{ Terms *Terms }

// Answered is the answer of a party to a batch. The caller knows that it came from that party.
type Answered struct {
	From   cypherlink.ParticipantID
	Answer *Answer
}

// Tick says that time has passed.
type Tick struct{}

func (Submit) input()   {}
func (Answered) input() {}
func (Tick) input()     {}

// Effects are carried out in the order of the fields.
type Effects struct {
	// Ask are the parties that have to sign; their answers come back as Answered. The payer
	// is among them: his own key signs Session.Frame of the batch.
	Ask []Ask
	// Settled are the terms whose wait is over.
	Settled []Outcome
	// Blamed are parties whose share was not their signature: an operator has to look.
	Blamed []cypherlink.ParticipantID
	// WakeAt: call Step with Tick no later than this; zero means never.
	WakeAt time.Time
}

// Ask is a batch for one party.
type Ask struct {
	To    cypherlink.ParticipantID
	Batch *Batch
}

// Outcome is how the wait of some terms ended: with a proof, or with a refusal and nothing
// signed by all.
type Outcome struct {
	Terms   *Terms
	Proof   *Proof
	Refusal *cypherlink.Error
}

// Proposer collects the signatures of one session. While a batch is being signed the next one
// forms: one terms at rest, up to MaxBatch under load. It remembers nothing over a restart: terms
// that were not settled are handed in again, under a fresh range of sequences.
type Proposer struct {
	session *Session
	pace    Pace
	next    uint64
	waiting []waiting
	flight  *flight
}

type waiting struct {
	terms *Terms
	hash  cypherlink.Hash
	since time.Time
}

// flight is the batch that is being signed.
type flight struct {
	batch   *Batch
	items   []waiting
	answers map[int]*Answer   // by member of the roster
	asked   map[int]time.Time // when last
	ends    time.Time
}

// NewProposer makes the proposer of a session. Its batches count from sequence, which is above
// every one that the session's payer ever used.
func NewProposer(session *Session, pace Pace, sequence uint64) *Proposer {
	return &Proposer{session: session, pace: pace, next: sequence}
}

// Step tells the proposer something at the payer's time now. A refused input, with ErrTerms,
// ErrSession, ErrBatch, ErrBusy or ErrAnswer, changes nothing.
func (p *Proposer) Step(now time.Time, in Input) (Effects, error) {
	var e Effects
	switch in := in.(type) {
	case Submit:
		if err := p.submit(now, in.Terms); err != nil {
			return Effects{}, err
		}
	case Answered:
		if err := p.answered(in); err != nil {
			return Effects{}, err
		}
	case Tick:
	}
	p.advance(now, &e)
	return e, nil
}

func (p *Proposer) submit(now time.Time, t *Terms) error {
	if err := t.Valid(); err != nil {
		return err
	}
	if err := p.session.admits(t); err != nil {
		return err
	}
	hash := t.Hash()
	all := p.waiting
	if p.flight != nil {
		all = append(slices.Clip(all), p.flight.items...)
	}
	for _, w := range all {
		switch {
		case w.hash == hash:
			return nil
		case w.terms.UETR == t.UETR:
			return fmt.Errorf("payment %s waits with other terms: %w", t.UETR, ErrBatch)
		}
	}
	if len(p.waiting) >= maxWaiting {
		return fmt.Errorf("%d terms: %w", len(p.waiting), ErrBusy)
	}
	p.waiting = append(p.waiting, waiting{terms: t, hash: hash, since: now})
	return nil
}

func (p *Proposer) answered(in Answered) error {
	member, ok := p.session.roster.Index(in.From)
	if !ok {
		return fmt.Errorf("answer of %s: %w", in.From, ErrSession)
	}
	f := p.flight
	if f == nil || in.Answer.Sequence != f.batch.Sequence || f.answers[member] != nil {
		return nil // late, or repeated
	}
	if err := in.Answer.Valid(); err != nil {
		return fmt.Errorf("answer of %s: %w", in.From, err)
	}
	for _, r := range in.Answer.Refusals {
		if int(r.Index) >= len(f.items) {
			return fmt.Errorf("answer of %s: terms %d of %d: %w", in.From, r.Index, len(f.items), ErrAnswer)
		}
	}
	f.answers[member] = in.Answer
	return nil
}

// advance settles the batch that is being signed if it can be, and sends what is due.
func (p *Proposer) advance(now time.Time, e *Effects) {
	if f := p.flight; f != nil {
		switch {
		case len(f.answers) == p.session.roster.Len():
			p.flight = nil
			p.land(f, e)
		case !now.Before(f.ends):
			p.flight = nil
			p.giveUp(now, f, e)
		}
	}
	if p.flight == nil {
		p.propose(now)
	}
	p.ask(now, e)
}

// propose starts the next batch of what waits.
func (p *Proposer) propose(now time.Time) {
	n := min(len(p.waiting), MaxBatch)
	if n == 0 {
		return
	}
	f := &flight{
		batch: &Batch{Sequence: p.next, Terms: make([]*Terms, n)}, items: p.waiting[:n:n],
		answers: map[int]*Answer{}, asked: map[int]time.Time{}, ends: now.Add(p.pace.Timeout),
	}
	for i, w := range f.items {
		f.batch.Terms[i] = w.terms
	}
	p.next++
	p.waiting = append([]waiting(nil), p.waiting[n:]...)
	p.flight = f
}

// ask sends the batch to every party that has not answered and was not asked lately.
func (p *Proposer) ask(now time.Time, e *Effects) {
	f := p.flight
	if f == nil {
		return
	}
	e.WakeAt = f.ends
	for member := range p.session.roster.Len() {
		if f.answers[member] != nil {
			continue
		}
		if last, ok := f.asked[member]; !ok || !now.Before(last.Add(p.pace.Resend)) {
			f.asked[member] = now
			e.Ask = append(e.Ask, Ask{To: p.session.roster.Member(member).ID, Batch: f.batch})
		}
		if again := f.asked[member].Add(p.pace.Resend); again.Before(e.WakeAt) {
			e.WakeAt = again
		}
	}
}

// land settles a batch that every party answered: what is refused leaves, the rest is proposed
// again; without a refusal the shares are summed once and verified once.
func (p *Proposer) land(f *flight, e *Effects) {
	if rest := p.refuse(f, e); len(rest) < len(f.items) {
		p.waiting = append(rest, p.waiting...)
		return
	}
	shares := make(map[int]cosi.Signature, len(f.answers))
	for member, a := range f.answers {
		shares[member] = a.Share
	}
	certificate, blamed, err := p.session.roster.Aggregate(p.session.Frame(f.batch), shares)
	if err != nil {
		for _, member := range blamed {
			e.Blamed = append(e.Blamed, p.session.roster.Member(member).ID)
		}
		for _, w := range f.items {
			e.Settled = append(e.Settled, Outcome{Terms: w.terms, Refusal: &cypherlink.Error{
				Code: CodeShare, Reason: "DS0B", Err: err,
				Message: "a party's signature on the terms is wrong",
			}})
		}
		return
	}
	for i, proof := range p.session.prove(f.batch, certificate) {
		e.Settled = append(e.Settled, Outcome{Terms: f.items[i].terms, Proof: proof})
	}
}

// refuse settles what parties refused, the party with the lowest id speaking first, and gives
// the rest.
func (p *Proposer) refuse(f *flight, e *Effects) []waiting {
	refusals := make(map[int]*cypherlink.Error)
	for member := range p.session.roster.Len() {
		if f.answers[member] == nil {
			continue
		}
		for _, r := range f.answers[member].Refusals {
			if refusals[int(r.Index)] == nil {
				refusals[int(r.Index)] = r.Err
			}
		}
	}
	var rest []waiting
	for i, w := range f.items {
		if refusal := refusals[i]; refusal != nil {
			e.Settled = append(e.Settled, Outcome{Terms: w.terms, Refusal: refusal})
			continue
		}
		rest = append(rest, w)
	}
	return rest
}

// giveUp settles a batch that some party did not answer in time, and with it what has waited
// as long behind it. What was refused is told as refused.
func (p *Proposer) giveUp(now time.Time, f *flight, e *Effects) {
	late := p.refuse(f, e)
	var young []waiting
	for _, w := range p.waiting {
		if now.Before(w.since.Add(p.pace.Timeout)) {
			young = append(young, w)
		} else {
			late = append(late, w)
		}
	}
	p.waiting = young
	for _, w := range late {
		e.Settled = append(e.Settled, Outcome{Terms: w.terms, Refusal: p.silence(f, w.terms)})
	}
}

// silence says who did not answer: AB05 for the creditor's bank, AB06 for the connector, the
// instructed bank; AB11 if it was the payer, the debtor's bank.
func (p *Proposer) silence(f *flight, t *Terms) *cypherlink.Error {
	reason, who := "AB11", "the paying bank"
	for member := range p.session.roster.Len() {
		if f.answers[member] != nil {
			continue
		}
		switch p.session.roster.Member(member).ID {
		case t.Payee:
			reason, who = "AB05", "the bank that is paid"
		case t.Connector:
			reason, who = "AB06", "the connector"
		default:
			continue
		}
		break
	}
	return &cypherlink.Error{
		Code: CodeSilent, Reason: reason, Message: who + " did not answer to the terms in time",
	}
}
