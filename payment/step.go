package payment

import (
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/terms"
	"github.com/cypherlink/cypherlink/validator"
)

// Input is what a machine is told.
//
//sumtype:decl
type Input interface{ input() }

// The inputs of an Outgoing. What answers a question is verified by the caller where that takes
// more than a comparison: a proof by its roster.
type (
	// Instruct begins an Outgoing.
	Instruct Instructed
	// GotSetup answers AskSetup.
	GotSetup struct{ Answer *SetupAnswer }
	// GotQuote answers AskQuote. Lane is what the connector was told that the bank can pay in their
	// channel.
	GotQuote struct {
		Quote *connector.SignedQuote
		Lane  cypherlink.Amount
	}
	// GotProof answers Agree, with the channel for a payment that goes over one.
	GotProof Agreed
	// GotVerdicts answers Judge and Certify. Verdicts on the leg on which a bank is paid go to
	// its Incoming too.
	GotVerdicts Judged
	// GotRelay answers BeginRelay.
	GotRelay struct{}
	// GotPayer answers BeginPayer.
	GotPayer struct{}
	// Refused says that a question was answered by a refusal.
	Refused struct {
		Question Question
		Refusal  *cypherlink.Error
	}
	// GotHold answers Hold.
	GotHold struct{}
	// InLane says how far a payment has come in its channel: whose lane carries it, under which terms,
	// and what it moves there. It goes to an Incoming too.
	InLane struct {
		Laned Laned
		Payer cypherlink.ParticipantID
		Terms cypherlink.Hash
		Money Money
	}
	// NotInLane says that the payment is not written into a channel, and will not be.
	NotInLane struct{ Refusal *cypherlink.Error }
	// GotBooked answers Book. It goes to an Incoming too.
	GotBooked Booked
	// GotCredited is the creditor's bank's word; for an Incoming, that the debtor's bank has it.
	GotCredited Credited
	// GotReturning is the creditor's bank's word that it sends the money back; for an Incoming, that
	// this bank has begun to.
	GotReturning Returning
	// GotReturned says that the payment that brings the money back is done.
	GotReturned Returned
	// Seen is a final and verified receipt of one of the custodies, from a ledger's events or
	// from a look-up.
	Seen struct{ Receipt ledger.Receipt }
)

// The inputs of both banks' machines.
type (
	// Moves is what the bank's own connector machine says of the ledgers.
	Moves Moved
	// Tick says that time has passed. A shell sends one after a start and at each WakeAt.
	Tick struct{}
)

// The inputs of an Incoming. Each is answered by Effects.Refusal, or by what the machine then
// knows (Incoming.SetupAnswer, Incoming.Verdicts).
type (
	// Ask is a Setup that the payer's Connect sent, with what an answer to a first one is made
	// of: how the creditor's account stands in the bank's books and who holds it, a fresh
	// address and a fresh salt.
	Ask struct {
		From     cypherlink.ParticipantID
		Setup    *Setup
		Standing kyc.Standing
		Holder   string
		Address  ilp.Address
		Salt     kyc.Salt
	}
	// Propose is terms that the payer's Connect wants signed. It goes to an Offer too. Channel tells whether
	// the asked institution has an open channel for the destination leg with who is at its other end.
	Propose struct {
		From    cypherlink.ParticipantID
		Terms   *terms.Terms
		Channel bool
	}
	// Present is a verified proof of the terms. It goes to an Offer too.
	Present struct {
		From  cypherlink.ParticipantID
		Proof *terms.Proof
	}
)

// Issue begins an Offer: the quote that was signed.
type Issue Offered

func (Instruct) input()     {}
func (GotSetup) input()     {}
func (GotQuote) input()     {}
func (GotProof) input()     {}
func (GotVerdicts) input()  {}
func (GotRelay) input()     {}
func (GotPayer) input()     {}
func (GotHold) input()      {}
func (InLane) input()       {}
func (NotInLane) input()    {}
func (GotBooked) input()    {}
func (GotCredited) input()  {}
func (GotReturning) input() {}
func (GotReturned) input()  {}
func (Refused) input()      {}
func (Seen) input()         {}
func (Moves) input()        {}
func (Tick) input()         {}
func (Ask) input()          {}
func (Propose) input()      {}
func (Present) input()      {}
func (Issue) input()        {}

// Effects are carried out in the order of the fields. Nothing of the rest begins before Persist
// is durable.
type Effects struct {
	// Persist is appended to the machine's log, all or nothing.
	Persist []Event
	// Do are an Outgoing's tasks. Each may be repeated; while one runs, a shell does not begin
	// it again.
	Do []Task
	// Refusal answers the input of an Incoming or an Offer; nil means yes.
	Refusal *cypherlink.Error
	// WakeAt: call Step with Tick no later than this; zero means never.
	WakeAt time.Time
}

// Question names a kind of task, for its pace and its refusal.
type Question uint8

// The questions, in the order in which they come up.
const (
	QuestionSetup Question = iota + 1
	QuestionQuote
	QuestionTerms
	QuestionVerdicts // of the source leg
	QuestionCertify  // the destination leg's
	QuestionRelay
	QuestionPayer
	QuestionHold
	QuestionBook
	QuestionReturn
	QuestionLookUp // one a leg
	questionLast   = QuestionLookUp + 1
)

// Task is something that an Outgoing wants done outside.
//
//sumtype:decl
type Task interface {
	// Question is what the task asks.
	Question() Question
	task()
}

// The tasks.
type (
	// AskSetup sends KindSetup to the paid bank.
	AskSetup struct {
		To    cypherlink.ParticipantID
		Setup *Setup
	}
	// AskQuote sends KindQuote to the connector.
	AskQuote struct {
		To      cypherlink.ParticipantID
		Request *QuoteRequest
	}
	// Agree has the terms signed by all parties, after the channel is found if the payment needs one.
	Agree struct{ Terms *terms.Terms }
	// Judge asks the Validators of the leg's asset.
	Judge struct{ Request *VerdictRequest }
	// Certify sends KindCertify to the paid bank.
	Certify struct {
		To    cypherlink.ParticipantID
		Proof *terms.Proof
	}
	// BeginRelay sends KindBegin to the connector.
	BeginRelay struct {
		To      cypherlink.ParticipantID
		Request *BeginRequest
	}
	// BeginPayer starts this bank's own machine on the ledgers: the point of no return.
	BeginPayer struct {
		Terms    *terms.Terms
		Packet   []byte
		Verdicts []validator.Signed
	}
	// Hold sets the money aside on the customer's account.
	Hold struct{ Posting Posting }
	// Book has the bank's own books do what Entry says.
	Book struct {
		Entry   Entered
		Posting Posting
	}
	// AwaitReturn looks whether the payment that brings the money back is done: it is one that comes
	// from the paid bank, for the payment Of, with the same money.
	AwaitReturn struct {
		By, Of cypherlink.UETR
		From   cypherlink.ParticipantID
		Money  Money
	}
	// LookUp asks for the latest receipt of a custody where its leg moves: the one with that index.
	LookUp struct {
		Custody ledger.CustodyID
		Leg     uint8
		Fields  terms.Leg
	}
)

// Question is QuestionSetup.
func (AskSetup) Question() Question { return QuestionSetup }

// Question is QuestionQuote.
func (AskQuote) Question() Question { return QuestionQuote }

// Question is QuestionTerms.
func (Agree) Question() Question { return QuestionTerms }

// Question is QuestionVerdicts.
func (Judge) Question() Question { return QuestionVerdicts }

// Question is QuestionCertify.
func (Certify) Question() Question { return QuestionCertify }

// Question is QuestionRelay.
func (BeginRelay) Question() Question { return QuestionRelay }

// Question is QuestionPayer.
func (BeginPayer) Question() Question { return QuestionPayer }

// Question is QuestionHold.
func (Hold) Question() Question { return QuestionHold }

// Question is QuestionBook.
func (Book) Question() Question { return QuestionBook }

// Question is QuestionReturn.
func (AwaitReturn) Question() Question { return QuestionReturn }

// Question is QuestionLookUp, or the one after it for the destination leg.
func (l LookUp) Question() Question { return QuestionLookUp + Question(l.Leg) }

func (AskSetup) task()    {}
func (AskQuote) task()    {}
func (Agree) task()       {}
func (Judge) task()       {}
func (Certify) task()     {}
func (BeginRelay) task()  {}
func (BeginPayer) task()  {}
func (Hold) task()        {}
func (Book) task()        {}
func (AwaitReturn) task() {}
func (LookUp) task()      {}
