package api

import (
	"slices"
	"strconv"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/iso20022"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// network turns what the ports say into resources and back, by the names in genesis.
type network struct {
	genesis *chain.Genesis
	assets  []chain.Asset
	labels  map[cypherlink.Asset]string
}

func newNetwork(g *chain.Genesis) *network {
	n := &network{genesis: g, assets: g.File().Assets, labels: map[cypherlink.Asset]string{}}
	for _, a := range n.assets {
		n.labels[a.Asset] = a.Label
	}
	return n
}

func (n *network) money(asset cypherlink.Asset, amount cypherlink.Amount) Money {
	return Money{Asset: n.labels[asset], Amount: amount.Format(asset.Scale)}
}

func (n *network) payment(p *payment.Payment) Payment {
	out := Payment{
		UETR: p.UETR.String(), EndToEndID: p.EndToEndID, Direction: string(p.Direction),
		Status: string(p.Status), ISOStatus: string(p.Status.ISO()), Final: p.Status.Final(),
		Loss: p.Loss, Created: p.Received, Updated: p.Updated,
	}
	if p.Source != nil {
		out.Source = n.money(p.Source.Asset, p.Source.Amount)
	}
	if p.Destination != nil {
		out.Destination = n.money(p.Destination.Asset, p.Destination.Amount)
	}
	if p.Refusal != nil {
		out.ISOReason, out.Reason, out.Pointer = p.Refusal.Reason, p.Refusal.Message, p.Refusal.Pointer
	}
	if p.Terms != (cypherlink.Hash{}) {
		out.Terms = p.Terms.String()
	}
	return out
}

// event is an entry of a payment's log.
func event(e *payment.Entry) Event {
	out := Event{
		Sequence: uint64(e.Sequence), Time: e.At, Kind: e.Kind, //nolint:gosec // from 1
		Status: string(e.To), ISOStatus: string(e.To.ISO()),
		Actor: e.Actor, ISOReason: e.Reason, Reason: e.Detail, Hash: e.Hash.String(),
	}
	for _, at := range e.Evidence {
		out.Evidence = append(out.Evidence, Evidence{
			Kind: at.Kind, Ledger: string(at.Ledger), Height: at.Height, Sequence: at.Sequence,
			Hash: at.Hash.String(),
		})
	}
	return out
}

// quoteRequest reads what is asked, and for which bank.
func (n *network) quoteRequest(q *QuoteRequest) (
	asker cypherlink.ParticipantID, r *payment.QuoteRequest, err error,
) {
	if q.DebtorAgent != "" {
		if asker, err = n.bank(q.DebtorAgent, "RC03", "/debtor_agent", chain.RoleBank); err != nil {
			return asker, nil, err
		}
	}
	r = &payment.QuoteRequest{}
	for _, a := range []struct {
		name, pointer string
		asset         *cypherlink.Asset
	}{
		{q.Source.Asset, "/source/asset", &r.Source},
		{q.Destination.Asset, "/destination/asset", &r.Destination},
	} {
		if *a.asset, err = n.asset(a.name, a.pointer); err != nil {
			return asker, nil, err
		}
	}
	r.Amount, err = parseAmount(q.Destination.Amount, r.Destination, "/destination/amount")
	return asker, r, err
}

// parseAmount reads an amount of an asset, above zero.
func parseAmount(text string, asset cypherlink.Asset, pointer string) (cypherlink.Amount, error) {
	amount, err := cypherlink.ParseAmount(text, asset.Scale)
	if err != nil || amount == 0 {
		return 0, &cypherlink.Error{
			Code: iso20022.CodeAmount, Reason: "AM12", Pointer: pointer, Err: err,
			Message: "not an amount of the asset, which has " + strconv.Itoa(int(asset.Scale)) +
				" digits after the point, above zero",
		}
	}
	return amount, nil
}

// bank is the bank of one of those roles with that BIC. The reason is that of a BIC that none has.
func (n *network) bank(
	text, reason, pointer string, roles ...chain.Role,
) (id cypherlink.ParticipantID, err error) {
	bic, err := cypherlink.ParseBIC(text)
	bank, ok := n.genesis.ParticipantByBIC(bic)
	if err != nil || !ok || !slices.Contains(roles, bank.Role) {
		return id, &cypherlink.Error{
			Code: payment.CodeAgent, Reason: reason, Pointer: pointer, Err: err,
			Message: "the BIC is that of no bank in the network",
		}
	}
	return bank.ID, nil
}

// bic is a participant's, empty for one that has none.
func (n *network) bic(id cypherlink.ParticipantID) string {
	if p, ok := n.genesis.Participant(id); ok && !p.BIC.IsZero() {
		return p.BIC.String()
	}
	return ""
}

// asset is the one asset with that label, code, or code and ledger.
func (n *network) asset(name, pointer string) (cypherlink.Asset, error) {
	var found []cypherlink.Asset
	for _, a := range n.assets {
		if name == a.Label || name == a.Asset.Code || name == a.Asset.String() {
			found = append(found, a.Asset)
		}
	}
	if len(found) != 1 {
		return cypherlink.Asset{}, &cypherlink.Error{
			Code: payment.CodeAsset, Reason: "AM03", Pointer: pointer, Message: "not the name of one asset",
		}
	}
	return found[0], nil
}

func (n *network) quote(s *connector.SignedQuote) Quote {
	q := &s.Quote
	return Quote{
		ID: q.ID.String(), Source: n.money(q.Source.Asset, q.Source.Amount),
		Destination: n.money(q.Destination.Asset, q.Destination.Amount),
		Fee:         n.money(q.Source.Asset, q.Price.Fee),
		Rate: Rate{
			Numerator:   strconv.FormatInt(q.Price.Rate.Num, 10),
			Denominator: strconv.FormatInt(q.Price.Rate.Den, 10),
		},
		ValidUntil: time.Unix(q.ValidUntil, 0).UTC(),
		SourceHold: q.SourceHold, DestinationHold: q.DestinationHold, Signed: s.Encode(),
	}
}

// opening reads for which channel is asked.
func (n *network) opening(r *ChannelRequest) (o payment.Opening, err error) {
	if o.Peer, err = n.bank(r.Peer, "RC01", "/peer", chain.RoleBank, chain.RoleClearing); err != nil {
		return o, err
	}
	o.Asset, err = n.asset(r.Asset, "/asset")
	return o, err
}

func (n *network) channel(c *payment.Channel) Channel {
	own, peer, scale := c.Own, c.Own.Other(), c.Asset.Scale
	sides := func(of func(channels.Side) int64) Sides {
		return Sides{
			Own: cypherlink.Amount(of(own)).Format(scale), Peer: cypherlink.Amount(of(peer)).Format(scale),
		}
	}
	out := Channel{
		ID: c.ID.String(), Asset: n.labels[c.Asset], Peer: n.bic(c.Banks[peer]), State: "OPENING",
		Balances: sides(c.Balance), Funds: sides(func(s channels.Side) int64 { return c.Funds[s] }),
		Free:     c.Free.Format(scale),
		Anchored: AnchoredSeqs{Own: c.Channel.Lanes[own].Head.Seq, Peer: c.Channel.Lanes[peer].Head.Seq},
		Lanes:    Lanes{Own: lane(c.Lanes[own]), Peer: lane(c.Lanes[peer])},
		Synced:   c.Synced, Alerts: []string{}, Height: c.Now.Height, Time: time.Unix(c.Now.S, 0).UTC(),
		Limits: Limits{
			Window: c.Limits.WindowS, Blocks: c.Limits.Blocks, Uncertified: c.Limits.Uncertified,
			Locks: c.Limits.Locks, Locked: c.Limits.Locked.Format(scale),
			Reserve: c.Limits.Reserve.Format(scale),
			LockMin: c.Limits.MinExpiryS, LockMax: c.Limits.MaxExpiryS,
		},
	}
	if c.State != 0 {
		out.State = c.State.String()
	}
	out.Alerts = append(out.Alerts, c.Alerts...)
	return out
}

func lane(l payment.LaneView) Lane {
	return Lane{
		Generation: l.Gen, Written: l.Written, Certified: l.Certified, Bound: l.Bound, Anchored: l.Anchored,
		Suspended: l.Suspended,
	}
}

func (n *network) crossing(x ledger.Crossing, stage connector.Stage) Crossing {
	return Crossing{
		ID: x.ID(n.genesis.Network()).String(), From: n.money(x.Asset, x.Amount),
		To: n.money(n.across(x.Asset), x.Amount), Stage: stage.String(),
		Final: stage == connector.Arrived || stage == connector.Lapsed, Expires: time.Unix(x.Expiry, 0).UTC(),
	}
}

// across is the asset as which an asset comes in at the other ledger.
func (n *network) across(asset cypherlink.Asset) cypherlink.Asset {
	for i := range n.assets {
		switch a := &n.assets[i]; {
		case a.Asset == asset && a.Backed():
			return a.Backing
		case a.Backed() && a.Backing == asset:
			return a.Asset
		}
	}
	return cypherlink.Asset{}
}
