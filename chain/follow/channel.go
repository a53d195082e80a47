package follow

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
)

// View is a channel as it stands after the last block that is verified and stored, with that block's
// time, and with those preimages of the conditions that are revealed by then. Whether it is fresh,
// whoever has a clock says. A channel that is not there is state.ErrUnknown.
func (f *Follower) View(id channels.ID, conditions []cypherlink.Condition) (channels.View, error) {
	var v channels.View
	err := f.locked(func() error {
		s := f.mirror.state
		c, ok, err := s.Channel(id)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("channel %s: %w", id, state.ErrUnknown)
		}
		h := s.Header()
		v = channels.View{Channel: *c, Now: channels.Time{S: h.TimeMS / 1000, Height: h.Height}}
		for _, condition := range conditions {
			r, ok, err := s.Reveal(condition)
			if err != nil {
				return err
			}
			if ok {
				v.Revealed = append(v.Revealed, r)
			}
		}
		return nil
	})
	return v, err
}

// Channels are all channels of the final state, also closed ones, in the order of their ids.
func (f *Follower) Channels() ([]*channels.Channel, error) {
	var all []*channels.Channel
	err := f.locked(func() error {
		return f.mirror.state.Channels(func(c *channels.Channel) bool {
			all = append(all, c)
			return true
		})
	})
	return all, err
}

// anchoring is the index of the first event of a channel after which the lane's head is at the sequence
// or beyond; state.ErrUnknown if there is none. A head never moves back, so it is found by bisection.
func (m *mirror) anchoring(id channels.ID, lane channels.Side, seq uint32) (uint64, error) {
	low, high := uint64(0), m.state.Header().Roots.FeedSize
	for low < high {
		middle := low + (high-low)/2
		index, err := m.state.ChannelEvent(id, middle)
		if errors.Is(err, state.ErrUnknown) {
			high = middle
			continue
		}
		if err != nil {
			return 0, err
		}
		e, err := m.state.EventAt(index)
		if err != nil {
			return 0, err
		}
		fact, ok := e.Fact.(state.ChannelFact)
		switch {
		case !ok:
			return 0, fmt.Errorf("event %d is of no channel: %w", index, state.ErrRecord)
		case fact.Channel.Lanes[lane].Head.Seq >= seq:
			high = middle
		default:
			low = index + 1
		}
	}
	return m.state.ChannelEvent(id, low)
}

// Channel is a channel as the evidence shows it to have come to be, and of which block; the statement's
// receipt is of no custody. Otherwise ErrEvidence, or the error of the finality proof. Costs one pairing
// check.
func (v *Verifier) Channel(evidence []byte) (*channels.Channel, Statement, error) {
	e, block, err := v.open(evidence)
	if err != nil {
		return nil, Statement{}, err
	}
	if e.Event != nil {
		if fact, ok := e.Event.Fact.(state.ChannelFact); ok {
			return &fact.Channel, v.statement(e, block), nil
		}
	}
	return nil, Statement{}, fmt.Errorf("it is of no channel: %w", ErrEvidence)
}
