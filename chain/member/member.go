package member

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/bft"
	"github.com/cypherlink/cypherlink/chain/state"
)

// Member is a committee member. Run may be called once; the other methods by any goroutine.
// What is not final when it stops, it forgets: submitters ask again.
type Member struct {
	log       *slog.Logger
	genesis   *chain.Genesis
	committee *chain.Committee
	self      int
	limits    Limits
	now       func() time.Time
	meters    meters
	network   network
	news      news
	// arrivals are transactions on their way to the loop, verified those whose signature is
	// good. jobs are what the herald does.
	arrivals chan arrival
	verified chan []arrival
	jobs     chan job
	trips    chan time.Duration
	// ended is closed when Run has ended.
	ended chan struct{}
	runs  atomic.Bool

	lock  *os.File
	disk  *os.File // of the safety record, or nil
	store *ahead

	// The rest is the loop's own.
	state     *state.State
	machine   *machine
	pool      *pool
	proposals *proposals
	safety    *bft.Safety // nil for an observer
	replica   *bft.Replica
	inputs    []bft.Input
	// admitted says that it is the turn of a message of consensus.
	admitted bool
}

// Open opens the folder, takes its lock, decides whether this member may sign, and listens.
// It signs and answers nothing before Run. ctx bounds the life of the listener. Errors:
// ErrOptions, ErrFolder, ErrLocked, state.ErrStore, and those of disk and network.
func Open(ctx context.Context, o Options) (_ *Member, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m := &Member{
		log: o.Log, genesis: o.Genesis, limits: o.Limits, now: o.Now,
		arrivals: make(chan arrival, arrivalsInQueue), verified: make(chan []arrival),
		jobs: make(chan job, jobsInQueue), trips: make(chan time.Duration, 1),
		ended: make(chan struct{}),
	}
	if m.now == nil {
		m.now = time.Now
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if m.committee, err = state.Committee(m.genesis); err != nil {
		return nil, err
	}
	if m.self, err = o.self(m.committee); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Data, folderMode); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if m.lock, err = lockFolder(o.Data); err != nil {
		return nil, err
	}
	why, err := m.openSafety(o)
	if err != nil {
		return nil, err
	}
	if err := m.openReplica(why); err != nil {
		return nil, err
	}
	return m, m.openNetwork(ctx, o)
}

// openSafety opens store and safety record. why is the reason not to sign, or nil (I5).
func (m *Member) openSafety(o Options) (why, err error) {
	if err := orphan(o.Data); err != nil {
		return nil, err
	}
	store, err := openStore(o.Data, o.Log)
	if err != nil {
		return nil, err
	}
	m.store = &ahead{Pebble: store}
	if m.state, err = state.Open(m.store, m.genesis); err != nil {
		return nil, err
	}
	if err := m.store.durable()(); err != nil { // of a store that was begun just now
		return nil, err
	}
	m.disk, err = os.OpenFile(filepath.Join(o.Data, safetyName), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s has no safety record: %w", o.Data, bft.ErrObserver), nil
	}
	if err != nil {
		return nil, fmt.Errorf("safety record: %w", err)
	}
	m.safety, err = bft.OpenSafety(m.disk, m.committee, m.self, o.Key, o.Identity, m.state.Sequence())
	if errors.Is(err, bft.ErrObserver) {
		return err, nil
	}
	return nil, err
}

func (m *Member) openReplica(why error) error {
	final, err := m.state.BlockAt(m.state.Header().Height)
	if err != nil {
		return err
	}
	height := final.Header.Height
	start := bft.Start{Record: bft.NewRecord(m.committee), Final: final, High: m.committee.Genesis()}
	if m.proposals, start.Blocks, err = openProposals(m.store.Pebble, height); err != nil {
		return err
	}
	if why != nil {
		m.observe(why)
	} else {
		start.Record = m.safety.Record()
	}
	if height > 0 {
		proof, err := m.state.ProofAt(height)
		if err != nil {
			return err
		}
		start.High = proof.QC
	}
	m.pool = newPool(m.limits)
	m.machine = newMachine(m.state, m.pool)
	m.news = news{head: height, changed: make(chan struct{})}
	m.meters.height.Store(height)
	m.replica, err = bft.New(m.now(), bft.Options{
		Committee: m.committee, Self: m.self, Machine: m.machine, Archive: archive{m.state},
		Observer: why != nil,
	}, start)
	return err
}

func (m *Member) observe(why error) {
	m.meters.observer.Store(true)
	m.log.LogAttrs(context.Background(), slog.LevelError, "member signs no more", slog.Any("error", why))
}

// Addr is the address it listens on.
func (m *Member) Addr() string { return m.network.listener.Addr().String() }

// Committee is the one that the member belongs to.
func (m *Member) Committee() *chain.Committee { return m.committee }

// Close ends listening and lets go of the folder. It waits for Run, if that was called: the
// end of Run's ctx is for the caller. It may be called more than once.
func (m *Member) Close() error {
	if m.runs.Load() {
		<-m.ended
	}
	err := m.network.close()
	if m.store != nil {
		err = errors.Join(err, m.store.Close())
		m.store = nil
	}
	for _, f := range []**os.File{&m.disk, &m.lock} {
		if *f != nil {
			err = errors.Join(err, (*f).Close())
			*f = nil
		}
	}
	return err
}
