package submit_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/chain/submit"
	"github.com/cypherlink/cypherlink/internal/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func identity(t *testing.T) peer.Identity {
	t.Helper()
	id, err := peer.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

type answer = func(kind uint8, body []byte) ([]byte, error)

// dial is a connection to a process that answers the calls of follow.Wire on loopback.
func dial(t *testing.T, a answer) *submit.Member {
	t.Helper()
	server, client := identity(t), identity(t)
	l, err := peer.Listen(t.Context(), "127.0.0.1:0", server, slog.New(slog.DiscardHandler), peer.Service{
		Protocol: follow.Wire(), MaxConns: 4, MaxCalls: 4,
		Accept: func(pin peer.SPKI) bool { return pin == client.SPKI() },
		Answer: func(_ context.Context, _ peer.SPKI, kind uint8, body []byte) ([]byte, error) {
			return a(kind, body)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := submit.Dial("one", l.Addr().String(), server.SPKI(), client)
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

func TestSubmit(t *testing.T) {
	w := chaintest.New(t, nil).World
	tx := state.NewTransaction(state.Command{
		Signed: w.Prepare(w.Payment("one", 100, chaintest.Start/1000+60)),
	})
	reply := follow.Outcome{Status: follow.Final, Height: 7}.Encode()
	m := dial(t, func(kind uint8, body []byte) ([]byte, error) {
		if kind == follow.KindFetch {
			return follow.Blocks{Head: 3}.Encode(), nil
		}
		call, err := follow.DecodeSubmission(body)
		if kind != follow.KindSubmit || err != nil || call.WaitMS != 9 || call.Transaction.Hash != tx.Hash {
			return nil, &cypherlink.Error{Code: "test", Message: "another call"}
		}
		return reply, nil
	})
	got, err := m.Submit(t.Context(), follow.Submission{WaitMS: 9, Transaction: tx})
	if err != nil || got.Status != follow.Final || got.Height != 7 {
		t.Fatalf("%+v, %v", got, err)
	}
	blocks, err := m.Fetch(t.Context(), follow.Fetch{From: 1})
	if err != nil || blocks.Head != 3 || m.Name() != "one" {
		t.Fatalf("%+v, %v", blocks, err)
	}
	reply = []byte{9}
	_, err = m.Submit(t.Context(), follow.Submission{WaitMS: 9, Transaction: tx})
	if !errors.Is(err, follow.ErrMessage) {
		t.Fatal(err)
	}
	_, err = m.Submit(t.Context(), follow.Submission{Transaction: tx})
	if remote, ok := errors.AsType[*peer.RemoteError](err); !ok || remote.Code != "test" {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Submit(ctx, follow.Submission{WaitMS: 9, Transaction: tx})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
