package ilp

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Forward is the packet of an encoded Prepare for the next hop: amount and expiry are
// overwritten, every other byte is copied, so that condition and data stay what the payer
// sent (RFC 27). packet is left as it is. It is ErrPacket unless packet is a strict Prepare.
func Forward(packet []byte, amount uint64, expiresAt time.Time) ([]byte, error) {
	if _, err := DecodePrepare(packet); err != nil {
		return nil, err
	}
	d := decoder{buf: packet[1:]}
	d.length()
	content := len(packet) - len(d.buf)
	out := append([]byte(nil), packet...)
	binary.BigEndian.PutUint64(out[content:], amount)
	if _, err := appendTime(out[content+expiryAt:content+expiryAt], expiresAt); err != nil {
		return nil, err
	}
	return out, nil
}

// Hold is how long a connector holds a packet. Both are positive.
type Hold struct {
	// Window is the time that the connector needs to pass a Fulfill on: it takes so much off
	// the expiry, and refuses what would leave the next hop less than that.
	Window time.Duration
	// Max is the longest time for which the connector lets its money be bound.
	Max time.Duration
}

// ForwardExpiry is the expiry for the next hop of a packet that came with the expiry source:
// a window earlier, at most Max from now, in whole milliseconds. A packet that has expired or
// whose next hop would get less than a window is refused with a *Reject, InsufficientTimeout.
func (h Hold) ForwardExpiry(now, source time.Time) (time.Time, error) {
	if !source.After(now) {
		return time.Time{}, &Reject{Code: InsufficientTimeout, Message: "the packet has expired"}
	}
	next := source.Add(-h.Window)
	if latest := now.Add(h.Max); next.After(latest) {
		next = latest
	}
	next = next.Truncate(time.Millisecond).UTC()
	if left := next.Sub(now); left < h.Window {
		return time.Time{}, &Reject{
			Code:    InsufficientTimeout,
			Message: fmt.Sprintf("the next hop would have %s, it needs %s", max(left, 0), h.Window),
		}
	}
	return next, nil
}
