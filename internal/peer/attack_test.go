package peer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/internal/peer"
)

// mallory opens a TLS connection by himself, within the rules as far as config goes.
func mallory(t testing.TB, s *server, id peer.Identity, change func(*tls.Config)) (*tls.Conn, error) {
	t.Helper()
	config := &tls.Config{
		Certificates:       []tls.Certificate{id.Certificate()},
		InsecureSkipVerify: true,
		NextProtos:         []string{s.protocol.Name},
	}
	if change != nil {
		change(config)
	}
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, config)
	t.Cleanup(func() { _ = conn.Close() })
	return conn, conn.HandshakeContext(t.Context())
}

// let is mallory as a peer that the service accepts.
func let(t testing.TB, s *server) *tls.Conn {
	t.Helper()
	conn, err := mallory(t, s, identity(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// ask makes an empty call and reads its empty answer.
func ask(conn *tls.Conn) error {
	_, err := conn.Write(peer.RequestFrame(1, 1000, 1, nil))
	if err == nil {
		_, err = io.ReadFull(conn, make([]byte, len(peer.AnswerFrame(1, nil))))
	}
	return err
}

// wantEnd fails the test unless the other end closes the connection without a word, and long
// before it would for mere silence.
func wantEnd(t testing.TB, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Error(err)
	}
	got, err := io.ReadAll(conn)
	if len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("heard %x (%v)", got, err)
	}
}

// TestStrangersAreRefused: none of them reaches a handler.
func TestStrangersAreRefused(t *testing.T) {
	alice := identity(t)
	var heard atomic.Int64
	s := listen(t, peer.Service{
		Accept:  func(pin peer.SPKI) bool { return pin == alice.SPKI() },
		Receive: func(context.Context, peer.SPKI, uint8, []byte) { heard.Add(1) },
		Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
			heard.Add(1)
			return nil, nil
		},
	})
	for _, tt := range []struct {
		name   string
		id     peer.Identity
		change func(*tls.Config)
	}{
		{"an unknown key", identity(t), nil},
		{"no certificate", alice, func(c *tls.Config) { c.Certificates = nil }},
		{"somebody else's certificate", alice, func(c *tls.Config) {
			c.Certificates[0].PrivateKey = identity(t).Certificate().PrivateKey
		}},
		{"TLS 1.2", alice, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }},
		{"another protocol", alice, func(c *tls.Config) { c.NextProtos = []string{"h2"} }},
		{"no protocol", alice, func(c *tls.Config) { c.NextProtos = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// a client of TLS 1.3 finishes first and is refused then
			conn, err := mallory(t, s, tt.id, tt.change)
			if err != nil {
				return
			}
			_, _ = conn.Write(append(peer.MessageFrame(1, nil), peer.RequestFrame(1, 1000, 1, nil)...))
			if n, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("heard %d bytes", n)
			}
		})
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("the handlers heard %d frames", n)
	}
	c := dialAs(t, s, alice)
	if _, err := c.Call(t.Context(), 1, nil); err != nil {
		t.Errorf("alice: %v", err)
	}
}

// TestClientRefusesAnotherServer: the address alone proves nothing.
func TestClientRefusesAnotherServer(t *testing.T) {
	var heard atomic.Int64
	s := listen(t, peer.Service{
		Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
			heard.Add(1)
			return nil, nil
		},
	})
	honest := s.id
	for _, tt := range []struct {
		name   string
		change func(s *server)
	}{
		{"another key", func(s *server) { s.id = identity(t) }},
		{"another protocol", func(s *server) { s.protocol.Name = "test/2" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			as := *s
			tt.change(&as)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := dial(t, &as).Call(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	// a server without the protocol's name is refused by the client itself
	config := &tls.Config{
		Certificates: []tls.Certificate{honest.Certificate()}, ClientAuth: tls.RequestClientCert,
	}
	socket, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c, err := peer.Dial(socket.Addr().String(), honest.SPKI(), identity(t), s.protocol)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := socket.Accept()
	if err != nil {
		t.Fatal(err)
	}
	wantEnd(t, conn)
	if heard.Load() != 0 {
		t.Error("a call went out")
	}
}

func TestPeerThatIsNoLongerAcceptedIsCutOff(t *testing.T) {
	var gone atomic.Bool
	s := listen(t, peer.Service{
		Accept: func(peer.SPKI) bool { return !gone.Load() },
		Answer: echo(t).Answer,
	})
	conn := let(t, s)
	if err := ask(conn); err != nil {
		t.Fatal(err)
	}
	gone.Store(true)
	if err := ask(conn); err == nil {
		t.Error("it was still answered")
	}
}

// TestEachProtocolHasItsOwnPeers: one socket, blocks for everybody, votes for the committee.
func TestEachProtocolHasItsOwnPeers(t *testing.T) {
	id, member, follower := identity(t), identity(t), identity(t)
	service := func(name string, accept func(peer.SPKI) bool) peer.Service {
		return peer.Service{
			Protocol: peer.DefaultProtocol(name), Accept: accept, MaxConns: 4, MaxCalls: 4,
			Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
				return []byte(name), nil
			},
		}
	}
	l, err := peer.Listen(t.Context(), "127.0.0.1:0", id, quiet(),
		service("votes", func(pin peer.SPKI) bool { return pin == member.SPKI() }),
		service("blocks", func(peer.SPKI) bool { return true }))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		name, protocol string
		id             peer.Identity
		ok             bool
	}{
		{"a member votes", "votes", member, true},
		{"a member fetches", "blocks", member, true},
		{"a follower fetches", "blocks", follower, true},
		{"a follower does not vote", "votes", follower, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &server{l, id, peer.DefaultProtocol(tt.protocol)}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if !tt.ok {
				cancel() // after the refusal nothing comes
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			got, err := dialAs(t, s, tt.id).Call(ctx, 1, nil)
			if tt.ok != (err == nil) || tt.ok && string(got) != tt.protocol {
				t.Errorf("%q: %v", got, err)
			}
		})
	}
}

// TestForbiddenFrames: each ends the connection, whatever is said with it.
func TestForbiddenFrames(t *testing.T) {
	var heard atomic.Int64
	both := peer.Service{
		Protocol: peer.DefaultProtocol("test/1"),
		Receive:  func(context.Context, peer.SPKI, uint8, []byte) { heard.Add(1) },
		Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
			heard.Add(1)
			return nil, nil
		},
	}
	silent, deaf := both, both
	silent.Answer, deaf.Receive = nil, nil
	garbage := make([]byte, 4096)
	_, _ = rand.Read(garbage)
	garbage[0] = 0xff
	for _, tt := range []struct {
		name    string
		service peer.Service
		bytes   []byte
	}{
		{"a body above the limit", both, binary.BigEndian.AppendUint32(nil, 1<<20+15)},
		{"the longest length", both, []byte{255, 255, 255, 255}},
		{"no frame at all", both, []byte{0, 0, 0, 0}},
		{"garbage", both, garbage},
		{"an HTTP request", both, []byte("GET / HTTP/1.1\r\n\r\n")},
		{"an answer to nobody", both, peer.AnswerFrame(1, nil)},
		{"a refusal to nobody", both, peer.RefusalFrame(1, errors.New("x"))},
		{"a pong", both, peer.PongFrame()},
		{"a call where none are taken", silent, peer.RequestFrame(1, 1, 1, nil)},
		{"a message where none are taken", deaf, peer.MessageFrame(1, nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := let(t, listen(t, tt.service))
			_, _ = conn.Write(tt.bytes) // which the end may interrupt
			wantEnd(t, conn)
		})
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("the handlers heard %d frames", n)
	}
}

// TestClientLeavesAServerThatBreaksTheRules, and comes back for an honest one.
func TestClientLeavesAServerThatBreaksTheRules(t *testing.T) {
	p := peer.DefaultProtocol("test/1")
	for _, tt := range []struct {
		name string
		evil []byte
	}{
		{"a frame above the limit", binary.BigEndian.AppendUint32(nil, 1<<20+15)},
		{"a message", peer.MessageFrame(1, nil)},
		{"a call", peer.RequestFrame(1, 1, 1, nil)},
		{"a ping", peer.PingFrame()},
		{"a refusal that cannot be read", func() []byte {
			b := peer.RefusalFrame(1, errors.New("x"))
			b[len(b)-1] = 9
			return b
		}()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := identity(t)
			socket, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
				Certificates: []tls.Certificate{id.Certificate()}, NextProtos: []string{p.Name},
				ClientAuth: tls.RequireAnyClientCert,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			c, err := peer.Dial(socket.Addr().String(), id.SPKI(), identity(t), p)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for range 2 { // the second time it has come back
				conn, err := socket.Accept()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := conn.Write(tt.evil); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Logf("end: %v", err)
				}
				_ = conn.Close()
			}
		})
	}
}

// TestUnknownAnswersAreIgnored: nobody waits for them, and the one that is waited for counts.
func TestUnknownAnswersAreIgnored(t *testing.T) {
	p, id := peer.DefaultProtocol("test/1"), identity(t)
	socket, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{id.Certificate()}, NextProtos: []string{p.Name},
		ClientAuth: tls.RequireAnyClientCert,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := socket.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		ping := make([]byte, len(peer.PingFrame()))
		request := make([]byte, len(peer.RequestFrame(1, 1, 1, nil)))
		_, err = io.ReadFull(conn, ping)
		_, _ = conn.Write(peer.PongFrame())
		_, err2 := io.ReadFull(conn, request)
		id := binary.BigEndian.Uint64(request[5:])
		var evil []byte
		for other := range uint64(10) {
			evil = append(evil, peer.AnswerFrame(id+1+other, []byte("evil"))...)
		}
		evil = append(evil, peer.AnswerFrame(id, []byte("good"))...)
		evil = append(evil, peer.AnswerFrame(id, []byte("twice"))...)
		_, err3 := conn.Write(evil)
		if err := errors.Join(err, err2, err3); err != nil {
			t.Error(err)
		}
		_, _ = io.ReadAll(conn)
	})
	c, err := peer.Dial(socket.Addr().String(), id.SPKI(), identity(t), p)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Call(t.Context(), 1, nil); err != nil || string(got) != "good" {
		t.Errorf("%q: %v", got, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// TestRecordedStreamCannotBeReplayed: what a wiretap has heard is worth nothing on another
// connection.
func TestRecordedStreamCannotBeReplayed(t *testing.T) {
	var heard atomic.Int64
	s := listen(t, peer.Service{
		Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
			heard.Add(1)
			return nil, nil
		},
	})
	var tape bytes.Buffer // written by the client's goroutines, read after its end
	id := identity(t)
	c, err := peer.DialBy(func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, s.Addr().String())
		return &tapped{Conn: conn, tape: &tape}, err
	}, s.id.SPKI(), id, s.protocol)
	if err != nil {
		t.Fatal(err)
	}
	call(t, c, nil)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(tape.Bytes()); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Logf("end: %v", err)
	}
	if n := heard.Load(); n != 1 {
		t.Errorf("the handler heard %d calls, want 1", n)
	}
}

type tapped struct {
	net.Conn
	mu   sync.Mutex
	tape *bytes.Buffer
}

func (c *tapped) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tape.Write(b)
	return c.Conn.Write(b)
}
