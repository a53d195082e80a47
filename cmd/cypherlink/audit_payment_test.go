package main

import (
	"strings"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/terms"
)

// settledDeal is a payment that everybody knows as settled.
func settledDeal(t *testing.T) *deal {
	t.Helper()
	participant := func(n byte) (id cypherlink.ParticipantID) { id[0] = n; return id }
	account := func(n byte) cypherlink.Account { return cypherlink.Account{Owner: participant(n)} }
	agreed := &terms.Terms{
		UETR: cypherlink.UETR{1}, Payer: participant(1), Payee: participant(2), Connector: participant(3),
		Condition: cypherlink.Condition{4},
		Legs: []terms.Leg{
			{Asset: assetDE(), Amount: 1100, Expiry: 2000, Debit: account(1), Credit: account(3)},
			{Asset: assetDCEP(), Amount: 2000, Expiry: 1000, Debit: account(3), Credit: account(2)},
		},
	}
	d := &deal{
		terms:    agreed,
		payer:    &record{bank: folderA, direction: payment.Out, status: payment.StatusSettled, over: true},
		payee:    &record{bank: folderB, direction: payment.In, status: payment.StatusSettled, over: true},
		machines: map[string]*machine{},
	}
	for _, role := range []string{rolePayer, roleRelay, rolePayee} {
		d.machines[role] = &machine{owner: role, role: role, outcome: connector.Settled, over: true}
	}
	for i, leg := range agreed.Legs {
		c := &d.custody[i]
		c.State = ledger.Confirmed
		c.Subject.Terms, c.Subject.Leg, c.Subject.Fields = agreed.Hash(), uint8(i), leg
		c.Subject.Condition = agreed.Condition
	}
	return d
}

// stand sets where the two custodies stand.
func (d *deal) stand(source, destination ledger.State) {
	d.custody[terms.Source].State, d.custody[terms.Destination].State = source, destination
}

// end sets the end of both banks' payments and of all machines.
func (d *deal) end(status payment.Status, outcome connector.Outcome) {
	d.payer.status, d.payee.status = status, status
	for _, m := range d.machines {
		m.outcome = outcome
	}
}

// open makes payments and machines that are under way.
func (d *deal) open() {
	d.end(payment.StatusReserved, connector.Reserved)
	d.payer.over, d.payee.over = false, false
	for _, m := range d.machines {
		m.over = false
	}
}

func TestJudgementOfAPayment(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*deal)
		found  string // empty for none
	}{
		{"both confirmed, all settled", func(*deal) {}, ""},
		{"both returned, all expired", func(d *deal) {
			d.stand(ledger.Returned, ledger.Returned)
			d.end(payment.StatusExpired, connector.Undone)
		}, ""},
		{"nothing was made in time", func(d *deal) {
			d.stand(ledger.Absent, ledger.Absent)
			d.end(payment.StatusExpired, connector.Undone)
			d.expired = [2]bool{true, true}
		}, ""},
		{"rejected before a machine began", func(d *deal) {
			d.stand(ledger.Absent, ledger.Absent)
			d.payer.status, d.payee, d.machines = payment.StatusRejected, nil, nil
		}, ""},
		{"under way, the source in custody", func(d *deal) {
			d.open()
			d.stand(ledger.Prepared, ledger.Absent)
		}, ""},
		{"under way, both confirmed, the expiries not passed", func(d *deal) {
			d.open()
		}, ""},
		{"the source outlives the destination, the connector confirms next", func(d *deal) {
			d.open()
			d.stand(ledger.Prepared, ledger.Confirmed)
			d.late[terms.Destination] = true
			d.payee.status, d.payee.over = payment.StatusSettled, true
			d.machines[rolePayee].outcome = connector.Settled
		}, ""},

		{"the connector's loss", func(d *deal) {
			d.stand(ledger.Returned, ledger.Confirmed)
			d.machines[rolePayer].outcome, d.machines[roleRelay].outcome = connector.Loss, connector.Loss
		}, "the connector's loss of 20.00"},
		{"the payer's loss", func(d *deal) {
			d.stand(ledger.Confirmed, ledger.Returned)
		}, "the payer's loss"},
		{"settled, the destination returned", func(d *deal) {
			d.stand(ledger.Returned, ledger.Returned)
		}, "the payer's bank calls it settled, the destination is returned"},
		{"settled, the source still in custody", func(d *deal) {
			d.stand(ledger.Prepared, ledger.Confirmed)
		}, "the payer's bank calls it settled, the source is still in custody"},
		{"settled for the payee, the destination absent", func(d *deal) {
			d.stand(ledger.Prepared, ledger.Absent)
			d.payer.status = payment.StatusReserved
		}, "the payee's bank calls it settled, the destination is absent"},
		{"rejected, both confirmed", func(d *deal) {
			d.end(payment.StatusRejected, connector.Undone)
		}, "the payer's bank calls it REJECTED, the destination is confirmed"},
		{"expired for the payee, the destination confirmed", func(d *deal) {
			d.payee.status, d.machines[rolePayee].outcome = payment.StatusExpired, connector.Undone
		}, "the payee's bank calls it EXPIRED, the destination is confirmed"},
		{"expired, the source in custody", func(d *deal) {
			d.stand(ledger.Prepared, ledger.Returned)
			d.end(payment.StatusExpired, connector.Undone)
		}, "the payer's bank calls it EXPIRED, the source is prepared"},
		{"expired, the source absent and not past its expiry", func(d *deal) {
			d.stand(ledger.Absent, ledger.Absent)
			d.end(payment.StatusExpired, connector.Undone)
		}, "the source custody may still be made"},
		{"settled, the payer's machine is not", func(d *deal) {
			d.machines[rolePayer].outcome = connector.Undone
		}, "the payer's bank's payment has ended, its machine on the ledgers is undone"},
		{"settled, without a payee's machine", func(d *deal) {
			delete(d.machines, rolePayee)
		}, "the payee's bank's payment has ended, its machine on the ledgers is not there"},
		{"the source custody without a payer's machine", func(d *deal) {
			d.open()
			delete(d.machines, rolePayer)
		}, "the payer's bank has no payer machine for it"},
		{"the source custody without a payment", func(d *deal) {
			d.payer = nil
		}, "the payer's bank has no such payment"},
		{"the destination custody without a payment", func(d *deal) {
			d.payee = nil
		}, "the payee's bank has no such payment"},
		{"the destination custody without a relay", func(d *deal) {
			delete(d.machines, roleRelay)
		}, "the clearing bank has no relay machine for it"},
		{"a custody of another amount", func(d *deal) {
			d.custody[terms.Source].Subject.Fields.Amount++
		}, "the custody on de is not what the terms say"},
		{"a custody under another condition", func(d *deal) {
			d.custody[terms.Destination].Subject.Condition[0]++
		}, "the custody on cypherium is not what the terms say"},
		{"a receipt of a custody that was returned", func(d *deal) {
			d.payer.claims = []claim{{terms.Source, ledger.Returned}}
		}, "bank-a's payment knows the custody on de as returned, there it is confirmed"},
		{"a machine that saw a custody that is not there", func(d *deal) {
			d.stand(ledger.Absent, ledger.Absent)
			d.end(payment.StatusRejected, connector.Undone)
			d.machines[roleRelay].claims = []claim{{terms.Source, ledger.Prepared}}
		}, "relay machine knows the custody on de as prepared, there it is absent"},
		{"a custody past its expiry", func(d *deal) {
			d.open()
			d.stand(ledger.Prepared, ledger.Absent)
			d.late[terms.Source] = true
		}, "the custody on de has outlived its expiry"},
		{"open long after both custodies were over", func(d *deal) {
			d.open()
			d.late = [2]bool{true, true}
		}, "the payer's bank has it open, both custodies are over"},
		{"open at the payee long after its custody was over", func(d *deal) {
			d.open()
			d.late = [2]bool{false, true}
		}, "the payee's bank has it open, its custody is over"},
		{"open at the clearing bank long after both custodies were over", func(d *deal) {
			d.machines[roleRelay].over = false
			d.late = [2]bool{true, true}
		}, "the clearing bank has it open, both custodies are over"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := settledDeal(t)
			tt.change(d)
			d.judge()
			all := strings.Join(d.found, "\n")
			if tt.found == "" && all != "" || !strings.Contains(all, tt.found) {
				t.Errorf("found %q", all)
			}
		})
	}
}

func TestDifferencesAreToldUnderWhatTheyAreAbout(t *testing.T) {
	d := settledDeal(t)
	d.stand(ledger.Returned, ledger.Confirmed)
	var out strings.Builder
	a := &audit{differences: []difference{{"payment x", d.stands(), "one"}, {"payment x", d.stands(), "two"}}}
	if err := a.print(&out); err != nil {
		t.Fatal(err)
	}
	const want = `Differences: 2
payment x
    stores: bank-a SETTLED, bank-b SETTLED, payer settled, relay settled, payee settled, ` +
		`11.00 EUR@de returned, 20.00 CNY@cypherium confirmed
  - one
  - two
`
	if !strings.HasSuffix(out.String(), want) {
		t.Error(out.String())
	}
}

func TestExpiryIsByTheLedgersOwnTime(t *testing.T) {
	n := chaintest.New(t, nil)
	patience := 9 * time.Second
	for _, tt := range []struct {
		name          string
		since         time.Duration // the expiries
		expired, late bool
	}{
		{"before the expiry", -time.Millisecond, false, false},
		{"at the expiry", 0, true, false},
		{"when not everybody need have heard of it", patience - time.Millisecond, true, false},
		{"when everybody must have heard of it", patience, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := settledDeal(t)
			on := n.Genesis.Chain()
			d.terms.Legs[0].Asset.Ledger, d.terms.Legs[1].Asset.Ledger = on, on
			d.terms.Legs[1].Expiry = d.terms.Legs[0].Expiry
			d.payer.terms, d.payer.status = d.terms, payment.StatusExpired
			d.machines[rolePayer].terms, d.machines[rolePayer].outcome = d.terms, connector.Undone
			d.payee.terms, d.payee.status, d.payee.over = d.terms, payment.StatusNegotiating, false
			a := &audit{
				genesis: n.Genesis, patience: patience, records: []*record{d.payer, d.payee},
				machines: []*machine{d.machines[rolePayer]},
				ledger: map[cypherlink.LedgerID]*accounts{on: {
					id: on, timeMS: time.Unix(d.terms.Legs[0].Expiry, 0).Add(tt.since).UnixMilli(),
				}},
			}
			a.comparePayments()
			var all strings.Builder
			for _, d := range a.differences {
				all.WriteString(d.what)
			}
			if early := strings.Contains(all.String(), "may still be made"); early == tt.expired {
				t.Errorf("expired: %v; found %q", tt.expired, all.String())
			}
			if late := strings.Contains(all.String(), "has it open"); late != tt.late {
				t.Errorf("late: %v; found %q", tt.late, all.String())
			}
		})
	}
}
