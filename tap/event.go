package tap

import (
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
)

// render says in JSON what an event tells: the kind of its fact and the fields. It is the one
// place that knows the kinds; everywhere else an event is its canonical bytes. What it says of an
// event never changes, since a reader renders again and compares.
func render(e *state.Event) (kind string, fields any) {
	switch f := e.Fact.(type) {
	case state.CustodyFact:
		return "custody", custodyFields(&f.Custody)
	}
	return "", nil // there is no other fact
}

// custody is a custody that came to a state. Amounts are decimal, times RFC 3339 in UTC, accounts
// the owner's id and a number, bytes in lower-case hexadecimal but for the packet, in base64.
type custody struct {
	ID        ledger.CustodyID     `json:"id"`
	State     string               `json:"state"`
	Terms     cypherlink.Hash      `json:"terms"`
	Leg       uint8                `json:"leg"`
	Asset     string               `json:"asset"`
	Amount    string               `json:"amount"`
	Debit     cypherlink.Account   `json:"debit"`
	Credit    cypherlink.Account   `json:"credit"`
	Expiry    time.Time            `json:"expiry"`
	Condition cypherlink.Condition `json:"condition"`
	Packet    []byte               `json:"packet,omitempty"`
	Preimage  cypherlink.Preimage  `json:"preimage,omitzero"`
}

func custodyFields(c *ledger.Custody) custody {
	leg := c.Leg()
	return custody{
		ID: c.ID, State: c.State.String(), Terms: c.Subject.Terms, Leg: c.Subject.Leg,
		Asset: leg.Asset.String(), Amount: leg.Amount.Format(leg.Asset.Scale),
		Debit: leg.Debit, Credit: leg.Credit, Expiry: time.Unix(leg.Expiry, 0).UTC(),
		Condition: c.Subject.Condition, Packet: c.Packet, Preimage: c.Preimage,
	}
}
