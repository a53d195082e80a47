package laneledger_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow/followtest"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/cosi"
	"github.com/cypherlink/cypherlink/cosi/sign"
	"github.com/cypherlink/cypherlink/ilp"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/kyc"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger-adapters/laneledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
	"github.com/cypherlink/cypherlink/payment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// player is an actor as what signs for it.
type player struct{ ledgertest.Actor }

func (p player) ID() cypherlink.ParticipantID { return p.Actor.ID }

func (p player) SignRecorded(f cosi.Frame) ([64]byte, error) { return p.Sign(f) }

// cosigner is the actor's BLS key, as chaintest made it.
func (p player) cosigner(tb testing.TB) *sign.Key {
	tb.Helper()
	key, err := sign.GenerateKey(mathrand.NewChaCha8(p.Key))
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// end is a bank's end of the channel, as it runs.
type end struct {
	connect *payment.Connect
	ledger  *laneledger.Ledger
	stop    func()
}

// strait is a channel of Alice and Bob in the world's asset, with Validators that keep rule V.
type strait struct {
	testing.TB
	*chaintest.Network
	world   *ledgertest.World
	chain   *followtest.Chain
	id      channels.ID
	dir     string
	lanes   payment.Lanes
	clerk   ledgertest.Actor // a clearing bank, which every bank has
	endorse map[cypherlink.ParticipantID]*payment.Endorser
	log     *slog.Logger // of the ends that start

	mu   sync.Mutex
	ends map[cypherlink.ParticipantID]*end
	// fault may answer a call in the place of who is called.
	fault func(from, to cypherlink.ParticipantID, kind uint8) error
}

// newStrait opens the channel, funds it with all that both have, and starts both ends.
func newStrait(tb testing.TB, w *ledgertest.World) *strait {
	tb.Helper()
	s := openStrait(tb, w, false)
	s.start(w.Alice)
	s.start(w.Bob)
	tb.Cleanup(s.stop)
	s.seen(0)
	return s
}

// openStrait is newStrait before anybody starts; live: the chain's time is the clock's.
func openStrait(tb testing.TB, w *ledgertest.World, live bool) *strait {
	tb.Helper()
	s := &strait{
		TB: tb, world: w, dir: tb.TempDir(), clerk: ledgertest.NewActor("clearing"),
		ends: map[cypherlink.ParticipantID]*end{}, endorse: map[cypherlink.ParticipantID]*payment.Endorser{},
		log: slog.New(slog.DiscardHandler),
	}
	s.Network = chaintest.New(tb, func(f *chain.GenesisFile) {
		f.TimeMS = time.Now().Unix() * 1000
		if !live {
			f.TimeMS += time.Hour.Milliseconds() // no follower is ever behind the clock
		}
		bic, err := cypherlink.ParseBIC("CLRGLULL")
		if err != nil {
			tb.Fatal(err)
		}
		key := player{s.clerk}.cosigner(tb)
		f.Participants = append(f.Participants, chain.Participant{
			ID: s.clerk.ID, Name: "Clearing", Role: chain.RoleClearing, BIC: bic, KeySet: chain.KeySet{
				Identity: s.clerk.Key, Key: key.Public(), Possession: key.Possession(), TLS: [32]byte{1},
			},
		})
	})
	w.Network, w.Number = s.Genesis.Network(), ledger.ChannelNumber
	s.lanes = payment.Lanes{
		Limits: channels.DefaultLimits(), LagS: 2, InclusionS: 1, JointS: 3, Certify: 5 * time.Second,
		Resend: 200 * time.Millisecond, Anchor: 50 * time.Millisecond,
		JointAnchors: true, // so a payer holds the certificate of what is anchored, and can prove it
	}
	s.lanes.Limits.WindowS, s.lanes.Limits.Blocks, s.lanes.Limits.MinExpiryS = 8, 3, w.MinExpiry
	s.chain = followtest.New(tb, s.Network)
	s.chain.AtOnce, s.chain.Still = true, !live
	s.open()
	for _, v := range w.Validators {
		s.endorse[v.ID] = s.endorser(player{v})
	}
	return s
}

func (s *strait) open() {
	s.Helper()
	open := s.Open(1)
	open.Limits = s.lanes.Limits
	s.id = channels.NewID(s.world.Network, open.Banks, open.Asset, 1)
	j := channels.Joint{Channel: s.id, Do: open, ValidUntil: s.now().Unix() + 5}
	roster, err := state.JointRoster(s.chain.Registry().Registry, open.Banks, open.Asset)
	if err != nil {
		s.Fatal(err)
	}
	bodies := []state.Body{state.ChannelJoint{Joint: j, Certificate: s.Cosign(s, roster, j, 0, 1, 2, 3)}}
	for _, bank := range s.Banks() {
		fund := channels.Fund{Channel: s.id, Amount: ledgertest.Opening, Number: 1}
		bodies = append(bodies, state.ChannelAction{Signed: s.Act(bank, 1, fund)})
	}
	for _, body := range bodies {
		if err := s.chain.Block(body); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *strait) store(name string) *store.Store {
	s.Helper()
	st, err := store.Open(context.Background(), "sqlite:"+filepath.Join(s.dir, name+".db"))
	if err != nil {
		s.Fatal(err)
	}
	return st
}

func (s *strait) endorser(of player) *payment.Endorser {
	s.Helper()
	st := s.store(of.ID().String())
	s.Cleanup(func() { _ = st.Close() })
	e, err := payment.NewEndorser(payment.EndorserOptions{
		Network: s.world.Network, Self: of.ID(), Follower: s.chain, Store: st,
		Identity: endorserKey{of}, Cosigner: of.cosigner(s),
	})
	if err != nil {
		s.Fatal(err)
	}
	return e
}

// endorserKey is a player as package sign has signers.
type endorserKey struct{ player }

func (k endorserKey) Public() [32]byte { return k.Key }

// bank is the profile of a bank that has nothing but channels.
func (s *strait) bank(of ledgertest.Actor) *payment.Bank {
	s.Helper()
	list, err := kyc.NewList([]string{"Ivan the Terrible"})
	if err != nil {
		s.Fatal(err)
	}
	return &payment.Bank{
		Genesis: s.Genesis, ID: of.ID, Funding: s.world.Asset, Connector: s.clerk.ID,
		Requirements: &kyc.Requirements{
			Needed: []kyc.Field{kyc.DebtorName}, List: list, Hit: 900, Full: 950, Close: 800,
		},
		Base: "private.cl.de.bank", Secret: ilp.ServerSecret{1},
		Margins: connector.Margins{Resend: time.Second},
		Patience: payment.Patience{
			Negotiate: 10 * time.Second, Approve: 8 * time.Second, Resend: 200 * time.Millisecond,
		},
		Direct: []cypherlink.Asset{s.world.Asset}, DirectHold: 20 * time.Second,
	}
}

// nobody is a bank's customers and books, of which no test here has any.
type nobody struct{ payment.Books }

func (nobody) Standing(context.Context, kyc.Account) (kyc.Standing, string, error) {
	return kyc.Open, "", nil
}

func (s *strait) start(of ledgertest.Actor) {
	s.Helper()
	p := player{of}
	st := s.store(of.ID.String())
	bank := s.bank(of)
	tellers, err := payment.NewTellers(payment.TellersOptions{
		Genesis: s.Genesis, ID: of.ID, Assets: bank.Direct, Lanes: s.lanes, Resend: bank.Patience.Resend, Store: st,
		Chain: s.chain, Committee: s.chain, Identity: p, LaneSigner: p, JointSigner: p.cosigner(s),
		Peers: link{s, of.ID}, Log: s.log,
	})
	if err != nil {
		s.Fatal(err)
	}
	c, err := payment.NewConnect(payment.Options{
		Bank: bank, Store: st, Identity: p, Cosigner: p.cosigner(s), Peers: link{s, of.ID},
		Customers: nobody{}, Random: rand.Reader, Log: s.log,
		Tellers: tellers, Anchors: s.chain, Books: nobody{},
	})
	if err != nil {
		s.Fatal(err)
	}
	l, err := laneledger.New(laneledger.Options{
		Genesis: s.Genesis, Locks: c.Tellers.Locks(), Identity: p, Resend: s.lanes.Resend,
	})
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[of.ID] = &end{connect: c, ledger: l, stop: func() {
		cancel()
		if err := errors.Join(<-done, st.Close()); err != nil {
			s.Error(err)
		}
	}}
}

// halt stops an end, as a crash does but for what is being written.
func (s *strait) halt(of ledgertest.Actor) {
	s.mu.Lock()
	e := s.ends[of.ID]
	delete(s.ends, of.ID)
	s.mu.Unlock()
	if e != nil {
		e.stop()
	}
}

func (s *strait) stop() {
	s.halt(s.world.Alice)
	s.halt(s.world.Bob)
}

func (s *strait) end(of ledgertest.Actor) *end {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends[of.ID]
}

var errDown = errors.New("not reached")

// link is the network as one bank reaches it.
type link struct {
	*strait
	from cypherlink.ParticipantID
}

// Call is payment.Peers'.
func (l link) Call(ctx context.Context, to cypherlink.ParticipantID, kind uint8, body []byte) ([]byte, error) {
	l.mu.Lock()
	e, fault := l.ends[to], l.fault
	l.mu.Unlock()
	if fault != nil {
		if err := fault(l.from, to, kind); err != nil {
			return nil, err
		}
	}
	if v := l.endorse[to]; v != nil {
		switch kind {
		case payment.KindEndorse:
			return v.Endorse(ctx, l.from, body)
		case payment.KindJoin:
			return v.Join(ctx, l.from, body)
		}
		return nil, fmt.Errorf("kind %d: %w", kind, payment.ErrMessage)
	}
	switch {
	case e == nil:
		return nil, errDown
	case kind == payment.KindLock:
		return nil, e.ledger.Take(ctx, l.from, body)
	case kind == payment.KindCustody:
		return e.ledger.Show(ctx, body)
	}
	return e.connect.Serve(ctx, l.from, kind, body)
}

func (s *strait) setFault(f func(from, to cypherlink.ParticipantID, kind uint8) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// muted has the chain leave such actions alone; nil: none. A joint action, which anchors as well, is alone
// whenever an Anchor is.
func (s *strait) muted(by func(a channels.Action) bool) {
	if by == nil {
		s.chain.Ignore(nil)
		return
	}
	s.chain.Ignore(func(body state.Body) bool {
		if a, ok := body.(state.ChannelAction); ok {
			return by(a.Signed.Action)
		}
		return by(channels.Anchor{})
	})
}

// now is the second of the last final block.
func (s *strait) now() time.Time { return time.Unix(s.chain.Head().TimeMS/1000, 0) }

// advance lets time pass, and waits until both ends know.
func (s *strait) advance(d time.Duration) {
	s.Helper()
	s.chain.Advance(d)
	if err := s.chain.Block(); err != nil {
		s.Fatal(err)
	}
	s.seen(s.now().Unix())
}

// seen waits until every end that runs is synchronised and has looked at a block of that second.
func (s *strait) seen(second int64) {
	s.Helper()
	for _, of := range []ledgertest.Actor{s.world.Alice, s.world.Bob} {
		e := s.end(of)
		if e == nil {
			continue
		}
		s.eventually("an end sees the chain", func() bool {
			ch, err := e.connect.Tellers.Channel(context.Background(), s.id)
			return err == nil && ch.Synced && ch.Now.S >= second
		})
	}
}

// eventually asks again and again, for a while.
func (s *strait) eventually(what string, ok func() bool) {
	s.Helper()
	patience := time.NewTimer(2 * time.Minute)
	defer patience.Stop()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-patience.C:
			s.Fatalf("it does not come about: %s", what)
		}
	}
}
