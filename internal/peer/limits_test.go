package peer_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/internal/peer"
)

// TestStrangersDoNotFillTheDoor: silent connections beyond the limit give way to those that
// come later.
func TestStrangersDoNotFillTheDoor(t *testing.T) {
	s := listen(t, echo(t))
	var conns []net.Conn
	for range 3 * peer.MaxHandshakes {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	start := time.Now()
	call(t, dial(t, s), []byte("hello"))
	if took := time.Since(start); took > s.protocol.Timeout/2 {
		t.Errorf("an honest peer waited %v", took)
	}
	for _, conn := range conns[:peer.MaxHandshakes] {
		wantEnd(t, conn)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	service := echo(t)
	service.MaxConns = peer.MaxPerPeer + 1
	s := listen(t, service)
	alice := identity(t)
	connect := func(id peer.Identity) (*tls.Conn, error) {
		conn, err := mallory(t, s, id, nil)
		if err == nil {
			err = ask(conn)
		}
		return conn, err
	}
	var conns []*tls.Conn
	for i := range peer.MaxPerPeer + 1 {
		conn, err := connect(alice)
		if err != nil {
			t.Fatalf("alice's connection %d: %v", i, err)
		}
		conns = append(conns, conn)
	}
	wantEnd(t, conns[0]) // the oldest has gone
	for i, conn := range conns[1:] {
		if err := ask(conn); err != nil {
			t.Errorf("alice's connection %d: %v", i+1, err)
		}
	}
	if _, err := connect(identity(t)); err != nil {
		t.Errorf("bob: %v", err)
	}
	if _, err := connect(identity(t)); err == nil {
		t.Error("carol was let in above the limit")
	}
}

// TestFullServiceLetsAPeerComeBack: at the price of its own oldest connection, which it may
// have lost.
func TestFullServiceLetsAPeerComeBack(t *testing.T) {
	service := echo(t)
	service.MaxConns = 2
	s := listen(t, service)
	alice, bob := identity(t), identity(t)
	var conns []*tls.Conn
	for _, id := range []peer.Identity{alice, bob, alice} {
		conn, err := mallory(t, s, id, nil)
		if err == nil {
			err = ask(conn)
		}
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	wantEnd(t, conns[0])
	if err := ask(conns[1]); err != nil {
		t.Errorf("bob: %v", err)
	}
}

// TestEndedConnectionsMakeRoom: one at a time, but any number of peers after each other.
func TestEndedConnectionsMakeRoom(t *testing.T) {
	service := echo(t)
	service.MaxConns = 1
	s := listen(t, service)
	for range 5 {
		c := dial(t, s)
		call(t, c, []byte("hello")) // the client comes again until there is room
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := s.Peers(); n != 0 {
		t.Errorf("%d peers are remembered", n)
	}
}

// TestFloodHoldsLittle: peers that announce the longest frames and send little of them, and
// peers that ask much and read nothing.
func TestFloodHoldsLittle(t *testing.T) {
	const floods, calls = 32, 4
	p := peer.DefaultProtocol("test/1")
	p.MaxBody = peer.MaxBody
	var running, most atomic.Int64
	release := make(chan struct{})
	s := listen(t, peer.Service{
		Protocol: p, MaxConns: 2 * floods, MaxCalls: calls,
		Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-release
			return nil, nil
		},
	})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	lie := binary.BigEndian.AppendUint32(nil, peer.MaxBody)
	lie = append(lie, peer.MessageFrame(1, make([]byte, 4096))[4:]...)
	ask := bytes.Repeat(peer.RequestFrame(1, 10_000, 1, nil), 1000)
	var askers []*tls.Conn
	for range floods {
		liar := let(t, s)
		if _, err := liar.Write(lie); err != nil {
			t.Error(err)
		}
		asker := let(t, s)
		if _, err := asker.Write(ask); err != nil {
			t.Error(err)
		}
		askers = append(askers, asker)
	}
	// every asker has been refused all but its first calls
	refusal := make([]byte, len(peer.RefusalFrame(1, errors.New("x"))))
	for _, conn := range askers {
		if _, err := io.ReadFull(conn, refusal); err != nil {
			t.Error(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > floods*1<<20 {
		t.Errorf("%d floods hold %d KiB", floods, held>>10)
	}
	if n := most.Load(); n > floods*calls {
		t.Errorf("%d calls ran", n)
	}
	close(release)
}
