package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	backoffMin   = 20 * time.Millisecond
	backoffMax   = time.Second
	callsInQueue = 64
	// DefaultWait is how long a call whose context has no deadline may take.
	DefaultWait = 30 * time.Second
)

// Class is a queue for one-way messages.
type Class struct {
	// Length is the most messages that wait.
	Length int
	// Drop makes a full queue lose its oldest message; otherwise Send waits.
	Drop bool
}

// Client is a lasting connection to one peer for one protocol. Its methods may be called by
// any number of goroutines.
type Client struct {
	addr     string
	pin      SPKI
	protocol Protocol
	config   *tls.Config
	dial     func(ctx context.Context, network, addr string) (net.Conn, error)
	cancel   context.CancelFunc
	closed   chan struct{} // closed by Close: nothing more is queued
	stopped  chan struct{} // closed when every call that was sent has its outcome
	running  sync.WaitGroup

	classes []queue
	calls   chan *call
	wake    chan struct{} // holds a value after something was queued

	connected atomic.Bool
	dropped   atomic.Uint64

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]*call // that were sent
	down    error            // why the last connection ended or failed
}

type queue struct {
	frames chan frame
	drop   bool
}

// call is a request and who waits for it.
type call struct {
	frame    frame
	done     chan result // has room for one
	deadline time.Time
	gone     <-chan struct{} // the caller has left
}

type result struct {
	body []byte
	err  error
}

// Dial starts a Client of the peer that listens on addr and has the key pin. It returns at
// once and connects in the background, again and again. Each class has its own queue; a lower
// index goes first.
func Dial(addr string, pin SPKI, id Identity, p Protocol, classes ...Class) (*Client, error) {
	return dial((&net.Dialer{}).DialContext, addr, pin, id, p, classes)
}

func dial(
	dialer func(ctx context.Context, network, addr string) (net.Conn, error),
	addr string, pin SPKI, id Identity, p Protocol, classes []Class,
) (*Client, error) {
	if err := p.validate(); err != nil {
		return nil, err
	}
	c := &Client{
		addr: addr, pin: pin, protocol: p, dial: dialer,
		config: tlsConfig(id, []string{p.Name}, func(protocol string, got SPKI) bool {
			return protocol == p.Name && got == pin
		}),
		closed:  make(chan struct{}),
		stopped: make(chan struct{}),
		calls:   make(chan *call, callsInQueue),
		wake:    make(chan struct{}, 1),
		waiting: make(map[uint64]*call),
	}
	for i, class := range classes {
		if class.Length <= 0 {
			return nil, fmt.Errorf("class %d: length %d: %w", i, class.Length, ErrOptions)
		}
		c.classes = append(c.classes, queue{make(chan frame, class.Length), class.Drop})
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.running.Go(func() {
		defer close(c.stopped)
		c.run(ctx)
	})
	return c, nil
}

// Connected tells whether the peer has answered on the present connection.
func (c *Client) Connected() bool { return c.connected.Load() }

// Dropped counts the messages that full queues have lost.
func (c *Client) Dropped() uint64 { return c.dropped.Load() }

// Close ends the connection. Messages that wait are lost; calls return ErrClosed, or ErrLost if
// they were sent. It may be called more than once.
func (c *Client) Close() error {
	c.mu.Lock()
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
	return nil
}

// Send queues a message. It may be lost: with the connection, by Close, or by a full queue
// whose class drops. It waits only for room in a class that does not drop, until ctx ends.
// body must not change any more. Errors: ErrTooLarge, ErrClosed, ErrOptions for a class that
// does not exist, ctx's own.
func (c *Client) Send(ctx context.Context, class int, kind uint8, body []byte) error {
	if class < 0 || class >= len(c.classes) {
		return fmt.Errorf("send: class %d: %w", class, ErrOptions)
	}
	if err := c.fits(body); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	q, f := c.classes[class], frame{form: message, kind: kind, body: body}
	for q.drop {
		select {
		case <-c.closed:
			return fmt.Errorf("send: %w", ErrClosed)
		case q.frames <- f:
			c.rouse()
			return nil
		default:
		}
		select {
		case <-q.frames:
			c.dropped.Add(1)
		default: // the writer was faster
		}
	}
	select {
	case q.frames <- f:
		c.rouse()
		return nil
	case <-c.closed:
		return fmt.Errorf("send: %w", ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("send: %w", context.Cause(ctx))
	}
}

func (c *Client) fits(body []byte) error {
	if len(body) > c.protocol.MaxBody {
		return fmt.Errorf("%d bytes, at most %d: %w", len(body), c.protocol.MaxBody, ErrTooLarge)
	}
	return nil
}

// rouse wakes the writer.
func (c *Client) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Call sends a request, once, as soon as there is a connection, and returns the peer's answer.
// The peer is told how long ctx leaves it. body must not change any more. Errors: *RemoteError
// if the peer refuses, ErrLost if the connection is lost, or closed, after the request went
// out, ErrTooLarge, ErrClosed, ctx's own (the request may have been sent, and be carried out).
func (c *Client) Call(ctx context.Context, kind uint8, body []byte) ([]byte, error) {
	if err := c.fits(body); err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultWait)
		defer cancel()
	}
	deadline, _ := ctx.Deadline()
	call := &call{
		frame:    frame{form: request, kind: kind, body: body},
		done:     make(chan result, 1),
		deadline: deadline,
		gone:     ctx.Done(),
	}
	select {
	case c.calls <- call:
		c.rouse()
	case <-ctx.Done():
		return nil, c.late(ctx)
	case <-c.closed:
		return nil, fmt.Errorf("call: %w", ErrClosed)
	}
	select {
	case r := <-call.done:
		return r.body, r.err
	case <-ctx.Done():
		c.forget(call)
		return nil, c.late(ctx)
	case <-c.stopped:
		select {
		case r := <-call.done:
			return r.body, r.err
		default:
			return nil, fmt.Errorf("call: %w", ErrClosed)
		}
	}
}

// late is ctx's error, with the reason why there is no connection.
func (c *Client) late(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil && !c.connected.Load() {
		return fmt.Errorf("call: %w: %w", context.Cause(ctx), c.down)
	}
	return fmt.Errorf("call: %w", context.Cause(ctx))
}

// forget takes a call off the list of those that wait for an answer.
func (c *Client) forget(call *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, call.frame.id)
}

// run connects until Close. It waits longer after each failure, never the same time twice,
// and starts over after a peer has answered.
func (c *Client) run(ctx context.Context) {
	for backoff := backoffMin; ctx.Err() == nil; {
		err := c.connect(ctx)
		if c.connected.Swap(false) {
			backoff = backoffMin
		}
		c.lose(err)
		pause := backoff/2 + rand.N(backoff/2) //nolint:gosec // jitter, no secret
		backoff = min(2*backoff, backoffMax)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// lose fails every call that was sent on a connection that has ended.
func (c *Client) lose(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = err
	for id, call := range c.waiting {
		call.done <- result{err: fmt.Errorf("%w: %w", ErrLost, err)}
		delete(c.waiting, id)
	}
}

// connect makes one connection and uses it until it ends.
func (c *Client) connect(ctx context.Context) error {
	conn, err := c.handshake(ctx)
	if err != nil {
		return err
	}
	l := newLink(c.protocol, conn)
	greeted, ended := make(chan struct{}), make(chan struct{})
	defer context.AfterFunc(ctx, l.close)() // the reader meets the error
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := c.write(l, greeted, ended); err != nil {
			l.close() // as above
		}
	})
	err = c.read(l, greeted)
	close(ended)
	l.close() // frees the writer
	writer.Wait()
	return err
}

func (c *Client) handshake(ctx context.Context) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.protocol.Timeout)
	defer cancel()
	raw, err := c.dial(ctx, "tcp", c.addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	conn := tls.Client(raw, c.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("handshake: %w", err), raw.Close())
	}
	return conn, nil
}

// write writes what is queued, many frames at once if they are there, and a ping at regular
// intervals. Nothing leaves the queues before the peer has answered the first ping: in TLS 1.3
// it accepts or refuses this process only after the client's part of the handshake.
func (c *Client) write(l *link, greeted, ended <-chan struct{}) error {
	interval := time.NewTicker(c.protocol.Keepalive)
	defer interval.Stop()
	if err := errors.Join(l.write(frame{form: ping}), l.flush()); err != nil {
		return err
	}
	select {
	case <-greeted:
	case <-ended:
		return nil
	}
	var err error
	for err == nil {
		f, ok := c.next()
		if ok {
			err = l.write(f)
			continue
		}
		if err = l.flush(); err != nil {
			break
		}
		select {
		case <-ended:
			return nil
		case <-c.wake:
		case <-interval.C:
			err = l.write(frame{form: ping})
		}
	}
	return err
}

// next takes the next frame from the queues.
func (c *Client) next() (frame, bool) {
	for _, q := range c.classes {
		select {
		case f := <-q.frames:
			return f, true
		default:
		}
	}
	for {
		select {
		case call := <-c.calls:
			if c.depart(call) {
				return call.frame, true
			}
		default:
			return frame{}, false
		}
	}
}

// depart numbers a call that is about to be sent, unless its caller has left.
func (c *Client) depart(call *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-call.gone:
		return false
	default:
	}
	c.lastID++
	call.frame.id = c.lastID
	left := time.Until(call.deadline).Milliseconds() + 1
	call.frame.wait = uint32(min(max(left, 1), math.MaxUint32))
	c.waiting[call.frame.id] = call
	return true
}

// read takes answers until something is wrong, and closes greeted at the first one.
func (c *Client) read(l *link, greeted chan<- struct{}) error {
	for {
		f, err := l.read()
		if err != nil {
			return err
		}
		if !c.connected.Swap(true) {
			close(greeted)
		}
		switch f.form {
		case answer:
			c.finish(f.id, result{body: f.body})
		case refusal:
			refused, err := readRefusal(f.body)
			if err != nil {
				return err
			}
			c.finish(f.id, result{err: refused})
		case pong:
		case message, request, ping:
			return fmt.Errorf("frame of form %d is not for a client: %w", f.form, ErrProtocol)
		}
	}
}

// finish answers the call, if its caller still waits.
func (c *Client) finish(id uint64, r result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call, ok := c.waiting[id]; ok {
		call.done <- r
		delete(c.waiting, id)
	}
}
