package payment

import (
	"errors"
	"slices"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// draftedInChannels goes on to the drawing up of terms whose legs both move in channels.
func draftedInChannels(s *scene, lane cypherlink.Amount) (*connector.SignedQuote, error) {
	e := s.tell(GotSetup{s.setup(only[AskSetup](s.tb, s.instruct()))})
	q := s.quote(s.a.id(), only[AskQuote](s.tb, e).Request, func(q *connector.Quote) {
		q.Source.Account.Number, q.Destination.Account.Number = ledger.ChannelNumber, ledger.ChannelNumber
	})
	_, err := s.out.Step(s.now, GotQuote{q, lane})
	return q, err
}

// What a quote says of channels the terms say at both ends of each leg; and the paying bank takes no quote for its
// channel that it did not ask for.
func TestTermsInChannels(t *testing.T) {
	n := newNetwork(t, nil)
	s := newScene(t, n)
	if _, err := draftedInChannels(s, 1000_99); !errors.Is(err, ErrMessage) || s.out.quote != nil {
		t.Errorf("a lane that can pay too little: %v", err)
	}
	s = newScene(t, n)
	if _, err := draftedInChannels(s, 1001_00); err != nil {
		t.Fatal(err)
	}
	for _, leg := range s.out.drafted.Terms.Legs {
		if !ledger.InChannel(&leg) {
			t.Errorf("%+v", leg)
		}
	}
}

// Paid bank and connector sign terms with a leg in a channel if they have one, and if both its ends are in it.
func TestJudgingLegsInChannels(t *testing.T) {
	n := newNetwork(t, nil)
	for _, tt := range []struct {
		name         string
		edit         func(t *terms.Terms)
		channel      bool
		payee, offer string
	}{
		{"as quoted", func(*terms.Terms) {}, true, "", ""},
		{"without a channel", func(*terms.Terms) {}, false, "AG03", "AG03"},
		{"paid into another's channel", func(t *terms.Terms) { t.Legs[1].Credit.Owner[0]++ }, true, "AC01", ""},
		{"paid in the channel from an account", func(t *terms.Terms) { t.Legs[1].Debit.Number = 0 }, true, "AC01", "AM09"},
		{"paid on an account from the channel", func(t *terms.Terms) { t.Legs[1].Credit.Number = 0 }, true, "", "AM09"},
		{"paying from an account into the channel", func(t *terms.Terms) { t.Legs[0].Debit.Number = 0 }, true, "", "AM09"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, n)
			q, err := draftedInChannels(s, 1001_00)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.offer.Step(s.now, Issue{q}); err != nil {
				t.Fatal(err)
			}
			x := *s.out.drafted.Terms
			x.Legs = slices.Clone(x.Legs)
			tt.edit(&x)
			in := Propose{From: s.a.id(), Terms: &x, Channel: tt.channel}
			e, err := s.in.Step(s.now, in)
			if err != nil || reasonOf(e.Refusal) != tt.payee {
				t.Errorf("the paid bank: %v, %v", e.Refusal, err)
			}
			if e, err = s.offer.Step(s.now, in); err != nil || reasonOf(e.Refusal) != tt.offer {
				t.Errorf("the connector: %v, %v", e.Refusal, err)
			}
		})
	}
}

func reasonOf(e *cypherlink.Error) string {
	if e == nil {
		return ""
	}
	return e.Reason
}
