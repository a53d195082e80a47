package payment

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// talkBytes bounds the messages of one LaneTalk, in bytes, so that it fits in a call.
const talkBytes = MaxMessage - channels.MaxMessage

// about logs what another participant does against a rule.
func (t *teller) about(peer cypherlink.ParticipantID, rule string) *slog.Logger {
	log := t.tellers.Log.With(slog.String("channel", t.id.String()))
	return t.tellers.complaints.About(time.Now(), log, peer, rule)
}

// say signs what the party wants said and puts it into the outbox. What does not fit is lost as on any
// network, and the party says it again.
func (t *teller) say(all []channels.Message) {
	signed := make([]channels.Message, 0, len(all))
	for _, m := range all {
		if r, ok := m.(channels.Refusal); ok {
			t.about(t.peer, string(r.Rule.Code())).Warn("an update of the other bank is refused",
				slog.Any("slot", r.Slot), slog.String("cause", r.Text))
		}
		m, err := t.sign(m)
		if err != nil {
			t.log.Error("a message is not signed", slog.String("cause", err.Error()))
			return // what follows would come out of order
		}
		signed = append(signed, m)
	}
	if len(signed) == 0 {
		return
	}
	select {
	case t.outbound <- signed:
	default:
		t.about(t.peer, "deaf").Warn("the other bank takes nothing; messages are lost",
			slog.Int("messages", len(signed)))
	}
}

// sign puts this bank's signature into a message. The party has made its slot durable.
func (t *teller) sign(m channels.Message) (channels.Message, error) {
	var err error
	switch m := m.(type) {
	case channels.Offer:
		m.Entry.Peer, err = t.signUpdate(m.Entry.Update.Frame(t.network()))
		return m, err
	case channels.Countersignature:
		m.Payee, err = t.signUpdate(cosi.Frame{
			Type: cosi.LaneUpdate, Network: t.network(), Scope: channels.LaneScope(t.id, t.own.Other()),
			Sequence: uint64(m.Slot.Gen)<<32 | uint64(m.Slot.Seq), Payload: m.Hash,
		})
		return m, err
	case channels.Proposal:
		m.Share, err = t.signJoint(&m.Joint)
		return m, err
	case channels.Consent:
		m.Share, err = t.signJoint(&m.Joint)
		return m, err
	case channels.Refusal, channels.Resync, channels.Secret, channels.Failure:
	}
	return m, nil
}

func (t *teller) network() cypherlink.NetworkID { return t.tellers.Genesis.Network() }

func (t *teller) signUpdate(f cosi.Frame) ([64]byte, error) {
	return t.tellers.LaneSigner.SignRecorded(f)
}

func (t *teller) signJoint(j *channels.Joint) (cosi.Signature, error) {
	roster, err := t.roster()
	if err != nil {
		return cosi.Signature{}, err
	}
	return t.tellers.JointSigner.SignRecorded(j.Frame(t.network(), roster.Root()))
}

// jointRoster keeps who signs a channel's joint actions, by the registry for which it was made.
type jointRoster struct {
	mu       sync.Mutex
	registry *chain.Registry
	made     *cosi.Roster
}

// roster is who signs this channel's joint actions now.
func (t *teller) roster() (*cosi.Roster, error) {
	now := t.tellers.Chain.Registry().Registry
	t.joint.mu.Lock()
	defer t.joint.mu.Unlock()
	if t.joint.registry == now {
		return t.joint.made, nil
	}
	made, err := state.JointRoster(now, t.banks, t.asset)
	if err == nil {
		t.joint.registry, t.joint.made = now, made
	}
	return made, err
}

// jointHash names a joint action.
func jointHash(m channels.Message) cypherlink.Hash {
	var j channels.Joint
	switch m := m.(type) {
	case channels.Proposal:
		j = m.Joint
	case channels.Consent:
		j = m.Joint
	default:
	}
	return nameOfJoint(&j)
}

func nameOfJoint(j *channels.Joint) cypherlink.Hash {
	w := wire.NewWriter(512)
	j.AppendWire(w)
	return wire.Sum("cypherlink/joint-name/v1", w.Bytes())
}

// speak is the outbox's goroutine: it calls the other bank with as much as fits, in order.
func (t *teller) speak(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case all := <-t.outbound:
			for more := true; more; {
				select {
				case next := <-t.outbound:
					all = append(all, next...)
				default:
					more = false
				}
			}
			t.call(ctx, all)
		}
	}
}

func (t *teller) call(ctx context.Context, all []channels.Message) {
	for len(all) > 0 {
		n, size := 0, 0
		for n < len(all) && n < maxLaneMessages && size < talkBytes {
			size += len(channels.EncodeMessage(all[n]))
			n++
		}
		talk := LaneTalk{Channel: t.id, Messages: all[:n]}
		all = all[n:]
		call, cancel := context.WithTimeout(ctx, callPatience*t.tellers.Lanes.Resend)
		_, err := t.tellers.Peers.Call(call, t.peer, KindLane, talk.Encode())
		cancel()
		if err != nil && ctx.Err() == nil {
			t.about(t.peer, "unreached").WarnContext(ctx, "the other bank is not reached",
				slog.String("cause", err.Error()))
			return // what follows makes no sense without it; the party says it again
		}
	}
}

// heardFrom takes a talk of the other bank, of so many bytes, if there is room for it. Shares on joint
// actions are verified here, off the teller's goroutine.
func (t *teller) heardFrom(talk *LaneTalk, bytes int) error {
	if !t.room(bytes) {
		return refuse(CodeUnready, "ED06", "this bank has not taken yet what was said before", nil)
	}
	for _, m := range talk.Messages {
		in := tellerInput{message: m}
		switch m := m.(type) {
		case channels.Proposal:
			share := m.Share
			in.share = (*cosi.Signature)(&share)
			if err := t.verifyShare(&m.Joint, share); err != nil {
				return err
			}
		case channels.Consent:
			share := m.Share
			in.share = (*cosi.Signature)(&share)
			if err := t.verifyShare(&m.Joint, share); err != nil {
				return err
			}
		default:
		}
		t.tell(in)
	}
	return nil
}

func (t *teller) verifyShare(j *channels.Joint, share cosi.Signature) error {
	roster, err := t.roster()
	if err != nil {
		return err
	}
	index, _ := roster.Index(t.peer)
	if err := roster.VerifyShare(j.Frame(t.network(), roster.Root()), index, share); err != nil {
		return refuse(channels.L9.Code(), "DS0B", "L9: the signature on the joint action is wrong", err)
	}
	return nil
}
