package books

import (
	"context"
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/payment"
)

// Account is a customer's account as the bank's configuration has it.
type Account struct {
	// Number is its IBAN or other number.
	Number kyc.Account
	// Holder is who holds it, at most kyc.MaxName characters, or empty.
	Holder string
	// Standing is kyc.Open, kyc.Closed or kyc.Blocked.
	Standing kyc.Standing
	// Opening is what the account has at first, at most once in each asset.
	Opening []payment.Money
}

// Books are the bank's. They implement payment.Books and payment.Customers; their methods may be
// called by any number of goroutines, and those that change something share the store's commits.
type Books struct {
	store     *store.Store
	customers map[string]customer // by name; never changed
}

var (
	_ payment.Books     = (*Books)(nil)
	_ payment.Customers = (*Books)(nil)
)

// customer is who holds an account, and how it stands.
type customer struct {
	holder   string
	standing kyc.Standing
}

// Open opens the books in the store, which it does not close, with these accounts. Holder and
// standing of an account that is there already are as given now; its opening is booked once in each
// asset, and never after anything else has moved there. An account that is not among them any more
// stays as it was. ErrAccounts if they are malformed.
func Open(ctx context.Context, s *store.Store, accounts []Account) (*Books, error) {
	if err := checkAccounts(accounts); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	b := &Books{store: s}
	err := s.Update(ctx, func(tx *store.Tx) (err error) {
		for i := range accounts {
			if err := open(tx, &accounts[i]); err != nil {
				return err
			}
		}
		b.customers, err = readCustomers(&tx.Reader)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return b, nil
}

func checkAccounts(accounts []Account) error {
	seen := map[string]bool{"": true}
	scales := map[cypherlink.Asset]uint8{} // of the asset without its scale
	for i, a := range accounts {
		err := checkNumber(a.Number)
		if err == nil {
			err = kyc.CreditorName.Check(a.Holder)
		}
		switch {
		case err != nil:
			return fmt.Errorf("account %d: %w: %w", i+1, ErrAccounts, err)
		case seen[name(a.Number)]:
			return fmt.Errorf("account %d has no number, or that of another: %w", i+1, ErrAccounts)
		case a.Standing < kyc.Open || a.Standing > kyc.Blocked:
			return fmt.Errorf("account %d: standing %d: %w", i+1, a.Standing, ErrAccounts)
		}
		seen[name(a.Number)] = true
		assets := map[cypherlink.Asset]bool{}
		for _, m := range a.Opening {
			key := cypherlink.Asset{Ledger: m.Asset.Ledger, Code: m.Asset.Code}
			scale, known := scales[key]
			if m.Asset.Valid() != nil || m.Amount < 0 || assets[key] || known && scale != m.Asset.Scale {
				return fmt.Errorf("account %d opens with %d %s: %w", i+1, m.Amount, m.Asset, ErrAccounts)
			}
			assets[key], scales[key] = true, m.Asset.Scale
		}
	}
	return nil
}

// Standing implements payment.Customers.
func (b *Books) Standing(
	_ context.Context, account kyc.Account,
) (standing kyc.Standing, holder string, err error) {
	c := b.customers[name(account)]
	return c.standing, c.holder, nil
}

// Hold implements payment.Books. A payment with Returns is held out of what that incoming payment
// left in the returns: ErrContradiction if that is not there, or is another amount; AM04 if another
// payment gives it back.
func (b *Books) Hold(ctx context.Context, p payment.Posting) error {
	return b.take(ctx, Hold, &p)
}

// Post implements payment.Books. It never refuses an outgoing payment, and is ErrContradiction for
// one that is not held.
func (b *Books) Post(ctx context.Context, p payment.Posting) error {
	return b.take(ctx, Post, &p)
}

// Release implements payment.Books. It never refuses.
func (b *Books) Release(ctx context.Context, p payment.Posting) error {
	return b.take(ctx, Release, &p)
}

// Refuse implements payment.Books. It never refuses, and asks for no Post before it.
func (b *Books) Refuse(ctx context.Context, p payment.Posting) error {
	return b.take(ctx, Refuse, &p)
}

// take takes a step of the posting, by the rule.
func (b *Books) take(ctx context.Context, step Step, asked *payment.Posting) error {
	p, err := newPosting(step, asked)
	var reason string
	if err == nil {
		err = b.store.Update(ctx, func(tx *store.Tx) (err error) {
			reason, err = b.step(tx, step, &p)
			return err
		})
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s %s payment %s: %w", step, asked.Direction, asked.Payment, err)
	case reason != "":
		return refusal(reason)
	}
	return nil
}

// step takes it in a transaction. The reason is why it is refused, empty if it is not.
func (b *Books) step(tx *store.Tx, step Step, p *posting) (reason string, err error) {
	known, err := readPosting(&tx.Reader, p.payment, p.direction)
	if err != nil {
		return "", err
	}
	at, reason := known.at, known.reason
	if what := known.differs(p); at != absent && what != "" {
		return "", fmt.Errorf("it was booked with %s: %w", what, ErrContradiction)
	}
	switch rule(situation{p.direction, step, at}) {
	case changes:
	case repeats:
		return "", nil
	case stands:
		return reason, nil
	case contradicts:
		return "", fmt.Errorf("it is %s: %w", at.words(), ErrContradiction)
	}
	switch step {
	case Hold:
		return b.hold(tx, p)
	case Post:
		return b.post(tx, p)
	case Release:
		if at == absent {
			return "", p.write(tx, barred, reasonOver)
		}
		return "", book(tx, step, p, released, "")
	case Refuse:
		if at == absent {
			reason = reasonOver
		}
		return "", book(tx, step, p, refused, reason)
	case Opening:
	}
	return "", fmt.Errorf("step %q: %w", step, ErrPosting)
}

// hold sets aside, or notes why it does not.
func (b *Books) hold(tx *store.Tx, p *posting) (reason string, err error) {
	if p.returns.IsZero() {
		reason = bar(b.customers[p.customer].standing)
	} else {
		reason, err = returnable(&tx.Reader, p)
	}
	if err == nil && reason == "" {
		err = book(tx, Hold, p, held, "")
		if errors.Is(err, errShort) && p.returns.IsZero() { // nothing is written yet
			reason, err = reasonFunds, nil
		}
	}
	if err == nil && reason != "" {
		err = p.write(tx, barred, reason)
	}
	return reason, err
}

// returnable is empty if the incoming payment that the posting gives back is in the returns, all of it,
// and no other payment gives it back (K4).
func returnable(r *store.Reader, p *posting) (reason string, err error) {
	came, err := readPosting(r, p.returns, payment.In)
	switch {
	case err != nil:
		return "", err
	case came.at != refused:
		return "", fmt.Errorf("payment %s, to give back, is %s: %w",
			p.returns, came.at.words(), ErrContradiction)
	case came.money != p.money:
		return "", fmt.Errorf("payment %s, to give back, has other money: %w", p.returns, ErrContradiction)
	}
	gone, err := returned(r, p.returns)
	if gone {
		reason = reasonFunds
	}
	return reason, err
}

// post moves what is settled, or notes why the customer's account does not take it.
func (b *Books) post(tx *store.Tx, p *posting) (reason string, err error) {
	if p.direction == payment.In {
		if reason := bar(b.customers[p.customer].standing); reason != "" {
			return reason, p.write(tx, declined, reason)
		}
	}
	return "", book(tx, Post, p, posted, "")
}

// book writes the line of a step and where the posting stands after it.
func book(tx *store.Tx, step Step, p *posting, at state, reason string) error {
	debit, credit := p.route(step)
	line := Line{
		Payment: p.payment, Direction: p.direction, Step: step, Debit: debit, Credit: credit, Money: p.money,
	}
	if err := line.write(tx); err != nil {
		return err
	}
	return p.write(tx, at, reason)
}

// Balance is what a customer has in an asset: free, and set aside for payments under way. It refuses
// an account that the bank does not keep (CodeAccount).
func (b *Books) Balance(
	ctx context.Context, account kyc.Account, asset cypherlink.Asset,
) (available, held cypherlink.Amount, err error) {
	number := name(account)
	if _, known := b.customers[number]; !known {
		return 0, 0, refusal(kyc.ReasonAccount)
	}
	err = b.store.View(ctx, func(r *store.Reader) error {
		free, aside, err := readBalances(r, asset, customerAccount(number), heldAccount(number))
		available, held = cypherlink.Amount(free), cypherlink.Amount(aside)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("balance: %w", err)
	}
	return available, held, nil
}
