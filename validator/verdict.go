// Package validator is the Cypherium Validator's word: the verdict, and the check of it.
//
// Its noun is the Verdict: one Validator's signed yes, no or hold over one leg of agreed
// terms, by a named rule set, on named inputs, with a time limit. An asset's Policy says how
// many of which Validators must approve; every ledger asks it before value moves, and anybody
// can ask again later. The package refuses to evaluate rules (validator/rules) and to sign.
// Source: Cypherium Whitepaper 2.0, "Cypherium Validator".
package validator

import (
	"errors"
	"fmt"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/internal/wire"
	"github.com/cypherlink/cypherlink/terms"
)

// ErrVerdict means that bytes are not a verdict.
var ErrVerdict = errors.New("validator: malformed verdict")

const verdictDomain wire.Domain = "cypherlink/verdict/v1"

// reasonLength is the length of every code in ISO 20022's ExternalStatusReason.
const reasonLength = 4

// Outcome is what a Validator says.
type Outcome uint8

// The outcomes.
const (
	Approved Outcome = 1
	Rejected Outcome = 2
	Held     Outcome = 3
)

// Subject is what a verdict is about, field by field. A Prepare carries the same fields, and
// the ledger compares every one.
type Subject struct {
	// Terms is the terms hash, Leg the index of the leg in them.
	Terms cypherlink.Hash
	Leg   uint8
	// Fields are that leg's.
	Fields    terms.Leg
	Condition cypherlink.Condition
}

// Verdict is a Validator's judgement of a subject.
type Verdict struct {
	Subject Subject
	// ValidUntil, in seconds since 1970: a ledger refuses the verdict from then on.
	ValidUntil int64
	// RuleSet is the hash of the rule set that judged, Inputs the hash of what it was given.
	RuleSet, Inputs cypherlink.Hash
	Outcome         Outcome
	// Reason is an ISO ExternalStatusReason code of four characters, and empty exactly when
	// the outcome is Approved.
	Reason string
}

// Signed is a verdict with its Validator's Ed25519 signature over Frame.
type Signed struct {
	Verdict   Verdict
	Validator cypherlink.ParticipantID
	Signature [64]byte
}

// Frame is what the Validator signs. Its scope is the terms hash and its sequence the leg.
func (v *Verdict) Frame(network cypherlink.NetworkID) cosi.Frame {
	w := wire.NewWriter(384)
	v.appendWire(w)
	return cosi.Frame{
		Type: cosi.Verdict, Network: network,
		Scope: v.Subject.Terms, Sequence: uint64(v.Subject.Leg),
		Payload: wire.Sum(verdictDomain, w.Bytes()),
	}
}

// AppendWire appends terms hash, leg index, leg fields and condition.
func (s Subject) AppendWire(w *wire.Writer) {
	w.Fixed(s.Terms[:])
	w.U8(s.Leg)
	s.Fields.AppendWire(w)
	w.Fixed(s.Condition[:])
}

// ReadSubject reads what AppendWire wrote.
func ReadSubject(r *wire.Reader) Subject {
	var s Subject
	r.Fixed(s.Terms[:])
	s.Leg = r.U8()
	s.Fields = terms.ReadLeg(r)
	r.Fixed(s.Condition[:])
	return s
}

func (v *Verdict) appendWire(w *wire.Writer) {
	v.Subject.AppendWire(w)
	w.I64(v.ValidUntil)
	w.Fixed(v.RuleSet[:])
	w.Fixed(v.Inputs[:])
	w.U8(uint8(v.Outcome))
	w.Str(v.Reason)
}

// AppendWire appends the verdict, its Validator and the signature.
func (s *Signed) AppendWire(w *wire.Writer) {
	s.Verdict.appendWire(w)
	w.Fixed(s.Validator[:])
	w.Fixed(s.Signature[:])
}

// ReadSigned reads what AppendWire wrote. It checks the form, not the signature.
func ReadSigned(r *wire.Reader) Signed {
	s := Signed{Verdict: Verdict{Subject: ReadSubject(r), ValidUntil: r.I64()}}
	r.Fixed(s.Verdict.RuleSet[:])
	r.Fixed(s.Verdict.Inputs[:])
	s.Verdict.Outcome = Outcome(r.U8())
	s.Verdict.Reason = r.Str(reasonLength)
	r.Fixed(s.Validator[:])
	r.Fixed(s.Signature[:])
	if r.Err() == nil {
		if err := s.Verdict.valid(); err != nil {
			r.Fail(err)
		}
	}
	return s
}

func (v *Verdict) valid() error {
	switch v.Outcome {
	case Approved:
		if v.Reason != "" {
			return fmt.Errorf("approved, with reason %q: %w", v.Reason, ErrVerdict)
		}
	case Rejected, Held:
		if !isReason(v.Reason) {
			return fmt.Errorf("outcome %d, with reason %q: %w", v.Outcome, v.Reason, ErrVerdict)
		}
	default:
		return fmt.Errorf("outcome %d: %w", v.Outcome, ErrVerdict)
	}
	return nil
}

// isReason tells whether s has the form of an ISO reason code: four capitals and digits.
func isReason(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(s) == reasonLength
}
