package payment

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
)

// TellersOptions make Tellers. Every field but Restored is needed.
type TellersOptions struct {
	Genesis *chain.Genesis
	// ID is the institution, a bank or a clearing bank, and Account the number of its own account on the
	// chain.
	ID      cypherlink.ParticipantID
	Account uint32
	// Assets are those in which the institution has channels, all of the chain.
	Assets []cypherlink.Asset
	Lanes  Lanes
	// Resend is how long an opening waits before it is tried again.
	Resend      time.Duration
	Store       *store.Store
	Chain       Chain
	Committee   Committee
	Identity    connector.Signer
	LaneSigner  LaneSigner
	JointSigner JointSigner
	Peers       Peers
	// Restored says that the store is a copy of an older one: nothing is signed in a lane before its
	// generation has ended (L10).
	Restored bool
	Log      *slog.Logger
}

// Tellers are an institution's channels as they run: a teller for each, what opens them, the orders of
// its operator, and the hash locks in their lanes. A Connect or a Clearing runs them. They are safe for
// concurrent use.
type Tellers struct {
	TellersOptions
	locks      *Locks
	complaints Complaints
	// payments are the bank's; nil where no payment of one leg is made or taken, as at a clearing bank.
	payments payments
	// started is closed once the channels are taken up.
	started chan struct{}

	mu      sync.Mutex
	running context.Context //nolint:containedctx // of run: what Open starts lives in it
	tasks   sync.WaitGroup
	tellers map[channels.ID]*teller
	apart   map[channels.ID]*Channel // those without a teller: wanted, or over
	opening map[channels.ID]bool     // those that are being opened
	// earmarks are what is promised of the money in channels, by quote or lock.
	earmarks map[cypherlink.Hash]earmark
	fatal    chan error

	// session is this start's number, by its time: a store that was restored would count again from
	// an older one. actions counts on from it what is signed for the chain.
	session uint64
	actions atomic.Uint64
}

// payments are what a bank pays and is paid over its channels, as its tellers tell of it.
type payments interface {
	// takeUp tells an incoming payment something, in the commit of the channel's log; nil if there is
	// none.
	takeUp(tx *store.Tx, uetr cypherlink.UETR, in Input) (*Incoming, Effects, error)
	// arrived and shows are called when that commit is durable, resume when a payment has left its
	// channel.
	arrived(m *Incoming)
	shows(l *live)
	resume(l *live)
}

// NewTellers refuses with ErrOptions or ErrBank what cannot work.
func NewTellers(o TellersOptions) (*Tellers, error) {
	if o.Genesis == nil || o.Store == nil || o.Chain == nil || o.Committee == nil || o.Identity == nil ||
		o.LaneSigner == nil || o.JointSigner == nil || o.Peers == nil || o.Log == nil || o.Resend <= 0 {
		return nil, fmt.Errorf("a part of the channels is missing: %w", ErrOptions)
	}
	if o.Identity.ID() != o.ID {
		return nil, fmt.Errorf("identity of %s, channels of %s: %w", o.Identity.ID(), o.ID, ErrOptions)
	}
	if self, ok := o.Genesis.Participant(o.ID); !ok || !mayHoldChannels(self.Role) {
		return nil, fmt.Errorf("%s is no bank of the network: %w", o.ID, ErrBank)
	}
	for _, asset := range o.Assets {
		if asset.Ledger != o.Genesis.Chain() || !knows(o.Genesis, asset) {
			return nil, fmt.Errorf("channels in %s: %w", asset, ErrBank)
		}
	}
	if err := o.Lanes.Valid(); err != nil {
		return nil, err
	}
	return newTellers(o), nil
}

func newTellers(o TellersOptions) *Tellers {
	s := &Tellers{
		TellersOptions: o, started: make(chan struct{}), fatal: make(chan error, 1),
		tellers: map[channels.ID]*teller{}, apart: map[channels.ID]*Channel{},
		opening: map[channels.ID]bool{}, earmarks: map[cypherlink.Hash]earmark{},
		session: uint64(time.Now().UnixNano()),
	}
	s.locks = newLocks(s)
	s.actions.Store(s.session)
	return s
}

// mayHoldChannels tells whether participants of a role have channels.
func mayHoldChannels(r chain.Role) bool { return r == chain.RoleBank || r == chain.RoleClearing }

// run takes up the channels, with the payments that are in them, says so by taken, and works until ctx
// ends, which is no error, or until the store fails.
func (s *Tellers) run(ctx context.Context, held []*live, taken func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		s.mu.Lock()
		s.running = nil // nothing is started any more
		s.mu.Unlock()
		s.tasks.Wait()
	}()
	s.mu.Lock()
	s.running = ctx
	s.mu.Unlock()
	waiting, err := s.takeUpAll(ctx, held)
	if err != nil {
		return fmt.Errorf("take up the channels: %w", err)
	}
	close(s.started)
	taken()
	s.tasks.Go(func() {
		if err := s.keep(ctx, waiting); err != nil && ctx.Err() == nil {
			s.fail(err)
		}
	})
	select {
	case err := <-s.fatal:
		return err
	case <-ctx.Done():
		return nil
	}
}

// ready waits until the channels are taken up, and reports connector.ErrStopped when they are kept no more.
func (s *Tellers) ready(ctx context.Context) error {
	select {
	case <-s.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil || s.running.Err() != nil {
		return connector.ErrStopped
	}
	return nil
}

// fail ends run with an error.
func (s *Tellers) fail(err error) {
	select {
	case s.fatal <- err:
	default:
	}
}

// serve answers the talk of channels; ok is false if the call is none of it.
func (s *Tellers) serve(
	ctx context.Context, from cypherlink.ParticipantID, kind uint8, body []byte,
) (answer []byte, ok bool, err error) {
	if len(s.Assets) == 0 || kind != KindLane && kind != KindJoin {
		return nil, false, nil
	}
	if err := s.ready(ctx); err != nil {
		return nil, true, err
	}
	if kind == KindLane {
		return nil, true, s.talked(from, body)
	}
	answer, err = s.agreeToOpen(ctx, from, body)
	return answer, true, err
}

// has tells whether the institution has channels in all of those assets.
func (s *Tellers) has(assets []cypherlink.Asset) bool {
	for _, a := range assets {
		if !slices.Contains(s.Assets, a) {
			return false
		}
	}
	return true
}
