package api

import (
	"strconv"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/iso20022"
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
		bic, err := cypherlink.ParseBIC(q.DebtorAgent)
		bank, ok := n.genesis.ParticipantByBIC(bic)
		if err != nil || !ok || bank.Role != chain.RoleBank {
			return asker, nil, &cypherlink.Error{
				Code: payment.CodeAgent, Reason: "RC03", Pointer: "/debtor_agent", Err: err,
				Message: "the debtor's agent is not in the network",
			}
		}
		asker = bank.ID
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
	r.Amount, err = cypherlink.ParseAmount(q.Destination.Amount, r.Destination.Scale)
	if err != nil || r.Amount == 0 {
		return asker, nil, &cypherlink.Error{
			Code: iso20022.CodeAmount, Reason: "AM12", Pointer: "/destination/amount", Err: err,
			Message: "not an amount of the asset, which has " + strconv.Itoa(int(r.Destination.Scale)) +
				" digits after the point, above zero",
		}
	}
	return asker, r, nil
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
