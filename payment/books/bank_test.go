package books_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/payment/books"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Alice and bob have 1000 each, carol's account is closed and dave's is blocked, with 500 on each.
// The bank does not know mallory.
var (
	alice   = iban("DE89370400440532013000")
	bob     = kyc.Account{Other: "6222021234567890128"}
	carol   = iban("GB82WEST12345698765432")
	dave    = kyc.Account{Other: "17"}
	mallory = kyc.Account{Other: "18"}
)

var eur = cypherlink.Asset{Ledger: "cypherium", Code: "EUR", Scale: 2}

func iban(s string) kyc.Account {
	i, err := cypherlink.ParseIBAN(s)
	if err != nil {
		panic(err)
	}
	return kyc.Account{IBAN: i}
}

func accounts() []books.Account {
	with := func(amount cypherlink.Amount) []payment.Money { return []payment.Money{{Asset: eur, Amount: amount}} }
	return []books.Account{
		{Number: alice, Holder: "Alice", Standing: kyc.Open, Opening: with(1000)},
		{Number: bob, Standing: kyc.Open, Opening: with(1000)},
		{Number: carol, Holder: "Carol", Standing: kyc.Closed, Opening: with(500)},
		{Number: dave, Standing: kyc.Blocked, Opening: with(500)},
	}
}

// uetr is the payment of that number.
func uetr(n byte) cypherlink.UETR {
	return cypherlink.UETR{6: 0x40, 8: 0x80, 15: n}
}

// out and in are postings over channel 1.
func out(n byte, customer kyc.Account, amount cypherlink.Amount) payment.Posting {
	return payment.Posting{
		Payment: uetr(n), Direction: payment.Out, Customer: customer,
		Money: payment.Money{Asset: eur, Amount: amount}, Channel: channels.ID{31: 1},
	}
}

func in(n byte, customer kyc.Account, amount cypherlink.Amount) payment.Posting {
	p := out(n, customer, amount)
	p.Direction = payment.In
	return p
}

// back gives an incoming payment back.
func back(n, incoming byte, amount cypherlink.Amount) payment.Posting {
	p := out(n, kyc.Account{}, amount)
	p.Returns = uetr(incoming)
	return p
}

// bank is books over a database, and what it takes to open them again.
type bank struct {
	t        testing.TB
	dsn      string
	accounts []books.Account
	store    *store.Store
	*books.Books
}

func newBank(t testing.TB, dsn string) *bank {
	t.Helper()
	b := &bank{t: t, dsn: dsn, accounts: accounts()}
	b.open()
	t.Cleanup(b.close)
	return b
}

func (b *bank) open() {
	b.t.Helper()
	s, err := store.Open(context.Background(), b.dsn)
	if err != nil {
		b.t.Fatal(err)
	}
	opened, err := books.Open(context.Background(), s, b.accounts)
	if err != nil {
		b.t.Fatal(errors.Join(err, s.Close()))
	}
	b.store, b.Books = s, opened
}

func (b *bank) close() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bank) reopen() {
	b.t.Helper()
	b.close()
	b.open()
}

// exec changes the tables behind the books' back.
func (b *bank) exec(statements ...string) error {
	return b.store.Update(context.Background(), func(tx *store.Tx) error {
		for _, s := range statements {
			if _, err := tx.Exec(s); err != nil {
				return err
			}
		}
		return nil
	})
}

// empty makes the database as new.
func (b *bank) empty() {
	b.t.Helper()
	if err := b.exec("DELETE FROM bank_customers", "DELETE FROM bank_balances",
		"DELETE FROM bank_postings", "DELETE FROM bank_journal"); err != nil {
		b.t.Fatal(err)
	}
}

// take takes a step.
func (b *bank) take(step books.Step, p payment.Posting) error {
	ctx := context.Background()
	switch step {
	case books.Hold:
		return b.Hold(ctx, p)
	case books.Post:
		return b.Post(ctx, p)
	case books.Release:
		return b.Release(ctx, p)
	case books.Refuse:
		return b.Refuse(ctx, p)
	case books.Opening:
	}
	b.t.Fatalf("step %q", step)
	return nil
}

func (b *bank) must(step books.Step, p payment.Posting) {
	b.t.Helper()
	if err := b.take(step, p); err != nil {
		b.t.Fatal(err)
	}
}

// verdict is an answer in a word: "ok", a code with its reason, or the class of an error.
func verdict(err error) string {
	e, refused := errors.AsType[*cypherlink.Error](err)
	switch {
	case err == nil:
		return "ok"
	case refused:
		return string(e.Code) + " " + e.Reason
	case errors.Is(err, books.ErrContradiction):
		return "contradiction"
	case errors.Is(err, books.ErrPosting):
		return "malformed"
	}
	return err.Error()
}

// sheet is the trial balance by accounts.
func (b *bank) sheet() map[string]cypherlink.Amount {
	b.t.Helper()
	balances, err := b.Trial(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[string]cypherlink.Amount{}
	sums := map[cypherlink.Asset]cypherlink.Amount{}
	for _, x := range balances {
		if x.Amount != 0 {
			all[x.Account] += x.Amount
		}
		sums[x.Asset] += x.Amount
	}
	for asset, sum := range sums {
		if sum != 0 {
			b.t.Fatalf("%s adds up to %d", asset, sum)
		}
	}
	return all
}
