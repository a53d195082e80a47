package payment

import (
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// The payer makes a lock again that the payee has given up and that was taken back: it is no custody again, and
// what was told of it stands.
func TestLockMadeAgain(t *testing.T) {
	attack(t, lanes(), func(t *testing.T, at *attacked) {
		locks := at.bank.Tellers.Locks()
		p := &ledger.Prepare{Subject: validator.Subject{Condition: cypherlink.Preimage{1}.Condition(), Fields: terms.Leg{
			Asset: assetDCEP(), Amount: 7, Expiry: time.Now().Unix() + 60,
			Debit:  cypherlink.Account{Owner: at.a.id(), Number: ledger.ChannelNumber},
			Credit: cypherlink.Account{Owner: at.b.id(), Number: ledger.ChannelNumber},
		}}}
		filed := &ledger.SignedCommand{
			Network: at.genesis.Network(), Ledger: at.genesis.Chain(), Signer: at.a.id(), Sequence: 1, Command: p,
		}
		if err := locks.File(t.Context(), filed); err != nil {
			t.Fatal(err)
		}
		lock, _ := LockOf(at.genesis.Network(), &p.Subject)
		is := func(want ledger.State, events uint64) {
			t.Helper()
			at.eventually("it is "+want.String(), func() bool {
				record, err := locks.Find(t.Context(), lock.ID)
				return err == nil && record.Last != nil && record.Last.State == want
			})
			if n, err := locks.Count(t.Context()); err != nil || n != events {
				t.Errorf("%d events, want %d: %v", n, events, err)
			}
		}
		offer := func(op channels.Operation) {
			t.Helper()
			if err := at.offers(at.writes(0, op)); err != nil {
				t.Fatal(err)
			}
		}
		offer(lock)
		is(ledger.Prepared, 1)
		locks.Fail(at.id, lock.ID)
		at.last.Locked, at.locks = 0, nil
		offer(channels.Unlock{Lock: lock.ID})
		is(ledger.Returned, 2)
		offer(lock)
		at.signed(3)
		time.Sleep(time.Second)
		is(ledger.Returned, 2)
	})
}
