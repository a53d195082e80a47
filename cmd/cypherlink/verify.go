package main

import (
	"fmt"
	"os"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/payment"
)

// verifyCommand checks a payment's proof, offline.
type verifyCommand struct {
	Genesis string `help:"The network's genesis file." required:"" type:"existingfile"`
	Receipt string `arg:"" help:"The receipt of a payment." type:"existingfile"`
}

// Run says what the receipt proves and, apart from it, what operators state. Exit code 1 says
// that it does not hold.
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
		return fmt.Errorf("%s: %w", c.Genesis, err)
	}
	f, err := payment.VerifyReceipt(g, receipt)
	if err != nil {
		return fmt.Errorf("the receipt does not hold: %w", err)
	}
	fmt.Fprintf(s.out, "Payment %s holds on network %s.\n\nProved by signatures, hashes and the committee:\n",
		f.UETR, g.Network())
	for _, line := range f.Proved {
		fmt.Fprintln(s.out, " -", line)
	}
	fmt.Fprintln(s.out, "\nStated by operators of external ledgers, under their signatures:")
	for _, line := range f.Stated {
		fmt.Fprintln(s.out, " -", line)
	}
	return nil
}
