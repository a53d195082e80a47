package ledgertest

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/validator"
)

func refusedPrepares(s *stand) {
	type edit = func(c *ledger.SignedCommand, body *ledger.Prepare)
	approved := func(change func(*validator.Subject)) edit {
		return func(_ *ledger.SignedCommand, body *ledger.Prepare) {
			change(&body.Subject)
			body.Verdicts = s.Verdicts(body.Subject)
		}
	}
	tests := []struct {
		name string
		edit edit
		code cypherlink.Code
	}{
		{"amount zero", approved(func(x *validator.Subject) { x.Fields.Amount = 0 }), ledger.CodeMalformed},
		{"too much", approved(func(x *validator.Subject) {
			x.Fields.Amount = Opening + 1
		}), ledger.CodeFunds},
		{"to itself", approved(func(x *validator.Subject) {
			x.Fields.Credit = x.Fields.Debit
		}), ledger.CodeMalformed},
		{"another asset", approved(func(x *validator.Subject) {
			x.Fields.Asset.Scale++
		}), ledger.CodeUnknownAsset},
		{"no such account", approved(func(x *validator.Subject) {
			x.Fields.Credit.Number = 9
		}), ledger.CodeUnknownAccount},
		{"too near", approved(func(x *validator.Subject) {
			x.Fields.Expiry = s.in(s.MinExpiry - 1)
		}), ledger.CodeExpiry},
		{"no verdict", func(_ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Verdicts = nil
		}, ledger.CodeNotApproved},
		{"too few verdicts", func(_ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Verdicts = body.Verdicts[:1]
		}, ledger.CodeNotApproved},
		{"one verdict twice", func(_ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Verdicts[1] = body.Verdicts[0]
		}, ledger.CodeNotApproved},
		{"another payment's verdicts", func(_ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Verdicts = s.Verdicts(s.Payment("another", 700, s.in(20)).Subject)
		}, ledger.CodeNotApproved},
		{"verdicts that lapse now", func(_ *ledger.SignedCommand, body *ledger.Prepare) {
			v := s.Approval(body.Subject)
			v.ValidUntil = s.in(0)
			body.Verdicts = []validator.Signed{s.Signed(s.Validators[0], v), s.Signed(s.Validators[1], v)}
		}, ledger.CodeNotApproved},
		{"a verdict that mallory signed", func(_ *ledger.SignedCommand, body *ledger.Prepare) {
			body.Verdicts[1] = s.Signed(s.Mallory, body.Verdicts[1].Verdict)
			body.Verdicts[1].Validator = s.Validators[1].ID
		}, ledger.CodeNotApproved},
		{"mallory prepares", func(c *ledger.SignedCommand, _ *ledger.Prepare) {
			c.Signer = s.Mallory.ID
		}, ledger.CodeNotAllowed},
		{"a stranger prepares", func(c *ledger.SignedCommand, _ *ledger.Prepare) {
			c.Signer = s.Stranger.ID
		}, ledger.CodeUnknownSigner},
		{"for another network", func(c *ledger.SignedCommand, _ *ledger.Prepare) {
			c.Network[0]++
		}, ledger.CodeMalformed},
		{"for another ledger", func(c *ledger.SignedCommand, _ *ledger.Prepare) {
			c.Ledger = "other"
		}, ledger.CodeMalformed},
	}
	signers := map[cypherlink.ParticipantID]Actor{
		s.Alice.ID: s.Alice, s.Mallory.ID: s.Mallory, s.Stranger.ID: s.Stranger,
	}
	p := s.Payment("one", 700, s.in(20))
	for _, tt := range tests {
		c := s.Prepare(p)
		tt.edit(c, c.Command.(*ledger.Prepare)) //nolint:errcheck // it is one
		Resign(signers[c.Signer], c)
		_, err := s.h.Ledger.Submit(s.context(), c)
		if got := refusal(s.t, err); got != tt.code {
			s.t.Fatalf("%s: %v, want %s", tt.name, err, tt.code)
		}
		s.moved(0, 0, 0)
	}
	forged := s.Prepare(p)
	Resign(s.Mallory, forged)
	s.refuse(forged, ledger.CodeSignature)
	s.moved(0, 0, 0)
	s.lookup(s.ID(p), ledger.Absent)
	s.submit(s.Prepare(p), ledger.Prepared) // the control
}

func differentFields(s *stand) {
	edits := map[string]func(*validator.Subject){
		"terms":     func(x *validator.Subject) { x.Terms[0]++ },
		"leg":       func(x *validator.Subject) { x.Leg++ },
		"credit":    func(x *validator.Subject) { x.Fields.Credit = s.Account(s.Mallory) },
		"amount":    func(x *validator.Subject) { x.Fields.Amount++ },
		"expiry":    func(x *validator.Subject) { x.Fields.Expiry++ },
		"condition": func(x *validator.Subject) { x.Condition[0]++ },
	}
	for name, edit := range edits {
		p := s.Payment(name, 700, s.in(20))
		c := s.Prepare(p)
		edit(&c.Command.(*ledger.Prepare).Subject) //nolint:errcheck // it is one
		Resign(s.Alice, c)
		_, err := s.h.Ledger.Submit(s.context(), c)
		if refusal(s.t, err) != ledger.CodeNotApproved {
			s.t.Fatalf("another %s: %v", name, err)
		}
	}
	s.moved(0, 0, 0)
}

func refusedEnds(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	s.refuse(s.Confirm(s.Bob, p), ledger.CodeUnknownCustody)
	s.refuse(s.Return(s.Bob, p), ledger.CodeUnknownCustody)
	s.submit(s.Prepare(p), ledger.Prepared)
	wrong := p
	wrong.Preimage[31]++
	s.refuse(s.Confirm(s.Bob, wrong), ledger.CodePreimage)
	s.refuse(s.Confirm(s.Stranger, p), ledger.CodeUnknownSigner)
	forged := s.Confirm(s.Bob, p)
	Resign(s.Mallory, forged)
	s.refuse(forged, ledger.CodeSignature)
	s.moved(-700, 0, 700)
	s.submit(s.Confirm(s.Bob, p), ledger.Confirmed)
	s.refuse(s.Return(s.Bob, p), ledger.CodeAlreadyPaid)
	s.refuse(s.Confirm(s.Bob, wrong), ledger.CodePreimage)
	s.until(p.Subject.Fields.Expiry)
	s.refuse(s.Return(s.Alice, p), ledger.CodeAlreadyPaid)
	s.moved(-700, 700, 0)
}

func usedOnce(s *stand) {
	p, q := s.Payment("one", 700, s.in(20)), s.Payment("two", 700, s.in(20))
	s.submit(s.Prepare(p), ledger.Prepared)
	q.Subject.Condition = p.Subject.Condition
	s.refuse(s.Prepare(q), ledger.CodeConditionUsed)
	other := p
	other.Subject.Fields.Amount++
	s.refuse(s.Prepare(other), ledger.CodeCustodyDiffers)
	s.submit(s.Return(s.Bob, p), ledger.Returned)
	s.refuse(s.Prepare(q), ledger.CodeConditionUsed)
	s.refuse(s.Prepare(other), ledger.CodeCustodyDiffers)
	s.moved(0, 0, 0)
}

func repeats(s *stand) {
	p, q := s.Payment("one", 700, s.in(20)), s.Payment("two", 300, s.in(20))
	prepare, confirm := s.Prepare(p), s.Confirm(s.Bob, p)
	prepared := s.submit(prepare, ledger.Prepared)
	again := func(c *ledger.SignedCommand, want ledger.Receipt) {
		s.t.Helper()
		if got := s.submit(c, want.Custody.State); !same(got, want) {
			s.t.Fatalf("repeated %T: %+v, want %+v", c.Command, got, want)
		}
	}
	again(prepare, prepared)
	again(s.Prepare(p), prepared) // with another sequence
	confirmed := s.submit(confirm, ledger.Confirmed)
	again(confirm, confirmed)
	again(s.Confirm(s.Mallory, p), confirmed)
	again(prepare, confirmed)
	s.submit(s.Prepare(q), ledger.Prepared)
	back := s.Return(s.Bob, q)
	returned := s.submit(back, ledger.Returned)
	again(back, returned)
	again(s.Return(s.Alice, q), returned)
	again(s.Prepare(q), returned)
	s.until(p.Subject.Fields.Expiry + 5)
	again(confirm, confirmed)
	again(prepare, confirmed)
	again(back, returned)
	s.moved(-700, 700, 0)
	if last := s.lookup(ledger.CustodyID{1}, ledger.Absent).Sequence; last != 4 {
		s.t.Fatalf("%d events, want 4", last)
	}
}

func creditReturns(s *stand) {
	p := s.Payment("one", 700, s.in(20))
	s.submit(s.Prepare(p), ledger.Prepared)
	s.refuse(s.Return(s.Alice, p), ledger.CodeNotAllowed)
	s.refuse(s.Return(s.Mallory, p), ledger.CodeNotAllowed)
	s.moved(-700, 0, 700)
	s.submit(s.Return(s.Bob, p), ledger.Returned)
	s.moved(0, 0, 0)
	s.refuse(s.Confirm(s.Bob, p), ledger.CodeAlreadyReturned)
}
