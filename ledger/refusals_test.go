package ledger_test

import (
	"math"
	"testing"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/validator"
)

func TestRefusedPrepares(t *testing.T) {
	type edit = func(d *desk, c *ledger.SignedCommand, body *ledger.Prepare)
	// subject changes what the Validators approve as well
	subject := func(change func(d *desk, s *validator.Subject)) edit {
		return func(d *desk, _ *ledger.SignedCommand, body *ledger.Prepare) {
			change(d, &body.Subject)
			body.Verdicts = d.Verdicts(body.Subject)
		}
	}
	tests := []struct {
		name string
		edit edit
		code cypherlink.Code
	}{
		{"amount zero", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Amount = 0
		}), ledger.CodeMalformed},
		{"a negative amount", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Amount = math.MinInt64
		}), ledger.CodeMalformed},
		{"to the same account", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Credit = s.Fields.Debit
		}), ledger.CodeMalformed},
		{"no condition", subject(func(_ *desk, s *validator.Subject) {
			s.Condition = cypherlink.Condition{}
		}), ledger.CodeMalformed},
		{"a packet too large", func(_ *desk, _ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Packet = make([]byte, ledger.MaxPacket+1)
		}, ledger.CodeMalformed},
		{"another ledger's asset", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Asset.Ledger = "cypherium"
		}), ledger.CodeUnknownAsset},
		{"an asset that it does not carry", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Asset.Scale = 3
		}), ledger.CodeUnknownAsset},
		{"from an account that is not open", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Debit.Number = 1
		}), ledger.CodeUnknownAccount},
		{"to an account that is not open", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Credit.Number = 1
		}), ledger.CodeUnknownAccount},
		{"more than there is", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Amount = ledgertest.Opening + 1
		}), ledger.CodeFunds},
		{"the largest amount", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Amount = math.MaxInt64
		}), ledger.CodeFunds},
		{"an expiry that is too near", subject(func(d *desk, s *validator.Subject) {
			s.Fields.Expiry = start + d.MinExpiry - 1
		}), ledger.CodeExpiry},
		{"an expiry in the past", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Expiry = 1
		}), ledger.CodeExpiry},
		{"the earliest int64 as expiry", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Expiry = math.MinInt64
		}), ledger.CodeMalformed},
		{"the latest int64 as expiry", subject(func(_ *desk, s *validator.Subject) {
			s.Fields.Expiry = math.MaxInt64
		}), ledger.CodeMalformed},
		{"another network", func(_ *desk, c *ledger.SignedCommand, _ *ledger.Prepare) {
			c.Network[0]++
		}, ledger.CodeMalformed},
		{"another ledger", func(_ *desk, c *ledger.SignedCommand, _ *ledger.Prepare) {
			c.Ledger = "cypherium"
		}, ledger.CodeMalformed},
		{"no verdict", func(_ *desk, _ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Verdicts = nil
		}, ledger.CodeNotApproved},
		{"one verdict of two", func(_ *desk, _ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Verdicts = body.Verdicts[:1]
		}, ledger.CodeNotApproved},
		{"another payment's verdicts", func(d *desk, _ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Verdicts = d.Verdicts(d.Payment("another", 700, expiry).Subject)
		}, ledger.CodeNotApproved},
		{"verdicts that lapse now", func(d *desk, _ *ledger.SignedCommand, body *ledger.Prepare) {
			v := d.Approval(body.Subject)
			v.ValidUntil = start
			body.Verdicts = []validator.Signed{d.Signed(d.Validators[0], v), d.Signed(d.Validators[1], v)}
		}, ledger.CodeNotApproved},
		{"verdicts that mallory signed", func(d *desk, _ *ledger.SignedCommand, body *ledger.Prepare) {
			for i, v := range body.Verdicts {
				body.Verdicts[i] = d.Signed(d.Mallory, v.Verdict)
				body.Verdicts[i].Validator = v.Validator
			}
		}, ledger.CodeNotApproved},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk()
			c := d.Prepare(d.Payment("one", 700, expiry))
			tt.edit(d, c, c.Command.(*ledger.Prepare))
			ledgertest.Resign(d.Alice, c)
			d.refused(t, c, tt.code)
			d.must(t, d.Prepare(d.Payment("one", 700, expiry))) // the control
		})
	}
}

// The ledger compares every field of the Prepare with what the Validators approved.
func TestPrepareDiffersFromItsVerdicts(t *testing.T) {
	edits := map[string]func(d *desk, s *validator.Subject){
		"terms":     func(_ *desk, s *validator.Subject) { s.Terms[0]++ },
		"leg":       func(_ *desk, s *validator.Subject) { s.Leg++ },
		"asset":     func(d *desk, s *validator.Subject) { s.Fields.Asset.Code = "GBP" },
		"debit":     func(d *desk, s *validator.Subject) { s.Fields.Debit.Number = 7 },
		"credit":    func(d *desk, s *validator.Subject) { s.Fields.Credit = ledgertest.Account(d.Mallory) },
		"amount":    func(_ *desk, s *validator.Subject) { s.Fields.Amount++ },
		"expiry":    func(_ *desk, s *validator.Subject) { s.Fields.Expiry++ },
		"condition": func(_ *desk, s *validator.Subject) { s.Condition[0]++ },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			d := newDesk()
			gbp := cypherlink.Asset{Ledger: d.Ledger, Code: "GBP", Scale: 2}
			d.charter.Policies[gbp] = d.charter.Policies[d.Asset]
			d.book = ledgertest.NewMemory(append(d.Balances(),
				ledger.Balance{Account: ledgertest.Account(d.Alice), Asset: gbp, Amount: 1000},
				ledger.Balance{Account: ledgertest.Account(d.Bob), Asset: gbp},
				ledger.Balance{
					Account: cypherlink.Account{Owner: d.Alice.ID, Number: 7}, Asset: d.Asset, Amount: 1000,
				}))
			p := d.Payment("one", 700, expiry)
			c := d.Prepare(p)
			body := c.Command.(*ledger.Prepare)
			edit(d, &body.Subject)
			ledgertest.Resign(d.Alice, c)
			d.refused(t, c, ledger.CodeNotApproved)
			body.Verdicts = d.Verdicts(body.Subject) // the control: the field alone is allowed
			ledgertest.Resign(d.Alice, c)
			d.must(t, c)
		})
	}
}

func TestSigners(t *testing.T) {
	d := newDesk()
	p := d.Payment("one", 700, expiry)
	wrong := d.Prepare(p)
	wrong.Signature[3]++
	d.refused(t, wrong, ledger.CodeSignature)
	changed := d.Prepare(p)
	changed.Sequence++
	d.refused(t, changed, ledger.CodeSignature)
	impostor := d.Prepare(p)
	ledgertest.Resign(d.Mallory, impostor)
	d.refused(t, impostor, ledger.CodeSignature)
	other := d.Prepare(p)
	other.Signer = d.Mallory.ID
	ledgertest.Resign(d.Mallory, other)
	d.refused(t, other, ledger.CodeNotAllowed)
	unknown := d.Prepare(p)
	unknown.Signer = d.Stranger.ID
	ledgertest.Resign(d.Stranger, unknown)
	d.refused(t, unknown, ledger.CodeUnknownSigner)
	_, err := d.charter.Apply(d.book, d.nowMS, unknown)
	if cypherlink.ErrorCode(err) != ledger.CodeUnknownSigner {
		t.Error("Apply takes a stranger's command:", err)
	}
	empty := d.Prepare(p)
	empty.Command = nil
	d.refused(t, empty, ledger.CodeMalformed)

	d.must(t, d.Prepare(p))
	d.refused(t, d.Confirm(d.Stranger, p), ledger.CodeUnknownSigner)
	d.refused(t, d.Return(d.Stranger, p), ledger.CodeUnknownSigner)

	t.Run("many together", func(t *testing.T) {
		good := d.Confirm(d.Bob, p)
		got := d.charter.Authenticate(good, wrong, unknown, empty, good, impostor)
		want := []cypherlink.Code{
			"", ledger.CodeSignature, ledger.CodeUnknownSigner, ledger.CodeMalformed,
			"", ledger.CodeSignature,
		}
		for i, err := range got {
			if cypherlink.ErrorCode(err) != want[i] {
				t.Errorf("command %d: %v, want %q", i, err, want[i])
			}
		}
		if got := d.charter.Authenticate(); len(got) != 0 {
			t.Error("no command has an answer:", got)
		}
	})
}

func TestConditionsAndIDsAreUsedOnce(t *testing.T) {
	d := newDesk()
	first := d.Payment("one", 700, expiry)
	d.must(t, d.Prepare(first))
	sameCondition := d.Payment("two", 700, expiry)
	sameCondition.Subject.Condition = first.Subject.Condition
	d.refused(t, d.Prepare(sameCondition), ledger.CodeConditionUsed)
	sameID := first
	sameID.Subject.Fields.Amount++
	d.refused(t, d.Prepare(sameID), ledger.CodeCustodyDiffers)
	otherPacket := first
	otherPacket.Packet = []byte("another packet")
	d.refused(t, d.Prepare(otherPacket), ledger.CodeCustodyDiffers)
	d.must(t, d.Return(d.Bob, first))
	d.refused(t, d.Prepare(sameCondition), ledger.CodeConditionUsed)
	d.refused(t, d.Prepare(sameID), ledger.CodeCustodyDiffers)
	otherLeg := first
	otherLeg.Subject.Leg = 1
	otherLeg.Subject.Condition[0]++
	d.must(t, d.Prepare(otherLeg))
}

func TestConfirmsAndReturnsOfNothing(t *testing.T) {
	d := newDesk()
	p := d.Payment("one", 700, expiry)
	d.refused(t, d.Confirm(d.Bob, p), ledger.CodeUnknownCustody)
	d.refused(t, d.Return(d.Bob, p), ledger.CodeUnknownCustody)
	d.must(t, d.Prepare(p))
	wrong := p
	wrong.Preimage[31]++
	d.refused(t, d.Confirm(d.Bob, wrong), ledger.CodePreimage)
	wrong.Preimage = cypherlink.Preimage{}
	d.refused(t, d.Confirm(d.Bob, wrong), ledger.CodePreimage)
	d.must(t, d.Confirm(d.Bob, p))
	d.refused(t, d.Confirm(d.Bob, wrong), ledger.CodePreimage)
}
