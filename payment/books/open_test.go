package books_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/payment/books"
)

// An opening is booked once in each asset, whatever the configuration says later.
func TestOpenings(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		b := newBank(t, dsn)
		usd := cypherlink.Asset{Ledger: "us", Code: "USD", Scale: 2}
		wants := func(what string, euros, dollars cypherlink.Amount) {
			t.Helper()
			for asset, want := range map[cypherlink.Asset]cypherlink.Amount{eur: euros, usd: dollars} {
				got, _, err := b.Balance(t.Context(), alice, asset)
				if err != nil || got != want {
					t.Errorf("%s: %d %s, %v", what, got, asset, err)
				}
			}
			b.sheet()
		}
		wants("at first", 1000, 0)
		b.reopen()
		wants("again", 1000, 0)
		b.accounts[0].Opening[0].Amount = 5
		b.reopen()
		wants("with another amount", 1000, 0)
		b.accounts[0].Opening = append(b.accounts[0].Opening, payment.Money{Asset: usd})
		b.reopen()
		b.accounts[0].Opening[1].Amount = 7
		b.reopen()
		wants("with dollars, of which there were none", 1000, 0)
		b.must(books.Post, edited(in(1, bob, 3), func(p *payment.Posting) { p.Money.Asset = usd }))
		b.accounts[1].Opening = append(b.accounts[1].Opening, payment.Money{Asset: usd, Amount: 7})
		b.reopen()
		if got, _, err := b.Balance(t.Context(), bob, usd); err != nil || got != 3 {
			t.Errorf("dollars came before their opening: %d, %v", got, err)
		}
		b.accounts = append(b.accounts, books.Account{
			Number: mallory, Standing: kyc.Open, Opening: []payment.Money{{Asset: usd, Amount: 9}, {Asset: eur, Amount: 1}},
		})
		b.reopen()
		if got, _, err := b.Balance(t.Context(), mallory, usd); err != nil || got != 9 {
			t.Errorf("a new account: %d, %v", got, err)
		}
		b.accounts = b.accounts[1:]
		b.reopen()
		wants("of an account that is not configured any more", 1000, 0)
	})
}

func TestStandings(t *testing.T) {
	b := newBank(t, "sqlite:"+t.TempDir()+"/store.db")
	wants := func(account kyc.Account, standing kyc.Standing, holder string) {
		t.Helper()
		got, name, err := b.Standing(t.Context(), account)
		if err != nil || got != standing || name != holder {
			t.Errorf("%d, %q, %v; want %d, %q", got, name, err, standing, holder)
		}
	}
	wants(alice, kyc.Open, "Alice")
	wants(bob, kyc.Open, "")
	wants(carol, kyc.Closed, "Carol")
	wants(dave, kyc.Blocked, "")
	wants(mallory, kyc.Unknown, "")
	wants(kyc.Account{}, kyc.Unknown, "")
	wants(kyc.Account{Other: alice.IBAN.String()}, kyc.Unknown, "")
	b.must(books.Hold, out(1, alice, 300))
	b.accounts[0].Standing, b.accounts[0].Holder = kyc.Closed, "Alice Liddell"
	b.reopen()
	wants(alice, kyc.Closed, "Alice Liddell")
	b.must(books.Release, out(1, alice, 300)) // what is held comes back to a closed account too
	if got := verdict(b.take(books.Hold, out(2, alice, 1))); got != closed {
		t.Error(got)
	}
	b.accounts = b.accounts[1:]
	b.reopen()
	wants(alice, kyc.Closed, "Alice Liddell")
}

func TestWrongAccounts(t *testing.T) {
	s := storetest.Open(t, "sqlite:"+t.TempDir()+"/store.db")
	for name, edit := range map[string]func([]books.Account){
		"no number":      func(a []books.Account) { a[1].Number = kyc.Account{} },
		"two numbers":    func(a []books.Account) { a[0].Number.Other = "1" },
		"a long number":  func(a []books.Account) { a[1].Number.Other = strings.Repeat("9", kyc.MaxOther+1) },
		"one twice":      func(a []books.Account) { a[1].Number = a[0].Number },
		"a long holder":  func(a []books.Account) { a[1].Holder = strings.Repeat("x", kyc.MaxName+1) },
		"no standing":    func(a []books.Account) { a[1].Standing = kyc.Unknown },
		"a fifth":        func(a []books.Account) { a[1].Standing = kyc.Blocked + 1 },
		"no asset":       func(a []books.Account) { a[1].Opening[0].Asset.Code = "" },
		"negative money": func(a []books.Account) { a[1].Opening[0].Amount = -1 },
		"an asset twice": func(a []books.Account) { a[1].Opening = append(a[1].Opening, a[1].Opening[0]) },
		"two scales":     func(a []books.Account) { a[1].Opening[0].Asset.Scale = 3 },
		"two scales in 1": func(a []books.Account) {
			a[1].Opening = append(a[1].Opening, payment.Money{Asset: cypherlink.Asset{Ledger: eur.Ledger, Code: eur.Code}})
		},
	} {
		all := accounts()
		edit(all)
		if _, err := books.Open(t.Context(), s, all); !errors.Is(err, books.ErrAccounts) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := books.Open(t.Context(), s, accounts())
	if err != nil {
		t.Fatal(err)
	}
	all := accounts()
	for i := range all {
		all[i].Opening[0].Asset.Scale = 3
	}
	if _, err := books.Open(t.Context(), s, all); !errors.Is(err, books.ErrContradiction) {
		t.Errorf("another scale than before: %v", err)
	}
	if _, _, err := b.Balance(t.Context(), mallory, eur); verdict(err) != unknown {
		t.Error(err)
	}
}

func TestBalanceAndJournal(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		b := newBank(t, dsn)
		o, i := out(1, alice, 300), in(1, bob, 300)
		b.must(books.Hold, o)
		b.must(books.Hold, out(2, alice, 5))
		if available, held, err := b.Balance(t.Context(), alice, eur); err != nil || available != 695 || held != 305 {
			t.Errorf("%d and %d, %v", available, held, err)
		}
		b.must(books.Post, o)
		b.must(books.Refuse, i)
		b.must(books.Release, out(3, alice, 1)) // moves nothing
		got, err := b.Journal(t.Context(), uetr(1))
		if err != nil {
			t.Fatal(err)
		}
		line := func(n int64, d payment.Direction, step books.Step, debit, credit string) books.Line {
			return books.Line{
				Sequence: n, Payment: uetr(1), Direction: d, Step: step, Debit: debit, Credit: credit,
				Money: payment.Money{Asset: eur, Amount: 300},
			}
		}
		want := []books.Line{ // after four openings
			line(5, payment.Out, books.Hold, a, aHeld), line(7, payment.Out, books.Post, aHeld, lane),
			line(8, payment.In, books.Refuse, lane, "returns"),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("journal (-want +got):\n%s", diff)
		}
		for _, u := range []cypherlink.UETR{{}, uetr(3)} {
			if got, err := b.Journal(t.Context(), u); err != nil || len(got) != 0 {
				t.Errorf("%v, %v", got, err)
			}
		}
	})
}

// Every way to falsify the books shows in the trial balance, or is refused by the database.
func TestTrialFindsWhatIsFalse(t *testing.T) {
	const newPosting = `INSERT INTO bank_postings
		(payment, direction, state, reason, customer, returns, channel, ledger, code, scale, amount)
		SELECT channel, direction, state, reason, customer, returns, channel, ledger, code, scale, amount
		FROM bank_postings WHERE `
	add := func(account string, amount int) string {
		return fmt.Sprintf("; UPDATE bank_balances SET balance = balance + %d WHERE account = '%s'", amount, account)
	}
	const b = "customer/Othr/6222021234567890128"
	statements := map[string]string{
		"a richer customer":      add(a, 1)[2:],
		"a poorer channel":       add(lane, -1)[2:],
		"a balance that is gone": "DELETE FROM bank_balances WHERE account LIKE 'channel/%'",
		"a balance from nowhere": `INSERT INTO bank_balances (account, ledger, code, scale, balance)
			VALUES ('customer/Othr/9', 'cypherium', 'EUR', 2, 1)`,
		"another amount": "UPDATE bank_journal SET amount = amount + 1 WHERE step = 'hold'",
		"another amount of the last, and of its balances": `UPDATE bank_journal SET amount = 69 WHERE sequence = 12` +
			add("returns", 1) + add("held/returns", -1),
		"another asset": "UPDATE bank_journal SET code = 'USD' WHERE step = 'post' AND direction = 'incoming'",
		"another customer, and his balance": "UPDATE bank_journal SET credit = '" + b +
			"' WHERE step = 'post' AND direction = 'incoming'" + add(a, -50) + add(b, 50),
		"an opening of more": "UPDATE bank_journal SET amount = amount + 1 WHERE sequence = 1",
		"an opening out of a channel, and their balances": "UPDATE bank_journal SET debit = '" + lane +
			"' WHERE sequence = 1" + add("opening", 1000) + add(lane, -1000),
		"a step for another":    "UPDATE bank_journal SET step = 'release' WHERE step = 'post' AND direction = 'outgoing'",
		"a gap":                 "UPDATE bank_journal SET sequence = 100 WHERE sequence = 12",
		"a line that is gone":   "DELETE FROM bank_journal WHERE step = 'refuse'",
		"a line of nobody's":    "UPDATE bank_journal SET direction = 'elsewhere' WHERE step = 'refuse'",
		"a line against itself": "UPDATE bank_journal SET credit = debit",
		"a line of nothing":     "UPDATE bank_journal SET amount = 0",
		"a step twice": `INSERT INTO bank_journal
			(sequence, payment, direction, step, debit, credit, ledger, code, scale, amount)
			SELECT 13, payment, direction, step, debit, credit, ledger, code, scale, amount
			FROM bank_journal WHERE step = 'refuse'`,
		"a posting that is gone":      "DELETE FROM bank_postings WHERE state = 'refused'",
		"a posting without lines":     newPosting + "state = 'refused'",
		"a return twice":              newPosting + "length(returns) > 0",
		"a posting held again":        "UPDATE bank_postings SET state = 'held' WHERE state = 'released'",
		"a release said to be posted": "UPDATE bank_postings SET state = 'posted' WHERE state = 'released'",
		"a state of the other side":   "UPDATE bank_postings SET state = 'refused' WHERE state = 'held'",
		"a posting of less":           "UPDATE bank_postings SET amount = amount - 1",
		"a customer below nothing":    "UPDATE bank_balances SET balance = -1 WHERE account LIKE 'customer/%'",
		"an opening above nothing":    "UPDATE bank_balances SET balance = 1 WHERE account = 'opening'",
		"a customer without standing": "UPDATE bank_customers SET standing = 0",
	}
	storetest.Engines(t, func(t *testing.T, dsn string) {
		bank := newBank(t, dsn)
		for name, statement := range statements {
			t.Run(name, func(t *testing.T) {
				bank.empty()
				bank.reopen()
				for n, c := range []call{
					{books.Hold, out(1, alice, 300), ""},
					{books.Post, out(1, alice, 300), ""},
					{books.Hold, out(2, alice, 200), ""},
					{books.Release, out(2, alice, 200), ""},
					{books.Hold, out(3, alice, 100), ""},
					{books.Post, in(4, alice, 50), ""},
					{books.Refuse, in(5, alice, 70), ""},
					{books.Hold, back(6, 5, 70), ""},
				} {
					if err := bank.take(c.step, c.p); err != nil {
						t.Fatal(n, err)
					}
				}
				bank.sheet()
				if err := bank.exec(strings.Split(statement, "; ")...); err != nil {
					if !errors.Is(err, store.ErrConstraint) {
						t.Error(err)
					}
					return
				}
				if _, err := bank.Trial(t.Context()); !errors.Is(err, books.ErrBooks) {
					t.Errorf("trial: %v", err)
				}
			})
		}
	})
}

// Books that contradict themselves are an error to whom it concerns, not a refusal.
func TestBrokenBooks(t *testing.T) {
	b := newBank(t, "sqlite:"+t.TempDir()+"/store.db")
	b.must(books.Refuse, in(1, alice, 300))
	if err := b.exec("UPDATE bank_balances SET balance = 0 WHERE account = 'returns'"); err != nil {
		t.Fatal(err)
	}
	if err := b.take(books.Hold, back(2, 1, 300)); !errors.Is(err, books.ErrBooks) {
		t.Errorf("what was to be returned is gone: %v", err)
	}
	if err := b.exec("UPDATE bank_postings SET channel = payment"); err != nil {
		t.Fatal(err)
	}
	if err := b.take(books.Refuse, in(1, alice, 300)); !errors.Is(err, books.ErrBooks) {
		t.Errorf("half a channel: %v", err)
	}
}

// Callers at the same time get the money once: of many holds as many as it is enough for, and of
// many copies of one call the effect of one.
func TestTogether(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		b := newBank(t, dsn)
		var held, refused atomic.Int64
		var all sync.WaitGroup
		for n := range byte(40) {
			for range 2 {
				all.Go(func() {
					switch got := verdict(b.Hold(t.Context(), out(n, alice, 100))); got {
					case "ok":
						held.Add(1)
					case short:
						refused.Add(1)
					default:
						t.Error(got)
					}
				})
			}
		}
		all.Wait()
		if held.Load() != 2*10 || refused.Load() != 2*30 {
			t.Errorf("%d held, %d refused", held.Load(), refused.Load())
		}
		if available, aside, err := b.Balance(t.Context(), alice, eur); err != nil || available != 0 || aside != 1000 {
			t.Errorf("%d and %d, %v", available, aside, err)
		}
		b.sheet()
	})
}

// BenchmarkHoldPost: a hold and then its post, every answer on disk.
func BenchmarkHoldPost(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			storetest.Engines(b, func(b *testing.B, dsn string) {
				bank := newBank(b, dsn)
				bank.empty()
				bank.accounts[0].Opening[0].Amount = cypherlink.Amount(b.N)
				bank.reopen()
				var next atomic.Int64
				var all sync.WaitGroup
				b.ResetTimer()
				for range callers {
					all.Go(func() {
						for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
							p := out(0, alice, 1)
							for k := range 6 {
								p.Payment[10+k] = byte(i >> (8 * k))
							}
							if err := errors.Join(bank.Hold(b.Context(), p), bank.Post(b.Context(), p)); err != nil {
								b.Error(err)
							}
						}
					})
				}
				all.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "payments/s")
				if got := bank.sheet()[lane]; got != cypherlink.Amount(b.N) {
					b.Errorf("%d posted of %d", got, b.N)
				}
			})
		})
	}
}
