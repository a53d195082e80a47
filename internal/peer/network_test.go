package peer_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/internal/peer"
)

// network is a socket without an operating system, for tests in virtual time.
type network struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}

	mu    sync.Mutex
	dials []time.Time // when somebody dialled
	dead  bool        // nobody answers the door
	ends  []net.Conn  // the clients' ends
}

func newNetwork() *network {
	return &network{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case conn := <-n.conns:
		return conn, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error {
	n.once.Do(func() { close(n.done) })
	return nil
}

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "virtual"} }

func (n *network) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, time.Now())
	dead := n.dead
	n.mu.Unlock()
	if dead {
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	end := &holed{Conn: client}
	select {
	case n.conns <- server:
		n.mu.Lock()
		n.ends = append(n.ends, end)
		n.mu.Unlock()
		return end, nil
	case <-n.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// fall makes the last connection a black hole: both ends believe that it lives.
func (n *network) fall() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends[len(n.ends)-1].(*holed).fall()
}

// count is how often somebody has dialled.
func (n *network) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.dials)
}

// holed is a connection that can lose everything, in both directions, without an error.
type holed struct {
	net.Conn
	mu     sync.Mutex
	fallen bool
}

func (c *holed) fall() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fallen = true
}

func (c *holed) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fallen
}

func (c *holed) Write(b []byte) (int, error) {
	if c.lost() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *holed) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.lost() {
			return n, err
		}
	}
}

// virtual serves on a network of its own.
func virtual(t *testing.T, s peer.Service) (*network, *server) {
	t.Helper()
	if s.Name == "" {
		s.Protocol = peer.DefaultProtocol("test/1")
	}
	s.Accept, s.MaxConns, s.MaxCalls = func(peer.SPKI) bool { return true }, 16, 16
	n, id := newNetwork(), identity(t)
	l, err := peer.ListenOn(t.Context(), n, id, quiet(), s)
	if err != nil {
		t.Fatal(err)
	}
	return n, &server{l, id, s.Protocol}
}

func (s *server) dialBy(t *testing.T, n *network, classes ...peer.Class) *peer.Client {
	t.Helper()
	c, err := peer.DialBy(n.DialContext, s.id.SPKI(), identity(t), s.protocol, classes...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shut closes both, inside the bubble.
func shut(t *testing.T, ends ...io.Closer) {
	t.Helper()
	for _, end := range ends {
		if err := end.Close(); err != nil {
			t.Error(err)
		}
	}
}
