package state

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// ChannelKey is where the state keeps a channel.
func ChannelKey(id channels.ID) []byte { return append([]byte{kindChannel}, id[:]...) }

// RevealKey is where the state keeps the preimage of a condition once it is revealed.
func RevealKey(c cypherlink.Condition) []byte { return append([]byte{kindReveal}, c[:]...) }

// pairKey is the open channel of two banks in an asset.
func pairKey(banks [2]cypherlink.ParticipantID, asset cypherlink.Asset) []byte {
	w := wire.NewWriter(MaxKey)
	w.U8(kindPair)
	w.Fixed(banks[0][:])
	w.Fixed(banks[1][:])
	asset.AppendWire(w)
	return w.Bytes()
}

// channelOfKey is a channel of a bank's that is not closed.
func channelOfKey(bank cypherlink.ParticipantID, id channels.ID) []byte {
	w := wire.NewWriter(65)
	w.U8(kindChannelOf)
	w.Fixed(bank[:])
	w.Fixed(id[:])
	return w.Bytes()
}

// dueKey sorts by the second at which time may change a channel, then by its id.
func dueKey(seconds int64, id channels.ID) []byte {
	key := expiryKey(seconds, ledger.CustodyID(id))
	key[0] = kindDue
	return key
}

// DecodeChannel reads the value under a ChannelKey; otherwise ErrRecord.
func DecodeChannel(b []byte) (*channels.Channel, error) {
	c, err := channels.DecodeChannel(b)
	if err != nil {
		return nil, recordError("channel", err)
	}
	return c, nil
}

// DecodeReveal reads the value under a RevealKey: block time in seconds, and the preimage; otherwise
// ErrRecord.
func DecodeReveal(b []byte) (seconds int64, preimage cypherlink.Preimage, err error) {
	r := wire.NewReader(b)
	seconds = r.I64()
	r.Fixed(preimage[:])
	if err := r.End(); err != nil {
		return 0, preimage, recordError("reveal", err)
	}
	return seconds, preimage, nil
}

// channelsOf lists a bank's channels that are not closed, in the order of their ids.
func (s *State) channelsOf(v *Version, bank cypherlink.ParticipantID) ([]channels.ID, error) {
	from := channelOfKey(bank, channels.ID{})
	to := channelOfKey(bank, channels.ID{})
	for i := range to[33:] {
		to[33+i] = 0xff
	}
	found := map[string]bool{}
	for at := v; at.parent != nil; at = at.parent {
		for key := range at.writes {
			if key[0] == kindChannelOf && bytes.HasPrefix([]byte(key), from[:33]) {
				found[key] = true
			}
		}
	}
	if err := s.store.Scan(stateKey(from), append(stateKey(to), 0), func(key, _ []byte) bool {
		found[string(key[1:])] = true
		return true
	}); err != nil {
		return nil, err
	}
	var ids []channels.ID
	for key := range found {
		_, ok, err := s.lookup(v, []byte(key))
		if err != nil {
			return nil, err
		}
		if ok {
			ids = append(ids, channels.ID([]byte(key)[33:]))
		}
	}
	slices.SortFunc(ids, func(a, b channels.ID) int { return bytes.Compare(a[:], b[:]) })
	return ids, nil
}

// Channel is a channel of the final state; ok tells whether there is one.
func (s *State) Channel(id channels.ID) (c *channels.Channel, ok bool, err error) {
	value, ok, err := s.store.Get(stateKey(ChannelKey(id)))
	if err != nil || !ok {
		return nil, false, err
	}
	c, err = DecodeChannel(value)
	return c, err == nil, err
}

// Channels calls yield with every channel of the final state, also closed ones, in the order of
// their ids, until it returns false.
func (s *State) Channels(yield func(*channels.Channel) bool) error {
	var bad error
	from, to := []byte{spaceState, kindChannel}, []byte{spaceState, kindChannel + 1}
	err := s.store.Scan(from, to, func(_, value []byte) bool {
		var c *channels.Channel
		if c, bad = DecodeChannel(bytes.Clone(value)); bad != nil {
			return false
		}
		return yield(c)
	})
	if err == nil {
		err = bad
	}
	return err
}

// ChannelEvent is the index of the first event of a channel from an index on; ErrUnknown if there is
// none.
func (s *State) ChannelEvent(id channels.ID, from uint64) (uint64, error) {
	key := func(index uint64) []byte {
		return slices.Concat([]byte{spaceChannel}, id[:], encodeIndex(index))
	}
	index, ok := uint64(0), false
	err := s.store.Scan(key(from), key(math.MaxUint64), func(found, _ []byte) bool {
		index, ok = wire.NewReader(found[1+len(id):]).U64(), true
		return false
	})
	if err == nil && !ok {
		err = fmt.Errorf("event of channel %s from %d: %w", id, from, ErrUnknown)
	}
	return index, err
}

// Reveal is the final reveal of a condition's preimage; ok tells whether there is one.
func (s *State) Reveal(c cypherlink.Condition) (r channels.Revealed, ok bool, err error) {
	value, ok, err := s.store.Get(stateKey(RevealKey(c)))
	if err != nil || !ok {
		return r, false, err
	}
	r.S, r.Preimage, err = DecodeReveal(value)
	return r, err == nil, err
}

// ChannelFact tells that a channel came to where it is here: by that participant, or where By is
// zero by both banks together or by time.
type ChannelFact struct {
	By      cypherlink.ParticipantID
	Channel channels.Channel
}

// Subject is the channel.
func (f ChannelFact) Subject() cypherlink.Hash { return cypherlink.Hash(f.Channel.ID) }

func (f ChannelFact) kind() uint8 { return factChannel }

func (f ChannelFact) appendWire(w *wire.Writer) {
	w.Fixed(f.By[:])
	w.Var(f.Channel.Encode())
}

func readChannelFact(r *wire.Reader) Fact {
	var f ChannelFact
	r.Fixed(f.By[:])
	raw := r.Var(MaxValue)
	if r.Err() != nil {
		return f
	}
	c, err := channels.DecodeChannel(raw)
	if err != nil {
		r.Fail(err)
		return f
	}
	f.Channel = *c
	return f
}

// RevealFact tells that a preimage was revealed first at this event's block time.
type RevealFact struct{ Preimage cypherlink.Preimage }

// Subject is the condition.
func (f RevealFact) Subject() cypherlink.Hash { return cypherlink.Hash(f.Preimage.Condition()) }

func (f RevealFact) kind() uint8 { return factReveal }

func (f RevealFact) appendWire(w *wire.Writer) { w.Fixed(f.Preimage[:]) }

func readRevealFact(r *wire.Reader) Fact {
	var f RevealFact
	r.Fixed(f.Preimage[:])
	return f
}
