package ledger_test

import (
	"fmt"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/validator"
)

// checked counts the signatures that the desk's rules have verified.
func (d *desk) checked() *int {
	n := new(int)
	d.charter.Verifier = func(batch []cosi.IdentitySignature) []int {
		*n += len(batch)
		return cosi.VerifyEd25519Batch(batch)
	}
	return n
}

// Nobody makes a ledger verify more than the command's signature and what the policy asks for: not
// with many verdicts, and not with such as no policy counts.
func TestVerdictsCostNoMoreThanThePolicyAsksFor(t *testing.T) {
	// forged are n approvals in a Validator's name that nobody has signed.
	forged := func(d *desk, s validator.Subject, n int) (all []validator.Signed) {
		for i := range n {
			v := d.Signed(d.Validators[i%3], d.Approval(s))
			v.Signature[0] ^= byte(1 + i)
			all = append(all, v)
		}
		return all
	}
	tests := []struct {
		name     string
		verdicts func(d *desk, s validator.Subject) []validator.Signed
		most     int // signatures of verdicts that are verified, each when it is foreseen and when it counts
	}{
		{"as many forged ones as a command may carry", func(d *desk, s validator.Subject) []validator.Signed {
			return forged(d, s, validator.MaxValidators)
		}, 0},
		{"as many forged ones as there are Validators", func(d *desk, s validator.Subject) []validator.Signed {
			return forged(d, s, 3)
		}, 2 * 3},
		{"of participants who are no Validators", func(d *desk, s validator.Subject) []validator.Signed {
			v := d.Approval(s)
			return []validator.Signed{d.Signed(d.Bob, v), d.Signed(d.Mallory, v), d.Signed(d.Operator, v)}
		}, 0},
		{"of another payment", func(d *desk, _ validator.Subject) []validator.Signed {
			return d.Verdicts(d.Payment("another", 700, expiry).Subject)
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk()
			n := d.checked()
			c := d.Prepare(d.Payment("one", 700, expiry))
			body := c.Command.(*ledger.Prepare)
			body.Verdicts = tt.verdicts(d, body.Subject)
			ledgertest.Resign(d.Alice, c)
			d.refused(t, c, ledger.CodeNotApproved)
			if *n > 1+tt.most {
				t.Errorf("%d signatures were verified, at most %d", *n, 1+tt.most)
			}
		})
	}
}

// What is foreseen is what the rules then ask for: a ledger that remembers verifies each signature
// of a good Prepare once, however often it sees it.
func TestVerdictsAreForeseen(t *testing.T) {
	d := newDesk()
	seen := map[cosi.IdentitySignature]int{}
	d.charter.Verifier = func(batch []cosi.IdentitySignature) []int {
		for _, s := range batch {
			seen[s]++
		}
		return cosi.VerifyEd25519Batch(batch)
	}
	var commands []*ledger.SignedCommand
	for i := range 3 {
		commands = append(commands, d.Prepare(d.Payment(fmt.Sprint(i), 1, expiry)))
	}
	for i, err := range d.charter.Authenticate(commands...) {
		if err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
	}
	if len(seen) != 3*3 { // the command's and two verdicts'
		t.Fatalf("%d signatures are foreseen", len(seen))
	}
	for _, c := range commands {
		if _, err := d.charter.Apply(d.book, d.nowMS, c); err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) != 3*3 {
		t.Fatalf("%d signatures, 9 were foreseen", len(seen))
	}
}

// A memory holds that a signature is right, not that its key may speak: who is struck off the
// registry speaks no more, although the ledger has seen this very command, or verdict, be right.
func TestAMemoryOutlivesNoKey(t *testing.T) {
	for name, who := range map[string]struct {
		of   func(d *desk) ledgertest.Actor
		code cypherlink.Code
	}{
		"the signer":  {func(d *desk) ledgertest.Actor { return d.Alice }, ledger.CodeUnknownSigner},
		"a Validator": {func(d *desk) ledgertest.Actor { return d.Validators[0] }, ledger.CodeNotApproved},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk()
			d.charter.Verifier = cosi.Remembering()
			c := d.Prepare(d.Payment("one", 700, expiry))
			if err := d.charter.Authenticate(c)[0]; err != nil {
				t.Fatal(err)
			}
			keys, key := d.charter.Keys.(ledgertest.Keys), who.of(d).Key
			delete(keys, who.of(d).ID)
			d.refused(t, c, who.code)
			keys[who.of(d).ID] = d.Mallory.Key // another key is another signature
			if name == "the signer" {
				d.refused(t, c, ledger.CodeSignature)
			} else {
				d.refused(t, c, ledger.CodeNotApproved)
			}
			keys[who.of(d).ID] = key
			d.must(t, c)
		})
	}
}
