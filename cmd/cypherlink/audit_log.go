package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
	"github.com/cypherlink/cypherlink/terms"
)

// The roles of package connector's machines. The log of a machine is the stream ROLE/TERMS, that
// of a payment payment/UETR.
const (
	rolePayer = "payer"
	roleRelay = "relay"
	rolePayee = "payee"

	paymentRole = "payment"
)

// claim is where a log says that the custody of a leg stood, finally.
type claim struct {
	leg   uint8
	state ledger.State
}

// record is a payment as one bank's log tells it.
type record struct {
	bank      string
	uetr      string
	direction payment.Direction
	status    payment.Status
	over      bool
	terms     *terms.Terms // nil until they are drawn up
	claims    []claim
	// refused: the bank's own books have booked what is to be returned.
	refused bool
}

// machine is one machine of package connector, for one payment, as its log tells it.
type machine struct {
	owner, role string
	outcome     connector.Outcome
	over        bool
	terms       *terms.Terms
	claims      []claim
}

// readInstitution reads the logs of a bank or of the clearing bank.
func (a *audit) readInstitution(
	ctx context.Context, folder string, c *institutionConfig,
	more func(ctx context.Context, db *store.Store, folder string) error,
) error {
	a.patience = max(a.patience, c.Margins.patience())
	db, err := a.openCopy(ctx, folder, c.Store, c.Node.Data)
	if err != nil {
		return err
	}
	if err := more(ctx, db, folder); err != nil {
		a.differs(folder, "%v", err)
	}
	return db.View(ctx, func(r *store.Reader) error {
		if err := errors.Join(a.readRecords(r, folder), a.readGatewayPassages(r, folder)); err != nil {
			return err
		}
		if err := a.readLogs(r, folder, paymentRole, "open_payments"); err != nil {
			return err
		}
		for _, role := range []string{rolePayer, roleRelay, rolePayee, connector.RampRole} {
			if err := a.readLogs(r, folder, role, "open_machines"); err != nil {
				return err
			}
		}
		return nil
	})
}

// patience is how long an institution may need to hear of an event, a restart included.
func (c marginConfig) patience() time.Duration {
	var slowest time.Duration
	for _, t := range c.Measured {
		slowest = max(slowest, time.Duration(t.Inclusion+t.Answer+t.Skew))
	}
	return time.Duration(c.Restart+c.Resend) + slowest
}

// readLogs reads all logs of one role, and holds them against the list of those that are open.
func (a *audit) readLogs(r *store.Reader, folder, role, list string) error {
	prefix := role + "/"
	open, err := readNames(r, "stream FROM "+list, prefix)
	if err != nil {
		return err
	}
	streams, err := readNames(r, "DISTINCT stream FROM events", prefix)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, stream := range open {
		listed[stream] = true
	}
	for _, stream := range streams {
		over, err := a.readLog(r, folder, role, stream)
		switch {
		case err != nil:
			a.differs(folder, "%s: %v", stream, err)
		case over && listed[stream]:
			a.differs(folder, "%s: by its log it is over, but it is listed as open", stream)
		case !over && !listed[stream]:
			a.differs(folder, "%s: by its log it is open, but it is not listed: the log has lost its end",
				stream)
		}
		delete(listed, stream)
	}
	for _, stream := range open {
		if listed[stream] {
			a.differs(folder, "%s: it is listed as open and has no log", stream)
		}
	}
	return nil
}

// readNames lists the streams below a prefix that a table has, in the order of their bytes.
func readNames(r *store.Reader, what, prefix string) ([]string, error) {
	var names []string
	for row := range r.Query("SELECT "+what+" WHERE stream >= $1 AND stream < $2 ORDER BY stream",
		prefix, prefix+"\x7f") {
		var name string
		if err := row.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// errLog means that a log is not whole.
var errLog = errors.New("the log is not whole")

// readLog reads one log and tells whether it is over.
func (a *audit) readLog(r *store.Reader, folder, role, stream string) (over bool, err error) {
	events, err := r.Load(stream, 0)
	if err != nil {
		return false, err
	}
	for i, e := range events {
		if e.Sequence != int64(i)+1 {
			return false, fmt.Errorf("event %d is missing: %w", i+1, errLog)
		}
	}
	_, name, _ := strings.Cut(stream, "/")
	if role == connector.RampRole {
		return a.foldCarried(folder, name, events)
	}
	if role == paymentRole {
		p, err := a.foldPayment(events)
		if err != nil {
			return false, err
		}
		p.bank, p.uetr = folder, name
		a.records = append(a.records, p)
		return p.over, nil
	}
	m, err := foldMachine(role, events)
	if err != nil {
		return false, err
	}
	if m.terms.Hash().String() != name {
		return false, fmt.Errorf("it is of terms %s: %w", m.terms.Hash(), errLog)
	}
	m.owner = folder
	a.machines = append(a.machines, m)
	return m.over, nil
}

// foldPayment is a bank's log of a payment.
func (a *audit) foldPayment(events []store.Event) (*record, error) {
	log := make([]payment.Event, len(events))
	r := &record{direction: payment.Out}
	for i, e := range events {
		var err error
		if log[i], err = payment.DecodeEvent(e.Body, a.genesis); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		switch f := log[i].Fact.(type) {
		case payment.Announced:
			r.direction = payment.In
		case payment.Drafted:
			r.terms = f.Terms
		case payment.Promised:
			r.terms = f.Terms
		case payment.Agreed:
			if r.terms == nil || f.Proof.Terms.Hash() != r.terms.Hash() {
				return nil, fmt.Errorf("event %d: a proof of other terms: %w", i+1, errLog)
			}
		case payment.Booked:
			r.refused = r.refused || f.Entry == payment.EnteredRefuse
		case payment.Witnessed:
			r.claims = append(r.claims, claim{legOn(r.terms, f.Receipt.Ledger), f.Receipt.Custody.State})
		default:
		}
	}
	bank := &payment.Bank{Genesis: a.genesis} // all that a fold needs
	if r.direction == payment.In {
		m, err := payment.NewIncoming(bank, log)
		if err != nil {
			return nil, err
		}
		r.status, r.over = m.Status(), m.Over()
		return r, nil
	}
	m, err := payment.NewOutgoing(bank, nil, log)
	if err != nil {
		return nil, err
	}
	r.status, r.over = m.Status(), m.Over()
	return r, nil
}

// legOn is the leg of the terms on a ledger.
func legOn(t *terms.Terms, id cypherlink.LedgerID) uint8 {
	if t != nil && t.Legs[terms.Source].Asset.Ledger == id {
		return terms.Source
	}
	return terms.Destination
}

// foldMachine is the log of a machine of package connector.
func foldMachine(role string, events []store.Event) (*machine, error) {
	log := make([]connector.Event, len(events))
	m := &machine{role: role}
	for i, e := range events {
		var err error
		if log[i], err = connector.DecodeEvent(e.Body); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		switch e := log[i].(type) {
		case connector.Begun:
			m.terms = e.Terms
		case connector.Seen:
			m.claims = append(m.claims, claim{e.Leg, e.State})
		case connector.Decided, connector.Refused:
		}
	}
	restored, err := restore(role, log)
	if err != nil {
		return nil, err
	}
	m.outcome, m.over = restored.Outcome(), restored.Over()
	return m, nil
}

// restore folds a log. What a machine will do next rests on margins and secrets; where it stands
// does not.
func restore(role string, log []connector.Event) (connector.Machine, error) {
	switch role {
	case rolePayer:
		return connector.NewPayer(connector.Margins{}, log)
	case roleRelay:
		return connector.NewRelay(connector.Margins{}, log)
	default:
		return connector.NewPayee(connector.Margins{}, "", [32]byte{}, log)
	}
}
