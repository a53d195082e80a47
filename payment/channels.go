package payment

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
)

// scanEvery is how often a bank looks for channels that are new on the chain.
const scanEvery = time.Second

// sessionRecord counts the starts, so that no two of them have one session.
const sessionRecord = "channel_sessions"

// keepChannels runs a teller for each of the bank's channels, until ctx ends.
func (c *Connect) keepChannels(ctx context.Context, open []*live) error {
	waiting := map[channelOf][]*live{}
	for _, l := range open {
		waiting[l.channelOf()] = append(waiting[l.channelOf()], l)
	}
	if err := c.wanted(ctx); err != nil {
		return fmt.Errorf("take up the openings: %w", err)
	}
	for {
		changed := c.Chain.Changed()
		if err := c.scan(ctx, waiting); err != nil {
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

// channelOf is what a payment knows of its channel before it is in one.
type channelOf struct {
	peer  cypherlink.ParticipantID
	asset cypherlink.Asset
}

func (l *live) channelOf() channelOf {
	return channelOf{l.machine.route.Payee, l.machine.route.Source}
}

// scan starts the tellers of channels that have none.
func (c *Connect) scan(ctx context.Context, waiting map[channelOf][]*live) error {
	all, err := c.Chain.Channels()
	if err != nil {
		return err
	}
	for _, ch := range all {
		side, ours := ch.Side(c.Bank.ID)
		if !ours || c.teller(ch.ID) != nil {
			continue
		}
		of := channelOf{ch.Banks[side.Other()], ch.Asset}
		mine, others := payersOf(ch, waiting[of])
		if ch.State == channels.Closed && len(mine) == 0 {
			continue
		}
		if err := c.startTeller(ctx, ch.ID, mine); err != nil {
			return fmt.Errorf("channel %s: %w", ch.ID, err)
		}
		waiting[of] = others
	}
	return nil
}

// payersOf are those of the payments that are in the channel, or may come into it.
func payersOf(ch *channels.Channel, all []*live) (mine, others []*live) {
	for _, l := range all {
		in := l.machine.lane.last.Channel
		if in == ch.ID || in == (channels.ID{}) && ch.State == channels.Opened {
			mine = append(mine, l)
		} else {
			others = append(others, l)
		}
	}
	return mine, others
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
	orders, err := c.fundings(ctx, id, v.Channel.Fundings[t.own])
	if err != nil {
		return err
	}
	for i := range orders {
		t.tell(tellerInput{fund: &orders[i]})
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
func (c *Connect) channelWith(of channelOf) *teller {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tellers {
		if shown := t.shown.Load(); t.peer == of.peer && t.asset == of.asset && shown != nil &&
			shown.State == channels.Opened {
			return t
		}
	}
	return nil
}

// enter hands a payment whose money is held to the teller of its channel. Without one, the payment is
// told so, and goes on without.
func (c *Connect) enter(l *live) bool {
	t := c.channelWith(l.channelOf())
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
	return t.heardFrom(talk)
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
	for id, opening := range c.openings {
		if c.tellers[id] == nil {
			all = append(all, opening)
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
	opening := c.openings[id]
	c.mu.Unlock()
	if t := c.teller(id); t != nil {
		if shown := t.shown.Load(); shown != nil {
			return shown, nil
		}
	}
	if opening != nil {
		return opening, nil
	}
	return nil, refuse(CodeNoChannel, "", "this bank knows no channel of that id", nil)
}
