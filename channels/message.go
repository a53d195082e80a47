package channels

import (
	"github.com/cypherlink/cypherlink"
)

// Message is what one bank's Party says to the other's: Offer, Countersignature, Refusal, Resync,
// Proposal, Consent, Secret or Failure. Whatever is signed in it the shell signs when it sends, and
// Party has persisted before.
//
//sumtype:decl
type Message interface{ message() }

// Offer is an update with its operations, signed by the payer and endorsed by the Validators.
type Offer struct{ Entry Entry }

// Countersignature is the payee's signature on an update, which covers everything before it.
type Countersignature struct {
	Slot  Slot
	Hash  cypherlink.Hash
	Payee [64]byte
}

// Refusal tells, without obligation, by which rule an offer will never be countersigned.
type Refusal struct {
	Slot Slot
	Hash cypherlink.Hash
	Rule Rule
	Text string
}

// Resync is how far a bank's log of both lanes reaches. Each of its updates is with the receiver's
// own signature, where the receiver has signed it: so it proves what it says.
type Resync struct {
	// Gens are the generations of lanes A and B.
	Gens [2]uint32
	// Written is where the sender's own lane ends; Certified is the last update of it that the
	// receiver has signed, nil if it is anchored.
	Written   Head
	Certified *Signed
	// Countersigned is the last update of the receiver's lane that the sender has signed, nil if it
	// is anchored.
	Countersigned *Signed
	// Locks are the open locks of both lanes at the anchored heads, nil if the sender does not know
	// them.
	Locks [2][]Lock
	// Session is the number of the sender's start. Echo is the receiver's, which this answers; zero
	// asks for an answer. What answers an earlier start is worth nothing.
	Session, Echo uint64
}

// Signed is an update with one signature on it.
type Signed struct {
	Update    Update
	Signature [64]byte
}

// Proposal asks for a joint action; Share is the sender's BLS signature on it.
type Proposal struct {
	Joint Joint
	Share [48]byte
}

// Consent is the other bank's BLS signature on a proposal.
type Consent struct {
	Joint Joint
	Share [48]byte
}

// Secret gives a lock's preimage to its payer, off chain.
type Secret struct {
	Lock     LockID
	Preimage cypherlink.Preimage
}

// Failure is the payee's consent to unlock before the expiry: it will never claim the lock.
type Failure struct{ Lock LockID }

func (Offer) message()            {}
func (Countersignature) message() {}
func (Refusal) message()          {}
func (Resync) message()           {}
func (Proposal) message()         {}
func (Consent) message()          {}
func (Secret) message()           {}
func (Failure) message()          {}
