package follow_test

import (
	"errors"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
)

// A follower shows a channel, the time, and what is revealed, all of one block.
func TestViewOfAChannel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c := newCommittee(t)
		store := state.NewMemory()
		f, stop := following(t, c.options(store, c.honest()))
		banks := c.Banks()
		open := c.Open(1)
		j := channels.Joint{
			Channel: channels.NewID(c.World.Network, open.Banks, open.Asset, 1), Do: open, ValidUntil: start + 10,
		}
		roster, err := state.JointRoster(c.state.Final().Registry(), open.Banks, open.Asset)
		if err != nil {
			t.Fatal(err)
		}
		c.blockOf(t, 1, state.ChannelJoint{Joint: j, Certificate: c.Cosign(t, roster, j, 0, 1, 2, 3)})
		act := func(seconds int64, a channels.Action) {
			c.blockOf(t, seconds, state.ChannelAction{Signed: c.Act(banks[0], uint64(seconds), a)})
		}
		act(2, channels.Fund{Channel: j.Channel, Amount: 7, Number: 1})
		preimage := cypherlink.Preimage{1}
		act(3, channels.Reveal{Preimage: preimage})
		reach(t, f, 3)
		check := func(f *follow.Follower) {
			t.Helper()
			conditions := []cypherlink.Condition{{5}, preimage.Condition()}
			v, err := f.View(j.Channel, conditions)
			if err != nil || v.Channel.Balance(channels.A) != 7 || v.Fresh ||
				v.Now != (channels.Time{S: start + 3, Height: 3}) || len(v.Revealed) != 1 ||
				v.Revealed[0] != (channels.Revealed{Preimage: preimage, S: start + 3}) {
				t.Fatalf("%+v, %v", v, err)
			}
			all, err := f.Channels()
			if err != nil || len(all) != 1 || all[0].ID != j.Channel {
				t.Fatal(all, err)
			}
			if _, err := f.View(channels.ID{9}, nil); !errors.Is(err, state.ErrUnknown) {
				t.Fatal(err)
			}
		}
		check(f)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		again, err := follow.Open(c.options(store, c.honest()))
		if err != nil {
			t.Fatal(err)
		}
		check(again)
	})
}
