package terms_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/terms"
)

var pace = terms.Pace{Resend: time.Second, Timeout: 5 * time.Second}

func TestProposerAtRestSignsOne(t *testing.T) {
	w := newWorld(t)
	at := time.Unix(1000, 0)
	p := terms.NewProposer(w.session, pace, 7)
	e := step(t, p, at, terms.Submit{Terms: payment(1)})
	if len(e.Ask) != 3 || len(e.Ask[0].Batch.Terms) != 1 || e.Ask[0].Batch.Sequence != 7 {
		t.Fatalf("asks %d", len(e.Ask))
	}
	if !e.WakeAt.Equal(at.Add(pace.Resend)) {
		t.Fatalf("wakes at %s", e.WakeAt)
	}
	var last terms.Effects
	for _, ask := range e.Ask {
		last = step(t, p, at, w.answer(t, ask))
	}
	if len(last.Settled) != 1 || last.Settled[0].Proof == nil || !last.WakeAt.IsZero() {
		t.Fatalf("settled %+v", last)
	}
	if err := last.Settled[0].Proof.Verify(network, w.roster); err != nil {
		t.Fatal(err)
	}
}

func TestProposerFormsTheNextBatchMeanwhile(t *testing.T) {
	w := newWorld(t)
	at := time.Unix(1000, 0)
	p := terms.NewProposer(w.session, pace, 7)
	first := step(t, p, at, terms.Submit{Terms: payment(0)})
	for n := 1; n <= terms.MaxBatch+1; n++ {
		if e := step(t, p, at, terms.Submit{Terms: payment(n)}); len(e.Ask) > 0 {
			t.Fatal("a second batch beside the first")
		}
	}
	var e terms.Effects
	for _, ask := range first.Ask {
		e = step(t, p, at, w.answer(t, ask))
	}
	if len(e.Ask) != 3 || len(e.Ask[0].Batch.Terms) != terms.MaxBatch || e.Ask[0].Batch.Sequence != 8 {
		t.Fatalf("the next batch: %+v", e.Ask)
	}
	for _, ask := range e.Ask {
		e = step(t, p, at, w.answer(t, ask))
	}
	if len(e.Settled) != terms.MaxBatch || len(e.Ask) != 3 || len(e.Ask[0].Batch.Terms) != 1 {
		t.Fatalf("%d settled, %d asked", len(e.Settled), len(e.Ask))
	}
	for _, i := range []int{0, 1, 100, terms.MaxBatch - 1} {
		if err := e.Settled[i].Proof.Verify(network, w.roster); err != nil {
			t.Fatalf("proof %d: %v", i, err)
		}
	}
}

func TestRefusedTermsLeaveAndTheRestIsProposedAgain(t *testing.T) {
	w := newWorld(t)
	at := time.Unix(1000, 0)
	p := terms.NewProposer(w.session, pace, 0)
	w.submitTogether(t, p, at, batch(0, 4).Terms)
	e := step(t, p, at.Add(2*time.Second), terms.Tick{})
	for i, ask := range e.Ask {
		answer := w.answer(t, ask)
		switch i {
		case 0:
			answer.Answer = &terms.Answer{Sequence: 1, Refusals: []terms.Refusal{
				refusalOf(1, "first"), refusalOf(3, "first"),
			}}
		case 2:
			answer.Answer = &terms.Answer{Sequence: 1, Refusals: []terms.Refusal{refusalOf(1, "second")}}
		}
		e = step(t, p, at, answer)
	}
	if len(e.Settled) != 2 || e.Settled[0].Refusal.Code != "first" ||
		e.Settled[0].Terms.UETR != payment(1).UETR || e.Settled[1].Terms.UETR != payment(3).UETR {
		t.Fatalf("settled %+v", e.Settled)
	}
	if len(e.Ask) != 3 || e.Ask[0].Batch.Sequence != 2 || len(e.Ask[0].Batch.Terms) != 2 {
		t.Fatalf("asked %+v", e.Ask)
	}
	for _, ask := range e.Ask {
		e = step(t, p, at, w.answer(t, ask))
	}
	if len(e.Settled) != 2 || e.Settled[1].Terms.UETR != payment(2).UETR || e.Settled[1].Proof == nil {
		t.Fatalf("settled %+v", e.Settled)
	}
}

func TestSilenceHasTheReasonOfWhoIsSilent(t *testing.T) {
	job := mainJob()
	for _, tt := range []struct {
		silent []cypherlink.ParticipantID
		reason string
	}{
		{[]cypherlink.ParticipantID{job.Payee}, "AB05"},
		{[]cypherlink.ParticipantID{job.Connector}, "AB06"},
		{[]cypherlink.ParticipantID{job.Payer}, "AB11"},
		{[]cypherlink.ParticipantID{job.Payer, job.Connector}, "AB06"},
	} {
		w := newWorld(t)
		at := time.Unix(1000, 0)
		p := terms.NewProposer(w.session, pace, 0)
		e := step(t, p, at, terms.Submit{Terms: payment(1)})
		asks := e.Ask
		for _, ask := range asks {
			if !slices.Contains(tt.silent, ask.To) {
				step(t, p, at, w.answer(t, ask))
			}
		}
		step(t, p, at.Add(time.Second), terms.Submit{Terms: payment(2)})
		e = step(t, p, at.Add(pace.Timeout-1), terms.Tick{})
		if len(e.Settled) > 0 || len(e.Ask) != len(tt.silent) {
			t.Fatalf("just before: %+v", e)
		}
		e = step(t, p, at.Add(pace.Timeout), terms.Tick{})
		if len(e.Settled) != 1 || e.Settled[0].Refusal.Reason != tt.reason ||
			e.Settled[0].Refusal.Code != terms.CodeSilent {
			t.Fatalf("settled %+v", e.Settled)
		}
		if len(e.Ask) != 3 || e.Ask[0].Batch.Terms[0].UETR != payment(2).UETR {
			t.Fatalf("the terms behind are not proposed: %+v", e.Ask)
		}
		// a late share of the batch that was given up does nothing
		e = step(t, p, at.Add(pace.Timeout), w.answer(t, asks[0]))
		if len(e.Settled) > 0 {
			t.Fatal("a batch that was given up is settled")
		}
	}
}

func TestSilenceSettlesWhatWaitedAsLong(t *testing.T) {
	w := newWorld(t)
	at := time.Unix(1000, 0)
	p := terms.NewProposer(w.session, pace, 0)
	step(t, p, at, terms.Submit{Terms: payment(1)})
	step(t, p, at, terms.Submit{Terms: payment(2)})
	e := step(t, p, at.Add(pace.Timeout), terms.Tick{})
	if len(e.Settled) != 2 || len(e.Ask) != 0 || !e.WakeAt.IsZero() {
		t.Fatalf("%+v", e)
	}
}

func TestWrongShareIsBlamedAndNothingIsProved(t *testing.T) {
	w := newWorld(t)
	job := mainJob()
	at := time.Unix(1000, 0)
	p := terms.NewProposer(w.session, pace, 0)
	e := step(t, p, at, terms.Submit{Terms: payment(1)})
	for _, ask := range e.Ask {
		answer := w.answer(t, ask)
		if ask.To == job.Payee {
			answer.Answer.Share = wrongShare(t, w.keys[job.Payee])
		}
		e = step(t, p, at, answer)
	}
	if !slices.Equal(e.Blamed, []cypherlink.ParticipantID{job.Payee}) {
		t.Fatalf("blamed %v", e.Blamed)
	}
	if len(e.Settled) != 1 || e.Settled[0].Proof != nil || e.Settled[0].Refusal.Code != terms.CodeShare {
		t.Fatalf("settled %+v", e.Settled)
	}
}

func TestAnAnswerCountsOnceAndForItsBatchAlone(t *testing.T) {
	w := newWorld(t)
	at := time.Unix(1000, 0)
	p := terms.NewProposer(w.session, pace, 0)
	old := step(t, p, at, terms.Submit{Terms: payment(1)}).Ask
	step(t, p, at.Add(time.Second), terms.Submit{Terms: payment(2)})
	asks := step(t, p, at.Add(pace.Timeout), terms.Tick{}).Ask
	step(t, p, at, w.answer(t, old[0])) // of the batch that was given up
	var e terms.Effects
	for _, ask := range asks {
		e = step(t, p, at, w.answer(t, ask))
		step(t, p, at, terms.Answered{From: ask.To, Answer: &terms.Answer{
			Sequence: ask.Batch.Sequence, Refusals: []terms.Refusal{refusalOf(0, "changed_mind")},
		}})
	}
	if len(e.Settled) != 1 || e.Settled[0].Proof == nil {
		t.Fatalf("settled %+v", e.Settled)
	}
}

func TestProposerRefusesInputs(t *testing.T) {
	w := newWorld(t)
	at := time.Unix(1000, 0)
	p := terms.NewProposer(w.session, pace, 0)
	e := step(t, p, at, terms.Submit{Terms: payment(1)})
	other := payment(1)
	other.KYC = cypherlink.Hash{99}
	foreign, invalid := payment(2), payment(2)
	foreign.Payer, foreign.Payee = foreign.Payee, foreign.Payer
	foreign.Legs[0].Debit.Owner, foreign.Legs[1].Credit.Owner = foreign.Payer, foreign.Payee
	invalid.Legs[0].Amount = 0
	for _, tt := range []struct {
		name string
		in   terms.Input
		want error
	}{
		{"another payer's terms", terms.Submit{Terms: foreign}, terms.ErrSession},
		{"invalid terms", terms.Submit{Terms: invalid}, terms.ErrTerms},
		{"other terms of a payment that waits", terms.Submit{Terms: other}, terms.ErrBatch},
		{
			"an answer of a stranger",
			terms.Answered{From: party("mallory"), Answer: w.answer(t, e.Ask[0]).Answer},
			terms.ErrSession,
		},
		{
			"a refusal of terms that are not in the batch",
			terms.Answered{From: party("bob"), Answer: &terms.Answer{
				Refusals: []terms.Refusal{refusalOf(1, "x")},
			}},
			terms.ErrAnswer,
		},
		{
			"a refusal with a share",
			terms.Answered{From: party("bob"), Answer: &terms.Answer{
				Refusals: []terms.Refusal{refusalOf(0, "x")}, Share: wrongShare(t, w.keys[party("bob")]),
			}},
			terms.ErrAnswer,
		},
	} {
		if _, err := p.Step(at, tt.in); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if e := step(t, p, at, terms.Submit{Terms: payment(1)}); len(e.Ask) > 0 {
		t.Error("a repeated submission is asked again")
	}
	for n := range terms.MaxWaiting {
		step(t, p, at, terms.Submit{Terms: payment(n + 2)})
	}
	last := payment(terms.MaxWaiting + 2)
	if _, err := p.Step(at, terms.Submit{Terms: last}); !errors.Is(err, terms.ErrBusy) {
		t.Errorf("too many: %v", err)
	}
}

// TestProposerSettlesEverythingOnce drives a proposer over a network that loses, repeats and
// reorders, among parties that refuse and fall silent: every terms are settled exactly once,
// every proof holds, and no two batches have one sequence.
func TestProposerSettlesEverythingOnce(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		s := &signingRun{
			w: w, random: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), now: time.Unix(1000, 0),
			p:       terms.NewProposer(w.session, pace, 1<<32),
			settled: map[cypherlink.UETR]int{}, frames: map[uint64]cypherlink.Hash{},
		}
		n := rapid.IntRange(1, 12).Draw(t, "terms")
		for i := range n {
			s.step(t, terms.Submit{Terms: payment(i)})
			s.passOn(t)
		}
		for range 400 {
			if len(s.settled) == n && len(s.mail) == 0 {
				break
			}
			s.now = s.now.Add(time.Duration(s.random.IntN(800)) * time.Millisecond)
			s.step(t, terms.Tick{})
			s.passOn(t)
		}
		for i := range n {
			if got := s.settled[payment(i).UETR]; got != 1 {
				t.Fatalf("terms %d are settled %d times", i, got)
			}
		}
	})
}

type signingRun struct {
	w       *world
	random  *rand.Rand
	now     time.Time
	p       *terms.Proposer
	mail    []terms.Ask
	settled map[cypherlink.UETR]int
	frames  map[uint64]cypherlink.Hash
}

func (s *signingRun) step(t *rapid.T, in terms.Input) {
	e, err := s.p.Step(s.now, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range e.Ask {
		payload := s.w.session.Frame(ask.Batch).Payload
		if before, ok := s.frames[ask.Batch.Sequence]; ok && before != payload {
			t.Fatalf("two batches under sequence %d", ask.Batch.Sequence)
		}
		s.frames[ask.Batch.Sequence] = payload
		for range s.random.IntN(3) { // lost, once, twice
			s.mail = append(s.mail, ask)
		}
	}
	for _, o := range e.Settled {
		s.settled[o.Terms.UETR]++
		if o.Proof == nil && o.Refusal == nil || o.Proof != nil && o.Refusal != nil {
			t.Fatalf("outcome %+v", o)
		}
		if o.Proof != nil && s.random.IntN(4) == 0 {
			if err := o.Proof.Verify(network, s.w.roster); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// passOn delivers some of the mail in any order; an answer may be lost or come twice.
func (s *signingRun) passOn(t *rapid.T) {
	s.random.Shuffle(len(s.mail), func(i, j int) { s.mail[i], s.mail[j] = s.mail[j], s.mail[i] })
	now := s.mail[:s.random.IntN(len(s.mail)+1)]
	s.mail = slices.Clone(s.mail[len(now):])
	for _, ask := range now {
		judge := func(b *terms.Batch) ([]terms.Refusal, error) { return s.judge(ask.To, b), nil }
		a, err := s.w.session.Countersign(ask.Batch, s.w.keys[ask.To], judge)
		if err != nil {
			t.Fatal(err)
		}
		for range s.random.IntN(3) {
			s.step(t, terms.Answered{From: ask.To, Answer: a})
		}
	}
}

// judge refuses some terms, always the same ones.
func (s *signingRun) judge(by cypherlink.ParticipantID, b *terms.Batch) []terms.Refusal {
	var refusals []terms.Refusal
	for i, t := range b.Terms {
		if hash := t.Hash(); by != t.Payer && (hash[0]^by[0])%5 == 0 {
			refusals = append(refusals, refusalOf(i, cypherlink.Code(fmt.Sprint("no", i))))
		}
	}
	return refusals
}
