package payment

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/terms"
)

// rostersKept bounds the rosters that are kept, of up to 432 KiB each.
const rostersKept = 256

// Rosters are the parties that sign terms together, by their ids. A roster is made once and
// remembers what was signed rightly. It is safe for concurrent use.
type Rosters struct {
	genesis *chain.Genesis
	mu      sync.Mutex
	made    map[string]*cosi.Roster
}

// NewRosters has no roster yet.
func NewRosters(g *chain.Genesis) *Rosters {
	return &Rosters{genesis: g, made: map[string]*cosi.Roster{}}
}

// of is the roster of the terms' parties.
func (r *Rosters) of(t *terms.Terms) (*cosi.Roster, string, error) {
	signers := t.Signers()
	var key strings.Builder
	for _, id := range signers {
		key.Write(id[:])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if roster := r.made[key.String()]; roster != nil {
		return roster, key.String(), nil
	}
	roster, err := r.genesis.Roster(signers...)
	if err != nil {
		return nil, "", err
	}
	if len(r.made) >= rostersKept {
		clear(r.made)
	}
	r.made[key.String()] = roster
	return roster, key.String(), nil
}

// Verify reports why a proof does not show that its parties signed its terms.
func (r *Rosters) Verify(p *terms.Proof) error {
	roster, _, err := r.of(p.Terms)
	if err != nil {
		return fmt.Errorf("%w: %w", terms.ErrProof, err)
	}
	return p.Verify(r.genesis.Network(), roster)
}

// session is the one in which terms are signed.
func (r *Rosters) session(t *terms.Terms) (*terms.Session, string, error) {
	roster, key, err := r.of(t)
	if err != nil {
		return nil, "", err
	}
	s, err := terms.NewSession(r.genesis.Network(), t.Payer, roster)
	return s, key, err
}

// table is where a payer's terms are signed: one proposer for each set of parties, each with a
// goroutine.
type table struct {
	self    cypherlink.ParticipantID
	rosters *Rosters
	key     terms.Signer
	peers   Peers
	log     *slog.Logger
	pace    terms.Pace
	// epoch counts the starts; it is set before run.
	epoch uint64

	mu      sync.Mutex
	running context.Context //nolint:containedctx // of run: proposers live in it
	tasks   sync.WaitGroup
	seats   map[string]*seat
}

// seat is one set of parties' proposer, and who waits for what.
type seat struct {
	session  *terms.Session
	proposer *terms.Proposer
	inputs   chan tableInput
	waiting  map[cypherlink.Hash][]chan terms.Outcome
	busy     map[cypherlink.ParticipantID]bool
}

type tableInput struct {
	in    terms.Input
	reply chan terms.Outcome // of a Submit
	idle  cypherlink.ParticipantID
}

func newTable(o *Options, r *Rosters) *table {
	return &table{
		self: o.Bank.ID, rosters: r, key: o.Cosigner, peers: o.Peers, log: o.Log, seats: map[string]*seat{},
		pace: terms.Pace{Resend: o.Bank.Patience.Resend, Timeout: o.Bank.Patience.Approve / 2},
	}
}

// run lets proposers work until ctx ends.
func (t *table) run(ctx context.Context) error {
	t.mu.Lock()
	t.running = ctx
	t.mu.Unlock()
	<-ctx.Done()
	t.mu.Lock()
	t.running = nil // no proposer is started any more
	t.mu.Unlock()
	t.tasks.Wait()
	return nil
}

// agree has terms signed by their parties and gives the proof. A refusal is a *cypherlink.Error.
func (t *table) agree(ctx context.Context, what *terms.Terms) (*terms.Proof, error) {
	s, err := t.seat(what)
	if err != nil {
		return nil, err
	}
	reply := make(chan terms.Outcome, 1)
	select {
	case s.inputs <- tableInput{in: terms.Submit{Terms: what}, reply: reply}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case o := <-reply:
		if o.Refusal != nil {
			return nil, o.Refusal
		}
		return o.Proof, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// seat finds or makes the proposer of the terms' parties.
func (t *table) seat(what *terms.Terms) (*seat, error) {
	session, key, err := t.rosters.session(what)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.seats[key]; s != nil {
		return s, nil
	}
	ctx := t.running
	if ctx == nil || ctx.Err() != nil {
		return nil, connector.ErrStopped
	}
	s := &seat{
		session: session, proposer: terms.NewProposer(session, t.pace, t.epoch<<32),
		inputs: make(chan tableInput), waiting: map[cypherlink.Hash][]chan terms.Outcome{},
		busy: map[cypherlink.ParticipantID]bool{},
	}
	t.seats[key] = s
	t.tasks.Go(func() { t.preside(ctx, s) })
	return s, nil
}

// preside is the goroutine of a proposer.
func (t *table) preside(ctx context.Context, s *seat) {
	for wake := (time.Time{}); ; {
		in := tableInput{in: terms.Tick{}}
		timer := time.NewTimer(time.Hour)
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case in = <-s.inputs:
		case <-timer.C:
		}
		timer.Stop()
		delete(s.busy, in.idle)
		if in.reply != nil {
			if submit, ok := in.in.(terms.Submit); ok {
				hash := submit.Terms.Hash()
				s.waiting[hash] = append(s.waiting[hash], in.reply)
			}
		}
		effects, err := s.proposer.Step(time.Now(), in.in)
		if err != nil {
			t.refuse(ctx, s, in, err)
			continue
		}
		wake = effects.WakeAt
		t.carryOut(ctx, s, effects)
	}
}

// refuse tells why an input was not taken. Terms that are not taken now may be handed in again.
func (t *table) refuse(ctx context.Context, s *seat, in tableInput, err error) {
	t.log.WarnContext(ctx, "a proposer refuses an input", slog.String("cause", err.Error()))
	if submit, ok := in.in.(terms.Submit); ok {
		delete(s.waiting, submit.Terms.Hash())
	}
}

func (t *table) carryOut(ctx context.Context, s *seat, e terms.Effects) {
	for _, ask := range e.Ask {
		if s.busy[ask.To] {
			continue
		}
		s.busy[ask.To] = true
		t.tasks.Go(func() {
			in := tableInput{in: terms.Tick{}, idle: ask.To}
			answer, err := t.ask(ctx, s.session, ask)
			if err == nil {
				in.in = terms.Answered{From: ask.To, Answer: answer}
			} else if ctx.Err() == nil {
				t.log.WarnContext(ctx, "a party does not sign yet",
					slog.String("party", ask.To.String()), slog.String("cause", err.Error()))
			}
			select {
			case s.inputs <- in:
			case <-ctx.Done():
			}
		})
	}
	for _, o := range e.Settled {
		hash := o.Terms.Hash()
		for _, reply := range s.waiting[hash] {
			reply <- o
		}
		delete(s.waiting, hash)
	}
	for _, id := range e.Blamed {
		t.log.ErrorContext(ctx, "a party signs terms wrongly", slog.String("party", id.String()))
	}
}

// ask has one party sign a batch: another one by a call, the payer by its own key.
func (t *table) ask(ctx context.Context, session *terms.Session, ask terms.Ask) (*terms.Answer, error) {
	if ask.To == t.self {
		share, err := t.key.Sign(session.Frame(ask.Batch))
		return &terms.Answer{Sequence: ask.Batch.Sequence, Share: share}, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.pace.Timeout)
	defer cancel()
	raw, err := t.peers.Call(ctx, ask.To, KindTerms, ask.Batch.Encode())
	if err != nil {
		return nil, err
	}
	return terms.DecodeAnswer(raw)
}
