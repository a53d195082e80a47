package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/payment"
)

// summary is summary.json.
type summary struct {
	Payment paymentSummary  `json:"payment"`
	Ledgers []ledgerSummary `json:"ledgers"`
	Steps   []step          `json:"steps"`
	Blocks  []blockSummary  `json:"blocks"`
}

type paymentSummary struct {
	UETR        cypherlink.UETR `json:"uetr"`
	Status      payment.Status  `json:"status"`
	Source      moneySummary    `json:"source"`
	Destination moneySummary    `json:"destination"`
}

type moneySummary struct {
	Asset  string `json:"asset"`
	Amount string `json:"amount"`
}

type ledgerSummary struct {
	ID       cypherlink.LedgerID `json:"id"`
	Accounts []accountSummary    `json:"accounts"`
}

type accountSummary struct {
	Owner  string `json:"owner"`
	Asset  string `json:"asset"`
	Before string `json:"before"`
	After  string `json:"after"`
}

type blockSummary struct {
	Height     uint64    `json:"height"`
	View       uint64    `json:"view"`
	Time       time.Time `json:"time"`
	FinalityMS int64     `json:"finality_ms"`
	Signers    int       `json:"signers"`
}

// ledgerBalances are what the three institutions hold on one ledger.
type ledgerBalances struct {
	id     cypherlink.LedgerID
	label  string
	scale  uint8
	amount map[string]cypherlink.Amount // by owner's folder
}

func owners() []string { return []string{folderA, folderB, folderClearing} }

// balances reads the books of both ledgers: the operator's own, and the chain as a bank's
// follower has verified it.
func (d *demo) balances() ([]ledgerBalances, error) {
	d.stage.mu.Lock()
	host, _ := d.stage.plays[folderLedger].process.(*ledgerProcess)
	d.stage.mu.Unlock()
	de := ledgerBalances{ledgerDE, labelDE, assetDE().Scale, map[string]cypherlink.Amount{}}
	cn := ledgerBalances{ledgerCypherium, labelDCEP, assetDCEP().Scale, map[string]cypherlink.Amount{}}
	if host == nil {
		return nil, fmt.Errorf("%s does not run", folderLedger)
	}
	all, err := host.host.Book().Balances(d.session)
	if err != nil {
		return nil, err
	}
	view, err := d.observer()
	if err != nil {
		return nil, err
	}
	for _, folder := range owners() {
		account, err := d.account(folder)
		if err != nil {
			return nil, err
		}
		for _, b := range all {
			if b.Account == account {
				de.amount[folder] = b.Amount
			}
		}
		if cn.amount[folder], _, err = view.Balance(account, assetDCEP()); err != nil {
			return nil, err
		}
	}
	return []ledgerBalances{de, cn}, nil
}

// observer is the follower of Bank A, or of Bank B if Bank A is the one that falls silent.
func (d *demo) observer() (*follow.Follower, error) {
	folder := folderA
	if actorOf(d.command.Fail) == folderA {
		folder = folderB
	}
	bank, err := d.bank(folder)
	if err != nil {
		return nil, err
	}
	return bank.follow, nil
}

func (d *demo) account(folder string) (cypherlink.Account, error) {
	var n node
	switch folder {
	case folderClearing:
		var c connectorConfig
		if err := readConfig(d.stage.config(folder), &c); err != nil {
			return cypherlink.Account{}, err
		}
		n = c.Node
	default:
		var c connectConfig
		if err := readConfig(d.stage.config(folder), &c); err != nil {
			return cypherlink.Account{}, err
		}
		n = c.Node
	}
	k, err := n.load()
	if err != nil {
		return cypherlink.Account{}, err
	}
	return cypherlink.Account{Owner: k.self.ID}, nil
}

func (d *demo) printBalances() {
	d.say("")
	d.say("%-10s %-10s %-6s %18s %18s %18s", "ledger", "owner", "asset", "before", "after", "change")
	for i, b := range d.before {
		for _, owner := range owners() {
			before, after := b.amount[owner], d.after[i].amount[owner]
			d.say("%-10s %-10s %-6s %18s %18s %18s", b.id, owner, b.label,
				before.Format(b.scale), after.Format(b.scale), signed(after-before, b.scale))
		}
	}
}

func signed(a cypherlink.Amount, scale uint8) string {
	if a > 0 {
		return "+" + a.Format(scale)
	}
	return a.Format(scale)
}

func (d *demo) summary() summary {
	s := summary{
		Payment: paymentSummary{
			UETR: d.payment.UETR, Status: d.payment.Status,
			Source: d.money(d.payment.Source), Destination: d.money(d.payment.Destination),
		},
		Steps: d.director.all(), Blocks: d.blocks.all(),
	}
	for i, b := range d.before {
		l := ledgerSummary{ID: b.id}
		for _, owner := range owners() {
			l.Accounts = append(l.Accounts, accountSummary{
				Owner: owner, Asset: b.label,
				Before: b.amount[owner].Format(b.scale), After: d.after[i].amount[owner].Format(b.scale),
			})
		}
		s.Ledgers = append(s.Ledgers, l)
	}
	return s
}

func (d *demo) money(m *payment.Money) moneySummary {
	if m == nil {
		return moneySummary{}
	}
	label := labelDE
	if m.Asset == assetDCEP() {
		label = labelDCEP
	}
	return moneySummary{label, m.Amount.Format(m.Asset.Scale)}
}

// blockWatch notes each block as a follower sees it become final.
type blockWatch struct {
	mu     sync.Mutex
	blocks []blockSummary
}

// watchBlocks follows the head until ctx ends. A head that is passed over by the next one is
// not noted: nobody saw it alone.
func watchBlocks(ctx context.Context, f *follow.Follower) *blockWatch {
	w := &blockWatch{}
	go func() {
		last := f.Head().Height
		for ctx.Err() == nil {
			changed := f.Changed()
			if head := f.Head(); head.Height > last {
				last = head.Height
				w.note(ctx, f)
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}()
	return w
}

func (w *blockWatch) note(ctx context.Context, f *follow.Follower) {
	now := time.Now()
	p, err := f.Prove(ctx, nil)
	if err != nil || len(p.Finality.Headers) == 0 {
		return
	}
	head := p.Finality.Headers[0]
	at := time.UnixMilli(head.TimeMS)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocks = append(w.blocks, blockSummary{
		Height: head.Height, View: head.View, Time: at.UTC(),
		FinalityMS: now.Sub(at).Milliseconds(), Signers: len(p.Finality.QC.Votes.Signers()),
	})
}

func (w *blockWatch) all() []blockSummary {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]blockSummary{}, w.blocks...)
}
