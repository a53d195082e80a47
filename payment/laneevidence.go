package payment

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
)

// ErrLaneEvidence means that a bank's word about a lock is malformed, or does not hold.
var ErrLaneEvidence = errors.New("payment: the evidence of a lock does not hold")

const (
	toldDomain   wire.Domain = "cypherlink/lane-told/v1"
	eventsDomain wire.Domain = "cypherlink/lane-events/v1"
	absentDomain wire.Domain = "cypherlink/lane-absent/v1"
)

// MaxLaneEvidence bounds the bytes of a LaneReceipt: a custody with its packet, and a lane's window of
// updates.
const MaxLaneEvidence = 1 << 20

// LaneReceipt is a receipt of a lock in the words of the bank at whose end it was told, under its signature,
// with what the lane proves of it.
type LaneReceipt struct {
	Network cypherlink.NetworkID
	Bank    cypherlink.ParticipantID
	// Receipt has no Evidence: this is it.
	Receipt ledger.Receipt
	Proof   *LockProof
	// Signature is over everything but the proof, which proves itself.
	Signature [64]byte
}

// Frame is what the bank signs. Its scope is the bank's lanes and its sequence the event's, so two
// different ones of one event are proof against the bank.
func (e *LaneReceipt) Frame() cosi.Frame {
	w := wire.NewWriter(512)
	e.appendContent(w)
	scope := eventsDomain
	if e.Receipt.Custody.State == ledger.Absent {
		scope = absentDomain
	}
	return cosi.Frame{
		Type: cosi.Record, Network: e.Network,
		Scope:    wire.Sum(scope, append([]byte(e.Receipt.Ledger), e.Bank[:]...)),
		Sequence: e.Receipt.Sequence, Payload: wire.Sum(toldDomain, w.Bytes()),
	}
}

func (e *LaneReceipt) appendContent(w *wire.Writer) {
	w.Fixed(e.Network[:])
	w.Fixed(e.Bank[:])
	w.Str(string(e.Receipt.Ledger))
	w.U64(e.Receipt.Sequence)
	w.I64(e.Receipt.TimeMS)
	e.Receipt.Custody.AppendWire(w)
}

// Encode is the canonical form.
func (e *LaneReceipt) Encode() []byte {
	w := wire.NewWriter(2048)
	e.appendContent(w)
	w.Fixed(e.Signature[:])
	w.Bool(e.Proof != nil)
	if e.Proof != nil {
		e.Proof.AppendWire(w)
	}
	return w.Bytes()
}

// DecodeLaneReceipt takes exactly the form of Encode; otherwise ErrLaneEvidence. It checks the form, not the
// signatures.
func DecodeLaneReceipt(b []byte) (*LaneReceipt, error) {
	if len(b) > MaxLaneEvidence {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxLaneEvidence, ErrLaneEvidence)
	}
	r := wire.NewReader(b)
	var e LaneReceipt
	r.Fixed(e.Network[:])
	r.Fixed(e.Bank[:])
	e.Receipt.Ledger = cypherlink.LedgerID(r.Str(cypherlink.MaxLedgerID))
	e.Receipt.Sequence = r.U64()
	e.Receipt.TimeMS = r.I64()
	e.Receipt.Custody = ledger.ReadCustody(r)
	r.Fixed(e.Signature[:])
	if r.Bool() {
		e.Proof = ReadLockProof(r)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLaneEvidence, err)
	}
	return &e, nil
}

// LaneVerifier checks the evidence of receipts, for whoever knows who may speak.
type LaneVerifier struct {
	Network cypherlink.NetworkID
	// Ledger is that of the channels' assets.
	Ledger cypherlink.LedgerID
	// Roll finds the banks' and Validators' keys, and what each asset asks for.
	Roll chain.Roll
}

// LaneFindings are what evidence shows beside the receipt.
type LaneFindings struct {
	Receipt ledger.Receipt
	// Bank is the one whose word it is.
	Bank cypherlink.ParticipantID
	// Proved is what the lane's certificate proves: the Lock, or the Settle or Unlock that ended it. It is
	// nil where the bank's word stands alone: an absence, and what the chain alone has told the bank.
	Proved channels.Operation
}

// Verify says what the evidence shows, or ErrLaneEvidence. The receipt is the word of one of the leg's two
// banks and hangs together; with a proof, both banks and the asset's Validators have signed the operation.
func (v *LaneVerifier) Verify(evidence []byte) (*LaneFindings, error) {
	e, err := DecodeLaneReceipt(evidence)
	if err != nil {
		return nil, err
	}
	key, status := v.Roll.Signer(e.Bank)
	switch {
	case e.Network != v.Network || e.Receipt.Ledger != v.Ledger:
		return nil, fmt.Errorf("ledger %s of network %s: %w", e.Receipt.Ledger, e.Network, ErrLaneEvidence)
	case status == ledger.Unknown:
		return nil, fmt.Errorf("bank %s is not registered: %w", e.Bank, ErrLaneEvidence)
	}
	if err := cosi.VerifyEd25519(key, e.Frame(), e.Signature); err != nil {
		return nil, fmt.Errorf("event %d of %s: %w: %w", e.Receipt.Sequence, e.Bank, ErrLaneEvidence, err)
	}
	f := &LaneFindings{Receipt: e.Receipt, Bank: e.Bank}
	f.Receipt.Evidence = evidence
	if e.Receipt.Custody.State == ledger.Absent {
		if e.Proof != nil {
			return nil, fmt.Errorf("a proof of an absence: %w", ErrLaneEvidence)
		}
		return f, nil
	}
	if err := e.possible(); err != nil {
		return nil, fmt.Errorf("custody %s: %w", e.Receipt.Custody.ID, err)
	}
	if e.Proof != nil {
		f.Proved = e.Proof.Operation
		return f, v.proves(e)
	}
	return f, nil
}

// possible reports what no bank that keeps the rules tells.
func (e *LaneReceipt) possible() error {
	c := &e.Receipt.Custody
	leg := c.Leg()
	switch {
	case e.Receipt.Sequence == 0:
		return fmt.Errorf("sequence 0: %w", ErrLaneEvidence)
	case c.ID != ledger.NewCustodyID(e.Network, c.Subject.Terms, c.Subject.Leg):
		return fmt.Errorf("the id is not that of its terms and leg: %w", ErrLaneEvidence)
	case leg.Asset.Ledger != e.Receipt.Ledger:
		return fmt.Errorf("in %s: %w", leg.Asset, ErrLaneEvidence)
	case e.Bank != leg.Debit.Owner && e.Bank != leg.Credit.Owner:
		return fmt.Errorf("told by %s: %w", e.Bank, ErrLaneEvidence)
	case c.State == ledger.Confirmed && !c.Subject.Condition.FulfilledBy(c.Preimage):
		return fmt.Errorf("confirmed with a wrong preimage: %w", ErrLaneEvidence)
	}
	return nil
}

// proves checks that the proof is of this custody's lock, and that its lane is the payer's.
func (v *LaneVerifier) proves(e *LaneReceipt) error {
	c := &e.Receipt.Custody
	lock, ok := LockOf(e.Network, &c.Subject)
	fits := false
	switch op := e.Proof.Operation.(type) {
	case channels.Lock:
		fits = op == lock
	case channels.Settle:
		fits = c.State == ledger.Confirmed && op == channels.Settle{Lock: lock.ID, Preimage: c.Preimage}
	case channels.Unlock:
		fits = c.State == ledger.Returned && op.Lock == lock.ID
	case channels.Pay:
	}
	if !ok || !fits {
		return fmt.Errorf("the proof is of %T: %w", e.Proof.Operation, ErrLaneEvidence)
	}
	leg := c.Leg()
	banks := channels.InOrder([2]cypherlink.ParticipantID{leg.Debit.Owner, leg.Credit.Owner})
	if lane := e.Proof.Last().Lane; banks[lane] != leg.Debit.Owner {
		return fmt.Errorf("lane %s is not the payer's: %w", lane, ErrLaneEvidence)
	}
	policy, known := v.Roll.Policy(leg.Asset)
	signers := channels.Signers{Threshold: uint8(policy.Threshold)} //nolint:gosec // at most MaxValidators
	if !known {
		return fmt.Errorf("the registry has no %s: %w", leg.Asset, ErrLaneEvidence)
	}
	signers.Payer, _ = v.Roll.Signer(leg.Debit.Owner)
	signers.Payee, _ = v.Roll.Signer(leg.Credit.Owner)
	for _, id := range policy.Validators {
		key, _ := v.Roll.Signer(id)
		signers.Validators = append(signers.Validators, channels.ValidatorKey{ID: id, Key: key})
	}
	if err := e.Proof.Verify(e.Network, &signers); err != nil {
		return fmt.Errorf("%w: %w", ErrLaneEvidence, err)
	}
	return nil
}
