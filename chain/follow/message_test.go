package follow_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
)

// again decodes b as one kind of message and encodes what came out.
func again(kind byte, b []byte) ([]byte, error) {
	switch kind % 4 {
	case 0:
		m, err := follow.DecodeSubmission(b)
		if err != nil {
			return nil, err
		}
		return m.Encode(), nil
	case 1:
		m, err := follow.DecodeOutcome(b)
		if err != nil {
			return nil, err
		}
		return m.Encode(), nil
	case 2:
		m, err := follow.DecodeFetch(b)
		if err != nil {
			return nil, err
		}
		return m.Encode(), nil
	default:
		m, err := follow.DecodeBlocks(b)
		if err != nil {
			return nil, err
		}
		return m.Encode(), nil
	}
}

func messages(t testing.TB) map[byte][][]byte {
	t.Helper()
	c := newCommittee(t)
	w := c.World
	p := w.Payment("one", 1, start+60)
	c.block(t, 1, w.Prepare(p))
	c.block(t, 2)
	tx := state.NewTransaction(state.Command{Signed: w.Confirm(w.Bob, p)})
	refusal := &cypherlink.Error{Code: ledger.CodeFunds, Reason: "AM04", Message: "not enough"}
	return map[byte][][]byte{
		0: {follow.Submission{WaitMS: follow.MaxWaitMS, Transaction: tx}.Encode()},
		1: {
			follow.Outcome{Status: follow.Pending}.Encode(),
			follow.Outcome{Status: follow.Final, Height: 9}.Encode(),
			follow.Outcome{Status: follow.Refused, Height: 8, Refusal: refusal}.Encode(),
		},
		2: {follow.Fetch{From: 3, WaitMS: 5}.Encode()},
		3: {follow.Blocks{Head: 7}.Encode(), follow.Blocks{Head: 2, Blocks: c.blocks}.Encode()},
	}
}

func TestMessagesHaveOneForm(t *testing.T) {
	for kind, encoded := range messages(t) {
		for _, b := range encoded {
			if got, err := again(kind, b); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("kind %d: %x, %v", kind, got, err)
			}
			if _, err := again(kind, append(bytes.Clone(b), 0)); !errors.Is(err, follow.ErrMessage) {
				t.Fatalf("kind %d with a trailing byte: %v", kind, err)
			}
			step := max(1, len(b)/200)
			for n := 0; n < len(b); n += step {
				if _, err := again(kind, b[:n]); !errors.Is(err, follow.ErrMessage) {
					t.Fatalf("kind %d cut to %d bytes: %v", kind, n, err)
				}
			}
		}
	}
}

func TestMessageBounds(t *testing.T) {
	m := messages(t)
	wait := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		copy(b[at:], []byte{0, 0, 0x75, 0x31}) // 30,001
		return b
	}
	letters := bytes.Repeat([]byte("x"), 80)
	for name, tt := range map[string]struct {
		kind byte
		b    []byte
	}{
		"a submission that waits too long":  {0, wait(m[0][0], 0)},
		"a fetch that waits too long":       {2, wait(m[2][0], 8)},
		"a submission of no transaction":    {0, []byte{0, 0, 0, 0, 0, 0, 0, 1, 9}},
		"an unknown status":                 {1, []byte{0}},
		"a refusal with a code of 65 bytes": {1, append([]byte{3, 8: 0, 12: 65}, letters...)},
		"65 blocks":                         {3, append([]byte{7: 0, 11: 65}, make([]byte, 1<<20)...)},
	} {
		if _, err := again(tt.kind, tt.b); !errors.Is(err, follow.ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A refusal's texts are cut to what the message can hold, and stay text.
func TestLongRefusals(t *testing.T) {
	o := follow.Outcome{Status: follow.Refused, Refusal: &cypherlink.Error{
		Code: cypherlink.Code(strings.Repeat("é", 50)), Reason: "123456789",
		Message: strings.Repeat("x", 1023) + "é", Err: errors.New("secret"), Pointer: "/secret",
	}}
	got, err := follow.DecodeOutcome(o.Encode())
	if err != nil {
		t.Fatal(err)
	}
	e := got.Refusal
	if len(e.Code) != 64 || e.Reason != "12345678" || len(e.Message) != 1023 ||
		e.Err != nil || e.Pointer != "" {
		t.Fatalf("%d, %q, %d, %v", len(e.Code), e.Reason, len(e.Message), e)
	}
}

func FuzzMessages(f *testing.F) {
	for kind, encoded := range messages(f) {
		for _, b := range encoded {
			f.Add(kind, b)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, b []byte) {
		got, err := again(kind, b)
		switch {
		case err != nil && !errors.Is(err, follow.ErrMessage):
			t.Fatal(err)
		case err == nil && !bytes.Equal(got, b):
			t.Fatalf("%x encodes as %x", b, got)
		}
	})
}
