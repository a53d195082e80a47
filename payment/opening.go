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
// bank has no business with is refused (CodeAsset, CodeAgent); the key is as in Submit.
func (s *Tellers) Open(
	ctx context.Context, o Opening, raw []byte, key string,
) (id channels.ID, replayed bool, err error) {
	if err := s.ready(ctx); err != nil {
		return id, false, err
	}
	if key, err = checkKey("open/", key); err != nil {
		return id, false, err
	}
	j, err := s.openingOf(&o)
	if err != nil {
		return id, false, err
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
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
		s.pursue(id, o)
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
func (s *Tellers) wanted(ctx context.Context) error {
	all := map[channels.ID]Opening{}
	err := s.Store.View(ctx, func(r *store.Reader) error {
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
		if _, err := s.Chain.View(id, nil); errors.Is(err, state.ErrUnknown) {
			s.pursue(id, o)
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
func (s *Tellers) pursue(id channels.ID, o Opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := s.running
	if ctx == nil || ctx.Err() != nil || s.opening[id] {
		return
	}
	s.opening[id], s.apart[id] = true, s.unopened(id, &o, "")
	s.tasks.Go(func() {
		defer func() {
			s.mu.Lock()
			delete(s.opening, id)
			s.mu.Unlock()
		}()
		for ctx.Err() == nil {
			err := s.openChannel(ctx, id, &o)
			if err == nil {
				break
			}
			refusal, refused := errors.AsType[*cypherlink.Error](err)
			s.Log.WarnContext(ctx, "a channel is not open yet", slog.String("channel", id.String()),
				slog.String("cause", err.Error()))
			s.mu.Lock()
			s.apart[id] = s.unopened(id, &o, err.Error())
			s.mu.Unlock()
			if refused && refusal.Reason != notYet && refusal.Reason != tooLate {
				return
			}
			pause(ctx, s.Resend)
		}
	})
}

// unopened is a channel of which the chain shows nothing.
func (s *Tellers) unopened(id channels.ID, o *Opening, alert string) *Channel {
	shown := &Channel{}
	shown.ID, shown.Asset, shown.Limits = id, o.Asset, s.Lanes.Limits
	shown.Banks = channels.InOrder([2]cypherlink.ParticipantID{s.ID, o.Peer})
	shown.Own, _ = shown.Side(s.ID)
	if alert != "" {
		shown.Alerts = []string{"not opened: " + alert}
	}
	return shown
}

// openingOf is the joint action that opens the next channel with a bank.
func (s *Tellers) openingOf(o *Opening) (*channels.Joint, error) {
	peer, ok := s.Chain.Registry().Participant(o.Peer)
	switch {
	case !ok || !mayHoldChannels(peer.Role) || o.Peer == s.ID:
		return nil, refuse(CodeAgent, "RC04", "no other bank that holds channels is called that", nil)
	case !slices.Contains(s.Assets, o.Asset):
		return nil, refuse(CodeAsset, "AM03", "this bank has no channels in the asset", nil)
	}
	all, err := s.Chain.Channels()
	if err != nil {
		return nil, err
	}
	banks := channels.InOrder([2]cypherlink.ParticipantID{s.ID, o.Peer})
	nonce := uint64(0)
	for _, ch := range all {
		if ch.Banks == banks && ch.Asset == o.Asset && ch.State == channels.Closed {
			nonce++
		}
	}
	open := channels.Open{Banks: banks, Asset: o.Asset, Nonce: nonce, Limits: s.Lanes.Limits}
	for i, id := range banks {
		open.Accounts[i] = cypherlink.Account{Owner: id, Number: s.Account}
	}
	id := channels.NewID(s.Genesis.Network(), banks, o.Asset, nonce)
	side := channels.A
	if banks[channels.B] == s.ID {
		side = channels.B
	}
	return &channels.Joint{
		Channel: id, Proposer: side, Do: open,
		// Nobody signs what is valid for longer than the window, by a block time that may lag.
		ValidUntil: time.Now().Unix() + s.Lanes.Limits.WindowS - 1 - s.Lanes.LagS,
	}, nil
}

// openChannel has the joint action that opens the channel signed, and hands it in.
func (s *Tellers) openChannel(ctx context.Context, id channels.ID, o *Opening) error {
	exists := func() (bool, error) {
		_, err := s.Chain.View(id, nil)
		if errors.Is(err, state.ErrUnknown) {
			return false, nil
		}
		return err == nil, err
	}
	if ok, err := exists(); ok || err != nil {
		return err
	}
	j, err := s.openingOf(o)
	if err != nil {
		return err
	}
	open, ok := j.Do.(channels.Open)
	if !ok || j.Channel != id {
		return fmt.Errorf("channel %s is not the next one of its banks: %w", id, errInput)
	}
	err = s.Store.Update(ctx, func(tx *store.Tx) error {
		var err error
		j.Counter, err = tx.Count(openingsRecord)
		return err
	})
	if err != nil {
		return err
	}
	roster, err := state.JointRoster(s.Chain.Registry().Registry, open.Banks, open.Asset)
	if err != nil {
		return err
	}
	r := &JoinRequest{Joint: *j}
	own, other := j.Proposer, j.Proposer.Other()
	if r.Shares[own], err = s.signOpening(ctx, roster, j); err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, callPatience*s.Resend)
	raw, err := s.Peers.Call(call, open.Banks[other], KindJoin, r.Encode())
	cancel()
	if err != nil {
		return err
	}
	if copy(r.Shares[other][:], raw) != len(r.Shares[other]) {
		return fmt.Errorf("%d bytes: %w", len(raw), ErrMessage)
	}
	deadline, cancel := context.WithTimeout(ctx, time.Duration(s.Lanes.Limits.WindowS)*time.Second)
	defer cancel() // by then it is not valid any more
	return s.join(deadline, roster, r, exists)
}

// signOpening signs what opens a channel, once for each counter of its proposer, whose counters rise:
// anything else is refused, and one record is kept for each of the two.
func (s *Tellers) signOpening(
	ctx context.Context, roster *cosi.Roster, j *channels.Joint,
) (cosi.Signature, error) {
	frame := j.Frame(s.Genesis.Network(), roster.Root())
	name, encoded := fmt.Sprintf("opening/%s/%s", j.Channel, j.Proposer), frame.Encode()
	err := s.Store.Update(ctx, func(tx *store.Tx) error {
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
	return s.JointSigner.SignRecorded(frame)
}

// agreeToOpen is this bank's signature on a channel that another one opens with it, if that is as this
// bank would have it.
func (s *Tellers) agreeToOpen(
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
	want, err := s.openingOf(&Opening{Peer: from, Asset: open.Asset})
	if err != nil {
		return nil, err
	}
	own := want.Proposer
	want.Proposer, want.Counter, want.ValidUntil = own.Other(), r.Joint.Counter, r.Joint.ValidUntil
	if nameOfJoint(want) != nameOfJoint(&r.Joint) {
		return nil, refuse(channels.T0.Code(), "NARR", "T0: this bank opens on other conditions", nil)
	}
	roster, err := state.JointRoster(s.Chain.Registry().Registry, open.Banks, open.Asset)
	if err != nil {
		return nil, err
	}
	frame := r.Joint.Frame(s.Genesis.Network(), roster.Root())
	if err := roster.VerifyShare(frame, int(own.Other()), r.Shares[own.Other()]); err != nil {
		return nil, refuse(channels.T0.Code(), "DS0B", "T0: the signature on the opening is wrong", err)
	}
	share, err := s.signOpening(ctx, roster, &r.Joint)
	if err != nil {
		return nil, err
	}
	return share[:], nil
}
