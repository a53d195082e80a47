package bft

import (
	"io"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/cosi"
)

// Machine executes what the chain orders. It keeps the state after every block that it has
// executed and that may still become final; the host tells it which did. All members'
// machines answer alike.
type Machine interface {
	// Build chooses transactions for a child of h.Parent.Block at h.TimeMS and gives the
	// roots after them. All of h is set but payload and roots. The payload keeps the bounds of
	// a block, and is empty if h.Ending is not zero. The child comes back to Execute.
	Build(h chain.Header) (chain.Payload, chain.Roots, error)
	// Execute gives the roots after block h, from the state after h.Parent.Block, and keeps
	// that state under h's id. It may be asked again. The error ErrInvalid says that a
	// transaction does not succeed; any other stops the replica.
	Execute(h chain.Header, p chain.Payload) (chain.Roots, error)
}

// Archive is the final blocks that the host has stored, for members that are behind.
type Archive interface {
	// Block is the final block at a height, and whether it is there.
	Block(height uint64) (chain.Block, bool, error)
}

// Disk is the file of the safety record, DiskSize bytes long; an *os.File is one. WriteAt
// and Sync return only when done; after a Sync without an error all of it survives a crash.
type Disk interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Key signs a frame that is durable in the safety record: *sign.Key for votes and timeouts,
// *sign.Identity for proposals.
type Key[S any] interface {
	SignRecorded(f cosi.Frame) (S, error)
}
