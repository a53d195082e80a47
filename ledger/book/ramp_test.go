package book_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/internal/store/storetest"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// port is a house from which value crosses to a chain that the test stands in for.
type port struct {
	*house
	ramp   *ledgertest.Ramp
	burns  ledgertest.Burns
	signer book.Signer
}

func newPort(t testing.TB, dsn string) *port {
	t.Helper()
	r := ledgertest.NewRamp("cypherium")
	p := &port{house: newHouse(t, dsn), ramp: r, burns: ledgertest.Burns{}, signer: r.Operator}
	p.World = r.World
	p.reopen(p.options(), true)
	return p
}

func (p *port) options() book.Options {
	o := p.house.options()
	o.Charter, o.Signer = p.ramp.External(p.burns), p.signer
	return o
}

func (p *port) backings() map[cypherlink.Asset]ledger.Backing { return p.ramp.External(nil).Backings }

// cross wants the command to succeed, with a passage that its evidence shows.
func (p *port) cross(c *ledger.SignedCommand) ledger.Passage {
	p.t.Helper()
	got, err := p.book.Cross(p.t.Context(), c)
	if err != nil {
		p.t.Fatalf("%T: %v", c.Command, err)
	}
	operator := p.word()
	told, err := operator.Passage(got.Evidence)
	if err != nil || !reflect.DeepEqual(told, got) {
		p.t.Fatalf("%+v, its evidence says %+v, %v", got, told, err)
	}
	return got
}

// pay burns the crossing on the chain that does not exist, and gives its Enter.
func (p *port) pay(nonce uint64, amount cypherlink.Amount) *ledger.SignedCommand {
	x := p.ramp.Burn(nonce, amount, start+60)
	name := fmt.Sprint("burn ", nonce)
	p.burns[name] = x
	return p.ramp.Enter(p.Bob, x, []byte(name))
}

// holds wants so much in escrow, and the books in order.
func (p *port) holds(escrow cypherlink.Amount) book.Audited {
	p.t.Helper()
	balances, err := p.book.Balances(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	want := map[cypherlink.Account]cypherlink.Amount{
		p.ramp.Escrow(): escrow, ledgertest.Account(p.Alice): ledgertest.Opening - escrow,
	}
	for _, b := range balances {
		if amount, ok := want[b.Account]; ok && b.Asset == p.ramp.Backing && amount != b.Amount {
			p.t.Fatalf("%s has %d, want %d", b.Account, b.Amount, amount)
		}
	}
	a, err := book.Audit(p.t.Context(), p.store, p.word(), p.backings())
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func TestRamp(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		p := newPort(t, dsn)
		deposit := p.ramp.Leave(p.Alice, p.ramp.Deposit(1, 10_000, start+60))
		in := p.cross(deposit)
		if in.Sequence != 1 || in.TimeMS != start*1000 || !in.Left() || in.Ledger != p.Ledger {
			t.Fatalf("%+v", in)
		}
		p.must(p.Prepare(p.Payment("between", 700, start+20)))
		p.clock.ms.Add(1000)
		payout := p.pay(1, 4_000)
		out := p.cross(payout)
		if out.Sequence != 2 || out.TimeMS != (start+1)*1000 || out.Left() {
			t.Fatalf("%+v", out)
		}
		p.must(p.Return(p.Bob, p.Payment("between", 700, start+20)))
		p.holds(6_000)
		// a repetition, also another signature over it and by another process, changes nothing
		p.reopen(p.options(), false)
		for range 2 {
			if again := p.cross(deposit); !reflect.DeepEqual(again, in) {
				t.Fatalf("%+v, before %+v", again, in)
			}
			if again := p.cross(p.ramp.Leave(p.Alice, in.Crossing)); !reflect.DeepEqual(again, in) {
				t.Fatalf("%+v, before %+v", again, in)
			}
			if again := p.cross(payout); !reflect.DeepEqual(again, out) {
				t.Fatalf("%+v, before %+v", again, out)
			}
		}
		other := in.Crossing
		other.Amount++
		for c, code := range map[*ledger.SignedCommand]cypherlink.Code{
			p.ramp.Leave(p.Alice, other): ledger.CodeCrossingDiffers,
			p.pay(2, 6_001):              ledger.CodeBacking,
			p.ramp.Leave(p.Alice, p.ramp.Deposit(2, ledgertest.Opening, start+60)): ledger.CodeFunds,
			p.Prepare(p.Payment("one", 1, start+20)):                               ledger.CodeMalformed,
		} {
			if _, err := p.book.Cross(t.Context(), c); cypherlink.ErrorCode(err) != code {
				t.Errorf("%T: %v, want %s", c.Command, err, code)
			}
		}
		if _, err := p.book.Submit(t.Context(), deposit); cypherlink.ErrorCode(err) != ledger.CodeMalformed {
			t.Errorf("a crossing is submitted as a custody: %v", err)
		}
		third := p.cross(p.ramp.Leave(p.Alice, p.ramp.Deposit(3, 1, start+60)))
		if third.Sequence != 3 {
			t.Errorf("passage %d after 2", third.Sequence)
		}
		if a := p.holds(6_001); len(a.Passages) != 3 || a.Events != 2 {
			t.Errorf("%d passages and %d events", len(a.Passages), a.Events)
		}
	})
}

// Many who hand in the same crossings at once, and a shop full of custodies, give one effect each.
func TestManyCrossTogether(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		p := newPort(t, dsn)
		const crossings, times = 20, 4
		var payouts []*ledger.SignedCommand
		for i := range uint64(crossings) / 2 {
			payouts = append(payouts, p.pay(i, 10))
		}
		var all sync.WaitGroup
		for range times {
			for i := range uint64(crossings) {
				all.Go(func() {
					c := p.ramp.Leave(p.Alice, p.ramp.Deposit(i, 100, start+60))
					if _, err := p.book.Cross(t.Context(), c); err != nil {
						t.Error(err)
					}
					if i >= crossings/2 {
						return
					}
					if _, err := p.book.Cross(t.Context(), payouts[i]); err != nil {
						t.Error(err)
					}
				})
				all.Go(func() {
					c := p.Prepare(p.Payment(fmt.Sprint(i), 10, start+20))
					if _, err := p.book.Submit(t.Context(), c); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		a, err := book.Audit(t.Context(), p.store, p.word(), p.backings())
		if err != nil || len(a.Passages) != crossings*3/2 || a.Events != crossings {
			t.Fatalf("%d passages, %d events, %v", len(a.Passages), a.Events, err)
		}
	})
}

// Passages are published in their order and transaction, and with nothing that was undone.
func TestPassagesArePublished(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		p := newPort(t, dsn)
		o := p.options()
		o.PublishPassage = func(tx *store.Tx, passage ledger.Passage) error {
			return tx.Enqueue("passages", nil, passage.Evidence)
		}
		p.reopen(o, false)
		want := [][]byte{
			p.cross(p.ramp.Leave(p.Alice, p.ramp.Deposit(1, 100, start+60))).Evidence,
			p.cross(p.pay(1, 40)).Evidence,
		}
		undone := errors.New("undone")
		err := p.book.Update(t.Context(), func(b *book.Batch) error {
			_, err := b.Cross(p.ramp.Leave(p.Alice, p.ramp.Deposit(2, 100, start+60)))
			return errors.Join(err, undone)
		})
		if !errors.Is(err, undone) {
			t.Fatal(err)
		}
		want = append(want, p.cross(p.ramp.Leave(p.Alice, p.ramp.Deposit(3, 100, start+60))).Evidence)
		err = p.store.View(t.Context(), func(r *store.Reader) error {
			messages, err := r.Pending("passages", 10)
			if len(messages) != len(want) {
				t.Fatalf("%d messages", len(messages))
			}
			for i, m := range messages {
				if !bytes.Equal(m.Payload, want[i]) {
					t.Errorf("message %d is not the record of passage %d", i, i+1)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever step of a transaction fails, nothing of it is there, and the same commands work then.
func TestFailedCrossing(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		p := newPort(t, dsn)
		signer := &failingSigner{Actor: p.Operator}
		p.signer = signer
		p.reopen(p.options(), false)
		deposit, payout := p.ramp.Leave(p.Alice, p.ramp.Deposit(1, 100, start+60)), p.pay(1, 40)
		both := func() error {
			return p.book.Update(context.Background(), func(b *book.Batch) error {
				for _, c := range []*ledger.SignedCommand{deposit, payout} {
					if _, err := b.Cross(c); err != nil {
						return err
					}
				}
				return nil
			})
		}
		for step := range 2 {
			signer.calls = step + 1
			if err := both(); !errors.Is(err, errSigner) {
				t.Fatalf("step %d: %v", step, err)
			}
			signer.calls = 1
			if _, err := p.book.Cross(t.Context(), deposit); !errors.Is(err, errSigner) {
				t.Fatalf("step %d: %v", step, err)
			}
			if a := p.holds(0); len(a.Passages) != 0 {
				t.Fatalf("step %d: %+v", step, a)
			}
		}
		if err := both(); err != nil {
			t.Fatal(err)
		}
		p.holds(60)
	})
}

func TestNobodyOpensAnEscrow(t *testing.T) {
	p := newPort(t, "sqlite:"+t.TempDir()+"/store.db")
	for _, owner := range []ledgertest.Actor{p.Operator, p.Alice} {
		o := p.options()
		o.Opening = append(o.Opening, ledger.Balance{Account: ledger.Escrow(owner.ID), Asset: p.ramp.Backing})
		if err := p.book.Close(); err != nil {
			t.Fatal(err)
		}
		empty(t, p.store)
		_, err := book.Open(t.Context(), p.store, o)
		if !errors.Is(err, book.ErrChart) || !strings.Contains(err.Error(), "escrow") {
			t.Fatal(err)
		}
		p.reopen(p.options(), true)
	}
}

// One account may let all that an Amount can hold leave, and get it back.
func TestLargestCrossing(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, dsn string) {
		p := newPort(t, dsn)
		o := p.options()
		o.Opening = []ledger.Balance{
			{Account: ledgertest.Account(p.Alice), Asset: p.ramp.Backing, Amount: math.MaxInt64},
		}
		p.reopen(o, true)
		p.cross(p.ramp.Leave(p.Alice, p.ramp.Deposit(1, math.MaxInt64, start+60)))
		p.cross(p.pay(1, math.MaxInt64))
		if a, err := book.Audit(t.Context(), p.store, p.word(), p.backings()); err != nil {
			t.Fatal(a, err)
		}
	})
}

// undo takes an amount out of escrow and gives it back to Alice.
func undo(amount int) string {
	alice := ledgertest.Account(ledgertest.NewActor("alice"))
	return fmt.Sprintf(`UPDATE book_places SET balance = balance - %d
			WHERE code = 'EUR' AND place LIKE '%%/4294967295';
		UPDATE book_places SET balance = balance + %d WHERE code = 'EUR' AND place = '%s'`,
		amount, amount, alice)
}

// Every way to falsify what crossed shows in the audit, or is refused by the database.
func TestAuditFindsFalseCrossings(t *testing.T) {
	for name, statement := range map[string]string{
		"an escrow of one more":     "UPDATE book_places SET balance = balance + 1 WHERE place LIKE '%/4294967295'",
		"an escrow of one less":     "UPDATE book_places SET balance = balance - 1 WHERE place LIKE '%/4294967295'",
		"an escrow that is gone":    "DELETE FROM book_places WHERE place LIKE '%/4294967295'",
		"another amount":            "UPDATE book_crossings SET amount = amount + 1 WHERE sequence = 1",
		"from another place":        "UPDATE book_crossings SET debit = credit || 'x' WHERE sequence = 1",
		"of another asset":          "UPDATE book_crossings SET code = 'USD' WHERE sequence = 1",
		"another id":                "UPDATE book_crossings SET id = record WHERE sequence = 1",
		"another's record":          "UPDATE book_crossings SET record = (SELECT record FROM book_crossings WHERE sequence = 1) WHERE sequence = 2",
		"a crossing is gone":        "DELETE FROM book_crossings WHERE sequence = 2",
		"the first is gone":         "DELETE FROM book_crossings WHERE sequence = 1",
		"after an event of later":   "UPDATE book_crossings SET events = 2 WHERE sequence = 1",
		"after an event that never": "UPDATE book_crossings SET events = 9 WHERE sequence = 2",
		"before an event":           "UPDATE book_crossings SET events = 0 WHERE sequence = 2",
		"another number":            "UPDATE book_crossings SET sequence = 9 WHERE sequence = 2",
		// the rest leaves every place with what the lines say
		"escrow from the opening": `INSERT INTO book_journal (sequence, line, code, amount, debit, credit)
			SELECT 0, 99, 'EUR', 1, 'issue', place FROM book_places WHERE place LIKE '%/4294967295';
			UPDATE book_places SET balance = balance + 1 WHERE place LIKE '%/4294967295'`,
		"a passage that is never replayed": `UPDATE book_crossings SET events = 9 WHERE sequence = 3;
			` + undo(1_000),
		"a passage out of the middle": "DELETE FROM book_crossings WHERE sequence = 2;" + undo(-4_000),
		"a passage of another amount": "UPDATE book_crossings SET amount = 999 WHERE sequence = 3;" + undo(1),
		"a passage in another asset": `UPDATE book_crossings SET code = 'USD' WHERE sequence = 3;
			INSERT INTO book_places (place, code, balance)
				SELECT place, 'USD', 1000 FROM book_places WHERE place LIKE '%/4294967295';
			UPDATE book_places SET balance = balance - 1000 WHERE code = 'USD'
				AND place = (SELECT debit FROM book_crossings WHERE sequence = 3);` + undo(1_000),
		"a passage of another id": "UPDATE book_crossings SET id = record WHERE sequence = 3",
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Engines(t, func(t *testing.T, dsn string) {
				p := newPort(t, dsn)
				p.cross(p.ramp.Leave(p.Alice, p.ramp.Deposit(1, 10_000, start+60)))
				p.clock.ms.Add(1000)
				pay := p.Payment("between", 700, start+20)
				p.must(p.Prepare(pay))
				p.must(p.Confirm(p.Bob, pay))
				p.clock.ms.Add(1000)
				p.cross(p.pay(1, 4_000))
				p.cross(p.ramp.Leave(p.Alice, p.ramp.Deposit(2, 1_000, start+60)))
				if _, err := book.Audit(t.Context(), p.store, p.word(), p.backings()); err != nil {
					t.Fatal(err)
				}
				err := p.store.Update(t.Context(), func(tx *store.Tx) error {
					for one := range strings.SplitSeq(statement, ";") {
						if n, err := tx.Exec(one); err != nil || n == 0 {
							return errors.Join(err, fmt.Errorf("%q changes %d rows", one, n))
						}
					}
					return nil
				})
				if errors.Is(err, store.ErrConstraint) {
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err = book.Audit(t.Context(), p.store, p.word(), p.backings()); !errors.Is(err, book.ErrBooks) {
					t.Fatalf("audit: %v", err)
				}
			})
		})
	}
}

// An operator that signs a custody over what is in escrow, or a passage twice, is found out.
func TestAuditFindsAnOperatorThatTakesFromEscrow(t *testing.T) {
	p := newPort(t, "sqlite:"+t.TempDir()+"/store.db")
	p.cross(p.ramp.Leave(p.Alice, p.ramp.Deposit(1, 10_000, start+60)))
	pay := p.Payment("one", 700, start+20)
	pay.Subject.Fields.Debit = p.ramp.Escrow()
	custody := ledger.Custody{ID: p.ID(pay), Subject: pay.Subject, Packet: pay.Packet, State: ledger.Prepared}
	record := ledger.Record{Network: p.Network, Receipt: ledger.Receipt{
		Ledger: p.Ledger, Custody: custody, Sequence: 1, TimeMS: start * 1000,
	}}
	record.Signature, _ = p.Operator.Sign(record.Frame())
	escrow := p.ramp.Escrow().String()
	err := p.store.Update(t.Context(), func(tx *store.Tx) error {
		for _, s := range []struct {
			statement string
			args      []any
		}{
			{"UPDATE book_head SET sequence = 1", nil},
			{"UPDATE book_places SET balance = balance - 700 WHERE place = $1", []any{escrow}},
			{"UPDATE book_places SET balance = balance + 700 WHERE place = 'custody' AND code = 'EUR'", nil},
			{
				"INSERT INTO book_events (sequence, custody, state, time_ms, record) VALUES (1, $1, 1, $2, $3)",
				[]any{custody.ID[:], int64(start * 1000), record.Encode()},
			},
			{
				`INSERT INTO book_journal (sequence, line, code, amount, debit, credit)
					VALUES (1, 0, 'EUR', 700, $1, 'custody')`, []any{escrow},
			},
			{
				`INSERT INTO book_custodies (id, condition, state, code, amount, expiry, sequence)
					VALUES ($1, $2, 1, 'EUR', 700, $3, 1)`,
				[]any{custody.ID[:], pay.Subject.Condition[:], int64(start + 20)},
			},
		} {
			if _, err := tx.Exec(s.statement, s.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = book.Audit(t.Context(), p.store, p.word(), p.backings())
	if !errors.Is(err, book.ErrBooks) || !strings.Contains(err.Error(), "moves what is in escrow") {
		t.Fatal(err)
	}
}
