package tap

import (
	"strconv"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
)

// render says in JSON what an event tells: the kind of its fact and the fields. It is the one
// place that knows the kinds; everywhere else an event is its canonical bytes. What it says of an
// event never changes, since a reader renders again and compares.
func render(e *state.Event) (kind string, fields any) {
	switch f := e.Fact.(type) {
	case state.CustodyFact:
		return "custody", custodyFields(&f.Custody)
	case state.RegistryFact:
		return "registry", registryFields(f)
	case state.CreditFact:
		return "credit", crossingFields(&f.Passed)
	case state.BurnFact:
		return "burn", crossingFields(&f.Passed)
	case state.ChannelFact:
		return "channel", channelFields(f)
	case state.RevealFact:
		return "reveal", reveal{Condition: f.Preimage.Condition(), Preimage: f.Preimage}
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

// registry is a change of the registry: of a participant, or of an asset's policy.
type registry struct {
	Version     uint64                     `json:"version"`
	Change      string                     `json:"change"`
	Participant *cypherlink.ParticipantID  `json:"participant,omitempty"`
	Name        string                     `json:"name,omitempty"`
	Role        string                     `json:"role,omitempty"`
	BIC         string                     `json:"bic,omitempty"`
	Asset       string                     `json:"asset,omitempty"`
	Threshold   int                        `json:"threshold,omitempty"`
	Validators  []cypherlink.ParticipantID `json:"validators,omitempty"`
}

func registryFields(f state.RegistryFact) registry {
	r := registry{Version: f.Version}
	switch c := f.Change.(type) {
	case *chain.Register:
		r.Change, r.Participant, r.Name, r.Role = "register", &c.ID, c.Name, string(c.Role)
		if !c.BIC.IsZero() {
			r.BIC = c.BIC.String()
		}
	case *chain.Rotate:
		r.Change, r.Participant = "rotate", &c.ID
	case *chain.Suspend:
		r.Change, r.Participant = "suspend", &c.ID
	case *chain.Resume:
		r.Change, r.Participant = "resume", &c.ID
	case *chain.Revoke:
		r.Change, r.Participant = "revoke", &c.ID
	case *chain.SetPolicy:
		r.Change, r.Asset = "policy", c.Asset.String()
		r.Threshold, r.Validators = c.Policy.Threshold, c.Policy.Validators
	}
	return r
}

// crossing is value of an owner that came onto the chain, or left it. Asset is the one that it leaves;
// from and to are numbers of the owner's accounts, to on the other ledger.
type crossing struct {
	ID     ledger.CrossingID        `json:"id"`
	Owner  cypherlink.ParticipantID `json:"owner"`
	Asset  string                   `json:"asset"`
	From   uint32                   `json:"from"`
	To     uint32                   `json:"to"`
	Amount string                   `json:"amount"`
	Expiry time.Time                `json:"expiry"`
	Nonce  string                   `json:"nonce"`
}

func crossingFields(p *state.Passed) crossing {
	x := &p.Crossing
	return crossing{
		ID: p.ID, Owner: x.Owner, Asset: x.Asset.String(), From: x.From, To: x.To,
		Amount: x.Amount.Format(x.Asset.Scale), Expiry: time.Unix(x.Expiry, 0).UTC(),
		Nonce: strconv.FormatUint(x.Nonce, 10),
	}
}

// channel is where a channel came to. Balances and totals are decimal; lanes stand under the bank
// that pays in them, A first.
type channel struct {
	ID       channels.ID                 `json:"id"`
	By       *cypherlink.ParticipantID   `json:"by,omitempty"`
	Asset    string                      `json:"asset"`
	State    string                      `json:"state"`
	Banks    [2]cypherlink.ParticipantID `json:"banks"`
	Balances [2]string                   `json:"balances"`
	Lanes    [2]lane                     `json:"lanes"`
}

// lane is what the chain has of a lane. Challenge is the sequence that has to be anchored.
type lane struct {
	Gen       uint32          `json:"gen"`
	Seq       uint32          `json:"seq"`
	Hash      cypherlink.Hash `json:"hash"`
	Paid      string          `json:"paid"`
	Locked    string          `json:"locked"`
	Challenge uint32          `json:"challenge,omitempty"`
}

func channelFields(f state.ChannelFact) channel {
	c := &f.Channel
	decimal := func(a int64) string { return cypherlink.Amount(a).Format(c.Asset.Scale) }
	out := channel{ID: c.ID, Asset: c.Asset.String(), State: c.State.String(), Banks: c.Banks}
	if f.By != (cypherlink.ParticipantID{}) {
		out.By = &f.By
	}
	for i := range c.Lanes {
		l := &c.Lanes[i]
		out.Balances[i] = decimal(c.Balance(channels.Side(i)))
		out.Lanes[i] = lane{
			Gen: l.Gen, Seq: l.Head.Seq, Hash: l.Head.Hash, Challenge: l.Challenge.Seq,
			Paid: decimal(int64(l.Head.Paid)), Locked: decimal(int64(l.Head.Locked)),
		}
	}
	return out
}

// reveal is a preimage that was revealed, first in this event.
type reveal struct {
	Condition cypherlink.Condition `json:"condition"`
	Preimage  cypherlink.Preimage  `json:"preimage"`
}
