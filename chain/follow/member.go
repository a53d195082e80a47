package follow

import (
	"context"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink/internal/peer"
)

// Wire is the protocol between members and participants, as package peer runs it.
func Wire() peer.Protocol {
	p := peer.DefaultProtocol(Protocol)
	p.MaxBody = MaxMessage
	return p
}

// Member is the connection to one member of the committee, as far as following goes. Whoever
// also submits has a submit.Member.
type Member struct {
	name   string
	client *peer.Client
}

// DialMember starts the connection to the member that listens on addr and has the key pin. It
// returns at once and connects in the background.
func DialMember(name, addr string, pin peer.SPKI, id peer.Identity) (*Member, error) {
	client, err := peer.Dial(addr, pin, id, Wire())
	if err != nil {
		return nil, fmt.Errorf("member %s: %w", name, err)
	}
	return NewMember(name, client), nil
}

// NewMember is the member behind a client of Wire, which it closes with itself.
func NewMember(name string, client *peer.Client) *Member { return &Member{name, client} }

// Name implements Source.
func (m *Member) Name() string { return m.name }

// Close ends the connection.
func (m *Member) Close() error { return m.client.Close() }

// Fetch implements Source. It waits for the answer a little longer than the member may hold it
// back.
func (m *Member) Fetch(ctx context.Context, call Fetch) (Blocks, error) {
	patience := time.Duration(call.WaitMS)*time.Millisecond + peer.DefaultWait
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := m.client.Call(ctx, KindFetch, call.Encode())
	if err != nil {
		return Blocks{}, fmt.Errorf("member %s: %w", m.name, err)
	}
	return DecodeBlocks(answer)
}
