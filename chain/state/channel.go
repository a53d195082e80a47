package state

import (
	"fmt"
	"maps"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// maxDue bounds the channels that time changes in one block.
const maxDue = 4096

// ChannelAction is what one participant asks of the chain about channels. Who is suspended may end
// what there is: everything but Fund.
type ChannelAction struct{ Signed *channels.SignedAction }

// Sender is the signer.
func (a ChannelAction) Sender() cypherlink.ParticipantID { return a.Signed.Signer }

// Subject is the channel, or the condition whose preimage is revealed.
func (a ChannelAction) Subject(cypherlink.NetworkID) cypherlink.Hash {
	if r, ok := a.Signed.Action.(channels.Reveal); ok {
		return cypherlink.Hash(r.Preimage.Condition())
	}
	return cypherlink.Hash(a.Signed.Action.Of())
}

func (a ChannelAction) kind() uint8 { return bodyAction }

func (a ChannelAction) encode() []byte { return a.Signed.Encode() }

func (a ChannelAction) apply(s *State, v *Version) error {
	if r, ok := a.Signed.Action.(channels.Reveal); ok {
		return s.reveal(v, r.Preimage)
	}
	c, err := s.channel(v, a.Signed.Action.Of())
	if err != nil {
		return err
	}
	if c == nil {
		return refuseChannel(channels.T0, "ED05", "there is no channel %s", a.Signed.Action.Of())
	}
	before := *c
	moves, err := c.Apply(s.channelRules(v), blockTime(v), a.Signed.Signer, a.Signed.Action)
	if err != nil {
		return err
	}
	return s.change(v, &before, c, moves, a.Signed.Signer)
}

// ChannelJoint is what both banks of a channel, and its asset's Validators, ask of the chain.
type ChannelJoint struct {
	Joint       channels.Joint
	Certificate cosi.Certificate
}

// Sender is the channel: what both banks sign has a place of its own in a pool.
func (j ChannelJoint) Sender() cypherlink.ParticipantID {
	return cypherlink.ParticipantID(j.Joint.Channel)
}

// Subject is the channel.
func (j ChannelJoint) Subject(cypherlink.NetworkID) cypherlink.Hash {
	return cypherlink.Hash(j.Joint.Channel)
}

func (j ChannelJoint) kind() uint8 { return bodyJoint }

func (j ChannelJoint) encode() []byte {
	w := wire.NewWriter(1024)
	j.Joint.AppendWire(w)
	j.Certificate.AppendWire(w)
	return w.Bytes()
}

func decodeJoint(b []byte) (Body, error) {
	r := wire.NewReader(b)
	j := ChannelJoint{Joint: channels.ReadJoint(r), Certificate: cosi.ReadCertificate(r)}
	return j, r.End()
}

func (j ChannelJoint) apply(s *State, v *Version) error {
	c, err := s.channel(v, j.Joint.Channel)
	if err != nil {
		return err
	}
	open, opens := j.Joint.Do.(channels.Open)
	switch {
	case c == nil && !opens:
		return refuseChannel(channels.T0, "ED05", "there is no channel %s", j.Joint.Channel)
	case c != nil && opens:
		return ledger.ErrRepeated
	case opens:
		return s.open(v, &j, &open)
	}
	before := *c
	moves, err := c.Together(s.channelRules(v), blockTime(v), &j.Joint)
	if err != nil {
		return err
	}
	if err := s.authenticate(v, &j, c.Banks, c.Asset); err != nil {
		return err // the dearest check comes last
	}
	return s.change(v, &before, c, moves, cypherlink.ParticipantID{})
}

// open opens a channel (T0): there is one of a pair of banks and an asset at a time.
func (s *State) open(v *Version, j *ChannelJoint, o *channels.Open) error {
	if _, ok := v.rules.charter.Policies[o.Asset]; !ok {
		return refuseChannel(channels.T0, "AM03", "the chain does not carry %s", o.Asset)
	}
	c, err := channels.New(s.channelRules(v), blockTime(v), &j.Joint)
	if err != nil {
		return err
	}
	pair := pairKey(c.Banks, c.Asset)
	if id, ok, err := s.lookup(v, pair); err != nil {
		return err
	} else if ok {
		return refuseChannel(channels.T0, "ED05", "the banks have channel %x in %s", id, c.Asset)
	}
	if err := s.authenticate(v, j, o.Banks, o.Asset); err != nil {
		return err
	}
	v.writes[string(pair)] = c.ID[:]
	for _, bank := range c.Banks {
		v.writes[string(channelOfKey(bank, c.ID))] = []byte{}
	}
	return s.change(v, nil, c, channels.Moves{}, cypherlink.ParticipantID{})
}

// authenticate verifies the certificate of a joint action: of both banks, neither of which is
// revoked, and of as many of the asset's Validators as its policy asks for.
func (s *State) authenticate(
	v *Version, j *ChannelJoint, banks [2]cypherlink.ParticipantID, asset cypherlink.Asset,
) error {
	_, opens := j.Joint.Do.(channels.Open)
	for _, bank := range banks {
		switch _, status := v.rules.roll.Signer(bank); {
		case status == ledger.Unknown:
			return refuse(ledger.CodeUnknownSigner, "DS0E", fmt.Sprintf("bank %s is not registered", bank))
		case status == ledger.Revoked:
			return refuse(ledger.CodeRevoked, "DS0C", fmt.Sprintf("bank %s is revoked", bank))
		case status != ledger.Active && opens:
			return refuse(ledger.CodeSuspended, "AG10", fmt.Sprintf("bank %s is %s", bank, status))
		}
	}
	roster, err := s.jointRoster(v.rules, banks, asset)
	if err != nil {
		return err
	}
	if err := roster.Verify(j.Joint.Frame(s.base.Network, roster.Root()), j.Certificate); err != nil {
		return &cypherlink.Error{
			Code: channels.T0.Code(), Reason: "DS0B", Err: err,
			Message: "T0: the certificate is not that of both banks and the asset's Validators",
		}
	}
	s.rosters.of[jointKey{banks, asset}] = roster // not before: who forges fills no memory
	return nil
}

// rosters are those of joint actions that were made, by a registry: each remembers the certificates
// that were right.
type rosters struct {
	registry *chain.Registry
	of       map[jointKey]*cosi.Roster
}

type jointKey struct {
	banks [2]cypherlink.ParticipantID
	asset cypherlink.Asset
}

// jointRoster is who signs the joint actions of two banks in an asset.
func (s *State) jointRoster(
	r *rules, banks [2]cypherlink.ParticipantID, asset cypherlink.Asset,
) (*cosi.Roster, error) {
	if s.rosters.registry != r.roll.Registry {
		s.rosters = rosters{registry: r.roll.Registry, of: map[jointKey]*cosi.Roster{}}
	}
	key := jointKey{banks, asset}
	if roster, ok := s.rosters.of[key]; ok {
		return roster, nil
	}
	roster, err := JointRoster(r.roll.Registry, banks, asset)
	if err != nil {
		return nil, refuse(channels.T0.Code(), "ED05", "T0: "+err.Error())
	}
	return roster, nil
}

// JointRoster is who signs the joint actions of two banks in an asset, by a registry: both of them,
// and as many of the asset's Validators as its policy asks for.
func JointRoster(
	r *chain.Registry, banks [2]cypherlink.ParticipantID, asset cypherlink.Asset,
) (*cosi.Roster, error) {
	policy, _ := r.Policy(asset)
	members := make([]cosi.Member, 0, 2+len(policy.Validators))
	for _, id := range append(banks[:2:2], policy.Validators...) {
		rec, ok := r.Participant(id)
		if !ok {
			return nil, fmt.Errorf("participant %s is not registered", id)
		}
		members = append(members, cosi.Member{ID: id, Key: rec.Key})
	}
	return channels.JointRoster([2]cosi.Member{members[0], members[1]}, members[2:], policy.Threshold)
}

func blockTime(v *Version) channels.Time { return channels.Time{S: v.timeMS / 1000, Height: v.height} }

func refuseChannel(rule channels.Rule, reason, format string, args ...any) error {
	return &cypherlink.Error{
		Code: rule.Code(), Reason: reason, Message: string(rule) + ": " + fmt.Sprintf(format, args...),
	}
}

// channelRules are those of a block in the making. What goes wrong in the store is kept, and told
// when the effect is written.
func (s *State) channelRules(v *Version) *channels.Rules {
	return &channels.Rules{
		Network: s.base.Network, Verify: s.base.Verifier,
		Signers: func(c *channels.Channel, lane channels.Side) channels.Signers {
			return v.rules.signers(c, lane)
		},
		Revealed: func(c cypherlink.Condition) (int64, bool) {
			value, ok, err := s.lookup(v, RevealKey(c))
			if err != nil || !ok {
				v.broken = firstError(v.broken, err)
				return 0, false
			}
			seconds, _, err := DecodeReveal(value)
			v.broken = firstError(v.broken, err)
			return seconds, err == nil
		},
	}
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// signers are the keys of a lane's next generation.
func (r *rules) signers(c *channels.Channel, lane channels.Side) channels.Signers {
	policy := r.charter.Policies[c.Asset]
	out := channels.Signers{Threshold: uint8(policy.Threshold)} //nolint:gosec // at most MaxValidators
	out.Payer, _ = r.roll.Signer(c.Banks[lane])
	out.Payee, _ = r.roll.Signer(c.Banks[lane.Other()])
	for _, id := range policy.Validators {
		key, _ := r.roll.Signer(id)
		out.Validators = append(out.Validators, channels.ValidatorKey{ID: id, Key: key})
	}
	return out
}

// channel is the channel in a block in the making, nil if there is none.
func (s *State) channel(v *Version, id channels.ID) (*channels.Channel, error) {
	value, ok, err := s.lookup(v, ChannelKey(id))
	if err != nil || !ok {
		return nil, err
	}
	return DecodeChannel(value)
}

// reveal puts a preimage on the chain; the first one counts, and stays (T8).
func (s *State) reveal(v *Version, preimage cypherlink.Preimage) error {
	condition := preimage.Condition()
	key := RevealKey(condition)
	if _, ok, err := s.lookup(v, key); err != nil {
		return err
	} else if ok {
		return ledger.ErrRepeated
	}
	w := wire.NewWriter(40)
	w.I64(v.timeMS / 1000)
	w.Fixed(preimage[:])
	v.writes[string(key)] = w.Bytes()
	v.tell(RevealFact{preimage})
	return nil
}

// change writes a channel that has changed, moves what it moves, and tells. After an error nothing
// is written.
func (s *State) change(
	v *Version, before, after *channels.Channel, moves channels.Moves, by cypherlink.ParticipantID,
) error {
	if v.broken != nil {
		return v.broken
	}
	balances := map[string][]byte{}
	for i, move := range moves {
		if move == 0 {
			continue
		}
		account := after.Accounts[i]
		balance, _, err := book{s, v}.Balance(account, after.Asset)
		if err != nil {
			return err
		}
		if move < 0 {
			balance, err = balance.Sub(cypherlink.Amount(-move))
		} else {
			balance, err = balance.Add(cypherlink.Amount(move))
		}
		if err != nil {
			return refuseChannel(channels.T1, "AM04", "account %s does not cover %s", account,
				cypherlink.Amount(-move).Format(after.Asset.Scale))
		}
		balances[string(BalanceKey(account, after.Asset))] = encodeAmount(balance)
	}
	maps.Copy(v.writes, balances)
	s.schedule(v, before, after)
	if after.State == channels.Closed {
		v.writes[string(pairKey(after.Banks, after.Asset))] = nil
		for _, bank := range after.Banks {
			v.writes[string(channelOfKey(bank, after.ID))] = nil
		}
	}
	v.writes[string(ChannelKey(after.ID))] = after.Encode()
	v.tell(ChannelFact{By: by, Channel: *after})
	return nil
}

// schedule keeps the index of what time changes.
func (s *State) schedule(v *Version, before, after *channels.Channel) {
	if before != nil {
		if at, ok := before.Due(); ok {
			v.writes[string(dueKey(at, after.ID))] = nil
		}
	}
	if at, ok := after.Due(); ok {
		v.writes[string(dueKey(at, after.ID))] = []byte{}
	}
}

// expireChannels does what time does to channels at the beginning of a block.
func (s *State) expireChannels(v *Version) error {
	seconds := v.timeMS / 1000
	keys, err := s.dueKeys(v, dueKey(0, channels.ID{}), dueKey(seconds+1, channels.ID{}), maxDue)
	if err != nil {
		return err
	}
	for _, key := range keys {
		c, err := s.channel(v, channels.ID(expiryOf(key)))
		if err != nil {
			return err
		}
		if c == nil {
			return recordError(fmt.Sprintf("due channel %x", key), nil)
		}
		before := *c
		moves, changed := c.Expire(s.channelRules(v), blockTime(v))
		if !changed {
			continue
		}
		if err := s.change(v, &before, c, moves, cypherlink.ParticipantID{}); err != nil {
			return err
		}
	}
	return v.broken
}

// closeChannelsOf begins to close every open channel of a bank that is revoked.
func (s *State) closeChannelsOf(v *Version, bank cypherlink.ParticipantID) error {
	ids, err := s.channelsOf(v, bank)
	if err != nil {
		return err
	}
	for _, id := range ids {
		c, err := s.channel(v, id)
		if err != nil {
			return err
		}
		if c == nil {
			return recordError(fmt.Sprintf("channel %s", id), nil)
		}
		before := *c
		if c.State != channels.Opened {
			continue
		}
		moves, err := c.Apply(s.channelRules(v), blockTime(v), bank, channels.Close{Channel: id})
		if err != nil {
			return err
		}
		if err := s.change(v, &before, c, moves, cypherlink.ParticipantID{}); err != nil {
			return err
		}
	}
	return nil
}
