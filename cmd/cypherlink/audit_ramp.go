package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
)

// crossings are what passed at a ledger, by their ids.
type crossings map[ledger.CrossingID]ledger.Crossing

// backing is an asset of the chain held against what lies in escrow for it.
type backing struct {
	asset, behind chain.Asset
	// escrow is what the external ledger holds; accounts, custodies and channels are what the chain has;
	// arriving has left the external ledger and is not credited, leaving is burned and not paid out.
	escrow, accounts, custodies, channels, arriving, leaving cypherlink.Amount
}

// fits reports unless escrow is the sum of the rest.
func (b *backing) fits() error {
	sum := b.accounts
	for _, part := range []cypherlink.Amount{b.custodies, b.channels, b.arriving, b.leaving} {
		var err error
		if sum, err = sum.Add(part); err != nil {
			return err
		}
	}
	if sum == b.escrow {
		return nil
	}
	scale := b.asset.Asset.Scale
	return found("the escrow holds %s %s; %s on the chain and on their way are %s", b.escrow.Format(scale),
		b.behind.Label, b.asset.Label, sum.Format(scale))
}

// compareBackings holds every backed asset of the chain against its escrow.
func (a *audit) compareBackings() {
	assets := a.genesis.File().Assets
	for i := range assets {
		if !assets[i].Backed() {
			continue
		}
		here, there := a.ledger[assets[i].Asset.Ledger], a.ledger[assets[i].Backing.Ledger]
		if here == nil || there == nil {
			continue // why stands among the differences
		}
		at := slices.IndexFunc(assets, func(o chain.Asset) bool { return o.Asset == assets[i].Backing })
		b := backing{asset: assets[i], behind: assets[at]}
		err := a.weigh(&b, here, there)
		if err == nil {
			err = b.fits()
		}
		if err != nil {
			a.differs(string(here.id), "%v", err)
		}
		a.backings = append(a.backings, b)
	}
}

func (a *audit) weigh(b *backing, here, there *accounts) error {
	for _, o := range there.balances {
		if o.Asset == b.behind.Asset && o.Account.Number == ledger.EscrowNumber {
			b.escrow = o.Amount
		}
	}
	t, err := here.total(b.asset)
	if err != nil {
		return err
	}
	b.accounts, b.custodies, b.channels = t.accounts, t.custodies, t.channels
	if b.arriving, err = a.onTheWay(b.behind, there, here); err != nil {
		return err
	}
	b.leaving, err = a.onTheWay(b.asset, here, there)
	return err
}

// onTheWay is what has left one ledger in an asset and has not come in at the other. What came in
// and never left is a difference.
func (a *audit) onTheWay(asset chain.Asset, from, to *accounts) (sum cypherlink.Amount, err error) {
	for id, x := range from.crossings {
		if x.Asset != asset.Asset {
			continue
		}
		switch in, ok := to.crossings[id]; {
		case !ok:
			if sum, err = sum.Add(x.Amount); err != nil {
				return sum, err
			}
		case in != x:
			a.differs(string(to.id), "crossing %s came in otherwise than it left %s", id, from.id)
		}
	}
	for id, x := range to.crossings {
		if _, ok := from.crossings[id]; x.Asset == asset.Asset && !ok {
			a.differs(string(to.id), "crossing %s of %s %s came in and never left %s",
				id, x.Amount.Format(asset.Asset.Scale), asset.Label, from.id)
		}
	}
	return sum, nil
}

// backingLines are a line for each backed asset.
func (a *audit) backingLines() []string {
	if len(a.backings) == 0 {
		return nil
	}
	columns := "%-8s  %-10s" + strings.Repeat("  %16s", 6)
	lines := []string{
		fmt.Sprintf(columns, "asset", "backed by", "in escrow", "in accounts", "in custody", "in channels", "arriving", "leaving"),
	}
	for _, b := range a.backings {
		amount := func(v cypherlink.Amount) string { return v.Format(b.asset.Asset.Scale) }
		lines = append(lines, fmt.Sprintf(columns, b.asset.Label, b.behind.Label, amount(b.escrow),
			amount(b.accounts), amount(b.custodies), amount(b.channels), amount(b.arriving), amount(b.leaving)))
	}
	return lines
}

// moved adds what crossings did to the accounts of a ledger; give tells an account and an asset more,
// or less, of it.
func (b *accounts) moved(give func(cypherlink.Account, cypherlink.Asset, cypherlink.Amount)) {
	for _, x := range b.crossings {
		asset, escrow := b.side(x.Asset)
		if x.Asset == asset {
			give(x.Debit(), asset, -x.Amount)
			give(escrow, asset, x.Amount)
		} else {
			give(x.Credit(), asset, x.Amount)
			give(escrow, asset, -x.Amount)
		}
	}
}

// side is the ledger's own asset of a crossing, and the escrow behind it; the zero account on the
// chain.
func (b *accounts) side(asset cypherlink.Asset) (cypherlink.Asset, cypherlink.Account) {
	for own, backing := range b.backings {
		if own == asset || backing.Other == asset {
			return own, backing.Escrow
		}
	}
	return asset, cypherlink.Account{}
}

// net is what the chain has credited of an asset and not burned, below zero if there is less; nothing
// of an external ledger, whose escrow is an account.
func (b *accounts) net(asset cypherlink.Asset) (sum cypherlink.Amount) {
	if b.backings[asset].Operator == (cypherlink.ParticipantID{}) {
		return 0
	}
	for _, x := range b.crossings {
		switch own, _ := b.side(x.Asset); {
		case own != asset:
		case x.Asset == asset:
			sum -= x.Amount
		default:
			sum += x.Amount
		}
	}
	return sum
}

// readPassages reads what crossed at an external ledger.
func (b *accounts) readPassages(r *store.Reader) error {
	b.crossings = crossings{}
	for row := range r.Query("SELECT sequence, id, record FROM book_crossings ORDER BY sequence") {
		var sequence int64
		var id, raw []byte
		if err := row.Scan(&sequence, &id, &raw); err != nil {
			return err
		}
		record, err := ledger.DecodeRampRecord(raw)
		if err != nil {
			return fmt.Errorf("passage %d: %w", sequence, err)
		}
		x := record.Passage.Crossing
		b.crossings[x.ID(record.Network)] = x
		b.passages = append(b.passages, raw)
	}
	return nil
}

// readGatewayPassages holds what an institution's gateway stored of the external ledgers' passages
// against those ledgers.
func (a *audit) readGatewayPassages(r *store.Reader, folder string) error {
	next := map[string]int{}
	for row := range r.Query("SELECT ledger, sequence, record FROM kafka_crossings ORDER BY ledger, sequence") {
		var name string
		var sequence int64
		var raw []byte
		if err := row.Scan(&name, &sequence, &raw); err != nil {
			return err
		}
		b, ok := a.ledger[cypherlink.LedgerID(name)]
		at := next[name]
		next[name]++
		switch {
		case !ok:
			return nil // why stands among the differences
		case sequence != int64(at)+1:
			a.differs(folder, "of ledger %s it lacks passage %d", name, at+1)
			return nil
		case at >= len(b.passages):
			a.differs(folder, "it has passage %d of ledger %s, which ends at %d", sequence, name, len(b.passages))
			return nil
		case !bytes.Equal(raw, b.passages[at]):
			a.differs(folder, "it has another passage %d of ledger %s than that ledger itself", sequence, name)
			return nil
		}
	}
	return nil
}

// readCrossings reads what crossed as the feed tells it, and holds the state against that: the
// crossings, and the supply of each backed asset.
func (r *replica) readCrossings(g *chain.Genesis, events []*state.Event) (crossings, error) {
	told, supply := crossings{}, map[cypherlink.Asset]cypherlink.Amount{}
	charter, err := g.Charter(g.Chain())
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		passed, ok := e.Passed()
		if !ok {
			continue
		}
		told[passed.ID] = passed.Crossing
		if _, burn := e.Fact.(state.BurnFact); burn {
			supply[passed.Crossing.Asset] -= passed.Crossing.Amount
			continue
		}
		for asset, b := range charter.Backings {
			if b.Other == passed.Crossing.Asset {
				supply[asset] += passed.Crossing.Amount
			}
		}
	}
	number := 0
	var bad error
	err = r.state.Crossings(func(p state.Passed) bool {
		if number++; told[p.ID] != p.Crossing {
			bad = found("crossing %s in the state is not what the events say", p.ID)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err == nil && number != len(told) {
		err = found("%d crossings in the state, by the events %d", number, len(told))
	}
	for asset := range charter.Backings {
		if err != nil {
			break
		}
		err = r.readSupply(asset, supply[asset])
	}
	return told, err
}

// readSupply reports unless the state that the last block names has that supply.
func (r *replica) readSupply(asset cypherlink.Asset, want cypherlink.Amount) error {
	proof, err := r.state.Prove(state.SupplyKey(asset))
	if err != nil {
		return err
	}
	var supply cypherlink.Amount
	value, ok, err := proof.Verify(r.state.Header().Roots.State, state.SupplyKey(asset))
	if err == nil && ok {
		supply, err = state.DecodeAmount(value)
	}
	if err == nil && supply != want {
		err = found("the supply of %s is %d, by the events %d", asset, supply, want)
	}
	return err
}

// carried is a crossing as its owner's log tells it.
type carried struct {
	owner    string
	crossing ledger.Crossing
	stage    connector.Stage
}

// foldCarried is the log of a crossing, whose stream is called name.
func (a *audit) foldCarried(folder, name string, events []store.Event) (over bool, err error) {
	log := make([]connector.Stride, len(events))
	for i, e := range events {
		if log[i], err = connector.DecodeStride(e.Body); err != nil {
			return false, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	c, err := connector.NewCarrier(time.Second, log)
	if err != nil {
		return false, err
	}
	x := c.Crossing()
	if id := x.ID(a.genesis.Network()); id.String() != name {
		return false, fmt.Errorf("it is of crossing %s: %w", id, errLog)
	}
	a.carried = append(a.carried, carried{folder, x, c.Stage()})
	return c.Over(), nil
}

// compareCarried holds what owners say of their crossings against both ledgers.
func (a *audit) compareCarried() {
	for _, c := range a.carried {
		from := a.ledger[c.crossing.Asset.Ledger]
		if from == nil {
			continue // why stands among the differences
		}
		other, _ := from.backings[c.crossing.Asset]
		to := a.ledger[other.Other.Ledger]
		if to == nil {
			continue
		}
		id := c.crossing.ID(a.genesis.Network())
		left, in := from.crossings[id] == c.crossing, to.crossings[id] == c.crossing
		wrong := c.stage == connector.Lapsed && left || c.stage == connector.Arrived && !in ||
			(c.stage == connector.Arriving || c.stage == connector.Arrived) && !left
		if wrong {
			a.differs(c.owner, "its crossing %s is %s, but it left %s: %v, and came in at %s: %v",
				id, c.stage, from.id, left, to.id, in)
		}
	}
}
