package payment

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

func TestStatusesHaveOneISOStatus(t *testing.T) {
	all := []Status{
		StatusReceived, StatusChecked, StatusNegotiating, StatusAgreed, StatusValidating,
		StatusApproved, StatusReserved, StatusSigned1, StatusInDoubt, StatusSigned2, StatusSettled, StatusPosted,
		StatusRejected, StatusExpired, StatusAborted, StatusReturnPending, StatusCompleted, StatusReturned,
	}
	for i, s := range all {
		if !s.ISO().Known() {
			t.Errorf("%s is %q outside", s, s.ISO())
		}
		for _, to := range s.next() {
			if at := slices.Index(all, to); at < i || at == i && s != StatusInDoubt {
				t.Errorf("%s leads back to %s", s, to)
			}
			// what is decided stays so: what follows books it
			if s.Final() && !to.Final() {
				t.Errorf("%s is final, and %s is not", s, to)
			}
		}
	}
	if Status("OTHER").ISO() != "" {
		t.Error("an unknown status has an ISO status")
	}
}

// TestReasonsAreISO: every reason of this package is in the external code set.
func TestReasonsAreISO(t *testing.T) {
	for q := QuestionSetup; q <= questionLast; q++ {
		if e := silence(q); !iso20022.KnownReason(e.Reason) || e.Message == "" {
			t.Errorf("question %d: %v", q, e)
		}
	}
	for _, why := range []connector.Reason{
		connector.ReasonCustody, connector.ReasonPacket, connector.ReasonCondition,
		connector.ReasonLate, connector.ReasonReturned,
	} {
		if r := declinedReason(why); !iso20022.KnownReason(r) {
			t.Errorf("%s: %q", why, r)
		}
	}
}

// TestAnswersThatDoNotFit: each is refused, nothing changes, and the question stays open.
func TestAnswersThatDoNotFit(t *testing.T) {
	n := newNetwork(t, nil)
	answer := func(edit func(s *scene, a *SetupAnswer)) func(s *scene) Input {
		return func(s *scene) Input {
			a := s.setup(only[AskSetup](t, s.instruct()))
			edit(s, a)
			return GotSetup{a}
		}
	}
	quoted := func(edit func(s *scene, q *connector.Quote)) func(s *scene) Input {
		return func(s *scene) Input {
			e := s.instruct()
			e = s.tell(GotSetup{s.setup(only[AskSetup](t, e))})
			request := only[AskQuote](t, e).Request
			return GotQuote{Quote: s.quote(s.a.id(), request, func(q *connector.Quote) { edit(s, q) })}
		}
	}
	for _, tt := range []struct {
		name  string
		input func(s *scene) Input
		want  error
	}{
		{
			"an account of somebody else's",
			answer(func(s *scene, a *SetupAnswer) { a.Account.Owner = s.mallory.id() }), ErrMessage,
		},
		{"no address", answer(func(_ *scene, a *SetupAnswer) { a.Address = "nowhere" }), ErrMessage},
		{
			"an answer without a salt",
			answer(func(_ *scene, a *SetupAnswer) { a.Answer.Salt = kyc.Salt{} }), ErrMessage,
		},
		{
			"a quote for another asker",
			quoted(func(s *scene, q *connector.Quote) { q.Asker = s.mallory.id() }), ErrMessage,
		},
		{
			"a quote for less",
			quoted(func(_ *scene, q *connector.Quote) { q.Destination.Amount-- }), ErrMessage,
		},
		{
			"a quote of another network",
			quoted(func(_ *scene, q *connector.Quote) { q.Network[0]++ }), ErrMessage,
		},
		{
			"a quote in another asset",
			quoted(func(_ *scene, q *connector.Quote) { q.Source.Asset.Code = "USD" }), ErrMessage,
		},
		{"a quote that has expired", quoted(func(_ *scene, q *connector.Quote) {
			q.ValidUntil = sceneStart
		}), connector.ErrQuoteExpired},
		{"a proof of other terms", func(s *scene) Input {
			other := *s.drafted()
			other.KYC[0]++
			return GotProof{Proof: &terms.Proof{Terms: &other}}
		}, ErrMessage},
		{"verdicts on another payment", func(s *scene) Input {
			other := *s.agreed().Terms
			other.UETR = s.instruction(t, 2).UETR
			return GotVerdicts{Leg: terms.Source, Verdicts: n.verdicts(t, &other, terms.Source)}
		}, validator.ErrNotApproved},
		{"verdicts on the other leg", func(s *scene) Input {
			verdicts := n.verdicts(t, s.agreed().Terms, terms.Destination)
			return GotVerdicts{Leg: terms.Source, Verdicts: verdicts}
		}, validator.ErrNotApproved},
		{"one verdict of two", func(s *scene) Input {
			return GotVerdicts{
				Leg: terms.Destination, Verdicts: n.verdicts(t, s.agreed().Terms, terms.Destination)[:1],
			}
		}, validator.ErrNotApproved},
		{"a receipt of another custody", func(s *scene) Input {
			s.agreed()
			return Seen{ledger.Receipt{Ledger: "de", Custody: ledger.Custody{ID: ledger.CustodyID{1}}}}
		}, connector.ErrForeign},
		{"an input of another machine", func(s *scene) Input {
			s.instruct()
			return Propose{}
		}, errInput},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, n)
			in := tt.input(s)
			before := s.out.Status()
			open := s.out.open()
			if e, err := s.out.Step(s.now, in); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v (%+v)", err, tt.want, e)
			}
			if s.out.Status() != before || !slices.Equal(s.out.open(), open) {
				t.Errorf("it changed to %s, %v", s.out.Status(), s.out.open())
			}
		})
	}
}

func TestAHoldThatIsTooLongEndsThePayment(t *testing.T) {
	const wraps = 18_446_744_074 // so many seconds are 0.3 s to who counts nanoseconds in 64 bits
	for _, seconds := range []int64{3600, wraps} {
		s := newScene(t, newNetwork(t, nil))
		e := s.tell(GotSetup{s.setup(only[AskSetup](t, s.instruct()))})
		long := func(q *connector.Quote) { q.SourceHold = seconds }
		s.tell(GotQuote{Quote: s.quote(s.a.id(), only[AskQuote](t, e).Request, long)})
		if s.out.Status() != StatusRejected || s.out.ended.Refusal.Reason != "TM01" {
			t.Errorf("%d s: %s %+v", seconds, s.out.Status(), s.out.ended)
		}
	}
}

// TestADearQuoteEndsThePayment: the dearest price is accepted, a cent more is not, and no price is
// accepted for an asset without one.
func TestADearQuoteEndsThePayment(t *testing.T) {
	for _, tt := range []struct {
		name    string
		fee     cypherlink.Amount
		without bool
		want    Status
	}{
		{"the dearest price", 1_00, false, StatusNegotiating},
		{"a cent more", 1_01, false, StatusRejected},
		{"no price", 1_00, true, StatusRejected},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, newNetwork(t, nil))
			if tt.without {
				clear(s.out.bank.Dearest)
			}
			e := s.tell(GotSetup{s.setup(only[AskSetup](t, s.instruct()))})
			s.tell(GotQuote{Quote: s.quote(s.a.id(), only[AskQuote](t, e).Request, func(q *connector.Quote) {
				q.Source.Amount += tt.fee - q.Price.Fee
				q.Price.Fee = tt.fee
			})})
			if s.out.Status() != tt.want {
				t.Fatalf("%s %+v", s.out.Status(), s.out.ended)
			}
			if tt.want == StatusRejected && s.out.ended.Refusal.Reason != "AM02" {
				t.Errorf("%+v", s.out.ended.Refusal)
			}
		})
	}
}

// TestNoCancelOnceTheCustodyMayBe: after the connector has begun, no time and no refusal ends
// the payment; only the ledgers do.
func TestNoCancelOnceTheCustodyMayBe(t *testing.T) {
	n := newNetwork(t, nil)
	s := newScene(t, n)
	proof := s.agreed()
	for leg := range uint8(2) {
		s.tell(GotVerdicts{Leg: leg, Verdicts: n.verdicts(t, proof.Terms, leg)})
	}
	e := s.tell(GotRelay{})
	if s.out.Status() != StatusApproved {
		t.Fatal(s.out.Status())
	}
	only[BeginPayer](t, e)
	s.tell(GotPayer{})
	s.now = s.now.Add(time.Hour)
	for q := QuestionSetup; q <= questionLast; q++ {
		s.tell(Refused{Question: q, Refusal: refuse("x", "NARR", "no", nil)})
	}
	s.tell(Tick{})
	if s.out.Status() != StatusApproved {
		t.Errorf("%s", s.out.Status())
	}
	s.tell(Moves{Outcome: connector.Reserved})
	// after a start where the payer machine stands is asked, and that is no way out either
	var err error
	if s.out, err = NewOutgoing(n.bank(n.a), s.random, s.events); err != nil {
		t.Fatal(err)
	}
	only[BeginPayer](t, s.tell(Tick{}))
	s.tell(Refused{Question: QuestionPayer, Refusal: refuse("x", "NARR", "no", nil)})
	if s.out.Status() != StatusReserved {
		t.Errorf("%s", s.out.Status())
	}
}

// TestUndoneHasTheReasonOfTheCustodies covers every way in which nothing moved.
func TestUndoneHasTheReasonOfTheCustodies(t *testing.T) {
	n := newNetwork(t, nil)
	const never = -1
	for _, tt := range []struct {
		name                string
		source, destination int64 // second of the return after the start, or never
		cause               *cypherlink.Error
		status              Status
		reason              string
	}{
		{
			"the ledger refused",
			never, never, refuse(ledger.CodeFunds, "AM04", "no", nil), StatusRejected, "AM04",
		},
		{"nothing was made", never, never, nil, StatusExpired, "TM01"},
		{"the connector gave back", 5, never, nil, StatusRejected, "MS03"},
		{"the connector did nothing", 32, never, nil, StatusExpired, "AB06"},
		{"the paid bank gave back", 5, 4, nil, StatusRejected, "MS03"},
		{"the paid bank did nothing", 21, 20, nil, StatusExpired, "AB05"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, n)
			proof := s.agreed()
			for leg := range uint8(2) {
				s.tell(GotVerdicts{Leg: leg, Verdicts: n.verdicts(t, proof.Terms, leg)})
			}
			s.tell(GotRelay{})
			s.tell(GotPayer{})
			e := s.tell(Moves{Outcome: connector.Undone, Cause: tt.cause})
			if s.out.Status() != StatusApproved {
				t.Fatalf("%s before the ends are seen", s.out.Status())
			}
			if len(e.Do) != 2 {
				t.Fatalf("asks %v", e.Do)
			}
			for leg, at := range []int64{tt.source, tt.destination} {
				r := ledger.Receipt{
					Ledger:  proof.Terms.Legs[leg].Asset.Ledger,
					Custody: ledger.Custody{ID: s.out.custody(uint8(leg))},
				}
				if at == never {
					r.TimeMS = (proof.Terms.Legs[leg].Expiry - 1) * 1000
					if e := s.tell(Seen{r}); len(e.Persist) > 0 {
						t.Fatal("an absence that may end counts")
					}
					r.TimeMS = proof.Terms.Legs[leg].Expiry * 1000
				} else {
					r.Custody.State, r.TimeMS = ledger.Returned, (sceneStart+at)*1000
				}
				s.tell(Seen{r})
			}
			if s.out.Status() != tt.status || s.out.ended.Refusal.Reason != tt.reason {
				t.Errorf("%s %v, want %s %s", s.out.Status(), s.out.ended.Refusal, tt.status, tt.reason)
			}
		})
	}
}

// TestThePaidBankJudges: terms that are not what was announced are not signed.
func TestThePaidBankJudges(t *testing.T) {
	n := newNetwork(t, nil)
	for _, tt := range []struct {
		name   string
		edit   func(s *scene, t *terms.Terms)
		from   func(s *scene) *player
		reason string
	}{
		{"as announced", func(*scene, *terms.Terms) {}, nil, ""},
		{"another amount", func(_ *scene, t *terms.Terms) { t.Legs[1].Amount-- }, nil, "AM09"},
		{"another asset", func(_ *scene, t *terms.Terms) { t.Legs[1].Asset.Code = "USD" }, nil, "AM09"},
		{"another account", func(_ *scene, t *terms.Terms) { t.Legs[1].Credit.Number++ }, nil, "AC01"},
		{"other parties' data", func(_ *scene, t *terms.Terms) { t.KYC[0]++ }, nil, "NARR"},
		{
			"no time to confirm",
			func(s *scene, t *terms.Terms) { t.Legs[1].Expiry = s.now.Unix() + 2 }, nil, "TM01",
		},
		{"another payer", func(s *scene, t *terms.Terms) { t.Payer = s.mallory.id() }, nil, "AGNT"},
		{"another payee", func(s *scene, t *terms.Terms) { t.Payee = s.mallory.id() }, nil, "AGNT"},
		{
			"told by another bank",
			func(*scene, *terms.Terms) {}, func(s *scene) *player { return s.mallory }, "AGNT",
		},
		{"an unknown payment", func(s *scene, _ *terms.Terms) {
			s.in, _ = NewIncoming(s.bank(s.b), nil)
		}, nil, "NARR"},
		{"one leg", func(_ *scene, t *terms.Terms) { t.Legs = t.Legs[:1] }, nil, "AG03"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, n)
			x := *s.drafted()
			x.Legs = slices.Clone(x.Legs)
			tt.edit(s, &x)
			from := s.a
			if tt.from != nil {
				from = tt.from(s)
			}
			e, err := s.in.Step(s.now, Propose{From: from.id(), Terms: &x})
			if err != nil {
				t.Fatal(err)
			}
			if tt.reason == "" {
				if e.Refusal != nil || len(e.Persist) != 1 {
					t.Errorf("%v", e.Refusal)
				}
				return
			}
			if e.Refusal == nil || e.Refusal.Reason != tt.reason || len(e.Persist) > 0 {
				t.Errorf("%v, want %s", e.Refusal, tt.reason)
			}
		})
	}
}

// TestThePaidBankSignsOneTermsOfAPayment, and the same again as often as it is asked.
func TestThePaidBankSignsOneTermsOfAPayment(t *testing.T) {
	s := newScene(t, newNetwork(t, nil))
	x := s.drafted()
	propose := func(t *terms.Terms) *cypherlink.Error {
		e, err := s.in.Step(s.now, Propose{From: s.a.id(), Terms: t})
		if err != nil {
			s.tb.Fatal(err)
		}
		return e.Refusal
	}
	if r := propose(x); r != nil {
		t.Fatal(r)
	}
	s.now = s.now.Add(time.Hour)
	if r := propose(x); r != nil {
		t.Errorf("the same again: %v", r)
	}
	other := *x
	other.Condition[0]++
	if r := propose(&other); r == nil || r.Code != CodeUETR {
		t.Errorf("other terms: %v", r)
	}
	present := func(from *player, t *terms.Terms) cypherlink.Code {
		e, err := s.in.Step(s.now, Present{From: from.id(), Proof: &terms.Proof{Terms: t}})
		if err != nil || e.Refusal == nil {
			s.tb.Fatal("a proof is taken", err)
		}
		return e.Refusal.Code
	}
	if code := present(s.a, &other); code != CodeTerms {
		t.Errorf("a proof of other terms: %s", code)
	}
	if code := present(s.mallory, x); code != CodeParty {
		t.Errorf("another bank presents the proof: %s", code)
	}
}

// TestASetupIsAnsweredOnce: repeated it has the same answer, and its UETR stands for nothing
// else.
func TestASetupIsAnsweredOnce(t *testing.T) {
	s := newScene(t, newNetwork(t, nil))
	ask := only[AskSetup](t, s.instruct())
	first := s.setup(ask)
	again := s.setup(ask)
	if string(first.Encode()) != string(again.Encode()) {
		t.Error("another answer")
	}
	more := *ask.Setup
	more.Amount++
	told := *ask.Setup
	d := *told.Disclosure
	d.Creditor.Name = "Somebody Else"
	told.Disclosure = &d
	for name, in := range map[string]Ask{
		"another amount":       s.ask(s.a.id(), &more),
		"other parties":        s.ask(s.a.id(), &told),
		"another bank's order": s.ask(s.mallory.id(), ask.Setup),
	} {
		e, err := s.in.Step(s.now, in)
		if err != nil || e.Refusal == nil || e.Refusal.Code != CodeUETR || len(e.Persist) > 0 {
			t.Errorf("%s: %v, %v", name, e.Refusal, err)
		}
	}
}

func TestAnAnnouncementThatIsRefused(t *testing.T) {
	n := newNetwork(t, nil)
	for _, tt := range []struct {
		name   string
		edit   func(s *scene, in *Ask)
		reason string
	}{
		{
			"a name on the list",
			func(_ *scene, in *Ask) { in.Setup.Disclosure.Debtor.Name = "Ivan the Terrible" }, "RR04",
		},
		{"a blocked account", func(_ *scene, in *Ask) { in.Standing = kyc.Blocked }, "AC06"},
		{"an asset that is not here", func(_ *scene, in *Ask) { in.Setup.Asset.Code = "USD" }, "AM03"},
		{"the bank itself", func(s *scene, in *Ask) { in.From = s.b.id() }, "AM03"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, n)
			in := s.ask(s.a.id(), only[AskSetup](t, s.instruct()).Setup)
			tt.edit(s, &in)
			for range 2 { // and again
				e, err := s.in.Step(s.now, in)
				if err != nil || e.Refusal == nil || e.Refusal.Reason != tt.reason {
					t.Errorf("%v, %v, want %s", e.Refusal, err, tt.reason)
				}
			}
		})
	}
}

// TestAnIncomingPaymentIsGivenUp: without terms by the bank's patience, with signed terms by
// their expiry, with a proof never.
func TestAnIncomingPaymentIsGivenUp(t *testing.T) {
	n := newNetwork(t, nil)
	tick := func(s *scene, after time.Duration) Status {
		if _, err := s.in.Step(s.now.Add(after), Tick{}); err != nil {
			t.Fatal(err)
		}
		return s.in.Status()
	}
	s := newScene(t, n)
	s.setup(only[AskSetup](t, s.instruct()))
	if tick(s, 9*time.Second) != StatusNegotiating || tick(s, 10*time.Second) != StatusExpired {
		t.Error("without terms")
	}
	if e, _ := s.in.Step(s.now, Propose{From: s.a.id(), Terms: &terms.Terms{}}); e.Refusal == nil {
		t.Error("terms after the end are signed")
	}
	s = newScene(t, n)
	proof := s.agreed()
	if tick(s, 19*time.Second) != StatusNegotiating || tick(s, 20*time.Second) != StatusExpired {
		t.Error("with terms")
	}
	e, _ := s.in.Step(s.now, Present{From: s.a.id(), Proof: proof})
	if e.Refusal == nil || e.Refusal.Code != CodeOver {
		t.Errorf("a proof after the end: %v", e.Refusal)
	}
	s = newScene(t, n)
	proof = s.agreed()
	if e, _ := s.in.Step(s.now, Present{From: s.a.id(), Proof: proof}); e.Refusal != nil {
		t.Fatal(e.Refusal)
	}
	if tick(s, time.Hour) != StatusAgreed {
		t.Error("with a proof")
	}
}

// TestTheConnectorJudges: terms that are not what it quoted are not signed.
func TestTheConnectorJudges(t *testing.T) {
	n := newNetwork(t, nil)
	for _, tt := range []struct {
		name   string
		edit   func(s *scene, t *terms.Terms)
		code   cypherlink.Code
		reason string
	}{
		{"as quoted", func(*scene, *terms.Terms) {}, "", ""},
		{"less at the source", func(_ *scene, t *terms.Terms) { t.Legs[0].Amount-- }, CodeQuote, "AM09"},
		{"more at the destination", func(_ *scene, t *terms.Terms) { t.Legs[1].Amount++ }, CodeQuote, "AM09"},
		{
			"another account of its",
			func(_ *scene, t *terms.Terms) { t.Legs[1].Debit.Number++ }, CodeQuote, "AM09",
		},
		{"a longer source hold", func(_ *scene, t *terms.Terms) { t.Legs[0].Expiry++ }, CodeQuote, "AM09"},
		{
			"drawn up long ago",
			func(s *scene, _ *terms.Terms) { s.now = s.now.Add(3 * time.Second) }, CodeQuote, "AM09",
		},
		{
			"a quote that has expired",
			func(s *scene, _ *terms.Terms) { s.now = s.now.Add(30 * time.Second) }, CodeQuote, "TM01",
		},
		{"a quote that it did not give", func(s *scene, _ *terms.Terms) {
			s.offer, _ = NewOffer(s.dealer(), nil)
		}, CodeQuote, "NARR"},
		{
			"another connector",
			func(s *scene, t *terms.Terms) { t.Connector = s.mallory.id() }, CodeParty, "AGNT",
		},
		{"another payer", func(s *scene, t *terms.Terms) { t.Payer = s.mallory.id() }, CodeParty, "AGNT"},
		{"too little time to relay", func(s *scene, _ *terms.Terms) {
			s.offer.dealer.Margins.RelayWindow = time.Minute
		}, CodeTerms, "TM01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, n)
			x := *s.drafted()
			x.Legs = slices.Clone(x.Legs)
			tt.edit(s, &x)
			e, err := s.offer.Step(s.now, Propose{From: s.a.id(), Terms: &x})
			if err != nil {
				t.Fatal(err)
			}
			if tt.code == "" {
				if e.Refusal != nil {
					t.Error(e.Refusal)
				}
				return
			}
			if e.Refusal == nil || e.Refusal.Code != tt.code || e.Refusal.Reason != tt.reason {
				t.Errorf("%v, want %s %s", e.Refusal, tt.code, tt.reason)
			}
		})
	}
}

// TestAQuoteIsUsedOnce: by the terms that took it, as often as they are proposed.
func TestAQuoteIsUsedOnce(t *testing.T) {
	s := newScene(t, newNetwork(t, nil))
	x := s.drafted()
	step := func(in Input) *cypherlink.Error {
		e, err := s.offer.Step(s.now, in)
		if err != nil {
			t.Fatal(err)
		}
		return e.Refusal
	}
	if r := step(Present{From: s.a.id(), Proof: &terms.Proof{Terms: x}}); r == nil || r.Code != CodeTerms {
		t.Errorf("a proof before the signature: %v", r)
	}
	if r := step(Propose{From: s.a.id(), Terms: x}); r != nil {
		t.Fatal(r)
	}
	other := *x
	other.UETR = s.instruction(t, 2).UETR
	if r := step(Propose{From: s.a.id(), Terms: &other}); r == nil || r.Reason != "DU03" {
		t.Errorf("another payment takes the quote: %v", r)
	}
	s.now = s.now.Add(time.Hour)
	if r := step(Propose{From: s.a.id(), Terms: x}); r != nil {
		t.Errorf("the same again: %v", r)
	}
	present := func(from *player, t *terms.Terms) *cypherlink.Error {
		return step(Present{From: from.id(), Proof: &terms.Proof{Terms: t}})
	}
	if r := present(s.mallory, x); r == nil || r.Code != CodeParty {
		t.Errorf("another bank presents the proof: %v", r)
	}
	if r := present(s.a, &other); r == nil || r.Code != CodeTerms {
		t.Errorf("a proof of other terms: %v", r)
	}
	for range 2 {
		if r := step(Present{From: s.a.id(), Proof: &terms.Proof{Terms: x}}); r != nil {
			t.Error(r)
		}
	}
}

// TestPoll counts what a policy asks for, and nothing twice.
func TestPoll(t *testing.T) {
	n := newNetwork(t, nil)
	s := newScene(t, n)
	x := s.agreed().Terms
	of := func(i int, outcome validator.Outcome) *validator.Signed {
		return n.verdict(t, n.validators[i], subject(x, terms.Destination), outcome)
	}
	start := func() *poll {
		p, err := newPoll(n.genesis, x, terms.Destination)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	hear := func(p *poll, id cypherlink.ParticipantID, v *validator.Signed) error {
		return p.hear(id, v, s.now)
	}
	p := start()
	for range 2 {
		if err := hear(p, n.validators[1].id(), of(1, validator.Approved)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, done := p.result(); done {
		t.Error("one Validator counts twice")
	}
	if err := hear(p, n.validators[0].id(), of(0, validator.Approved)); err != nil {
		t.Error("a Validator of another asset is no error", err)
	}
	if _, _, done := p.result(); done {
		t.Error("a Validator of another asset counts")
	}
	if err := hear(p, n.validators[3].id(), of(3, validator.Approved)); err != nil {
		t.Fatal(err)
	}
	if v, refusal, done := p.result(); !done || refusal != nil || len(v) != 2 {
		t.Errorf("%d, %v, %v", len(v), refusal, done)
	}

	p = start()
	wrong := of(1, validator.Rejected)
	wrong.Signature[0]++
	if err := hear(p, n.validators[1].id(), wrong); err == nil {
		t.Error("a no that its Validator did not sign")
	}
	if err := hear(p, n.validators[2].id(), of(1, validator.Approved)); !errors.Is(err, ErrMessage) {
		t.Errorf("another Validator's verdict: %v", err)
	}
	stale := of(2, validator.Approved)
	if err := p.hear(n.validators[2].id(), stale, s.now.Add(time.Hour)); err == nil {
		t.Error("a verdict that is not valid any more")
	}
	for _, i := range []int{1, 2} {
		if err := hear(p, n.validators[i].id(), of(i, validator.Held)); err != nil {
			t.Fatal(err)
		}
	}
	if _, refusal, done := p.result(); !done || refusal == nil || refusal.Reason != "RR04" {
		t.Errorf("%v, %v", refusal, done)
	}
}

// TestLogsThatContradictThemselves are not restored.
func TestLogsThatContradictThemselves(t *testing.T) {
	n := newNetwork(t, nil)
	s := newScene(t, n)
	proof := s.agreed()
	event := func(f Fact) Event { return Event{At: 1, Fact: f} }
	ended := Ended{StatusRejected, refuse("x", "NARR", "no", nil)}
	announced := Announced{
		Payer: s.a.id(), Setup: s.in.announced.Setup,
		Answer: s.in.announced.Answer, Address: s.in.announced.Address,
	}
	for name, log := range map[string][]Event{
		"agreed before anything":       {event(Agreed{Proof: proof})},
		"an end and then more":         {event(*s.out.instructed), event(ended), event(Routed{s.out.route})},
		"an incoming payment's":        {event(announced)},
		"a leg that is none":           {event(Judged{Leg: 2})},
		"a signature on another quote": {event(Taken{proof.Terms})},
	} {
		if _, err := NewOutgoing(n.bank(n.a), s.random, log); !errors.Is(err, ErrEvent) {
			t.Errorf("outgoing: %s: %v", name, err)
		}
	}
	for name, log := range map[string][]Event{
		"an outgoing payment's": {event(*s.out.instructed)},
		"approved, then agreed": {event(announced), event(Judged{Leg: 1})},
		"an end and then more":  {event(announced), event(ended), event(Agreed{Proof: proof})},
	} {
		if _, err := NewIncoming(n.bank(n.b), log); !errors.Is(err, ErrEvent) {
			t.Errorf("incoming: %s: %v", name, err)
		}
	}
	for name, log := range map[string][]Event{
		"taken before it was offered": {event(Taken{proof.Terms})},
		"offered twice":               {event(Offered{s.offer.quote}), event(Offered{s.offer.quote})},
		"taken twice": {
			event(Offered{s.offer.quote}), event(Taken{proof.Terms}), event(Taken{proof.Terms}),
		},
		"bound before it was taken": {event(Offered{s.offer.quote}), event(Bound{proof})},
		"a payment's":               {event(Relayed{})},
	} {
		if _, err := NewOffer(n.dealer(), log); !errors.Is(err, ErrEvent) {
			t.Errorf("offer: %s: %v", name, err)
		}
	}
}
