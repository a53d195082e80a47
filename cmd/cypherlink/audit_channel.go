package main

import (
	"bytes"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
)

// channelBooks are the channels of the chain, and what they moved between the banks' accounts and
// themselves: positive to the account.
type channelBooks struct {
	open  map[channels.ID]*channels.Channel
	moves []channelMove
	// revealed is when each preimage was first on the chain, in seconds since 1970, by its condition.
	revealed map[cypherlink.Condition]int64
}

type channelMove struct {
	account cypherlink.Account
	asset   cypherlink.Asset
	amount  int64
}

// total is what the channels hold of an asset.
func (b *channelBooks) total(asset cypherlink.Asset) (sum int64) {
	for _, c := range b.open {
		if c.Asset == asset {
			sum += c.Total()
		}
	}
	return sum
}

// readChannels reads the channels as the feed tells them, and holds the state against that. What a
// change moves follows from the change alone, by the audit's own arithmetic.
func (r *replica) readChannels(events []*state.Event) (channelBooks, error) {
	revealed := map[cypherlink.Condition]int64{}
	books := channelBooks{open: map[channels.ID]*channels.Channel{}, revealed: revealed}
	for _, e := range events {
		switch f := e.Fact.(type) {
		case state.RevealFact:
			revealed[f.Preimage.Condition()] = e.TimeMS / 1000
		case state.ChannelFact:
			after := f.Channel
			before := books.open[after.ID]
			if before == nil {
				before = &channels.Channel{}
			}
			for i, amount := range movedBy(before, &after, revealed) {
				books.moves = append(books.moves, channelMove{after.Accounts[i], after.Asset, amount})
			}
			books.open[after.ID] = &after
		default:
		}
	}
	number := 0
	var bad error
	err := r.state.Channels(func(c *channels.Channel) bool {
		number++
		told, ok := books.open[c.ID]
		if !ok || !bytes.Equal(told.Encode(), c.Encode()) {
			bad = found("channel %s in the state is not what the events say", c.ID)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err == nil && number != len(books.open) {
		err = found("%d channels in the state, by the events %d", number, len(books.open))
	}
	for id, c := range books.open {
		if err == nil {
			err = r.holdsChannel(id, c)
		}
	}
	return books, err
}

// holdsChannel holds a channel against the state root that the last block names.
func (r *replica) holdsChannel(id channels.ID, c *channels.Channel) error {
	value, err := r.proved(state.ChannelKey(id))
	if err == nil && !bytes.Equal(value, c.Encode()) {
		err = found("channel %s is not what the state root names", id)
	}
	return err
}

// movedBy is what a change of a channel gives its banks' accounts.
func movedBy(before, after *channels.Channel, revealed map[cypherlink.Condition]int64) (moves [2]int64) {
	for i := range moves {
		moves[i] = before.Funds[i] - after.Funds[i]
	}
	if after.State != channels.Closed || before.State == channels.Closed {
		return moves
	}
	for i := range moves {
		own, reverse := &after.Lanes[i].Head, &after.Lanes[1-i].Head
		moves[i] += after.Funds[i] + int64(reverse.Paid) - int64(own.Paid)
		for _, l := range before.Lanes[i].Listed {
			if s, ok := revealed[l.Condition]; ok && s < l.Expiry {
				moves[i] -= int64(l.Amount)
				moves[1-i] += int64(l.Amount)
			}
		}
	}
	return moves
}
