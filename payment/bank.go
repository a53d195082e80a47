package payment

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/kyc"
)

// ErrBank means that a bank's profile contradicts itself or the network.
var ErrBank = errors.New("payment: unusable profile")

// Patience is how long a bank waits.
type Patience struct {
	// Negotiate bounds the time from an instruction to the drawing up of terms, and the time
	// for which the paid bank keeps an announced payment without terms.
	Negotiate time.Duration
	// Approve bounds the time from the drawing up of terms to the last verdict. The custodies'
	// lives run meanwhile.
	Approve time.Duration
	// Resend is how long a bank waits before it repeats a question.
	Resend time.Duration
}

// Bank is who a bank is and how it deals: all that its machines have to know. It does not
// change.
type Bank struct {
	Genesis *chain.Genesis
	ID      cypherlink.ParticipantID
	// Account is the number of the bank's own account on every ledger.
	Account uint32
	// Funding is the asset with which the bank pays, Connector the clearing bank through which
	// it pays into others.
	Funding   cypherlink.Asset
	Connector cypherlink.ParticipantID
	// Dearest is, for each asset into which the bank pays, the dearest price that it accepts.
	Dearest map[cypherlink.Asset]connector.Price
	// Requirements are the bank's own for what it is told about parties, on either side.
	Requirements *kyc.Requirements
	// Base and Secret make the addresses at which the bank is paid.
	Base     ilp.Address
	Secret   ilp.ServerSecret
	Margins  connector.Margins
	Patience Patience
	// Direct are the assets that the bank pays over its channels, with no connector. DirectHold is
	// how long it tries to have such a payment signed, from the drawing up of the terms.
	Direct     []cypherlink.Asset
	DirectHold time.Duration
}

// Lanes are how an institution runs its channels.
type Lanes struct {
	// Limits are those of every channel that it opens, and the only ones to which it opens one.
	Limits channels.Limits
	// LagS is how far, in seconds, the own follower may be behind; InclusionS how long the chain takes
	// to include what is submitted; JointS how long a joint action stays valid, in block time.
	LagS, InclusionS, JointS int64
	// Certify is how long an update may wait for the other bank's signature, Resend how long anything
	// may wait before it is sent again, and Anchor how often what is bound is anchored.
	Certify, Resend, Anchor time.Duration
	// JointAnchors: what is bound is anchored by a joint action, if the other bank and the Validators sign
	// it, and not by certificates: one signature for the chain to keep, and much dearer to verify.
	JointAnchors bool
	// OffChain is the largest lock whose preimage is told to its payer without a reveal on the chain
	// before (H1): zero reveals all.
	OffChain cypherlink.Amount
	// Bands are, for each asset, how much of its own the bank wants in a channel.
	Bands map[cypherlink.Asset]Band
}

// Valid reports ErrBank unless windows are longer than what they wait for.
func (l *Lanes) Valid() error {
	if err := l.Limits.Valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrBank, err)
	}
	least := l.LagS + l.InclusionS
	if l.LagS < 1 || l.InclusionS < 1 || l.JointS < 1 || l.JointS >= l.Limits.WindowS ||
		l.Limits.WindowS < least || l.Certify <= 0 || l.Resend <= 0 || l.Anchor <= 0 || l.OffChain < 0 {
		return fmt.Errorf("lanes %+v: %w", *l, ErrBank)
	}
	for _, band := range l.Bands {
		if err := band.Valid(); err != nil {
			return err
		}
	}
	return nil
}

// Valid reports ErrBank unless bank and connector are registered in their roles, the funding
// asset and those with a price are known, every price is one, and every time is positive.
func (b *Bank) Valid() error {
	bank, ok := b.Genesis.Participant(b.ID)
	if !ok || bank.Role != chain.RoleBank {
		return fmt.Errorf("%s is no bank of the network: %w", b.ID, ErrBank)
	}
	clearing, ok := b.Genesis.Participant(b.Connector)
	if !ok || clearing.Role != chain.RoleClearing {
		return fmt.Errorf("connector %s is no clearing bank of the network: %w", b.Connector, ErrBank)
	}
	if !b.knows(b.Funding) {
		return fmt.Errorf("funding asset %s is not of the network: %w", b.Funding, ErrBank)
	}
	for asset, p := range b.Dearest {
		if err := p.Rate.Valid(); err != nil || p.Fee < 0 || !b.knows(asset) {
			return fmt.Errorf("dearest price %+v of %s: %w", p, asset, ErrBank)
		}
	}
	if err := b.Requirements.Valid(); err != nil {
		return fmt.Errorf("%w: %w", ErrBank, err)
	}
	if _, err := ilp.ParseAddress(string(b.Base)); err != nil {
		return fmt.Errorf("%w: %w", ErrBank, err)
	}
	for _, asset := range b.Direct {
		if !b.knows(asset) || asset.Ledger != b.Genesis.Chain() || b.DirectHold < time.Second {
			return fmt.Errorf("asset %s over channels, held for %v: %w", asset, b.DirectHold, ErrBank)
		}
	}
	if p := b.Patience; p.Negotiate <= 0 || p.Approve <= 0 || p.Resend <= 0 {
		return fmt.Errorf("patience %+v: %w", p, ErrBank)
	}
	return nil
}

// accepts tells whether the bank pays that much for what the quote delivers.
func (b *Bank) accepts(q *connector.Quote) bool {
	dearest, ok := b.Dearest[q.Destination.Asset]
	if !ok {
		return false
	}
	most, err := dearest.Source(q.Destination.Amount)
	return err == nil && q.Source.Amount <= most
}

func (b *Bank) knows(asset cypherlink.Asset) bool { return knows(b.Genesis, asset) }

// knows tells whether an asset is of the network.
func knows(g *chain.Genesis, asset cypherlink.Asset) bool {
	for _, a := range g.File().Assets {
		if a.Asset == asset {
			return true
		}
	}
	return false
}

// Route is who takes part in a payment, and what moves at its end. Over a channel there is no
// connector, and the source is the destination.
type Route struct {
	Payee, Connector    cypherlink.ParticipantID
	Source, Destination cypherlink.Asset
	// Amount is of Destination.
	Amount cypherlink.Amount
}

// route checks an instruction against the network and finds its way, or says why there is none.
func (b *Bank) route(i *Instruction) (*Route, *cypherlink.Error) {
	no := func(code cypherlink.Code, reason, at, message string, err error) (*Route, *cypherlink.Error) {
		return nil, &cypherlink.Error{
			Code: code, Reason: reason, Pointer: i.pointer(at), Message: message, Err: err,
		}
	}
	own, _ := b.Genesis.Participant(b.ID)
	clearing, _ := b.Genesis.Participant(b.Connector)
	payee, ok := b.Genesis.ParticipantByBIC(i.CreditorAgent)
	switch {
	case i.DebtorAgent != own.BIC:
		return no(CodeAgent, "RC03", "/debtor/agent", "the debtor's agent is not this bank", nil)
	case !i.Instructing.IsZero() && i.Instructing != own.BIC:
		return no(CodeAgent, "AGNT", "/instructing_agent", "the instructing agent is not this bank", nil)
	case !ok || payee.Role != chain.RoleBank:
		return no(CodeAgent, "RC04", "/creditor/agent", "the creditor's agent is not in the network", nil)
	case payee.ID == b.ID:
		return no(CodeRoute, "AGNT", "/creditor/agent", "debtor and creditor have the same bank", nil)
	}
	for _, via := range i.Via {
		if via != clearing.BIC {
			return no(CodeAgent, "RC11", "/intermediary_agent",
				"the intermediary is not the clearing bank of this bank", nil)
		}
	}
	destination, err := assetNamed(b.Genesis, i.Asset)
	if err != nil {
		return no(CodeAsset, "AM03", "/destination/asset", "not the name of one asset", err)
	}
	amount, err := cypherlink.ParseAmount(i.Amount, destination.Scale)
	if err != nil {
		return no(iso20022.CodeAmount, "AM12", "/destination/amount", "not an amount of the asset", err)
	}
	if amount == 0 {
		return no(iso20022.CodeAmount, "AM01", "/destination/amount", "the amount is zero", nil)
	}
	if slices.Contains(b.Direct, destination) {
		return &Route{Payee: payee.ID, Source: destination, Destination: destination, Amount: amount}, nil
	}
	if destination.Ledger == b.Funding.Ledger {
		return no(CodeRoute, "AG03", "/destination/asset",
			"a payment on the ledger from which this bank pays needs a channel for its asset", nil)
	}
	return &Route{
		Payee: payee.ID, Connector: b.Connector,
		Source: b.Funding, Destination: destination, Amount: amount,
	}, nil
}

var errAsset = errors.New("none or several")

// assetNamed finds the one asset with that label, code, or code and ledger.
func assetNamed(g *chain.Genesis, name string) (cypherlink.Asset, error) {
	var found []cypherlink.Asset
	for _, a := range g.File().Assets {
		if name == a.Label || name == a.Asset.Code || name == a.Asset.String() {
			found = append(found, a.Asset)
		}
	}
	if len(found) != 1 {
		return cypherlink.Asset{}, fmt.Errorf("%d assets %.40q: %w", len(found), name, errAsset)
	}
	return found[0], nil
}

// direct tells whether the payment goes over a channel.
func (r *Route) direct() bool { return r.Connector == cypherlink.ParticipantID{} }

func (r *Route) appendWire(w *wire.Writer) {
	w.Fixed(r.Payee[:])
	w.Fixed(r.Connector[:])
	r.Source.AppendWire(w)
	r.Destination.AppendWire(w)
	w.I64(int64(r.Amount))
}

func readRoute(r *wire.Reader) *Route {
	var v Route
	r.Fixed(v.Payee[:])
	r.Fixed(v.Connector[:])
	v.Source, v.Destination = cypherlink.ReadAsset(r), cypherlink.ReadAsset(r)
	v.Amount = cypherlink.Amount(r.I64())
	return &v
}
