package peer_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink/internal/peer"
)

// TestSlowPeersAreDropped: slowloris at each stage of a connection.
func TestSlowPeersAreDropped(t *testing.T) {
	p := peer.DefaultProtocol("test/1")
	frame := peer.RequestFrame(1, 1000, 1, make([]byte, 100))
	for _, tt := range []struct {
		name  string
		shake bool // the handshake is done
		sends []byte
		every time.Duration // between two bytes
		want  time.Duration
	}{
		{"no handshake", false, nil, 0, p.Timeout},
		{"a handshake byte by byte", false, make([]byte, 1000), time.Second, p.Timeout},
		{"silence", true, nil, 0, 3 * p.Keepalive},
		{"a length byte by byte", true, frame[:4], 2500 * time.Millisecond, 3 * p.Keepalive},
		{"a body byte by byte", true, frame, time.Second / 2, 1500*time.Millisecond + p.Timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, s := virtual(t, echo(t))
				conn, err := n.DialContext(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				if tt.shake {
					secure := tls.Client(conn, &tls.Config{
						Certificates:       []tls.Certificate{identity(t).Certificate()},
						InsecureSkipVerify: true, NextProtos: []string{p.Name},
					})
					if err := secure.HandshakeContext(t.Context()); err != nil {
						t.Fatal(err)
					}
					conn = secure
				}
				start := time.Now()
				var sending sync.WaitGroup
				sending.Go(func() {
					for i := range tt.sends {
						if i > 0 {
							time.Sleep(tt.every)
						} else if !tt.shake {
							tt.sends[0] = 0x16 // a handshake record, of length 0x0300
							tt.sends[1], tt.sends[2], tt.sends[3] = 3, 1, 3
						}
						if _, err := conn.Write(tt.sends[i : i+1]); err != nil {
							return
						}
					}
				})
				_, _ = io.Copy(io.Discard, conn) // until the listener has had enough
				if took := time.Since(start); took > tt.want || took < tt.want-10*time.Millisecond {
					t.Errorf("dropped after %v, want %v", took, tt.want)
				}
				_ = conn.Close() // it may have no chance to say goodbye
				shut(t, s)
				sending.Wait()
			})
		})
	}
}

// TestPeerThatDoesNotReadIsDropped: its answers pile up only so far.
func TestPeerThatDoesNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := virtual(t, peer.Service{
			Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
				return make([]byte, 1<<20), nil
			},
		})
		conn, err := n.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		secure := tls.Client(conn, &tls.Config{
			Certificates:       []tls.Certificate{identity(t).Certificate()},
			InsecureSkipVerify: true, NextProtos: []string{s.protocol.Name},
		})
		if err := secure.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		start, sent := time.Now(), 0
		for ; ; sent++ {
			if _, err := secure.Write(peer.RequestFrame(1, 60_000, 1, nil)); err != nil {
				break
			}
		}
		if took := time.Since(start); took > s.protocol.Timeout || sent > 10_000 {
			t.Errorf("dropped after %v and %d requests", took, sent)
		}
		_ = secure.Close()
		shut(t, s)
	})
}

// TestHalfOpenConnection: when the network swallows everything, both ends notice, and the
// client comes back.
func TestHalfOpenConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		n, s := virtual(t, peer.Service{
			Answer: func(ctx context.Context, _ peer.SPKI, kind uint8, body []byte) ([]byte, error) {
				if kind == 9 {
					<-ctx.Done()
					ended <- time.Now()
				}
				return body, nil
			},
		})
		c := s.dialBy(t, n)
		call(t, c, []byte("before"))
		lost := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			_, err := c.Call(ctx, 9, nil)
			lost <- err
		}()
		synctest.Wait()
		start := time.Now()
		n.fall()
		if err := <-lost; !errors.Is(err, peer.ErrLost) {
			t.Errorf("the call: %v", err)
		}
		limit := 3 * s.protocol.Keepalive
		if took := time.Since(start); took > limit {
			t.Errorf("the client noticed after %v", took)
		}
		if took := (<-ended).Sub(start); took > limit {
			t.Errorf("the listener noticed after %v", took)
		}
		call(t, c, []byte("after"))
		if n := n.count(); n != 2 {
			t.Errorf("dialled %d times", n)
		}
		shut(t, c, s)
	})
}

// TestQuietConnectionLives: keepalive is enough.
func TestQuietConnectionLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := virtual(t, echo(t))
		c := s.dialBy(t, n)
		call(t, c, nil)
		time.Sleep(time.Hour)
		call(t, c, nil)
		if n := n.count(); n != 1 {
			t.Errorf("dialled %d times", n)
		}
		shut(t, c, s)
	})
}

// TestLongAnswerIsWaitedFor: a long poll outlives many keepalive intervals.
func TestLongAnswerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := virtual(t, peer.Service{
			Answer: func(_ context.Context, _ peer.SPKI, _ uint8, body []byte) ([]byte, error) {
				time.Sleep(10 * time.Minute)
				return body, nil
			},
		})
		c := s.dialBy(t, n)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if got, err := c.Call(ctx, 1, []byte("block")); err != nil || string(got) != "block" {
			t.Errorf("%q: %v", got, err)
		}
		if _, err := c.Call(t.Context(), 1, nil); err == nil {
			t.Error("a call without a deadline has none")
		}
		shut(t, c, s)
	})
}

// TestHandlerKnowsTheCallersPatience: the caller's deadline is the handler's.
func TestHandlerKnowsTheCallersPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 1)
		n, s := virtual(t, peer.Service{
			Answer: func(ctx context.Context, _ peer.SPKI, _ uint8, _ []byte) ([]byte, error) {
				<-ctx.Done()
				ended <- time.Now()
				return nil, ctx.Err()
			},
		})
		c := s.dialBy(t, n)
		for _, patience := range []time.Duration{30 * time.Millisecond, time.Minute, 0} {
			ctx, cancel, start := t.Context(), context.CancelFunc(func() {}), time.Now()
			if patience > 0 {
				ctx, cancel = context.WithTimeout(ctx, patience)
			} else {
				patience = peer.DefaultWait
			}
			if _, err := c.Call(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			if took := time.Since(start); took != patience {
				t.Errorf("the caller waited %v of %v", took, patience)
			}
			if took := (<-ended).Sub(start); took < patience || took > patience+2*time.Millisecond {
				t.Errorf("the handler had %v of %v", took, patience)
			}
			cancel()
		}
		shut(t, c, s)
	})
}

// TestReconnecting: pauses grow, differ, and stop growing; then everything that waited goes
// out.
func TestReconnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard []byte
		answered := 0
		n, s := virtual(t, peer.Service{
			Receive: func(_ context.Context, _ peer.SPKI, _ uint8, body []byte) {
				heard = append(heard, body...)
			},
			Answer: func(context.Context, peer.SPKI, uint8, []byte) ([]byte, error) {
				answered++
				return nil, nil
			},
		})
		n.dead = true
		c := s.dialBy(t, n, peer.Class{Length: 3, Drop: true}, peer.Class{Length: 2})
		for i := range byte(5) {
			if err := c.Send(t.Context(), 0, 1, []byte{'a' + i}); err != nil { // keeps c, d, e
				t.Error(err)
			}
		}
		for i := range byte(2) {
			if err := c.Send(t.Context(), 1, 1, []byte{'x' + i}); err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Send(ctx, 1, 1, []byte("z")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a full queue took a message: %v", err)
		}
		_, err := c.Call(ctx, 1, nil)
		if !errors.Is(err, context.DeadlineExceeded) || c.Connected() || c.Dropped() != 2 {
			t.Errorf("error %v, connected %v, dropped %d", err, c.Connected(), c.Dropped())
		}
		pauses := map[time.Duration]bool{}
		for i := 1; i < len(n.dials); i++ {
			pause := n.dials[i].Sub(n.dials[i-1])
			if pause > peer.BackoffMax || i > 10 && pause < peer.BackoffMax/2 {
				t.Errorf("pause %d is %v", i, pause)
			}
			pauses[pause] = true
		}
		if len(n.dials) < 60 || len(pauses) < len(n.dials)/2 {
			t.Errorf("%d attempts, %d different pauses", len(n.dials), len(pauses))
		}
		go func() { // a call that waits for the connection
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := c.Call(ctx, 1, nil); err != nil {
				t.Error(err)
			}
		}()
		n.mu.Lock()
		n.dead = false
		n.mu.Unlock()
		time.Sleep(2 * peer.BackoffMax)
		synctest.Wait()
		if string(heard) != "cdexy" || answered != 1 { // nobody waits for the first call
			t.Errorf("heard %q, answered %d calls", heard, answered)
		}
		if !c.Connected() {
			t.Error("not connected")
		}
		shut(t, c, s)
	})
}

// TestNothingIsSentBeforeThePeerHasAnswered: what a connection that is refused, or ends, in its
// first moment would swallow stays in its queue.
func TestNothingIsSentBeforeThePeerHasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, id, p := newNetwork(), identity(t), peer.DefaultProtocol("test/1")
		c, err := peer.DialBy(n.DialContext, id.SPKI(), identity(t), p, peer.Class{Length: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(t.Context(), 0, 7, []byte("vote")); err != nil {
			t.Error(err)
		}
		for _, greets := range []bool{false, true} {
			raw, err := n.Accept()
			if err != nil {
				t.Fatal(err)
			}
			conn := tls.Server(raw, &tls.Config{
				Certificates: []tls.Certificate{id.Certificate()}, NextProtos: []string{p.Name},
				ClientAuth: tls.RequireAnyClientCert,
			})
			want := peer.PingFrame()
			if greets {
				want = append(want, peer.MessageFrame(7, []byte("vote"))...)
			}
			got := make([]byte, len(want))
			_, err = io.ReadFull(conn, got[:len(peer.PingFrame())])
			if greets && err == nil {
				_, err = conn.Write(peer.PongFrame())
			}
			if err == nil {
				_, err = io.ReadFull(conn, got[len(peer.PingFrame()):])
			}
			if err != nil || string(got) != string(want) {
				t.Errorf("heard %x, want %x (%v)", got, want, err)
			}
			synctest.Wait()
			_ = raw.Close()
		}
		shut(t, c, n)
	})
}

// TestRefusedClientBacksOff: it finishes its own handshake every time, which must not count.
func TestRefusedClientBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := virtual(t, echo(t))
		other := peer.DefaultProtocol("test/1")
		refusing := newNetwork()
		l, err := peer.ListenOn(t.Context(), refusing, s.id, quiet(), peer.Service{
			Protocol: other, Accept: func(peer.SPKI) bool { return false }, Answer: echo(t).Answer,
			MaxConns: 1, MaxCalls: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		c := s.dialBy(t, refusing, peer.Class{Length: 1})
		if err := c.Send(t.Context(), 0, 1, nil); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = c.Call(ctx, 1, nil) // it never goes out, so it is not lost
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, peer.ErrLost) {
			t.Error(err)
		}
		if err := c.Send(ctx, 0, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first message has left the queue: %v", err)
		}
		if n := refusing.count(); n < 60 || n > 150 {
			t.Errorf("%d attempts in a minute", n)
		}
		if c.Connected() {
			t.Error("a refused client believes that it is connected")
		}
		shut(t, c, l, s, n)
	})
}

// TestCloseInterruptsEverything: no wait of a client or listener outlasts Close.
func TestCloseInterruptsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		received := make(chan struct{})
		n, s := virtual(t, peer.Service{
			Receive: func(ctx context.Context, _ peer.SPKI, _ uint8, _ []byte) {
				close(received)
				<-ctx.Done()
			},
		})
		c := s.dialBy(t, n, peer.Class{Length: 1})
		if err := c.Send(t.Context(), 0, 1, nil); err != nil {
			t.Error(err)
		}
		<-received
		stranger, err := n.DialContext(t.Context(), "", "") // in its handshake
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		shut(t, s, c, stranger)
		if took := time.Since(start); took > 0 {
			t.Errorf("Close took %v", took)
		}
	})
}
