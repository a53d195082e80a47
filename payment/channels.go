package payment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// scanEvery is how often a bank looks for channels that are new on the chain.
const scanEvery = time.Second

// inChannels are payments that are in the bank's channels, and have no teller yet.
type inChannels map[channels.ID][]*live

// takeUpChannels starts the tellers of the channels that there are, with the payments in them, and goes
// on with the openings that are wanted.
func (c *Connect) takeUpChannels(ctx context.Context, open []*live) (inChannels, error) {
	waiting := inChannels{}
	for _, l := range open {
		waiting[l.machine.lane.channel] = append(waiting[l.machine.lane.channel], l)
	}
	err := c.scan(ctx, waiting)
	if err == nil {
		err = c.wanted(ctx)
	}
	return waiting, err
}

// keepChannels runs a teller for each of the bank's channels, until ctx ends.
func (c *Connect) keepChannels(ctx context.Context, waiting inChannels) error {
	for {
		changed := c.Chain.Changed()
		if err := errors.Join(c.scan(ctx, waiting), c.rebalance(ctx)); err != nil {
			return err
		}
		pause := time.NewTimer(scanEvery)
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// scan starts the tellers of channels that have none.
func (c *Connect) scan(ctx context.Context, waiting inChannels) error {
	all, err := c.Chain.Channels()
	if err != nil {
		return err
	}
	for _, ch := range all {
		_, ours := ch.Side(c.Bank.ID)
		if !ours || c.kept(ch.ID) {
			continue
		}
		if err := c.startTeller(ctx, ch.ID, waiting[ch.ID]); err != nil {
			return fmt.Errorf("channel %s: %w", ch.ID, err)
		}
		delete(waiting, ch.ID)
	}
	return nil
}

// kept tells whether a channel has its teller, or needs none any more.
func (c *Connect) kept(id channels.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	apart := c.apart[id]
	return c.tellers[id] != nil || apart != nil && apart.State == channels.Closed
}

// over shows a channel that needs no teller.
func (c *Connect) over(ch *channels.Channel) {
	shown := &Channel{Channel: *ch}
	shown.Own, _ = ch.Side(c.Bank.ID)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apart[ch.ID] = shown
}

// over tells whether the channel is closed, its log has taken all of it, and all is told of its locks:
// then nothing can follow.
func (t *teller) over() bool {
	for i, l := range t.party.Standing().Lanes {
		on := &t.view.Channel.Lanes[i]
		if l.Gen != on.Gen || l.Anchored != on.Head.Seq || l.Written != on.Head.Seq {
			return false
		}
	}
	return t.view.Channel.State == channels.Closed && len(t.locks.book.locks) == 0
}

func (c *Connect) startTeller(ctx context.Context, id channels.ID, payments []*live) error {
	v, err := c.Chain.View(id, nil)
	if err != nil {
		return err
	}
	t, err := c.newTeller(ctx, &v)
	if err != nil {
		return err
	}
	if len(payments) == 0 && t.over() {
		c.over(&v.Channel)
		return nil
	}
	if t.ordered, err = c.ordered(ctx, id, v.Channel.Fundings[t.own]); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	running := c.running
	if running == nil || running.Err() != nil {
		return nil
	}
	c.tellers[id] = t
	c.tasks.Go(func() {
		if err := t.run(running, c.session, payments); err != nil && running.Err() == nil {
			c.fail(err)
		}
	})
	return nil
}

// teller is the teller of a channel, or nil.
func (c *Connect) teller(id channels.ID) *teller {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tellers[id]
}

// channelWith is the teller of the open channel with a bank in an asset, or nil.
func (c *Connect) channelWith(peer cypherlink.ParticipantID, asset cypherlink.Asset) *teller {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tellers {
		if shown := t.shown.Load(); t.peer == peer && t.asset == asset && shown != nil &&
			shown.State == channels.Opened {
			return t
		}
	}
	return nil
}

// peersIn are the banks with which this one has an open channel in an asset.
func (c *Connect) peersIn(asset cypherlink.Asset) []cypherlink.ParticipantID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var peers []cypherlink.ParticipantID
	for _, t := range c.tellers {
		if shown := t.shown.Load(); t.asset == asset && shown != nil && shown.State == channels.Opened {
			peers = append(peers, t.peer)
		}
	}
	return peers
}

// enter hands a payment whose money is held to the teller of its channel; false if there is none.
func (c *Connect) enter(l *live) bool {
	t := c.teller(l.machine.lane.channel)
	if t == nil {
		return false
	}
	t.tell(tellerInput{pay: l})
	return true
}

// talked takes what the other bank of a channel says.
func (c *Connect) talked(from cypherlink.ParticipantID, body []byte) error {
	talk, err := DecodeLaneTalk(body)
	if err != nil {
		return malformed(err)
	}
	t := c.teller(talk.Channel)
	switch {
	case t == nil:
		return refuse(CodeUnready, "ED06", "the channel is not taken up here yet", nil)
	case t.peer != from:
		return refuse(CodeParty, "AGNT", "the channel is of other banks", nil)
	}
	return t.heardFrom(talk, len(body))
}

// Channels are the bank's channels, in the order of their ids.
func (c *Connect) Channels(ctx context.Context) ([]*Channel, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	var all []*Channel
	c.mu.Lock()
	for _, t := range c.tellers {
		if shown := t.shown.Load(); shown != nil {
			all = append(all, shown)
		}
	}
	for id, apart := range c.apart {
		if c.tellers[id] == nil {
			all = append(all, apart)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b *Channel) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all, nil
}

// Channel is one of the bank's channels, or CodeNoChannel. The caller does not change it.
func (c *Connect) Channel(ctx context.Context, id channels.ID) (*Channel, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	apart := c.apart[id]
	c.mu.Unlock()
	if t := c.teller(id); t != nil {
		if shown := t.shown.Load(); shown != nil {
			return shown, nil
		}
	}
	if apart != nil {
		return apart, nil
	}
	return nil, refuse(CodeNoChannel, "", "this bank knows no channel of that id", nil)
}
