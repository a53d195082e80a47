package follow

import "context"

// Source is a member as a follower sees it. Nothing that it says is believed.
type Source interface {
	// Name tells it from others, in the log.
	Name() string
	// Fetch answers when the block that is asked for is final, or after the wait in the call.
	// ErrMessage says that the answer is none; any other error, that there was no answer.
	Fetch(ctx context.Context, call Fetch) (Blocks, error)
}
