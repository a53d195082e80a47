package payment

import (
	"log/slog"
	"sync"
	"time"

	"github.com/cypherlink/cypherlink"
)

// complainEvery is how often an operator is told the same of a peer.
const complainEvery = time.Minute

// Complaints pace what is logged of what peers do wrong, so that a flood of it does not fill a disk: of each
// peer and rule the first is logged, then at most one in a minute, with how many were left out. Rules are
// this process's words, never a peer's, so they are few. The zero value is ready, and safe for concurrent
// use.
type Complaints struct {
	mu    sync.Mutex
	about map[complaint]*complained
}

type complaint struct {
	peer cypherlink.ParticipantID
	rule string
}

type complained struct {
	last    time.Time
	leftOut int
}

// About is log for what a peer does against a rule, which it names; one that drops everything if the same
// was logged lately.
func (c *Complaints) About(
	now time.Time, log *slog.Logger, peer cypherlink.ParticipantID, rule string,
) *slog.Logger {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.about == nil {
		c.about = map[complaint]*complained{}
	}
	key := complaint{peer, rule}
	told := c.about[key]
	switch {
	case told == nil:
		told = &complained{}
		c.about[key] = told
	case now.Sub(told.last) < complainEvery:
		told.leftOut++
		return slog.New(slog.DiscardHandler)
	}
	leftOut := told.leftOut
	told.last, told.leftOut = now, 0
	return log.With(
		slog.String("peer", peer.String()), slog.String("rule", rule), slog.Int("left_out", leftOut))
}
