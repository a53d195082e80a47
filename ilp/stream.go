package ilp

import (
	"errors"
	"fmt"
)

// ErrStream means that an opened envelope is not a STREAM packet.
var ErrStream = errors.New("malformed STREAM packet")

const streamVersion = 1

// StreamPacket is what an envelope holds (RFC 29, 5.2): it is for the two ends alone.
type StreamPacket struct {
	// Carrier is the type of the ILP packet that carries the envelope.
	Carrier Type
	// Sequence grows by one with every Prepare under one shared secret, from 1.
	Sequence uint64
	// Amount is, in a Prepare, the least that has to arrive, in minor units of the receiver's
	// asset; in a reply, what arrived.
	Amount uint64
	Frames []Frame
	// Padding is the number of zero bytes after the frames. They hide the size.
	Padding int
}

// Encode is the plaintext of an envelope, or ErrStream. Padding above MaxData is refused.
func (p *StreamPacket) Encode() ([]byte, error) {
	if p.Carrier < TypePrepare || p.Carrier > TypeReject {
		return nil, fmt.Errorf("%w: carrier of type %d", ErrStream, p.Carrier)
	}
	if p.Padding < 0 || p.Padding > MaxData {
		return nil, fmt.Errorf("%w: %d bytes of padding", ErrStream, p.Padding)
	}
	b := append(make([]byte, 0, 128), streamVersion, byte(p.Carrier))
	b = appendVarUint(b, p.Sequence)
	b = appendVarUint(b, p.Amount)
	b = appendVarUint(b, uint64(len(p.Frames)))
	var contents []byte
	for _, f := range p.Frames {
		contents = f.appendContents(contents[:0])
		b = appendVar(append(b, f.kind()), contents)
	}
	return append(b, make([]byte, p.Padding)...), nil
}

// DecodeStream takes the plaintext of an envelope; otherwise ErrStream. Frames of unknown type
// are kept as UnknownFrame, to be ignored (RFC 29, 5.3). The result shares memory with b. For
// every accepted b without an integer of more than 64 bits, which two frames clamp, it encodes
// to b.
func DecodeStream(b []byte) (*StreamPacket, error) {
	d := decoder{buf: b}
	if v := d.u8(); d.err == nil && v != streamVersion {
		return nil, fmt.Errorf("%w: version %d", ErrStream, v)
	}
	p := &StreamPacket{Carrier: Type(d.u8()), Sequence: d.varUint(), Amount: d.varUint()}
	if d.err == nil && (p.Carrier < TypePrepare || p.Carrier > TypeReject) {
		return nil, fmt.Errorf("%w: carrier of type %d", ErrStream, p.Carrier)
	}
	count := d.varUint()
	if count > uint64(len(d.buf)/2) { // a frame has at least two bytes
		return nil, fmt.Errorf("%w: %d frames in %d bytes", ErrStream, count, len(d.buf))
	}
	if count > 0 {
		p.Frames = make([]Frame, 0, count)
	}
	for range count {
		kind := d.u8()
		contents := decoder{buf: d.variable(MaxData)}
		if d.err != nil {
			break
		}
		f := contents.frame(kind)
		if err := contents.end(); err != nil {
			return nil, fmt.Errorf("%w: frame of type %#02x: %w", ErrStream, kind, err)
		}
		p.Frames = append(p.Frames, f)
	}
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStream, d.err)
	}
	for _, c := range d.buf {
		if c != 0 {
			return nil, fmt.Errorf("%w: padding is not zero", ErrStream)
		}
	}
	p.Padding = len(d.buf)
	return p, nil
}
