package tap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain"
	"github.com/cypherlink/cypherlink/chain/follow"
)

func TestOptionsThatCannotBeServed(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel() // so that nothing is served where it could be
	a := newAuthority(t)
	for name, change := range map[string]func(*Options){
		"no TLS":  func(o *Options) { o.TLS = nil },
		"TLS 1.2": func(o *Options) { o.TLS.MinVersion = tls.VersionTLS12 },
		"readers without a certificate": func(o *Options) {
			o.TLS.ClientAuth = tls.VerifyClientCertIfGiven
		},
		"certificates that nobody verifies": func(o *Options) { o.TLS.ClientAuth = tls.RequireAnyClientCert },
		"no authority for readers":          func(o *Options) { o.TLS.ClientCAs = nil },
		"TLS that depends on the reader": func(o *Options) {
			o.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return &tls.Config{}, nil }
		},
		"no log":                    func(o *Options) { o.Log = nil },
		"no feed":                   func(o *Options) { o.Feed = nil },
		"no requests":               func(o *Options) { o.Requests = 0 },
		"no requests of one reader": func(o *Options) { o.RequestsEach = 0 },
		"no streams":                func(o *Options) { o.Streams = 0 },
		"no streams of one reader":  func(o *Options) { o.StreamsEach = 0 },
		"no connections":            func(o *Options) { o.Connections = 0 },
		"no time to read":           func(o *Options) { o.Reading = 0 },
		"no time to handle":         func(o *Options) { o.Handling = 0 },
		"no time to be idle":        func(o *Options) { o.Idle = 0 },
		"no patience":               func(o *Options) { o.Patience = 0 },
		"no heartbeat":              func(o *Options) { o.Heartbeat = 0 },
		"frozen at once":            func(o *Options) { o.Frozen = 0 },
		"no time to drain":          func(o *Options) { o.Draining = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, a, &still{})
			if err := o.Valid(); err != nil {
				t.Fatal(err)
			}
			change(&o)
			socket, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if err := Serve(ended, socket, o); !errors.Is(err, ErrOptions) {
				t.Fatal(err)
			}
			if _, err := socket.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Fatalf("the listener is left open: %v", err)
			}
		})
	}
}

// still is a feed that stands still, without events.
type still struct {
	head chain.Header
	err  error // of Entry and Finality
}

func (s *still) Head() chain.Header { return s.head }

func (s *still) Changed() <-chan struct{} { return nil }

func (s *still) Entry(ctx context.Context, _ uint64) (follow.Entry, error) {
	if s.err == nil {
		<-ctx.Done()
		return follow.Entry{}, ctx.Err()
	}
	return follow.Entry{}, s.err
}

func (s *still) Finality(ctx context.Context, _ uint64) (chain.FinalityProof, error) {
	if s.err == nil {
		<-ctx.Done()
		return chain.FinalityProof{}, ctx.Err()
	}
	return chain.FinalityProof{}, s.err
}

func paths() []string {
	return []string{
		"/", "/v1/events", "/v1/events/1", "/v1/stream", "/v1/head", "/v1/heads/1", "/healthz",
		"/openapi.yaml", "/nothing", "/v1/events/", "/v1//events", "/v1/../healthz",
	}
}

// T1: whatever verb a reader's certificate tries, on whatever path, with or without a body, it is
// refused by a problem, and the feed stays as it is.
func TestEveryWriteIsRefused(t *testing.T) {
	w, all, _ := feed(t)
	f := w.following(t, w)
	w.reach(t, f)
	s := serve(t, f, func(*Options) {})
	for _, method := range []string{
		"POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "LINK", "UNLINK", "PURGE", "LOCK", "UNLOCK", "MKCOL",
		"COPY", "MOVE", "PROPFIND", "PROPPATCH", "REPORT", "SEARCH", "BREW", "get", "QUERY",
	} {
		for _, path := range paths() {
			for _, body := range []string{"", `{"number":24}`} {
				a := s.do(s.client, method, path, strings.NewReader(body))
				if a.StatusCode != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET" {
					t.Errorf("%s %s: %d, allowed %q", method, path, a.StatusCode, a.Header.Get("Allow"))
				}
				if method != "HEAD" && a.problem(t).Code != CodeMethod {
					t.Errorf("%s %s: %s", method, path, a.body)
				}
			}
		}
	}
	for _, path := range paths() {
		if p := s.do(s.client, "GET", path, strings.NewReader("{}")).problem(t); p.Code != CodeBody || p.Status != 400 {
			t.Errorf("GET %s with a body: %+v", path, p)
		}
	}
	if after := records(t, f); len(after) != len(all) {
		t.Fatalf("%d records", len(after))
	}
}

func TestNobodyEntersWithoutAVerifiedCertificate(t *testing.T) {
	s := serve(t, &still{}, func(*Options) {})
	stranger := newAuthority(t).issue(t)
	for name, config := range map[string]*tls.Config{
		"no certificate":                     {RootCAs: s.authority.pool()},
		"a certificate of another authority": {RootCAs: s.authority.pool(), Certificates: []tls.Certificate{stranger}},
		"TLS 1.2": {
			RootCAs: s.authority.pool(), Certificates: []tls.Certificate{s.authority.issue(t)},
			MaxVersion: tls.VersionTLS12,
		},
	} {
		transport := &http.Transport{TLSClientConfig: config}
		for _, path := range paths() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := transport.RoundTrip(r); err == nil {
				_ = res.Body.Close()
				t.Errorf("%s, %s: %d", name, path, res.StatusCode)
			}
		}
		transport.CloseIdleConnections()
	}
	h := newHandler(options(t, s.authority, &still{}), nil)
	for _, state := range []*tls.ConnectionState{nil, {}, {PeerCertificates: []*x509.Certificate{s.authority.cert}}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/head", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.TLS = state
		w := newRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), string(CodeNoClient)) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestRoutes(t *testing.T) {
	w, all, h := feed(t)
	f := w.following(t, w)
	w.reach(t, f)
	s := serve(t, f, func(o *Options) { o.Frozen = 1 << 60 })
	for _, tt := range []struct {
		path   string
		status int
		code   cypherlink.Code
	}{
		{"/", 404, CodeNotFound},
		{"/v1/events/", 404, CodeNotFound},
		{"/v2/events", 404, CodeNotFound},
		{"/v1//events", 404, CodeNotFound},
		{"/v1/./events", 404, CodeNotFound},
		{"/v1/events/0", 404, CodeNotFound},
		{"/v1/events/24", 404, CodeNotFound},
		{"/v1/events/01", 404, CodeNotFound},
		{"/v1/events/-1", 404, CodeNotFound},
		{"/v1/events/18446744073709551615", 404, CodeNotFound},
		{"/v1/events/18446744073709551616", 404, CodeNotFound},
		{"/v1/heads/0", 404, CodeNotFound},
		{"/v1/heads/10", 404, CodeNotFound},
		{"/v1/heads/x", 404, CodeNotFound},
		{"/v1/events/1?x=1", 400, CodeParameter},
		{"/v1/head?x", 400, CodeParameter},
		{"/v1/heads/1?x", 400, CodeParameter},
		{"/healthz?verbose=1", 400, CodeParameter},
		{"/openapi.yaml?x", 400, CodeParameter},
		{"/v1/events?limit=0", 400, CodeParameter},
		{"/v1/events?limit=1001", 400, CodeParameter},
		{"/v1/events?limit=01", 400, CodeParameter},
		{"/v1/events?limit=", 400, CodeParameter},
		{"/v1/events?limit=1&limit=2", 400, CodeParameter},
		{"/v1/events?after=-1", 400, CodeParameter},
		{"/v1/events?after=%2B1", 400, CodeParameter},
		{"/v1/events?after=1;limit=2", 400, CodeParameter},
		{"/v1/events?After=1", 400, CodeParameter},
		{"/v1/stream?limit=1", 400, CodeParameter},
		{"/v1/stream?after=x", 400, CodeParameter},
	} {
		a := s.get(tt.path)
		if p := a.problem(t); p.Status != tt.status || p.Code != tt.code || !strings.HasSuffix(p.Instance, a.Header.Get("X-Request-Id")) {
			t.Errorf("%s: %+v", tt.path, p)
		}
	}
	for _, number := range []int{1, 7, 23} {
		a := s.get(fmt.Sprint("/v1/events/", number))
		if want := line(t, all[number-1]); a.StatusCode != http.StatusOK || strings.TrimSpace(string(a.body)) != string(want) {
			t.Errorf("record %d: %s", number, a.body)
		}
	}
	var got Head
	if err := decode(s.get("/v1/head").body, &got); err != nil || got.Height != h.Height || got.FeedRoot != h.FeedRoot {
		t.Errorf("%+v, %v", got, err)
	}
	for height := range w.state.Header().Height {
		if err := decode(s.get(fmt.Sprint("/v1/heads/", height+1)).body, &got); err != nil || got.Height < height+1 {
			t.Errorf("height %d: %+v, %v", height+1, got, err)
		}
	}
	for _, path := range []string{"/healthz", "/nothing", "/openapi.yaml", "/v1/events"} {
		a := s.get(path)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		} {
			if a.Header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, a.Header.Get(name))
			}
		}
	}
}

// Pages follow each other without a gap or a repetition, whatever their size.
func TestPages(t *testing.T) {
	w, all, h := feed(t)
	f := w.following(t, w)
	w.reach(t, f)
	s := serve(t, f, func(*Options) {})
	for _, limit := range []int{1, 2, 5, 22, 23, 24, 1000} {
		c := newCheck(t, w, Checkpoint{})
		pages := 0
		for path := fmt.Sprint("/v1/events?limit=", limit); path != ""; pages++ {
			a := s.get(path)
			var p Page
			if err := decode(a.body, &p); err != nil || len(p.Records) > limit || len(p.Records) == 0 {
				t.Fatalf("%s: %d records, %v", path, len(p.Records), err)
			}
			c.Line(a.body)
			path = p.Next
		}
		c.Head(&h)
		if r := c.Report(); len(r.Faults) > 0 || pages != (len(all)+limit-1)/limit {
			t.Errorf("limit %d: %d pages, %s", limit, pages, told(r))
		}
	}
	for _, after := range []string{"23", "24", "18446744073709551615"} {
		if a := s.get("/v1/events?after=" + after); strings.TrimSpace(string(a.body)) != `{"records":[]}` {
			t.Errorf("after %s: %s", after, a.body)
		}
	}
}

// A page of long records ends early, and says where it goes on.
func TestPagesAreBoundedInBytes(t *testing.T) {
	w := newTown(t)
	at := w.now() + 1000
	for range 3 {
		pay := w.World.Payment(fmt.Sprint(at), 1, at/1000+1<<20)
		pay.Packet = make([]byte, 30_000)
		w.commands(t, at, w.World.Prepare(pay))
		at += 1000
	}
	f := &repeating{Feed: w.following(t, w), size: 100}
	w.reach(t, f.Feed.(*follow.Follower))
	s := serve(t, f, func(*Options) {})
	var p Page
	a := s.get("/v1/events?limit=1000")
	if err := decode(a.body, &p); err != nil || len(a.body) > pageSize+200_000 || len(p.Records) >= 100 ||
		p.Next != fmt.Sprintf("/v1/events?after=%d&limit=1000", len(p.Records)) {
		t.Fatalf("%d records in %d bytes, next %s, %v", len(p.Records), len(a.body), p.Next, err)
	}
}

// repeating shows the first three entries of a feed again and again.
type repeating struct {
	Feed
	size uint64
}

func (r *repeating) Head() chain.Header {
	h := r.Feed.Head()
	h.Roots.FeedSize = r.size
	return h
}

func (r *repeating) Entry(ctx context.Context, index uint64) (follow.Entry, error) {
	e, err := r.Feed.Entry(ctx, index%3)
	e.Index = index
	return e, err
}

// T4: a feed that stands still is seen by the age of its head.
func TestAFrozenFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := &still{head: chain.Header{Height: 4, TimeMS: time.Now().UnixMilli()}}
		s := &server{o: Options{Feed: feed, Frozen: 30 * time.Second}}
		ask := func() (*recorder, error) {
			w := newRecorder()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil)
			if err != nil {
				return w, err
			}
			return w, s.health(t.Context(), &exchange{ResponseWriter: w, request: r})
		}
		time.Sleep(30 * time.Second) // of the bubble
		w, err := ask()
		var h Health
		if err := errors.Join(err, decode(w.Body.Bytes(), &h)); err != nil || h.AgeMS != 30_000 || h.Height != 4 {
			t.Fatalf("%+v, %v", h, err)
		}
		time.Sleep(time.Millisecond)
		if _, err := ask(); cypherlink.ErrorCode(err) != CodeFrozen {
			t.Fatal(err)
		}
	})
}

// What cannot be proved in time is a problem, and so is what goes wrong inside, which is not told.
func TestProblemsOfTheFeed(t *testing.T) {
	h := chain.Header{Height: 3, Roots: chain.Roots{FeedSize: 5}}
	for _, tt := range []struct {
		err  error
		code cypherlink.Code
	}{{nil, CodeTimeout}, {errors.New("secret"), CodeInternal}} {
		s := serve(t, &still{head: h, err: tt.err}, func(o *Options) { o.Handling = 50 * time.Millisecond })
		for _, path := range []string{"/v1/events", "/v1/events/1", "/v1/head", "/v1/heads/2"} {
			a := s.get(path)
			if p := a.problem(t); p.Code != tt.code || strings.Contains(string(a.body), "secret") {
				t.Errorf("%s: %s", path, a.body)
			}
		}
	}
}

// One reader, and all of them, have so many requests at a time.
func TestRequestsAtATime(t *testing.T) {
	g := newGate(2, 3)
	one, two := cypherlink.Hash{1}, cypherlink.Hash{2}
	leave := g.enter(one)
	if leave == nil || g.enter(one) == nil || g.enter(one) != nil {
		t.Fatal("not two of one")
	}
	last := g.enter(two)
	if last == nil || g.enter(two) != nil {
		t.Fatal("not three of all")
	}
	leave()
	if g.enter(two) == nil || g.enter(two) != nil {
		t.Fatal("a place that was left is not free")
	}
	last()
	if g.total != 2 || len(g.inside) != 2 {
		t.Fatalf("%+v", g.inside)
	}

	held, free := make(chan struct{}), make(chan struct{})
	s := serve(t, &holding{held: held, free: free}, func(o *Options) {
		o.RequestsEach, o.Requests, o.Handling = 1, 2, time.Minute
	})
	other := s.reader()
	done := make(chan reply, 2)
	for _, client := range []*http.Client{s.client, other} {
		go func() { done <- s.do(client, http.MethodGet, "/v1/events/1", nil) }()
		<-held
		if p := s.get("/healthz?x").problem(t); p.Code != CodeBusy || p.Status != 429 {
			t.Errorf("%+v", p)
		}
	}
	if p := s.do(s.reader(), http.MethodGet, "/healthz?x", nil).problem(t); p.Code != CodeBusy {
		t.Errorf("%+v", p)
	}
	close(free)
	for range 2 {
		if p := (<-done).problem(t); p.Code != CodeInternal {
			t.Errorf("%+v", p)
		}
	}
	if p := s.get("/healthz?x").problem(t); p.Code != CodeParameter {
		t.Errorf("%+v", p)
	}
}

// holding answers nothing before it may: it says that it was asked, and waits.
type holding struct {
	still
	held, free chan struct{}
}

func (h *holding) Head() chain.Header {
	return chain.Header{Height: 1, Roots: chain.Roots{FeedSize: 1}}
}

func (h *holding) Entry(context.Context, uint64) (follow.Entry, error) {
	h.held <- struct{}{}
	<-h.free
	return follow.Entry{}, errors.New("over")
}

// panicking is a feed with a mistake.
type panicking struct{ still }

func (panicking) Head() chain.Header { panic("no such thing") }

func TestAPanicIsAProblem(t *testing.T) {
	s := serve(t, &panicking{}, func(*Options) {})
	for range 2 {
		if a := s.get("/v1/head"); a.problem(t).Code != CodeInternal || strings.Contains(string(a.body), "thing") {
			t.Fatalf("%s", a.body)
		}
	}
}

// Connections beyond the limit are closed, and headers beyond theirs refused.
func TestConnectionsAndHeaders(t *testing.T) {
	s := serve(t, &still{head: chain.Header{TimeMS: time.Now().UnixMilli()}}, func(o *Options) { o.Connections = 2 })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	res, err := s.client.Do(r)
	if err == nil {
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Error(res.Status)
		}
	}
	s.client.CloseIdleConnections()
	var open []*tls.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	refused := 0
	for range 4 {
		c, err := (&tls.Dialer{Config: s.config()}).DialContext(t.Context(), "tcp", s.addr)
		if err != nil {
			refused++
			continue
		}
		open = append(open, c.(*tls.Conn))
	}
	if len(open) > 2 || refused < 2 {
		t.Fatalf("%d are open", len(open))
	}
}

// T3: the tap's follower refuses a block that no quorum has made final, and shows nothing of it.
func TestASplitView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.block(t, 2)
		honest := len(w.blocks)
		other := newTown(t)
		other.block(t, 3) // another history of the same network
		other.blocks[0].Proof.QC.Votes.Bitmap = []byte{3}
		f := w.following(t, &lying{other}, w)
		w.reach(t, f)
		d := f.Dropped()
		if len(d) != 1 || d[0].Source != "liar" || f.Head().Roots.FeedSize != 2 || honest != 1 {
			t.Fatalf("%v, %+v", d, f.Head())
		}
		all := records(t, f)
		if r := checked(t, w, all, again(t, all[1].Head)); len(r.Faults) > 0 || r.Checkpoint.Size != 2 {
			t.Fatal(told(r))
		}
	})
}

type lying struct{ *town }

func (lying) Name() string { return "liar" }

// Numbers have one form.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"", "after=1&limit=2", "after=1&after=2", "limit=0", "a;b", "%zz", "after=%31"} {
		f.Add(q, "7")
	}
	f.Fuzz(func(t *testing.T, query, id string) {
		if q, err := parsePage(query); err == nil {
			if q.limit < 1 || q.limit > MaxPage {
				t.Fatalf("%q: %+v", query, q)
			}
			again, err := parsePage(strings.TrimPrefix(q.next(q.after), "/v1/events?"))
			if err != nil || again != q {
				t.Fatalf("%q: %+v, %v", query, again, err)
			}
		} else if cypherlink.ErrorCode(err) != CodeParameter {
			t.Fatal(err)
		}
		after, err := parseResume(query, []string{id})
		if err == nil && id != "" && fmt.Sprint(after) != id {
			t.Fatalf("%q is %d", id, after)
		}
	})
}

func TestResumption(t *testing.T) {
	for _, tt := range []struct {
		query string
		ids   []string
		after uint64
		ok    bool
	}{
		{"", nil, 0, true},
		{"after=5", nil, 5, true},
		{"after=5", []string{"7"}, 7, true},
		{"after=5", []string{""}, 5, true},
		{"", []string{"0"}, 0, true},
		{"", []string{"07"}, 0, false},
		{"", []string{"x"}, 0, false},
		{"", []string{"7", "8"}, 0, false},
		{"after=5", []string{"7", ""}, 0, false},
		{"after=x", []string{"7"}, 0, false},
	} {
		after, err := parseResume(tt.query, tt.ids)
		if (err == nil) != tt.ok || tt.ok && after != tt.after {
			t.Errorf("%q, %q: %d, %v", tt.query, tt.ids, after, err)
		}
	}
}

func TestClassesOfProblems(t *testing.T) {
	var statuses []int
	for _, code := range []cypherlink.Code{
		CodeNotFound, CodeMethod, CodeParameter, CodeBody, CodeNoClient, CodeBusy, CodeStreams, CodeTimeout,
		CodeFrozen, CodeInternal,
	} {
		status, title := class(code)
		if statuses = append(statuses, status); title == "" {
			t.Error(code)
		}
	}
	if want := []int{404, 405, 400, 400, 403, 429, 429, 503, 503, 500}; !slices.Equal(statuses, want) {
		t.Fatal(statuses)
	}
}
