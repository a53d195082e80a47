package main

import (
	"fmt"
	"io"
	"os"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/payment"
)

// verifyCommand checks a payment's proof, offline.
type verifyCommand struct {
	Genesis string `help:"The network's genesis file." required:"" type:"existingfile"`
	Receipt string `arg:"" help:"The receipt of a payment." type:"existingfile"`
}

// Run says what the receipt proves and, apart from it, what banks and operators state. Exit code 1 says
// that it does not hold, 2 that there is nothing to check it by.
func (c *verifyCommand) Run(s *session) error {
	raw, err := os.ReadFile(c.Genesis)
	if err != nil {
		return refusal{err}
	}
	receipt, err := os.ReadFile(c.Receipt)
	if err != nil {
		return refusal{err}
	}
	g, err := chain.ParseGenesis(raw)
	if err != nil {
		return refusal{fmt.Errorf("%s: %w", c.Genesis, err)}
	}
	f, err := payment.VerifyReceipt(g, receipt)
	if err != nil {
		return fmt.Errorf("the receipt does not hold: %w", err)
	}
	fmt.Fprintf(s.out, "Payment %s holds on network %s.\n", f.UETR, g.Network())
	printFindings(s.out, f)
	return nil
}

// printFindings says what is proved and, where anything is, what is stated.
func printFindings(out io.Writer, f *payment.Findings) {
	for _, part := range []struct {
		head  string
		lines []string
	}{
		{"Proved by signatures, hashes and the committee", f.Proved},
		{"Stated by banks and operators of external ledgers, under their signatures", f.Stated},
	} {
		if len(part.lines) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s:\n", part.head)
		for _, line := range part.lines {
			fmt.Fprintln(out, " -", line)
		}
	}
}
