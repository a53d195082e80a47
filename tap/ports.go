package tap

import (
	"context"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
)

// Feed is the chain as far as this process has verified it: a *follow.Follower.
type Feed interface {
	// Head is the header of the last final block.
	Head() chain.Header
	// Changed is closed when Head moves.
	Changed() <-chan struct{}
	// Entry is the event at an index below Head's feed size. It waits, until ctx ends, only
	// while it cannot be proved yet.
	Entry(ctx context.Context, index uint64) (follow.Entry, error)
	// Finality proves the first block from a height on, up to Head's, that has a proof of its
	// own. It waits as Entry does.
	Finality(ctx context.Context, height uint64) (chain.FinalityProof, error)
}
