package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/payment"
)

// command runs the command line in this process.
func command(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

// played runs a demonstration and reads its summary.
func played(t *testing.T, args ...string) (dir string, s summary, out string) {
	t.Helper()
	dir = t.TempDir()
	code, out, errOut := command(t, append([]string{"demo", "--out", dir}, args...)...)
	if code != 0 {
		t.Fatalf("exit %d\n%s\n%s", code, out, errOut)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return dir, s, out
}

// moves are how the balances changed, by ledger and owner, as the summary tells them.
func moves(s summary) map[string]string {
	all := map[string]string{}
	for _, l := range s.Ledgers {
		for _, a := range l.Accounts {
			if a.Before != a.After {
				all[string(l.ID)+" "+a.Owner] = a.Before + " " + a.After
			}
		}
	}
	return all
}

func TestDemoPlaysThirteenSteps(t *testing.T) {
	dir, s, out := played(t)
	if len(s.Steps) != steps {
		t.Fatalf("%d steps\n%s", len(s.Steps), out)
	}
	for i, st := range s.Steps {
		if st.N != i+1 || st.What == "" || st.Evidence == "" || i > 0 && st.At.Before(s.Steps[i-1].At) {
			t.Errorf("step %d: %+v", i+1, st)
		}
	}
	want := map[string]string{
		"de bank-a":          "10000000.00 9998999.00",
		"de clearing":        "1000000.00 1001001.00",
		"cypherium bank-b":   "0.00 2000.00",
		"cypherium clearing": "50000000.00 49998000.00",
	}
	got := moves(s)
	for account, change := range want {
		if got[account] != change {
			t.Errorf("%s: %q, want %q", account, got[account], change)
		}
	}
	if len(got) != len(want) || s.Payment.Status != payment.StatusSettled {
		t.Errorf("%s, %v", s.Payment.Status, got)
	}
	if s.Payment.Source != (moneySummary{"DE", "1001.00"}) || len(s.Blocks) == 0 {
		t.Errorf("%+v, %d blocks", s.Payment, len(s.Blocks))
	}
	genesis, receipt := filepath.Join(dir, genesisName), filepath.Join(dir, "receipt.json")
	code, proved, errOut := command(t, "verify", "--genesis", genesis, receipt)
	if code != 0 || !strings.Contains(proved, "Stated by banks and operators") {
		t.Fatalf("verify: exit %d\n%s%s", code, proved, errOut)
	}
	refusesEveryChangedByte(t, genesis, receipt)
}

// refusesEveryChangedByte changes bytes of both files, all of them but under -short, and runs
// verify on them.
func refusesEveryChangedByte(t *testing.T, genesis, receipt string) {
	t.Helper()
	stride := 7 // a receipt has 20,000 bytes, and most changes cost a pairing
	if testing.Short() {
		stride = 401
	}
	rawGenesis, err := os.ReadFile(genesis)
	if err != nil {
		t.Fatal(err)
	}
	rawReceipt, err := os.ReadFile(receipt)
	if err != nil {
		t.Fatal(err)
	}
	g, err := chain.ParseGenesis(rawGenesis)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(rawReceipt); i += stride {
		changed := bytes.Clone(rawReceipt)
		changed[i] ^= 1
		if _, err := payment.VerifyReceipt(g, changed); err == nil {
			t.Errorf("byte %d of the receipt may be changed", i)
		}
	}
	for i := 0; i < len(rawGenesis); i += stride {
		changed := bytes.Clone(rawGenesis)
		changed[i] ^= 1
		other, err := chain.ParseGenesis(changed)
		if err != nil {
			continue
		}
		if _, err := payment.VerifyReceipt(other, rawReceipt); err == nil {
			t.Errorf("byte %d of genesis may be changed", i)
		}
	}
}

func TestDemoTakesAnotherPayment(t *testing.T) {
	_, s, _ := played(t, "--input", writeSample(t, "2000.00", "1234.57"))
	if s.Payment.Source.Amount != "618.29" || s.Payment.Destination.Amount != "1234.57" {
		t.Fatalf("%+v", s.Payment)
	}
}

// writeSample writes the built-in message with one text replaced.
func writeSample(t *testing.T, old, replacement string) string {
	t.Helper()
	raw, err := sampleMessage(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, []byte(old)) {
		t.Fatalf("the sample has no %q", old)
	}
	file := filepath.Join(t.TempDir(), "message.xml")
	raw = bytes.ReplaceAll(raw, []byte(old), []byte(replacement))
	if err := os.WriteFile(file, raw, fileMode); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDemoRefusesBadInput(t *testing.T) {
	for _, tt := range []struct{ name, old, replacement, code string }{
		{"an IBAN with a wrong check digit", debtorIBAN, "DE03120300000000202051", "AC02"},
		{"too many digits after the point", "2000.00", "2000.001", "CH20"},
		{"a bank that is not in the network", "CYPBCNBJXXX", "DEUTDEFFXXX", "RC04"},
		{"no amount", "2000.00", "0.00", "AM01"},
		{"an account that the paid bank does not keep", creditorCN, creditorCN + "0", "AC01"},
		{"a document type", "<Document", "<!DOCTYPE x><Document", "FF01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, out, errOut := command(t, "demo", "--input", writeSample(t, tt.old, tt.replacement))
			if code != exitRefused || !strings.Contains(errOut, tt.code) {
				t.Fatalf("exit %d\n%s\n%s", code, out, errOut)
			}
		})
	}
}

func TestDemoGoesOnWithoutItsLeader(t *testing.T) {
	_, s, out := played(t, "--kill-leader")
	if s.Payment.Status != payment.StatusSettled || !strings.Contains(out, "killed for good") {
		t.Fatal(out)
	}
}

// What a demonstration says of its network is there.
func TestDemoServesNoTap(t *testing.T) {
	const env = "CA_CERT=a\nTAP=b\nTAP_KEY=c\nKAFKA_EVENTS=d\nPID_LEDGER=1\nPID_TAP=0\n"
	if got := withoutTap(env); got != "CA_CERT=a\nKAFKA_EVENTS=d\nPID_LEDGER=1\n" {
		t.Errorf("%q", got)
	}
}

// A folder never holds the receipt of another performance than the last one.
func TestDemoReplacesReceipts(t *testing.T) {
	dir := t.TempDir()
	for _, last := range []string{"receipt-channel.json", "receipt.json", "summary.json"} {
		if err := replaceFiles(dir, map[string][]byte{last: nil}); err != nil {
			t.Fatal(err)
		}
		for _, name := range receiptNames() {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != (name == last) {
				t.Errorf("%s after %s: %v", name, last, err)
			}
		}
	}
}

func TestDemoOutlastsASilentParty(t *testing.T) {
	for n := 4; n <= steps; n++ {
		if testing.Short() && n < 12 {
			continue // these wait for the timeouts of both custodies
		}
		t.Run("step "+strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			_, s, out := played(t, "--fail", strconv.Itoa(n))
			settled := s.Payment.Status == payment.StatusSettled
			if settled != (n >= 11) || settled != (len(moves(s)) == 4) || !settled && len(moves(s)) != 0 {
				t.Fatalf("%s, %v\n%s", s.Payment.Status, moves(s), out)
			}
		})
	}
}
