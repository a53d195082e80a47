package member

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// made is an unsigned transaction of a signer; the pool does not look at more.
func made(signer byte, sequence uint64, packet int) *state.Transaction {
	return state.NewTransaction(state.Command{Signed: &ledger.SignedCommand{
		Ledger: "de", Signer: cypherlink.ParticipantID{signer}, Sequence: sequence,
		Command: &ledger.Prepare{
			Subject: validator.Subject{Fields: terms.Leg{
				Asset: cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2}, Amount: 1, Expiry: 1,
			}},
			Packet: make([]byte, packet),
		},
	}})
}

func small(transactions, bytes int) *pool {
	return newPool(Limits{Transactions: transactions, Bytes: bytes})
}

// order is the signer and sequence of each candidate.
func order(txs []*state.Transaction) string {
	var s string
	for _, tx := range txs {
		s += fmt.Sprintf("%c%d ", tx.Body.Sender()[0], tx.Body.(state.Command).Signed.Sequence)
	}
	return s
}

func TestSignersTakeTurns(t *testing.T) {
	p := small(100, 1<<20)
	for i := range uint64(4) {
		p.add(made('a', i, 0), time.Time{})
	}
	p.add(made('b', 0, 0), time.Time{})
	p.add(made('c', 0, 0), time.Time{})
	p.add(made('c', 1, 0), time.Time{})
	if got := order(p.candidates(nil, 5, 1<<20)); got != "a0 b0 c0 a1 c1 " {
		t.Fatal(got)
	}
	if got := order(p.candidates(nil, 5, 1<<20)); got != "b0 c0 a0 c1 a1 " {
		t.Fatalf("another signer begins the next block: %s", got)
	}
	skip := map[cypherlink.Hash]bool{made('c', 0, 0).Hash: true, made('a', 0, 0).Hash: true}
	if got := order(p.candidates(skip, 3, 1<<20)); got != "c1 a1 b0 " {
		t.Fatalf("what an ancestor includes is left out: %s", got)
	}
	if got := p.candidates(nil, 5, len(made('a', 0, 0).Encode())); len(got) != 1 {
		t.Fatalf("%d candidates in the bytes of one", len(got))
	}
}

func TestWhoHoldsMostGivesWay(t *testing.T) {
	p := small(4, 1<<20)
	for i := range uint64(4) {
		p.add(made('a', i, 0), time.Time{})
	}
	if e, _ := p.add(made('a', 4, 0), time.Time{}); e != nil {
		t.Fatal("the pool of one signer takes a fifth")
	}
	e, evicted := p.add(made('b', 0, 0), time.Time{})
	if e == nil || len(evicted) != 1 || order([]*state.Transaction{evicted[0].tx}) != "a3 " {
		t.Fatalf("evicted %v", evicted)
	}
	p.add(made('b', 1, 0), time.Time{})
	if e, _ := p.add(made('b', 2, 0), time.Time{}); e != nil {
		t.Fatal("half of the pool is each signer's")
	}
	big := small(100, 4096)
	big.add(made('a', 0, 3000), time.Time{})
	if e, evicted := big.add(made('b', 0, 1000), time.Time{}); e == nil || len(evicted) != 1 {
		t.Fatal("bytes count as transactions do")
	}
}

// TestPoolKeepsItsBooks compares counts and places after every operation with what is there.
func TestPoolKeepsItsBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := small(8, 8192)
		for i := range rapid.Int64Range(1, 60).Draw(t, "operations") {
			now := time.Unix(i, 0)
			tx := made(byte('a'+rapid.IntRange(0, 3).Draw(t, "signer")),
				rapid.Uint64Range(0, 5).Draw(t, "sequence"), rapid.IntRange(0, 3).Draw(t, "packet")*1000)
			switch op := rapid.IntRange(0, 3).Draw(t, "operation"); {
			case op == 0 && p.get(tx.Hash) == nil:
				if e, _ := p.add(tx, now); e != nil && p.get(tx.Hash) != e {
					t.Fatal("added and not there")
				}
			case op == 1:
				there := p.get(tx.Hash)
				if p.remove(tx.Hash) != there || p.get(tx.Hash) != nil {
					t.Fatal("removed another")
				}
			case op == 2:
				p.doubt(tx.Hash)
				if p.get(tx.Hash) != nil && p.due(time.Time{}).tx.Hash != tx.Hash {
					t.Fatal("the doubtful one is not the next")
				}
			case op == 3:
				if e := p.due(now.Add(-5 * time.Second)); e != nil {
					p.passed(e, now)
				}
			}
			books(t, p)
		}
	})
}

func books(t *rapid.T, p *pool) {
	bytes := 0
	for _, e := range p.entries {
		bytes += len(e.tx.Encode())
	}
	if bytes != p.bytes || bytes > p.limits.Bytes || len(p.entries) > p.limits.Transactions ||
		p.tried.Len() != len(p.entries) || len(p.turns) != len(p.queues) {
		t.Fatalf("%d bytes of %d, %d entries, %d tried, %d turns of %d signers",
			p.bytes, bytes, len(p.entries), p.tried.Len(), len(p.turns), len(p.queues))
	}
	all := p.candidates(nil, 1000, 1<<20)
	if len(all) != len(p.entries) {
		t.Fatalf("%d candidates of %d entries", len(all), len(p.entries))
	}
	var last time.Time
	for at := p.tried.Front(); at != nil; at = at.Next() {
		if e := entryOf(at); e.triedAt.Before(last) {
			t.Fatal("tried out of order")
		} else {
			last = e.triedAt
		}
	}
}

func TestTooManyWaiters(t *testing.T) {
	e := &entry{}
	var calls []chan answer
	for range maxWaiters + 1 {
		c := make(chan answer, 1)
		calls = append(calls, c)
		e.wait(c)
	}
	if a := <-calls[0]; a.outcome.Status != follow.Pending {
		t.Fatalf("the oldest is told %+v", a)
	}
	e.tell(answer{outcome: follow.Outcome{Status: follow.Final, Height: 7}})
	for _, c := range calls[1:] {
		if a := <-c; a.outcome.Height != 7 {
			t.Fatalf("%+v", a)
		}
	}
	e.tell(answer{}) // nobody waits any more
}
