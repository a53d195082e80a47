package payment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/terms"
)

// scanEvery is how often a bank looks for channels that are new on the chain.
const scanEvery = time.Second

// inChannels are payments that are in the bank's channels, and have no teller yet.
type inChannels map[channels.ID][]*live

// takeUpAll starts the tellers of the channels that there are, with the payments in them, and goes
// on with the openings that are wanted.
func (s *Tellers) takeUpAll(ctx context.Context, open []*live) (inChannels, error) {
	waiting := inChannels{}
	for _, l := range open {
		waiting[l.machine.lane.channel] = append(waiting[l.machine.lane.channel], l)
	}
	err := s.scan(ctx, waiting)
	if err == nil {
		err = s.wanted(ctx)
	}
	return waiting, err
}

// keep runs a teller for each of the institution's channels, until ctx ends.
func (s *Tellers) keep(ctx context.Context, waiting inChannels) error {
	for {
		changed := s.Chain.Changed()
		if err := errors.Join(s.scan(ctx, waiting), s.rebalance(ctx)); err != nil {
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
func (s *Tellers) scan(ctx context.Context, waiting inChannels) error {
	all, err := s.Chain.Channels()
	if err != nil {
		return err
	}
	for _, ch := range all {
		_, ours := ch.Side(s.ID)
		if !ours || s.kept(ch.ID) {
			continue
		}
		if err := s.startTeller(ctx, ch.ID, waiting[ch.ID]); err != nil {
			return fmt.Errorf("channel %s: %w", ch.ID, err)
		}
		delete(waiting, ch.ID)
	}
	return nil
}

// kept tells whether a channel has its teller, or needs none any more.
func (s *Tellers) kept(id channels.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	apart := s.apart[id]
	return s.tellers[id] != nil || apart != nil && apart.State == channels.Closed
}

// over shows a channel that needs no teller.
func (s *Tellers) over(ch *channels.Channel) {
	shown := &Channel{Channel: *ch}
	shown.Own, _ = ch.Side(s.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apart[ch.ID] = shown
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

func (s *Tellers) startTeller(ctx context.Context, id channels.ID, payments []*live) error {
	v, err := s.Chain.View(id, nil)
	if err != nil {
		return err
	}
	t, err := s.newTeller(ctx, &v)
	if err != nil {
		return err
	}
	if len(payments) == 0 && t.over() {
		s.over(&v.Channel)
		return nil
	}
	if t.ordered, err = s.ordered(ctx, id, v.Channel.Fundings[t.own]); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	running := s.running
	if running == nil || running.Err() != nil {
		return nil
	}
	s.tellers[id] = t
	s.tasks.Go(func() {
		if err := t.run(running, s.session, payments); err != nil && running.Err() == nil {
			s.fail(err)
		}
	})
	return nil
}

// teller is the teller of a channel, or nil.
func (s *Tellers) teller(id channels.ID) *teller {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tellers[id]
}

// channelWith is the teller of the open channel with a bank in an asset, or nil.
func (s *Tellers) channelWith(peer cypherlink.ParticipantID, asset cypherlink.Asset) *teller {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tellers {
		if shown := t.shown.Load(); t.peer == peer && t.asset == asset && shown != nil &&
			shown.State == channels.Opened {
			return t
		}
	}
	return nil
}

// across is the teller of the open channel with who is at the other end of a leg, or nil.
func (s *Tellers) across(leg *terms.Leg) *teller {
	peer := leg.Credit.Owner
	if peer == s.ID {
		peer = leg.Debit.Owner
	}
	return s.channelWith(peer, leg.Asset)
}

// peersIn are the banks with which this one has an open channel in an asset; no clearing banks, which keep
// no customers' accounts.
func (s *Tellers) peersIn(asset cypherlink.Asset) []cypherlink.ParticipantID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var peers []cypherlink.ParticipantID
	for _, t := range s.tellers {
		shown, peer := t.shown.Load(), s.role(t.peer)
		if t.asset == asset && shown != nil && shown.State == channels.Opened && peer == chain.RoleBank {
			peers = append(peers, t.peer)
		}
	}
	return peers
}

func (s *Tellers) role(id cypherlink.ParticipantID) chain.Role {
	if p, ok := s.Genesis.Participant(id); ok {
		return p.Role
	}
	return ""
}

// enter hands a payment whose money is held to the teller of its channel; false if there is none.
func (s *Tellers) enter(l *live) bool {
	t := s.teller(l.machine.lane.channel)
	if t == nil {
		return false
	}
	t.tell(tellerInput{pay: l})
	return true
}

// talked takes what the other bank of a channel says. What is refused before its teller hears of it the
// operator is told by whoever serves the call, as of every call.
func (s *Tellers) talked(from cypherlink.ParticipantID, body []byte) error {
	talk, err := DecodeLaneTalk(body)
	if err != nil {
		return malformed(err)
	}
	t := s.teller(talk.Channel)
	switch {
	case t == nil:
		return refuse(CodeUnready, "ED06", "the channel is not taken up here yet", nil)
	case t.peer != from:
		return refuse(CodeParty, "AGNT", "the channel is of other banks", nil)
	}
	return t.heardFrom(talk, len(body))
}

// Channels are the bank's channels, in the order of their ids.
func (s *Tellers) Channels(ctx context.Context) ([]*Channel, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var all []*Channel
	s.mu.Lock()
	for _, t := range s.tellers {
		if shown := t.shown.Load(); shown != nil {
			all = append(all, shown)
		}
	}
	for id, apart := range s.apart {
		if s.tellers[id] == nil {
			all = append(all, apart)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *Channel) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all, nil
}

// Channel is one of the bank's channels, or CodeNoChannel. The caller does not change it.
func (s *Tellers) Channel(ctx context.Context, id channels.ID) (*Channel, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	apart := s.apart[id]
	s.mu.Unlock()
	if t := s.teller(id); t != nil {
		if shown := t.shown.Load(); shown != nil {
			return shown, nil
		}
	}
	if apart != nil {
		return apart, nil
	}
	return nil, refuse(CodeNoChannel, "", "this bank knows no channel of that id", nil)
}
