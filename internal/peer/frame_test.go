package peer_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/peer"
)

func TestFrames(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 4096)
	for _, tt := range []struct {
		name string
		in   []byte
		want error // nil: accepted, and written again as it was
	}{
		{"a message", peer.MessageFrame(7, []byte("body")), nil},
		{"an empty message", peer.MessageFrame(0, nil), nil},
		{"a request", peer.RequestFrame(1<<63, 1<<31, 255, []byte("body")), nil},
		{"a request of the longest body", peer.RequestFrame(1, 1, 1, long), nil},
		{"an answer", peer.AnswerFrame(9, []byte("body")), nil},
		{"an empty answer", peer.AnswerFrame(9, nil), nil},
		{"a refusal", peer.RefusalFrame(9, errors.New("x")), nil},
		{"a ping", peer.PingFrame(), nil},
		{"a pong", peer.PongFrame(), nil},
		{"nothing", nil, io.EOF},
		{"half a length", []byte{0, 0}, io.ErrUnexpectedEOF},
		{"no form", []byte{0, 0, 0, 0}, peer.ErrProtocol},
		{"form 0", []byte{0, 0, 0, 1, 0}, peer.ErrProtocol},
		{"an unknown form", []byte{0, 0, 0, 1, 7}, peer.ErrProtocol},
		{"a message without its kind", []byte{0, 0, 0, 1, 1}, peer.ErrProtocol},
		{
			"a request cut in its head",
			[]byte{0, 0, 0, 13, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1},
			peer.ErrProtocol,
		},
		{"an answer cut in its id", []byte{0, 0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0}, peer.ErrProtocol},
		{"a ping with a body", []byte{0, 0, 0, 2, 5, 0}, peer.ErrProtocol},
		{"a body cut short", []byte{0, 0, 0, 9, 1, 1, 'x'}, io.ErrUnexpectedEOF},
		{"a length above the limit", peer.RequestFrame(1, 1, 1, append(long, 'x')), peer.ErrProtocol},
		{"the longest length", []byte{255, 255, 255, 255, 1}, peer.ErrProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := peer.Recode(tt.in, len(long))
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if tt.want == nil && !bytes.Equal(out, tt.in) {
				t.Errorf("%x was written again as %x", tt.in, out)
			}
		})
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(peer.MessageFrame(7, []byte("body")))
	f.Add(peer.RequestFrame(1, 1000, 2, []byte("body")))
	f.Add(peer.RefusalFrame(9, &cypherlink.Error{Code: "a", Reason: "AM04", Message: "no"}))
	f.Add(peer.PongFrame())
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := peer.Recode(b, 4096)
		if err == nil && !bytes.HasPrefix(b, out) {
			t.Errorf("%x was written again as %x", b, out)
		}
	})
}

func FuzzRefusal(f *testing.F) {
	f.Add(peer.RefusalFrame(9, &cypherlink.Error{Code: "a", Reason: "AM04", Message: "no"})[13:])
	f.Add(peer.RefusalFrame(9, errors.New("x"))[13:])
	f.Add(append(peer.RefusalFrame(9, errors.New("x"))[13:], 0))
	f.Add([]byte{0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := peer.RecodeRefusal(b)
		if err == nil && !bytes.Equal(b, out) {
			t.Errorf("%x was written again as %x", b, out)
		}
	})
}

// TestLongRefusalIsCut: whatever an error says, its refusal can be read.
func TestLongRefusalIsCut(t *testing.T) {
	long := strings.Repeat("é", 2000)
	frame := peer.RefusalFrame(1, &cypherlink.Error{
		Code: cypherlink.Code(long), Reason: long, Message: "a" + long + "\xff",
	})
	if _, err := peer.RecodeRefusal(frame[13:]); err != nil {
		t.Error(err)
	}
}
