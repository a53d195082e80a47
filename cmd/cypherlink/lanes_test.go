package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/laneledger"
	"github.com/cypherlink/cypherlink/payment"
)

// paidBack is what Bank B's customer pays Bank A's, in DE.
const paidBack = `{
  "end_to_end_id": "BACK-0001",
  "debtor": {"name": "` + creditorName + `", "account": "` + creditorCN + `", "agent": "CYPBCNBJXXX", "country": "CN"},
  "creditor": {"name": "` + debtorName + `", "iban": "` + debtorIBAN + `", "agent": "CYPADEFFXXX", "country": "DE"},
  "destination": {"asset": "` + labelDE + `", "amount": "100.00"},
  "purpose": "GDDS"
}
`

func processOf[P process](t *testing.T, s *stage, folder string) P {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	on := s.plays[folder]
	if on == nil {
		t.Fatal(folder, "does not run")
	}
	p, ok := on.process.(P)
	if !ok {
		t.Fatalf("%s is %T", folder, on.process)
	}
	return p
}

// bankB and clearing are those processes as they run.
func bankB(t *testing.T, s *stage) *connectProcess {
	t.Helper()
	return processOf[*connectProcess](t, s, folderB)
}

func clearing(t *testing.T, s *stage) *connectorProcess {
	t.Helper()
	return processOf[*connectorProcess](t, s, folderClearing)
}

// comes waits until ok, at most so long.
func comes(t *testing.T, s *stage, what string, within time.Duration, ok func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	err := until(ctx, what, func() (bool, error) {
		select {
		case err := <-s.failed:
			return false, err
		default:
		}
		return ok(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// laneOpened opens a channel in DC/EP between the clearing bank and Bank B, over REST as their operators would,
// with that much of the clearing bank's in it.
func laneOpened(t *testing.T, dir, amount string) channels.ID {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var clearingBank actor
	for _, a := range cast() {
		if a.folder == folderClearing {
			clearingBank = a
		}
	}
	banks, err := restBanks(dir, clearingBank, actorB())
	if err != nil {
		t.Fatal(err)
	}
	defer banks[0].http.CloseIdleConnections()
	text, err := banks[0].open(ctx, banks[1], labelDCEP)
	if err != nil {
		t.Fatal(err)
	}
	if err := banks[0].fund(ctx, text, amount); err != nil {
		t.Fatal(err)
	}
	var id channels.ID
	if err := id.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return id
}

// has waits until both ends of the channel say that so much is free for the clearing bank and for Bank B, and
// that their lanes are in order: while a bank's follower is behind, the chain is used.
func has(t *testing.T, s *stage, id channels.ID, ofClearing, ofB cypherlink.Amount) {
	t.Helper()
	c, b := clearing(t, s).clearing.Tellers, bankB(t, s).connect.Tellers
	comes(t, s, "the channel's balances", 30*time.Second, func(ctx context.Context) (bool, error) {
		atClearing, err := c.Channel(ctx, id)
		if err != nil {
			return false, err
		}
		atB, err := b.Channel(ctx, id)
		return err == nil && inOrder(atClearing) && inOrder(atB) && atClearing.Free == ofClearing && atB.Free == ofB, err
	})
}

func inOrder(c *payment.Channel) bool {
	return c.Synced && !c.Lanes[0].Suspended && !c.Lanes[1].Suspended
}

// standsAt waits until a bank says that a payment stands so.
func standsAt(t *testing.T, s *stage, bank *connectProcess, uetr cypherlink.UETR, want payment.Status) {
	t.Helper()
	var last payment.Status
	defer func() {
		if t.Failed() {
			t.Logf("it is %s", last)
		}
	}()
	comes(t, s, string(want), time.Minute, func(ctx context.Context) (bool, error) {
		p, err := bank.connect.Payment(ctx, uetr)
		if err == nil {
			last = p.Status
		}
		return last == want, err
	})
}

// proves wants the receipt of a payment with a lane to hold by genesis alone, and none that differs in a byte.
func proves(t *testing.T, s *stage, bank *connectProcess, uetr cypherlink.UETR) {
	t.Helper()
	var receipt []byte
	comes(t, s, "the receipt", 30*time.Second, func(ctx context.Context) (bool, error) {
		var err error
		receipt, err = bank.connect.Receipt(ctx, uetr)
		if cypherlink.ErrorCode(err) == payment.CodeNoReceipt {
			return false, nil
		}
		return err == nil, err
	})
	found, err := payment.VerifyReceipt(bank.keys.genesis, receipt)
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(found.Proved, "\n"); !strings.Contains(said, "both and the Validators signed the") {
		t.Error(said)
	}
	step := 17
	if testing.Short() {
		step = 61
	}
	for i := 0; i < len(receipt); i += step {
		changed := bytes.Clone(receipt)
		changed[i] ^= 1
		if _, err := payment.VerifyReceipt(bank.keys.genesis, changed); err == nil {
			t.Errorf("it holds with another byte %d of %d: %q", i, len(receipt), receipt[max(0, i-40):i+1])
		}
	}
}

// A payment across two ledgers moves as a lock in a channel where there is one with the money: as its destination
// leg from the clearing bank to Bank B, and back as its source leg. Where the lane is short the chain is used.
func TestPaymentsWithALane(t *testing.T) {
	s, dir := raised(t, unwatched)
	id := laneOpened(t, dir, "5000.00")
	has(t, s, id, 5000_00, 0)

	there := paid(t, s, samplePayment, payment.StatusSettled)
	standsAt(t, s, bankB(t, s), there, payment.StatusSettled)
	has(t, s, id, 3000_00, 2000_00)

	back := paidBy(t, s, bankB(t, s), paidBack, payment.StatusSettled)
	standsAt(t, s, bankA(t, s), back, payment.StatusSettled)
	has(t, s, id, 3202_00, 1798_00)
	proves(t, s, bankA(t, s), there)
	proves(t, s, bankB(t, s), back)

	// of two at once the lane carries as much as it has, and the chain the rest
	var both [2]cypherlink.UETR
	for i, body := range []string{"1702.00", "1703.00"} {
		both[i] = paid(t, s, strings.ReplaceAll(samplePayment, "2000.00", body),
			payment.StatusAgreed, payment.StatusValidating, payment.StatusApproved, payment.StatusReserved)
	}
	for _, uetr := range both {
		standsAt(t, s, bankA(t, s), uetr, payment.StatusSettled)
	}
	has(t, s, id, 1500_00, 3500_00)

	short := paid(t, s, strings.ReplaceAll(samplePayment, "2000.00", "4000.00"), payment.StatusSettled)
	standsAt(t, s, bankB(t, s), short, payment.StatusSettled)
	has(t, s, id, 1500_00, 3500_00)

	agrees(t, s, dir, "bank-a, outgoing payments: SETTLED 4", "No difference.",
		"49995000.00                0.00             5000.00         50000000.00         50000000.00\n")
	tamperedLocks(t, dir, there)
}

// tamperedLocks wants the audit to find what somebody did to the logs of a channel with locks.
func tamperedLocks(t *testing.T, dir string, settled cypherlink.UETR) {
	t.Helper()
	const forget = `DELETE FROM events WHERE stream LIKE 'channel/%'`
	everywhere := func(sql string, folders ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			for _, folder := range folders {
				edit(t, dir, folder, sql)
			}
		}
	}
	for _, tt := range []tampering{
		{"both ends have lost their logs", everywhere(forget, folderClearing, folderB), "is anchored, and in no bank's log"},
		{"the clearing bank's log has lost an event", statement(folderClearing, forget+` AND sequence = 2`), "event 2 is missing"},
		{"the payee has lost its payment", statement(folderB,
			`DELETE FROM events WHERE stream = 'payment/`+settled.String()+`'`), "the payee's bank has no such payment"},
		{"nobody knows any payment any more", func(t *testing.T, dir string) {
			for folder, sql := range map[string]string{
				folderA:        `DELETE FROM events WHERE stream LIKE 'pay%'`,
				folderB:        `DELETE FROM events WHERE stream LIKE 'pay%'`,
				folderClearing: `DELETE FROM events WHERE stream LIKE 'relay/%'`,
			} {
				edit(t, dir, folder, sql)
			}
		}, "no payment knows lock"},
	} {
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

// wiretap keeps the calls of one kind that an institution makes.
type wiretap struct {
	inner payment.Peers
	kind  uint8
	heard chan []byte
}

// Call implements payment.Peers.
func (w *wiretap) Call(ctx context.Context, to cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error) {
	if kind == w.kind {
		select {
		case w.heard <- bytes.Clone(body):
		default:
		}
	}
	return w.inner.Call(ctx, to, kind, body)
}

// A Prepare of a lock is kept once and for its lane's payer alone: without verdicts, from another bank, or again
// after the payment, it makes nothing. Lane talk that is none the bank's operator reads of once.
func TestLocksOfLiars(t *testing.T) {
	tap := &wiretap{kind: payment.KindLock, heard: make(chan []byte, 1)}
	var read logbook
	s, dir := logged(t, &read, func(folder string) lens {
		l := bare()
		if folder == folderClearing {
			l.peers = func(p payment.Peers) payment.Peers { tap.inner = p; return tap }
		}
		return l
	})
	id := laneOpened(t, dir, "5000.00")
	paid(t, s, samplePayment, payment.StatusSettled)
	has(t, s, id, 3000_00, 2000_00)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, b := clearing(t, s), bankB(t, s)
	offered := <-tap.heard
	command, err := ledger.DecodeCommand(offered)
	if err != nil {
		t.Fatal(err)
	}
	original, ok := command.Command.(*ledger.Prepare)
	if !ok {
		t.Fatalf("%T", command.Command)
	}
	fresh := *original
	fresh.Subject.Terms[0]++
	fresh.Subject.Condition[0]++
	fresh.Subject.Fields.Expiry = time.Now().Add(20 * time.Second).Unix()
	unapproved := ledger.Prepare{Subject: fresh.Subject, Packet: fresh.Packet}
	signed := func(p *ledger.Prepare) []byte {
		x := &ledger.SignedCommand{
			Network: command.Network, Ledger: command.Ledger, Signer: c.keys.self.ID, Sequence: 1 << 60, Command: p,
		}
		if x.Signature, err = c.keys.identity.Sign(x.Frame()); err != nil {
			t.Fatal(err)
		}
		return x.Encode()
	}
	for name, tt := range map[string]struct {
		from *callers
		body []byte
		want cypherlink.Code
	}{
		"again":                        {c.callers, offered, ""},
		"again, by another bank":       {bankA(t, s).callers, offered, ledger.CodeNotAllowed},
		"without verdicts":             {c.callers, signed(&unapproved), ledger.CodeNotApproved},
		"with another payment's":       {c.callers, signed(&fresh), ledger.CodeNotApproved},
		"of the payment, with no more": {c.callers, offered[:len(offered)-1], ledger.CodeMalformed},
	} {
		_, err := tt.from.Call(ctx, b.keys.self.ID, payment.KindLock, tt.body)
		if cypherlink.ErrorCode(err) != tt.want || tt.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	has(t, s, id, 3000_00, 2000_00)
	liar := bankA(t, s)
	for range 3 {
		_, err := liar.callers.Call(ctx, b.keys.self.ID, payment.KindLane, []byte{1})
		if cypherlink.ErrorCode(err) != payment.CodeMessage {
			t.Error(err)
		}
	}
	if n := read.count(`"peer":"` + liar.keys.self.ID.String() + `","rule":"` + string(payment.CodeMessage) + `"`); n != 1 {
		t.Errorf("%d lines about a bank's nonsense, which came three times", n)
	}
	agrees(t, s, dir, "bank-b, incoming payments: SETTLED 1", "No difference.")
}

// logbook is what operators read.
type logbook struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// count is how often it says something.
func (l *logbook) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.all.String(), what)
}

// mum is a ledger to which nobody confirms.
type mum struct{ ledger.Ledger }

// Submit implements ledger.Ledger.
func (m mum) Submit(ctx context.Context, c *ledger.SignedCommand) (ledger.Receipt, error) {
	if _, confirms := c.Command.(*ledger.Confirm); confirms {
		return ledger.Receipt{}, errSilent
	}
	return m.Ledger.Submit(ctx, c)
}

// A paid bank that never confirms is not paid: its lock is unlocked after the expiry, and the source leg goes back.
func TestLockThatNobodyConfirms(t *testing.T) {
	s, dir := raised(t, through(func(folder string, l ledger.Ledger) ledger.Ledger {
		if _, lane := l.(*laneledger.Ledger); lane && folder == folderB {
			return mum{l}
		}
		return l
	}))
	id := laneOpened(t, dir, "5000.00")
	uetr := paid(t, s, samplePayment, payment.StatusReserved)
	has(t, s, id, 3000_00, 0)
	if testing.Short() {
		return // the lock's time has to pass
	}
	// the clearing bank gives the source leg back as soon as it knows
	paid(t, s, samplePayment, payment.StatusRejected, payment.StatusExpired)
	standsAt(t, s, bankB(t, s), uetr, payment.StatusExpired)
	has(t, s, id, 5000_00, 0)
	agrees(t, s, dir, "bank-b, incoming payments: EXPIRED 1", "No difference.")
}
