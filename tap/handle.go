package tap

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/chain/state"
)

//go:embed openapi.yaml
var openapi []byte

// server answers the requests.
type server struct {
	o                 Options
	requests, streams *gate
	// ending is closed when the process is to end.
	ending <-chan struct{}
}

// newHandler is the whole interface behind TLS: every refusal in it is a Problem.
func newHandler(o Options, ending <-chan struct{}) http.Handler {
	s := &server{
		o: o, requests: newGate(o.RequestsEach, o.Requests), streams: newGate(o.StreamsEach, o.Streams),
		ending: ending,
	}
	mux := http.NewServeMux()
	for route, answer := range map[string]answer{
		"/v1/events":          s.events,
		"/v1/events/{number}": s.event,
		"/v1/head":            s.head,
		"/v1/heads/{height}":  s.headAt,
		"/healthz":            s.health,
		"/openapi.yaml":       s.document,
		"/":                   s.nothing,
	} {
		mux.HandleFunc(route, s.guarded(route, s.within(answer)))
	}
	mux.HandleFunc("/v1/stream", s.guarded("/v1/stream", s.stream))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean(r.URL.Path) != r.URL.Path { // the mux would redirect, and not by a Problem
			r.URL.Path = "/"
		}
		mux.ServeHTTP(w, r)
	})
}

// answer answers an exchange that has been admitted, within ctx. Its error becomes a Problem.
type answer func(ctx context.Context, x *exchange) error

// exchange is one request and its answer.
type exchange struct {
	http.ResponseWriter
	request *http.Request
	id      string
	client  cypherlink.Hash
	status  int
}

// WriteHeader notes the status.
func (x *exchange) WriteHeader(status int) {
	x.status = status
	x.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// errPanic means that a handler panicked. The stack is in its text.
var errPanic = errors.New("tap: panic")

// guarded gives the request its id, lets only GET by verified clients through, turns errors and
// panics into problems, and writes the access log: no query.
func (s *server) guarded(route string, do answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		x := &exchange{ResponseWriter: w, request: r, id: rand.Text()}
		secure(x.Header())
		x.Header().Set("X-Request-Id", x.id)
		err := func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("%v: %w\n%s", p, errPanic, debug.Stack())
				}
			}()
			if err := s.admit(x); err != nil {
				return err
			}
			return do(r.Context(), x)
		}()
		code := x.fail(err)
		level := slog.LevelInfo
		if code == CodeInternal {
			level = slog.LevelError
		}
		s.o.Log.LogAttrs(r.Context(), level, "request",
			slog.String("method", r.Method), slog.String("route", route), slog.Int("status", x.status),
			slog.Duration("duration", time.Since(began)), slog.String("request_id", x.id),
			slog.String("client", x.client.String()[:16]), slog.String("code", string(code)),
			slog.Any("error", err))
	}
}

// secure sets the headers that keep a browser, a proxy or a cache from making use of an answer.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Content-Type-Options", "nosniff")
}

// admit refuses whoever shows no verified certificate, and every request that is more than a GET.
func (s *server) admit(x *exchange) error {
	r := x.request
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return &cypherlink.Error{Code: CodeNoClient, Message: "Connect with one that this tap accepts."}
	}
	x.client = sha256.Sum256(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
	if r.Method != http.MethodGet {
		x.Header().Set("Allow", http.MethodGet)
		return &cypherlink.Error{Code: CodeMethod, Message: "Allowed here: GET."}
	}
	if r.ContentLength != 0 {
		x.Header().Set("Connection", "close") // nobody reads the body
		return &cypherlink.Error{Code: CodeBody, Message: "Send no body."}
	}
	return nil
}

// fail answers with the problem that err is, unless the answer has begun; it gives the code.
func (x *exchange) fail(err error) cypherlink.Code {
	if err == nil {
		return ""
	}
	code, detail := CodeInternal, "The cause is in the log. Quote the instance when you report it."
	told, ok := errors.AsType[*cypherlink.Error](err)
	switch {
	case ok:
		code, detail = told.Code, told.Message
	case errors.Is(err, state.ErrUnknown):
		code, detail = CodeNotFound, "The feed, or the chain, is not that long."
	case errors.Is(err, errSlow), x.request.Context().Err() != nil:
		return "" // of a reader who is gone or does not read
	case errors.Is(err, context.DeadlineExceeded):
		code, detail = CodeTimeout, "Ask again."
	}
	if x.status != 0 {
		return code
	}
	p := newProblem(code, detail, x.id)
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		x.Header().Set("Retry-After", "1")
	}
	_ = x.send(p.Status, problemType, p) // fails only if the client has gone
	return code
}

// send answers with a value as JSON.
func (x *exchange) send(status int, media string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	x.Header().Set("Content-Type", media)
	x.Header().Set("Content-Length", strconv.Itoa(len(b)+1))
	x.WriteHeader(status)
	_, err = x.Write(append(b, '\n'))
	return err
}

func (x *exchange) json(v any) error { return x.send(http.StatusOK, "application/json", v) }

// within lets so many of a client and of all run at a time, each for so long.
func (s *server) within(do answer) answer {
	return func(ctx context.Context, x *exchange) error {
		leave := s.requests.enter(x.client)
		if leave == nil {
			return &cypherlink.Error{Code: CodeBusy, Message: "Ask again when others are answered."}
		}
		defer leave()
		ctx, cancel := context.WithTimeout(ctx, s.o.Handling)
		defer cancel()
		return do(ctx, x)
	}
}

func (s *server) record(ctx context.Context, number uint64) (*Record, error) {
	e, err := s.o.Feed.Entry(ctx, number-1)
	if err != nil {
		return nil, err
	}
	return newRecord(e)
}

// events answers with a page, which ends where it is full, or where the feed does.
func (s *server) events(ctx context.Context, x *exchange) error {
	q, err := parsePage(x.request.URL.RawQuery)
	if err != nil {
		return err
	}
	size := s.o.Feed.Head().Roots.FeedSize
	page, weight := Page{Records: []Record{}}, 0
	for number := q.after; number < size && len(page.Records) < q.limit && weight < pageSize; {
		number++
		r, err := s.record(ctx, number)
		if err != nil {
			return err
		}
		page.Records = append(page.Records, *r)
		weight += r.weight()
		page.Next = ""
		if number < size {
			page.Next = q.next(number)
		}
	}
	return x.json(page)
}

func (s *server) event(ctx context.Context, x *exchange) error {
	if _, err := parseQuery(x.request.URL.RawQuery); err != nil {
		return err
	}
	number, ok := parseNumber(x.request.PathValue("number"))
	if !ok || number == 0 || number > s.o.Feed.Head().Roots.FeedSize {
		return &cypherlink.Error{Code: CodeNotFound, Message: "The feed has no record of that number."}
	}
	r, err := s.record(ctx, number)
	if err != nil {
		return err
	}
	return x.json(r)
}

// newest is the newest head that is proved; the header itself at height 0.
func (s *server) newest(ctx context.Context) (Head, error) {
	header := s.o.Feed.Head()
	if header.Height == 0 {
		return headOf(header, nil), nil
	}
	p, err := s.o.Feed.Finality(ctx, header.Height)
	if err != nil {
		return Head{}, err
	}
	return newHead(p), nil
}

func (s *server) head(ctx context.Context, x *exchange) error {
	if _, err := parseQuery(x.request.URL.RawQuery); err != nil {
		return err
	}
	h, err := s.newest(ctx)
	if err != nil {
		return err
	}
	return x.json(h)
}

// headAt answers with the first head from a height on that has a proof.
func (s *server) headAt(ctx context.Context, x *exchange) error {
	if _, err := parseQuery(x.request.URL.RawQuery); err != nil {
		return err
	}
	height, ok := parseNumber(x.request.PathValue("height"))
	if !ok || height == 0 || height > s.o.Feed.Head().Height {
		return &cypherlink.Error{Code: CodeNotFound, Message: "No block from that height on is proved."}
	}
	p, err := s.o.Feed.Finality(ctx, height)
	if err != nil {
		return err
	}
	return x.json(newHead(p))
}

// Health is what GET /healthz says of a tap that hears of the chain.
type Health struct {
	Status string    `json:"status"`
	Height uint64    `json:"height"`
	Time   time.Time `json:"time"`
	AgeMS  int64     `json:"age_ms"`
}

// health is good while blocks come: the committee makes one at least every idle interval.
func (s *server) health(_ context.Context, x *exchange) error {
	if _, err := parseQuery(x.request.URL.RawQuery); err != nil {
		return err
	}
	h := headOf(s.o.Feed.Head(), nil)
	age := h.Age(time.Now())
	if age > s.o.Frozen {
		message := fmt.Sprintf("The newest block, %d, is %s old.", h.Height, age.Round(time.Second))
		return &cypherlink.Error{Code: CodeFrozen, Message: message}
	}
	return x.json(Health{Status: "ok", Height: h.Height, Time: h.Time, AgeMS: age.Milliseconds()})
}

func (s *server) document(_ context.Context, x *exchange) error {
	if _, err := parseQuery(x.request.URL.RawQuery); err != nil {
		return err
	}
	x.Header().Set("Content-Type", "application/openapi+yaml")
	x.WriteHeader(http.StatusOK)
	_, err := x.Write(openapi)
	return err
}

func (*server) nothing(context.Context, *exchange) error {
	return &cypherlink.Error{Code: CodeNotFound, Message: "See /openapi.yaml for what there is."}
}
