package payment

import (
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink"
)

// announcedMost bounds the payments that are open here of each bank that pays: each takes a goroutine, a row
// and up to 32 KiB until it is over. It is one second of 2,000 payments a second. Of as many at most that
// are refused for their parties' sake a record is kept in each Patience.Negotiate.
const announcedMost = 1 << 11

// announcer is a bank that announces payments. It belongs to Connect.mu.
type announcer struct {
	// open are its payments that are not over, and its Setups that are being answered.
	open int
	// refused are those refused for their parties' sake since.
	refused int
	since   time.Time
}

func (c *Connect) announcer(of cypherlink.ParticipantID) *announcer {
	a := c.announcers[of]
	if a == nil {
		a = &announcer{}
		c.announcers[of] = a
	}
	return a
}

// admit makes room for a Setup until done is called with its refusal, if any; or it refuses it. A payment
// that is open has its room.
func (c *Connect) admit(
	now time.Time, from cypherlink.ParticipantID, uetr cypherlink.UETR,
) (done func(refusal *cypherlink.Error), refusal *cypherlink.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.announcer(from)
	if now.Sub(a.since) >= c.Bank.Patience.Negotiate {
		a.refused, a.since = 0, now
	}
	if c.byUETR[uetr] == nil && max(a.open, a.refused) >= announcedMost {
		return nil, refuse(CodeCrowded, notYet, fmt.Sprintf(
			"%d payments of the bank that pays are open, or were refused lately", announcedMost), nil)
	}
	a.open++
	return func(refusal *cypherlink.Error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if a.open--; refusal != nil && refusal.Code == CodeCompliance {
			a.refused++
		}
	}, nil
}
