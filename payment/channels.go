package payment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/store"
)

// scanEvery is how often a bank looks for channels that are new on the chain.
const scanEvery = time.Second

// sessionRecord counts the starts, so that no two of them have one session.
const sessionRecord = "channel_sessions"

// openingsRecord counts the channels that this bank has asked for.
const openingsRecord = "channel_openings"

// keepChannels runs a teller for each of the bank's channels, until ctx ends.
func (c *Connect) keepChannels(ctx context.Context, open []*live) error {
	waiting := map[channelOf][]*live{}
	for _, l := range open {
		waiting[l.channelOf()] = append(waiting[l.channelOf()], l)
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

// orderStream is the log of what was ordered to be put into a channel.
func orderStream(id channels.ID) string { return "funding/" + id.String() }

// fundings are the orders to fund a channel that the chain does not show yet: above its count.
func (c *Connect) fundings(ctx context.Context, id channels.ID, done uint64) ([]funding, error) {
	var all []funding
	err := c.Store.View(ctx, func(r *store.Reader) error {
		stored, err := r.Load(orderStream(id), 0)
		if err != nil {
			return err
		}
		all = nil
		for _, e := range stored {
			f, err := decodeFunding(e.Body)
			if err != nil {
				return fmt.Errorf("%s, event %d: %w", orderStream(id), e.Sequence, err)
			}
			if f.Number > done {
				all = append(all, f)
			}
		}
		return nil
	})
	return all, err
}

// Order does what an operator wants of a channel, in the background. A funding is kept until the chain
// has it; a release and a close are tried once, and where the other bank does not agree to close, this
// bank closes alone. The refusal of a release is told.
func (c *Connect) Order(
	ctx context.Context, id channels.ID, o Order, raw []byte, key string,
) (replayed bool, err error) {
	if _, err := c.Channel(ctx, id); err != nil {
		return false, err
	}
	if key, err = checkKey("order/", key); err != nil {
		return false, err
	}
	t, in := c.teller(id), tellerInput{reply: make(chan error, 1)}
	switch o := o.(type) {
	case FundOrder:
		in.fund = &funding{Amount: o.Amount}
	case ReleaseOrder:
		in.ask = channels.Release{Amount: o.Amount}
	case CloseOrder:
		in.ask, in.close = channels.Settlement{}, true
	}
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		replayed = false
		stream, _, err := standingUnder(tx, key, raw)
		if err != nil {
			return err
		}
		if stream != "" {
			replayed = true
			return nil
		}
		if in.fund != nil {
			if err := t.order(tx, in.fund); err != nil {
				return err
			}
		}
		return standUnder(tx, key, raw, orderStream(id), 1)
	})
	if err != nil || replayed {
		return replayed, err
	}
	t.tell(in)
	select {
	case err := <-in.reply:
		return false, err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// order numbers a funding and keeps it.
func (t *teller) order(tx *store.Tx, f *funding) error {
	stored, err := tx.Load(orderStream(t.id), 0)
	if err != nil {
		return err
	}
	f.Number = t.shown.Load().Fundings[t.own] + 1
	if n := len(stored); n > 0 {
		last, err := decodeFunding(stored[n-1].Body)
		if err != nil {
			return err
		}
		f.Number = max(f.Number, last.Number+1)
	}
	return tx.Append(orderStream(t.id), int64(len(stored)), store.Event{Kind: "fund", Body: f.encode()})
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
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b *Channel) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all, nil
}

// Channel is one of the bank's channels, or CodeNoChannel. The caller does not change it.
func (c *Connect) Channel(ctx context.Context, id channels.ID) (*Channel, error) {
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	if t := c.teller(id); t != nil {
		if shown := t.shown.Load(); shown != nil {
			return shown, nil
		}
	}
	return nil, refuse(CodeUnknownChannel, "", "this bank knows no channel of that id", nil)
}

// Open opens a channel, in the background: both banks, then the asset's Validators sign it, and the
// chain decides. The same pair and asset have one at a time, so a repetition opens the same one. It is
// refused where the bank has no business (CodeAsset, CodeParty).
func (c *Connect) Open(
	ctx context.Context, o Opening, raw []byte, key string,
) (id channels.ID, replayed bool, err error) {
	if err := c.ready(ctx); err != nil {
		return id, false, err
	}
	if key, err = checkKey("open/", key); err != nil {
		return id, false, err
	}
	j, err := c.opening(&o)
	if err != nil {
		return id, false, err
	}
	err = c.Store.Update(ctx, func(tx *store.Tx) error {
		id, replayed = j.Channel, false
		stream, _, err := standingUnder(tx, key, raw)
		if err != nil {
			return err
		}
		if j.Counter, err = tx.Count(openingsRecord); err != nil {
			return err
		}
		if stream != "" {
			replayed = true
			return id.UnmarshalText([]byte(stream[len("channel/"):]))
		}
		return standUnder(tx, key, raw, channelStream(id), 1)
	})
	if err != nil || replayed {
		return id, replayed, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if running := c.running; running != nil {
		c.tasks.Go(func() {
			if err := c.openChannel(running, j); err != nil && running.Err() == nil {
				c.Log.ErrorContext(running, "a channel is not opened", slog.String("channel", j.Channel.String()),
					slog.String("cause", err.Error()))
			}
		})
	}
	return id, false, nil
}

// opening is the joint action that opens the next channel with a bank.
func (c *Connect) opening(o *Opening) (*channels.Joint, error) {
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

// openChannel has a joint action that opens a channel signed, and hands it in.
func (c *Connect) openChannel(ctx context.Context, j *channels.Joint) error {
	open, ok := j.Do.(channels.Open)
	if !ok {
		return fmt.Errorf("%T: %w", j.Do, errInput)
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
	return c.join(ctx, roster, r, func() (bool, error) {
		_, err := c.Chain.View(j.Channel, nil)
		if errors.Is(err, state.ErrUnknown) {
			return false, nil
		}
		return err == nil, err
	})
}

// signOpening signs what opens a channel, once for each counter of its proposer: anything else under
// that is refused.
func (c *Connect) signOpening(
	ctx context.Context, roster *cosi.Roster, j *channels.Joint,
) (cosi.Signature, error) {
	frame := j.Frame(c.Bank.Genesis.Network(), roster.Root())
	name, encoded := fmt.Sprintf("opening/%s/%s/%d", j.Channel, j.Proposer, j.Counter), frame.Encode()
	err := c.Store.Update(ctx, func(tx *store.Tx) error {
		signed, err := tx.Get(name)
		if err == nil && signed != nil && !bytes.Equal(signed, encoded[:]) {
			err = refuse(channels.T0.Code(), "DU01", "T0: another opening was signed under that counter", nil)
		}
		if err != nil {
			return err
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
func (c *Connect) agreeToOpen(ctx context.Context, from cypherlink.ParticipantID, body []byte) ([]byte, error) {
	r, err := DecodeJoinRequest(body)
	if err != nil {
		return nil, malformed(err)
	}
	open, ok := r.Joint.Do.(channels.Open)
	if !ok {
		return nil, refuse(channels.T0.Code(), "FF01", "T0: the joint action opens no channel", nil)
	}
	want, err := c.opening(&Opening{Peer: from, Asset: open.Asset})
	if err != nil {
		return nil, err
	}
	own := want.Proposer
	want.Proposer, want.Counter, want.ValidUntil = own.Other(), r.Joint.Counter, r.Joint.ValidUntil
	if nameOfJoint(want) != nameOfJoint(&r.Joint) {
		return nil, refuse(channels.T0.Code(), "NARR", "T0: this bank opens channels on other conditions", nil)
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
