package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// raised is a network that runs until the test ends, and its folder.
func raised(t *testing.T, through func(folder string) lens) (*stage, string) {
	t.Helper()
	return logged(t, io.Discard, through)
}

// logged is raised, with what operators read.
func logged(t *testing.T, logs io.Writer, through func(folder string) lens) (*stage, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "net")
	s, err := raise(t.Context(), dir, logs, through)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stopAll(); err != nil {
			t.Error(err)
		}
	})
	return s, dir
}

func (s *stage) stopped(t *testing.T, folders ...string) {
	t.Helper()
	for _, folder := range folders {
		if err := s.stop(folder); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stage) started(t *testing.T, folders ...string) {
	t.Helper()
	for _, folder := range folders {
		if err := s.start(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
}

// height is what Bank A's copy of the chain knows.
func height(t *testing.T, s *stage) uint64 {
	t.Helper()
	bank, ok := s.plays[folderA].process.(*connectProcess)
	if !ok {
		t.Fatal("Bank A does not run")
	}
	return bank.follow.Head().Height
}

// agrees ends the network and asks the audit, which prints what it finds.
func agrees(t *testing.T, s *stage, dir string, wants ...string) {
	t.Helper()
	if err := s.stopAll(); err != nil {
		t.Fatal(err)
	}
	code, out := audited(t, dir)
	for _, want := range wants {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit %d, want %q in\n%s", code, want, out)
		}
	}
}

// Two of four members are no quorum: nothing becomes final, and nobody is told that it is. When
// they are back, the payment settles, or it comes back whole.
func TestTwoMembersStopped(t *testing.T) {
	s, dir := raised(t, unwatched)
	paid(t, s, samplePayment, payment.StatusSettled)
	s.stopped(t, "member-3", "member-4")
	before := height(t, s)
	late := strings.ReplaceAll(samplePayment, "2000.00", "40.00")
	paid(t, s, late, payment.StatusReserved)
	if now := height(t, s); now > before+1 { // a block may have been on its way
		t.Errorf("height %d became final without a quorum, after %d", now, before)
	}
	s.started(t, "member-3", "member-4")
	paid(t, s, late, payment.StatusSettled, payment.StatusExpired, payment.StatusRejected)
	paid(t, s, strings.ReplaceAll(samplePayment, "2000.00", "41.00"), payment.StatusSettled)
	agrees(t, s, dir, "No difference.")
}

// counted counts the Prepares that are handed in to a ledger.
type counted struct {
	ledger.Ledger
	prepares *atomic.Int64
}

// Submit implements ledger.Ledger.
func (c *counted) Submit(ctx context.Context, command *ledger.SignedCommand) (ledger.Receipt, error) {
	if _, ok := command.Command.(*ledger.Prepare); ok {
		c.prepares.Add(1)
	}
	return c.Ledger.Submit(ctx, command)
}

// Without a verdict there is no Prepare, on neither ledger.
func TestValidatorsStopped(t *testing.T) {
	var prepares atomic.Int64
	s, dir := raised(t, through(func(_ string, l ledger.Ledger) ledger.Ledger { return &counted{l, &prepares} }))
	s.stopped(t, folderVoteDE, folderVoteDCEP)
	paid(t, s, samplePayment, payment.StatusRejected, payment.StatusExpired)
	if n := prepares.Load(); n > 0 {
		t.Errorf("%d Prepares", n)
	}
	s.started(t, folderVoteDE, folderVoteDCEP)
	paid(t, s, strings.ReplaceAll(samplePayment, "2000.00", "41.00"), payment.StatusSettled)
	if n := prepares.Load(); n < 2 {
		t.Errorf("%d Prepares: the test counts nothing", n)
	}
	agrees(t, s, dir, "REJECTED 1, SETTLED 1", "No difference.")
}

// What is prepared needs no Validator any more.
func TestValidatorsStopLater(t *testing.T) {
	var g gate
	s, dir := raised(t, through(g.watch))
	g.shut.Store(true)
	paid(t, s, samplePayment, payment.StatusReserved)
	s.stopped(t, folderVoteDE, folderVoteDCEP)
	g.shut.Store(false)
	paid(t, s, samplePayment, payment.StatusSettled)
	agrees(t, s, dir, "bank-a, outgoing payments: SETTLED 1", "No difference.")
}
