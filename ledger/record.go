package ledger

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
)

var (
	// ErrRecord means that bytes are not a custody or not an operator's record.
	ErrRecord = errors.New("ledger: malformed record")
	// ErrEvidence means that a record is not the operator's word about that ledger.
	ErrEvidence = errors.New("ledger: the evidence does not hold")
)

const (
	recordDomain wire.Domain = "cypherlink/record/v1"
	eventsDomain wire.Domain = "cypherlink/ledger-events/v1"
	absentDomain wire.Domain = "cypherlink/ledger-absent/v1"
)

// MaxRecord bounds the canonical bytes of a record.
const MaxRecord = 36 << 10

// Record is a receipt in the words of a ledger's operator: what stands after its commit, under
// its Ed25519 signature, or that there is no such custody. It proves what the operator said,
// not that it is so.
type Record struct {
	Network cypherlink.NetworkID
	// Receipt has no Evidence: the record is it.
	Receipt   Receipt
	Signature [64]byte
}

// Frame is what the operator signs. Its scope is the ledger's events and its sequence the
// event's, so two different records of one event are proof against the operator. That a
// custody is absent is no event, and has a scope of its own.
func (r *Record) Frame() cosi.Frame {
	w := wire.NewWriter(512)
	r.appendContent(w)
	scope := eventsDomain
	if r.Receipt.Custody.State == Absent {
		scope = absentDomain
	}
	return cosi.Frame{
		Type: cosi.Record, Network: r.Network,
		Scope:    wire.Sum(scope, []byte(r.Receipt.Ledger)),
		Sequence: r.Receipt.Sequence,
		Payload:  wire.Sum(recordDomain, w.Bytes()),
	}
}

// Verify checks the signature with the operator's key.
func (r *Record) Verify(operator [32]byte) error {
	if err := cosi.VerifyEd25519(operator, r.Frame(), r.Signature); err != nil {
		return fmt.Errorf("record %d of ledger %s: %w", r.Receipt.Sequence, r.Receipt.Ledger, err)
	}
	return nil
}

func (r *Record) appendContent(w *wire.Writer) {
	w.Fixed(r.Network[:])
	w.Str(string(r.Receipt.Ledger))
	w.U64(r.Receipt.Sequence)
	w.I64(r.Receipt.TimeMS)
	r.Receipt.Custody.AppendWire(w)
}

// Encode is the canonical form, at most MaxRecord bytes for a record that Decode accepts.
func (r *Record) Encode() []byte {
	w := wire.NewWriter(512)
	r.appendContent(w)
	w.Fixed(r.Signature[:])
	return w.Bytes()
}

// DecodeRecord takes exactly the form of Encode; otherwise ErrRecord. It checks the form, not
// the signature. The result shares memory with b.
func DecodeRecord(b []byte) (*Record, error) {
	if len(b) > MaxRecord {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxRecord, ErrRecord)
	}
	r := wire.NewReader(b)
	var record Record
	r.Fixed(record.Network[:])
	record.Receipt.Ledger = readLedger(r)
	record.Receipt.Sequence = r.U64()
	record.Receipt.TimeMS = r.I64()
	record.Receipt.Custody = ReadCustody(r)
	r.Fixed(record.Signature[:])
	if record.Receipt.Sequence == 0 && record.Receipt.Custody.State != Absent {
		r.Fail(fmt.Errorf("sequence 0: %w", ErrRecord))
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return &record, nil
}

// Operator is who answers for a ledger's records: the network and ledger that they are about,
// and the operator's key.
type Operator struct {
	Network cypherlink.NetworkID
	Ledger  cypherlink.LedgerID
	Key     [32]byte
}

// Receipt is what the evidence says, if it is a record of this operator about this ledger and
// holds together; otherwise ErrRecord or ErrEvidence. The receipt's Evidence is the argument.
func (o *Operator) Receipt(evidence []byte) (Receipt, error) {
	record, err := DecodeRecord(evidence)
	if err != nil {
		return Receipt{}, err
	}
	if record.Network != o.Network || record.Receipt.Ledger != o.Ledger {
		return Receipt{}, fmt.Errorf("ledger %s of network %s: %w",
			record.Receipt.Ledger, record.Network, ErrEvidence)
	}
	if err := record.possible(); err != nil {
		return Receipt{}, fmt.Errorf("custody %s: %w", record.Receipt.Custody.ID, err)
	}
	if err := record.Verify(o.Key); err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	receipt := record.Receipt
	receipt.Evidence = evidence
	return receipt, nil
}

// possible reports ErrEvidence of a record that no ledger which keeps the rules can make.
func (r *Record) possible() error {
	c := &r.Receipt.Custody
	if c.State == Absent {
		return nil
	}
	switch {
	case c.ID != NewCustodyID(r.Network, c.Subject.Terms, c.Subject.Leg):
		return fmt.Errorf("the id is not that of its terms and leg: %w", ErrEvidence)
	case c.Leg().Asset.Ledger != r.Receipt.Ledger:
		return fmt.Errorf("in %s: %w", c.Leg().Asset, ErrEvidence)
	case c.State == Confirmed && c.Expired(r.Receipt.TimeMS):
		return fmt.Errorf("confirmed after its expiry: %w", ErrEvidence)
	case c.State == Confirmed && !c.Subject.Condition.FulfilledBy(c.Preimage):
		return fmt.Errorf("confirmed with a wrong preimage: %w", ErrEvidence)
	}
	return nil
}
