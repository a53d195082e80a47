package laneledger

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

// ErrEvidence means that evidence is malformed, or does not hold.
var ErrEvidence = errors.New("laneledger: the evidence does not hold")

const (
	toldDomain   wire.Domain = "cypherlink/lane-told/v1"
	eventsDomain wire.Domain = "cypherlink/lane-events/v1"
	absentDomain wire.Domain = "cypherlink/lane-absent/v1"
)

// MaxEvidence bounds the bytes of evidence: a custody with its packet, and a lane's window of updates.
const MaxEvidence = 1 << 20

// told is a receipt in the words of the bank at whose end it was told, under its signature, with what the
// lane proves of it.
type told struct {
	network cypherlink.NetworkID
	bank    cypherlink.ParticipantID
	// receipt has no Evidence: this is it.
	receipt ledger.Receipt
	proof   *payment.LockProof
	// signature is over everything but the proof, which proves itself.
	signature [64]byte
}

// frame is what the bank signs. Its scope is the bank's lanes and its sequence the event's, so two
// different ones of one event are proof against the bank.
func (e *told) frame() cosi.Frame {
	w := wire.NewWriter(512)
	e.appendContent(w)
	scope := eventsDomain
	if e.receipt.Custody.State == ledger.Absent {
		scope = absentDomain
	}
	return cosi.Frame{
		Type: cosi.Record, Network: e.network,
		Scope:    wire.Sum(scope, append([]byte(e.receipt.Ledger), e.bank[:]...)),
		Sequence: e.receipt.Sequence, Payload: wire.Sum(toldDomain, w.Bytes()),
	}
}

func (e *told) appendContent(w *wire.Writer) {
	w.Fixed(e.network[:])
	w.Fixed(e.bank[:])
	w.Str(string(e.receipt.Ledger))
	w.U64(e.receipt.Sequence)
	w.I64(e.receipt.TimeMS)
	e.receipt.Custody.AppendWire(w)
}

func (e *told) encode() []byte {
	w := wire.NewWriter(2048)
	e.appendContent(w)
	w.Fixed(e.signature[:])
	w.Bool(e.proof != nil)
	if e.proof != nil {
		e.proof.AppendWire(w)
	}
	return w.Bytes()
}

func decodeTold(b []byte) (*told, error) {
	if len(b) > MaxEvidence {
		return nil, fmt.Errorf("%d bytes, at most %d: %w", len(b), MaxEvidence, ErrEvidence)
	}
	r := wire.NewReader(b)
	var e told
	r.Fixed(e.network[:])
	r.Fixed(e.bank[:])
	e.receipt.Ledger = cypherlink.LedgerID(r.Str(cypherlink.MaxLedgerID))
	e.receipt.Sequence = r.U64()
	e.receipt.TimeMS = r.I64()
	e.receipt.Custody = ledger.ReadCustody(r)
	r.Fixed(e.signature[:])
	if r.Bool() {
		e.proof = payment.ReadLockProof(r)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return &e, nil
}

// receipt is that of an event, under the own bank's signature.
func (l *Ledger) receipt(r *payment.LockRecord) (ledger.Receipt, error) {
	e := told{proof: r.Last.Proof}
	e.receipt.Custody, e.receipt.Sequence, e.receipt.TimeMS = custodyOf(r), r.Last.Sequence, r.Last.TimeMS
	return l.sign(&e)
}

// absent is the receipt of a custody that there is not, after so many events.
func (l *Ledger) absent(id ledger.CustodyID, count uint64, nowMS int64) (ledger.Receipt, error) {
	var e told
	e.receipt.Custody.ID, e.receipt.Sequence, e.receipt.TimeMS = id, count, nowMS
	return l.sign(&e)
}

func (l *Ledger) sign(e *told) (ledger.Receipt, error) {
	e.network, e.bank, e.receipt.Ledger = l.Genesis.Network(), l.Locks.Bank(), l.Genesis.Chain()
	var err error
	if e.signature, err = l.Identity.Sign(e.frame()); err != nil {
		return ledger.Receipt{}, err
	}
	e.receipt.Evidence = e.encode()
	return e.receipt, nil
}

// Verifier checks the evidence of receipts, for whoever knows who may speak.
type Verifier struct {
	Network cypherlink.NetworkID
	// Ledger is that of the channels' assets.
	Ledger cypherlink.LedgerID
	// Roll finds the banks' and Validators' keys, and what each asset asks for.
	Roll chain.Roll
}

// Findings are what evidence shows beside the receipt.
type Findings struct {
	Receipt ledger.Receipt
	// Bank is the one whose word it is.
	Bank cypherlink.ParticipantID
	// Proved is what the lane's certificate proves: the Lock, or the Settle or Unlock that ended it. It is
	// nil where the bank's word stands alone: an absence, and what the chain alone has told the bank.
	Proved channels.Operation
}

// Verify says what the evidence shows, or ErrEvidence. The receipt is the word of one of the leg's two banks
// and hangs together; with a proof, both banks and the asset's Validators have signed the operation.
func (v *Verifier) Verify(evidence []byte) (*Findings, error) {
	e, err := decodeTold(evidence)
	if err != nil {
		return nil, err
	}
	key, status := v.Roll.Signer(e.bank)
	switch {
	case e.network != v.Network || e.receipt.Ledger != v.Ledger:
		return nil, fmt.Errorf("ledger %s of network %s: %w", e.receipt.Ledger, e.network, ErrEvidence)
	case status == ledger.Unknown:
		return nil, fmt.Errorf("bank %s is not registered: %w", e.bank, ErrEvidence)
	}
	if err := cosi.VerifyEd25519(key, e.frame(), e.signature); err != nil {
		return nil, fmt.Errorf("event %d of %s: %w: %w", e.receipt.Sequence, e.bank, ErrEvidence, err)
	}
	f := &Findings{Receipt: e.receipt, Bank: e.bank}
	f.Receipt.Evidence = evidence
	if e.receipt.Custody.State == ledger.Absent {
		if e.proof != nil {
			return nil, fmt.Errorf("a proof of an absence: %w", ErrEvidence)
		}
		return f, nil
	}
	if err := e.possible(); err != nil {
		return nil, fmt.Errorf("custody %s: %w", e.receipt.Custody.ID, err)
	}
	if e.proof != nil {
		f.Proved = e.proof.Operation
		return f, v.proves(e)
	}
	return f, nil
}

// possible reports what no bank that keeps the rules tells.
func (e *told) possible() error {
	c := &e.receipt.Custody
	leg := c.Leg()
	switch {
	case e.receipt.Sequence == 0:
		return fmt.Errorf("sequence 0: %w", ErrEvidence)
	case c.ID != ledger.NewCustodyID(e.network, c.Subject.Terms, c.Subject.Leg):
		return fmt.Errorf("the id is not that of its terms and leg: %w", ErrEvidence)
	case leg.Asset.Ledger != e.receipt.Ledger:
		return fmt.Errorf("in %s: %w", leg.Asset, ErrEvidence)
	case e.bank != leg.Debit.Owner && e.bank != leg.Credit.Owner:
		return fmt.Errorf("told by %s: %w", e.bank, ErrEvidence)
	case c.State == ledger.Confirmed && !c.Subject.Condition.FulfilledBy(c.Preimage):
		return fmt.Errorf("confirmed with a wrong preimage: %w", ErrEvidence)
	}
	return nil
}

// proves checks that the proof is of this custody's lock, and that its lane is the payer's.
func (v *Verifier) proves(e *told) error {
	c := &e.receipt.Custody
	lock, ok := payment.LockOf(e.network, &c.Subject)
	fits := false
	switch op := e.proof.Operation.(type) {
	case channels.Lock:
		fits = op == lock
	case channels.Settle:
		fits = c.State == ledger.Confirmed && op == channels.Settle{Lock: lock.ID, Preimage: c.Preimage}
	case channels.Unlock:
		fits = c.State == ledger.Returned && op.Lock == lock.ID
	case channels.Pay:
	}
	if !ok || !fits {
		return fmt.Errorf("the proof is of %T: %w", e.proof.Operation, ErrEvidence)
	}
	leg := c.Leg()
	banks := channels.InOrder([2]cypherlink.ParticipantID{leg.Debit.Owner, leg.Credit.Owner})
	if lane := e.proof.Last().Lane; banks[lane] != leg.Debit.Owner {
		return fmt.Errorf("lane %s is not the payer's: %w", lane, ErrEvidence)
	}
	policy, known := v.Roll.Policy(leg.Asset)
	signers := channels.Signers{Threshold: uint8(policy.Threshold)} //nolint:gosec // at most MaxValidators
	if !known {
		return fmt.Errorf("the registry has no %s: %w", leg.Asset, ErrEvidence)
	}
	signers.Payer, _ = v.Roll.Signer(leg.Debit.Owner)
	signers.Payee, _ = v.Roll.Signer(leg.Credit.Owner)
	for _, id := range policy.Validators {
		key, _ := v.Roll.Signer(id)
		signers.Validators = append(signers.Validators, channels.ValidatorKey{ID: id, Key: key})
	}
	if err := e.proof.Verify(e.network, &signers); err != nil {
		return fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return nil
}
