package bft_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// messages has one of each kind, and of each optional part.
func messages(t testing.TB) []bft.Message {
	t.Helper()
	l := newLone(t, nil)
	one := l.block(l.genesis, 1, payload("a", "b"))
	q := l.qc(one.Header)
	tc := l.tc(2, q, l.Genesis(), q)
	three := l.block(one.Header, 3, after(tc))
	vote, timeout := l.vote(1, one.Header.Tuple()), l.timeout(2, 3, q)
	timeout.TC = &tc
	signed := l.proposal(one).Signed()
	return []bft.Message{
		l.proposal(one), l.proposal(three),
		bft.Vote{Vote: vote},
		bft.Timeout{Timeout: timeout},
		bft.Certified{QC: q},
		bft.TimedOut{TC: tc},
		bft.Fetch{From: 1, QC: q},
		bft.Blocks{Blocks: []chain.Block{one, three}, QC: q},
		bft.Blocks{Blocks: []chain.Block{}, QC: q},
		bft.Hello{},
		bft.Status{High: l.Genesis()},
		bft.Status{High: q, TC: &tc, Vote: &vote, Timeout: &timeout, Proposal: &signed},
	}
}

func TestMessagesTravel(t *testing.T) {
	for _, m := range messages(t) {
		b := bft.Encode(7, m)
		epoch, back, err := bft.Decode(b)
		if err != nil || epoch != 7 || !reflect.DeepEqual(back, m) {
			t.Fatalf("%T: epoch %d, %v", m, epoch, err)
		}
		for cut := range b {
			if _, _, err := bft.Decode(b[:cut]); !errors.Is(err, bft.ErrMessage) {
				t.Fatalf("%T: %d of %d bytes: %v", m, cut, len(b), err)
			}
		}
		if _, _, err := bft.Decode(append(bytes.Clone(b), 0)); !errors.Is(err, bft.ErrMessage) {
			t.Fatalf("%T: a trailing byte: %v", m, err)
		}
	}
	if _, _, err := bft.Decode([]byte{0, 0, 0, 0, 0, 0, 0, 1, 99}); !errors.Is(err, bft.ErrMessage) {
		t.Fatal("an unknown kind:", err)
	}
	if _, _, err := bft.Decode(make([]byte, bft.MaxMessage+1)); !errors.Is(err, bft.ErrMessage) {
		t.Fatal("a message that is too long:", err)
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range messages(f) {
		f.Add(bft.Encode(1, m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		epoch, m, err := bft.Decode(b)
		if err == nil && !bytes.Equal(bft.Encode(epoch, m), b) {
			t.Fatalf("%x decodes and encodes to %x", b, bft.Encode(epoch, m))
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(wired(newVault(f, 4).Record()))
	f.Add(wired(filled(f, 4).Record()))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.NewReader(b)
		record := bft.ReadRecord(r)
		if r.End() == nil && !bytes.Equal(wired(record), b) {
			t.Fatalf("%x decodes and encodes to %x", b, wired(record))
		}
	})
}

// FuzzReplica feeds arbitrary messages to a replica: nothing that one member can send makes
// it panic, fail or sign twice.
func FuzzReplica(f *testing.F) {
	l := newLone(f, nil)
	for i, m := range messages(f) {
		f.Add(uint8(i), bft.Encode(1, m))
	}
	f.Fuzz(func(t *testing.T, from uint8, b []byte) {
		_, m, err := bft.Decode(b)
		if err != nil {
			return
		}
		if err := l.try(int(from%5), m); err != nil {
			t.Fatal(err)
		}
	})
}
