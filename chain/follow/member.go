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

// Member is the connection to one member of the committee.
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
	return &Member{name: name, client: client}, nil
}

// Name implements Source.
func (m *Member) Name() string { return m.name }

// Close ends the connection.
func (m *Member) Close() error { return m.client.Close() }

// Fetch implements Source.
func (m *Member) Fetch(ctx context.Context, call Fetch) (Blocks, error) {
	answer, err := m.call(ctx, KindFetch, call.Encode(), call.WaitMS)
	if err != nil {
		return Blocks{}, err
	}
	return DecodeBlocks(answer)
}

// Submit hands a transaction to the member. ErrMessage says that the answer is none; any
// other error, that the member may or may not have it.
func (m *Member) Submit(ctx context.Context, call Submission) (Outcome, error) {
	answer, err := m.call(ctx, KindSubmit, call.Encode(), call.WaitMS)
	if err != nil {
		return Outcome{}, err
	}
	return DecodeOutcome(answer)
}

// call asks, and waits for the answer a little longer than the member may hold it back.
func (m *Member) call(ctx context.Context, kind uint8, body []byte, waitMS uint32) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(waitMS)*time.Millisecond+peer.DefaultWait)
	defer cancel()
	answer, err := m.client.Call(ctx, kind, body)
	if err != nil {
		return nil, fmt.Errorf("member %s: %w", m.name, err)
	}
	return answer, nil
}
