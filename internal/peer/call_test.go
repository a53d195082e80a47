package peer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/peer"
)

func TestCallsAndMessages(t *testing.T) {
	id := identity(t)
	type heard struct {
		from peer.SPKI
		kind uint8
		body string
	}
	messages := make(chan heard, 10)
	s := listen(t, peer.Service{
		Receive: func(_ context.Context, from peer.SPKI, kind uint8, body []byte) {
			messages <- heard{from, kind, string(body)}
		},
		Answer: func(_ context.Context, from peer.SPKI, kind uint8, body []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%v %d %s", from, kind, body), nil
		},
	})
	c := dialAs(t, s, id, peer.Class{Length: 4}, peer.Class{Length: 4, Drop: true})
	for kind := range uint8(3) {
		got, err := c.Call(t.Context(), kind, []byte("hello"))
		if want := fmt.Sprintf("%v %d hello", id.SPKI(), kind); err != nil || string(got) != want {
			t.Errorf("answer %q, want %q (%v)", got, want, err)
		}
	}
	for class := range 2 {
		if err := c.Send(t.Context(), class, uint8(class), []byte("vote")); err != nil {
			t.Error(err)
		}
		if got, want := <-messages, (heard{id.SPKI(), uint8(class), "vote"}); got != want {
			t.Errorf("heard %v, want %v", got, want)
		}
	}
	for _, size := range []int{0, 1, 16 << 10, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20} {
		body := bytes.Repeat([]byte{byte(size)}, size)
		got, err := c.Call(t.Context(), 0, body)
		if err != nil || !bytes.HasSuffix(got[min(70, len(got)):], body[min(70, size):]) {
			if size == 1<<20 { // with what the handler puts before it, too long
				wantRemote(t, err, peer.CodeTooLarge, "")
				continue
			}
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if !c.Connected() {
		t.Error("not connected")
	}
}

func wantRemote(t testing.TB, err error, code cypherlink.Code, reason string) *peer.RemoteError {
	t.Helper()
	remote, ok := errors.AsType[*peer.RemoteError](err)
	if !ok || remote.Code != code || remote.Reason != reason {
		t.Errorf("error %v, want code %s and reason %q", err, code, reason)
	}
	return remote
}

func TestRefusals(t *testing.T) {
	refusal := &cypherlink.Error{Code: "quote_expired", Reason: "TM01", Message: "the quote is too old"}
	for _, tt := range []struct {
		name             string
		err              error
		code             cypherlink.Code
		reason, contains string
	}{
		{"one that may be told", refusal, "quote_expired", "TM01", "too old"},
		{"one inside others", fmt.Errorf("db7: %w", refusal), "quote_expired", "TM01", "too old"},
		{"one that may not", errors.New("password of db7"), "internal", "", ""},
		{"one that hides its cause", &cypherlink.Error{
			Code: "x", Message: "sorry", Err: errors.New("password of db7"),
		}, "x", "", "sorry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, c := pair(t, peer.Service{
				Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
					return nil, tt.err
				},
			})
			_, err := c.Call(t.Context(), 1, nil)
			remote := wantRemote(t, err, tt.code, tt.reason)
			if strings.Contains(err.Error(), "db7") || !strings.Contains(remote.Message, tt.contains) {
				t.Errorf("told %q", err)
			}
		})
	}
}

func TestBodiesAreBounded(t *testing.T) {
	p := peer.DefaultProtocol("test/1")
	p.MaxBody = 4096
	_, c := pair(t, peer.Service{
		Protocol: p,
		Receive:  func(context.Context, peer.SPKI, uint8, []byte) {},
		Answer: func(_ context.Context, _ peer.SPKI, _ uint8, body []byte) ([]byte, error) {
			return append(body, body...), nil
		},
	}, peer.Class{Length: 1})
	if _, err := c.Call(t.Context(), 1, make([]byte, 4097)); !errors.Is(err, peer.ErrTooLarge) {
		t.Errorf("a call: %v", err)
	}
	if err := c.Send(t.Context(), 0, 1, make([]byte, 4097)); !errors.Is(err, peer.ErrTooLarge) {
		t.Errorf("a message: %v", err)
	}
	if got, err := c.Call(t.Context(), 1, make([]byte, 2048)); err != nil || len(got) != 4096 {
		t.Errorf("the longest answer: %v", err)
	}
	_, err := c.Call(t.Context(), 1, make([]byte, 2049))
	wantRemote(t, err, peer.CodeTooLarge, "")
	if err := c.Send(t.Context(), 1, 1, nil); !errors.Is(err, peer.ErrOptions) {
		t.Errorf("an unknown class: %v", err)
	}
}

func TestCallerCanLeave(t *testing.T) {
	begun, release := make(chan struct{}, 1), make(chan struct{})
	_, c := pair(t, peer.Service{
		Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
			begun <- struct{}{}
			<-release
			return []byte("late"), nil
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := c.Call(ctx, 1, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	got, err := c.Call(t.Context(), 1, nil) // the late answer is nobody's
	if err != nil || string(got) != "late" {
		t.Errorf("%q: %v", got, err)
	}
}

func TestCallsOfOnePeerAreCounted(t *testing.T) {
	const calls = 3
	begun, release := make(chan struct{}), make(chan struct{})
	s := listen(t, peer.Service{
		MaxCalls: calls,
		Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
			begun <- struct{}{}
			<-release
			return nil, nil
		},
	})
	id := identity(t)
	a, b := dialAs(t, s, id), dialAs(t, s, id) // two connections, one peer
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			if _, err := []*peer.Client{a, b}[i%2].Call(t.Context(), 1, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range calls {
		<-begun
	}
	for _, c := range []*peer.Client{a, b} {
		_, err := c.Call(t.Context(), 1, nil)
		wantRemote(t, err, peer.CodeBusy, "")
	}
	other := dial(t, s) // somebody else is not busy
	wg.Go(func() {
		if _, err := other.Call(t.Context(), 1, nil); err != nil {
			t.Error(err)
		}
	})
	<-begun
	close(release)
	wg.Wait()
	wg.Go(func() { <-begun })
	if _, err := a.Call(t.Context(), 1, nil); err != nil {
		t.Errorf("after the others: %v", err)
	}
	wg.Wait()
}

// TestLostCall: when the connection breaks under a call, its caller learns that it may have
// been carried out; a call that was not sent waits for the next connection.
func TestLostCall(t *testing.T) {
	begun := make(chan struct{}, 10)
	service := peer.Service{
		Protocol: peer.DefaultProtocol("test/1"),
		Accept:   func(peer.SPKI) bool { return true },
		MaxConns: 4, MaxCalls: 4,
		Answer: func(ctx context.Context, _ peer.SPKI, kind uint8, body []byte) ([]byte, error) {
			if kind == 1 {
				begun <- struct{}{}
				<-ctx.Done()
			}
			return body, nil
		},
	}
	id := identity(t)
	var last atomic.Pointer[net.TCPConn]
	l, err := peer.Listen(t.Context(), "127.0.0.1:0", id, quiet(), service)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := peer.DialBy(func(ctx context.Context, network, _ string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
		if err == nil {
			last.Store(conn.(*net.TCPConn))
		}
		return conn, err
	}, id.SPKI(), id, service.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, peer.ErrLost) {
			t.Errorf("error %v, want %v", err, peer.ErrLost)
		}
	})
	<-begun
	_ = last.Load().SetLinger(0) // a reset, as after a crash
	_ = last.Load().Close()
	wg.Wait()
	got, err := c.Call(t.Context(), 2, []byte("again"))
	if err != nil || string(got) != "again" {
		t.Errorf("after the reset: %q, %v", got, err)
	}
}

func TestListenerClosesDuringCalls(t *testing.T) {
	begun := make(chan struct{}, 10)
	s, c := pair(t, peer.Service{
		Answer: func(ctx context.Context, _ peer.SPKI, _ uint8, _ []byte) ([]byte, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return []byte("goodbye"), nil
		},
	})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			got, err := c.Call(t.Context(), 1, nil)
			if err != nil || string(got) != "goodbye" { // what runs is answered
				t.Errorf("%q: %v", got, err)
			}
		})
	}
	for range 10 {
		<-begun
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.Call(ctx, 1, nil)
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, peer.ErrLost) {
		t.Errorf("after Close: %v", err) // ErrLost if it left before the client noticed
	}
}

func TestListenerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	service := echo(t)
	service.Protocol = peer.DefaultProtocol("test/1")
	service.Accept, service.MaxConns, service.MaxCalls = func(peer.SPKI) bool { return true }, 1, 1
	l, err := peer.Listen(ctx, "127.0.0.1:0", identity(t), quiet(), service)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String()); err == nil {
		t.Error("it still listens", conn.Close())
	}
}

func TestClientClosesDuringCalls(t *testing.T) {
	begun, ended, release := make(chan struct{}, 10), make(chan struct{}, 10), make(chan struct{})
	_, c := pair(t, peer.Service{
		MaxCalls: 5,
		Answer: func(ctx context.Context, _ peer.SPKI, _ uint8, _ []byte) ([]byte, error) {
			begun <- struct{}{}
			<-ctx.Done()
			<-release // or its answer might still be in time
			ended <- struct{}{}
			return nil, nil
		},
	}, peer.Class{Length: 1}, peer.Class{Length: 1, Drop: true})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, peer.ErrLost) {
				t.Errorf("error %v, want %v", err, peer.ErrLost)
			}
		})
	}
	for range 5 {
		<-begun
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	close(release)
	for range 5 {
		<-ended // the handlers learn of it
	}
	if _, err := c.Call(t.Context(), 1, nil); !errors.Is(err, peer.ErrClosed) {
		t.Errorf("a call: %v", err)
	}
	for class := range 2 {
		for range 2 {
			if err := c.Send(t.Context(), class, 1, nil); err != nil && !errors.Is(err, peer.ErrClosed) {
				t.Errorf("a message: %v", err)
			}
		}
	}
}

func TestUnusableOptions(t *testing.T) {
	good := peer.Service{
		Protocol: peer.DefaultProtocol("test/1"), Accept: func(peer.SPKI) bool { return true },
		Answer: echo(t).Answer, MaxConns: 1, MaxCalls: 1,
	}
	for _, tt := range []struct {
		name   string
		change func(s *peer.Service)
	}{
		{"no name", func(s *peer.Service) { s.Name = "" }},
		{"a long name", func(s *peer.Service) { s.Name = strings.Repeat("x", 256) }},
		{"tiny bodies", func(s *peer.Service) { s.MaxBody = 100 }},
		{"huge bodies", func(s *peer.Service) { s.MaxBody = peer.MaxBody + 1 }},
		{"no keepalive", func(s *peer.Service) { s.Keepalive = 0 }},
		{"no timeout", func(s *peer.Service) { s.Timeout = 0 }},
		{"nobody accepted", func(s *peer.Service) { s.Accept = nil }},
		{"no handler", func(s *peer.Service) { s.Answer = nil }},
		{"no connections", func(s *peer.Service) { s.MaxConns = 0 }},
		{"no calls", func(s *peer.Service) { s.MaxCalls = 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good
			tt.change(&s)
			l, err := peer.Listen(t.Context(), "127.0.0.1:0", identity(t), quiet(), s)
			if !errors.Is(err, peer.ErrOptions) {
				t.Errorf("listening: %v, %v", l, err)
			}
		})
	}
	for name, services := range map[string][]peer.Service{"none": nil, "one twice": {good, good}} {
		l, err := peer.Listen(t.Context(), "127.0.0.1:0", identity(t), quiet(), services...)
		if !errors.Is(err, peer.ErrOptions) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	id := identity(t)
	if c, err := peer.Dial("127.0.0.1:1", id.SPKI(), id, peer.Protocol{}); !errors.Is(err, peer.ErrOptions) {
		t.Errorf("a client without a protocol: %v, %v", c, err)
	}
	c, err := peer.Dial("127.0.0.1:1", id.SPKI(), id, good.Protocol, peer.Class{})
	if !errors.Is(err, peer.ErrOptions) {
		t.Errorf("a class without length: %v, %v", c, err)
	}
	if l, err := peer.Listen(t.Context(), "nowhere", id, quiet(), good); err == nil {
		t.Errorf("listening on nothing: %v", l)
	}
}
