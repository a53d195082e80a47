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
	// The second job's, if it was played.
	Channels        []channelSummary        `json:"channels,omitempty"`
	ChannelPayments *channelPaymentsSummary `json:"channel_payments,omitempty"`
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
	if actorOf(d.fail) == folderA {
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

func (d *demo) summary(blocks []blockSummary) summary {
	s := summary{
		Payment: paymentSummary{
			UETR: d.payment.UETR, Status: d.payment.Status,
			Source: d.money(d.payment.Source), Destination: d.money(d.payment.Destination),
		},
		Steps: d.director.all(), Blocks: blocks,
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
	if d.act != nil {
		list, payments := d.act.summary()
		s.Channels, s.ChannelPayments = list, &payments
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
	err    error
}

// watchBlocks follows the head until ctx ends. Blocks that become final together were seen
// together, under one certificate.
func watchBlocks(ctx context.Context, f *follow.Follower) *blockWatch {
	w := &blockWatch{}
	go func() {
		for last := f.Head().Height; ctx.Err() == nil; {
			changed := f.Changed()
			head := f.Head().Height
			if head > last {
				if err := w.note(ctx, f, last+1); err != nil && ctx.Err() == nil {
					w.fail(err)
					return
				}
				last = head
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}()
	return w
}

// note notes the blocks from a height up to the head that is proved now.
func (w *blockWatch) note(ctx context.Context, f *follow.Follower, from uint64) error {
	p, err := f.Prove(ctx, nil)
	if err != nil {
		return err
	}
	seen := time.Now()
	signers := len(p.Finality.QC.Votes.Signers())
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.blocks); n > 0 {
		from = w.blocks[n-1].Height + 1 // more was proved than the head said
	}
	for height := from; height <= p.Finality.Headers[0].Height; height++ {
		h, err := f.HeaderAt(height)
		if err != nil {
			return err
		}
		at := time.UnixMilli(h.TimeMS)
		w.blocks = append(w.blocks, blockSummary{
			Height: h.Height, View: h.View, Time: at.UTC(),
			FinalityMS: seen.Sub(at).Milliseconds(), Signers: signers,
		})
	}
	return nil
}

func (w *blockWatch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

func (w *blockWatch) all() ([]blockSummary, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]blockSummary{}, w.blocks...), w.err
}
