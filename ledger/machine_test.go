package ledger_test

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/validator"
)

// machine sends random commands at random times to the rules, and to an oracle that says of
// each command everything that is wrong with it, in no order. The rules must refuse exactly
// what has a fault, and for one of its faults.
type machine struct {
	*desk
	sent []*ledger.SignedCommand
	// what the oracle knows
	custodies  map[ledger.CustodyID]ledger.Custody
	conditions map[cypherlink.Condition]bool
	balances   map[cypherlink.Account]cypherlink.Amount
	left       map[ledger.CustodyID]int // how often a custody left Prepared
}

// newMachine makes one whose rules see signatures with the verifier.
func newMachine(verifier cosi.Verifier) *machine {
	m := &machine{
		desk:       newDesk(),
		custodies:  map[ledger.CustodyID]ledger.Custody{},
		conditions: map[cypherlink.Condition]bool{},
		balances:   map[cypherlink.Account]cypherlink.Amount{},
		left:       map[ledger.CustodyID]int{},
	}
	m.charter.Verifier = verifier
	for _, a := range []ledgertest.Actor{m.Alice, m.Bob, m.Mallory} {
		m.balances[ledgertest.Account(a)] = ledgertest.Opening
	}
	return m
}

// faults are the codes of everything that is wrong with the command now.
func (m *machine) faults(c *ledger.SignedCommand) []cypherlink.Code {
	var faults []cypherlink.Code
	add := func(wrong bool, code cypherlink.Code) {
		if wrong {
			faults = append(faults, code)
		}
	}
	key, registered := m.charter.Keys.Key(c.Signer)
	add(!registered, ledger.CodeUnknownSigner)
	add(registered && c.Verify(key) != nil, ledger.CodeSignature)
	custody, exists := m.custodies[ledger.CustodyID(c.Command.About(m.Network))]
	switch body := c.Command.(type) {
	case *ledger.Prepare:
		s := body.Subject
		add(c.Signer != s.Fields.Debit.Owner, ledger.CodeNotAllowed)
		if exists {
			same := custody.Subject == s && bytes.Equal(custody.Packet, body.Packet)
			add(!same, ledger.CodeCustodyDiffers)
			break
		}
		_, open := m.balances[s.Fields.Credit]
		add(!open, ledger.CodeUnknownAccount)
		add(m.conditions[s.Condition], ledger.CodeConditionUsed)
		add(s.Fields.Expiry < m.nowMS/1000+m.MinExpiry, ledger.CodeExpiry)
		add(s.Fields.Amount > m.balances[s.Fields.Debit], ledger.CodeFunds)
		add(m.approvals(body) < 2, ledger.CodeNotApproved)
	case *ledger.Confirm:
		add(!exists, ledger.CodeUnknownCustody)
		add(exists && body.Preimage.Condition() != custody.Subject.Condition, ledger.CodePreimage)
		add(exists && custody.State == ledger.Returned, ledger.CodeAlreadyReturned)
	case *ledger.Return:
		add(!exists, ledger.CodeUnknownCustody)
		add(exists && custody.State == ledger.Confirmed, ledger.CodeAlreadyPaid)
		add(exists && custody.State == ledger.Prepared && c.Signer != custody.Leg().Credit.Owner,
			ledger.CodeNotAllowed)
	case *ledger.Leave, *ledger.Enter:
		add(true, ledger.CodeMalformed)
	}
	return faults
}

// approvals counts the validators whose verdict is good; none, of more verdicts than validators.
func (m *machine) approvals(body *ledger.Prepare) int {
	n := 0
	if len(body.Verdicts) > len(m.Validators) {
		return 0
	}
	for _, v := range m.Validators {
		if slices.ContainsFunc(body.Verdicts, func(s validator.Signed) bool {
			return s == m.Signed(v, s.Verdict) && s.Verdict.Outcome == validator.Approved &&
				s.Verdict.Subject == body.Subject && s.Verdict.RuleSet == m.RuleSet &&
				m.nowMS/1000 < s.Verdict.ValidUntil
		}) {
			n++
		}
	}
	return n
}

// accept is the oracle's part of an effect.
func (m *machine) accept(c *ledger.SignedCommand) {
	id := ledger.CustodyID(c.Command.About(m.Network))
	switch body := c.Command.(type) {
	case *ledger.Prepare:
		m.custodies[id] = ledger.Custody{
			ID: id, Subject: body.Subject, Packet: body.Packet, State: ledger.Prepared,
		}
		m.conditions[body.Subject.Condition] = true
		m.balances[body.Subject.Fields.Debit] -= body.Subject.Fields.Amount
	case *ledger.Confirm:
		m.leave(id, ledger.Confirmed)
	case *ledger.Return:
		m.leave(id, ledger.Returned)
	case *ledger.Leave, *ledger.Enter:
	}
}

func (m *machine) leave(id ledger.CustodyID, to ledger.State) {
	c := m.custodies[id]
	c.State = to
	m.custodies[id] = c
	m.left[id]++
	account := c.Leg().Debit
	if to == ledger.Confirmed {
		account = c.Leg().Credit
	}
	m.balances[account] += c.Leg().Amount
}

// submit compares the rules with the oracle.
func (m *machine) submit(t *rapid.T, c *ledger.SignedCommand) {
	for id, custody := range m.custodies { // expire first, then apply
		if custody.State == ledger.Prepared && custody.Leg().Expiry*1000 <= m.nowMS {
			m.leave(id, ledger.Returned)
		}
	}
	faults := m.faults(c)
	before, existed := m.custodies[ledger.CustodyID(c.Command.About(m.Network))]
	got, err := m.do(c)
	switch {
	case len(faults) > 0:
		if !slices.Contains(faults, cypherlink.ErrorCode(err)) {
			t.Fatalf("%T: %v, want one of %v", c.Command, err, faults)
		}
	case errors.Is(err, ledger.ErrRepeated):
		if !existed || got.State != before.State {
			t.Fatalf("%T is said to be repeated, before it was %s", c.Command, before.State)
		}
	case err != nil:
		t.Fatalf("%T without a fault: %v", c.Command, err)
	default:
		m.accept(c)
		if want := m.custodies[got.ID]; got.State != want.State || got.Subject != want.Subject {
			t.Fatalf("%T gives %+v, want %+v", c.Command, got, want)
		}
	}
}

// check holds after every step.
func (m *machine) check(t *rapid.T) {
	total, err := m.book.Total(m.Asset)
	if err != nil || total != 3*ledgertest.Opening {
		t.Fatalf("the asset adds up to %d, %v", total, err)
	}
	for id, n := range m.left {
		if n > 1 {
			t.Fatalf("custody %s left Prepared %d times", id, n)
		}
	}
	if err := m.expire(); err != nil {
		t.Fatal(err)
	}
	for account, want := range m.balances {
		for _, c := range m.custodies { // what the oracle has not returned yet
			if c.State == ledger.Prepared && c.Expired(m.nowMS) && c.Leg().Debit == account {
				want += c.Leg().Amount
			}
		}
		if got, _, _ := m.book.Balance(account, m.Asset); got != want {
			t.Fatalf("account %s has %d, want %d", account, got, want)
		}
	}
}

func (m *machine) actor(t *rapid.T) ledgertest.Actor {
	return rapid.SampledFrom([]ledgertest.Actor{
		m.Alice, m.Bob, m.Mallory, m.Stranger, m.Validators[0],
	}).Draw(t, "actor")
}

func (m *machine) payment(t *rapid.T) ledgertest.Payment {
	amount := rapid.SampledFrom([]cypherlink.Amount{
		1, 300_000, ledgertest.Opening, ledgertest.Opening + 1, math.MaxInt64,
	}).Draw(t, "amount")
	wait := rapid.SampledFrom([]int64{-1, 0, 7, 8, 9, 30}).Draw(t, "wait")
	p := m.Payment(rapid.StringMatching("[a-f]").Draw(t, "name"), amount, m.nowMS/1000+wait)
	p.Subject.Leg = rapid.Uint8Range(0, 1).Draw(t, "leg")
	switch rapid.IntRange(0, 9).Draw(t, "variant") {
	case 0:
		p.Subject.Condition = m.Payment("a", 1, 1).Subject.Condition
	case 1:
		p.Subject.Fields.Credit.Number = 9
	case 2:
		p.Subject.Fields.Credit = ledgertest.Account(m.Mallory)
	case 3:
		p.Packet = []byte("another packet")
	case 4:
		p.Preimage[0]++
	}
	return p
}

func (m *machine) prepare(t *rapid.T) *ledger.SignedCommand {
	p := m.payment(t)
	c := m.Prepare(p)
	body := c.Command.(*ledger.Prepare)
	v := m.Approval(p.Subject)
	switch rapid.IntRange(0, 11).Draw(t, "verdicts") {
	case 0:
		body.Verdicts = nil
	case 1:
		body.Verdicts[0].Signature[5]++
	case 2:
		body.Verdicts[1] = body.Verdicts[0]
	case 3:
		v.ValidUntil = m.nowMS / 1000
		body.Verdicts = []validator.Signed{m.Signed(m.Validators[0], v), m.Signed(m.Validators[2], v)}
	case 4:
		v.Subject.Fields.Amount++
		body.Verdicts[0] = m.Signed(m.Validators[0], v)
	case 5:
		body.Verdicts = append(body.Verdicts, m.Signed(m.Mallory, v))
	case 6:
		body.Verdicts = append(body.Verdicts, m.Signed(m.Mallory, v), m.Signed(m.Validators[2], v))
	}
	ledgertest.Resign(m.Alice, c)
	return c
}

func TestRulesAgainstAnOracle(t *testing.T) {
	remembering := cosi.Remembering() // of all runs together
	rapid.Check(t, func(t *rapid.T) {
		// A memory changes no outcome: the oracle knows of none.
		m := newMachine(rapid.SampledFrom([]cosi.Verifier{nil, remembering}).Draw(t, "verifier"))
		send := func(t *rapid.T, c *ledger.SignedCommand) {
			if rapid.IntRange(0, 15).Draw(t, "forge") == 0 {
				c.Signature[9] ^= 1
			}
			m.sent = append(m.sent, c)
			m.submit(t, c)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":        m.check,
			"prepare": func(t *rapid.T) { send(t, m.prepare(t)) },
			"prepare as somebody else": func(t *rapid.T) {
				c, by := m.prepare(t), m.actor(t)
				c.Signer = by.ID
				ledgertest.Resign(by, c)
				send(t, c)
			},
			"confirm": func(t *rapid.T) { send(t, m.Confirm(m.actor(t), m.payment(t))) },
			"return":  func(t *rapid.T) { send(t, m.Return(m.actor(t), m.payment(t))) },
			"repeat": func(t *rapid.T) {
				if len(m.sent) == 0 {
					t.Skip("nothing to repeat")
				}
				m.submit(t, rapid.SampledFrom(m.sent).Draw(t, "which"))
			},
			"wait": func(t *rapid.T) {
				m.nowMS += rapid.SampledFrom([]int64{1, 999, 1000, 8000, 30_000}).Draw(t, "ms")
			},
			"wait until just before, or at, an expiry": func(t *rapid.T) {
				for _, id := range slices.SortedFunc(maps.Keys(m.custodies), func(a, b ledger.CustodyID) int {
					return bytes.Compare(a[:], b[:])
				}) {
					c := m.custodies[id]
					if c.State == ledger.Prepared && !c.Expired(m.nowMS) {
						m.nowMS = c.Leg().Expiry*1000 - rapid.Int64Range(0, 1).Draw(t, "before")
						return
					}
				}
			},
		})
	})
}
