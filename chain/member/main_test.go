package member_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/member"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/ledger/ledgertest"
)

// TestMain runs a member instead of the tests in a process that a test has started for that.
func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		os.Exit(child(folder))
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = follow.MaxWaitMS * time.Millisecond

// land is a network with its keys: what takes long to make and does not change.
type land struct {
	*chaintest.Network
	tls  []peer.Identity // of the members
	bank peer.Identity   // Alice's
}

// town is a land whose members run in this process.
type town struct {
	land
	t   testing.TB
	dir string
	// addrs are the members'; runs are nil where none runs.
	addrs map[cypherlink.ParticipantID]string
	runs  []*run
	// clients are Alice's connections.
	clients [chaintest.Members]*peer.Client
}

// run is a member that runs.
type run struct {
	*member.Member
	stop func()
	// broken says that it must fail.
	broken bool
}

// quick is the land of most tests, with an idle interval of 100 ms.
var quick = sync.OnceValue(func() land {
	return discover(new(testing.T), func(f *chain.GenesisFile) {
		f.KeyBlock.IdleMS = 100
	})
})

// discover makes a network of this moment. edit changes its genesis file.
func discover(t testing.TB, edit func(*chain.GenesisFile)) land {
	t.Helper()
	var l land
	for range chaintest.Members {
		l.tls = append(l.tls, identity(t))
	}
	l.bank = identity(t)
	l.Network = chaintest.New(t, func(f *chain.GenesisFile) {
		f.TimeMS = time.Now().Add(-time.Minute).UnixMilli()
		for i := range f.KeyBlock.Members {
			pin := cypherlink.Hash(l.tls[i].SPKI())
			f.KeyBlock.Members[i].TLS, f.Participants[i].TLS = pin, pin
		}
		// Alice is the first participant after the members.
		f.Participants[chaintest.Members].TLS = cypherlink.Hash(l.bank.SPKI())
		edit(f)
	})
	committee, err := state.Committee(l.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	l.Committee = committee
	return l
}

// found makes the folders of a land's members.
func found(t testing.TB, l land) *town {
	t.Helper()
	w := &town{
		land: l, t: t, dir: t.TempDir(), addrs: map[cypherlink.ParticipantID]string{},
		runs: make([]*run, chaintest.Members),
	}
	for i, m := range w.Committee.KeyBlock().Members {
		w.addrs[m.ID] = freeAddr(t)
		if err := member.Create(w.folder(i), w.Genesis, quiet()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for i := range w.runs {
			w.stop(i)
		}
	})
	return w
}

func identity(t testing.TB) peer.Identity {
	t.Helper()
	id, err := peer.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := peer.PickAddr(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func quiet() *slog.Logger {
	return slog.New(slog.DiscardHandler)
}

func (w *town) folder(i int) string { return filepath.Join(w.dir, strconv.Itoa(i)) }

func (w *town) options(i int) member.Options {
	m := w.Committee.KeyBlock().Members[i]
	return member.Options{
		Genesis: w.Genesis, Identity: w.Identities[i], Key: w.Keys[i], TLS: w.tls[i],
		Data: w.folder(i), Listen: w.addrs[m.ID], Peers: w.addrs,
		Log: quiet().With(slog.Int("self", i)), Limits: member.DefaultLimits(),
	}
}

// start runs a member.
func (w *town) start(i int) {
	w.t.Helper()
	w.startWith(i, w.options(i))
}

func (w *town) startWith(i int, o member.Options) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m, err := member.Open(ctx, o)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	w.runs[i] = &run{Member: m, stop: sync.OnceFunc(func() {
		cancel()
		ran, closed := <-ended, m.Close()
		if w.runs[i].broken {
			if ran == nil {
				w.t.Errorf("member %d runs on a broken disk", i)
			}
			return
		}
		if err := errors.Join(ran, closed); err != nil {
			w.t.Errorf("member %d: %v", i, err)
		}
	})}
}

func (w *town) startAll() {
	w.t.Helper()
	for i := range w.runs {
		w.start(i)
	}
}

// stop stops a member, if it runs.
func (w *town) stop(i int) {
	if r := w.runs[i]; r != nil {
		r.stop()
		w.runs[i] = nil
	}
}

// client is Alice's connection to a member.
func (w *town) client(i int) *peer.Client {
	w.t.Helper()
	if w.clients[i] == nil {
		w.clients[i] = w.dial(w.bank, i, follow.Wire())
	}
	return w.clients[i]
}

// dial is a connection of whoever has the key to a member.
func (w *town) dial(id peer.Identity, i int, p peer.Protocol, classes ...peer.Class) *peer.Client {
	w.t.Helper()
	m := w.Committee.KeyBlock().Members[i]
	c, err := peer.Dial(w.addrs[m.ID], peer.SPKI(m.TLS), id, p, classes...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// submit hands a command to a member and returns its answer.
func submit(c *peer.Client, wait time.Duration, command *ledger.SignedCommand) (follow.Outcome, error) {
	return submitTx(c, wait, state.NewTransaction(state.Command{Signed: command}))
}

func submitTx(c *peer.Client, wait time.Duration, tx *state.Transaction) (follow.Outcome, error) {
	s := follow.Submission{WaitMS: uint32(wait.Milliseconds()), Transaction: tx}
	ctx, cancel := context.WithTimeout(context.Background(), wait+patience)
	defer cancel()
	b, err := c.Call(ctx, follow.KindSubmit, s.Encode())
	if err != nil {
		return follow.Outcome{}, err
	}
	return follow.DecodeOutcome(b)
}

func fetch(c *peer.Client, from uint64, wait time.Duration) (follow.Blocks, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait+patience)
	defer cancel()
	b, err := c.Call(ctx, follow.KindFetch, follow.Fetch{
		From: from, WaitMS: uint32(wait.Milliseconds()),
	}.Encode())
	if err != nil {
		return follow.Blocks{}, err
	}
	return follow.DecodeBlocks(b)
}

// eventually waits until what is asked holds.
func (w *town) eventually(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if <-tick.C; time.Now().After(deadline) {
			w.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// settle submits and insists on a final block.
func (w *town) settle(c *peer.Client, command *ledger.SignedCommand) uint64 {
	w.t.Helper()
	o, err := submit(c, patience, command)
	if err != nil || o.Status != follow.Final {
		w.t.Fatalf("outcome %+v, %v", o, err)
	}
	return o.Height
}

// payment is a payment of one unit, in time for all of a test.
func (w *town) payment(name string) ledgertest.Payment {
	return w.World.Payment(name, 1, time.Now().Add(10*time.Minute).Unix())
}
