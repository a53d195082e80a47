// Package submit is how a participant hands transactions to the committee.
//
// Its noun is the Member: a connection to one member of the committee that also takes
// submissions. Whoever only follows the chain, as the regulators' tap does, links package follow
// alone and not this one. It refuses to sign, to follow up what it has handed in, and to believe
// a member's word on it: that is for ledger-adapters/chainledger.
// Source: the design of the committee chain, "Transactions".
package submit

import (
	"context"
	"fmt"
	"time"

	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/internal/peer"
)

// Member is the connection to one member of the committee: what it can be asked for as a
// follow.Source, and Submit.
type Member struct {
	*follow.Member
	client *peer.Client
}

// Dial starts the connection to the member that listens on addr and has the key pin. It returns
// at once and connects in the background.
func Dial(name, addr string, pin peer.SPKI, id peer.Identity) (*Member, error) {
	client, err := peer.Dial(addr, pin, id, follow.Wire())
	if err != nil {
		return nil, fmt.Errorf("member %s: %w", name, err)
	}
	return &Member{follow.NewMember(name, client), client}, nil
}

// Submit hands a transaction to the member. follow.ErrMessage says that the answer is none; any
// other error, that the member may or may not have it.
func (m *Member) Submit(ctx context.Context, call follow.Submission) (follow.Outcome, error) {
	// the member may hold its answer back for as long as it is asked to
	patience := time.Duration(call.WaitMS)*time.Millisecond + peer.DefaultWait
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := m.client.Call(ctx, follow.KindSubmit, call.Encode())
	if err != nil {
		return follow.Outcome{}, fmt.Errorf("member %s: %w", m.Name(), err)
	}
	return follow.DecodeOutcome(answer)
}
