package ilp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/cypherlink/cypherlink"
)

// ErrPacket means that bytes or fields are not an ILPv4 packet, or not in its one strict form.
var ErrPacket = errors.New("malformed ILP packet")

// Bounds of a packet and its fields in bytes (RFC 27).
const (
	MaxData    = 32767
	MaxMessage = 8191
	MaxPrepare = 33857 // the largest Prepare
	MaxPacket  = 41997 // the largest packet: a Reject
)

// Type is the first byte of a packet.
type Type uint8

// The three types of packet.
const (
	TypePrepare Type = 12
	TypeFulfill Type = 13
	TypeReject  Type = 14
)

// Packet is a *Prepare, a *Fulfill or a *Reject.
//
//sumtype:decl
type Packet interface {
	// Encode is the canonical form, or ErrPacket if a field is out of its bounds.
	Encode() ([]byte, error)
	packet()
}

// Prepare offers an amount against the preimage of a condition.
type Prepare struct {
	// Amount is in minor units of the asset that the two neighbours agreed on. It changes on
	// every hop; see ToAmount.
	Amount uint64
	// ExpiresAt is in UTC and in whole milliseconds, in the years 0 to 9999.
	ExpiresAt   time.Time
	Condition   cypherlink.Condition
	Destination Address
	// Data is for the payee's bank alone: at most MaxData bytes, with STREAM an envelope.
	Data []byte
}

// Fulfill is the preimage, which proves that the payee's bank was paid.
type Fulfill struct {
	Preimage cypherlink.Preimage
	Data     []byte // at most MaxData bytes
}

// Reject says why a packet was not fulfilled. It is a Go error too, so that a rule can refuse
// with it; whoever sends it fills in TriggeredBy.
type Reject struct { //nolint:errname // the protocol's own word
	Code ErrorCode
	// TriggeredBy is the connector or bank that rejected, or empty.
	TriggeredBy Address
	// Message is for people: UTF-8 of at most MaxMessage bytes.
	Message string
	Data    []byte // at most MaxData bytes
}

// Error is code and message.
func (r *Reject) Error() string { return "ILP reject " + string(r.Code) + ": " + r.Message }

func (*Prepare) packet() {}
func (*Fulfill) packet() {}
func (*Reject) packet()  {}

// ToAmount is an amount on the wire as ours; above 2^63-1 it is ErrAmountRange.
func ToAmount(wire uint64) (cypherlink.Amount, error) {
	if wire > math.MaxInt64 {
		return 0, fmt.Errorf("ILP amount %d: %w", wire, cypherlink.ErrAmountRange)
	}
	return cypherlink.Amount(wire), nil
}

// Positions of the parts of a Prepare's content that a connector changes.
const (
	expiryAt    = 8
	conditionAt = 25
)

// Encode is the canonical form, or ErrPacket.
func (p *Prepare) Encode() ([]byte, error) {
	if err := checkData(p.Data); err != nil {
		return nil, err
	}
	if _, err := ParseAddress(string(p.Destination)); err != nil {
		return nil, fmt.Errorf("%w: destination: %w", ErrPacket, err)
	}
	b := begin(TypePrepare, conditionAt+len(p.Condition)+varSize(len(p.Destination))+varSize(len(p.Data)))
	b = binary.BigEndian.AppendUint64(b, p.Amount)
	b, err := appendTime(b, p.ExpiresAt)
	if err != nil {
		return nil, err
	}
	b = append(b, p.Condition[:]...)
	b = appendVar(b, p.Destination)
	return appendVar(b, p.Data), nil
}

// Encode is the canonical form, or ErrPacket.
func (f *Fulfill) Encode() ([]byte, error) {
	if err := checkData(f.Data); err != nil {
		return nil, err
	}
	b := begin(TypeFulfill, len(f.Preimage)+varSize(len(f.Data)))
	b = append(b, f.Preimage[:]...)
	return appendVar(b, f.Data), nil
}

// Encode is the canonical form, or ErrPacket.
func (r *Reject) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b := begin(TypeReject,
		len(r.Code)+varSize(len(r.TriggeredBy))+varSize(len(r.Message))+varSize(len(r.Data)))
	b = append(b, r.Code...)
	b = appendVar(b, r.TriggeredBy)
	b = appendVar(b, r.Message)
	return appendVar(b, r.Data), nil
}

func (r *Reject) check() error {
	if !r.Code.valid() {
		return fmt.Errorf("%w: error code %q", ErrPacket, string(r.Code))
	}
	if r.TriggeredBy != "" {
		if _, err := ParseAddress(string(r.TriggeredBy)); err != nil {
			return fmt.Errorf("%w: triggered by: %w", ErrPacket, err)
		}
	}
	if len(r.Message) > MaxMessage || !utf8.ValidString(r.Message) {
		return fmt.Errorf("%w: a message is UTF-8 of at most %d bytes", ErrPacket, MaxMessage)
	}
	return checkData(r.Data)
}

func checkData(data []byte) error {
	if len(data) > MaxData {
		return fmt.Errorf("%w: %d bytes of data, at most %d", ErrPacket, len(data), MaxData)
	}
	return nil
}

// begin is type and length of a packet of size bytes of content, with room for the content.
func begin(t Type, size int) []byte {
	return appendLength(append(make([]byte, 0, 1+varSize(size)), byte(t)), size)
}

// Decode takes exactly one packet in its strict form; otherwise ErrPacket. The result's data
// shares memory with b.
func Decode(b []byte) (Packet, error) {
	d := decoder{buf: b}
	t := Type(d.u8())
	content := decoder{buf: d.variable(MaxPacket)}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacket, err)
	}
	p, err := content.packet(t)
	if err == nil {
		err = content.end()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacket, err)
	}
	return p, nil
}

// DecodePrepare is Decode for a packet that has to be a Prepare.
func DecodePrepare(b []byte) (*Prepare, error) {
	p, err := Decode(b)
	if err != nil {
		return nil, err
	}
	if prepare, ok := p.(*Prepare); ok {
		return prepare, nil
	}
	return nil, fmt.Errorf("%w: type %d, not a Prepare", ErrPacket, b[0])
}

// packet reads the content of a packet of type t.
func (d *decoder) packet(t Type) (Packet, error) {
	switch t {
	case TypePrepare:
		p := &Prepare{Amount: d.u64(), ExpiresAt: d.time()}
		d.fixed(p.Condition[:])
		p.Destination = d.address(false)
		p.Data = d.variable(MaxData)
		return p, d.err
	case TypeFulfill:
		f := &Fulfill{}
		d.fixed(f.Preimage[:])
		f.Data = d.variable(MaxData)
		return f, d.err
	case TypeReject:
		r := &Reject{Code: ErrorCode(d.take(3)), TriggeredBy: d.address(true)}
		r.Message = string(d.variable(MaxMessage))
		r.Data = d.variable(MaxData)
		if d.err != nil {
			return nil, d.err
		}
		return r, r.check()
	default:
		return nil, fmt.Errorf("type %d", t)
	}
}

func (d *decoder) address(optional bool) Address {
	b := d.variable(MaxAddress)
	if d.err != nil || optional && len(b) == 0 {
		return ""
	}
	a, err := ParseAddress(string(b))
	if err != nil {
		d.fail(err)
	}
	return a
}

// timeSize is the length of a timestamp, "YYYYMMDDHHmmSSfff".
const timeSize = 17

func appendTime(b []byte, t time.Time) ([]byte, error) {
	t = t.UTC()
	ms := t.Nanosecond() / 1e6
	if t.Year() < 0 || t.Year() > 9999 || t.Nanosecond() != ms*1e6 {
		return nil, fmt.Errorf("%w: expiry %s: whole milliseconds, years 0 to 9999", ErrPacket, t)
	}
	b = t.AppendFormat(b, "20060102150405")
	//nolint:gosec // each is a digit
	return append(b, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10)), nil
}

// time reads a timestamp. RFC 30 forbids month 13, hour 24 and second 60.
func (d *decoder) time() time.Time {
	b := d.take(timeSize)
	if b == nil {
		return time.Time{}
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			d.fail(fmt.Errorf("timestamp %q: %w", b, errNotCanonical))
			return time.Time{}
		}
	}
	number := func(from, to int) (n int) {
		for _, c := range b[from:to] {
			n = n*10 + int(c-'0')
		}
		return n
	}
	year, month, day := number(0, 4), number(4, 6), number(6, 8)
	hour, minute, second, ms := number(8, 10), number(10, 12), number(12, 14), number(14, 17)
	t := time.Date(year, time.Month(month), day, hour, minute, second, ms*1e6, time.UTC)
	if t.Month() != time.Month(month) || t.Day() != day ||
		t.Hour() != hour || t.Minute() != minute || t.Second() != second {
		d.fail(fmt.Errorf("timestamp %q: %w", b, errNotCanonical))
	}
	return t
}
