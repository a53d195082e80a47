package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/cypherlink/cypherlink"
)

func TestOptionsThatCannotBeServed(t *testing.T) {
	network := genesis(t)
	ended, cancel := context.WithCancel(t.Context())
	cancel() // so that nothing is served where it could be
	for _, tt := range []struct {
		name   string
		change func(*Options)
	}{
		{"no TLS", func(o *Options) { o.TLS = nil }},
		{"TLS 1.2", func(o *Options) { o.TLS.MinVersion = tls.VersionTLS12 }},
		{
			"clients without a certificate",
			func(o *Options) { o.TLS.ClientAuth = tls.VerifyClientCertIfGiven },
		},
		{
			"certificates that nobody verifies",
			func(o *Options) { o.TLS.ClientAuth = tls.RequireAnyClientCert },
		},
		{"no authority for clients", func(o *Options) { o.TLS.ClientCAs = nil }},
		{"TLS that depends on the client", func(o *Options) {
			o.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{}, nil
			}
		}},
		{"no log", func(o *Options) { o.Log = nil }},
		{"no genesis", func(o *Options) { o.Genesis = nil }},
		{"payments without documents", func(o *Options) { o.Documents = nil }},
		{"documents without payments", func(o *Options) { o.Payments = nil }},
		{"nothing to serve", func(o *Options) { o.Payments, o.Documents, o.Quotes = nil, nil, nil }},
		{"no rate", func(o *Options) { o.Rate = 0 }},
		{"no requests", func(o *Options) { o.Requests = 0 }},
		{"no connections", func(o *Options) { o.Connections = 0 }},
		{"no time to read", func(o *Options) { o.Reading = 0 }},
		{"no time to handle", func(o *Options) { o.Handling = 0 }},
		{"no time to be idle", func(o *Options) { o.Idle = 0 }},
		{"no time to drain", func(o *Options) { o.Draining = 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := DefaultOptions()
			o.TLS = &tls.Config{
				MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert,
				ClientCAs: x509.NewCertPool(),
			}
			o.Log = slog.New(slog.DiscardHandler)
			b := newBank()
			o.serve(b, network)
			if err := o.Valid(); err != nil {
				t.Fatal(err)
			}
			tt.change(&o)
			listener := listen(t)
			if err := Serve(ended, listener, o); !errors.Is(err, ErrOptions) {
				t.Fatal(err)
			}
			if _, err := listener.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("the listener is left open: %v", err)
			}
		})
	}
}

func TestNobodyEntersWithoutAVerifiedCertificate(t *testing.T) {
	w := newWorld(t)
	stranger := newAuthority(t).issue(t, "stranger", false)
	for _, tt := range []struct {
		name   string
		config *tls.Config
	}{
		{"no certificate", &tls.Config{RootCAs: w.authority.pool()}},
		{"a certificate of another authority", &tls.Config{
			RootCAs: w.authority.pool(), Certificates: []tls.Certificate{stranger},
		}},
		{"TLS 1.2", &tls.Config{
			RootCAs: w.authority.pool(), Certificates: []tls.Certificate{w.client},
			MaxVersion: tls.VersionTLS12,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, path := range []string{"/healthz", documentPath, "/v1/payments/" + uetr, "/nothing"} {
				transport := &http.Transport{TLSClientConfig: tt.config}
				res, err := (&http.Client{Transport: transport}).Do(get(path).request(t, w.url))
				if err == nil {
					_ = res.Body.Close()
					t.Errorf("%s: %d", path, res.StatusCode)
				}
				transport.CloseIdleConnections()
			}
		})
	}
	t.Run("no TLS", func(t *testing.T) {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport}).Do(get("/healthz").request(t, "http://"+w.addr))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusBadRequest {
			t.Fatal(res.StatusCode)
		}
	})
	t.Run("a handler that is reached without TLS refuses", func(t *testing.T) {
		d := newDirect(t)
		unverified := &tls.ConnectionState{PeerCertificates: verified().PeerCertificates}
		for _, state := range []*tls.ConnectionState{nil, {}, unverified} {
			r := get("/healthz").request(t, "https://bank.example")
			r.TLS = state
			if p := d.serve(r).problem(t); p.Code != CodeNoClient || p.Status != 403 {
				t.Fatalf("%+v", p)
			}
		}
	})
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	w := newWorld(t)
	for _, c := range []call{
		get("/healthz"), get("/nothing"), get(documentPath), submit("k", instruction), submit("", "x"),
	} {
		a := w.do(c)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy":              "no-referrer",
			"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
			"Cross-Origin-Resource-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s %s: %s is %q", c.method, c.path, name, got)
			}
		}
		if len(a.Header.Get("X-Request-Id")) != 26 || a.ProtoMajor != 2 {
			t.Errorf("%s: %v", a.Proto, a.Header)
		}
	}
}

func TestAccessLog(t *testing.T) {
	w := newWorld(t)
	first := w.do(submit("secret-key", instruction))
	w.bank.err = fmt.Errorf("write: %w", errors.New("disk full"))
	broken := w.do(get("/v1/payments/" + uetr + "?"))
	w.do(get("/no/such/Alice"))
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	type line struct {
		Level, Method, Route, Client, Code, Error string
		Status                                    int
		Duration                                  int64
		RequestID                                 string `json:"request_id"`
	}
	var lines []line
	for text := range strings.Lines(w.log.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l)
	}
	if len(lines) != 3 {
		t.Fatalf("%d lines: %s", len(lines), w.log)
	}
	client := spki(w.client).String()[:16]
	want := []line{
		{
			Level: "INFO", Method: "POST", Route: "/v1/payments", Status: 202, Client: client,
			RequestID: first.Header.Get("X-Request-Id"),
		},
		{
			Level: "ERROR", Method: "GET", Route: "/v1/payments/{id}", Status: 500, Client: client,
			Code: "internal", Error: "write: disk full", RequestID: broken.Header.Get("X-Request-Id"),
		},
		{Level: "INFO", Method: "GET", Status: 404, Client: client, Code: "not_found"},
	}
	for i, l := range lines {
		if l.Duration <= 0 {
			t.Errorf("line %d lasted %d", i, l.Duration)
		}
		l.Duration, want[i].RequestID = 0, cmpOr(want[i].RequestID, l.RequestID)
		if l != want[i] {
			t.Errorf("line %d: %+v, want %+v", i, l, want[i])
		}
	}
	for _, private := range []string{
		"Alice", "Bob", "DE8937", "622202", "Invoice", "2000.00", "secret-key", uetr,
	} {
		if strings.Contains(w.log.String(), private) {
			t.Errorf("the log holds %q", private)
		}
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func TestInnerErrorsStayInside(t *testing.T) {
	d := newDirect(t)
	secret := errors.New("password=hunter2")
	for _, tt := range []struct {
		name string
		err  error
		code cypherlink.Code
	}{
		{"an error of no class", secret, CodeInternal},
		{
			"a class that the table does not have",
			&cypherlink.Error{Code: "hunter2", Message: "hunter2"}, CodeInternal,
		},
		{
			"a refusal that only concerns us",
			&cypherlink.Error{Code: "preimage_wrong", Message: "hunter2"}, CodeInternal,
		},
		{
			"the cause of a refusal",
			&cypherlink.Error{Code: "iban_invalid", Message: "bad", Err: secret}, "iban_invalid",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d.bank.err = tt.err
			a := d.do(submit("k", instruction))
			if p := a.problem(t); p.Code != tt.code || strings.Contains(string(a.body), "hunter2") {
				t.Fatalf("%s", a.body)
			}
		})
	}
}

func TestARefusalIsToldWithItsPlaceAndReason(t *testing.T) {
	d := newDirect(t)
	d.bank.err = &cypherlink.Error{
		Code: "iban_invalid", Reason: "AC03", Pointer: "/creditor/iban",
		Message: "the check digits do not match",
	}
	p := d.do(submit("k", instruction)).problem(t)
	want := []Violation{{"/creditor/iban", "iban_invalid", "the check digits do not match"}}
	if p.Status != 422 || p.ISOReason != "AC03" || p.Detail != "the check digits do not match" ||
		len(p.Violations) != 1 || p.Violations[0] != want[0] {
		t.Fatalf("%+v", p)
	}
}

func TestAPanicIsAnInternalError(t *testing.T) {
	w := newWorld(t)
	w.bank.panics = true
	p := w.do(submit("k", instruction)).problem(t)
	if p.Code != CodeInternal || p.Status != 500 {
		t.Fatalf("%+v", p)
	}
	w.bank.panics = false
	if a := w.do(submit("k", instruction)); a.StatusCode != http.StatusAccepted {
		t.Fatalf("after it: %d %s", a.StatusCode, a.body)
	}
	log := w.log.String()
	if !strings.Contains(log, "no such thing: api: panic") || !strings.Contains(log, "world_test.go") {
		t.Fatalf("%s", log)
	}
}

func TestAPanicInAnAnswerCutsIt(t *testing.T) {
	log := &logBuffer{}
	h := observe(slog.New(slog.NewJSONHandler(log, nil)))(http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("no such thing")
		}))
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
			t.Fatal(p)
		}
		if w.Body.String() != "half" || !strings.Contains(log.String(), "no such thing") {
			t.Fatalf("%q, %s", w.Body, log)
		}
	}()
	h.ServeHTTP(w, routed(get("/").request(t, "https://bank.example")))
}

// TestAnErrorOfHumaIsNotQuoted makes huma answer by itself, which no operation lets it do.
func TestAnErrorOfHumaIsNotQuoted(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code cypherlink.Code
	}{
		{errors.New("Alice"), CodeInternal},
		{huma.Error422UnprocessableEntity("Alice", &huma.ErrorDetail{Value: "Alice"}), CodeInvalid},
	} {
		router := chi.NewRouter()
		huma.Register(humachi.New(router, configuration()), huma.Operation{
			OperationID: "fail", Method: http.MethodGet, Path: "/",
		}, func(context.Context, *struct{}) (*healthOutput, error) { return nil, tt.err })
		w := httptest.NewRecorder()
		r := routed(get("/").request(t, "https://bank.example"))
		observe(slog.New(slog.DiscardHandler))(router).ServeHTTP(w, r)
		p := (answer{w.Result(), w.Body.Bytes()}).problem(t)
		if p.Code != tt.code || strings.Contains(w.Body.String(), "Alice") {
			t.Fatalf("%s", w.Body)
		}
	}
}

// routed is a request as the router hands it to its middleware.
func routed(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, chi.NewRouteContext()))
}

func TestRateIsPerClient(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Rate = 2 })
	other := w.as(w.authority.issue(t, "other", false))
	refused := 0
	for range 8 {
		a := w.do(get("/healthz"))
		if a.StatusCode == http.StatusTooManyRequests {
			refused++
			if p := a.problem(t); p.Code != CodeRate || a.Header.Get("Retry-After") != "1" {
				t.Fatalf("%+v %v", p, a.Header)
			}
		}
	}
	if refused < 3 { // the eight may fall into two windows
		t.Fatalf("%d of 8 were refused", refused)
	}
	if a := w.doAs(other, get("/healthz")); a.StatusCode != http.StatusOK {
		t.Fatalf("another client: %d", a.StatusCode)
	}
}

func TestRequestsAtATime(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Requests = 2 })
	w.bank.hold, w.bank.held = make(chan struct{}), make(chan struct{}, 2)
	var running sync.WaitGroup
	for i := range 2 {
		running.Go(func() {
			if a := w.do(submit(fmt.Sprint("k", i), instruction)); a.StatusCode != http.StatusAccepted {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
		})
		<-w.bank.held
	}
	a := w.do(get("/healthz"))
	if p := a.problem(t); p.Code != CodeOverload || p.Status != 503 || a.Header.Get("Retry-After") != "1" {
		t.Fatalf("%+v", p)
	}
	close(w.bank.hold)
	running.Wait()
	if a := w.do(get("/healthz")); a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
}

func TestARequestThatTakesTooLong(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Handling = 50 * time.Millisecond })
	w.bank.hold, w.bank.held = make(chan struct{}), make(chan struct{}, 1)
	a := w.do(submit("k", instruction))
	if p := a.problem(t); p.Code != CodeTimeout || p.Status != 503 || a.Header.Get("Retry-After") != "1" {
		t.Fatalf("%+v", p)
	}
}

// raw is a connection for what an HTTP client would not send.
func (w *world) raw(t *testing.T) *tls.Conn {
	t.Helper()
	c, err := w.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*tls.Conn)
}

func (w *world) dial(t *testing.T) (net.Conn, error) {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: w.authority.pool(), Certificates: []tls.Certificate{w.client},
		NextProtos: []string{"http/1.1"},
	}}
	return d.DialContext(t.Context(), "tcp", w.addr)
}

const postHeader = "POST /v1/payments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
	"Idempotency-Key: k\r\nContent-Length: %d\r\n\r\n"

func TestSlowRequests(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Reading = 100 * time.Millisecond })
	t.Run("a header that does not end", func(t *testing.T) {
		c := w.raw(t)
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n")
		if b, err := io.ReadAll(c); len(b) > 0 {
			t.Fatalf("%s %v", b, err)
		}
	})
	t.Run("a body that does not end", func(t *testing.T) {
		c := w.raw(t)
		_, _ = fmt.Fprintf(c, postHeader+"{", 100)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if p := (answer{res, body}).problem(t); p.Code != CodeBodyTimeout || p.Status != 408 {
			t.Fatalf("%+v", p)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Fatal("the connection is left open")
		}
	})
	t.Run("a body that is cut off", func(t *testing.T) {
		c := w.raw(t)
		_, _ = fmt.Fprintf(c, postHeader+"{", 100)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if p := (answer{res, body}).problem(t); p.Code != CodeBodyCut || p.Status != 400 {
			t.Fatalf("%+v", p)
		}
	})
	t.Run("a connection that says nothing", func(t *testing.T) {
		if b, err := io.ReadAll(w.raw(t)); len(b) > 0 {
			t.Fatalf("%s %v", b, err)
		}
	})
	t.Run("a handler may take longer than the reading", func(t *testing.T) {
		w.bank.hold, w.bank.held = make(chan struct{}), make(chan struct{}, 2)
		defer time.AfterFunc(300*time.Millisecond, func() { close(w.bank.hold) }).Stop()
		c := w.raw(t)
		body := pacs008(t)
		_, _ = fmt.Fprintf(c, "POST /v1/iso20022 HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\n"+
			"Content-Length: %d\r\n\r\n%s", len(body), body)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			t.Fatal(res.StatusCode)
		}
	})
}

func TestAConnectionMayBeIdleForAWhile(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Idle = 50 * time.Millisecond })
	c := w.raw(t)
	_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(b), `{"status":"ok"}`) {
		t.Fatalf("%s %v", b, err)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	w := newWorld(t)
	c := w.raw(t)
	long := strings.Repeat("x", 2*maxHeader)
	_, _ = fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", long)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Fatal(res.StatusCode)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Connections = 2 })
	first, second := w.raw(t), w.raw(t)
	if _, err := w.dial(t); err == nil {
		t.Fatal("a third connection was taken")
	}
	for _, c := range []*tls.Conn{first, second} {
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if b, err := io.ReadAll(c); err != nil || !strings.Contains(string(b), `{"status":"ok"}`) {
			t.Fatalf("%s %v", b, err)
		}
	}
	for { // until the server has noticed that they have gone
		res, err := w.http.Do(get("/healthz").request(t, w.url))
		if err != nil {
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatal(res.StatusCode)
		}
		break
	}
}

func TestShutdown(t *testing.T) {
	t.Run("a request that runs is answered", func(t *testing.T) {
		w := newWorld(t)
		w.bank.hold, w.bank.held = make(chan struct{}), make(chan struct{}, 1)
		answered := make(chan answer, 1)
		go func() { answered <- w.do(submit("k", instruction)) }()
		<-w.bank.held
		stopped := make(chan error, 1)
		go func() { stopped <- w.stop() }()
		for { // until nobody new is let in
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", w.addr)
			if err != nil {
				break
			}
			_ = c.Close()
		}
		close(w.bank.hold)
		if a := <-answered; a.StatusCode != http.StatusAccepted {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a request that does not end is cut off", func(t *testing.T) {
		w := newWorld(t, func(o *Options) { o.Draining = 50 * time.Millisecond })
		w.bank.hold, w.bank.held = make(chan struct{}), make(chan struct{}, 1)
		ended := make(chan error, 1)
		go func() {
			res, err := w.http.Do(submit("k", instruction).request(t, w.url))
			if err == nil {
				_ = res.Body.Close()
			}
			ended <- err
		}()
		<-w.bank.held
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		<-ended
		if !strings.Contains(w.log.String(), "requests were cut off") {
			t.Fatalf("%s", w.log)
		}
	})
	t.Run("a listener that fails ends it", func(t *testing.T) {
		listener := listen(t)
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
		a := newAuthority(t)
		o := DefaultOptions()
		o.TLS = &tls.Config{
			MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.pool(),
			Certificates: []tls.Certificate{a.issue(t, "server", false)},
		}
		o.Log, o.Quotes, o.Genesis = slog.New(slog.DiscardHandler), newBank(), genesis(t)
		if err := Serve(t.Context(), listener, o); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
	})
}
