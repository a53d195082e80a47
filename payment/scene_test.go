package payment

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// scene is one payment's three machines without shells, and a clock. It answers their questions
// honestly, one at a time.
type scene struct {
	*network
	tb     testing.TB
	now    time.Time
	random *rand.ChaCha8
	out    *Outgoing
	events []Event // of the outgoing payment
	in     *Incoming
	offer  *Offer
}

const sceneStart = 1_000_000_000

func newScene(tb testing.TB, n *network) *scene {
	tb.Helper()
	s := &scene{
		network: n, tb: tb, now: time.Unix(sceneStart, 0),
		random: rand.NewChaCha8(sha256.Sum256([]byte("scene"))),
	}
	var err error
	if s.out, err = NewOutgoing(n.bank(n.a), s.random, nil); err != nil {
		tb.Fatal(err)
	}
	if s.in, err = NewIncoming(n.bank(n.b), nil); err != nil {
		tb.Fatal(err)
	}
	if s.offer, err = NewOffer(n.dealer(), nil); err != nil {
		tb.Fatal(err)
	}
	return s
}

// tell steps the outgoing payment.
func (s *scene) tell(in Input) Effects {
	s.tb.Helper()
	e, err := s.out.Step(s.now, in)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.events = append(s.events, e.Persist...)
	return e
}

// instruct begins the payment.
func (s *scene) instruct() Effects {
	s.tb.Helper()
	return s.tell(Instruct{
		Instruction: s.instruction(s.tb, 1), Format: JSON, Raw: s.json(1), Key: "json/k",
	})
}

// ask is what Bank B's Connect makes of a Setup.
func (s *scene) ask(from cypherlink.ParticipantID, setup *Setup) Ask {
	s.tb.Helper()
	in := Ask{From: from, Setup: setup, Standing: kyc.Open}
	var err error
	if in.Address, _, err = s.secretOfB.NewAddress(s.random, s.addressOf); err != nil {
		s.tb.Fatal(err)
	}
	s.fill(in.Salt[:])
	return in
}

func (s *scene) fill(b []byte) {
	if _, err := s.random.Read(b); err != nil {
		s.tb.Fatal(err)
	}
}

// setup answers AskSetup.
func (s *scene) setup(t AskSetup) *SetupAnswer {
	s.tb.Helper()
	e, err := s.in.Step(s.now, s.ask(s.a.id(), t.Setup))
	if err != nil || e.Refusal != nil {
		s.tb.Fatal(err, e.Refusal)
	}
	a, err := s.in.SetupAnswer()
	if err != nil {
		s.tb.Fatal(err)
	}
	return a
}

// quote signs a quote; edit may change it before.
func (s *scene) quote(
	asker cypherlink.ParticipantID, r *QuoteRequest, edit func(*connector.Quote),
) *connector.SignedQuote {
	s.tb.Helper()
	var id cypherlink.Hash
	s.fill(id[:])
	q, err := s.dealer().Quote(s.now, id, asker, r, s.price)
	if err != nil {
		s.tb.Fatal(err)
	}
	if edit != nil {
		edit(q)
	}
	signature, err := s.clearing.identity.Sign(q.Frame())
	if err != nil {
		s.tb.Fatal(err)
	}
	return &connector.SignedQuote{Quote: *q, Signature: signature}
}

// issued answers AskQuote and begins the offer.
func (s *scene) issued(t AskQuote) *connector.SignedQuote {
	s.tb.Helper()
	q := s.quote(s.a.id(), t.Request, nil)
	if _, err := s.offer.Step(s.now, Issue{q}); err != nil {
		s.tb.Fatal(err)
	}
	return q
}

// prove has all three sign one terms, whatever they are.
func (n *network) prove(tb testing.TB, t *terms.Terms) *terms.Proof {
	tb.Helper()
	r := NewRosters(n.genesis)
	session, _, err := r.session(t)
	if err != nil {
		tb.Fatal(err)
	}
	p := terms.NewProposer(session, terms.Pace{Resend: time.Second, Timeout: time.Minute}, 1)
	at := time.Unix(sceneStart, 0)
	e, err := p.Step(at, terms.Submit{Terms: t})
	if err != nil {
		tb.Fatal(err)
	}
	for _, ask := range e.Ask {
		var share cosi.Signature
		for _, who := range []*player{n.a, n.b, n.clearing, n.mallory} {
			if who.id() == ask.To {
				if share, err = who.key.Sign(session.Frame(ask.Batch)); err != nil {
					tb.Fatal(err)
				}
			}
		}
		answer := &terms.Answer{Sequence: ask.Batch.Sequence, Share: share}
		if e, err = p.Step(at, terms.Answered{From: ask.To, Answer: answer}); err != nil {
			tb.Fatal(err)
		}
	}
	return e.Settled[0].Proof
}

// verdicts are as many approvals of a leg as its asset asks for.
func (n *network) verdicts(tb testing.TB, t *terms.Terms, leg uint8) []validator.Signed {
	tb.Helper()
	by := n.validators[:1]
	if leg == terms.Destination {
		by = n.validators[1:3]
	}
	var all []validator.Signed
	for _, v := range by {
		all = append(all, *n.verdict(tb, v, subject(t, leg), validator.Approved))
	}
	return all
}

// drafted goes on to the drawing up of terms, and gives them.
func (s *scene) drafted() *terms.Terms {
	s.tb.Helper()
	e := s.instruct()
	e = s.tell(GotSetup{s.setup(only[AskSetup](s.tb, e))})
	e = s.tell(GotQuote{Quote: s.issued(only[AskQuote](s.tb, e))})
	return only[Agree](s.tb, e).Terms
}

// agreed goes on to the agreement of all three, and gives the proof.
func (s *scene) agreed() *terms.Proof {
	s.tb.Helper()
	t := s.drafted()
	in := Propose{From: s.a.id(), Terms: t}
	for _, step := range []func(time.Time, Input) (Effects, error){s.in.Step, s.offer.Step} {
		if e, err := step(s.now, in); err != nil || e.Refusal != nil {
			s.tb.Fatal(err, e.Refusal)
		}
	}
	proof := s.prove(s.tb, t)
	s.tell(GotProof{Proof: proof})
	return proof
}

// only is the one task of that kind that a step wants.
func only[T Task](tb testing.TB, e Effects) T {
	tb.Helper()
	for _, t := range e.Do {
		if want, ok := t.(T); ok {
			return want
		}
	}
	var none T
	tb.Fatalf("no %T among %v", none, e.Do)
	return none
}
