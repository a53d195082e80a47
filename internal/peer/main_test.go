package peer_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink/internal/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet logs nothing.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// identity makes one or fails the test.
func identity(t testing.TB) peer.Identity {
	t.Helper()
	id, err := peer.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// server is a listener with its identity and the protocol of its service.
type server struct {
	*peer.Listener
	id       peer.Identity
	protocol peer.Protocol
}

// listen serves until the test ends. What the service leaves open is filled in: any peer, many
// connections and calls.
func listen(t testing.TB, s peer.Service) *server {
	t.Helper()
	if s.Name == "" {
		s.Protocol = peer.DefaultProtocol("test/1")
	}
	if s.Accept == nil {
		s.Accept = func(peer.SPKI) bool { return true }
	}
	if s.MaxConns == 0 {
		s.MaxConns = 16
	}
	if s.MaxCalls == 0 {
		s.MaxCalls = 128
	}
	id := identity(t)
	l, err := peer.Listen(t.Context(), "127.0.0.1:0", id, quiet(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return &server{l, id, s.Protocol}
}

// dial connects a new identity until the test ends.
func dial(t testing.TB, s *server, classes ...peer.Class) *peer.Client {
	t.Helper()
	return dialAs(t, s, identity(t), classes...)
}

func dialAs(t testing.TB, s *server, id peer.Identity, classes ...peer.Class) *peer.Client {
	t.Helper()
	c, err := peer.Dial(s.Addr().String(), s.id.SPKI(), id, s.protocol, classes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func pair(t testing.TB, s peer.Service, classes ...peer.Class) (*server, *peer.Client) {
	t.Helper()
	l := listen(t, s)
	return l, dial(t, l, classes...)
}

// echo answers with the request's body.
func echo(testing.TB) peer.Service {
	return peer.Service{
		Answer: func(_ context.Context, _ peer.SPKI, _ uint8, body []byte) ([]byte, error) {
			return body, nil
		},
	}
}

// call fails the test unless body comes back.
func call(t testing.TB, c *peer.Client, body []byte) {
	t.Helper()
	got, err := c.Call(t.Context(), 1, body)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes of %d came back: %v", len(got), len(body), err)
	}
}
