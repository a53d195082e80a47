package payment

import (
	"errors"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// ErrEvent means that bytes are not an event of a payment's log, or that a log contradicts
// itself.
var ErrEvent = errors.New("payment: malformed event")

// Event is one entry of a log: what became of a payment, and when. The fold of the log is the
// payment's state.
type Event struct {
	// At is the owner's time, in milliseconds since 1970, UTC.
	At   int64
	Fact Fact
}

// Fact is what an event tells. Each belongs to the log of one machine, or of two.
//
//sumtype:decl
type Fact interface{ kind() uint8 }

// The facts of an Outgoing, in the order of its life.
type (
	// Instructed begins an Outgoing: the instruction, the bytes in which it came, and its
	// idempotency key.
	Instructed struct {
		Instruction *Instruction
		Format      Format
		Raw         []byte
		Key         string
	}
	// Routed says that the instruction is right, and who takes part.
	Routed struct{ Route *Route }
	// Disclosed is what this bank will tell the other about the parties. It is drawn once: its
	// salts make the commitment of the terms.
	Disclosed struct{ Disclosure *kyc.Disclosure }
	// Addressed is the paid bank's answer: where to, under which secret, into which account of
	// its own, and what it answers to the disclosure.
	Addressed struct{ Setup *SetupAnswer }
	// Quoted is the connector's offer.
	Quoted struct{ Quote *connector.SignedQuote }
	// Drafted is what this bank proposes, and the packet whose condition the terms hold.
	Drafted struct {
		Terms  *terms.Terms
		Packet []byte
	}
	// Agreed is the proof that all parties signed the terms, and the channel over which the payment
	// goes, zero if over none. It belongs to an Incoming too.
	Agreed struct {
		Proof   *terms.Proof
		Channel channels.ID
	}
	// Judged holds the verdicts that the asset of a leg asks for, all of them approving. It
	// belongs to an Incoming too.
	Judged struct {
		Leg      uint8
		Verdicts []validator.Signed
	}
	// Relayed says that the connector has the proof and its verdicts and will carry the payment.
	Relayed struct{}
	// Moved is what the ledgers did, as this bank's own connector machine knows it. Cause is
	// why the source ledger refused the payer's Prepare, or why the payee gave the custody back;
	// otherwise nil. It belongs to an Incoming too.
	Moved struct {
		Outcome connector.Outcome
		Cause   *cypherlink.Error
	}
	// Witnessed is a final and verified receipt of one of the two custodies.
	Witnessed struct{ Receipt ledger.Receipt }
	// Ended says that the payment is over without settlement, and why. It belongs to an
	// Incoming too.
	Ended struct {
		Status  Status // StatusRejected or StatusExpired
		Refusal *cypherlink.Error
	}
)

// The facts of a payment over a channel, at both banks unless said.
type (
	// Held says that the money stands aside on the customer's account (Outgoing).
	Held struct{}
	// Laned says how far the payment has come in the channel, and in which update.
	Laned struct {
		Stage   Stage
		Channel channels.ID
		Slot    channels.Slot
		Update  cypherlink.Hash
	}
	// Booked says what the bank's own books have done with it, and for what ISO reason they refused it.
	Booked struct {
		Entry  Entered
		Reason string
	}
	// Credited says that the creditor's bank has credited its customer, and both banks know.
	Credited struct{}
	// Returning says that the creditor's account did not take the money, and which payment brings it
	// back.
	Returning struct{ By cypherlink.UETR }
	// Returned says that it is back.
	Returned struct{}
)

// Stage is how far a payment has come in a channel.
type Stage uint8

// The stages.
const (
	// Signed: the payer's signature is durable, and leaves. There is no way back.
	Signed Stage = iota + 1
	// Doubtful: suspended and unbound, as the chain decides.
	Doubtful
	// Binding: the update binds both banks.
	Binding
	// Anchored: the update is in a final block.
	Anchored
	// Void: the update's generation ended without it.
	Void
)

// String is the stage's name.
func (s Stage) String() string {
	return [...]string{
		Signed: "signed", Doubtful: "doubtful", Binding: "binding", Anchored: "anchored", Void: "void",
	}[s]
}

// Entered is what a bank's own books did.
type Entered uint8

// The entries.
const (
	EnteredPost Entered = iota + 1
	EnteredRelease
	EnteredRefuse
)

// String is the entry's name.
func (e Entered) String() string {
	return [...]string{EnteredPost: "posted", EnteredRelease: "released", EnteredRefuse: "refused"}[e]
}

// The facts of an Incoming.
type (
	// Announced begins an Incoming: who asked for what, and what this bank answered.
	Announced struct {
		Payer  cypherlink.ParticipantID
		Setup  *Setup
		Answer kyc.Answer
		// Address is where the payer may pay to, empty if this bank refused. The secret is not
		// kept: it derives from the address.
		Address ilp.Address
	}
	// Promised says that this bank signs the terms.
	Promised struct{ Terms *terms.Terms }
)

// The facts of an Offer.
type (
	// Offered begins an Offer: the quote that was given.
	Offered struct{ Quote *connector.SignedQuote }
	// Taken says that the connector signs these terms on the quote, and never others.
	Taken struct{ Terms *terms.Terms }
	// Bound is the proof with which the connector began to carry the payment.
	Bound struct{ Proof *terms.Proof }
)

const (
	kindInstructed uint8 = 1
	kindRouted     uint8 = 2
	kindDisclosed  uint8 = 3
	kindAddressed  uint8 = 4
	kindQuoted     uint8 = 5
	kindDrafted    uint8 = 6
	kindAgreed     uint8 = 7
	kindJudged     uint8 = 8
	kindRelayed    uint8 = 9
	kindMoved      uint8 = 10
	kindWitnessed  uint8 = 11
	kindEnded      uint8 = 12
	kindAnnounced  uint8 = 13
	kindPromised   uint8 = 14
	kindOffered    uint8 = 15
	kindTaken      uint8 = 16
	kindBound      uint8 = 17
	kindHeld       uint8 = 18
	kindLaned      uint8 = 19
	kindBooked     uint8 = 20
	kindCredited   uint8 = 21
	kindReturning  uint8 = 22
	kindReturned   uint8 = 23
)

func (Instructed) kind() uint8 { return kindInstructed }
func (Routed) kind() uint8     { return kindRouted }
func (Disclosed) kind() uint8  { return kindDisclosed }
func (Addressed) kind() uint8  { return kindAddressed }
func (Quoted) kind() uint8     { return kindQuoted }
func (Drafted) kind() uint8    { return kindDrafted }
func (Agreed) kind() uint8     { return kindAgreed }
func (Judged) kind() uint8     { return kindJudged }
func (Relayed) kind() uint8    { return kindRelayed }
func (Moved) kind() uint8      { return kindMoved }
func (Witnessed) kind() uint8  { return kindWitnessed }
func (Ended) kind() uint8      { return kindEnded }
func (Announced) kind() uint8  { return kindAnnounced }
func (Promised) kind() uint8   { return kindPromised }
func (Offered) kind() uint8    { return kindOffered }
func (Taken) kind() uint8      { return kindTaken }
func (Bound) kind() uint8      { return kindBound }
func (Held) kind() uint8       { return kindHeld }
func (Laned) kind() uint8      { return kindLaned }
func (Booked) kind() uint8     { return kindBooked }
func (Credited) kind() uint8   { return kindCredited }
func (Returning) kind() uint8  { return kindReturning }
func (Returned) kind() uint8   { return kindReturned }

// KindName is the name under which an event is stored and shown.
func KindName(f Fact) string {
	switch f.(type) {
	case Instructed:
		return "instructed"
	case Routed:
		return "checked"
	case Disclosed:
		return "disclosed"
	case Addressed:
		return "addressed"
	case Quoted:
		return "quoted"
	case Drafted:
		return "drafted"
	case Agreed:
		return "agreed"
	case Judged:
		return "judged"
	case Relayed:
		return "approved"
	case Moved:
		return "moved"
	case Witnessed:
		return "receipt"
	case Ended:
		return "ended"
	case Announced:
		return "announced"
	case Promised:
		return "promised"
	case Offered:
		return "offered"
	case Taken:
		return "taken"
	case Bound:
		return "bound"
	case Held:
		return "held"
	case Laned:
		return "laned"
	case Booked:
		return "booked"
	case Credited:
		return "credited"
	case Returning:
		return "returning"
	case Returned:
		return "returned"
	}
	return fmt.Sprintf("kind%d", f.kind())
}

// millis is t in milliseconds since 1970, 0 for the zero time.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment is the time of millis.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
