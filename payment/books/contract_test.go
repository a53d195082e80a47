package books_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/payment/books"
)

// call is a step and what it has to answer.
type call struct {
	step books.Step
	p    payment.Posting
	want string
}

func edited(p payment.Posting, edit func(*payment.Posting)) payment.Posting {
	edit(&p)
	return p
}

type contract struct {
	name  string
	calls []call
	// moved is what accounts have more than at first; the rest have what they had.
	moved map[string]cypherlink.Amount
}

const (
	a       = "customer/IBAN/DE89370400440532013000"
	aHeld   = "held/IBAN/DE89370400440532013000"
	lane    = "channel/0000000000000000000000000000000000000000000000000000000000000001"
	over    = "payment_over TM01"
	short   = "funds_insufficient AM04"
	closed  = "account_closed AC04"
	blocked = "account_blocked AC06"
	unknown = "account_unknown AC01"
)

func contracts() []contract {
	const h, p, r, f = books.Hold, books.Post, books.Release, books.Refuse
	o, i, all := out(1, alice, 300), in(1, alice, 300), out(1, alice, 1000)
	moves := func(pairs ...any) map[string]cypherlink.Amount {
		m := map[string]cypherlink.Amount{}
		for k := 0; k < len(pairs); k += 2 {
			m[pairs[k].(string)] = cypherlink.Amount(pairs[k+1].(int))
		}
		return m
	}
	return []contract{
		{"an outgoing payment is held and posted", []call{{h, o, "ok"}, {p, o, "ok"}}, moves(a, -300, lane, 300)},
		{"it is held and released", []call{{h, o, "ok"}, {r, o, "ok"}}, nil},
		{"it stays held", []call{{h, o, "ok"}}, moves(a, -300, aHeld, 300)},
		{"all of the money may go", []call{{h, all, "ok"}, {p, all, "ok"}}, moves(a, -1000, lane, 1000)},
		{"more than that may not", []call{{h, out(1, alice, 1001), short}}, nil},
		{
			"what is held is not there for another",
			[]call{{h, o, "ok"}, {h, out(2, alice, 701), short}},
			moves(a, -300, aHeld, 300),
		},
		{
			"what is released is",
			[]call{{h, o, "ok"}, {r, o, "ok"}, {h, out(2, alice, 1000), "ok"}},
			moves(a, -1000, aHeld, 1000),
		},
		{"an account that is not there", []call{{h, out(1, mallory, 1), unknown}}, nil},
		{"no account", []call{{h, out(1, kyc.Account{}, 1), unknown}}, nil},
		{"a closed account", []call{{h, out(1, carol, 1), closed}}, nil},
		{"a blocked account", []call{{h, out(1, dave, 1), blocked}}, nil},
		{"every step may be repeated", []call{
			{h, o, "ok"}, {h, o, "ok"}, {p, o, "ok"}, {p, o, "ok"}, {h, o, "ok"},
		}, moves(a, -300, lane, 300)},
		{"a release too, and the hold stays released", []call{
			{h, o, "ok"}, {r, o, "ok"}, {r, o, "ok"}, {h, o, "ok"}, {p, o, "contradiction"},
		}, nil},
		{"a refusal stands when there is money", []call{
			{h, out(1, alice, 1001), short}, {p, in(2, alice, 5000), "ok"}, {h, out(1, alice, 1001), short},
		}, moves(a, 5000, lane, -5000)},
		{"after a release there is no hold", []call{{r, o, "ok"}, {h, o, over}, {r, o, "ok"}, {h, o, over}}, nil},
		{"nor is there one to post", []call{{r, o, "ok"}, {p, o, "contradiction"}}, nil},
		{"a refused hold is released, and stands", []call{
			{h, out(1, carol, 1), closed}, {r, out(1, carol, 1), "ok"}, {h, out(1, carol, 1), closed},
		}, nil},
		{"nothing is posted without a hold", []call{{p, o, "contradiction"}, {h, o, "ok"}}, moves(a, -300, aHeld, 300)},
		{"nor after a refused one", []call{{h, out(1, carol, 1), closed}, {p, out(1, carol, 1), "contradiction"}}, nil},
		{
			"what is posted is not released",
			[]call{{h, o, "ok"}, {p, o, "ok"}, {r, o, "contradiction"}},
			moves(a, -300, lane, 300),
		},

		{"an incoming payment is posted", []call{{p, i, "ok"}, {p, i, "ok"}}, moves(a, 300, lane, -300)},
		{"it is refused", []call{{f, i, "ok"}, {f, i, "ok"}}, moves("returns", 300, lane, -300)},
		{"what is posted is not refused", []call{{p, i, "ok"}, {f, i, "contradiction"}}, moves(a, 300, lane, -300)},
		{
			"what is refused is not posted",
			[]call{{f, i, "ok"}, {p, i, over}, {p, i, over}},
			moves("returns", 300, lane, -300),
		},
		{"an account that is not there takes nothing", []call{{p, in(1, mallory, 1), unknown}}, nil},
		{"a closed account takes nothing, and the refusal stands", []call{
			{p, in(1, carol, 9), closed},
			{p, in(1, carol, 9), closed},
			{f, in(1, carol, 9), "ok"},
			{p, in(1, carol, 9), closed},
		}, moves("returns", 9, lane, -9)},
		{
			"nor does a blocked one",
			[]call{{p, in(1, dave, 9), blocked}, {f, in(1, dave, 9), "ok"}},
			moves("returns", 9, lane, -9),
		},
		{"both directions of one UETR are two postings", []call{
			{h, o, "ok"}, {p, o, "ok"}, {p, in(1, bob, 300), "ok"},
		}, moves(a, -300, "customer/Othr/6222021234567890128", 300)},

		{"a refused payment is given back", []call{
			{f, i, "ok"}, {h, back(2, 1, 300), "ok"}, {p, back(2, 1, 300), "ok"}, {h, back(2, 1, 300), "ok"},
		}, nil},
		{
			"it is held out of the returns",
			[]call{{f, i, "ok"}, {h, back(2, 1, 300), "ok"}},
			moves("held/returns", 300, lane, -300),
		},
		{"the hold goes back there, for another to take", []call{
			{f, i, "ok"},
			{h, back(2, 1, 300), "ok"},
			{r, back(2, 1, 300), "ok"},
			{h, back(3, 1, 300), "ok"},
			{p, back(3, 1, 300), "ok"},
		}, nil},
		{"it is given back once", []call{
			{f, i, "ok"},
			{f, in(9, bob, 300), "ok"},
			{h, back(2, 1, 300), "ok"},
			{h, back(3, 1, 300), short},
			{p, back(2, 1, 300), "ok"},
			{h, back(4, 1, 300), short},
		}, moves("returns", 300, lane, -300)},
		{"not more of it", []call{
			{f, i, "ok"}, {f, in(9, bob, 300), "ok"}, {h, back(2, 1, 301), "contradiction"},
		}, moves("returns", 600, lane, -600)},
		{
			"not less of it",
			[]call{{f, i, "ok"}, {h, back(2, 1, 299), "contradiction"}},
			moves("returns", 300, lane, -300),
		},
		{
			"not what is posted",
			[]call{{p, i, "ok"}, {h, back(2, 1, 300), "contradiction"}},
			moves(a, 300, lane, -300),
		},
		{"not what is only declined", []call{
			{p, in(1, carol, 300), closed},
			{h, back(2, 1, 300), "contradiction"},
			{f, in(1, carol, 300), "ok"},
			{h, back(2, 1, 300), "ok"},
		}, moves("held/returns", 300, lane, -300)},
		{"not what never came", []call{{h, back(2, 1, 300), "contradiction"}}, nil},
		{
			"not an outgoing payment",
			[]call{{h, o, "ok"}, {h, back(2, 1, 300), "contradiction"}},
			moves(a, -300, aHeld, 300),
		},
	}
}

func TestContract(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		b := newBank(t, dsn)
		for _, tt := range contracts() {
			t.Run(tt.name, func(t *testing.T) {
				b.empty()
				b.reopen()
				want := b.sheet()
				for n, c := range tt.calls {
					if got := verdict(b.take(c.step, c.p)); got != c.want {
						t.Fatalf("call %d, %s: %s, want %s", n+1, c.step, got, c.want)
					}
				}
				for account, amount := range tt.moved {
					if want[account] += amount; want[account] == 0 {
						delete(want, account)
					}
				}
				if diff := cmp.Diff(want, b.sheet()); diff != "" {
					t.Errorf("balances (-want +got):\n%s", diff)
				}
			})
		}
	})
}

// A posting is booked with all that is in it: nothing of it may differ when it comes again, at any step.
func TestEveryContradiction(t *testing.T) {
	usd := cypherlink.Asset{Ledger: "cypherium", Code: "USD", Scale: 2}
	edits := map[string]func(*payment.Posting){
		"customer": func(p *payment.Posting) { p.Customer = bob },
		"amount":   func(p *payment.Posting) { p.Money.Amount++ },
		"asset":    func(p *payment.Posting) { p.Money.Asset = usd },
		"scale":    func(p *payment.Posting) { p.Money.Asset.Scale++ },
		"channel":  func(p *payment.Posting) { p.Channel[0]++ },
		"returns":  func(p *payment.Posting) { p.Returns = uetr(9) },
	}
	o, i := out(1, alice, 300), in(1, alice, 300)
	befores := map[string][]call{
		"held":     {{books.Hold, o, "ok"}},
		"posted":   {{books.Hold, o, "ok"}, {books.Post, o, "ok"}},
		"released": {{books.Hold, o, "ok"}, {books.Release, o, "ok"}},
		"barred":   {{books.Release, o, "ok"}},
		"received": {{books.Post, i, "ok"}},
		"refused":  {{books.Refuse, i, "ok"}},
	}
	b := newBank(t, "sqlite:"+t.TempDir()+"/store.db")
	for before, calls := range befores {
		for what, edit := range edits {
			t.Run(before+", another "+what, func(t *testing.T) {
				b.empty()
				b.reopen()
				for _, c := range calls {
					b.must(c.step, c.p)
				}
				last := b.sheet()
				steps, p := []books.Step{books.Hold, books.Post, books.Release}, o
				if calls[0].p.Direction == payment.In {
					steps, p = []books.Step{books.Post, books.Refuse}, i
				}
				want := "contradiction"
				if p.Direction == payment.In && what == "returns" {
					want = "malformed"
				}
				for _, step := range steps {
					if got := verdict(b.take(step, edited(p, edit))); got != want {
						t.Errorf("%s: %s", step, got)
					}
				}
				if diff := cmp.Diff(last, b.sheet()); diff != "" {
					t.Errorf("balances (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// The scale of an asset is that of the accounts.
func TestOtherScale(t *testing.T) {
	b := newBank(t, "sqlite:"+t.TempDir()+"/store.db")
	for step, p := range map[books.Step]payment.Posting{books.Hold: out(1, alice, 300), books.Post: in(1, alice, 300)} {
		if got := verdict(b.take(step, edited(p, func(p *payment.Posting) { p.Money.Asset.Scale = 3 }))); got != "contradiction" {
			t.Errorf("%s: %s", step, got)
		}
		b.must(step, p)
	}
}

func TestMalformedPostings(t *testing.T) {
	b := newBank(t, "sqlite:"+t.TempDir()+"/store.db")
	before := b.sheet()
	for name, edit := range map[string]func(*payment.Posting){
		"no payment":      func(p *payment.Posting) { p.Payment = cypherlink.UETR{} },
		"no UETR":         func(p *payment.Posting) { p.Payment[6] = 0 },
		"no direction":    func(p *payment.Posting) { p.Direction = "" },
		"no asset":        func(p *payment.Posting) { p.Money.Asset = cypherlink.Asset{} },
		"no money":        func(p *payment.Posting) { p.Money.Amount = 0 },
		"negative money":  func(p *payment.Posting) { p.Money.Amount = -1 },
		"no channel":      func(p *payment.Posting) { p.Channel = channels.ID{} },
		"two numbers":     func(p *payment.Posting) { p.Customer.Other = "1" },
		"a long number":   func(p *payment.Posting) { p.Customer = kyc.Account{Other: strings.Repeat("9", kyc.MaxOther+1)} },
		"an illegal byte": func(p *payment.Posting) { p.Customer = kyc.Account{Other: "\x00"} },
	} {
		for step, p := range map[books.Step]payment.Posting{
			books.Hold: out(1, alice, 1), books.Release: out(1, alice, 1),
			books.Post: in(1, alice, 1), books.Refuse: in(1, alice, 1),
		} {
			if got := verdict(b.take(step, edited(p, edit))); got != "malformed" {
				t.Errorf("%s, %s: %s", step, name, got)
			}
		}
	}
	for step, p := range map[books.Step]payment.Posting{
		books.Hold: in(1, alice, 1), books.Release: in(1, alice, 1), books.Refuse: out(1, alice, 1),
	} {
		if got := verdict(b.take(step, p)); got != "malformed" {
			t.Errorf("%s of the other direction: %s", step, got)
		}
	}
	if diff := cmp.Diff(before, b.sheet()); diff != "" {
		t.Errorf("balances (-want +got):\n%s", diff)
	}
}

// No sum leaves the range of an amount: the call is an error and nothing is booked.
func TestOverflow(t *testing.T) {
	b := newBank(t, "sqlite:"+t.TempDir()+"/store.db")
	const most = 1<<63 - 1
	b.must(books.Refuse, in(1, alice, most))
	before := b.sheet()
	for n, tt := range []struct {
		step books.Step
		p    payment.Posting
	}{
		{books.Post, in(2, alice, most)}, // the customer and the channel
		{books.Refuse, edited(in(3, bob, 1), func(p *payment.Posting) { p.Channel[0]++ })}, // the returns
		{books.Post, in(4, alice, 1)}, // the channel
	} {
		err := b.take(tt.step, tt.p)
		if want := cypherlink.ErrAmountRange.Error(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v", n, err)
		}
	}
	if diff := cmp.Diff(before, b.sheet()); diff != "" {
		t.Errorf("balances (-want +got):\n%s", diff)
	}
}

// An error or a line of a log names no account.
func TestErrorsNameNoAccount(t *testing.T) {
	b := newBank(t, "sqlite:"+t.TempDir()+"/store.db")
	b.must(books.Hold, out(1, alice, 1))
	for _, err := range []error{
		b.take(books.Hold, out(1, alice, 2)), b.take(books.Hold, out(1, bob, 1)), b.take(books.Hold, out(2, alice, 1000)),
		b.take(books.Post, in(1, mallory, 1)), b.take(books.Post, in(2, alice, 1<<63-1)),
	} {
		for _, number := range []string{alice.IBAN.String(), bob.Other} {
			if err == nil || strings.Contains(fmt.Sprintf("%+v", err), number) {
				t.Errorf("%v", err)
			}
		}
	}
}
