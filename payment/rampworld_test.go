package payment

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/channels"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/store"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/book"
)

const rtgs cypherlink.LedgerID = "rtgs"

// backed are the assets of the chain that come over the ramp: that of the channel, and another one.
func backed() [2]cypherlink.Asset {
	return [2]cypherlink.Asset{assetDCEP(), {Ledger: "cypherium", Code: "HKD", Scale: 2}}
}

// backing is the asset in whose escrow one of the chain lies.
func backing(asset cypherlink.Asset) cypherlink.Asset {
	asset.Ledger = rtgs
	return asset
}

// rampNetwork is made once and not changed.
var rampNetwork struct {
	sync.Once
	made *network
}

// newRampNetwork is the network in which nobody has anything on the chain but what came over the ramp.
func newRampNetwork(tb testing.TB) *network {
	tb.Helper()
	rampNetwork.Do(func() {
		operator := newPlayer(tb, "Digital euro ledger", chain.RoleOperator, "").id()
		rampNetwork.made = newNetwork(tb, func(f *chain.GenesisFile) {
			f.Ledgers = append(f.Ledgers,
				chain.Ledger{ID: rtgs, Kind: chain.External, Operator: operator, MinExpiryS: 8})
			policy := f.Assets[0].Policy
			f.Assets = f.Assets[1:] // DE stays as it is
			for _, asset := range backed() {
				f.Assets = append(f.Assets,
					chain.Asset{Asset: asset, Label: asset.Code, Issuer: operator, Policy: policy, Backing: backing(asset)},
					chain.Asset{Asset: backing(asset), Label: "RTGS " + asset.Code, Issuer: operator, Policy: policy})
			}
			f.Assets[1].Label = "DC/EP"
			for i := range f.Openings {
				f.Openings[i].Amount = 0
			}
		})
	})
	return rampNetwork.made
}

// rampWorld is a channelWorld with an external ledger, from which all value on the chain comes. What
// happens on either ledger happens one by one, and after each of it the two are weighed.
type rampWorld struct {
	*channelWorld
	external *book.Book
	store    *store.Store

	event sync.Mutex // held while something happens on a ledger
	// left and paid are what passed at the external ledger, out of it and into it.
	left, paid map[ledger.CrossingID]ledger.Crossing
	escrow     map[cypherlink.Asset]cypherlink.Amount
	commands   []*ledger.SignedCommand // all that were handed in
	tipped     bool                    // the first imbalance is told, not all that follow from it

	// what becomes of the ramps' calls; under world.mu
	luck *rand.Rand
	bad  int // so many in a hundred go wrong
}

// newRampWorld is two ledgers and no banks yet.
func newRampWorld(tb testing.TB, seed uint64) *rampWorld {
	tb.Helper()
	w := &rampWorld{
		channelWorld: newChannelWorld(tb, newRampNetwork(tb)),
		left:         map[ledger.CrossingID]ledger.Crossing{}, paid: map[ledger.CrossingID]ledger.Crossing{},
		luck: rand.New(rand.NewPCG(seed, 2)),
	}
	charter, err := w.genesis.Charter(rtgs)
	if err != nil {
		tb.Fatal(err)
	}
	charter.Burns = w
	var opening []ledger.Balance
	for _, of := range []*player{w.a, w.b, w.clearing} {
		for _, asset := range backed() {
			opening = append(opening, ledger.Balance{
				Account: cypherlink.Account{Owner: of.id()}, Asset: backing(asset), Amount: openingAmount,
			})
		}
	}
	ctx := context.Background()
	if w.store, err = store.Open(ctx, "sqlite:"+filepath.Join(w.dir, "rtgs.db")); err != nil {
		tb.Fatal(err)
	}
	w.external, err = book.Open(ctx, w.store, book.Options{
		Charter: *charter, Opening: opening, Signer: signer{w.operator}, Sweep: time.Minute,
	})
	if err != nil {
		tb.Fatal(err)
	}
	w.weighExternal()
	return w
}

func (w *rampWorld) close() {
	if err := w.external.Close(); err != nil {
		w.tb.Error(err)
	}
	if err := w.store.Close(); err != nil {
		w.tb.Error(err)
	}
}

// blocks makes blocks until ctx ends.
func (w *rampWorld) blocks(ctx context.Context) {
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			w.event.Lock()
			if err := w.chain.Block(); err != nil {
				w.tb.Error(err)
			}
			w.weigh()
			w.event.Unlock()
		}
	}
}

// Burn is ledger.Burns': a burn is proved by its id, if the final state has it.
func (w *rampWorld) Burn(evidence []byte) (x ledger.Crossing, err error) {
	found := false
	w.chain.Read(func(s *state.State) {
		err = s.Crossings(func(p state.Passed) bool {
			if string(p.ID[:]) == string(evidence) && p.Crossing.Asset.Ledger == w.genesis.Chain() {
				x, found = p.Crossing, true
			}
			return !found
		})
	})
	if err == nil && !found {
		err = state.ErrUnknown
	}
	return x, err
}

// weighExternal reads the books of the external ledger. All of an asset is in somebody's account there.
func (w *rampWorld) weighExternal() {
	balances, err := w.external.Balances(context.Background())
	if err != nil {
		w.tb.Error(err)
		return
	}
	w.escrow = map[cypherlink.Asset]cypherlink.Amount{}
	total := map[cypherlink.Asset]cypherlink.Amount{}
	for _, b := range balances {
		total[b.Asset] += b.Amount
		if b.Account.Number == ledger.EscrowNumber {
			w.escrow[b.Asset] += b.Amount
		}
	}
	for _, asset := range backed() {
		if got := total[backing(asset)]; got != 3*openingAmount {
			w.tb.Errorf("%s: %d in all, there were %d", backing(asset), got, 3*openingAmount)
		}
	}
}

// scales are where the value of one asset of the chain is.
type scales struct{ accounts, custodies, channels, arriving, leaving cypherlink.Amount }

func (s scales) sum() cypherlink.Amount {
	return s.accounts + s.custodies + s.channels + s.arriving + s.leaving
}

// weigh holds escrow against what is on the chain and what is on its way. The caller holds event.
func (w *rampWorld) weigh() { w.chain.Read(w.weighState) }

func (w *rampWorld) weighState(final *state.State) {
	on := map[cypherlink.Asset]*scales{}
	for _, asset := range backed() {
		on[asset] = &scales{}
	}
	balances, err := final.Balances()
	if err != nil {
		w.tb.Error(err)
		return
	}
	for _, b := range balances {
		on[b.Asset].accounts += b.Amount
	}
	err = final.Custodies(func(c ledger.Custody) bool {
		if c.State == ledger.Prepared {
			on[c.Subject.Fields.Asset].custodies += c.Subject.Fields.Amount
		}
		return true
	})
	if err != nil {
		w.tb.Error(err)
	}
	err = final.Channels(func(c *channels.Channel) bool {
		if c.State != channels.Closed {
			on[c.Asset].channels += cypherlink.Amount(c.Total())
		}
		return true
	})
	if err != nil {
		w.tb.Error(err)
	}
	passed := map[ledger.CrossingID]bool{}
	err = final.Crossings(func(p state.Passed) bool {
		passed[p.ID] = true
		if _, paid := w.paid[p.ID]; p.Crossing.Asset.Ledger == w.genesis.Chain() && !paid {
			on[p.Crossing.Asset].leaving += p.Crossing.Amount
		}
		return true
	})
	if err != nil {
		w.tb.Error(err)
	}
	for id, x := range w.left {
		if !passed[id] {
			asset := x.Asset
			asset.Ledger = w.genesis.Chain()
			on[asset].arriving += x.Amount
		}
	}
	for asset, s := range on {
		if w.tipped {
			return
		}
		if escrow := w.escrow[backing(asset)]; s.sum() != escrow {
			w.tipped = true
			w.tb.Errorf("block %d: escrow %d of %s, on the chain and on the way %d: %+v",
				final.Header().Height, escrow, asset, s.sum(), *s)
		}
	}
}

// cross hands a command to its ledger, and weighs.
func (w *rampWorld) cross(ctx context.Context, c *ledger.SignedCommand) (ledger.Passage, error) {
	w.event.Lock()
	w.commands = append(w.commands, c)
	w.event.Unlock()
	if c.Ledger == w.genesis.Chain() {
		return w.crossChain(ctx, c)
	}
	w.event.Lock()
	defer w.event.Unlock()
	p, err := w.external.Cross(context.WithoutCancel(ctx), c)
	if err == nil {
		in := w.left
		if p.Crossing.Asset.Ledger == w.genesis.Chain() {
			in = w.paid
		}
		in[p.Crossing.ID(w.genesis.Network())] = p.Crossing
	}
	w.weighExternal()
	w.weigh()
	return p, err
}

// crossChain is what chainledger does, without members and proofs.
func (w *rampWorld) crossChain(ctx context.Context, c *ledger.SignedCommand) (ledger.Passage, error) {
	id := ledger.CrossingID(c.Command.About(w.genesis.Network()))
	p := ledger.Passage{Ledger: c.Ledger, Evidence: id[:]}
	err := w.chain.HandIn(ctx, state.Command{Signed: c}, func() (found bool, err error) {
		w.chain.Read(func(s *state.State) {
			err = s.Crossings(func(passed state.Passed) bool {
				if passed.ID == id {
					p.Crossing, found = passed.Crossing, true
				}
				return !found
			})
		})
		return found, err
	})
	return p, err
}

// pier is a ledger of the ramp as one bank reaches it.
type pier struct {
	*rampWorld
	crash context.CancelFunc // ends the bank's ramp at once
}

// Cross is ledger.Ramp's. A call may come late, twice or not at all, its answer may be lost, and its bank
// may crash before it and after it.
func (p pier) Cross(ctx context.Context, c *ledger.SignedCommand) (ledger.Passage, error) {
	p.mu.Lock()
	luck, late := p.luck.IntN(100), time.Duration(p.luck.IntN(300))*time.Millisecond
	wrong := luck < p.bad
	p.mu.Unlock()
	time.Sleep(late)
	if wrong && luck%5 == 0 {
		p.crash()
	}
	if wrong && luck%5 < 2 {
		return ledger.Passage{}, errDown
	}
	passage, err := p.cross(ctx, c)
	if wrong && luck%5 == 2 {
		passage, err = p.cross(ctx, c)
	}
	if wrong && luck%5 == 3 {
		p.crash()
	}
	if wrong && luck%5 > 2 {
		return ledger.Passage{}, errDown
	}
	return passage, err
}

// startRamp starts a bank's ramp on a store of its own.
func (w *rampWorld) startRamp(of *player) (r *connector.Ramp, stop func()) {
	w.tb.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+filepath.Join(w.dir, of.BIC.String()+"-ramp.db"))
	if err != nil {
		w.tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := connector.RampOptions{
		Store: s, Signer: signer{of}, Network: w.genesis.Network(), Resend: time.Second, Log: quiet(),
		Ledgers: map[cypherlink.LedgerID]ledger.Ramp{
			rtgs: pier{w, cancel}, w.genesis.Chain(): pier{w, cancel},
		},
		To: map[cypherlink.Asset]cypherlink.LedgerID{},
	}
	for _, asset := range backed() {
		o.To[asset], o.To[backing(asset)] = rtgs, w.genesis.Chain()
	}
	r = connector.NewRamp(o)
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			w.tb.Error(err)
		}
		if err := s.Close(); err != nil {
			w.tb.Error(err)
		}
	}
}
