package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink"
)

// balancesOf are the balances of the channel by what the summary says: each bank's, in cents.
func balancesOf(t *testing.T, c *channelSummary) (a, b cypherlink.Amount) {
	t.Helper()
	var err [2]error
	a, err[0] = cypherlink.ParseAmount(c.Balances[folderA], 2)
	b, err[1] = cypherlink.ParseAmount(c.Balances[folderB], 2)
	if err[0] != nil || err[1] != nil {
		t.Fatal(err, c.Balances)
	}
	return a, b
}

const inChannel = 80_000_00 // what both banks put into the channel of the local network

// The second job after the first: 100 payments over the channel, in both directions, anchors that cover
// many, and a receipt of which no byte may change.
func TestDemoPlaysTheSecondJob(t *testing.T) {
	dir, s, out := played(t)
	if len(s.Channels) != 1 || s.ChannelPayments == nil {
		t.Fatalf("%+v\n%s", s, out)
	}
	p, c := s.ChannelPayments, &s.Channels[0]
	if p.Count != channelPayments || p.Settled != channelPayments || p.P50MS <= 0 || p.P99MS < p.P50MS {
		t.Errorf("%+v", p)
	}
	// 50 payments of 120.nn to Bank B, with even n, and 50 of 90.nn back, with odd n
	a, b := balancesOf(t, c)
	if a+b != inChannel || b-inChannel/2 != 50*(120_00-90_00)-50 || c.Asset != labelClaim {
		t.Errorf("%+v", c)
	}
	if n := c.Anchored[folderA]; n == 0 || n > channelPayments/2 || c.Anchored[folderB] == 0 {
		t.Errorf("%v", c.Anchored)
	}
	for _, line := range []string{
		"over the ramp", "is open in DE.C", "in execution, cannot be cancelled", "will settle", "credited",
		"100 of 100 payments are COMPLETED", "anchors: ", "; the one in block",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("nothing of %q\n%s", line, out)
		}
	}
	if _, after, ok := strings.Cut(out, "Blocks that became final meanwhile"); !ok || !strings.Contains(after, "second job") {
		t.Errorf("the blocks of the payment across ledgers are not told with it\n%s", out)
	}
	genesis, receipt := filepath.Join(dir, genesisName), filepath.Join(dir, "receipt-channel.json")
	code, proved, errOut := command(t, "verify", "--genesis", genesis, receipt)
	if code != 0 || !strings.Contains(proved, "in the lane of Bank A in channel "+c.ID) {
		t.Fatalf("verify: exit %d\n%s%s", code, proved, errOut)
	}
	refusesEveryChangedByte(t, genesis, receipt)
	if n := anchoredMost(t, out); n < 2 {
		t.Errorf("no anchor covers more than %d payments", n)
	}
}

// anchoredMost is how many payments the largest anchor covers, as the demonstration says.
func anchoredMost(t *testing.T, out string) int {
	t.Helper()
	_, rest, _ := strings.Cut(out, " covers ")
	text, _, _ := strings.Cut(rest, " payments")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return n
}

// A counterparty that falls silent: what both banks had signed stands, what only one had is ended by the
// chain, and the balances add up.
func TestDemoOutlastsASilentChannel(t *testing.T) {
	t.Parallel()
	_, s, out := played(t, "--fail", folderB)
	p := s.ChannelPayments
	if p == nil || p.Settled < channelPayments/2 || p.Settled == channelPayments {
		t.Fatalf("%+v\n%s", p, out)
	}
	for _, line := range []string{"IN_DOUBT", "pending until the deadline", "rejected, refunded", "are ABORTED"} {
		if !strings.Contains(out, line) {
			t.Errorf("nothing of %q\n%s", line, out)
		}
	}
	if a, b := balancesOf(t, &s.Channels[0]); a+b != inChannel {
		t.Errorf("%+v", s.Channels[0])
	}
}

// A bank that loses its store and goes on with an older copy signs nothing twice: the lanes go on in the
// next generation.
func TestDemoOutlastsALostStore(t *testing.T) {
	t.Parallel()
	_, s, out := played(t, "--restore", folderB)
	if p := s.ChannelPayments; p == nil || p.Settled != channelPayments {
		t.Fatalf("%+v\n%s", p, out)
	}
	if !strings.Contains(out, "the lanes go on in generations 1 and 1") {
		t.Error(out)
	}
	if a, b := balancesOf(t, &s.Channels[0]); a+b != inChannel || b-inChannel/2 != 50*(120_00-90_00)-50 {
		t.Errorf("%+v", s.Channels[0])
	}
}

func TestDemoRefusesUnknownFailures(t *testing.T) {
	for _, args := range [][]string{
		{"--fail", "3"},
		{"--fail", "bank-a"},
		{"--fail", "14"},
		{"--restore", "bank-a"},
		{"--fail", "bank-b", "--restore", "bank-b"},
		{"--fail", "4", "--restore", "bank-b"},
		{"--out", "main.go/out"}, // in a file: it is not played first
	} {
		if code, out, errOut := command(t, append([]string{"demo"}, args...)...); code != exitRefused {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errOut)
		}
	}
}

// pay-channel.json can be posted to either bank, whichever is told pays the other.
func TestChannelSampleHasNoBanks(t *testing.T) {
	dir := t.TempDir()
	if err := writePayments(dir); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "pay-channel.json"))
	if err != nil {
		t.Fatal(err)
	}
	var p struct{ Debtor, Creditor map[string]string }
	if err := json.Unmarshal(raw, &p); err != nil || p.Debtor["agent"] != "" || p.Creditor["agent"] != "" {
		t.Fatalf("%s: %v", raw, err)
	}
}
