package chain_test

import (
	"bytes"
	"testing"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/internal/wire"
)

// canonical demands that what decodes encodes to the same bytes.
func canonical[T interface{ AppendWire(*wire.Writer) }](t *testing.T, b []byte, read func(*wire.Reader) T) {
	t.Helper()
	v, err := decoded(b, read)
	if err != nil {
		return
	}
	if back := encoded(v); !bytes.Equal(back, b) {
		t.Fatalf("%T: %x decodes and encodes to %x", v, b, back)
	}
}

func FuzzDecode(f *testing.F) {
	h := newHouse(f, 4)
	one := h.child(h.at, 1, []byte("transaction"))
	two := h.child(one, 3)
	q := h.qc(f, one.Tuple(), 0, 1, 2)
	tc := h.tc(f, 2, q, h.Genesis(), q)
	timeout := h.timeout(f, 1, 3, q)
	timeout.TC = &tc
	block := chain.Block{Header: one, Payload: chain.Payload{[]byte("transaction")}}
	skipping := chain.Block{Header: two, Votes: q.Votes, TC: &tc}
	for _, b := range [][]byte{
		encoded(one), encoded(q), encoded(h.Genesis()), encoded(tc), encoded(timeout),
		encoded(h.vote(f, 2, one.Tuple())), encoded(block), encoded(skipping),
		encoded(chain.Proposal{Block: skipping}), encoded(h.signed(f, one)),
		encoded(chain.FinalityProof{Headers: []chain.Header{one, two}, QC: q}),
		h.KeyBlock().Encode(),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		canonical(t, b, chain.ReadHeader)
		canonical(t, b, chain.ReadTuple)
		canonical(t, b, chain.ReadQC)
		canonical(t, b, chain.ReadTC)
		canonical(t, b, chain.ReadVote)
		canonical(t, b, chain.ReadTimeout)
		canonical(t, b, chain.ReadPayload)
		canonical(t, b, chain.ReadBlock)
		canonical(t, b, chain.ReadProposal)
		canonical(t, b, chain.ReadSignedHeader)
		canonical(t, b, chain.ReadFinalityProof)
		if k, err := chain.DecodeKeyBlock(b); err == nil && !bytes.Equal(k.Encode(), b) {
			t.Fatalf("key block %x encodes to %x", b, k.Encode())
		}
	})
}

func TestDecodersTakeTheirFormAlone(t *testing.T) {
	h := newHouse(t, 4)
	one := h.child(h.at, 1)
	b := one.Encode()
	if back, err := chain.DecodeHeader(b[:]); err != nil || back != one {
		t.Fatal(err)
	}
	k := h.KeyBlock().Encode()
	block := chain.Block{Header: one}.Encode()
	proof := chain.FinalityProof{Headers: []chain.Header{one}, QC: h.Genesis()}.Encode()
	for name, decode := range map[string]func([]byte) error{
		"header":    func(b []byte) error { _, err := chain.DecodeHeader(b); return err },
		"key block": func(b []byte) error { _, err := chain.DecodeKeyBlock(b); return err },
		"block":     func(b []byte) error { _, err := chain.DecodeBlock(b); return err },
		"proof":     func(b []byte) error { _, err := chain.DecodeFinalityProof(b); return err },
	} {
		good := map[string][]byte{"header": b[:], "key block": k, "block": block, "proof": proof}[name]
		if err := decode(good); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for cut := range good {
			if decode(good[:cut]) == nil {
				t.Fatalf("%s: %d of %d bytes decode", name, cut, len(good))
			}
		}
		if decode(append(bytes.Clone(good), 0)) == nil {
			t.Fatalf("%s: a trailing byte decodes", name)
		}
	}
	old := one
	old.TimeMS = -1
	b = old.Encode()
	if _, err := chain.DecodeHeader(b[:]); err == nil {
		t.Fatal("a time before 1970 decodes")
	}
}

func BenchmarkHeaderEncode(b *testing.B) {
	h := newHouse(b, 4)
	one := h.child(h.at, 1)
	for b.Loop() {
		_ = one.Encode()
	}
}

func BenchmarkHeaderID(b *testing.B) {
	h := newHouse(b, 4)
	one := h.child(h.at, 1)
	for b.Loop() {
		_ = one.ID()
	}
}
