package bft

import (
	"time"

	"github.com/cypherlink/cypherlink/chain"
)

// Input is what a replica can be told.
//
//sumtype:decl
type Input interface{ input() }

type (
	// Tick says that time has passed.
	Tick struct{}
	// Received is a message of member From, as the connection authenticated him. The replica
	// keeps parts of it.
	Received struct {
		From    int
		Message Message
	}
	// OwnVote is the vote of the durable record, as Safety signed it.
	OwnVote struct{ Vote chain.Vote }
	// OwnTimeout is the timeout of the durable record, as Safety signed it.
	OwnTimeout struct{ Timeout chain.Timeout }
	// OwnProposal is the signature on the proposal of the durable record.
	OwnProposal struct {
		Tuple     chain.Tuple
		Signature [64]byte
	}
	// Pool says whether the pool holds transactions that are not final.
	Pool struct{ Pending bool }
	// RoundTrip is the largest round-trip time to a member that the network measured.
	RoundTrip struct{ Largest time.Duration }
)

func (Tick) input()        {}
func (Received) input()    {}
func (OwnVote) input()     {}
func (OwnTimeout) input()  {}
func (OwnProposal) input() {}
func (Pool) input()        {}
func (RoundTrip) input()   {}

// Effects is what the host does after a step, in the order of the fields.
type Effects struct {
	// Persist is durable before anything below is done.
	Persist Persist
	// Sign is signed by Safety; each result is an input.
	Sign []Intent
	// Send is handed to the network, which may lose it.
	Send []Send
	// Apply is the blocks that became final, in the order of their heights, each exactly once
	// while the replica lives, and again after a restart if the host has not stored it. Each
	// is written with its proof, the state after it and Safety.Sequence in one durable batch
	// before anybody hears of it (I4).
	Apply []Final
	// Evidence is faults of other members that their signatures prove, each member's first of
	// each kind.
	Evidence []chain.Evidence
	// Alarm is why this member signs no more, once; else nil.
	Alarm error
	// Refused is why the message that came in had no effect, for the log; else nil.
	Refused error
	// WakeAt is the latest time of the next Step, by Tick if nothing else comes.
	WakeAt time.Time
}

// Persist is issued at once and awaited together: the record to the slots, the blocks to the
// store, where they stay until a block of their height or above is final (I1, I3).
type Persist struct {
	Record *Record
	Blocks []chain.Block
}

// Everyone stands for all other members.
const Everyone = -1

// Send is a message and the index of the member that gets it, or Everyone.
type Send struct {
	To      int
	Message Message
}

// Final is a block that never goes away again.
type Final struct {
	Block chain.Block
	// Proof begins with the block's header.
	Proof chain.FinalityProof
}
