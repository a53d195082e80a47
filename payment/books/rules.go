package books

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
)

// Step is what a line of the journal was booked for.
type Step string

// The steps.
const (
	Opening Step = "open" // a customer's first balance
	Hold    Step = "hold"
	Post    Step = "post"
	Release Step = "release"
	Refuse  Step = "refuse"
)

// state is where a posting stands.
type state string

const (
	absent   state = ""
	held     state = "held"
	posted   state = "posted"
	released state = "released"
	barred   state = "barred"   // outgoing: nothing was held, and nothing ever will be
	declined state = "declined" // incoming: Post was refused, the money has not moved
	refused  state = "refused"  // incoming: it is in the returns
)

// words is the state for a person.
func (s state) words() string {
	if s == absent {
		return "not booked"
	}
	return string(s)
}

// effect is what a step does.
type effect uint8

const (
	contradicts effect = iota // an error
	changes                   // it changes the books, or is refused for the first time
	repeats                   // it changes nothing
	stands                    // it is refused, as before
)

// situation is a step of a posting that stands somewhere.
type situation struct {
	direction payment.Direction
	step      Step
	at        state
}

// rule is the contract of payment.Books as a table (K3, K5).
func rule(s situation) effect {
	const out, in = payment.Out, payment.In
	switch s {
	case situation{out, Hold, absent},
		situation{out, Post, held},
		situation{out, Release, absent}, situation{out, Release, held},
		situation{in, Post, absent},
		situation{in, Refuse, absent}, situation{in, Refuse, declined}:
		return changes
	case situation{out, Hold, held}, situation{out, Hold, posted}, situation{out, Hold, released},
		situation{out, Post, posted},
		situation{out, Release, released}, situation{out, Release, barred},
		situation{in, Post, posted},
		situation{in, Refuse, refused}:
		return repeats
	case situation{out, Hold, barred},
		situation{in, Post, declined}, situation{in, Post, refused}:
		return stands
	}
	return contradicts
}

// posting is a payment.Posting that is well formed, with its customer's account by name.
type posting struct {
	payment   cypherlink.UETR
	direction payment.Direction
	customer  string
	returns   cypherlink.UETR
	channel   channels.ID
	money     payment.Money
}

// newPosting takes what a step was called with, or is ErrPosting.
func newPosting(step Step, p *payment.Posting) (posting, error) {
	if _, err := p.Payment.MarshalText(); err != nil {
		return posting{}, fmt.Errorf("%w: %w", ErrPosting, err)
	}
	if err := p.Money.Asset.Valid(); err != nil {
		return posting{}, fmt.Errorf("%w: %w", ErrPosting, err)
	}
	if err := checkNumber(p.Customer); err != nil {
		return posting{}, fmt.Errorf("%w: %w", ErrPosting, err)
	}
	only := p.Direction // the direction that the step is for
	switch step {
	case Hold, Release:
		only = payment.Out
	case Refuse:
		only = payment.In
	case Post, Opening:
	}
	switch {
	case p.Direction != payment.Out && p.Direction != payment.In || p.Direction != only:
		return posting{}, fmt.Errorf("direction %q: %w", p.Direction, ErrPosting)
	case p.Money.Amount <= 0:
		return posting{}, fmt.Errorf("amount %d: %w", p.Money.Amount, ErrPosting)
	case p.Channel == channels.ID{}:
		return posting{}, fmt.Errorf("no channel: %w", ErrPosting)
	case p.Direction == payment.In && !p.Returns.IsZero():
		return posting{}, fmt.Errorf("an incoming payment gives nothing back: %w", ErrPosting)
	}
	return posting{p.Payment, p.Direction, name(p.Customer), p.Returns, p.Channel, p.Money}, nil
}

// differs names what the other posting has of its own, or is empty.
func (p *posting) differs(other *posting) string {
	switch {
	case p.customer != other.customer:
		return "another customer"
	case p.returns != other.returns:
		return "another payment to give back"
	case p.channel != other.channel:
		return "another channel"
	case p.money != other.money:
		return "other money"
	}
	return ""
}

// The accounts of the chart that stand alone.
const (
	returnsAccount = "returns"
	openingAccount = "opening"
)

func customerAccount(name string) string { return "customer/" + name }
func heldAccount(name string) string     { return "held/" + name }

// route is the accounts that a step of the posting debits and credits.
func (p *posting) route(step Step) (debit, credit string) {
	channel := "channel/" + p.channel.String()
	source, hold := customerAccount(p.customer), heldAccount(p.customer)
	if !p.returns.IsZero() {
		source, hold = returnsAccount, heldAccount(returnsAccount)
	}
	switch step {
	case Hold:
		return source, hold
	case Release:
		return hold, source
	case Refuse:
		return channel, returnsAccount
	case Post:
		if p.direction == payment.Out {
			return hold, channel
		}
		return channel, source
	case Opening:
	}
	return openingAccount, source
}

// steps are those that a posting in the state has lines of.
func (p *posting) steps(at state) []Step {
	switch at {
	case held:
		return []Step{Hold}
	case released:
		return []Step{Hold, Release}
	case posted:
		if p.direction == payment.Out {
			return []Step{Hold, Post}
		}
		return []Step{Post}
	case refused:
		return []Step{Refuse}
	case absent, barred, declined:
	}
	return nil
}

// name is the number with its kind, in the words of ISO 20022, or empty.
func name(a kyc.Account) string {
	switch {
	case !a.IBAN.IsZero():
		return "IBAN/" + a.IBAN.String()
	case a.Other != "":
		return "Othr/" + a.Other
	}
	return ""
}

// checkNumber takes no account for one; whether there must be one is for the caller.
func checkNumber(a kyc.Account) error {
	if !a.IBAN.IsZero() && a.Other != "" {
		return errTwoNumbers
	}
	return kyc.CreditorAccount.Check(name(a))
}
