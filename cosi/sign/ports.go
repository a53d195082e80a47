package sign

import (
	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/cosi"
)

// Slot is a place in which one key says one thing. The epoch is part of it because views,
// the sequence of votes, start again in every epoch.
type Slot struct {
	Type     cosi.Type
	Epoch    uint64
	Scope    cypherlink.Hash
	Sequence uint64
}

// Slots is the durable sign-once table of one key. It belongs to that key for good: a new
// key gets a new table, and a table is never restored from a backup (Once.Seen).
type Slots interface {
	// Claim puts hash into the slot if it is empty, and returns what it then holds. It
	// returns without an error only when that is durable, whoever wrote it. After an error
	// the slot may hold hash or not.
	Claim(slot Slot, hash cypherlink.Hash) (cypherlink.Hash, error)
	// Lookup returns what the slot holds, and whether it holds anything.
	Lookup(slot Slot) (cypherlink.Hash, bool, error)
}
