package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
)

// accounts are a ledger as its store has it.
type accounts struct {
	id     cypherlink.LedgerID
	timeMS int64 // the ledger's own, in milliseconds since 1970
	// opening and balances have each account once in each asset.
	opening, balances []ledger.Balance
	custodies         map[ledger.CustodyID]ledger.Custody
	// records are the hashes of an external ledger's events, in order, and passages the records of
	// its ramp.
	records  []cypherlink.Hash
	passages [][]byte
	// crossings are what passed here; backings tell the assets that do.
	crossings crossings
	// channels are the chain's.
	channels channelBooks
	backings map[cypherlink.Asset]ledger.Backing
}

// total is what an asset adds up to. Issued is what the opening gave; of a backed asset of the chain,
// what was credited and not burned.
type total struct {
	asset                                      chain.Asset
	accounts, custodies, channels, sum, issued cypherlink.Amount
}

func (b *accounts) total(asset chain.Asset) (t total, err error) {
	t.asset = asset
	add := func(to *cypherlink.Amount, v cypherlink.Amount) {
		sum, failed := to.Add(v)
		if failed != nil {
			err = fmt.Errorf("%s: %w", asset.Label, failed)
			return
		}
		*to = sum
	}
	for _, o := range b.opening {
		if o.Asset == asset.Asset {
			add(&t.issued, o.Amount)
		}
	}
	add(&t.issued, b.net(asset.Asset))
	for _, o := range b.balances {
		if o.Asset == asset.Asset {
			add(&t.accounts, o.Amount)
		}
	}
	for _, c := range b.custodies {
		if c.Leg().Asset == asset.Asset && c.State == ledger.Prepared {
			add(&t.custodies, c.Leg().Amount)
		}
	}
	add(&t.channels, cypherlink.Amount(b.channels.total(asset.Asset)))
	add(&t.sum, t.accounts)
	add(&t.sum, t.custodies)
	add(&t.sum, t.channels)
	return t, err
}

// fits reports a total that is not what was issued.
func (t *total) fits() error {
	if t.sum == t.issued {
		return nil
	}
	scale := t.asset.Asset.Scale
	return found("accounts, custodies and channels hold %s %s, issued were %s",
		t.sum.Format(scale), t.asset.Label, t.issued.Format(scale))
}

// unexplained are the accounts that do not hold what the opening, the custodies, the crossings
// and the channels leave them.
func (b *accounts) unexplained(name func(cypherlink.Account) string) []string {
	type place struct {
		account cypherlink.Account
		asset   cypherlink.Asset
	}
	want := map[place]cypherlink.Amount{}
	for _, o := range b.opening {
		want[place{o.Account, o.Asset}] += o.Amount
	}
	for _, c := range b.custodies {
		leg := c.Leg()
		switch c.State {
		case ledger.Prepared:
			want[place{leg.Debit, leg.Asset}] -= leg.Amount
		case ledger.Confirmed:
			want[place{leg.Debit, leg.Asset}] -= leg.Amount
			want[place{leg.Credit, leg.Asset}] += leg.Amount
		case ledger.Returned, ledger.Absent:
		}
	}
	b.moved(func(account cypherlink.Account, asset cypherlink.Asset, amount cypherlink.Amount) {
		if account != (cypherlink.Account{}) {
			want[place{account, asset}] += amount
		}
	})
	for _, m := range b.channels.moves {
		want[place{m.account, m.asset}] += cypherlink.Amount(m.amount)
	}
	var all []string
	say := func(p place, has string) {
		all = append(all, fmt.Sprintf("the account of %s %s %s; by the opening and all that moved it is %s",
			name(p.account), has, p.asset, want[p].Format(p.asset.Scale)))
	}
	for _, o := range b.balances {
		p := place{o.Account, o.Asset}
		if o.Amount != want[p] {
			say(p, "has "+o.Amount.Format(o.Asset.Scale))
		}
		delete(want, p)
	}
	for p, amount := range want {
		if amount != 0 {
			say(p, "has no balance in")
		}
	}
	slices.Sort(all)
	return all
}

// readBook reads the external ledger: its books by themselves, and what its tables hold.
func (a *audit) readBook(ctx context.Context) error {
	var c ledgerConfig
	if err := a.config(folderLedger, &c); err != nil {
		return err
	}
	about, ok := a.genesis.Ledger(c.Ledger)
	if !ok {
		return fmt.Errorf("genesis has no ledger %s: %w", c.Ledger, errConfig)
	}
	key, ok := a.genesis.Key(about.Operator)
	if !ok {
		return fmt.Errorf("genesis has no operator of ledger %s: %w", c.Ledger, errConfig)
	}
	charter, err := a.genesis.Charter(c.Ledger)
	if err != nil {
		return err
	}
	b := &accounts{
		id: c.Ledger, custodies: map[ledger.CustodyID]ledger.Custody{}, backings: charter.Backings,
	}
	if b.opening, err = c.opening(a.genesis); err != nil {
		return err
	}
	db, err := a.openCopy(ctx, folderLedger, c.Store, c.Node.Data)
	if err != nil {
		return err
	}
	operator := ledger.Operator{Network: a.genesis.Network(), Ledger: c.Ledger, Key: key}
	if _, err := book.Audit(ctx, db, operator, charter.Backings); err != nil {
		a.differs(folderLedger, "%v", err)
	}
	err = db.View(ctx, func(r *store.Reader) error { return a.readTables(r, b) })
	if err == nil {
		a.ledger[c.Ledger] = b
	}
	return err
}

// readTables reads balances, custodies and the ledger's time. A custody is what the operator's
// last record of it says.
func (a *audit) readTables(r *store.Reader, b *accounts) error {
	assets := map[string]cypherlink.Asset{}
	for _, asset := range a.genesis.File().Assets {
		if asset.Asset.Ledger == b.id {
			assets[asset.Asset.Code] = asset.Asset
		}
	}
	for row := range r.Query(`SELECT place, code, balance FROM book_places
		WHERE place <> 'custody' ORDER BY place, code`) {
		var place, code string
		var one ledger.Balance
		if err := row.Scan(&place, &code, (*int64)(&one.Amount)); err != nil {
			return err
		}
		if err := one.Account.UnmarshalText([]byte(place)); err != nil {
			return err
		}
		one.Asset = assets[code]
		b.balances = append(b.balances, one)
	}
	for row := range r.Query("SELECT sequence, record FROM book_events ORDER BY sequence") {
		var sequence int64
		var raw []byte
		if err := row.Scan(&sequence, &raw); err != nil {
			return err
		}
		record, err := ledger.DecodeRecord(raw)
		if err != nil {
			return fmt.Errorf("event %d: %w", sequence, err)
		}
		c := record.Receipt.Custody
		c.Packet = nil // it is not compared with anything
		b.custodies[c.ID] = c
		b.records = append(b.records, sha256.Sum256(raw))
	}
	if err := b.readPassages(r); err != nil {
		return err
	}
	return r.QueryRow("SELECT time_ms FROM book_head").Scan(&b.timeMS)
}

// readRecords holds what an institution's gateway stored of the external ledger's events
// against that ledger: it has them all, from the first to its last.
func (a *audit) readRecords(r *store.Reader, folder string) error {
	at, id := 0, ""
	for row := range r.Query("SELECT ledger, sequence, record FROM kafka_records ORDER BY ledger, sequence") {
		var name string
		var sequence int64
		var raw []byte
		if err := row.Scan(&name, &sequence, &raw); err != nil {
			return err
		}
		if name != id {
			at, id = 0, name
		}
		at++
		b, ok := a.ledger[cypherlink.LedgerID(name)]
		switch {
		case !ok:
			return nil // why stands among the differences
		case sequence != int64(at):
			a.differs(folder, "of ledger %s it lacks event %d", name, at)
			return nil
		case at > len(b.records):
			a.differs(folder, "it has event %d of ledger %s, which ends at %d", at, name, len(b.records))
			return nil
		case b.records[at-1] != sha256.Sum256(raw):
			a.differs(folder, "it has another event %d of ledger %s than that ledger itself", at, name)
			return nil
		}
	}
	return nil
}
