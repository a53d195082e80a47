package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/payment"
)

// talk is the protocol between institutions: banks, connectors and Validators.
func talk() peer.Protocol {
	p := peer.DefaultProtocol("cypherlink/connect/1")
	p.MaxBody = payment.MaxMessage + 4<<10 // and what an error may say
	return p
}

// The bounds of what others may ask of an institution at a time.
const (
	talkConnections = 256
	talkCalls       = 1024
)

// answer is an institution's side of the talk: from is the participant whose key the
// connection has shown.
type answer func(ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error)

// directory knows the participants of a network by their TLS keys, but for regulators: these read
// the chain and take no part in the talk.
type directory struct {
	genesis *chain.Genesis
	by      map[peer.SPKI]cypherlink.ParticipantID
}

func newDirectory(g *chain.Genesis) *directory {
	d := &directory{g, map[peer.SPKI]cypherlink.ParticipantID{}}
	for _, p := range g.File().Participants {
		if p.Role != chain.RoleRegulator {
			d.by[peer.SPKI(p.TLS)] = p.ID
		}
	}
	return d
}

// BIC is a bank's. It implements the directory of rules.Judge.
func (d *directory) BIC(id cypherlink.ParticipantID) (cypherlink.BIC, bool) {
	p, ok := d.genesis.Participant(id)
	if !ok || p.BIC.IsZero() {
		return cypherlink.BIC{}, false
	}
	return p.BIC, true
}

// serve listens for the talk of every participant.
func (d *directory) serve(
	ctx context.Context, addr string, own peer.Identity, log *slog.Logger, a answer,
) (*peer.Listener, error) {
	a = telling(log, a)
	return peer.Listen(ctx, addr, own, log, peer.Service{
		Protocol: talk(), MaxConns: talkConnections, MaxCalls: talkCalls,
		Accept: func(s peer.SPKI) bool { _, ok := d.by[s]; return ok },
		Answer: func(ctx context.Context, from peer.SPKI, kind uint8, body []byte) ([]byte, error) {
			id, ok := d.by[from]
			if !ok {
				return nil, peer.ErrRefused
			}
			return a(ctx, id, kind, body)
		},
	})
}

// telling is answer, but that the operator is told which peer's call is refused, and by which rule: also if
// the peer has hung up since.
func telling(log *slog.Logger, a answer) answer {
	var complaints payment.Complaints
	return func(ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error) {
		reply, err := a(ctx, from, kind, body)
		if _, refused := errors.AsType[*cypherlink.Error](err); refused || err != nil && ctx.Err() == nil {
			complaints.About(time.Now(), log, from, string(cypherlink.ErrorCode(err))).WarnContext(ctx,
				"a peer's call is refused", slog.Int("kind", int(kind)), slog.String("cause", err.Error()))
		}
		return reply, err
	}
}

// told gives a peer's refusal back as what it is: a refusal that the other means. What the
// other keeps to itself, and that it is busy, are no refusals of the question.
func told(err error) error {
	remote, ok := errors.AsType[*peer.RemoteError](err)
	if !ok || remote.Code == "internal" || remote.Code == peer.CodeBusy || remote.Code == peer.CodeTooLarge {
		return err
	}
	return &cypherlink.Error{Code: remote.Code, Reason: remote.Reason, Message: remote.Message}
}

// callers are the connections to other institutions, made when they are first needed. It
// implements payment.Peers.
type callers struct {
	own       peer.Identity
	genesis   *chain.Genesis
	addresses map[cypherlink.ParticipantID]string

	mu      sync.Mutex
	clients map[cypherlink.ParticipantID]*peer.Client
}

func newCallers(own peer.Identity, g *chain.Genesis, addresses map[cypherlink.ParticipantID]string) *callers {
	return &callers{
		own: own, genesis: g, addresses: addresses,
		clients: map[cypherlink.ParticipantID]*peer.Client{},
	}
}

// Call asks a participant.
func (c *callers) Call(ctx context.Context, to cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error) {
	client, err := c.client(to)
	if err != nil {
		return nil, err
	}
	reply, err := client.Call(ctx, kind, body)
	if err != nil {
		return nil, told(err)
	}
	return reply, nil
}

func (c *callers) client(to cypherlink.ParticipantID) (*peer.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.clients[to]; ok {
		return client, nil
	}
	p, ok := c.genesis.Participant(to)
	addr := c.addresses[to]
	if !ok || addr == "" {
		return nil, fmt.Errorf("no address of participant %s: %w", to, errConfig)
	}
	client, err := peer.Dial(addr, peer.SPKI(p.TLS), c.own, talk())
	if err != nil {
		return nil, err
	}
	c.clients[to] = client
	return client, nil
}

// Close ends all connections.
func (c *callers) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var first error
	for _, client := range c.clients {
		if err := client.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
