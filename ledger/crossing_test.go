package ledger_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

func TestCrossingsEncodeAndDecode(t *testing.T) {
	r := ledgertest.NewRamp("cypherium")
	x := r.Deposit(3, 5, expiry)
	record := r.Record(x, 4, 5)
	decoded, err := ledger.DecodeRampRecord(record.Encode())
	if err != nil || !reflect.DeepEqual(decoded, record) {
		t.Fatalf("%+v became %+v, %v", record, decoded, err)
	}
	operator := ledger.Operator{Network: r.Network, Ledger: r.Ledger, Key: r.Operator.Key}
	p, err := operator.Passage(record.Encode())
	if err != nil || p.Crossing != x || !bytes.Equal(p.Evidence, record.Encode()) || !p.Left() {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, c := range []*ledger.SignedCommand{
		r.Leave(r.Alice, x), r.Enter(r.Alice, x, record.Encode()),
		r.Enter(r.Alice, x, make([]byte, ledger.MaxEvidence)),
	} {
		b := c.Encode()
		got, err := ledger.DecodeCommand(b)
		if err != nil || !reflect.DeepEqual(got, c) || len(b) > ledger.MaxCommand || !c.Crosses() {
			t.Fatalf("%+v became %+v, %v", c, got, err)
		}
		for n := range min(len(b), 300) {
			if _, err := ledger.DecodeCommand(b[:n]); !errors.Is(err, ledger.ErrCommand) {
				t.Fatalf("the first %d bytes of %T: %v", n, c.Command, err)
			}
		}
	}
	long := r.Enter(r.Alice, x, make([]byte, ledger.MaxEvidence+1)).Encode()
	if _, err := ledger.DecodeCommand(long); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("evidence of one byte more: %v", err)
	}
}

// Each field of a crossing is under the signature of its commands and of its record, and those that
// name it, and no others, make its id.
func TestEveryFieldOfACrossingCounts(t *testing.T) {
	r := ledgertest.NewRamp("cypherium")
	names := map[string]bool{"owner": true, "ledger": true, "nonce": true}
	for name, edit := range map[string]func(x *ledger.Crossing){
		"owner":  func(x *ledger.Crossing) { x.Owner[0]++ },
		"ledger": func(x *ledger.Crossing) { x.Asset.Ledger = "df" },
		"code":   func(x *ledger.Crossing) { x.Asset.Code = "CHF" },
		"scale":  func(x *ledger.Crossing) { x.Asset.Scale++ },
		"from":   func(x *ledger.Crossing) { x.From++ },
		"to":     func(x *ledger.Crossing) { x.To++ },
		"amount": func(x *ledger.Crossing) { x.Amount++ },
		"expiry": func(x *ledger.Crossing) { x.Expiry++ },
		"nonce":  func(x *ledger.Crossing) { x.Nonce++ },
	} {
		x := r.Deposit(1, 5, expiry)
		record := r.Record(x, 1, 5)
		commands := []*ledger.SignedCommand{r.Leave(r.Alice, x), r.Enter(r.Alice, x, []byte("proof"))}
		edit(&x)
		record.Passage.Crossing = x
		if cosi.VerifyEd25519(r.Operator.Key, record.Frame(), record.Signature) == nil {
			t.Errorf("record: %s is not under the signature", name)
		}
		commands[0].Command = &ledger.Leave{Crossing: x}
		commands[1].Command = &ledger.Enter{Crossing: x, Evidence: []byte("proof")}
		for _, c := range commands {
			if !errors.Is(c.Verify(r.Alice.Key), cosi.ErrSignature) {
				t.Errorf("%T: %s is not under the signature", c.Command, name)
			}
		}
		one := r.Deposit(1, 5, expiry)
		if same := one.ID(r.Network) == x.ID(r.Network); same == names[name] {
			t.Errorf("another %s, and the id is the same: %v", name, same)
		}
	}
	x := r.Deposit(1, 5, expiry)
	if x.ID(r.Network) == x.ID(cypherlink.NetworkID{}) || len(x.ID(r.Network).String()) != 64 {
		t.Error("the id does not know the network")
	}
	text, err := x.ID(r.Network).MarshalText()
	var back ledger.CrossingID
	if err != nil || back.UnmarshalText(text) != nil || back != x.ID(r.Network) || back.UnmarshalText(text[1:]) == nil {
		t.Errorf("the id %s became %s, %v", text, back, err)
	}
	left := commandOf(r.Leave(r.Alice, x))
	if entered := commandOf(r.Enter(r.Alice, x, nil)); strings.HasPrefix(entered, left) {
		t.Error("a Leave is the beginning of an Enter")
	}
	evidence := r.Enter(r.Alice, x, []byte("proof"))
	evidence.Command = &ledger.Enter{Crossing: x, Evidence: []byte("other")}
	if evidence.Verify(r.Alice.Key) == nil {
		t.Error("the evidence is not under the signature")
	}
}

func commandOf(c *ledger.SignedCommand) string { return string(c.Encode()) }

func FuzzDecodeRampRecord(f *testing.F) {
	r := ledgertest.NewRamp("cypherium")
	f.Add(r.Record(r.Deposit(1, 5, expiry), 1, 5).Encode())
	f.Add(r.Record(r.Burn(1, 5, expiry), 2, 5).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		record, err := ledger.DecodeRampRecord(b)
		switch {
		case err != nil && !errors.Is(err, ledger.ErrRecord):
			t.Fatal(err)
		case err == nil && !bytes.Equal(record.Encode(), b):
			t.Fatalf("%x has another form", b)
		}
	})
}
