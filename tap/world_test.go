package tap

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/chain/follow"
	"github.com/cypherlink/cypherlink/chain/state"
	"github.com/cypherlink/cypherlink/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// town is a committee that makes final blocks without consensus, and serves them as a member.
type town struct {
	*chaintest.Network
	state    *state.State
	qc       chain.QC
	payments int
	finalAt  time.Time // when the last block could be fetched
	check    *Check    // of the beginning of the feed, given to nobody

	mu      sync.Mutex
	blocks  []follow.FinalBlock
	changed chan struct{}
}

// theNetwork takes a while to make and does not change.
var theNetwork = sync.OnceValue(func() *chaintest.Network { return chaintest.New(new(testing.T), nil) })

func newTown(tb testing.TB) *town {
	tb.Helper()
	n := *theNetwork()
	s, err := state.Open(state.NewMemory(), n.Genesis)
	if err != nil {
		tb.Fatal(err)
	}
	n.SetRoots(tb, s.Header().Roots)
	return &town{Network: &n, state: s, qc: n.Committee.Genesis(), changed: make(chan struct{})}
}

// now is the time of the last block, in milliseconds.
func (w *town) now() int64 { return w.state.Header().TimeMS }

// block makes a block of so many new custodies, a second after the last one.
func (w *town) block(tb testing.TB, events int) {
	tb.Helper()
	w.blockAt(tb, w.now()+1000, events)
}

func (w *town) blockAt(tb testing.TB, at int64, events int) {
	tb.Helper()
	var commands []*ledger.SignedCommand
	for range events {
		w.payments++
		pay := w.World.Payment(fmt.Sprint(w.payments), 1, at/1000+1<<20)
		pay.Packet = []byte("packet")
		commands = append(commands, w.World.Prepare(pay))
	}
	w.commands(tb, at, commands...)
}

func (w *town) commands(tb testing.TB, at int64, commands ...*ledger.SignedCommand) {
	tb.Helper()
	var txs []*state.Transaction
	for _, c := range commands {
		txs = append(txs, state.NewTransaction(state.Command{Signed: c}))
	}
	built, err := w.state.Build(w.state.Final(), w.state.Header().Height+1, at, txs)
	if err != nil || len(built.LeftOut) > 0 {
		tb.Fatalf("%v, left out %v", err, built.LeftOut)
	}
	b := w.Block(w.qc, at, built.Payload, built.Version.Roots())
	w.add(tb, b)
	err = w.state.Commit(built.Version, state.Final{Block: b, Proof: w.blocks[len(w.blocks)-1].Proof})
	if err != nil {
		tb.Fatal(err)
	}
}

// add certifies a block, valid or not, and serves it.
func (w *town) add(tb testing.TB, b chain.Block) {
	tb.Helper()
	w.qc = w.Certify(tb, b.Header)
	child := w.Block(w.qc, b.Header.TimeMS+1, nil, b.Header.Roots)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocks = append(w.blocks, follow.FinalBlock{Block: b, Proof: chain.FinalityProof{
		Headers: []chain.Header{b.Header, child.Header}, QC: w.Certify(tb, child.Header),
	}})
	w.finalAt = time.Now()
	close(w.changed)
	w.changed = make(chan struct{})
}

// Name implements follow.Source.
func (w *town) Name() string { return "member" }

// Fetch implements follow.Source: it waits for the block that is asked for, and gives at most four.
func (w *town) Fetch(ctx context.Context, call follow.Fetch) (follow.Blocks, error) {
	timer := time.NewTimer(time.Duration(call.WaitMS) * time.Millisecond)
	defer timer.Stop()
	for {
		w.mu.Lock()
		head, changed := uint64(len(w.blocks)), w.changed
		var blocks []follow.FinalBlock
		if call.From <= head {
			blocks = append(blocks, w.blocks[call.From-1:min(head, call.From+3)]...)
		}
		w.mu.Unlock()
		if len(blocks) > 0 {
			return follow.Blocks{Head: head, Blocks: blocks}, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return follow.Blocks{Head: head}, nil
		case <-ctx.Done():
			return follow.Blocks{}, ctx.Err()
		}
	}
}

// following is a follower of the sources, which runs until the test ends.
func (w *town) following(tb testing.TB, sources ...follow.Source) *follow.Follower {
	tb.Helper()
	o := follow.DefaultOptions(w.Genesis)
	o.Store, o.Log, o.Sources = state.NewMemory(), quiet(), sources
	f, err := follow.Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return f
}

// reach waits until the follower is at the height of the town.
func (w *town) reach(tb testing.TB, f *follow.Follower) {
	tb.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		changed := f.Changed()
		if f.Head().Height >= w.state.Header().Height {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			tb.Fatalf("the follower is at %d", f.Head().Height)
		}
	}
}

// records are all that a follower has, as the JSON of each says.
func records(tb testing.TB, f Feed) []Record {
	tb.Helper()
	var all []Record
	for i := range f.Head().Roots.FeedSize {
		e, err := f.Entry(tb.Context(), i)
		if err != nil {
			tb.Fatal(err)
		}
		r, err := newRecord(e)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, again(tb, *r))
	}
	return all
}

// again is a value after it was JSON.
func again[T any](tb testing.TB, v T) T {
	tb.Helper()
	var out T
	if err := decode(line(tb, v), &out); err != nil {
		tb.Fatal(err)
	}
	return out
}

func line(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// authority issues certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) issue(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// served is a tap on loopback, and readers of it.
type served struct {
	testing.TB
	url       string
	addr      string
	authority *authority
	client    *http.Client
	end       func() error
}

func options(tb testing.TB, a *authority, feed Feed) Options {
	tb.Helper()
	o := DefaultOptions()
	o.Log, o.Feed = quiet(), feed
	o.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: a.pool(), Certificates: []tls.Certificate{a.issue(tb)},
	}
	return o
}

func serve(tb testing.TB, feed Feed, change func(*Options)) *served {
	tb.Helper()
	a := newAuthority(tb)
	o := options(tb, a, feed)
	change(&o)
	socket, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, socket, o) }()
	s := &served{TB: tb, addr: socket.Addr().String(), authority: a}
	s.url, s.client = "https://"+s.addr, s.reader()
	s.end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	tb.Cleanup(func() {
		if err := s.end(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// config is the TLS of a new reader.
func (s *served) config() *tls.Config {
	return &tls.Config{RootCAs: s.authority.pool(), Certificates: []tls.Certificate{s.authority.issue(s)}}
}

// reader is an HTTP client with a certificate of its own.
func (s *served) reader() *http.Client {
	transport := &http.Transport{TLSClientConfig: s.config(), ForceAttemptHTTP2: true}
	s.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// answer is what came of a request.
type reply struct {
	*http.Response
	body []byte
}

func (s *served) do(client *http.Client, method, path string, body io.Reader) reply {
	s.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, s.url+path, body)
	if err != nil {
		s.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return reply{res, b}
}

func (s *served) get(path string) reply {
	s.Helper()
	return s.do(s.client, http.MethodGet, path, nil)
}

// problem is the problem that the reply has to be.
func (r reply) problem(tb testing.TB) Problem {
	tb.Helper()
	var p Problem
	if err := decode(r.body, &p); err != nil || p.Status != r.StatusCode ||
		r.Header.Get("Content-Type") != problemType {
		tb.Fatalf("%d %s: %v", r.StatusCode, r.body, err)
	}
	return p
}

// recorder is httptest.ResponseRecorder under a name that is not taken.
type recorder = httptest.ResponseRecorder

func newRecorder() *recorder { return httptest.NewRecorder() }
