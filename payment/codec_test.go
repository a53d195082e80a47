package payment

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// everyEvent is one event of each kind, as a payment makes them.
func everyEvent(tb testing.TB, n *network) []Event {
	tb.Helper()
	s := newScene(tb, n)
	proof := s.agreed()
	for leg := range uint8(2) {
		s.tell(GotVerdicts{Leg: leg, Verdicts: n.verdicts(tb, proof.Terms, leg)})
	}
	o, m := s.out, s.in
	packet := o.drafted.Packet
	custody := ledger.Custody{
		ID: o.custody(0), Subject: subject(proof.Terms, 0), Packet: packet, State: ledger.Confirmed,
		Preimage: cypherlink.Preimage{1},
	}
	cause := refuse(CodeDeclined, "MS03", "gave it back", nil)
	facts := []Fact{
		*o.instructed,
		Routed{o.route},
		Disclosed{o.disclosure},
		Addressed{o.setup},
		Quoted{o.quote},
		*o.drafted,
		Agreed{Proof: proof},
		Judged{Leg: 1, Verdicts: o.verdicts[1]},
		Judged{},
		Relayed{},
		Moved{Outcome: connector.Reserved},
		Moved{Outcome: connector.Undone, Cause: cause},
		Witnessed{ledger.Receipt{
			Ledger: "de", Custody: custody, Sequence: 7, TimeMS: 9, Evidence: []byte{1},
		}},
		Witnessed{ledger.Receipt{Ledger: "de", Custody: ledger.Custody{ID: o.custody(1)}}},
		Ended{StatusRejected, cause},
		Ended{StatusExpired, cause},
		*m.announced,
		Announced{Payer: s.a.id(), Setup: m.announced.Setup, Answer: m.announced.Answer},
		Promised{proof.Terms},
		Offered{o.quote},
		Taken{proof.Terms},
		Bound{proof},
		Held{},
		Laned{Stage: Void, Channel: channels.ID{1}, Slot: channels.Slot{Gen: 2, Seq: 3}, Update: cypherlink.Hash{4}},
		Booked{EnteredRefuse, "AC04"},
		Credited{},
		Returning{proof.Terms.UETR},
		Returned{},
	}
	events := make([]Event, len(facts))
	for i, f := range facts {
		events[i] = Event{At: int64(i), Fact: f}
	}
	return events
}

func TestEventsHaveOneForm(t *testing.T) {
	n := newNetwork(t, nil)
	kinds := map[uint8]bool{}
	for _, e := range everyEvent(t, n) {
		kinds[e.Fact.kind()] = true
		raw := EncodeEvent(e)
		got, err := DecodeEvent(raw, n.genesis)
		if err != nil {
			t.Fatalf("%s: %v", KindName(e.Fact), err)
		}
		if again := EncodeEvent(got); !bytes.Equal(again, raw) {
			t.Errorf("%s: another form", KindName(e.Fact))
		}
		for cut := range raw {
			if _, err := DecodeEvent(raw[:cut], n.genesis); !errors.Is(err, ErrEvent) {
				t.Fatalf("%s cut at %d: %v", KindName(e.Fact), cut, err)
			}
		}
		if _, err := DecodeEvent(append(slices.Clone(raw), 0), n.genesis); !errors.Is(err, ErrEvent) {
			t.Errorf("%s with a byte more: %v", KindName(e.Fact), err)
		}
	}
	if len(kinds) != int(kindReturned) {
		t.Errorf("%d of %d kinds", len(kinds), kindReturned)
	}
	for kind := range uint8(255) {
		_, err := DecodeEvent(append(make([]byte, 8), kind), n.genesis)
		empty := kind == kindRelayed || kind == kindHeld || kind == kindCredited || kind == kindReturned
		if err == nil && !empty {
			t.Errorf("kind %d without content", kind)
		}
	}
}

// messages are one of each kind, with the decoder that gives its canonical form again.
func messages(tb testing.TB, n *network) map[string]struct {
	raw   []byte
	again func([]byte) ([]byte, error)
} {
	tb.Helper()
	s := newScene(tb, n)
	e := s.instruct()
	setup := only[AskSetup](tb, e).Setup
	answer := s.setup(only[AskSetup](tb, e))
	e = s.tell(GotSetup{answer})
	request := only[AskQuote](tb, e).Request
	e = s.tell(GotQuote{Quote: s.issued(only[AskQuote](tb, e))})
	proof := s.prove(tb, only[Agree](tb, e).Terms)
	e = s.tell(GotProof{Proof: proof})
	verdicts, vote := n.verdicts(tb, proof.Terms, terms.Destination), newVote(tb)
	type message = struct {
		raw   []byte
		again func([]byte) ([]byte, error)
	}
	return map[string]message{
		"setup":         {setup.Encode(), again(DecodeSetup)},
		"setup answer":  {answer.Encode(), again(DecodeSetupAnswer)},
		"quote request": {request.Encode(), again(DecodeQuoteRequest)},
		"begin": {
			(&BeginRequest{Proof: proof, Verdicts: verdicts}).Encode(), again(DecodeBeginRequest),
		},
		"verdict": {only[Judge](tb, e).Request.Encode(), again(DecodeVerdictRequest)},
		"signed verdict": {EncodeVerdict(&verdicts[0]), func(b []byte) ([]byte, error) {
			v, err := DecodeVerdict(b)
			return EncodeVerdict(v), err
		}},
		"endorse": {vote.asks(vote.asks(nil, vote.crossing(1)), vote.crossing(2)).Encode(), again(DecodeEndorseRequest)},
		"join":    {vote.joins(vote.opens()).Encode(), again(DecodeJoinRequest)},
		"verdicts": {EncodeVerdicts(verdicts), func(b []byte) ([]byte, error) {
			v, err := DecodeVerdicts(b)
			return EncodeVerdicts(v), err
		}},
	}
}

// again decodes and encodes.
func again[M interface{ Encode() []byte }](decode func([]byte) (M, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		m, err := decode(b)
		if err != nil {
			return nil, err
		}
		return m.Encode(), nil
	}
}

func TestMessagesHaveOneForm(t *testing.T) {
	for name, m := range messages(t, newNetwork(t, nil)) {
		got, err := m.again(m.raw)
		if err != nil || !bytes.Equal(got, m.raw) {
			t.Errorf("%s: %v", name, err)
		}
		if len(m.raw) > MaxMessage {
			t.Errorf("%s: %d bytes", name, len(m.raw))
		}
		for cut := range m.raw {
			if _, err := m.again(m.raw[:cut]); !errors.Is(err, ErrMessage) {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
		}
		if _, err := m.again(append(slices.Clone(m.raw), 0)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
	}
}

func TestMessagesRefuseValues(t *testing.T) {
	n := newNetwork(t, nil)
	s := newScene(t, n)
	ask := only[AskSetup](t, s.instruct())
	nothing, below := *ask.Setup, *ask.Setup
	nothing.Amount, below.Amount = 0, -1
	for _, m := range []*Setup{&nothing, &below} {
		if _, err := DecodeSetup(m.Encode()); !errors.Is(err, ErrMessage) {
			t.Errorf("amount %d: %v", m.Amount, err)
		}
	}
	answer := s.setup(ask)
	answer.Address = ""
	if _, err := DecodeSetupAnswer(answer.Encode()); !errors.Is(err, ErrMessage) {
		t.Errorf("an answer without an address: %v", err)
	}
	proof := newScene(t, n).agreed()
	third := &VerdictRequest{Proof: proof, Leg: 2}
	if _, err := DecodeVerdictRequest(third.Encode()); !errors.Is(err, ErrMessage) {
		t.Errorf("a leg that is none: %v", err)
	}
	one := *proof.Terms
	one.Connector, one.Quote = cypherlink.ParticipantID{}, cypherlink.Hash{}
	one.Legs = slices.Clone(one.Legs[:1])
	one.Legs[0].Credit.Owner = one.Payee
	single := *proof
	single.Terms = &one
	if _, err := DecodeBeginRequest((&BeginRequest{Proof: &single}).Encode()); !errors.Is(err, ErrMessage) {
		t.Errorf("a payment on one ledger: %v", err)
	}
}

func FuzzEvents(f *testing.F) {
	n := newNetwork(f, nil)
	for _, e := range everyEvent(f, n) {
		f.Add(EncodeEvent(e))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := DecodeEvent(raw, n.genesis)
		if err == nil && !bytes.Equal(EncodeEvent(e), raw) {
			t.Fatalf("%s has two forms", KindName(e.Fact))
		}
	})
}

func FuzzMessages(f *testing.F) {
	all := messages(f, newNetwork(f, nil))
	for _, m := range all {
		f.Add(m.raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for name, m := range all {
			if got, err := m.again(raw); err == nil && !bytes.Equal(got, raw) {
				t.Fatalf("%s has two forms", name)
			}
		}
	})
}

// TestMomentsAndMilliseconds: the zero time stays the zero time.
func TestMomentsAndMilliseconds(t *testing.T) {
	if millis(time.Time{}) != 0 || !moment(0).IsZero() || moment(millis(time.UnixMilli(5))).UnixMilli() != 5 {
		t.Error("a time is lost")
	}
}
