package payment

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrMessage means that bytes are not a message between Connects.
var ErrMessage = errors.New("payment: malformed message")

// The kinds of calls between institutions. Every call may be repeated: the same question gets
// the same answer. A refusal is a *cypherlink.Error; it is told instead of an answer.
const (
	// KindSetup asks the paid bank for an address: Setup, answered by SetupAnswer.
	KindSetup uint8 = 1
	// KindQuote asks a connector for a price: QuoteRequest, answered by a connector.SignedQuote.
	KindQuote uint8 = 2
	// KindTerms asks a party to sign a terms.Batch, answered by a terms.Answer.
	KindTerms uint8 = 3
	// KindCertify gives the paid bank the terms.Proof, answered by the Verdicts of its leg.
	KindCertify uint8 = 4
	// KindBegin gives the connector a BeginRequest, answered by nothing: it carries the payment.
	KindBegin uint8 = 5
	// KindVerdict asks a Validator for its verdict: VerdictRequest, answered by a
	// validator.Signed (EncodeVerdict).
	KindVerdict uint8 = 6
	// KindLane brings a LaneTalk from the other bank of a channel, answered by nothing.
	KindLane uint8 = 7
	// KindEndorse asks a Validator to sign a lane's update: EndorseRequest, answered by its Ed25519
	// signature, 64 bytes.
	KindEndorse uint8 = 8
	// KindCredit tells the bank that pays over a channel what became of the creditor's credit: a
	// Credit, answered by nothing.
	KindCredit uint8 = 10
	// KindJoin asks a Validator, or for opening a channel the other bank, to sign a joint action:
	// JoinRequest, answered by its BLS signature, 48 bytes.
	KindJoin uint8 = 9
	// KindLock gives the payee of a lane the payer's Prepare of a lock that is to be: an encoded
	// ledger.SignedCommand, answered by nothing. The payee keeps it, and the lane's ledger answers for it.
	KindLock uint8 = 11
	// KindCustody asks a bank what its lanes have of a custody: the id, 32 bytes, answered by the evidence
	// of a receipt.
	KindCustody uint8 = 12
)

// MaxMessage bounds the bytes of every question and answer.
const MaxMessage = terms.MaxBatchSize

// Setup is what the paying bank asks the paid bank: whether a payment may come, and where to.
type Setup struct {
	UETR cypherlink.UETR
	// Asset and Amount are what is to arrive.
	Asset  cypherlink.Asset
	Amount cypherlink.Amount
	// Returns is the payment that this one brings back, zero if it is none such.
	Returns cypherlink.UETR
	// Disclosure tells about the parties; the creditor's account is in it.
	Disclosure *kyc.Disclosure
}

// SetupAnswer is the paid bank's yes.
type SetupAnswer struct {
	// Address and Secret are for this payment alone (ILP RFC 29).
	Address ilp.Address
	Secret  ilp.SharedSecret
	// Account is the paid bank's own, into which the destination custody pays.
	Account cypherlink.Account
	// Answer completes the parties' file, whose root is the KYC commitment of the terms.
	Answer kyc.Answer
}

// Credit says that the creditor's bank has credited its customer, or which payment brings the money
// back: zero if none does.
type Credit struct {
	UETR, Returns cypherlink.UETR
}

// Encode is the canonical form.
func (c *Credit) Encode() []byte {
	w := wire.NewWriter(32)
	w.Fixed(c.UETR[:])
	w.Fixed(c.Returns[:])
	return w.Bytes()
}

// DecodeCredit takes exactly the form of Encode; otherwise ErrMessage.
func DecodeCredit(raw []byte) (*Credit, error) {
	r := wire.NewReader(raw)
	var c Credit
	r.Fixed(c.UETR[:])
	r.Fixed(c.Returns[:])
	return &c, finish(r)
}

// QuoteRequest asks what it costs to deliver an amount.
type QuoteRequest struct {
	Source, Destination cypherlink.Asset
	// Amount is of Destination, and positive.
	Amount cypherlink.Amount
	// Payee is the bank to which it is to be delivered; zero if that is open.
	Payee cypherlink.ParticipantID
	// Lane is what the asker can pay of Source in its channel with the connector: zero if it has none.
	Lane cypherlink.Amount
}

// BeginRequest is the proof of the terms and the verdicts that the destination custody will
// carry.
type BeginRequest struct {
	Proof    *terms.Proof
	Verdicts []validator.Signed
}

// VerdictRequest asks for a verdict on one leg of agreed terms. Opened are the fields of the
// parties' file that the asking bank opens to the Validator, against the terms' KYC commitment.
type VerdictRequest struct {
	Proof  *terms.Proof
	Leg    uint8
	Opened []kyc.Proof
}

// finish reports what is wrong with a message that was read, as ErrMessage.
func finish(r *wire.Reader) error {
	if err := r.End(); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}

// Encode is the canonical form.
func (s *Setup) Encode() []byte {
	w := wire.NewWriter(1024)
	s.appendWire(w)
	return w.Bytes()
}

// DecodeSetup takes exactly the form of Encode; otherwise ErrMessage.
func DecodeSetup(raw []byte) (*Setup, error) {
	r := wire.NewReader(raw)
	s := readSetup(r)
	return s, finish(r)
}

func (s *Setup) appendWire(w *wire.Writer) {
	w.Fixed(s.UETR[:])
	s.Asset.AppendWire(w)
	w.I64(int64(s.Amount))
	w.Fixed(s.Returns[:])
	w.Var(s.Disclosure.Encode())
}

func readSetup(r *wire.Reader) *Setup {
	s := &Setup{UETR: cypherlink.ReadUETR(r), Asset: cypherlink.ReadAsset(r), Amount: readAmount(r)}
	r.Fixed(s.Returns[:])
	s.Disclosure = readDisclosure(r)
	return s
}

// readAmount reads a positive amount.
func readAmount(r *wire.Reader) cypherlink.Amount {
	a := cypherlink.Amount(r.I64())
	if a <= 0 {
		r.Fail(fmt.Errorf("%d: %w", a, cypherlink.ErrAmountRange))
	}
	return a
}

func readDisclosure(r *wire.Reader) *kyc.Disclosure {
	raw := r.Var(kyc.MaxDisclosure)
	if r.Err() != nil {
		return nil
	}
	d, err := kyc.DecodeDisclosure(raw)
	if err != nil {
		r.Fail(err)
	}
	return d
}

func readAnswer(r *wire.Reader) kyc.Answer {
	raw := r.Var(kyc.MaxAnswer)
	if r.Err() != nil {
		return kyc.Answer{}
	}
	a, err := kyc.DecodeAnswer(raw)
	if err != nil {
		r.Fail(err)
		return kyc.Answer{}
	}
	return *a
}

// readAddress reads an address, or the empty text where empty is allowed.
func readAddress(r *wire.Reader, empty bool) ilp.Address {
	text := r.Str(ilp.MaxAddress)
	if r.Err() != nil || empty && text == "" {
		return ""
	}
	a, err := ilp.ParseAddress(text)
	if err != nil {
		r.Fail(err)
	}
	return a
}

// Encode is the canonical form. It reveals the secret: it is for the paying bank alone.
func (a *SetupAnswer) Encode() []byte {
	w := wire.NewWriter(256)
	a.appendWire(w)
	return w.Bytes()
}

// DecodeSetupAnswer takes exactly the form of Encode; otherwise ErrMessage.
func DecodeSetupAnswer(raw []byte) (*SetupAnswer, error) {
	r := wire.NewReader(raw)
	a := readSetupAnswer(r)
	return a, finish(r)
}

func (a *SetupAnswer) appendWire(w *wire.Writer) {
	w.Str(string(a.Address))
	w.Fixed(a.Secret[:])
	a.Account.AppendWire(w)
	w.Var(a.Answer.Encode())
}

func readSetupAnswer(r *wire.Reader) *SetupAnswer {
	a := &SetupAnswer{Address: readAddress(r, false)}
	r.Fixed(a.Secret[:])
	a.Account = cypherlink.ReadAccount(r)
	a.Answer = readAnswer(r)
	return a
}

// Encode is the canonical form.
func (q *QuoteRequest) Encode() []byte {
	w := wire.NewWriter(128)
	q.Source.AppendWire(w)
	q.Destination.AppendWire(w)
	w.I64(int64(q.Amount))
	w.Fixed(q.Payee[:])
	w.I64(int64(q.Lane))
	return w.Bytes()
}

// DecodeQuoteRequest takes exactly the form of Encode; otherwise ErrMessage.
func DecodeQuoteRequest(raw []byte) (*QuoteRequest, error) {
	r := wire.NewReader(raw)
	q := &QuoteRequest{
		Source: cypherlink.ReadAsset(r), Destination: cypherlink.ReadAsset(r), Amount: readAmount(r),
	}
	r.Fixed(q.Payee[:])
	if q.Lane = cypherlink.Amount(r.I64()); q.Lane < 0 {
		r.Fail(fmt.Errorf("%d in the lane: %w", q.Lane, cypherlink.ErrAmountRange))
	}
	return q, finish(r)
}

// EncodeVerdicts is the canonical form of verdicts: the answer to KindCertify.
func EncodeVerdicts(verdicts []validator.Signed) []byte {
	w := wire.NewWriter(512 * len(verdicts))
	appendVerdicts(w, verdicts)
	return w.Bytes()
}

// DecodeVerdicts takes exactly the form of EncodeVerdicts; otherwise ErrMessage.
func DecodeVerdicts(raw []byte) ([]validator.Signed, error) {
	r := wire.NewReader(raw)
	v := readVerdicts(r)
	return v, finish(r)
}

func appendVerdicts(w *wire.Writer, verdicts []validator.Signed) {
	w.U32(uint32(len(verdicts))) //nolint:gosec // at most validator.MaxValidators
	for i := range verdicts {
		verdicts[i].AppendWire(w)
	}
}

func readVerdicts(r *wire.Reader) []validator.Signed {
	var verdicts []validator.Signed
	for n := r.Count(validator.MaxValidators, 64); n > 0; n-- {
		verdicts = append(verdicts, validator.ReadSigned(r))
	}
	return verdicts
}

// EncodeVerdict is the canonical form of one verdict: the answer to KindVerdict.
func EncodeVerdict(v *validator.Signed) []byte {
	w := wire.NewWriter(512)
	v.AppendWire(w)
	return w.Bytes()
}

// DecodeVerdict takes exactly the form of EncodeVerdict; otherwise ErrMessage.
func DecodeVerdict(raw []byte) (*validator.Signed, error) {
	r := wire.NewReader(raw)
	v := validator.ReadSigned(r)
	return &v, finish(r)
}

func appendProof(w *wire.Writer, p *terms.Proof) { w.Var(p.Encode()) }

func readProof(r *wire.Reader) *terms.Proof {
	raw := r.Var(terms.MaxProofSize)
	if r.Err() != nil {
		return nil
	}
	p, err := terms.DecodeProof(raw)
	if err != nil {
		r.Fail(err)
	}
	return p
}

// Encode is the canonical form.
func (b *BeginRequest) Encode() []byte {
	w := wire.NewWriter(2048)
	appendProof(w, b.Proof)
	appendVerdicts(w, b.Verdicts)
	return w.Bytes()
}

// DecodeBeginRequest takes exactly the form of Encode, of a payment across two ledgers; otherwise
// ErrMessage. It checks the form, not the signatures.
func DecodeBeginRequest(raw []byte) (*BeginRequest, error) {
	r := wire.NewReader(raw)
	b := &BeginRequest{Proof: readProof(r), Verdicts: readVerdicts(r)}
	if r.Err() == nil && len(b.Proof.Terms.Legs) != 2 {
		r.Fail(fmt.Errorf("%d legs: %w", len(b.Proof.Terms.Legs), terms.ErrTerms))
	}
	return b, finish(r)
}

// Encode is the canonical form.
func (v *VerdictRequest) Encode() []byte {
	w := wire.NewWriter(4096)
	appendProof(w, v.Proof)
	w.U8(v.Leg)
	w.U32(uint32(len(v.Opened))) //nolint:gosec // at most kyc.FieldCount
	for i := range v.Opened {
		v.Opened[i].AppendWire(w)
	}
	return w.Bytes()
}

// DecodeVerdictRequest takes exactly the form of Encode; otherwise ErrMessage. It checks the
// form, and that the terms have the leg; not what the proofs prove.
func DecodeVerdictRequest(raw []byte) (*VerdictRequest, error) {
	r := wire.NewReader(raw)
	v := &VerdictRequest{Proof: readProof(r), Leg: r.U8()}
	for n := r.Count(kyc.FieldCount, 1+4+32); n > 0; n-- {
		v.Opened = append(v.Opened, kyc.ReadProof(r))
	}
	if r.Err() == nil && int(v.Leg) >= len(v.Proof.Terms.Legs) {
		r.Fail(fmt.Errorf("leg %d: %w", v.Leg, terms.ErrTerms))
	}
	return v, finish(r)
}

// subject is what a verdict on that leg is about.
func subject(t *terms.Terms, leg uint8) validator.Subject {
	return validator.Subject{
		Terms: t.Hash(), Leg: leg, Fields: t.Legs[leg], Condition: t.Condition,
	}
}
