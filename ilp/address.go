package ilp

import (
	"errors"
	"fmt"
	"strings"
)

// ErrAddress means that text is not an ILP address.
var ErrAddress = errors.New("not an ILP address")

// MaxAddress is the greatest length of an address in bytes.
const MaxAddress = 1023

// Address is an ILP address (RFC 15): an allocation scheme and one or more segments of
// letters, digits, "_", "~" and "-", joined by dots, such as
// "private.cl.cypherium.bankbxxx.1". Case counts.
type Address string

// ParseAddress checks s; otherwise ErrAddress.
func ParseAddress(s string) (Address, error) {
	if len(s) > MaxAddress {
		return "", fmt.Errorf("%d bytes, at most %d: %w", len(s), MaxAddress, ErrAddress)
	}
	scheme, rest, _ := strings.Cut(s, ".")
	switch scheme {
	case "g", "private", "example", "peer", "self", "test", "test1", "test2", "test3", "local":
	default:
		return "", fmt.Errorf("%.80q has an unknown scheme: %w", s, ErrAddress)
	}
	start := true
	for _, c := range []byte(rest) {
		if !start && c == '.' {
			start = true
			continue
		}
		if !segmentByte(c) {
			return "", fmt.Errorf("%.80q: %w", s, ErrAddress)
		}
		start = false
	}
	if start {
		return "", fmt.Errorf("%.80q lacks a segment: %w", s, ErrAddress)
	}
	return Address(s), nil
}

func segmentByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '_' || c == '~' || c == '-'
}

// Scheme is the allocation scheme: the text before the first dot. A packet to "peer" goes one
// hop and is never forwarded; "self" and "local" do not leave their operator.
func (a Address) Scheme() string {
	scheme, _, _ := strings.Cut(string(a), ".")
	return scheme
}

// Child is a with one segment added, or ErrAddress.
func (a Address) Child(segment string) (Address, error) {
	if strings.Contains(segment, ".") {
		return "", fmt.Errorf("segment %.80q holds a dot: %w", segment, ErrAddress)
	}
	return ParseAddress(string(a) + "." + segment)
}

// Within tells whether a is prefix or lies below it. The border of a segment counts:
// "g.bank10" is not within "g.bank1". A scheme alone is a prefix too.
func (a Address) Within(prefix Address) bool {
	rest, ok := strings.CutPrefix(string(a), string(prefix))
	return ok && (rest == "" || rest[0] == '.')
}

// Below is what follows prefix and a dot, such as the token of a STREAM address; not ok unless
// a lies below prefix.
func (a Address) Below(prefix Address) (rest string, ok bool) {
	if !a.Within(prefix) || len(a) == len(prefix) {
		return "", false
	}
	return string(a[len(prefix)+1:]), true
}
