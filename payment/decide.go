package payment

import (
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
)

// decide is what follows from the state and the time alone: that the payment took too long, or
// how one ended of which both custodies are over.
func (o *Outgoing) decide(now time.Time) []Fact {
	if o.direct() && o.status == StatusApproved && now.Unix() >= o.drafted.Terms.Legs[terms.Source].Expiry {
		return []Fact{Ended{StatusExpired, refuse(
			CodeLate, "TM01", "the money was not set aside before the terms expired", nil)}}
	}
	if deadline, ok := o.deadline(); ok && !now.Before(deadline) {
		return []Fact{Ended{StatusRejected, silence(o.open()[0])}}
	}
	if o.status.Final() || o.moved == nil || o.moved.Outcome != connector.Undone || len(o.unseen()) > 0 {
		return nil
	}
	status, refusal := o.undone()
	return []Fact{Ended{status, refusal}}
}

// deadline is when the payment is given up; not ok once the source custody may come to be.
func (o *Outgoing) deadline() (at time.Time, ok bool) {
	switch o.status {
	case StatusNegotiating, StatusAgreed, StatusValidating:
		if o.drafted == nil {
			return o.since.Add(o.bank.Patience.Negotiate), true
		}
		return o.draftedAt.Add(o.bank.Patience.Approve), true
	case "", StatusReceived, StatusChecked, StatusApproved, StatusReserved, StatusSettled,
		StatusRejected, StatusExpired, StatusSigned1, StatusInDoubt, StatusSigned2, StatusPosted,
		StatusCompleted, StatusAborted, StatusReturnPending, StatusReturned:
	}
	return time.Time{}, false
}

// silence says who did not answer: AB05 for the creditor's bank, AB06 for the connector as the
// instructed bank, AB01 for the Validators.
func silence(q Question) *cypherlink.Error {
	e := &cypherlink.Error{Code: CodeSilent}
	switch q {
	case QuestionSetup, QuestionCertify:
		e.Reason, e.Message = "AB05", "the bank that is paid did not answer in time"
	case QuestionQuote, QuestionRelay:
		e.Reason, e.Message = "AB06", "the connector did not answer in time"
	case QuestionTerms:
		e.Reason, e.Message = "AB05", "the terms were not signed in time"
	case QuestionVerdicts:
		e.Reason, e.Message = "AB01", "the asset's validators did not answer in time"
	case QuestionPayer, QuestionHold, QuestionBook, QuestionReturn, QuestionLookUp, questionLast:
		e.Reason, e.Message = "AB11", "the payment was not begun in time"
	}
	return e
}

// undone is why nothing moved, by what became of the two custodies.
func (o *Outgoing) undone() (Status, *cypherlink.Error) {
	if o.moved.Cause != nil {
		return StatusRejected, o.moved.Cause
	}
	source, destination := o.last[terms.Source], o.last[terms.Destination]
	declined := func(who string) (Status, *cypherlink.Error) {
		return StatusRejected, refuse(CodeDeclined, "MS03", who+" gave the custody back", nil)
	}
	silent := func(reason, who string) (Status, *cypherlink.Error) {
		return StatusExpired, refuse(CodeSilent, reason, who+" did not act in time", nil)
	}
	switch {
	case destination.Custody.State == ledger.Returned:
		if o.early(terms.Destination) {
			return declined("the bank that is paid")
		}
		return silent("AB05", "the bank that is paid")
	case source.Custody.State == ledger.Returned:
		if o.early(terms.Source) {
			return declined("the connector")
		}
		return silent("AB06", "the connector")
	}
	return StatusExpired, refuse(CodeLate, "TM01", "the custody was not made in time", nil)
}

// early tells whether the custody was given back before its expiry.
func (o *Outgoing) early(leg uint8) bool {
	return o.last[leg].TimeMS/1000 < o.drafted.Terms.Legs[leg].Expiry
}

// want states the tasks that the present state asks for. Each goes out at most once per resend
// interval.
func (o *Outgoing) want(now time.Time, e *Effects) {
	if deadline, ok := o.deadline(); ok {
		e.WakeAt = deadline
	}
	for _, q := range o.open() {
		if last := o.sent[q]; last.IsZero() || !now.Before(last.Add(o.bank.Patience.Resend)) {
			o.sent[q] = now
			e.Do = append(e.Do, o.task(q))
		}
		if again := o.sent[q].Add(o.bank.Patience.Resend); e.WakeAt.IsZero() || again.Before(e.WakeAt) {
			e.WakeAt = again
		}
	}
}

// task is the task that asks an open question.
func (o *Outgoing) task(q Question) Task {
	switch q {
	case QuestionSetup:
		return AskSetup{o.route.Payee, &Setup{
			UETR: o.instructed.Instruction.UETR, Asset: o.route.Destination, Amount: o.route.Amount,
			Returns: o.instructed.Instruction.Returns, Disclosure: o.disclosure,
		}}
	case QuestionQuote:
		return AskQuote{o.route.Connector, &QuoteRequest{
			Source: o.route.Source, Destination: o.route.Destination, Amount: o.route.Amount,
			Payee: o.route.Payee,
		}}
	case QuestionTerms:
		return Agree{o.drafted.Terms}
	case QuestionVerdicts:
		return Judge{&VerdictRequest{Proof: o.proof, Leg: terms.Source, Opened: opened(o.file)}}
	case QuestionCertify:
		return Certify{o.route.Payee, o.proof}
	case QuestionRelay:
		return BeginRelay{o.route.Connector, &BeginRequest{
			Proof: o.proof, Verdicts: o.verdicts[terms.Destination],
		}}
	case QuestionPayer:
		return BeginPayer{o.proof.Terms, o.drafted.Packet, o.verdicts[terms.Source]}
	case QuestionHold:
		return Hold{o.posting()}
	case QuestionBook:
		return Book{o.entry(), o.posting()}
	case QuestionReturn:
		return AwaitReturn{
			By: o.lane.returning, Of: o.instructed.Instruction.UETR, From: o.route.Payee,
			Money: Money{o.route.Source, o.route.Amount},
		}
	case QuestionLookUp, questionLast:
	}
	leg := uint8(q - QuestionLookUp)
	return LookUp{Custody: o.custody(leg), Leg: leg, Fields: o.drafted.Terms.Legs[leg]}
}

// opened is every field of a file, opened for a Validator.
func opened(f *kyc.File) []kyc.Proof {
	var all []kyc.Proof
	for field := range kyc.Field(kyc.FieldCount) {
		if p, err := f.Open(field); err == nil { // every file has every field
			all = append(all, p)
		}
	}
	return all
}
