package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// form says what a frame is.
type form uint8

const (
	message form = iota + 1 // to the listener: kind, body; no answer
	request                 // to the listener: id, milliseconds to wait, kind, body
	answer                  // to the client: id, body
	refusal                 // to the client: id, code, reason, message
	ping                    // to the listener: nothing
	pong                    // to the client: nothing
)

const (
	lengthSize   = 4
	requestSize  = 1 + 8 + 4 + 1 // form, id, wait, kind: the longest head
	firstPart    = 64 << 10      // memory taken for a body before any of it has come
	maxCode      = 64
	maxReason    = 8
	maxMessage   = 1024
	refusalSize  = 1 + 8 + 3*lengthSize + maxCode + maxReason + maxMessage
	smallestBody = refusalSize // of a protocol's limit, so that every refusal fits
)

// ErrProtocol means that a peer sent what its protocol does not allow. The connection is
// closed.
var ErrProtocol = errors.New("peer: protocol violation")

// frame is a 4-byte length and what it counts: one byte of form, then the form's fields, big
// endian.
type frame struct {
	form form
	id   uint64 // request, answer, refusal
	wait uint32 // request: milliseconds until its caller gives up
	kind uint8  // message, request
	body []byte // message, request, answer; refusal: code, reason, message
}

// head appends everything but the body.
func (f frame) head(b []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, byte(f.form))
	switch f.form {
	case message:
		b = append(b, f.kind)
	case request:
		b = binary.BigEndian.AppendUint64(b, f.id)
		b = binary.BigEndian.AppendUint32(b, f.wait)
		b = append(b, f.kind)
	case answer, refusal:
		b = binary.BigEndian.AppendUint64(b, f.id)
	case ping, pong:
	}
	//nolint:gosec // the body is below its protocol's limit
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-lengthSize+len(f.body)))
	return b
}

// decode reads what the length counted. The body is a part of b.
func decode(b []byte) (frame, error) {
	r := wire.NewReader(b)
	f := frame{form: form(r.U8())}
	rest := len(b) - 1
	switch f.form {
	case message:
		f.kind = r.U8()
		rest--
	case request:
		f.id, f.wait, f.kind = r.U64(), r.U32(), r.U8()
		rest = len(b) - requestSize
	case answer, refusal:
		f.id = r.U64()
		rest -= 8
	case ping, pong:
		if rest != 0 {
			return frame{}, fmt.Errorf("frame of form %d with %d bytes: %w", f.form, rest, ErrProtocol)
		}
	default:
		return frame{}, fmt.Errorf("frame of form %d: %w", f.form, ErrProtocol)
	}
	if err := r.Err(); err != nil {
		return frame{}, fmt.Errorf("frame of form %d: %w: %w", f.form, ErrProtocol, err)
	}
	f.body = b[len(b)-rest:]
	return f, nil
}

// readLength reads and checks a frame's length against the limit of its body.
func readLength(r *bufio.Reader, maxBody int) (int, error) {
	var b [lengthSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(b[:])
	if uint64(n) > uint64(requestSize)+uint64(maxBody) { //nolint:gosec // maxBody > 0
		return 0, fmt.Errorf("frame of %d bytes, body at most %d: %w", n, maxBody, ErrProtocol)
	}
	return int(n), nil
}

// readBody reads n bytes. It takes memory as they come, so that a peer that announces much
// and sends little holds little.
func readBody(r *bufio.Reader, n int) ([]byte, error) {
	b := make([]byte, 0, min(n, firstPart))
	for len(b) < n {
		if len(b) == cap(b) {
			b = slices.Grow(b, min(n-len(b), len(b)))
		}
		part := b[len(b):min(n, cap(b))]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, err
		}
		b = b[:len(b)+len(part)]
	}
	return b, nil
}

// RemoteError is a peer's refusal of a call.
type RemoteError struct {
	// Code is the class, "internal" if the peer keeps it to itself.
	Code cypherlink.Code
	// Reason is an ISO 20022 reason code, or empty.
	Reason string
	// Message is for a person.
	Message string
}

// Error is the message with its code and reason.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("peer refused: %s [%s %s]", e.Message, e.Code, e.Reason)
}

const (
	// CodeBusy means that the peer runs as many calls of this process as it allows.
	CodeBusy cypherlink.Code = "peer_busy"
	// CodeTooLarge means that the answer exceeds the protocol's limit.
	CodeTooLarge cypherlink.Code = "peer_answer_too_large"
)

// refuse makes a refusal of err: a *cypherlink.Error as far as it may be told outside, and
// "internal" for everything else.
func refuse(id uint64, err error) frame {
	var code, reason, text string
	if e, ok := errors.AsType[*cypherlink.Error](err); ok {
		code, reason, text = string(e.Code), e.Reason, e.Message
	} else {
		code = string(cypherlink.ErrorCode(err))
	}
	w := wire.NewWriter(refusalSize)
	w.Str(cut(code, maxCode))
	w.Str(cut(reason, maxReason))
	w.Str(cut(text, maxMessage))
	return frame{form: refusal, id: id, body: w.Bytes()}
}

// cut makes text valid UTF-8 of at most limit bytes.
func cut(text string, limit int) string {
	return strings.ToValidUTF8(text[:min(len(text), limit)], "")
}

// readRefusal decodes a refusal's body.
func readRefusal(body []byte) (*RemoteError, error) {
	r := wire.NewReader(body)
	e := &RemoteError{
		Code: cypherlink.Code(r.Str(maxCode)), Reason: r.Str(maxReason), Message: r.Str(maxMessage),
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("refusal: %w: %w", ErrProtocol, err)
	}
	return e, nil
}
