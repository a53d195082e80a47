package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/api"
	"github.com/cypherlink/cypherlink/payment"
)

// laned makes a network with payments over the banks' channel, from either bank, and stops it. early is a
// copy of it with the channel and one payment.
func laned(t *testing.T) (dir, early string, uetrs []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "net")
	s, err := raise(t.Context(), dir, io.Discard, unwatched)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	banks, err := restBanks(dir, actorA(), actorB())
	if err != nil {
		t.Fatal(err)
	}
	defer banks[0].http.CloseIdleConnections()
	if _, err := openChannel(ctx, banks[0], banks[1], t.Logf); err != nil {
		t.Fatal(err)
	}
	pay := func(i int) {
		var p api.Payment
		body := strings.ReplaceAll(sampleChannelPayment, "100.00", fmt.Sprintf("%d.00", 50+i))
		if err := banks[i%2].call(ctx, "POST", "/v1/payments", fmt.Sprint("lane-", i), []byte(body), &p); err != nil {
			t.Fatal(err)
		}
		uetrs = append(uetrs, p.UETR)
		err := until(ctx, "the payment", func() (bool, error) {
			err := banks[i%2].get(ctx, "/v1/payments/"+p.UETR, &p)
			return p.Status == string(payment.StatusCompleted), err
		})
		if err == nil {
			err = until(ctx, "the payment there", func() (bool, error) {
				err := banks[1-i%2].get(ctx, "/v1/payments/"+p.UETR, &p)
				return p.Status == string(payment.StatusCompleted), err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	pay(0)
	if err := s.stopAll(); err != nil {
		t.Fatal(err)
	}
	early = duplicate(t, dir)
	s = resumed(t, dir, unwatched)
	for i := 1; i < 5; i++ {
		pay(i)
	}
	if err := s.stopAll(); err != nil {
		t.Fatal(err)
	}
	return dir, early, uetrs
}

// The audit weighs payments over a channel, both banks' logs of its lanes and their own books against the
// chain, and finds what somebody did to any of them.
func TestAuditOfAChannel(t *testing.T) {
	dir, early, uetrs := laned(t)
	code, out := audited(t, dir)
	if code != 0 || !strings.Contains(out, "bank-b, incoming payments: COMPLETED 3\n") {
		t.Fatal(code, out)
	}
	both := func(sql string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			edit(t, dir, folderA, sql)
			edit(t, dir, folderB, sql)
		}
	}
	for _, tt := range []tampering{
		{"a line of a bank's own books is gone", statement(folderB,
			`DELETE FROM bank_journal WHERE sequence = (SELECT max(sequence) FROM bank_journal)`), "bank-b\n"},
		{
			"both banks have lost their logs of the channel", both(`DELETE FROM events WHERE stream LIKE 'channel/%'`),
			"is anchored, and in no bank's log",
		},
		{"an event of a channel's log is gone", statement(folderA,
			`DELETE FROM events WHERE stream LIKE 'channel/%' AND sequence = 2`), "event 2 is missing"},
		{"the paid bank has lost a payment", statement(folderB,
			`DELETE FROM events WHERE stream = 'payment/`+uetrs[0]+`'`), "one of the banks does not know it"},
		{"the paying bank has lost the end of a payment", statement(folderA,
			`DELETE FROM events WHERE stream = 'payment/`+uetrs[2]+`' AND sequence > 10`), "it is not listed"},
		{"the paid bank is rolled back", func(t *testing.T, dir string) {
			replace(t, filepath.Join(early, folderB, dataName), filepath.Join(dir, folderB, dataName))
		}, "one of the banks does not know it"},
		{"both banks are rolled back", func(t *testing.T, dir string) {
			for _, folder := range []string{folderA, folderB} {
				replace(t, filepath.Join(early, folder, dataName), filepath.Join(dir, folder, dataName))
			}
		}, "is anchored, and in no bank's log"},
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

// What a bank may call a payment, by whether the chain has anchored it.
func TestJudgeDirect(t *testing.T) {
	for _, tt := range []struct {
		status             payment.Status
		direction          payment.Direction
		anchored, unlawful bool
	}{
		{payment.StatusCompleted, payment.Out, false, true},
		{payment.StatusCompleted, payment.Out, true, false},
		{payment.StatusSettled, payment.In, false, true},
		{payment.StatusAborted, payment.Out, true, true},
		{payment.StatusAborted, payment.In, false, false},
		{payment.StatusRejected, payment.Out, true, true},
		{payment.StatusExpired, payment.Out, true, true},
		{payment.StatusExpired, payment.In, true, false},
		{payment.StatusSigned1, payment.Out, true, false}, // it has not heard of it
		{payment.StatusSigned2, payment.Out, false, false},
		{payment.StatusReturned, payment.In, false, true},
	} {
		var p *passage
		if tt.anchored {
			p = &passage{}
		}
		what := judgeDirect(&record{status: tt.status, direction: tt.direction}, p)
		if (what != "") != tt.unlawful {
			t.Errorf("%+v: %q", tt, what)
		}
	}
}
