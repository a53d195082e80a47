package ledger_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/validator"
)

const (
	start  = 1_800_000_000 // seconds
	expiry = start + 20
)

// desk runs the rules over a book in memory, as a ledger does.
type desk struct {
	*ledgertest.World
	book    *ledgertest.Memory
	charter ledger.Charter
	nowMS   int64
}

func newDesk() *desk {
	w := ledgertest.NewWorld()
	return &desk{
		World: w, charter: w.Charter(), book: ledgertest.NewMemory(w.Balances()), nowMS: start * 1000,
	}
}

// do is what a ledger does with a command: authenticate, return what has expired, apply.
func (d *desk) do(c *ledger.SignedCommand) (ledger.Custody, error) {
	if err := d.charter.Authenticate(c)[0]; err != nil {
		return ledger.Custody{}, err
	}
	if err := d.expire(); err != nil {
		return ledger.Custody{}, err
	}
	return d.charter.Apply(d.book, d.nowMS, c)
}

func (d *desk) expire() error {
	for _, id := range d.book.Due(d.nowMS) {
		if _, changed, err := ledger.Expire(d.book, d.nowMS, id); err != nil || !changed {
			return errors.Join(err, errors.New("a due custody does not expire"))
		}
	}
	return nil
}

func (d *desk) must(t *testing.T, c *ledger.SignedCommand) ledger.Custody {
	t.Helper()
	custody, err := d.do(c)
	if err != nil {
		t.Fatal(err)
	}
	return custody
}

// refused checks code and reason, and that nothing moved.
func (d *desk) refused(t *testing.T, c *ledger.SignedCommand, code cypherlink.Code) {
	t.Helper()
	before := len(d.book.Journal())
	_, err := d.do(c)
	refusal, ok := errors.AsType[*cypherlink.Error](err)
	if !ok || refusal.Code != code {
		t.Fatalf("%v, want %s", err, code)
	}
	if len(refusal.Reason) != 4 || refusal.Message == "" {
		t.Errorf("refusal without a reason or a message: %+v", refusal)
	}
	if len(d.book.Journal()) != before {
		t.Fatal("refused, and something moved")
	}
}

func (d *desk) repeated(t *testing.T, c *ledger.SignedCommand, want ledger.State) {
	t.Helper()
	before := len(d.book.Journal())
	got, err := d.do(c)
	if !errors.Is(err, ledger.ErrRepeated) || got.State != want {
		t.Fatalf("%s, %v, want %s and ErrRepeated", got.State, err, want)
	}
	if len(d.book.Journal()) != before {
		t.Fatal("repeated, and something moved")
	}
}

func (d *desk) balances(t *testing.T, alice, bob cypherlink.Amount) {
	t.Helper()
	for _, want := range []ledger.Balance{
		{Account: ledgertest.Account(d.Alice), Amount: alice},
		{Account: ledgertest.Account(d.Bob), Amount: bob},
	} {
		got, _, _ := d.book.Balance(want.Account, d.Asset)
		if got != ledgertest.Opening+want.Amount {
			t.Fatalf("%s has %d, want %d", want.Account, got, ledgertest.Opening+want.Amount)
		}
	}
	total, err := d.book.Total(d.Asset)
	if err != nil || total != 3*ledgertest.Opening {
		t.Fatalf("total %d, %v", total, err)
	}
}

// What is in channels moves on a ledger of channels alone: no verdict makes a custody on the chain and a
// lock too.
func TestChannelsAreNoAccounts(t *testing.T) {
	w := ledgertest.NewWorld()
	w.Number = ledger.ChannelNumber
	d := &desk{World: w, charter: w.Charter(), book: ledgertest.NewMemory(w.Balances()), nowMS: start * 1000}
	for name, edit := range map[string]func(*validator.Subject){
		"out of channels": func(x *validator.Subject) { x.Fields.Credit.Number = 0 },
		"into channels":   func(x *validator.Subject) { x.Fields.Debit.Number = 0 },
	} {
		p := d.Payment(name, 700, expiry)
		edit(&p.Subject)
		d.refused(t, d.Prepare(p), ledger.CodeNotAllowed)
	}
	d.charter.Channels = true
	d.must(t, d.Prepare(d.Payment("in channels", 700, expiry)))
}

func TestPrepareThenConfirm(t *testing.T) {
	d := newDesk()
	p := d.Payment("one", 700, expiry)
	prepare := d.Prepare(p)
	custody := d.must(t, prepare)
	want := ledger.Custody{ID: d.ID(p), Subject: p.Subject, Packet: p.Packet, State: ledger.Prepared}
	if !reflect.DeepEqual(custody, want) {
		t.Fatalf("prepared %+v, want %+v", custody, want)
	}
	d.balances(t, -700, 0)
	d.repeated(t, prepare, ledger.Prepared)

	// anybody registered who knows the preimage may confirm; the value is Bob's all the same
	confirm := d.Confirm(d.Mallory, p)
	custody = d.must(t, confirm)
	want.State, want.Preimage = ledger.Confirmed, p.Preimage
	if !reflect.DeepEqual(custody, want) {
		t.Fatalf("confirmed %+v, want %+v", custody, want)
	}
	d.balances(t, -700, 700)
	d.repeated(t, confirm, ledger.Confirmed)
	d.repeated(t, prepare, ledger.Confirmed)
	d.refused(t, d.Return(d.Bob, p), ledger.CodeAlreadyPaid)

	// what stands is answered whatever the time is
	d.nowMS = (expiry + 1000) * 1000
	d.repeated(t, confirm, ledger.Confirmed)
	d.repeated(t, prepare, ledger.Confirmed)
	d.refused(t, d.Return(d.Alice, p), ledger.CodeAlreadyPaid)
	d.balances(t, -700, 700)
}

func TestConfirmInTime(t *testing.T) {
	tests := []struct {
		name string
		atMS int64
		code cypherlink.Code
	}{
		{"one second before", (expiry - 1) * 1000, ""},
		{"one millisecond before", expiry*1000 - 1, ""},
		{"exactly at the expiry", expiry * 1000, ledger.CodeAlreadyReturned},
		{"one second after", (expiry + 1) * 1000, ledger.CodeAlreadyReturned},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk()
			p := d.Payment("one", 700, expiry)
			d.must(t, d.Prepare(p))
			d.nowMS = tt.atMS
			if tt.code == "" {
				d.must(t, d.Confirm(d.Bob, p))
				d.balances(t, -700, 700)
				return
			}
			_, err := d.do(d.Confirm(d.Bob, p))
			if cypherlink.ErrorCode(err) != tt.code {
				t.Fatalf("%v, want %s", err, tt.code)
			}
			d.balances(t, 0, 0)
		})
	}
	t.Run("a ledger that forgot to expire first", func(t *testing.T) {
		d := newDesk()
		p := d.Payment("one", 700, expiry)
		d.must(t, d.Prepare(p))
		_, err := d.charter.Apply(d.book, expiry*1000, d.Confirm(d.Bob, p))
		if cypherlink.ErrorCode(err) != ledger.CodeExpired {
			t.Fatal(err)
		}
		d.balances(t, -700, 0)
	})
}

func TestReturn(t *testing.T) {
	t.Run("before the expiry by the credit account's owner", func(t *testing.T) {
		d := newDesk()
		p := d.Payment("one", 700, expiry)
		d.must(t, d.Prepare(p))
		for _, other := range []ledgertest.Actor{d.Alice, d.Mallory, d.Validators[0]} {
			d.refused(t, d.Return(other, p), ledger.CodeNotAllowed)
		}
		back := d.Return(d.Bob, p)
		if c := d.must(t, back); c.State != ledger.Returned {
			t.Fatal(c.State)
		}
		d.balances(t, 0, 0)
		d.repeated(t, back, ledger.Returned)
		d.repeated(t, d.Return(d.Mallory, p), ledger.Returned)
		d.repeated(t, d.Prepare(p), ledger.Returned)
		d.refused(t, d.Confirm(d.Bob, p), ledger.CodeAlreadyReturned)
	})
	t.Run("one millisecond before the expiry not by others", func(t *testing.T) {
		d := newDesk()
		p := d.Payment("one", 700, expiry)
		d.must(t, d.Prepare(p))
		d.nowMS = expiry*1000 - 1
		d.refused(t, d.Return(d.Alice, p), ledger.CodeNotAllowed)
	})
	t.Run("from the expiry on by anybody", func(t *testing.T) {
		d := newDesk()
		p := d.Payment("one", 700, expiry)
		d.must(t, d.Prepare(p))
		custody, err := d.charter.Apply(d.book, expiry*1000, d.Return(d.Mallory, p))
		if err != nil || custody.State != ledger.Returned {
			t.Fatal(custody, err)
		}
		d.balances(t, 0, 0)
	})
	t.Run("at the expiry by the ledger itself", func(t *testing.T) {
		d := newDesk()
		p := d.Payment("one", 700, expiry)
		d.must(t, d.Prepare(p))
		if _, changed, err := ledger.Expire(d.book, expiry*1000-1, d.ID(p)); changed || err != nil {
			t.Fatal("expired early", err)
		}
		custody, changed, err := ledger.Expire(d.book, expiry*1000, d.ID(p))
		if custody.State != ledger.Returned || !changed || err != nil {
			t.Fatal(custody, changed, err)
		}
		d.balances(t, 0, 0)
		if _, changed, err := ledger.Expire(d.book, expiry*1000, d.ID(p)); changed || err != nil {
			t.Fatal("expired twice", err)
		}
		if _, changed, err := ledger.Expire(d.book, expiry*1000, ledger.CustodyID{}); changed || err != nil {
			t.Fatal("expired what is not there", err)
		}
	})
}

// A Confirm and a Return are never refused for a verdict, a policy or an asset.
func TestConfirmNeedsNoPolicy(t *testing.T) {
	d := newDesk()
	one, two := d.Payment("one", 700, expiry), d.Payment("two", 700, expiry)
	d.must(t, d.Prepare(one))
	d.must(t, d.Prepare(two))
	prepare := d.Prepare(one)
	d.charter.Policies = nil
	d.must(t, d.Confirm(d.Bob, one))
	d.must(t, d.Return(d.Bob, two))
	d.repeated(t, prepare, ledger.Confirmed)
}

// All the money of an asset may be in one place: no credit overflows, since nothing adds to
// the total.
func TestLargestAmounts(t *testing.T) {
	d := newDesk()
	alice, bob := ledgertest.Account(d.Alice), ledgertest.Account(d.Bob)
	d.book = ledgertest.NewMemory([]ledger.Balance{
		{Account: alice, Asset: d.Asset, Amount: math.MaxInt64 - 1},
		{Account: bob, Asset: d.Asset, Amount: 1},
	})
	one, two := d.Payment("one", math.MaxInt64-1, expiry), d.Payment("two", math.MaxInt64, expiry)
	d.must(t, d.Prepare(one))
	d.must(t, d.Confirm(d.Bob, one))
	if got, _, _ := d.book.Balance(bob, d.Asset); got != math.MaxInt64 {
		t.Fatalf("bob has %d", got)
	}
	two.Subject.Fields.Debit, two.Subject.Fields.Credit = bob, alice
	c := d.Prepare(two)
	c.Signer = d.Bob.ID
	ledgertest.Resign(d.Bob, c)
	d.must(t, c)
	d.must(t, d.Confirm(d.Alice, two))
	if got, _, _ := d.book.Balance(alice, d.Asset); got != math.MaxInt64 {
		t.Fatalf("alice has %d", got)
	}
}

// failing is a book that cannot be read or written from some call on.
type failing struct {
	*ledgertest.Memory
	calls int
}

var errBroken = errors.New("broken book")

func (f *failing) fails() bool { f.calls--; return f.calls < 0 }

func (f *failing) Balance(
	a cypherlink.Account, asset cypherlink.Asset,
) (cypherlink.Amount, bool, error) {
	if f.fails() {
		return 0, false, errBroken
	}
	return f.Memory.Balance(a, asset)
}

func (f *failing) Custody(id ledger.CustodyID) (ledger.Custody, bool, error) {
	if f.fails() {
		return ledger.Custody{}, false, errBroken
	}
	return f.Memory.Custody(id)
}

func (f *failing) Locked(c cypherlink.Condition) (bool, error) {
	if f.fails() {
		return false, errBroken
	}
	return f.Memory.Locked(c)
}

func (f *failing) Write(c ledger.Custody) error {
	if f.fails() {
		return errBroken
	}
	return f.Memory.Write(c)
}

// A book's error is never taken for a refusal or for an effect.
func TestErrorsOfTheBook(t *testing.T) {
	d := newDesk()
	one, two, three := d.Payment("one", 1, expiry), d.Payment("two", 1, expiry), d.Payment("three", 1, expiry)
	d.must(t, d.Prepare(two))
	d.must(t, d.Prepare(three))
	apply := func(c *ledger.SignedCommand) func(ledger.Book) error {
		return func(b ledger.Book) error { _, err := d.charter.Apply(b, d.nowMS, c); return err }
	}
	steps := []struct {
		name  string
		run   func(ledger.Book) error
		calls int // to the book, until it is done
	}{
		{"prepare", apply(d.Prepare(one)), 5},
		{"confirm", apply(d.Confirm(d.Bob, one)), 2},
		{"return", apply(d.Return(d.Bob, two)), 2},
		{"expire", func(b ledger.Book) error {
			_, _, err := ledger.Expire(b, expiry*1000, d.ID(three))
			return err
		}, 2},
	}
	for _, s := range steps {
		for calls := range s.calls {
			err := s.run(&failing{Memory: d.book, calls: calls})
			if !errors.Is(err, errBroken) || cypherlink.ErrorCode(err) != "internal" {
				t.Fatalf("%s with %d calls that work: %v", s.name, calls, err)
			}
		}
		if err := s.run(&failing{Memory: d.book, calls: s.calls}); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
}

func TestCharterValid(t *testing.T) {
	tests := []struct {
		name string
		edit func(*ledger.Charter)
		part string // of the error; empty for none
	}{
		{"as it is", func(*ledger.Charter) {}, ""},
		{"no assets", func(c *ledger.Charter) { c.Policies = nil }, ""},
		{"no ledger", func(c *ledger.Charter) { c.Ledger = "" }, "ledger"},
		{"no keys", func(c *ledger.Charter) { c.Keys = nil }, "keys"},
		{"a negative time", func(c *ledger.Charter) { c.MinExpiry = -1 }, "-1 s"},
		{"an endless time", func(c *ledger.Charter) { c.MinExpiry = math.MaxInt64 }, "time to expiry"},
		{"another ledger's asset", func(c *ledger.Charter) {
			c.Policies[cypherlink.Asset{Ledger: "other", Code: "EUR"}] = validator.Policy{}
		}, "EUR@other"},
		{"one code with two scales", func(c *ledger.Charter) {
			c.Policies[cypherlink.Asset{Ledger: c.Ledger, Code: "EUR", Scale: 3}] = validator.Policy{}
		}, "EUR@de"},
		{"a malformed asset", func(c *ledger.Charter) {
			c.Policies[cypherlink.Asset{Ledger: c.Ledger, Code: "eur"}] = validator.Policy{}
		}, "eur"},
		{"a policy that cannot be met", func(c *ledger.Charter) {
			c.Policies[cypherlink.Asset{Ledger: c.Ledger, Code: "CHF"}] = validator.Policy{Threshold: 1}
		}, "1 of 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := ledgertest.NewWorld().Charter()
			tt.edit(&c)
			err := c.Valid()
			if tt.part == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, ledger.ErrCharter) || !strings.Contains(err.Error(), tt.part) {
				t.Fatalf("%v, want ErrCharter with %q", err, tt.part)
			}
		})
	}
	if got := ledgertest.NewWorld().Charter(); len(got.Assets()) != 2 || got.Assets()[0].Code != "EUR" {
		t.Error("assets are not in order:", got.Assets())
	}
}
