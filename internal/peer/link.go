package peer

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	bufferSize = 16 << 10 // one TLS record
	silence    = 3        // a peer is gone after so many keepalive intervals without a frame
	maxName    = 255      // of a protocol (RFC 7301: one byte of length)
	// MaxBody is the highest limit that a protocol may set for its bodies: 64 MiB.
	MaxBody = 64 << 20
)

var (
	// ErrOptions means that a Protocol, Service or Class cannot be used.
	ErrOptions = errors.New("peer: unusable options")
	// ErrRefused means that the other end is not who it must be, or speaks another protocol.
	ErrRefused = errors.New("peer: refused")
	// ErrClosed means that the Client was closed.
	ErrClosed = errors.New("peer: closed")
	// ErrLost means that the connection was lost after a call had been sent. The peer may have
	// carried it out.
	ErrLost = errors.New("peer: connection lost, the call may have been carried out")
	// ErrTooLarge means that a body exceeds the protocol's limit. Nothing was sent.
	ErrTooLarge = errors.New("peer: body too large")
)

// Protocol is what both ends of a connection must agree on.
type Protocol struct {
	// Name is its ALPN name with its version, such as "cypherlink/consensus/1".
	Name string
	// MaxBody is the most bytes of a message, request or answer: 2 KiB to 64 MiB.
	MaxBody int
	// Keepalive is how often a client speaks at least. Who hears nothing for three such
	// intervals drops the connection.
	Keepalive time.Duration
	// Timeout is the longest that a handshake, or one frame on its way in or out, may take.
	Timeout time.Duration
}

// DefaultProtocol is a protocol with bodies up to 1 MiB, a sign of life every 2 s, and 5 s for
// a handshake or frame. It assumes round trips below 500 ms.
func DefaultProtocol(name string) Protocol {
	return Protocol{Name: name, MaxBody: 1 << 20, Keepalive: 2 * time.Second, Timeout: 5 * time.Second}
}

func (p Protocol) validate() error {
	switch {
	case p.Name == "" || len(p.Name) > maxName:
		return fmt.Errorf("protocol name %.40q: %w", p.Name, ErrOptions)
	case p.MaxBody < smallestBody || p.MaxBody > MaxBody:
		return fmt.Errorf("protocol %s: body of %d bytes: %w", p.Name, p.MaxBody, ErrOptions)
	case p.Keepalive <= 0 || p.Timeout <= 0:
		return fmt.Errorf("protocol %s: keepalive %v, timeout %v: %w",
			p.Name, p.Keepalive, p.Timeout, ErrOptions)
	}
	return nil
}

// link reads and writes frames on a connection whose peer is known. One goroutine reads, one
// writes.
type link struct {
	protocol Protocol
	conn     *tls.Conn
	in       *bufio.Reader
	out      *bufio.Writer
	head     []byte
	hung     atomic.Bool // no more reading
}

func newLink(p Protocol, conn *tls.Conn) *link {
	return &link{
		protocol: p, conn: conn,
		in: bufio.NewReaderSize(conn, bufferSize), out: bufio.NewWriterSize(conn, bufferSize),
	}
}

// read returns the next frame. It waits for its beginning as long as a silent peer is
// believed to live, and for its end as long as one frame may take.
func (l *link) read() (frame, error) {
	if l.in.Buffered() < lengthSize {
		if err := l.within(silence * l.protocol.Keepalive); err != nil {
			return frame{}, err
		}
	}
	n, err := readLength(l.in, l.protocol.MaxBody)
	if err != nil {
		return frame{}, err
	}
	if l.in.Buffered() < n {
		if err := l.within(l.protocol.Timeout); err != nil {
			return frame{}, err
		}
	}
	b, err := readBody(l.in, n)
	if err != nil {
		return frame{}, err
	}
	return decode(b)
}

// within bounds the reading that follows.
func (l *link) within(d time.Duration) error {
	if err := l.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	if l.hung.Load() { // before or after our deadline: hangUp's own then stands
		return ErrClosed
	}
	return nil
}

// hangUp ends the reading, whatever it waits for.
func (l *link) hangUp() {
	l.hung.Store(true)
	_ = l.conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
}

// close ends the connection at once. It does not say goodbye, which would wait for a peer that
// does not read: every frame says how long it is, so nothing can be cut off unnoticed.
func (l *link) close() { _ = l.conn.NetConn().Close() }

// write puts a frame into the buffer, and what does not fit on the wire.
func (l *link) write(f frame) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.protocol.Timeout)); err != nil {
		return err
	}
	l.head = f.head(l.head[:0])
	if _, err := l.out.Write(l.head); err != nil {
		return err
	}
	_, err := l.out.Write(f.body)
	return err
}

// flush puts the buffer on the wire, within the deadline of the last write.
func (l *link) flush() error { return l.out.Flush() }

// tlsConfig is what both ends share: TLS 1.3 alone, no resumption, and accept in the place of
// certificate authorities. accept judges the peer during the handshake.
func tlsConfig(id Identity, protocols []string, accept func(protocol string, pin SPKI) bool) *tls.Config {
	return &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		Certificates:                []tls.Certificate{id.cert},
		NextProtos:                  protocols,
		ClientAuth:                  tls.RequireAnyClientCert,
		InsecureSkipVerify:          true, //nolint:gosec // VerifyConnection pins the key instead
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			pin := spki(state.PeerCertificates[0]) // RequireAnyClientCert: there is one
			if !accept(state.NegotiatedProtocol, pin) {
				return fmt.Errorf("peer %v, protocol %q: %w", pin, state.NegotiatedProtocol, ErrRefused)
			}
			return nil
		},
	}
}
