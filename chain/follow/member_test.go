package follow_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
)

func identity(t *testing.T) peer.Identity {
	t.Helper()
	id, err := peer.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// serve is a process that answers the calls of follow.Wire on loopback, and a connection to it.
func serve(
	t *testing.T, answer func(ctx context.Context, kind uint8, body []byte) ([]byte, error),
) *follow.Member {
	t.Helper()
	server, client := identity(t), identity(t)
	l, err := peer.Listen(t.Context(), "127.0.0.1:0", server, slog.New(slog.DiscardHandler), peer.Service{
		Protocol: follow.Wire(), MaxConns: 4, MaxCalls: 4,
		Accept: func(pin peer.SPKI) bool { return pin == client.SPKI() },
		Answer: func(ctx context.Context, _ peer.SPKI, kind uint8, body []byte) ([]byte, error) {
			return answer(ctx, kind, body)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := follow.DialMember("one", l.Addr().String(), server.SPKI(), client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(m.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestFollowOverTLS(t *testing.T) {
	c := newCommittee(t)
	w := c.World
	p := w.Payment("one", 100, start+60)
	m := serve(t, func(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
		if kind != follow.KindFetch {
			return nil, errors.New("another kind")
		}
		call, err := follow.DecodeFetch(body)
		if err != nil {
			return nil, err
		}
		b, err := c.answer(ctx, call)
		return b.Encode(), err
	})
	o := c.options(state.NewMemory())
	o.Sources = []follow.Source{m}
	f, stop := following(t, o)
	c.block(t, 1, w.Prepare(p))
	c.block(t, 2, w.Confirm(w.Bob, p))
	reach(t, f, 2)
	if r := receipt(t, f, w.ID(p)); r.Custody.State != ledger.Confirmed {
		t.Fatalf("receipt %+v", r)
	}
	if err := stop(); err != nil || m.Name() != "one" {
		t.Fatal(err)
	}
}

func TestFetchThatFails(t *testing.T) {
	m := serve(t, func(context.Context, uint8, []byte) ([]byte, error) { return []byte{9}, nil })
	if _, err := m.Fetch(t.Context(), follow.Fetch{}); !errors.Is(err, follow.ErrMessage) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Fetch(ctx, follow.Fetch{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
