package member_test

import (
	"context"
	"log/slog"
	"net"
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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// town is a network whose members run in this process.
type town struct {
	*chaintest.Network
	t    testing.TB
	dir  string
	tls  []peer.Identity // of the members
	bank peer.Identity   // Alice's
	// addrs are the members'; runs are nil where none runs.
	addrs map[cypherlink.ParticipantID]string
	runs  []*run
}

// run is a member that runs.
type run struct {
	*member.Member
	stop func()
	err  chan error
}

// found makes a network of this moment and the folders of its members. edit changes its
// genesis file.
func found(t testing.TB, edit func(*chain.GenesisFile)) *town {
	t.Helper()
	w := &town{
		t: t, dir: t.TempDir(), addrs: map[cypherlink.ParticipantID]string{},
		runs: make([]*run, chaintest.Members),
	}
	for range chaintest.Members {
		w.tls = append(w.tls, identity(t))
	}
	w.bank = identity(t)
	w.Network = chaintest.New(t, func(f *chain.GenesisFile) {
		f.TimeMS = time.Now().Add(-time.Minute).UnixMilli()
		f.KeyBlock.IdleMS, f.KeyBlock.MaxBaseMS = 100, 1000
		for i := range f.KeyBlock.Members {
			pin := cypherlink.Hash(w.tls[i].SPKI())
			f.KeyBlock.Members[i].TLS, f.Participants[i].TLS = pin, pin
		}
		// Alice is the first participant after the members.
		f.Participants[chaintest.Members].TLS = cypherlink.Hash(w.bank.SPKI())
		if edit != nil {
			edit(f)
		}
	})
	committee, err := state.Committee(w.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	w.Committee = committee
	for i, m := range committee.KeyBlock().Members {
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
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
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
func (w *town) start(i int) *run {
	w.t.Helper()
	return w.startWith(i, w.options(i))
}

func (w *town) startWith(i int, o member.Options) *run {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m, err := member.Open(ctx, o)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	r := &run{Member: m, err: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.err <- m.Run(ctx)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		if err := m.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.runs[i] = r
	return r
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

// client is a connection of a participant to a member.
func (w *town) client(id peer.Identity, i int) *peer.Client {
	w.t.Helper()
	m := w.Committee.KeyBlock().Members[i]
	p := peer.DefaultProtocol(follow.Protocol)
	p.MaxBody = follow.MaxMessage
	c, err := peer.Dial(w.addrs[m.ID], peer.SPKI(m.TLS), id, p)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

// submit hands a command to a member and returns its answer.
func submit(c *peer.Client, wait time.Duration, command *ledger.SignedCommand) (follow.Outcome, error) {
	s := follow.Submission{
		WaitMS: uint32(wait.Milliseconds()), Transaction: state.NewTransaction(command),
	}
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
