package payment

import (
	"fmt"

	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// maxLaneMessages bounds the messages of one LaneTalk.
const maxLaneMessages = 64

// LaneTalk is what one bank's side of a channel says to the other's, in its order.
type LaneTalk struct {
	Channel  channels.ID
	Messages []channels.Message
}

// Encode is the canonical form.
func (t *LaneTalk) Encode() []byte {
	w := wire.NewWriter(4096)
	w.Fixed(t.Channel[:])
	w.U32(uint32(len(t.Messages))) //nolint:gosec // at most maxLaneMessages
	for _, m := range t.Messages {
		w.Var(channels.EncodeMessage(m))
	}
	return w.Bytes()
}

// DecodeLaneTalk takes exactly the form of Encode, of 1 to maxLaneMessages messages; otherwise
// ErrMessage.
func DecodeLaneTalk(raw []byte) (*LaneTalk, error) {
	r := wire.NewReader(raw)
	var t LaneTalk
	r.Fixed(t.Channel[:])
	for n := r.Count(maxLaneMessages, 5); n > 0 && r.Err() == nil; n-- {
		encoded := r.Var(channels.MaxMessage)
		if r.Err() != nil {
			break
		}
		m, err := channels.DecodeMessage(encoded)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMessage, err)
		}
		t.Messages = append(t.Messages, m)
	}
	if r.Err() == nil && len(t.Messages) == 0 {
		r.Fail(fmt.Errorf("no messages: %w", ErrMessage))
	}
	return &t, finish(r)
}
