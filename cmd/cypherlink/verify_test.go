package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cypherlink/cypherlink/payment"
)

// Exit code 1 is of a receipt that does not hold; a genesis that is none proves nothing about one.
func TestVerifyWithoutAGenesis(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("{}"), fileMode); err != nil {
		t.Fatal(err)
	}
	if code, out, errOut := command(t, "verify", "--genesis", file, file); code != exitRefused || out != "" {
		t.Errorf("exit %d\n%s%s", code, out, errOut)
	}
}

// Of a payment over a channel nothing is merely stated, and nothing is said of operators.
func TestFindingsArePrinted(t *testing.T) {
	var both, lane strings.Builder
	printFindings(&both, &payment.Findings{Proved: []string{"a", "b"}, Stated: []string{"c"}})
	printFindings(&lane, &payment.Findings{Proved: []string{"a"}})
	const proved = "\nProved by signatures, hashes and the committee:\n - a\n"
	if want := proved + " - b\n\nStated by banks and operators of external ledgers, under their signatures:\n - c\n"; both.String() != want {
		t.Errorf("%q", both.String())
	}
	if lane.String() != proved {
		t.Errorf("%q", lane.String())
	}
}
