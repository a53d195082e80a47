package peer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net"

	"github.com/cypherlink/cypherlink"
)

const (
	// MaxHandshakes is how many strangers there are at a time.
	MaxHandshakes = maxHandshakes
	// MaxPerPeer is how many connections one peer may have.
	MaxPerPeer = maxPerPeer
	// BackoffMax is the longest pause between two attempts.
	BackoffMax = backoffMax
)

// Certificate is the identity as crypto/tls has it, for a peer that breaks the rules.
func (id Identity) Certificate() tls.Certificate { return id.cert }

// ListenOn is Listen on a socket of the test's own.
func ListenOn(
	ctx context.Context, socket net.Listener, id Identity, log *slog.Logger, services ...Service,
) (*Listener, error) {
	return listen(ctx, socket, id, log, services)
}

// Peers is how many peers the listener remembers.
func (l *Listener) Peers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, s := range l.services {
		n += len(s.peers)
	}
	return n
}

// DialBy is Dial through a dialer of the test's own.
func DialBy(
	dialer func(ctx context.Context, network, addr string) (net.Conn, error),
	pin SPKI, id Identity, p Protocol, classes ...Class,
) (*Client, error) {
	return dial(dialer, "nowhere:0", pin, id, p, classes)
}

// Frames as bytes, for a peer that writes by itself.

// MessageFrame is a one-way message.
func MessageFrame(kind uint8, body []byte) []byte {
	return append(frame{form: message, kind: kind, body: body}.head(nil), body...)
}

// RequestFrame is a call.
func RequestFrame(id uint64, wait uint32, kind uint8, body []byte) []byte {
	return append(frame{form: request, id: id, wait: wait, kind: kind, body: body}.head(nil), body...)
}

// AnswerFrame is an answer.
func AnswerFrame(id uint64, body []byte) []byte {
	return append(frame{form: answer, id: id, body: body}.head(nil), body...)
}

// RefusalFrame is a refusal of err.
func RefusalFrame(id uint64, err error) []byte {
	f := refuse(id, err)
	return append(f.head(nil), f.body...)
}

// PingFrame is a sign of life.
func PingFrame() []byte { return frame{form: ping}.head(nil) }

// PongFrame is the answer to it.
func PongFrame() []byte { return frame{form: pong}.head(nil) }

// Recode reads one frame and writes it again.
func Recode(b []byte, maxBody int) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(b))
	n, err := readLength(r, maxBody)
	if err != nil {
		return nil, err
	}
	body, err := readBody(r, n)
	if err != nil {
		return nil, err
	}
	f, err := decode(body)
	if err != nil {
		return nil, err
	}
	return append(f.head(nil), f.body...), nil
}

// RecodeRefusal reads a refusal's body and writes it again.
func RecodeRefusal(b []byte) ([]byte, error) {
	e, err := readRefusal(b)
	if err != nil {
		return nil, err
	}
	return refuse(0, &cypherlink.Error{Code: e.Code, Reason: e.Reason, Message: e.Message}).body, nil
}
