package ledger

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
)

const (
	crossingDomain   wire.Domain = "cypherlink/crossing/v1"
	rampDomain       wire.Domain = "cypherlink/ledger-ramp/v1"
	rampRecordDomain wire.Domain = "cypherlink/ramp-record/v1"
)

// MaxEvidence bounds the evidence in an Enter: a finality proof of 120 headers with the path to an
// event fits, and so does a RampRecord, which is shorter.
const MaxEvidence = 40 << 10

// EscrowNumber is the number of the account in which the operator of an external ledger holds what
// has left for the chain. No custody and no crossing names an account of that number.
const EscrowNumber = 1<<32 - 1

// ChannelNumber is the number of the account that stands for all that its owner has in its channels.
// A leg between two accounts of that number moves as a lock in the lane of the first owner to the
// second, and as nothing else: only a ledger of channels takes a custody of such an account, so that
// one verdict never makes a custody on the chain and a lock too.
const ChannelNumber = 1<<32 - 2

// InChannel tells whether a leg is between accounts of ChannelNumber.
func InChannel(leg *terms.Leg) bool {
	return leg.Debit.Number == ChannelNumber && leg.Credit.Number == ChannelNumber
}

// Escrow is the operator's account of that number.
func Escrow(operator cypherlink.ParticipantID) cypherlink.Account {
	return cypherlink.Account{Owner: operator, Number: EscrowNumber}
}

// Crossing is an amount that its owner moves between an external ledger and the chain, from one
// account of its own to another: what leaves an external ledger is a deposit, and the chain credits
// it; what leaves the chain is a burn, and the external ledger pays it out.
type Crossing struct {
	Owner cypherlink.ParticipantID
	// Asset is the one that the amount leaves. It comes in as the asset that this one backs or that
	// backs this one.
	Asset cypherlink.Asset
	// From and To are the numbers of the owner's accounts, To on the other ledger.
	From, To uint32
	Amount   cypherlink.Amount
	// Expiry is the second, since 1970 UTC, from which on it cannot leave any more. What has left
	// may come in at any time.
	Expiry int64
	// Nonce is the owner's own number of the crossing.
	Nonce uint64
}

// CrossingID names a crossing: one ledger that it leaves, one owner and one nonce give one id on
// one network, so that a copy does nothing.
type CrossingID cypherlink.Hash

// String is the lower-case hexadecimal form.
func (id CrossingID) String() string { return cypherlink.Hash(id).String() }

// MarshalText is the lower-case hexadecimal form.
func (id CrossingID) MarshalText() ([]byte, error) { return cypherlink.AppendHex(nil, id[:]), nil }

// UnmarshalText takes exactly the form of MarshalText; otherwise cypherlink.ErrHex.
func (id *CrossingID) UnmarshalText(text []byte) error { return cypherlink.DecodeHex(id[:], text) }

// ID is the crossing's.
func (x *Crossing) ID(network cypherlink.NetworkID) CrossingID {
	w := wire.NewWriter(8 + 4 + cypherlink.MaxLedgerID + 32 + 8)
	w.Fixed(network[:])
	w.Str(string(x.Asset.Ledger))
	w.Fixed(x.Owner[:])
	w.U64(x.Nonce)
	return wire.Sum(crossingDomain, w.Bytes())
}

// Debit is the account that the amount leaves.
func (x *Crossing) Debit() cypherlink.Account {
	return cypherlink.Account{Owner: x.Owner, Number: x.From}
}

// Credit is the account that it comes into, on the other ledger.
func (x *Crossing) Credit() cypherlink.Account {
	return cypherlink.Account{Owner: x.Owner, Number: x.To}
}

// wellFormed refuses what no ledger lets pass.
func (x *Crossing) wellFormed() error {
	switch {
	case x.Amount <= 0:
		return refuse(CodeMalformed, "the amount is not positive", nil)
	case x.Expiry <= 0 || x.Expiry > terms.MaxExpiry:
		return refuse(CodeMalformed, "the expiry is not a time", nil)
	case x.From >= ChannelNumber || x.To >= ChannelNumber:
		return refuse(CodeNotAllowed, "the number is that of escrow accounts, or of channels", nil)
	}
	return nil
}

// AppendWire appends every field.
func (x *Crossing) AppendWire(w *wire.Writer) {
	w.Fixed(x.Owner[:])
	x.Asset.AppendWire(w)
	w.U32(x.From)
	w.U32(x.To)
	w.I64(int64(x.Amount))
	w.I64(x.Expiry)
	w.U64(x.Nonce)
}

// ReadCrossing reads what AppendWire wrote.
func ReadCrossing(r *wire.Reader) Crossing {
	var x Crossing
	r.Fixed(x.Owner[:])
	x.Asset = cypherlink.ReadAsset(r)
	x.From, x.To = r.U32(), r.U32()
	x.Amount = cypherlink.Amount(r.I64())
	x.Expiry = r.I64()
	x.Nonce = r.U64()
	return x
}

// Leave takes the crossing's amount out of its owner's account: into escrow on an external ledger,
// out of being on the chain. Only the owner may, before the expiry.
type Leave struct{ Crossing }

// Enter gives the crossing's amount to its owner on the other ledger. Any registered participant
// may, with evidence that it has left.
type Enter struct {
	Crossing
	// Evidence is a RampRecord of the external ledger's operator, or a proof of the burn's event.
	Evidence []byte
}

// About is the crossing's id.
func (c *Leave) About(network cypherlink.NetworkID) cypherlink.Hash {
	return cypherlink.Hash(c.ID(network))
}

// About is the crossing's id.
func (c *Enter) About(network cypherlink.NetworkID) cypherlink.Hash {
	return cypherlink.Hash(c.ID(network))
}

func (c *Leave) appendWire(w *wire.Writer) {
	w.U8(kindLeave)
	c.AppendWire(w)
}

func (c *Enter) appendWire(w *wire.Writer) {
	w.U8(kindEnter)
	c.AppendWire(w)
	w.Var(c.Evidence)
}

// RampRecord is a passage in the words of an external ledger's operator, under its Ed25519
// signature. It proves what the operator said: the chain credits a deposit on it.
type RampRecord struct {
	Network cypherlink.NetworkID
	// Passage has no Evidence: the record is it.
	Passage   Passage
	Signature [64]byte
}

// Frame is what the operator signs. Its scope is the ledger's ramp, and its sequence the passage's,
// so two different records of one sequence are proof against the operator.
func (r *RampRecord) Frame() cosi.Frame {
	w := wire.NewWriter(256)
	r.appendContent(w)
	return cosi.Frame{
		Type: cosi.Record, Network: r.Network,
		Scope:    wire.Sum(rampDomain, []byte(r.Passage.Ledger)),
		Sequence: r.Passage.Sequence,
		Payload:  wire.Sum(rampRecordDomain, w.Bytes()),
	}
}

func (r *RampRecord) appendContent(w *wire.Writer) {
	w.Fixed(r.Network[:])
	w.Str(string(r.Passage.Ledger))
	w.U64(r.Passage.Sequence)
	w.I64(r.Passage.TimeMS)
	r.Passage.Crossing.AppendWire(w)
}

// Encode is the canonical form, below MaxEvidence.
func (r *RampRecord) Encode() []byte {
	w := wire.NewWriter(320)
	r.appendContent(w)
	w.Fixed(r.Signature[:])
	return w.Bytes()
}

// DecodeRampRecord takes exactly the form of Encode; otherwise ErrRecord. It checks the form, not
// the signature.
func DecodeRampRecord(b []byte) (*RampRecord, error) {
	r := wire.NewReader(b)
	var record RampRecord
	r.Fixed(record.Network[:])
	record.Passage.Ledger = readLedger(r)
	record.Passage.Sequence = r.U64()
	record.Passage.TimeMS = r.I64()
	record.Passage.Crossing = ReadCrossing(r)
	r.Fixed(record.Signature[:])
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	return &record, nil
}

// Passage is what the evidence says, if it is a RampRecord of this operator about this ledger and
// holds together; otherwise ErrRecord or ErrEvidence. The passage's Evidence is the argument.
func (o *Operator) Passage(evidence []byte) (Passage, error) {
	return o.passage(evidence, cosi.VerifyEd25519Batch)
}

func (o *Operator) passage(evidence []byte, verifier cosi.Verifier) (Passage, error) {
	record, err := DecodeRampRecord(evidence)
	if err != nil {
		return Passage{}, err
	}
	p := record.Passage
	switch {
	case record.Network != o.Network || p.Ledger != o.Ledger:
		return Passage{}, fmt.Errorf("ledger %s of network %s: %w", p.Ledger, record.Network, ErrEvidence)
	case p.Sequence == 0:
		return Passage{}, fmt.Errorf("sequence 0: %w", ErrEvidence)
	case p.Left() && p.TimeMS/1000 >= p.Crossing.Expiry:
		return Passage{}, fmt.Errorf("it left after its expiry: %w", ErrEvidence)
	}
	if err := p.Crossing.wellFormed(); err != nil {
		return Passage{}, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	signed := cosi.IdentitySignature{Key: o.Key, Frame: record.Frame(), Signature: record.Signature}
	if len(verifier([]cosi.IdentitySignature{signed})) > 0 {
		return Passage{}, fmt.Errorf("passage %d of ledger %s: %w: %w",
			p.Sequence, p.Ledger, ErrEvidence, cosi.ErrSignature)
	}
	p.Evidence = evidence
	return p, nil
}
