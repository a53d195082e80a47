package member

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/internal/peer"
)

// errStopped is what callers are told of a member that has ended.
var errStopped = errors.New("member: stopped")

// participants is the service for everybody in the final registry who is not revoked: who enters it
// may connect, and who is revoked is cut off with its next message. A regulator's connection may
// fetch and nothing else, whoever signed what it brings.
func (m *Member) participants() peer.Service {
	return peer.Service{
		Protocol: follow.Wire(),
		Accept: func(pin peer.SPKI) bool {
			_, ok := m.state.Registry().Pinned(cypherlink.Hash(pin))
			return ok
		},
		Answer: func(ctx context.Context, from peer.SPKI, kind uint8, body []byte) ([]byte, error) {
			p, ok := m.state.Registry().Pinned(cypherlink.Hash(from))
			if (!ok || p.Role == chain.RoleRegulator) && kind != follow.KindFetch {
				return nil, &cypherlink.Error{Code: CodeReader, Message: "a regulator only reads"}
			}
			return m.answer(ctx, kind, body)
		},
		MaxConns: m.limits.Connections, MaxCalls: m.limits.Calls,
	}
}

// CodeReader is the refusal of a regulator's call that is no fetch.
const CodeReader cypherlink.Code = "regulator_reads_only"

func (m *Member) answer(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	switch kind {
	case follow.KindSubmit:
		s, err := follow.DecodeSubmission(body)
		if err != nil {
			return nil, malformed(err)
		}
		outcome, err := m.submit(ctx, s)
		if err != nil {
			return nil, err
		}
		return outcome.Encode(), nil
	case follow.KindFetch:
		f, err := follow.DecodeFetch(body)
		if err != nil {
			return nil, malformed(err)
		}
		blocks, err := m.fetch(ctx, f)
		if err != nil {
			return nil, err
		}
		return blocks.Encode(), nil
	}
	return nil, malformed(fmt.Errorf("kind %d: %w", kind, follow.ErrMessage))
}

// CodeMalformed is the refusal of a call that is no message of the protocol.
const CodeMalformed cypherlink.Code = "message_malformed"

func malformed(err error) error {
	return &cypherlink.Error{
		Code: CodeMalformed, Reason: "FF01", Message: "not a message of this protocol", Err: err,
	}
}

// submit hands a transaction to the loop.
func (m *Member) submit(ctx context.Context, s follow.Submission) (follow.Outcome, error) {
	reply := make(chan answer, 1)
	select {
	case m.arrivals <- arrival{tx: s.Transaction, reply: reply, waits: s.WaitMS > 0}:
	case <-ctx.Done():
		return follow.Outcome{}, ctx.Err()
	case <-m.ended:
		return follow.Outcome{}, errStopped
	}
	var patience <-chan time.Time
	if s.WaitMS > 0 {
		timer := time.NewTimer(time.Duration(s.WaitMS) * time.Millisecond)
		defer timer.Stop()
		patience = timer.C
	}
	select {
	case a := <-reply:
		return a.outcome, a.err
	case <-patience:
		return follow.Outcome{Status: follow.Pending}, nil
	case <-ctx.Done():
		return follow.Outcome{}, ctx.Err()
	case <-m.ended:
		return follow.Outcome{}, errStopped
	}
}

// answerSize is how many bytes of blocks an answer gets before no other is added. A participant
// that asks and does not read makes a member hold as many answers as it allows calls.
const answerSize = 256 << 10

// fetch reads final blocks, once there is one.
func (m *Member) fetch(ctx context.Context, f follow.Fetch) (follow.Blocks, error) {
	timer := time.NewTimer(time.Duration(f.WaitMS) * time.Millisecond)
	defer timer.Stop()
	head, changed := m.news.latest()
	for waiting := f.WaitMS > 0; waiting && head < f.From; {
		select {
		case <-changed:
			head, changed = m.news.latest()
		case <-timer.C:
			waiting = false
		case <-ctx.Done():
			return follow.Blocks{}, ctx.Err()
		case <-m.ended:
			return follow.Blocks{}, errStopped
		}
	}
	answer := follow.Blocks{Head: head}
	size := 0
	for height := max(f.From, 1); height <= head && len(answer.Blocks) < follow.MaxBlocks; height++ {
		block, err := m.state.BlockAt(height)
		if err != nil {
			return follow.Blocks{}, err
		}
		proof, err := m.state.ProofAt(height)
		if err != nil {
			return follow.Blocks{}, err
		}
		size += block.Payload.Size() + chain.HeaderSize*(1+len(proof.Headers))
		if len(answer.Blocks) > 0 && size > answerSize {
			break
		}
		answer.Blocks = append(answer.Blocks, follow.FinalBlock{Block: block, Proof: proof})
	}
	return answer, nil
}
