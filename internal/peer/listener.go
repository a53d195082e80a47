package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
)

const (
	maxHandshakes   = 64 // strangers at a time
	maxPerPeer      = 8  // connections of one peer to one service
	acceptPause     = 50 * time.Millisecond
	answersInBuffer = 16
)

// Service is one protocol as a Listener serves it.
type Service struct {
	Protocol
	// Accept tells whether a peer may use the service. It is asked in the handshake and again
	// for every frame, so who leaves the set is cut off; it must be quick and safe for
	// concurrent use.
	Accept func(SPKI) bool
	// Receive takes one-way messages of a connection, one after the other. While it waits,
	// its peer waits. If it is nil, a message is a violation of the protocol. The body is the
	// handler's.
	Receive func(ctx context.Context, from SPKI, kind uint8, body []byte)
	// Answer answers calls, each on its own goroutine. ctx ends with the caller's patience, the
	// connection or the Listener; Answer must heed it. Of an error the peer is told what
	// cypherlink.Error may tell outside. If it is nil, a call is a violation of the protocol.
	// The body is the handler's.
	Answer func(ctx context.Context, from SPKI, kind uint8, body []byte) ([]byte, error)
	// MaxConns is the most connections of all peers; one more is refused. Of one peer there are
	// at most 8; one more ends its oldest.
	MaxConns int
	// MaxCalls is the most calls of one peer that run at a time; one more is refused with
	// CodeBusy.
	MaxCalls int
}

func (s *Service) validate() error {
	if err := s.Protocol.validate(); err != nil {
		return err
	}
	if s.Accept == nil || s.Receive == nil && s.Answer == nil || s.MaxConns <= 0 || s.MaxCalls <= 0 {
		return fmt.Errorf("service %s: a handler or limit is missing: %w", s.Name, ErrOptions)
	}
	return nil
}

// Listener serves peers on one address.
type Listener struct {
	log      *slog.Logger
	socket   net.Listener
	config   *tls.Config
	services map[string]*service
	ctx      func() context.Context // of the handlers
	cancel   context.CancelFunc
	running  sync.WaitGroup
	err      error // of closing the socket; written before running ends

	mu         sync.Mutex
	closed     bool
	handshakes []net.Conn // oldest first
}

// service is a Service with its peers, under the Listener's mu.
type service struct {
	Service
	conns int
	peers map[SPKI]*guest
}

// guest is a peer of one service.
type guest struct {
	conns []*session    // oldest first
	calls chan struct{} // holds one value for each call that runs
}

// Listen serves on addr, such as "127.0.0.1:0", until Close or the end of ctx. log is told who
// comes and who is refused.
func Listen(
	ctx context.Context, addr string, id Identity, log *slog.Logger, services ...Service,
) (*Listener, error) {
	socket, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l, err := listen(ctx, socket, id, log, services)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return l, nil
}

func listen(
	ctx context.Context, socket net.Listener, id Identity, log *slog.Logger, services []Service,
) (*Listener, error) {
	l := &Listener{log: log, socket: socket, services: make(map[string]*service)}
	var names []string
	for _, s := range services {
		if err := s.validate(); err != nil {
			return nil, err
		}
		if l.services[s.Name] != nil {
			return nil, fmt.Errorf("service %s twice: %w", s.Name, ErrOptions)
		}
		l.services[s.Name] = &service{Service: s, peers: make(map[SPKI]*guest)}
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no service: %w", ErrOptions)
	}
	l.config = tlsConfig(id, names, func(protocol string, pin SPKI) bool {
		s := l.services[protocol]
		return s != nil && s.Accept(pin)
	})
	inner, cancel := context.WithCancel(ctx)
	l.ctx, l.cancel = func() context.Context { return inner }, cancel
	l.running.Go(l.accept)
	l.running.Go(func() {
		<-inner.Done()
		l.shut()
	})
	return l, nil
}

// Addr is the address it listens on.
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Close takes no more connections and calls, ends the contexts of the handlers that run, waits
// for them, and sends their answers. It may be called more than once.
func (l *Listener) Close() error {
	l.cancel()
	l.running.Wait()
	return l.err
}

// shut makes every goroutine of the listener end.
func (l *Listener) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, conn := range l.handshakes {
		_ = conn.Close() // its own goroutine meets the error
	}
	for _, s := range l.services {
		for _, g := range s.peers {
			for _, c := range g.conns {
				c.hangUp()
			}
		}
	}
	if err := l.socket.Close(); err != nil {
		l.err = fmt.Errorf("close: %w", err)
	}
}

// accept takes connections until the socket is closed.
func (l *Listener) accept() {
	for {
		conn, err := l.socket.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: passes
			l.log.LogAttrs(l.ctx(), slog.LevelWarn, "peer accept failed", slog.Any("error", err))
			select {
			case <-l.ctx().Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		if l.greet(conn) {
			l.running.Go(func() { l.serve(conn) })
		}
	}
}

// greet makes room for a handshake: an honest one is quick, so the oldest goes.
func (l *Listener) greet(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = conn.Close() // nothing was said on it
		return false
	}
	if len(l.handshakes) >= maxHandshakes {
		_ = l.handshakes[0].Close() // its own goroutine meets the error
		l.handshakes = slices.Delete(l.handshakes, 0, 1)
	}
	l.handshakes = append(l.handshakes, conn)
	return true
}

// serve does one connection from its handshake to its end.
func (l *Listener) serve(raw net.Conn) {
	ctx, cancel := context.WithCancel(l.ctx())
	defer cancel()
	remote := slog.String("remote", remoteAddr(raw))
	c, err := l.handshake(ctx, cancel, raw)
	if err != nil {
		_ = raw.Close() // nothing is left to say
		l.log.LogAttrs(ctx, slog.LevelWarn, "peer refused", remote, slog.Any("error", err))
		return
	}
	log := l.log.With(remote, slog.String("peer", c.from.String()), slog.String("protocol", c.service.Name))
	log.LogAttrs(ctx, slog.LevelInfo, "peer connected")
	err = c.run(ctx)
	l.leave(c)
	log.LogAttrs(ctx, slog.LevelInfo, "peer disconnected", slog.Any("error", err))
}

func remoteAddr(conn net.Conn) string {
	if addr := conn.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return ""
}

// handshake makes a session of a stranger.
func (l *Listener) handshake(
	ctx context.Context, end context.CancelFunc, raw net.Conn,
) (*session, error) {
	timeout := time.Duration(0)
	for _, s := range l.services {
		timeout = max(timeout, s.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn := tls.Server(raw, l.config)
	err := conn.HandshakeContext(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.handshakes, raw); i >= 0 {
		l.handshakes = slices.Delete(l.handshakes, i, i+1)
	}
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if l.closed {
		return nil, ErrClosed
	}
	state := conn.ConnectionState()
	s := l.services[state.NegotiatedProtocol] // VerifyConnection has seen both
	return s.enter(spki(state.PeerCertificates[0]), conn, end)
}

// enter admits a peer's connection, under the Listener's mu. A peer at a limit loses its
// oldest one: mostly, one that it has lost itself without our noticing.
func (s *service) enter(from SPKI, conn *tls.Conn, end context.CancelFunc) (*session, error) {
	g := s.peers[from]
	if g == nil {
		g = &guest{calls: make(chan struct{}, s.MaxCalls)}
	}
	full := s.conns >= s.MaxConns
	switch {
	case len(g.conns) >= maxPerPeer, full && len(g.conns) > 0:
		g.conns[0].hangUp()
		g.conns = slices.Delete(g.conns, 0, 1)
	case full:
		return nil, fmt.Errorf("service %s has %d connections: %w", s.Name, s.conns, ErrRefused)
	default:
		s.conns++
	}
	c := &session{
		service: s, from: from, guest: g, link: newLink(s.Protocol, conn), end: end,
		answers: make(chan frame, answersInBuffer), broken: make(chan struct{}),
	}
	g.conns = append(g.conns, c)
	s.peers[from] = g
	return c, nil
}

// leave forgets a session that has ended.
func (l *Listener) leave(c *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := c.service
	if i := slices.Index(c.guest.conns, c); i >= 0 {
		c.guest.conns = slices.Delete(c.guest.conns, i, i+1)
		s.conns--
	}
	if len(c.guest.conns) == 0 && s.peers[c.from] == c.guest {
		delete(s.peers, c.from)
	}
}

// session is one connection of a peer to a service.
type session struct {
	service *service
	from    SPKI
	guest   *guest
	link    *link
	end     context.CancelFunc // of its handlers
	answers chan frame         // to the writer
	broken  chan struct{}      // closed when the writer has failed
	calls   sync.WaitGroup
}

// hangUp makes the session end.
func (c *session) hangUp() {
	c.end()
	c.link.hangUp()
}

// run serves the connection until it ends, and says why it did.
func (c *session) run(ctx context.Context) error {
	var writer sync.WaitGroup
	writer.Go(c.write)
	err := c.read(ctx)
	c.end()
	c.calls.Wait()
	close(c.answers)
	writer.Wait()
	return err
}

// read takes frames until something is wrong.
func (c *session) read(ctx context.Context) error {
	for {
		f, err := c.link.read()
		if err == nil && ctx.Err() != nil {
			err = ErrClosed
		}
		if err == nil && !c.service.Accept(c.from) {
			err = fmt.Errorf("no longer accepted: %w", ErrRefused)
		}
		if err == nil {
			err = c.take(ctx, f)
		}
		if err != nil {
			return err
		}
	}
}

// take does what one frame asks for.
func (c *session) take(ctx context.Context, f frame) error {
	switch {
	case f.form == message && c.service.Receive != nil:
		c.service.Receive(ctx, c.from, f.kind, f.body)
	case f.form == request && c.service.Answer != nil:
		select {
		case c.guest.calls <- struct{}{}:
			c.calls.Go(func() {
				c.send(c.answer(ctx, f))
				<-c.guest.calls
			})
		default:
			c.send(refuse(f.id, &cypherlink.Error{Code: CodeBusy, Message: "too many calls at a time"}))
		}
	case f.form == ping:
		c.send(frame{form: pong})
	default:
		return fmt.Errorf("frame of form %d is not for this service: %w", f.form, ErrProtocol)
	}
	return nil
}

// answer runs the handler.
func (c *session) answer(ctx context.Context, f frame) frame {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(f.wait)*time.Millisecond)
	defer cancel()
	body, err := c.service.Answer(ctx, c.from, f.kind, f.body)
	if err == nil && len(body) > c.service.MaxBody {
		err = &cypherlink.Error{Code: CodeTooLarge, Message: "the answer exceeds the protocol's limit"}
	}
	if err != nil {
		return refuse(f.id, err)
	}
	return frame{form: answer, id: f.id, body: body}
}

// send hands a frame to the writer. A peer that does not read makes it wait, and in the end
// breaks the connection.
func (c *session) send(f frame) {
	select {
	case c.answers <- f:
	case <-c.broken:
	}
}

// write writes until answers is closed and empty, then ends the connection.
func (c *session) write() {
	defer close(c.broken)
	defer c.link.close() // first of all, so that no more calls come in
	for f := range c.answers {
		err := c.link.write(f)
		if err == nil && len(c.answers) == 0 {
			err = c.link.flush()
		}
		if err != nil {
			return
		}
	}
}
