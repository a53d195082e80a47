package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// audited runs an audit and gives its exit code and what it printed.
func audited(t *testing.T, dir string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	err := (&auditCommand{Dir: dir}).Run(&session{Context: t.Context(), out: &b, log: io.Discard})
	if err == nil {
		return 0, b.String()
	}
	b.WriteString(err.Error())
	if _, ok := errors.AsType[refusal](err); ok {
		return exitRefused, b.String()
	}
	return exitFailed, b.String()
}

func unwatched(string) lens { return bare() }

// through is what everybody sees ledgers through.
func through(watch func(folder string, l ledger.Ledger) ledger.Ledger) func(folder string) lens {
	return func(folder string) lens {
		l := bare()
		l.ledger = func(inner ledger.Ledger) ledger.Ledger { return watch(folder, inner) }
		return l
	}
}

// everybody are the folders of all processes, in the order in which they start.
func everybody() []string {
	all := append([]string{folderLedger, folderVoteDE, folderVoteDCEP}, committee()...)
	return append(all, folderB, folderClearing, folderA)
}

// resumed starts a network again that is down.
func resumed(t *testing.T, dir string, through func(folder string) lens) *stage {
	t.Helper()
	s := newStage(dir, io.Discard, through)
	for _, folder := range everybody() {
		if err := s.start(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// paid submits an instruction to Bank A and waits until the payment stands as is wanted.
func paid(t *testing.T, s *stage, body string, stands ...payment.Status) cypherlink.UETR {
	t.Helper()
	return paidBy(t, s, bankA(t, s), body, stands...)
}

// paidBy is paid by any bank.
func paidBy(
	t *testing.T, s *stage, bank *connectProcess, body string, stands ...payment.Status,
) cypherlink.UETR {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sum := sha256.Sum256([]byte(body))
	key := hex.EncodeToString(sum[:])
	a, err := bank.connect.Submit(ctx, []byte(body), payment.JSON, key)
	if err != nil {
		t.Fatal(err)
	}
	p := a.Payment
	for !slices.Contains(stands, p.Status) {
		select {
		case err := <-s.failed:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatal(p, err)
		case <-time.After(pollEvery):
		}
		if p, err = bank.connect.Payment(ctx, p.UETR); err != nil {
			t.Fatal(err)
		}
	}
	return p.UETR
}

// duplicate copies a folder.
func duplicate(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// replace puts a copy of one folder in another's place.
func replace(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// contents are the hashes of all files below a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		sum := sha256.Sum256(raw)
		all[name] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// edit changes the store of a process, of whom nobody knows.
func edit(t *testing.T, dir, folder, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, folder, dataName, "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("nothing was changed by %q (%v)", statement, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// alter changes what member-3's store has under a key.
func alter(
	t *testing.T, dir string, key func(*chain.Genesis, *state.Pebble) []byte, value func([]byte) []byte,
) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, genesisName))
	if err != nil {
		t.Fatal(err)
	}
	g, err := chain.ParseGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	db, err := state.OpenPebble(filepath.Join(dir, "member-3", dataName, "store"),
		state.PebbleOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k := key(g, db)
	old, ok, err := db.Get(k)
	if err != nil || !ok {
		t.Fatalf("nothing under %x (%v)", k, err)
	}
	if err := db.Write([]state.Write{{Key: k, Value: value(old)}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// flipped has another bit at that place, counted from the end where negative.
func flipped(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}

func removed([]byte) []byte { return nil }

// lastOf is the last key of a space of a member's store.
func lastOf(t *testing.T, prefix ...byte) func(*chain.Genesis, *state.Pebble) []byte {
	return func(_ *chain.Genesis, db *state.Pebble) []byte {
		t.Helper()
		end := bytes.Clone(prefix)
		end[len(end)-1]++
		var last []byte
		if err := db.Scan(prefix, end, func(key, _ []byte) bool {
			last = bytes.Clone(key)
			return true
		}); err != nil || last == nil {
			t.Fatalf("no key below %q (%v)", prefix, err)
		}
		return last
	}
}

// someBalance is the key of an account on the chain.
func someBalance(g *chain.Genesis, _ *state.Pebble) []byte {
	o := g.File().Openings[0]
	return append([]byte{'s'}, state.BalanceKey(o.Account, o.Asset)...)
}

// gate keeps the clearing bank from making custodies on the chain while it is shut.
type gate struct{ shut atomic.Bool }

type gated struct {
	ledger.Ledger
	gate *gate
}

func (g *gate) watch(folder string, l ledger.Ledger) ledger.Ledger {
	if folder == folderClearing {
		return &gated{l, g}
	}
	return l
}

// Submit implements ledger.Ledger.
func (g *gated) Submit(ctx context.Context, c *ledger.SignedCommand) (ledger.Receipt, error) {
	if _, prepare := c.Command.(*ledger.Prepare); prepare && g.gate.shut.Load() {
		return ledger.Receipt{}, errSilent
	}
	return g.Ledger.Submit(ctx, c)
}

// TestAuditOfANetwork makes one network with payments that are settled, one that is rejected and
// one that is under way, and then changes copies of it.
func TestAuditOfANetwork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	s, err := raise(t.Context(), dir, io.Discard, unwatched)
	if err != nil {
		t.Fatal(err)
	}
	settled := paid(t, s, samplePayment, payment.StatusSettled)
	paid(t, s, strings.ReplaceAll(samplePayment, creditorCN, creditorCN+"0"), payment.StatusRejected)
	t.Run("a network that runs is refused, naming who runs", func(t *testing.T) {
		code, out := audited(t, dir)
		for _, folder := range everybody() {
			if !strings.Contains(out, folder+", pid "+strconv.Itoa(os.Getpid())) {
				t.Errorf("it does not name %s", folder)
			}
		}
		if code != exitRefused {
			t.Error(code, out)
		}
	})
	if err := s.stopAll(); err != nil {
		t.Fatal(err)
	}
	early := duplicate(t, dir)
	t.Run("settled and rejected payments leave no difference", func(t *testing.T) {
		code, out := audited(t, early)
		if code != 0 || !strings.Contains(out, "bank-a, outgoing payments: REJECTED 1, SETTLED 1\n") {
			t.Error(code, out)
		}
	})

	var g gate
	s = resumed(t, dir, through(g.watch))
	for _, amount := range []string{"30.00", "31.00", "32.00", "33.00"} {
		paid(t, s, strings.ReplaceAll(samplePayment, "2000.00", amount), payment.StatusSettled)
	}
	g.shut.Store(true)
	late := strings.ReplaceAll(samplePayment, "2000.00", "40.00")
	paid(t, s, late, payment.StatusReserved)
	if err := s.stopAll(); err != nil {
		t.Fatal(err)
	}
	t.Run("a payment under way is reported and is no difference", func(t *testing.T) {
		code, out := audited(t, dir)
		if code != 0 || !strings.Contains(out, "REJECTED 1, RESERVED 1, SETTLED 5\n") {
			t.Error(code, out)
		}
	})
	t.Run("an audit writes nothing", func(t *testing.T) {
		before := contents(t, dir)
		audited(t, dir)
		if after := contents(t, dir); !maps.Equal(before, after) {
			t.Error("the stores have changed")
		}
	})
	auditFinds(t, dir, early, settled)
	if testing.Short() {
		return // the custodies' times have to pass
	}
	s = resumed(t, dir, through(g.watch))
	// the clearing bank gives the custody back when it is there in time to say so
	paid(t, s, late, payment.StatusExpired, payment.StatusRejected)
	if err := s.stopAll(); err != nil {
		t.Fatal(err)
	}
	t.Run("a payment that came back leaves no difference", func(t *testing.T) {
		code, out := audited(t, dir)
		if code != 0 || strings.Contains(out, "RESERVED") || !strings.Contains(out, "SETTLED 5\n") {
			t.Error(code, out)
		}
	})
}

// tampering is what somebody did to the stores of a network, and what an audit says of it.
type tampering struct {
	name   string
	tamper func(t *testing.T, dir string)
	found  string
}

func auditFinds(t *testing.T, dir, early string, settled cypherlink.UETR) {
	t.Helper()
	all := append(tamperedLedgers(), tamperedLogs(settled)...)
	for i, tt := range append(all, rolledBack(early)...) {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			changed := duplicate(t, dir)
			tt.tamper(t, changed)
			code, out := audited(t, changed)
			if code != exitFailed || !strings.Contains(out, tt.found) {
				t.Error(code, out)
			}
		})
	}
}

// statement is a tampering that changes one store.
func statement(folder, sql string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { edit(t, dir, folder, sql) }
}

func tamperedLedgers() []tampering {
	const richest = "(SELECT MAX(balance) FROM book_places)"
	const enrich = "UPDATE book_places SET balance = balance + 100 WHERE balance = " + richest
	return []tampering{
		{
			"a balance is edited",
			statement(folderLedger, enrich),
			"accounts, custodies and channels hold 12000001.00 DE, issued were 12000000.00",
		},
		{
			"money is moved from one account to another",
			statement(folderLedger, `UPDATE book_places SET balance = balance +
				CASE WHEN balance = `+richest+` THEN -5 ELSE 5 END
				WHERE place <> 'custody' AND balance > 0`),
			"the account of Bank A, number 0 has",
		},
		{
			"money is printed at the opening",
			func(t *testing.T, dir string) {
				edit(t, dir, folderLedger, enrich)
				edit(t, dir, folderLedger, `UPDATE book_journal SET amount = amount + 100
					WHERE sequence = 0 AND amount = (SELECT MAX(amount) FROM book_journal)`)
			},
			"accounts, custodies and channels hold 12000001.00 DE, issued were 12000000.00",
		},
		{
			"the amount of a custody row is changed",
			statement(folderLedger, "UPDATE book_custodies SET amount = amount + 1 WHERE sequence = 2"),
			"is not what its events say",
		},
		{
			"the state of a custody row is changed",
			statement(folderLedger, "UPDATE book_custodies SET state = 3 WHERE sequence = 2"),
			"is not what its events say",
		},
		{
			"a balance on the chain is edited",
			func(t *testing.T, dir string) { alter(t, dir, someBalance, flipped(-1)) },
			"member-3\n  - ", // its account, or its key where the tree about it does not hold
		},
		{
			"a custody on the chain is edited",
			func(t *testing.T, dir string) { alter(t, dir, lastOf(t, 's', 4), flipped(40)) },
			"is not what the events say",
		},
		{
			"a custody on the chain is gone",
			func(t *testing.T, dir string) { alter(t, dir, lastOf(t, 's', 4), removed) },
			"custodies in the state, by the events",
		},
		{
			"an event of the chain is edited",
			func(t *testing.T, dir string) { alter(t, dir, lastOf(t, 'e'), flipped(16)) },
			"the events are not those that block",
		},
		{
			"a proof of finality has another signature",
			func(t *testing.T, dir string) { alter(t, dir, lastOf(t, 'p'), flipped(-1)) },
			"is not proved final",
		},
		{
			"a gateway has lost an event of the ledger",
			statement(folderB, "DELETE FROM kafka_records WHERE sequence = 1"),
			"of ledger de it lacks event 1",
		},
		{
			"a gateway has another event than the ledger",
			statement(folderClearing, `UPDATE kafka_records SET record =
				(SELECT record FROM kafka_records WHERE sequence = 1) WHERE sequence = 2`),
			"it has another event 2 of ledger de",
		},
	}
}

func tamperedLogs(settled cypherlink.UETR) []tampering {
	stream := "stream = 'payment/" + settled.String() + "'"
	end := " AND sequence = (SELECT MAX(sequence) FROM events WHERE "
	return []tampering{
		{
			"a payment has lost its last event",
			statement(folderA, "DELETE FROM events WHERE "+stream+end+stream+")"),
			"the log has lost its end",
		},
		{
			"a payment has lost its first event",
			statement(folderA, "DELETE FROM events WHERE sequence = 1 AND "+stream),
			"event 1 is missing",
		},
		{
			"a payment has lost an event in between",
			statement(folderB, "DELETE FROM events WHERE sequence = 2 AND "+stream),
			"event 2 is missing",
		},
		{
			"a payment is gone at the bank that paid",
			statement(folderA, "DELETE FROM events WHERE "+stream),
			"the payer's bank has no such payment",
		},
		{
			"a payment is gone at the bank that was paid",
			statement(folderB, "DELETE FROM events WHERE "+stream),
			"the payee's bank has no such payment",
		},
		{
			"the logs of a machine are gone",
			statement(folderClearing, "DELETE FROM events WHERE stream LIKE 'relay/%'"),
			"the clearing bank has no relay machine for it",
		},
		{
			"an open payment is gone",
			statement(folderA, `DELETE FROM events WHERE stream LIKE 'payment/%'
				AND stream IN (SELECT stream FROM open_payments)`),
			"it is listed as open and has no log",
		},
		{
			"a machine has lost its end",
			statement(folderA, `DELETE FROM events WHERE stream LIKE 'payer/%' AND sequence = 5`),
			"the log has lost its end",
		},
		{
			"a machine's log is of other terms",
			statement(folderClearing, `UPDATE events SET stream = 'relay/' || substr(stream, 8) || substr(stream, 7, 1)
				WHERE stream = (SELECT MIN(stream) FROM events WHERE stream LIKE 'relay/%')`),
			"it is of terms",
		},
		{
			"a payment has the proof of another",
			statement(folderA, `UPDATE events SET body = (SELECT body FROM events WHERE kind = 'agreed' AND NOT `+stream+`)
				WHERE kind = 'agreed' AND `+stream),
			"a proof of other terms",
		},
		{
			"a payment that is over is listed as open",
			statement(folderA, `INSERT INTO open_payments SELECT DISTINCT stream FROM events WHERE `+stream),
			"by its log it is over, but it is listed as open",
		},
		{
			"a store is gone",
			func(t *testing.T, dir string) {
				if err := os.Remove(filepath.Join(dir, folderB, dataName, "store.db")); err != nil {
					t.Fatal(err)
				}
			},
			"the payee's bank has no such payment",
		},
	}
}

func rolledBack(early string) []tampering {
	back := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, name := range names {
				replace(t, filepath.Join(early, name), filepath.Join(dir, name))
			}
		}
	}
	var all []string
	for _, folder := range committee() {
		all = append(all, filepath.Join(folder, dataName))
	}
	const older = "the store is older than its signatures"
	return []tampering{
		{"a member is rolled back", back("member-2/data"), older},
		{"a member's state is rolled back", back("member-3/data/store"), older},
		{"all members are rolled back", back(all...), "no member's copy that holds goes beyond"},
		{"the external ledger is rolled back", back("ledger-de/data"), "which ends at"},
		{"a bank is rolled back", back("bank-a/data"), "the payer's bank has no such payment"},
		{
			"everybody but the ledgers is rolled back", back("bank-a/data", "bank-b/data", "clearing/data"),
			"no payment knows custody",
		},
		{
			"a member's store is gone", func(t *testing.T, dir string) {
				if err := os.RemoveAll(filepath.Join(dir, "member-1/data/store")); err != nil {
					t.Fatal(err)
				}
			},
			"member-1\n  - ",
		},
	}
}
