package payment

import (
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// Bounds of what a log holds, in bytes.
const (
	maxKey      = longestKey + 8
	maxQuote    = 512
	maxEvidence = 1 << 20
)

// EncodeEvent is the canonical form of an event.
func EncodeEvent(e Event) []byte {
	w := wire.NewWriter(512)
	w.I64(e.At)
	w.U8(e.Fact.kind())
	appendFact(w, e.Fact)
	return w.Bytes()
}

func appendFact(w *wire.Writer, f Fact) {
	switch f := f.(type) {
	case Instructed:
		f.Instruction.appendWire(w)
		w.U8(uint8(f.Format))
		w.Var(f.Raw)
		w.Str(f.Key)
	case Routed:
		f.Route.appendWire(w)
	case Disclosed:
		w.Var(f.Disclosure.Encode())
	case Addressed:
		f.Setup.appendWire(w)
	case Quoted:
		w.Var(f.Quote.Encode())
	case Drafted:
		w.Var(f.Terms.Encode())
		w.Var(f.Packet)
	case Agreed:
		appendProof(w, f.Proof)
		w.Fixed(f.Channel[:])
	case Judged:
		w.U8(f.Leg)
		appendVerdicts(w, f.Verdicts)
	case Relayed:
	case Moved:
		w.U8(uint8(f.Outcome))
		appendCause(w, f.Cause)
	case Witnessed:
		appendReceipt(w, &f.Receipt)
	case Ended:
		w.Bool(f.Status == StatusExpired)
		terms.AppendRefusal(w, f.Refusal)
	case Announced:
		w.Fixed(f.Payer[:])
		f.Setup.appendWire(w)
		w.Var(f.Answer.Encode())
		w.Str(string(f.Address))
	case Promised:
		w.Var(f.Terms.Encode())
	case Offered:
		w.Var(f.Quote.Encode())
	case Taken:
		w.Var(f.Terms.Encode())
	case Bound:
		appendProof(w, f.Proof)
	case Held:
	case Laned:
		w.U8(uint8(f.Stage))
		w.Fixed(f.Channel[:])
		w.U32(f.Slot.Gen)
		w.U32(f.Slot.Seq)
		w.Fixed(f.Update[:])
	case Booked:
		w.U8(uint8(f.Entry))
		w.Str(f.Reason)
	case Credited, Returned:
	case Returning:
		f.By.AppendWire(w)
	}
}

// DecodeEvent takes exactly the form of EncodeEvent; otherwise ErrEvent. The result shares
// memory with b. Keys must know the connectors of quotes; no other signature is checked again.
func DecodeEvent(b []byte, keys validator.Keys) (Event, error) {
	r := wire.NewReader(b)
	e := Event{At: r.I64()}
	e.Fact = readFact(r, r.U8(), keys)
	if err := r.End(); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return e, nil
}

func readFact(r *wire.Reader, kind uint8, keys validator.Keys) Fact {
	switch kind {
	case kindInstructed:
		f := Instructed{Instruction: readInstruction(r), Format: Format(r.U8())}
		f.Raw, f.Key = r.Var(MaxInstruction), r.Str(maxKey)
		return f
	case kindRouted:
		return Routed{readRoute(r)}
	case kindDisclosed:
		return Disclosed{readDisclosure(r)}
	case kindAddressed:
		return Addressed{readSetupAnswer(r)}
	case kindQuoted:
		return Quoted{readQuote(r, keys)}
	case kindDrafted:
		return Drafted{Terms: readTerms(r), Packet: r.Var(ledger.MaxPacket)}
	case kindAgreed:
		f := Agreed{Proof: readProof(r)}
		r.Fixed(f.Channel[:])
		return f
	case kindJudged:
		return Judged{Leg: r.U8(), Verdicts: readVerdicts(r)}
	case kindRelayed:
		return Relayed{}
	case kindMoved:
		f := Moved{Outcome: connector.Outcome(r.U8()), Cause: readCause(r)}
		if f.Outcome > connector.Loss {
			r.Fail(fmt.Errorf("outcome %d: %w", f.Outcome, ErrEvent))
		}
		return f
	case kindWitnessed:
		return Witnessed{readReceipt(r)}
	case kindEnded:
		f := Ended{Status: StatusRejected}
		if r.Bool() {
			f.Status = StatusExpired
		}
		f.Refusal = terms.ReadRefusal(r)
		return f
	case kindAnnounced:
		var f Announced
		r.Fixed(f.Payer[:])
		f.Setup, f.Answer = readSetup(r), readAnswer(r)
		f.Address = readAddress(r, true)
		return f
	case kindPromised:
		return Promised{readTerms(r)}
	case kindOffered:
		return Offered{readQuote(r, keys)}
	case kindTaken:
		return Taken{readTerms(r)}
	case kindBound:
		return Bound{readProof(r)}
	default:
		return readChannelFact(r, kind)
	}
}

func readChannelFact(r *wire.Reader, kind uint8) Fact {
	switch kind {
	case kindHeld:
		return Held{}
	case kindLaned:
		f := Laned{Stage: Stage(r.U8())}
		r.Fixed(f.Channel[:])
		f.Slot = channels.Slot{Gen: r.U32(), Seq: r.U32()}
		r.Fixed(f.Update[:])
		if f.Stage < Signed || f.Stage > Void {
			r.Fail(fmt.Errorf("stage %d: %w", f.Stage, ErrEvent))
		}
		return f
	case kindBooked:
		f := Booked{Entered(r.U8()), r.Str(maxText)}
		if f.Entry < EnteredPost || f.Entry > EnteredRefuse {
			r.Fail(fmt.Errorf("entry %d: %w", f.Entry, ErrEvent))
		}
		return f
	case kindCredited:
		return Credited{}
	case kindReturning:
		return Returning{cypherlink.ReadUETR(r)}
	case kindReturned:
		return Returned{}
	}
	r.Fail(fmt.Errorf("kind %d: %w", kind, ErrEvent))
	return nil
}

func readTerms(r *wire.Reader) *terms.Terms {
	raw := r.Var(terms.MaxSize)
	if r.Err() != nil {
		return nil
	}
	t, err := terms.Decode(raw)
	if err != nil {
		r.Fail(err)
	}
	return t
}

func readQuote(r *wire.Reader, keys validator.Keys) *connector.SignedQuote {
	raw := r.Var(maxQuote)
	if r.Err() != nil {
		return nil
	}
	q, err := connector.DecodeQuote(raw, keys)
	if err != nil {
		r.Fail(err)
	}
	return q
}

func appendCause(w *wire.Writer, cause *cypherlink.Error) {
	w.Bool(cause != nil)
	if cause != nil {
		terms.AppendRefusal(w, cause)
	}
}

func readCause(r *wire.Reader) *cypherlink.Error {
	if !r.Bool() {
		return nil
	}
	return terms.ReadRefusal(r)
}

// appendReceipt appends every field of a receipt.
func appendReceipt(w *wire.Writer, receipt *ledger.Receipt) {
	w.Str(string(receipt.Ledger))
	receipt.Custody.AppendWire(w)
	w.U64(receipt.Sequence)
	w.I64(receipt.TimeMS)
	w.Var(receipt.Evidence)
}

func readReceipt(r *wire.Reader) ledger.Receipt {
	return ledger.Receipt{
		Ledger:  cypherlink.LedgerID(r.Str(cypherlink.MaxLedgerID)),
		Custody: ledger.ReadCustody(r), Sequence: r.U64(), TimeMS: r.I64(), Evidence: r.Var(maxEvidence),
	}
}
