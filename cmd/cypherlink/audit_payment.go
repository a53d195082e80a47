package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/terms"
)

// deal is one payment across two ledgers: the terms, what the parties' logs say, and where its
// custodies stand.
type deal struct {
	terms        *terms.Terms
	payer, payee *record
	machines     map[string]*machine // by role
	custody      [2]ledger.Custody
	// late says, for each leg, that its ledger's own time is past its expiry, and so long that
	// everybody must have heard of its end; expired without that.
	late, expired [2]bool
	found         []string
}

func (d *deal) differs(format string, args ...any) {
	d.found = append(d.found, fmt.Sprintf(format, args...))
}

// comparePayments holds every payment that has terms against both ledgers.
func (a *audit) comparePayments() {
	for _, l := range a.genesis.File().Ledgers {
		if a.ledger[l.ID] == nil {
			return // no payment can be judged by one ledger alone
		}
	}
	known := map[ledger.CustodyID]bool{}
	for _, d := range a.deals() {
		for i, leg := range d.terms.Legs {
			books := a.ledger[leg.Asset.Ledger]
			id := ledger.NewCustodyID(a.genesis.Network(), d.terms.Hash(), uint8(i))
			known[id] = true
			if d.custody[i] = books.custodies[id]; ledger.InChannel(&leg) {
				d.custody[i] = a.lanes.lockFor(a.genesis.Network(), d.terms, uint8(i))
			}
			end := time.Unix(leg.Expiry, 0)
			d.expired[i] = books.timeMS >= end.UnixMilli()
			d.late[i] = books.timeMS >= end.Add(a.patience).UnixMilli()
		}
		d.judge()
		for _, what := range d.found {
			a.differences = append(a.differences, difference{
				about: "payment " + d.terms.UETR.String(), stands: d.stands(), what: what,
			})
		}
	}
	for _, l := range a.genesis.File().Ledgers {
		a.unknownCustodies(a.ledger[l.ID], known)
	}
	a.unknownLocks(known)
}

// deals joins the logs of all parties by their terms, in the order of UETRs.
func (a *audit) deals() []*deal {
	by := map[cypherlink.Hash]*deal{}
	find := func(t *terms.Terms) *deal {
		hash := t.Hash()
		if by[hash] == nil {
			by[hash] = &deal{terms: t, machines: map[string]*machine{}}
		}
		return by[hash]
	}
	for _, r := range a.records {
		switch {
		case r.terms == nil || len(r.terms.Legs) != 2:
		case r.direction == payment.Out:
			find(r.terms).payer = r
		default:
			find(r.terms).payee = r
		}
	}
	for _, m := range a.machines {
		find(m.terms).machines[m.role] = m
	}
	all := make([]*deal, 0, len(by))
	for _, d := range by {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *deal) int {
		return cmp.Or(cmp.Compare(a.terms.UETR.String(), b.terms.UETR.String()),
			cmp.Compare(a.terms.Hash().String(), b.terms.Hash().String()))
	})
	return all
}

// unknownCustodies are those of a ledger that no payment knows.
func (a *audit) unknownCustodies(b *accounts, known map[ledger.CustodyID]bool) {
	var lines []string
	for id, c := range b.custodies {
		if !known[id] {
			leg := c.Leg()
			lines = append(lines, fmt.Sprintf("no payment knows custody %s of %s from %s to %s, which is %s",
				id, money(leg), a.name(leg.Debit), a.name(leg.Credit), c.State))
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		a.differs(string(b.id), "%s", line)
	}
}

// money is what a leg moves, such as "1001.00 EUR@de".
func money(l terms.Leg) string { return l.Amount.Format(l.Asset.Scale) + " " + l.Asset.String() }

// stands is what the stores say of the payment.
func (d *deal) stands() string {
	var parts []string
	for _, r := range []*record{d.payer, d.payee} {
		if r != nil {
			parts = append(parts, r.bank+" "+string(r.status))
		}
	}
	for _, role := range []string{rolePayer, roleRelay, rolePayee} {
		if m := d.machines[role]; m != nil {
			parts = append(parts, role+" "+m.outcome.String())
		}
	}
	for i, leg := range d.terms.Legs {
		parts = append(parts, money(leg)+" "+d.custody[i].State.String())
	}
	return strings.Join(parts, ", ")
}

// judge finds what does not fit.
func (d *deal) judge() {
	d.judgeLedgers()
	d.judgeKnowledge()
	if d.payer != nil {
		d.judgePayer()
	}
	if d.payee != nil {
		d.judgePayee()
	}
	d.judgeOpen()
}

// judgeLedgers compares the two custodies with the terms and with each other.
func (d *deal) judgeLedgers() {
	source, destination := d.custody[terms.Source].State, d.custody[terms.Destination].State
	for i, leg := range d.terms.Legs {
		c := &d.custody[i]
		s := c.Subject
		switch {
		case c.State == ledger.Absent:
			continue
		case s.Terms != d.terms.Hash() || s.Fields != leg || s.Condition != d.terms.Condition:
			d.differs("the custody on %s is not what the terms say", leg.Asset.Ledger)
		case c.State == ledger.Prepared && d.late[i]:
			d.differs("the custody on %s has outlived its expiry by that ledger's own time", leg.Asset.Ledger)
		}
	}
	switch {
	case source == ledger.Confirmed && destination != ledger.Confirmed:
		d.differs("the source is confirmed and the destination is not: the payer's loss")
	case destination == ledger.Confirmed && (source == ledger.Returned || source == ledger.Absent):
		d.differs("the destination is confirmed and the source is %s: the connector's loss of %s",
			source, money(d.terms.Legs[terms.Destination]))
	}
}

// judgeKnowledge compares the custodies with who must know of them, since nobody prepares before
// his log says so, and with what the logs say of them.
func (d *deal) judgeKnowledge() {
	for _, must := range []struct {
		leg  int
		who  string
		have bool
	}{
		{terms.Source, "the payer's bank has no such payment", d.payer != nil},
		{terms.Source, "the payer's bank has no payer machine for it", d.machines[rolePayer] != nil},
		{terms.Destination, "the clearing bank has no relay machine for it", d.machines[roleRelay] != nil},
		{terms.Destination, "the payee's bank has no such payment", d.payee != nil},
		{terms.Destination, "the payee's bank has no payee machine for it", d.machines[rolePayee] != nil},
	} {
		if !must.have && d.custody[must.leg].State != ledger.Absent {
			d.differs("a custody is %s on %s, but %s",
				d.custody[must.leg].State, d.terms.Legs[must.leg].Asset.Ledger, must.who)
		}
	}
	for _, r := range []*record{d.payer, d.payee} {
		if r != nil {
			d.judgeClaims(r.bank+"'s payment", r.claims)
		}
	}
	for _, role := range []string{rolePayer, roleRelay, rolePayee} {
		if m := d.machines[role]; m != nil {
			d.judgeClaims(m.owner+"'s "+role+" machine", m.claims)
		}
	}
}

// judgeClaims compares what a log says of custodies with where they stand. A custody only ever
// leaves the state prepared.
func (d *deal) judgeClaims(who string, claims []claim) {
	for _, c := range claims {
		has := d.custody[c.leg].State
		if has != c.state && (c.state != ledger.Prepared || has == ledger.Absent) {
			d.differs("%s knows the custody on %s as %s, there it is %s",
				who, d.terms.Legs[c.leg].Asset.Ledger, c.state, has)
		}
	}
}

// judgePayer compares the payer's bank's payment with both custodies and with its own machine.
func (d *deal) judgePayer() {
	source, destination := d.custody[terms.Source].State, d.custody[terms.Destination].State
	m := d.machines[rolePayer]
	switch d.payer.status {
	case payment.StatusSettled:
		if destination != ledger.Confirmed {
			d.differs("the payer's bank calls it settled, the destination is %s", destination)
		}
		if source == ledger.Prepared {
			d.differs("the payer's bank calls it settled, the source is still in custody")
		}
		d.ended("payer's", m, m == nil || m.outcome != connector.Settled && m.outcome != connector.Loss)
	case payment.StatusRejected, payment.StatusExpired:
		if destination == ledger.Confirmed || destination == ledger.Prepared {
			d.differs("the payer's bank calls it %s, the destination is %s", d.payer.status, destination)
		}
		if source == ledger.Confirmed || source == ledger.Prepared {
			d.differs("the payer's bank calls it %s, the source is %s", d.payer.status, source)
		}
		if m != nil && source == ledger.Absent && !d.expired[terms.Source] {
			d.differs("the payer's bank calls it %s, but the source custody may still be made",
				d.payer.status)
		}
		d.ended("payer's", m, m != nil && m.outcome != connector.Undone)
	case payment.StatusReceived, payment.StatusChecked, payment.StatusNegotiating, payment.StatusAgreed,
		payment.StatusValidating, payment.StatusApproved, payment.StatusReserved, payment.StatusSigned1,
		payment.StatusInDoubt, payment.StatusSigned2, payment.StatusPosted, payment.StatusCompleted,
		payment.StatusAborted, payment.StatusReturnPending, payment.StatusReturned:
	}
}

// judgePayee compares the payee's bank's payment with its own leg and with its own machine.
func (d *deal) judgePayee() {
	destination := d.custody[terms.Destination].State
	m := d.machines[rolePayee]
	switch d.payee.status {
	case payment.StatusSettled:
		if destination != ledger.Confirmed {
			d.differs("the payee's bank calls it settled, the destination is %s", destination)
		}
		d.ended("payee's", m, m == nil || m.outcome != connector.Settled)
	case payment.StatusRejected, payment.StatusExpired:
		if destination == ledger.Confirmed || destination == ledger.Prepared {
			d.differs("the payee's bank calls it %s, the destination is %s", d.payee.status, destination)
		}
		d.ended("payee's", m, m != nil && m.outcome != connector.Undone)
	case payment.StatusReceived, payment.StatusChecked, payment.StatusNegotiating, payment.StatusAgreed,
		payment.StatusValidating, payment.StatusApproved, payment.StatusReserved, payment.StatusSigned1,
		payment.StatusInDoubt, payment.StatusSigned2, payment.StatusPosted, payment.StatusCompleted,
		payment.StatusAborted, payment.StatusReturnPending, payment.StatusReturned:
	}
}

// ended reports a bank's payment that ended otherwise than its machine on the ledgers.
func (d *deal) ended(whose string, m *machine, otherwise bool) {
	if !otherwise {
		return
	}
	stands := "not there"
	if m != nil {
		stands = m.outcome.String()
	}
	d.differs("the %s bank's payment has ended, its machine on the ledgers is %s", whose, stands)
}

// judgeOpen finds logs that are still open though the ledgers have had their last word long ago.
func (d *deal) judgeOpen() {
	var over [2]bool
	for i := range over {
		over[i] = d.late[i] && d.custody[i].State != ledger.Prepared
	}
	both := over[terms.Source] && over[terms.Destination]
	if d.payer != nil && !d.payer.over && both {
		d.differs("the payer's bank has it open, both custodies are over")
	}
	if d.payee != nil && !d.payee.over && over[terms.Destination] {
		d.differs("the payee's bank has it open, its custody is over")
	}
	if m := d.machines[roleRelay]; m != nil && !m.over && both {
		d.differs("the clearing bank has it open, both custodies are over")
	}
}
