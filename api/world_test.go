package api

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/chaintest"
	"github.com/cypherlink/cypherlink/connector"
	"github.com/cypherlink/cypherlink/internal/peer"
	"github.com/cypherlink/cypherlink/ledger"
	"github.com/cypherlink/cypherlink/payment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	uetr    = "eb6305c9-1f7f-49de-aed0-16487c27b42d"
	unknown = "00000000-1f7f-49de-aed0-16487c27b42d"
)

const instruction = `{
  "uetr": "eb6305c9-1f7f-49de-aed0-16487c27b42d",
  "end_to_end_id": "INV-2026-0042",
  "debtor": {"name": "Alice Example", "iban": "DE89370400440532013000", "country": "DE",
    "town": "Bonn", "agent": "CYPADEFFXXX"},
  "creditor": {"name": "Bob Beispiel", "account": "6222020200012345678", "country": "CN",
    "agent": "CYPBCNBJ"},
  "purpose": "GDDS",
  "remittance": "Invoice 42, one laptop",
  "destination": {"asset": "DC/EP", "amount": "2000.00"}
}`

const quoteRequest = `{"source": {"asset": "DE"}, "destination": {"asset": "DC/EP", "amount": "2000.00"}}`

// bank is a stub of all ports. It keeps idempotency keys as the ports promise to.
type bank struct {
	mu   sync.Mutex
	seen map[string][32]byte
	last submitted

	err    error         // what every port answers, if it is not nil
	hold   chan struct{} // what every port waits for, if it is not nil, once it told held
	held   chan struct{}
	panics bool
	events []payment.Entry
	found  *payment.Payment

	channels []*payment.Channel
	orders   []payment.Order // in the order in which they came, without repetitions
	crossing ledger.Crossing
	stage    connector.Stage
	network  cypherlink.NetworkID
}

// submitted is what a port was told last.
type submitted struct {
	raw    []byte
	format payment.Format
	key    string
	asker  cypherlink.ParticipantID
	quote  payment.QuoteRequest

	opening payment.Opening
}

func newBank() *bank {
	id, _ := cypherlink.ParseUETR(uetr)
	at := time.Date(2026, 11, 24, 9, 30, 0, 123e6, time.UTC)
	return &bank{seen: map[string][32]byte{}, found: &payment.Payment{
		UETR: id, EndToEndID: "INV-2026-0042", Direction: payment.Out, Status: payment.StatusReceived,
		Destination: &payment.Money{Asset: dcep(), Amount: 200000}, Received: at, Updated: at,
	}}
}

func de() cypherlink.Asset        { return cypherlink.Asset{Ledger: "de", Code: "EUR", Scale: 2} }
func dcep() cypherlink.Asset      { return cypherlink.Asset{Ledger: "cypherium", Code: "CNY", Scale: 2} }
func dcepClaim() cypherlink.Asset { return cypherlink.Asset{Ledger: "de", Code: "CNYC", Scale: 2} }

// serve makes the stub all ports.
func (o *Options) serve(b *bank, g *chain.Genesis) {
	o.Payments, o.Documents, o.Channels, o.Quotes, o.Crossings, o.Genesis = b, b, b, b, b, g
}

// once tells whether the same was told before under its name.
func (b *bank) once(ctx context.Context, name string, now submitted) (bool, error) {
	if b.hold != nil {
		b.held <- struct{}{}
		select {
		case <-b.hold:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.panics {
		panic("no such thing")
	}
	if b.err != nil || name == "" {
		return false, b.err
	}
	b.last = now
	sum := sha256.Sum256(now.raw)
	first, ok := b.seen[name]
	switch {
	case !ok:
		b.seen[name] = sum
	case first != sum:
		return false, &cypherlink.Error{
			Code: payment.CodeKeyReused, Reason: "DU01", Message: "the key has another body",
		}
	}
	return ok, nil
}

func (b *bank) Submit(
	ctx context.Context, raw []byte, format payment.Format, key string,
) (*payment.Answer, error) {
	a := &payment.Answer{Payment: b.found}
	if format == payment.XML {
		if _, err := payment.Parse(raw, format, nil); err != nil {
			return nil, err
		}
		key = "xml"
		var err error
		if a.Report, err = os.ReadFile(statusFile); err != nil {
			return nil, err
		}
	}
	var err error
	a.Replayed, err = b.once(ctx, key, submitted{raw: raw, format: format, key: key})
	return a, err
}

func (b *bank) find(ctx context.Context, id cypherlink.UETR) error {
	if id.String() != uetr {
		return &cypherlink.Error{Code: payment.CodeUnknown, Message: "this bank has no such payment"}
	}
	_, err := b.once(ctx, "", submitted{})
	return err
}

func (b *bank) Payment(ctx context.Context, id cypherlink.UETR) (*payment.Payment, error) {
	return b.found, b.find(ctx, id)
}

func (b *bank) Events(ctx context.Context, id cypherlink.UETR) ([]payment.Entry, error) {
	return b.events, b.find(ctx, id)
}

const receiptBytes = "{\"terms\":\"\\u0061\",  \"n\":1}\n" // not as this package would write it

func (b *bank) Receipt(ctx context.Context, id cypherlink.UETR) ([]byte, error) {
	return []byte(receiptBytes), b.find(ctx, id)
}

func (b *bank) Return004(ctx context.Context, id cypherlink.UETR) ([]byte, error) {
	return []byte("<Document/>"), b.find(ctx, id)
}

const statusFile = "../iso20022/testdata/pacs.002.settled.xml"

func (b *bank) Status002(ctx context.Context, id cypherlink.UETR) ([]byte, error) {
	if err := b.find(ctx, id); err != nil {
		return nil, err
	}
	return os.ReadFile(statusFile)
}

func (b *bank) QuoteOnce(
	ctx context.Context, asker cypherlink.ParticipantID, r *payment.QuoteRequest, raw []byte, key string,
) (*connector.SignedQuote, bool, error) {
	replayed, err := b.once(ctx, key, submitted{raw: raw, key: key, asker: asker, quote: *r})
	return &connector.SignedQuote{Quote: connector.Quote{
		ID: cypherlink.Hash{0x9f}, Asker: asker,
		Source:      connector.Movement{Asset: r.Source, Amount: 100100},
		Destination: connector.Movement{Asset: r.Destination, Amount: r.Amount},
		Price:       connector.Price{Rate: cypherlink.Rate{Num: 2, Den: 1}, Fee: 100},
		SourceHold:  32, DestinationHold: 20,
		ValidUntil: time.Date(2026, 11, 24, 9, 31, 0, 0, time.UTC).Unix(),
	}}, replayed, err
}

// genesis is that of chaintest with the two assets of the whitepaper's payment. Which of the
// two ledgers is the chain plays no part here.
func genesis(tb testing.TB) *chain.Genesis {
	tb.Helper()
	madeGenesis.Do(func() { theGenesis = newGenesis(tb) })
	return theGenesis
}

var (
	madeGenesis sync.Once // its keys take a while
	theGenesis  *chain.Genesis
)

func newGenesis(tb testing.TB) *chain.Genesis {
	tb.Helper()
	return chaintest.New(tb, func(f *chain.GenesisFile) {
		f.Assets[0].Label = "DE"
		second := f.Assets[0]
		second.Asset, second.Label = dcep(), "DC/EP"
		f.Ledgers = append(f.Ledgers, chain.Ledger{
			ID: "cypherium", Kind: chain.External, Operator: second.Issuer, MinExpiryS: 8,
		})
		third := second // a second EUR
		third.Asset.Code, third.Label = "EUR", "EUR2"
		claim := f.Assets[0] // of the chain, backed by the external DC/EP
		claim.Asset, claim.Label, claim.Backing = dcepClaim(), "DC/EP.C", dcep()
		f.Assets = append(f.Assets, second, third, claim)
		f.Participants[chaintest.Members+2].Role = chain.RoleClearing
	}).Genesis
}

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{}
	cert := a.issue(tb, "authority", true)
	a.cert, a.key = cert.Leaf, cert.PrivateKey.(ed25519.PrivateKey)
	return a
}

func (a *authority) issue(tb testing.TB, name string, ca bool) tls.Certificate {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true, IsCA: ca,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func spki(c tls.Certificate) peer.SPKI { return sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo) }

// world is a server on loopback with everything real but the ports.
type world struct {
	tb        testing.TB
	bank      *bank
	authority *authority
	client    tls.Certificate
	url, addr string
	http      *http.Client
	log       *logBuffer
	stop      func() error // ends the server and gives what Serve returned
}

// logBuffer is a log that a test reads while the server writes.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newWorld(tb testing.TB, change ...func(*Options)) *world {
	tb.Helper()
	w := &world{tb: tb, bank: newBank(), authority: newAuthority(tb), log: &logBuffer{}}
	w.client = w.authority.issue(tb, "client", false)
	o := DefaultOptions()
	o.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:    w.authority.pool(),
		Certificates: []tls.Certificate{w.authority.issue(tb, "server", false)},
	}
	o.Log = slog.New(slog.NewJSONHandler(w.log, nil))
	o.serve(w.bank, genesis(tb))
	for _, f := range change {
		f(&o)
	}
	listener := listen(tb)
	ctx, cancel := context.WithCancel(tb.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, listener, o) }()
	var once sync.Once
	var result error
	w.stop = func() error {
		once.Do(func() {
			w.http.CloseIdleConnections()
			cancel()
			result = <-served
		})
		return result
	}
	w.addr = listener.Addr().String()
	w.url = "https://" + w.addr
	w.http = w.as(w.client)
	tb.Cleanup(func() {
		if err := w.stop(); err != nil {
			tb.Error(err)
		}
	})
	return w
}

// listen is a listener on loopback.
func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// as is a client with a certificate.
func (w *world) as(c tls.Certificate) *http.Client {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: w.authority.pool(), Certificates: []tls.Certificate{c},
		},
		ForceAttemptHTTP2: true,
	}
	w.tb.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// answer is a response that was read.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) problem(tb testing.TB) Problem {
	tb.Helper()
	var p Problem
	if ct := a.Header.Get("Content-Type"); ct != problemType {
		tb.Fatalf("content type %q, body %s", ct, a.body)
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		tb.Fatal(err)
	}
	if p.Status != a.StatusCode || p.Type != problemURN+string(p.Code) || p.Title == "" || p.Detail == "" ||
		p.Instance != requestURN+a.Header.Get("X-Request-Id") || len(p.Instance) <= len(requestURN) {
		tb.Fatalf("status %d, problem %+v", a.StatusCode, p)
	}
	return p
}

// call is a request; header is name, value, name, value.
type call struct {
	method, path string
	body         string
	header       []string
}

func (c call) request(tb testing.TB, base string) *http.Request {
	tb.Helper()
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	r, err := http.NewRequestWithContext(tb.Context(), c.method, base+c.path, body)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(c.header); i += 2 {
		r.Header.Add(c.header[i], c.header[i+1])
	}
	return r
}

func (w *world) do(c call) answer { return w.doAs(w.http, c) }

func (w *world) doAs(client *http.Client, c call) answer {
	w.tb.Helper()
	res, err := client.Do(c.request(w.tb, w.url))
	if err != nil {
		w.tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	return answer{res, body}
}

func submit(key, body string) call {
	return call{http.MethodPost, "/v1/payments", body, []string{"Content-Type", jsonType, keyName, key}}
}

func ask(key, body string) call {
	return call{http.MethodPost, "/v1/quotes", body, []string{"Content-Type", jsonType, keyName, key}}
}

func get(path string) call { return call{http.MethodGet, path, "", nil} }

func message(body string) call {
	return call{http.MethodPost, "/v1/iso20022", body, []string{"Content-Type", xmlType}}
}

// direct is the handler without a network, for tests that need none.
type direct struct {
	tb      testing.TB
	bank    *bank
	handler http.Handler
}

func newDirect(tb testing.TB) *direct {
	tb.Helper()
	d := &direct{tb: tb, bank: newBank()}
	o := DefaultOptions()
	o.Rate = 1 << 30
	o.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: x509.NewCertPool(),
	}
	o.Log = slog.New(slog.DiscardHandler)
	o.serve(d.bank, genesis(tb))
	h, err := newHandler(o)
	if err != nil {
		tb.Fatal(err)
	}
	d.handler = h
	return d
}

// verified is what a handler sees of a connection whose client was verified.
func verified() *tls.ConnectionState {
	cert := &x509.Certificate{RawSubjectPublicKeyInfo: []byte("client")}
	return &tls.ConnectionState{
		PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}},
	}
}

func (d *direct) do(c call) answer {
	r := c.request(d.tb, "https://bank.example")
	r.TLS = verified()
	return d.serve(r)
}

func (d *direct) serve(r *http.Request) answer {
	if r.Body == nil {
		r.Body = http.NoBody // as net/http has it on a server
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return answer{w.Result(), w.Body.Bytes()}
}
