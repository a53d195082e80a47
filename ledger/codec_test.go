package ledger_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/validator"
)

// commands are one of each kind.
func commands() []*ledger.SignedCommand {
	w := ledgertest.NewWorld()
	p := w.Payment("one", 700, expiry)
	r := ledgertest.NewRamp("cypherium")
	x := r.Deposit(1, 700, expiry)
	return []*ledger.SignedCommand{
		w.Prepare(p), w.Confirm(w.Bob, p), w.Return(w.Bob, p),
		r.Leave(r.Alice, x), r.Enter(r.Alice, x, r.Record(x, 1, start*1000).Encode()),
		w.Sign(w.Alice, &ledger.Prepare{Subject: p.Subject, Packet: []byte{}}),
	}
}

func TestCommandsEncodeAndDecode(t *testing.T) {
	for _, c := range commands() {
		b := c.Encode()
		got, err := ledger.DecodeCommand(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Fatalf("%+v became %+v", c, got)
		}
		if !bytes.Equal(got.Encode(), b) {
			t.Fatal("another form")
		}
		for n := range b {
			if _, err := ledger.DecodeCommand(b[:n]); !errors.Is(err, ledger.ErrCommand) {
				t.Fatalf("the first %d bytes of %T: %v", n, c.Command, err)
			}
		}
		if _, err := ledger.DecodeCommand(append(b, 0)); !errors.Is(err, wire.ErrTrailing) {
			t.Fatalf("a trailing byte after %T: %v", c.Command, err)
		}
	}
}

func TestLargestCommandFits(t *testing.T) {
	w := ledgertest.NewWorld()
	w.Ledger = "sixteen-letters-"
	p := w.Payment("one", 700, expiry)
	p.Subject.Fields.Asset = cypherlink.Asset{Ledger: w.Ledger, Code: "SIXTEEN.LETTERS.", Scale: 18}
	v := w.Approval(p.Subject)
	v.Outcome, v.Reason = validator.Rejected, "RR04"
	c := w.Sign(w.Alice, &ledger.Prepare{
		Subject: p.Subject, Packet: make([]byte, ledger.MaxPacket),
		Verdicts: slices.Repeat([]validator.Signed{w.Signed(w.Alice, v)}, validator.MaxValidators),
	})
	b := c.Encode()
	if _, err := ledger.DecodeCommand(b); err != nil || len(b) > ledger.MaxCommand {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	prepare := c.Command.(*ledger.Prepare)
	prepare.Packet = append(prepare.Packet, 0)
	if _, err := ledger.DecodeCommand(c.Encode()); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("a packet of one byte more: %v", err)
	}
	prepare.Packet = nil
	prepare.Verdicts = append(prepare.Verdicts, prepare.Verdicts[0])
	if _, err := ledger.DecodeCommand(c.Encode()); !errors.Is(err, wire.ErrTooLong) {
		t.Errorf("a verdict more: %v", err)
	}
	if _, err := ledger.DecodeCommand(make([]byte, ledger.MaxCommand+1)); !errors.Is(err, ledger.ErrCommand) {
		t.Errorf("too long: %v", err)
	}
}

// H5: no other length of preimage is ever taken, so no two ledgers can be played off.
func TestPreimageHas32Bytes(t *testing.T) {
	w := ledgertest.NewWorld()
	good := w.Confirm(w.Bob, w.Payment("one", 700, expiry)).Encode()
	end := len(good) - 64 // of the preimage
	shorter := slices.Delete(slices.Clone(good), end-1, end)
	longer := slices.Insert(slices.Clone(good), end, 0)
	for name, b := range map[string][]byte{"31 bytes": shorter, "33 bytes": longer} {
		if _, err := ledger.DecodeCommand(b); !errors.Is(err, ledger.ErrCommand) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ledger.DecodeCommand(good); err != nil {
		t.Error(err)
	}
}

func TestUnknownForms(t *testing.T) {
	w := ledgertest.NewWorld()
	p := w.Payment("one", 700, expiry)
	b := w.Return(w.Bob, p).Encode()
	kind := 8 + 4 + len(w.Ledger) + 32 + 8
	for _, k := range []byte{0, 6, 255} {
		b[kind] = k
		if _, err := ledger.DecodeCommand(b); !errors.Is(err, ledger.ErrCommand) {
			t.Errorf("kind %d: %v", k, err)
		}
	}
	for _, id := range []cypherlink.LedgerID{"", "DE", "a-name-that-is-too-long"} {
		c := w.Return(w.Bob, p)
		c.Ledger = id
		if _, err := ledger.DecodeCommand(c.Encode()); !errors.Is(err, ledger.ErrCommand) {
			t.Errorf("ledger %q: %v", id, err)
		}
	}
	custody := ledger.Custody{Subject: p.Subject}
	custody.State = 4
	if _, err := readCustody(encodeCustody(custody)); !errors.Is(err, ledger.ErrRecord) {
		t.Errorf("state 4: %v", err)
	}
}

// Each field of a command is under its signature.
func TestCommandFrameCoversEveryField(t *testing.T) {
	w := ledgertest.NewWorld()
	p := w.Payment("one", 700, expiry)
	prepare := func(edit func(*ledger.Prepare)) func(*ledger.SignedCommand) {
		return func(c *ledger.SignedCommand) {
			body := *c.Command.(*ledger.Prepare)
			edit(&body)
			c.Command = &body
		}
	}
	edits := map[string]func(*ledger.SignedCommand){
		"network":   func(c *ledger.SignedCommand) { c.Network[0]++ },
		"ledger":    func(c *ledger.SignedCommand) { c.Ledger = "df" },
		"signer":    func(c *ledger.SignedCommand) { c.Signer[0]++ },
		"sequence":  func(c *ledger.SignedCommand) { c.Sequence++ },
		"kind":      func(c *ledger.SignedCommand) { c.Command = &ledger.Return{ID: w.ID(p)} },
		"terms":     prepare(func(p *ledger.Prepare) { p.Subject.Terms[0]++ }),
		"leg":       prepare(func(p *ledger.Prepare) { p.Subject.Leg++ }),
		"asset":     prepare(func(p *ledger.Prepare) { p.Subject.Fields.Asset.Scale++ }),
		"debit":     prepare(func(p *ledger.Prepare) { p.Subject.Fields.Debit.Number++ }),
		"credit":    prepare(func(p *ledger.Prepare) { p.Subject.Fields.Credit.Number++ }),
		"amount":    prepare(func(p *ledger.Prepare) { p.Subject.Fields.Amount++ }),
		"expiry":    prepare(func(p *ledger.Prepare) { p.Subject.Fields.Expiry++ }),
		"condition": prepare(func(p *ledger.Prepare) { p.Subject.Condition[0]++ }),
		"packet":    prepare(func(p *ledger.Prepare) { p.Packet = nil }),
		"verdicts":  prepare(func(p *ledger.Prepare) { p.Verdicts = p.Verdicts[:1] }),
	}
	for name, edit := range edits {
		c := *w.Prepare(p)
		if err := c.Verify(w.Alice.Key); err != nil {
			t.Fatal(err)
		}
		edit(&c)
		if err := c.Verify(w.Alice.Key); !errors.Is(err, cosi.ErrSignature) {
			t.Errorf("%s is not under the signature: %v", name, err)
		}
	}
}

func encodeCustody(c ledger.Custody) []byte {
	var w wire.Writer
	c.AppendWire(&w)
	return w.Bytes()
}

func readCustody(b []byte) (ledger.Custody, error) {
	r := wire.NewReader(b)
	c := ledger.ReadCustody(r)
	return c, r.End()
}

// anyCustody draws a custody of the world, in any state.
func anyCustody(t *rapid.T, w *ledgertest.World) ledger.Custody {
	p := w.Payment(rapid.String().Draw(t, "name"), 1, expiry)
	p.Subject.Leg = rapid.Uint8().Draw(t, "leg")
	p.Subject.Fields.Amount = cypherlink.Amount(rapid.Int64().Draw(t, "amount"))
	p.Subject.Fields.Credit.Number = rapid.Uint32().Draw(t, "number")
	c := ledger.Custody{ID: w.ID(p), State: ledger.State(rapid.Uint8Range(0, 3).Draw(t, "state"))}
	if c.State == ledger.Absent {
		return c
	}
	c.Subject, c.Packet = p.Subject, rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "packet")
	if c.State == ledger.Confirmed {
		c.Preimage = p.Preimage
	}
	return c
}

func TestCustodiesEncodeAndDecode(t *testing.T) {
	w := ledgertest.NewWorld()
	rapid.Check(t, func(t *rapid.T) {
		c := anyCustody(t, w)
		got, err := readCustody(encodeCustody(c))
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%+v became %+v, %v", c, got, err)
		}
	})
}

func record(w *ledgertest.World, c ledger.Custody) *ledger.Record {
	r := &ledger.Record{Network: w.Network, Receipt: ledger.Receipt{
		Ledger: w.Ledger, Custody: c, Sequence: 7, TimeMS: start * 1000,
	}}
	sign(w.Operator, r)
	return r
}

func sign(by ledgertest.Actor, r *ledger.Record) { r.Signature, _ = by.Sign(r.Frame()) }

func confirmed(w *ledgertest.World) ledger.Custody {
	p := w.Payment("one", 700, expiry)
	return ledger.Custody{
		ID: w.ID(p), Subject: p.Subject, Packet: p.Packet, State: ledger.Confirmed, Preimage: p.Preimage,
	}
}

func operator(w *ledgertest.World) *ledger.Operator {
	return &ledger.Operator{Network: w.Network, Ledger: w.Ledger, Key: w.Operator.Key}
}

func TestRecordsEncodeAndDecode(t *testing.T) {
	w := ledgertest.NewWorld()
	rapid.Check(t, func(t *rapid.T) {
		r := record(w, anyCustody(t, w))
		r.Receipt.Sequence = rapid.Uint64Min(1).Draw(t, "sequence")
		r.Receipt.TimeMS = rapid.Int64().Draw(t, "time")
		got, err := ledger.DecodeRecord(r.Encode())
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("%+v became %+v, %v", r, got, err)
		}
	})
	t.Run("no shorter and no longer input", func(t *testing.T) {
		b := record(w, confirmed(w)).Encode()
		for n := range b {
			if _, err := ledger.DecodeRecord(b[:n]); !errors.Is(err, ledger.ErrRecord) {
				t.Fatalf("the first %d bytes: %v", n, err)
			}
		}
		if _, err := ledger.DecodeRecord(append(b, 0)); !errors.Is(err, wire.ErrTrailing) {
			t.Fatal(err)
		}
		b = make([]byte, ledger.MaxRecord+1)
		if _, err := ledger.DecodeRecord(b); !errors.Is(err, ledger.ErrRecord) {
			t.Fatal(err)
		}
	})
	t.Run("the largest custody", func(t *testing.T) {
		c := confirmed(w)
		c.Packet = make([]byte, ledger.MaxPacket)
		if _, err := ledger.DecodeRecord(record(w, c).Encode()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("sequence zero", func(t *testing.T) {
		r := record(w, confirmed(w))
		r.Receipt.Sequence = 0
		if _, err := ledger.DecodeRecord(r.Encode()); !errors.Is(err, ledger.ErrRecord) {
			t.Fatal(err)
		}
		r = record(w, ledger.Custody{ID: ledger.CustodyID{1}}) // absent, on a ledger without events
		r.Receipt.Sequence = 0
		sign(w.Operator, r)
		if _, err := operator(w).Receipt(r.Encode()); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("an event and an absence never share a slot", func(t *testing.T) {
		event, absence := record(w, confirmed(w)), record(w, ledger.Custody{ID: ledger.CustodyID{1}})
		if event.Frame().Scope == absence.Frame().Scope {
			t.Fatal("one scope")
		}
	})
}

func TestOperatorReceipt(t *testing.T) {
	w := ledgertest.NewWorld()
	evidence := record(w, confirmed(w)).Encode()
	got, err := operator(w).Receipt(evidence)
	if err != nil {
		t.Fatal(err)
	}
	want := record(w, confirmed(w)).Receipt
	want.Evidence = evidence
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	t.Run("no changed byte", func(t *testing.T) {
		for i := range evidence {
			b := slices.Clone(evidence)
			b[i] ^= 1
			if _, err := operator(w).Receipt(b); err == nil {
				t.Fatalf("byte %d is not under the signature", i)
			}
		}
	})
	tests := []struct {
		name string
		edit func(*ledger.Record, *ledger.Operator)
	}{
		{"another network", func(r *ledger.Record, _ *ledger.Operator) { r.Network[0]++ }},
		{"another ledger", func(r *ledger.Record, _ *ledger.Operator) { r.Receipt.Ledger = "df" }},
		{"another operator's key", func(_ *ledger.Record, o *ledger.Operator) { o.Key = w.Mallory.Key }},
		{"an asset of another ledger", func(r *ledger.Record, _ *ledger.Operator) {
			r.Receipt.Custody.Subject.Fields.Asset.Ledger = "df"
		}},
		{"an id that is not the custody's", func(r *ledger.Record, _ *ledger.Operator) {
			r.Receipt.Custody.Subject.Leg++
		}},
		{"a preimage of another condition", func(r *ledger.Record, _ *ledger.Operator) {
			r.Receipt.Custody.Preimage[0]++
		}},
		{"a confirmation at the expiry", func(r *ledger.Record, _ *ledger.Operator) {
			r.Receipt.TimeMS = expiry * 1000
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, o := record(w, confirmed(w)), operator(w)
			tt.edit(r, o)
			sign(w.Operator, r) // the operator itself says so
			if _, err := o.Receipt(r.Encode()); !errors.Is(err, ledger.ErrEvidence) {
				t.Fatalf("%v, want ErrEvidence", err)
			}
		})
	}
	t.Run("of what is absent, too, another network or ledger", func(t *testing.T) {
		for _, edit := range []func(*ledger.Record){
			func(r *ledger.Record) { r.Network[0]++ }, func(r *ledger.Record) { r.Receipt.Ledger = "df" },
		} {
			r := record(w, ledger.Custody{ID: ledger.CustodyID{1}})
			edit(r)
			sign(w.Operator, r)
			if _, err := operator(w).Receipt(r.Encode()); !errors.Is(err, ledger.ErrEvidence) {
				t.Fatalf("%v, want ErrEvidence", err)
			}
		}
	})
	t.Run("a command is no record", func(t *testing.T) {
		if _, err := operator(w).Receipt(commands()[0].Encode()); !errors.Is(err, ledger.ErrRecord) {
			t.Fatal(err)
		}
	})
}

func TestCustodyIDIsItsOwn(t *testing.T) {
	w := ledgertest.NewWorld()
	p := w.Payment("one", 700, expiry)
	id := w.ID(p)
	other := map[string]ledger.CustodyID{
		"network": ledger.NewCustodyID(cypherlink.NetworkID{}, p.Subject.Terms, p.Subject.Leg),
		"terms":   ledger.NewCustodyID(w.Network, cypherlink.Hash{}, p.Subject.Leg),
		"leg":     ledger.NewCustodyID(w.Network, p.Subject.Terms, p.Subject.Leg+1),
	}
	for name, got := range other {
		if got == id {
			t.Errorf("another %s gives the same id", name)
		}
	}
	for _, c := range []*ledger.SignedCommand{w.Prepare(p), w.Confirm(w.Bob, p), w.Return(w.Bob, p)} {
		if c.Command.About(w.Network) != cypherlink.Hash(id) {
			t.Errorf("%T is about another custody", c.Command)
		}
	}
	text, err := id.MarshalText()
	var back ledger.CustodyID
	if err != nil || back.UnmarshalText(text) != nil || back != id || id.String() != string(text) {
		t.Errorf("text form %s", text)
	}
	if err := back.UnmarshalText(bytes.ToUpper(text)); !errors.Is(err, cypherlink.ErrHex) {
		t.Error(err)
	}
	for s, name := range map[ledger.State]string{
		ledger.Absent: "absent", ledger.Prepared: "prepared", ledger.Confirmed: "confirmed",
		ledger.Returned: "returned", 9: "state(9)",
	} {
		if s.String() != name {
			t.Errorf("%d is called %s", s, s)
		}
	}
}

func FuzzDecodeCommand(f *testing.F) {
	for _, c := range commands() {
		f.Add(c.Encode())
	}
	f.Add([]byte{})
	d := newDesk()
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ledger.DecodeCommand(b)
		if err != nil {
			if !errors.Is(err, ledger.ErrCommand) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if !bytes.Equal(c.Encode(), b) {
			t.Fatalf("%x has another form %x", b, c.Encode())
		}
		if err := d.charter.Authenticate(c)[0]; err == nil {
			t.Logf("a signed command of the seeds: %T", c.Command)
		}
		memory := ledgertest.NewMemory(d.Balances()) // neither panics
		_, _ = d.charter.Apply(memory, start*1000, c)
		_, _ = d.charter.Cross(memory, start*1000, c)
	})
}

func FuzzReadCustody(f *testing.F) {
	w := ledgertest.NewWorld()
	c := confirmed(w)
	f.Add(encodeCustody(c))
	c.State = ledger.Prepared
	f.Add(encodeCustody(c))
	f.Add(encodeCustody(ledger.Custody{ID: c.ID}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := readCustody(b); err == nil && !bytes.Equal(encodeCustody(c), b) {
			t.Fatalf("%x has another form %x", b, encodeCustody(c))
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	w := ledgertest.NewWorld()
	c := confirmed(w)
	f.Add(record(w, c).Encode())
	c.State = ledger.Returned
	f.Add(record(w, c).Encode())
	f.Add(record(w, ledger.Custody{ID: c.ID}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ledger.DecodeRecord(b)
		if err != nil {
			if !errors.Is(err, ledger.ErrRecord) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if !bytes.Equal(r.Encode(), b) {
			t.Fatalf("%x has another form %x", b, r.Encode())
		}
		_, _ = operator(w).Receipt(b) // it does not panic
	})
}
