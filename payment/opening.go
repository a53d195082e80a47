package payment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// openingsRecord counts what this bank has signed to open channels.
const openingsRecord = "channel_openings"

const openingPrefix = "opening/"

// Open wants a channel with a bank, and returns once that is durable. It then goes on of its own accord,
// also after a restart: both banks and the asset's Validators sign the opening, and the chain decides.
// A pair of banks has one channel in an asset at a time, so who wants one again gets the same. What the
// bank has no business with is refused (CodeAsset, CodeParty); the key is as in Submit.
func (c *Connect) Open(
	ctx context.Context, o Opening, raw []byte, key string,
) (id channels.ID, replayed bool, err error) {
	if err := c.ready(ctx); err != nil {
		return id, false, err
	}
	if key, err = checkKey("open/", key); err != nil {
		return id, false, err
	}
	j, err := c.openingOf(&o)
	if err != nil {
		return id, false, err
	}
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		id, replayed = j.Channel, false
		stream, _, err := standingUnder(tx, key, raw)
		if err != nil {
			return err
		}
		if stream != "" {
			replayed = true
			return id.UnmarshalText([]byte(strings.TrimPrefix(stream, openingPrefix)))
		}
		wanted, err := tx.Load(openingPrefix+id.String(), 0)
		if err != nil {
			return err
		}
		if len(wanted) == 0 {
			err = tx.Append(openingPrefix+id.String(), 0, store.Event{Kind: "wanted", Body: o.encode()})
			if err != nil {
				return err
			}
		}
		return standUnder(tx, key, raw, openingPrefix+id.String(), 1)
	})
	if err == nil && !replayed {
		c.pursue(id, o)
	}
	return id, replayed, err
}

func (o *Opening) encode() []byte {
	w := wire.NewWriter(96)
	w.Fixed(o.Peer[:])
	o.Asset.AppendWire(w)
	return w.Bytes()
}

func decodeOpening(raw []byte) (Opening, error) {
	r := wire.NewReader(raw)
	var o Opening
	r.Fixed(o.Peer[:])
	o.Asset = cypherlink.ReadAsset(r)
	return o, finish(r)
}

// wanted takes up the openings of which the chain shows nothing yet.
func (c *Connect) wanted(ctx context.Context) error {
	all := map[channels.ID]Opening{}
	err := c.Store.View(ctx, func(r *store.Reader) error {
		clear(all)
		streams, err := r.Streams(openingPrefix, "", maxOpenings)
		if err != nil {
			return err
		}
		for _, stream := range streams {
			var id channels.ID
			if err := id.UnmarshalText([]byte(strings.TrimPrefix(stream, openingPrefix))); err != nil {
				return fmt.Errorf("%s: %w", stream, err)
			}
			stored, err := r.Load(stream, 0)
			if err != nil {
				return err
			}
			if all[id], err = decodeOpening(stored[0].Body); err != nil {
				return fmt.Errorf("%s: %w", stream, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, o := range all {
		if _, err := c.Chain.View(id, nil); errors.Is(err, state.ErrUnknown) {
			c.pursue(id, o)
		}
	}
	return nil
}

// maxOpenings bounds the openings that a start takes up.
const maxOpenings = 4096

// tooLate is the reason of what was refused for the time that it took, or for another view of the time.
const tooLate = "TM01"

// pursue has a channel opened, and tries again until the chain shows it or somebody refuses for good.
// Who wants it again then has it tried again.
func (c *Connect) pursue(id channels.ID, o Opening) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx := c.running
	if ctx == nil || ctx.Err() != nil || c.opening[id] {
		return
	}
	c.opening[id], c.apart[id] = true, c.unopened(id, &o, "")
	c.tasks.Go(func() {
		defer func() {
			c.mu.Lock()
			delete(c.opening, id)
			c.mu.Unlock()
		}()
		for ctx.Err() == nil {
			err := c.openChannel(ctx, id, &o)
			if err == nil {
				break
			}
			refusal, refused := errors.AsType[*cypherlink.Error](err)
			c.Log.WarnContext(ctx, "a channel is not open yet", slog.String("channel", id.String()),
				slog.String("cause", err.Error()))
			c.mu.Lock()
			c.apart[id] = c.unopened(id, &o, err.Error())
			c.mu.Unlock()
			if refused && refusal.Reason != notYet && refusal.Reason != tooLate {
				return
			}
			pause(ctx, c.Bank.Patience.Resend)
		}
	})
}

// unopened is a channel of which the chain shows nothing.
func (c *Connect) unopened(id channels.ID, o *Opening, alert string) *Channel {
	shown := &Channel{}
	shown.ID, shown.Asset, shown.Limits = id, o.Asset, c.Bank.Lanes.Limits
	shown.Banks = channels.InOrder([2]cypherlink.ParticipantID{c.Bank.ID, o.Peer})
	shown.Own, _ = shown.Side(c.Bank.ID)
	if alert != "" {
		shown.Alerts = []string{"not opened: " + alert}
	}
	return shown
}

// openingOf is the joint action that opens the next channel with a bank.
func (c *Connect) openingOf(o *Opening) (*channels.Joint, error) {
	peer, ok := c.Chain.Registry().Participant(o.Peer)
	switch {
	case !ok || peer.Role != chain.RoleBank || o.Peer == c.Bank.ID:
		return nil, refuse(CodeParty, "RC04", "there is no such bank", nil)
	case !slices.Contains(c.Bank.Direct, o.Asset):
		return nil, refuse(CodeAsset, "AM03", "this bank has no channels in the asset", nil)
	}
	all, err := c.Chain.Channels()
	if err != nil {
		return nil, err
	}
	banks := channels.InOrder([2]cypherlink.ParticipantID{c.Bank.ID, o.Peer})
	nonce := uint64(0)
	for _, ch := range all {
		if ch.Banks == banks && ch.Asset == o.Asset && ch.State == channels.Closed {
			nonce++
		}
	}
	open := channels.Open{Banks: banks, Asset: o.Asset, Nonce: nonce, Limits: c.Bank.Lanes.Limits}
	for i, id := range banks {
		open.Accounts[i] = cypherlink.Account{Owner: id, Number: c.Bank.Account}
	}
	id := channels.NewID(c.Bank.Genesis.Network(), banks, o.Asset, nonce)
	side := channels.A
	if banks[channels.B] == c.Bank.ID {
		side = channels.B
	}
	return &channels.Joint{
		Channel: id, Proposer: side, Do: open,
		ValidUntil: time.Now().Unix() + c.Bank.Lanes.Limits.WindowS - 1,
	}, nil
}

// openChannel has the joint action that opens the channel signed, and hands it in.
func (c *Connect) openChannel(ctx context.Context, id channels.ID, o *Opening) error {
	exists := func() (bool, error) {
		_, err := c.Chain.View(id, nil)
		if errors.Is(err, state.ErrUnknown) {
			return false, nil
		}
		return err == nil, err
	}
	if ok, err := exists(); ok || err != nil {
		return err
	}
	j, err := c.openingOf(o)
	if err != nil {
		return err
	}
	open, ok := j.Do.(channels.Open)
	if !ok || j.Channel != id {
		return fmt.Errorf("channel %s is not the next one of its banks: %w", id, errInput)
	}
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		j.Counter, err = tx.Count(openingsRecord)
		return err
	})
	if err != nil {
		return err
	}
	roster, err := state.JointRoster(c.Chain.Registry().Registry, open.Banks, open.Asset)
	if err != nil {
		return err
	}
	r := &JoinRequest{Joint: *j}
	own, other := j.Proposer, j.Proposer.Other()
	if r.Shares[own], err = c.signOpening(ctx, roster, j); err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, callPatience*c.Bank.Patience.Resend)
	raw, err := c.Peers.Call(call, open.Banks[other], KindJoin, r.Encode())
	cancel()
	if err != nil {
		return err
	}
	if copy(r.Shares[other][:], raw) != len(r.Shares[other]) {
		return fmt.Errorf("%d bytes: %w", len(raw), ErrMessage)
	}
	deadline, cancel := context.WithTimeout(ctx, time.Duration(c.Bank.Lanes.Limits.WindowS)*time.Second)
	defer cancel() // by then it is not valid any more
	return c.join(deadline, roster, r, exists)
}

// signOpening signs what opens a channel, once for each counter of its proposer, whose counters rise:
// anything else is refused, and one record is kept for each of the two.
func (c *Connect) signOpening(
	ctx context.Context, roster *cosi.Roster, j *channels.Joint,
) (cosi.Signature, error) {
	frame := j.Frame(c.Bank.Genesis.Network(), roster.Root())
	name, encoded := fmt.Sprintf("opening/%s/%s", j.Channel, j.Proposer), frame.Encode()
	err := c.Store.Update(ctx, func(tx *store.Tx) error {
		signed, err := tx.Get(name)
		if err != nil {
			return err
		}
		if signed != nil && !bytes.Equal(signed, encoded[:]) {
			last, err := cosi.DecodeFrame(signed)
			if err != nil {
				return err
			}
			if frame.Sequence <= last.Sequence {
				return refuse(channels.T0.Code(), "DU01", "T0: the proposer's counter does not rise", nil)
			}
		}
		return tx.Put(name, encoded[:])
	})
	if err != nil {
		return cosi.Signature{}, err
	}
	return c.JointSigner.SignRecorded(frame)
}

// agreeToOpen is this bank's signature on a channel that another one opens with it, if that is as this
// bank would have it.
func (c *Connect) agreeToOpen(
	ctx context.Context, from cypherlink.ParticipantID, body []byte,
) ([]byte, error) {
	r, err := DecodeJoinRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	open, ok := r.Joint.Do.(channels.Open)
	if !ok {
		return nil, refuse(channels.T0.Code(), "FF01", "T0: the joint action opens no channel", nil)
	}
	want, err := c.openingOf(&Opening{Peer: from, Asset: open.Asset})
	if err != nil {
		return nil, err
	}
	own := want.Proposer
	want.Proposer, want.Counter, want.ValidUntil = own.Other(), r.Joint.Counter, r.Joint.ValidUntil
	if nameOfJoint(want) != nameOfJoint(&r.Joint) {
		return nil, refuse(channels.T0.Code(), "NARR", "T0: this bank opens on other conditions", nil)
	}
	roster, err := state.JointRoster(c.Chain.Registry().Registry, open.Banks, open.Asset)
	if err != nil {
		return nil, err
	}
	frame := r.Joint.Frame(c.Bank.Genesis.Network(), roster.Root())
	if err := roster.VerifyShare(frame, int(own.Other()), r.Shares[own.Other()]); err != nil {
		return nil, refuse(channels.T0.Code(), "DS0B", "T0: the signature on the opening is wrong", err)
	}
	share, err := c.signOpening(ctx, roster, &r.Joint)
	if err != nil {
		return nil, err
	}
	return share[:], nil
}
