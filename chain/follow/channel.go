package follow

import (
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
