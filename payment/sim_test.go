package payment

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// TestMachinesInAnUnkindWorld plays whole payments by seeds: questions and answers are lost,
// repeated and reordered, time jumps, each party goes down between any two steps and comes back
// with its log alone. A checker outside looks on.
func TestMachinesInAnUnkindWorld(t *testing.T) {
	n := newNetwork(t, nil)
	seeds := 400
	if testing.Short() {
		seeds = 40
	}
	ends := map[Status]int{}
	for seed := range seeds {
		s := newSim(t, n, uint64(seed))
		s.play()
		ends[s.out.Status()]++
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, s.trace)
		}
	}
	for _, end := range []Status{StatusSettled, StatusRejected, StatusExpired} {
		if ends[end] == 0 {
			t.Errorf("no payment was %s: %v", end, ends)
		}
	}
}

// sim is a scene whose machines live by their logs, among things that are under way.
type sim struct {
	*scene
	rng   *rand.Rand
	logs  map[string][][]byte
	tasks []Task  // may arrive, any number of times
	inbox []Input // answers that may arrive, any number of times
	wake  time.Time
	trace []string

	begun   bool // the payer machine exists: the source Prepare may be out
	outcome connector.Outcome
	signed  map[string]map[string]bool // who signed which terms
}

func newSim(tb testing.TB, n *network, seed uint64) *sim {
	tb.Helper()
	s := &sim{
		scene: newScene(tb, n), rng: rand.New(rand.NewPCG(seed, 0)), logs: map[string][][]byte{},
		signed: map[string]map[string]bool{"payee": {}, "connector": {}},
	}
	s.outcome = []connector.Outcome{connector.Settled, connector.Undone, connector.Loss}[s.rng.IntN(3)]
	return s
}

func (s *sim) note(format string, args ...any) {
	s.trace = append(s.trace, fmt.Sprintf(format, args...)+"\n")
}

// load is a log as events again.
func (s *sim) load(who string) []Event {
	var log []Event
	for _, raw := range s.logs[who] {
		e, err := DecodeEvent(raw, s.genesis)
		if err != nil {
			s.tb.Fatal(err)
		}
		log = append(log, e)
	}
	return log
}

func (s *sim) persist(who string, e Effects) {
	for _, event := range e.Persist {
		s.logs[who] = append(s.logs[who], EncodeEvent(event))
		s.note("%s %s: %s", s.now.Format("05.000"), who, KindName(event.Fact))
	}
}

// step tells the outgoing payment something; a crash before its tasks go out is another chance.
func (s *sim) step(in Input) {
	before := s.out.Status()
	e, err := s.out.Step(s.now, in)
	if err != nil {
		s.tb.Errorf("%T: %v", in, err)
		return
	}
	s.persist("payer", e)
	if before.Final() && s.out.Status() != before {
		s.tb.Errorf("%s was left for %s", before, s.out.Status())
	}
	if s.rng.IntN(12) == 0 {
		s.restart()
		return
	}
	s.tasks, s.wake = append(s.tasks, e.Do...), e.WakeAt
}

// restart is a crash of the payer's process.
func (s *sim) restart() {
	s.note("payer is down and up")
	m, err := NewOutgoing(s.bank(s.a), s.random, s.load("payer"))
	if err != nil {
		s.tb.Error(err)
		return
	}
	if m.Status() != s.out.Status() || m.Over() != s.out.Over() {
		s.tb.Errorf("%s is restored as %s", s.out.Status(), m.Status())
	}
	s.out, s.wake = m, s.now
}

// reload takes up the two machines that live in their stores alone.
func (s *sim) reload() {
	var err error
	if s.in, err = NewIncoming(s.bank(s.b), s.load("payee")); err != nil {
		s.tb.Error(err)
	}
	if s.offer, err = NewOffer(s.dealer(), s.load("connector")); err != nil {
		s.tb.Error(err)
	}
}

// play is a time of faults, and then a time without.
func (s *sim) play() {
	s.step(Instruct{Instruction: s.instruction(s.tb, 1), Format: JSON, Raw: s.json(1), Key: "json/k"})
	for range 150 {
		switch s.rng.IntN(6) {
		case 0:
			s.restart()
		case 1:
			s.now = s.now.Add(time.Duration(s.rng.IntN(1500)) * time.Millisecond)
			s.step(Tick{})
		case 2, 3:
			s.arrive(s.rng.IntN(3) > 0)
		case 4, 5:
			s.answer(s.rng.IntN(3) > 0)
		}
	}
	for range 300 {
		if s.out.Over() {
			break
		}
		for len(s.tasks) > 0 {
			s.arrive(false)
		}
		for len(s.inbox) > 0 {
			s.answer(false)
		}
		s.now = s.now.Add(time.Second)
		s.step(Tick{})
	}
	s.check()
}

// arrive brings a task to where it goes; keep leaves it under way too.
func (s *sim) arrive(keep bool) {
	if len(s.tasks) == 0 {
		return
	}
	i := s.rng.IntN(len(s.tasks))
	t := s.tasks[i]
	if !keep {
		s.tasks = slices.Delete(s.tasks, i, i+1)
	}
	s.reload()
	answers := s.do(t)
	if s.rng.IntN(4) > 0 || !keep {
		s.inbox = append(s.inbox, answers...)
	}
}

// answer brings an answer home; keep leaves it under way too.
func (s *sim) answer(keep bool) {
	if len(s.inbox) == 0 {
		return
	}
	i := s.rng.IntN(len(s.inbox))
	in := s.inbox[i]
	if !keep {
		s.inbox = slices.Delete(s.inbox, i, i+1)
	}
	s.step(in)
}

// ask tells a machine of another party something.
func (s *sim) ask(who string, step func(time.Time, Input) (Effects, error), in Input) bool {
	e, err := step(s.now, in)
	if err != nil {
		s.tb.Errorf("%s, %T: %v", who, in, err)
		return false
	}
	s.persist(who, e)
	return e.Refusal == nil
}

// do is what the world makes of a task.
func (s *sim) do(t Task) []Input {
	no := func() []Input {
		return []Input{Refused{Question: t.Question(), Refusal: refuse("no", "MS03", "no", nil)}}
	}
	switch t := t.(type) {
	case AskSetup:
		if !s.ask("payee", s.in.Step, s.scene.ask(s.a.id(), t.Setup)) {
			return no()
		}
		a, err := s.in.SetupAnswer()
		if err != nil {
			s.tb.Error(err)
		}
		return []Input{GotSetup{a}}
	case AskQuote:
		q := s.quote(s.a.id(), t.Request, nil)
		o, err := NewOffer(s.dealer(), nil)
		if err != nil || len(s.logs["connector"]) > 0 {
			return nil // one quote is enough; others are lost
		}
		s.ask("connector", o.Step, Issue{q})
		return []Input{GotQuote{Quote: q}}
	case Agree:
		in := Propose{From: s.a.id(), Terms: t.Terms}
		if !s.ask("payee", s.in.Step, in) {
			return no()
		}
		s.signed["payee"][t.Terms.Hash().String()] = true
		if !s.ask("connector", s.offer.Step, in) {
			return no()
		}
		s.signed["connector"][t.Terms.Hash().String()] = true
		return []Input{GotProof{Proof: &terms.Proof{Terms: t.Terms}}}
	case Judge:
		if s.rng.IntN(20) == 0 {
			return no()
		}
		v := s.verdicts(s.tb, t.Request.Proof.Terms, t.Request.Leg)
		return s.fresh(GotVerdicts{Leg: t.Request.Leg, Verdicts: v})
	case Certify:
		if !s.ask("payee", s.in.Step, Present{From: s.a.id(), Proof: t.Proof}) {
			return no()
		}
		v := GotVerdicts{Leg: terms.Destination, Verdicts: s.verdicts(s.tb, t.Proof.Terms, terms.Destination)}
		if s.now.Unix() < t.Proof.Terms.Legs[terms.Destination].Expiry {
			s.ask("payee", s.in.Step, v)
		}
		return s.fresh(v)
	case BeginRelay:
		if !s.ask("connector", s.offer.Step, Present{From: s.a.id(), Proof: t.Request.Proof}) {
			return no()
		}
		return []Input{GotRelay{}}
	case BeginPayer:
		return s.begin(t)
	case LookUp:
		return []Input{Seen{s.receipt(t.Leg, s.last(t.Leg))}}
	case Hold, Book, AwaitReturn: // of a payment over a channel
		s.tb.Errorf("%T in a payment across ledgers", t)
	}
	return nil
}

// fresh is an answer with verdicts, unless they are too old to be told by anybody.
func (s *sim) fresh(in GotVerdicts) []Input {
	if s.now.Unix() >= in.Verdicts[0].Verdict.ValidUntil-5 {
		return nil
	}
	return []Input{in}
}

// begin is the payer machine: from here on the ledgers decide.
func (s *sim) begin(t BeginPayer) []Input {
	if s.offer.bound == nil || s.in.proof == nil || !s.out.judged[0] || !s.out.judged[1] {
		s.tb.Error("the payer begins before all are ready")
	}
	if !s.begun && s.now.Unix() >= t.Terms.Legs[terms.Source].Expiry {
		return []Input{Refused{Question: QuestionPayer, Refusal: refuse(CodeLate, "TM01", "late", nil)}}
	}
	s.begun = true
	s.note("the payer machine is begun")
	answers := []Input{GotPayer{}, Moves{Outcome: connector.Reserved}, Moves{Outcome: s.outcome}}
	for leg := range uint8(2) {
		if s.outcome != connector.Undone {
			answers = append(answers, Seen{s.receipt(leg, ledger.Prepared)})
		}
		answers = append(answers, Seen{s.receipt(leg, s.last(leg))})
	}
	return answers
}

// last is how a leg ends.
func (s *sim) last(leg uint8) ledger.State {
	switch {
	case s.outcome == connector.Settled, s.outcome == connector.Loss && leg == terms.Destination:
		return ledger.Confirmed
	case s.outcome == connector.Loss:
		return ledger.Returned
	}
	return ledger.Absent
}

func (s *sim) receipt(leg uint8, state ledger.State) ledger.Receipt {
	t := s.out.drafted.Terms
	r := ledger.Receipt{
		Ledger: t.Legs[leg].Asset.Ledger, Sequence: 1, TimeMS: t.Legs[leg].Expiry * 1000,
		Custody: ledger.Custody{ID: s.out.custody(leg), State: state},
	}
	if state != ledger.Absent {
		r.Custody.Subject = subject(t, leg)
	}
	return r
}

// check looks at the end.
func (s *sim) check() {
	s.reload()
	status := s.out.Status()
	ended := status == StatusRejected || status == StatusExpired
	switch {
	case !s.out.Over():
		s.tb.Errorf("the payment stays %s", status)
	case ended && s.begun && s.outcome != connector.Undone:
		s.tb.Errorf("%s, and the money moved", status)
	case status == StatusSettled && (!s.begun || s.outcome == connector.Undone):
		s.tb.Errorf("settled, and no money moved")
	}
	if ended && (s.out.ended.Refusal.Reason == "" || s.out.ended.Refusal.Message == "") {
		s.tb.Errorf("no reason: %+v", s.out.ended)
	}
	for who, signed := range s.signed {
		if len(signed) > 1 {
			s.tb.Errorf("the %s signed %d terms", who, len(signed))
		}
	}
	drafts := 0
	for _, e := range s.load("payer") {
		if _, ok := e.Fact.(Drafted); ok {
			drafts++
		}
	}
	if drafts > 1 {
		s.tb.Errorf("%d terms were drawn up", drafts)
	}
}
