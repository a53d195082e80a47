package main

import (
	"context"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger-adapters/laneledger"
	"github.com/cypherlink/cypherlink/payment"
)

// channelsConfig is how a bank runs its channels. Times are durations; seconds are of block time.
type channelsConfig struct {
	// Assets are those in which the bank pays and is paid over channels.
	Assets []assetName `json:"assets,omitempty"`
	// Hold is how long a payment may wait for its signature, from the drawing up of the terms.
	Hold jsonDuration `json:"hold,omitempty"`
	// Window and Blocks have to pass before a dispute ends; the bank opens channels with these alone.
	Window jsonDuration `json:"window,omitempty"`
	Blocks uint64       `json:"blocks,omitempty"`
	// Lag is how far the own follower may be behind, Inclusion how long the chain takes to include what
	// is submitted, Joint how long a joint action stays valid.
	Lag       jsonDuration `json:"lag,omitempty"`
	Inclusion jsonDuration `json:"inclusion,omitempty"`
	Joint     jsonDuration `json:"joint,omitempty"`
	// Certify is how long an update may wait for the other bank's signature, Resend how long anything
	// may wait before it is sent again, Anchor how often what is bound is anchored.
	Certify jsonDuration `json:"certify,omitempty"`
	Resend  jsonDuration `json:"resend,omitempty"`
	Anchor  jsonDuration `json:"anchor,omitempty"`
	// JointAnchors has the other bank and the Validators sign each anchor.
	JointAnchors bool `json:"joint_anchors,omitempty"`
	// Bands are how much of its own the bank wants free in its channels; without one for an asset it
	// moves nothing by itself.
	Bands []bandConfig `json:"bands,omitempty"`
}

// bandConfig is a payment.Band in an asset, in decimal amounts.
type bandConfig struct {
	Asset  assetName `json:"asset"`
	Low    string    `json:"low"`
	Target string    `json:"target"`
	High   string    `json:"high"`
}

func (c *bandConfig) band(g *chain.Genesis) (cypherlink.Asset, payment.Band, error) {
	var b payment.Band
	asset, err := c.Asset.find(g)
	if err != nil {
		return cypherlink.Asset{}, b, err
	}
	for _, amount := range []struct {
		text string
		to   *cypherlink.Amount
	}{{c.Low, &b.Low}, {c.Target, &b.Target}, {c.High, &b.High}} {
		if *amount.to, err = cypherlink.ParseAmount(amount.text, asset.Asset.Scale); err != nil {
			return cypherlink.Asset{}, b, err
		}
	}
	return asset.Asset, b, nil
}

// open makes the institution's channels; nil if it has none.
func (c *channelsConfig) open(i *institution, peers payment.Peers, restored bool) (*payment.Tellers, error) {
	if len(c.Assets) == 0 {
		return nil, nil
	}
	o := payment.TellersOptions{
		Genesis: i.keys.genesis, ID: i.keys.self.ID, Resend: time.Duration(i.config.Margins.Resend), Store: i.store,
		Chain: i.follow, Committee: i.chain, Identity: i.identity(), LaneSigner: i.keys.identity,
		JointSigner: i.keys.cosigning, Peers: peers, Restored: restored, Log: i.log,
	}
	var err error
	if o.Assets, err = c.assets(o.Genesis); err != nil {
		return nil, err
	}
	if o.Lanes, err = c.lanes(o.Genesis); err != nil {
		return nil, err
	}
	return payment.NewTellers(o)
}

// late is how long before a lock's expiry no preimage is released in a channel any more (H1); zero without
// channels.
func (c *channelsConfig) late() time.Duration {
	if len(c.Assets) == 0 {
		return 0
	}
	return time.Duration(c.Lag + c.Inclusion)
}

// venues are where the institution's legs move; answers adds to its talk what is said of locks in its
// channels, if it has any.
func (i *institution) venues(
	tellers *payment.Tellers, through lens,
) (v connector.Venues, answers func(answer) answer, err error) {
	v.Ledgers = i.ledgers
	answers = func(a answer) answer { return a }
	if tellers == nil {
		return v, answers, nil
	}
	lanes, err := laneledger.New(laneledger.Options{
		Genesis: i.keys.genesis, Locks: tellers.Locks(), Identity: i.identity(), Resend: tellers.Lanes.Resend,
	})
	if err != nil {
		return v, nil, err
	}
	v.Lanes = through.ledger(lanes)
	return v, func(rest answer) answer {
		return func(ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error) {
			switch kind {
			case payment.KindLock:
				return nil, lanes.Take(ctx, from, body)
			case payment.KindCustody:
				return lanes.Show(ctx, body)
			}
			return rest(ctx, from, kind, body)
		}
	}, nil
}

// assets are those in which there are channels.
func (c *channelsConfig) assets(g *chain.Genesis) ([]cypherlink.Asset, error) {
	var all []cypherlink.Asset
	for _, name := range c.Assets {
		asset, err := name.find(g)
		if err != nil {
			return nil, err
		}
		all = append(all, asset.Asset)
	}
	return all, nil
}

func (c *channelsConfig) lanes(g *chain.Genesis) (payment.Lanes, error) {
	seconds := func(d jsonDuration) int64 { return int64(time.Duration(d) / time.Second) }
	l := payment.Lanes{
		Limits: channels.DefaultLimits(),
		LagS:   seconds(c.Lag), InclusionS: seconds(c.Inclusion), JointS: seconds(c.Joint),
		Certify: time.Duration(c.Certify), Resend: time.Duration(c.Resend), Anchor: time.Duration(c.Anchor),
		JointAnchors: c.JointAnchors,
	}
	l.Limits.WindowS, l.Limits.Blocks = seconds(c.Window), c.Blocks
	l.Bands = map[cypherlink.Asset]payment.Band{}
	for i := range c.Bands {
		asset, band, err := c.Bands[i].band(g)
		if err != nil {
			return l, err
		}
		l.Bands[asset] = band
	}
	return l, nil
}

// localChannels are the channels in those assets of an institution with so many others on the local network,
// whose blocks follow within a second. Everybody who follows the chain verifies each anchor, so the more
// channels there are, the less often a bank anchors in each; and where there are several it does so by
// certificates, which cost less.
func localChannels(others int, assets ...cypherlink.Asset) channelsConfig {
	c := channelsConfig{
		Hold:   jsonDuration(20 * time.Second),
		Window: jsonDuration(8 * time.Second), Blocks: 5, Lag: jsonDuration(3 * time.Second),
		Inclusion: jsonDuration(2 * time.Second), Joint: jsonDuration(3 * time.Second),
		Certify: jsonDuration(2 * time.Second), Resend: jsonDuration(500 * time.Millisecond),
		Anchor:       jsonDuration(max(200*time.Millisecond, time.Duration(others)*50*time.Millisecond)),
		JointAnchors: others == 1,
	}
	for _, a := range assets {
		c.Assets = append(c.Assets, assetName{a.Ledger, a.Code})
	}
	return c
}
