package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"

	"github.com/cypherlink/cypherlink"
	"github.com/cypherlink/cypherlink/internal/peer"
)

// exchange is what the layers learn of one request. It belongs to the request's goroutine.
type exchange struct {
	id     string
	client peer.SPKI
	// media is the type of answer that the client prefers, and raw the body, both once they
	// were checked.
	media string
	raw   []byte
	// code is that of the problem that was answered, and cause what stands behind it.
	code  cypherlink.Code
	cause error
}

// scoped is an Idempotency-Key among those of all clients: each has its own keys.
func (on *exchange) scoped(key string) string { return on.client.String() + "/" + key }

type exchangeKey struct{}

// exchangeIn is the exchange of the request in ctx.
func exchangeIn(ctx context.Context) *exchange {
	if on, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return on
	}
	return &exchange{}
}

// errPanic means that a handler panicked. The stack is in its text.
var errPanic = errors.New("api: panic")

// observe gives the request its id, guards against panics, sets the headers that every answer
// has, and writes the access log: no body, no name, no account, no query.
func observe(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now()
			on := &exchange{id: rand.Text()}
			r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, on))
			out := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			secure(out.Header())
			out.Header().Set("X-Request-Id", on.id)
			defer func() {
				p := recover()
				begun := out.Status() != 0
				if p != nil {
					err := fmt.Errorf("%v: %w\n%s", p, errPanic, debug.Stack())
					if begun {
						on.code, on.cause = CodeInternal, err
					} else {
						writeProblem(out, r, err)
					}
				}
				record(log, r, on, out.Status(), time.Since(start))
				if p != nil && begun {
					panic(http.ErrAbortHandler) //nolint:forbidigo // so net/http cuts the connection
				}
			}()
			next.ServeHTTP(out, r)
		})
	}
}

// secure sets the headers that keep a browser, a proxy or a cache from making use of an
// answer.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Content-Type-Options", "nosniff")
}

func record(log *slog.Logger, r *http.Request, on *exchange, status int, took time.Duration) {
	attrs := []slog.Attr{
		slog.String("method", r.Method),
		slog.String("route", chi.RouteContext(r.Context()).RoutePattern()),
		slog.Int("status", status),
		slog.Duration("duration", took),
		slog.String("request_id", on.id),
		slog.String("client", on.client.String()[:16]),
	}
	level := slog.LevelInfo
	if on.code != "" {
		attrs = append(attrs, slog.String("code", string(on.code)))
	}
	if on.code == CodeInternal {
		level = slog.LevelError
		attrs = append(attrs, slog.Any("error", on.cause))
	}
	log.LogAttrs(r.Context(), level, "request", attrs...)
}

// identify lets only those through whose certificate was verified, and notes their key.
func identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			writeProblem(w, r, refuse(r.Context(), CodeNoClient, "Connect with one that this bank accepts."))
			return
		}
		exchangeIn(r.Context()).client = sha256.Sum256(r.TLS.PeerCertificates[0].RawSubjectPublicKeyInfo)
		next.ServeHTTP(w, r)
	})
}

// atOnce lets at most limit requests run at a time.
func atOnce(limit int) func(http.Handler) http.Handler {
	slots := make(chan struct{}, limit)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				next.ServeHTTP(w, r)
			default:
				writeProblem(w, r, refuse(r.Context(), CodeOverload, "Nothing was done. Ask again."))
			}
		})
	}
}

// atRate lets at most limit requests of one client through in a second.
func atRate(limit int) func(http.Handler) http.Handler {
	client := func(r *http.Request) (string, error) {
		key := exchangeIn(r.Context()).client
		return string(key[:]), nil
	}
	return httprate.LimitBy(limit, time.Second, client,
		httprate.WithResponseHeaders(httprate.ResponseHeaders{}),
		httprate.WithErrorHandler(writeProblem),
		httprate.WithLimitHandler(func(w http.ResponseWriter, r *http.Request) {
			writeProblem(w, r, refuse(r.Context(), CodeRate, "Nothing was done. Try again in a second."))
		}))
}

// within bounds the time that the handlers may take.
func within(patience time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), patience)
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// notFound and notAllowed answer for the router.
func notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, r, refuse(r.Context(), CodeNotFound, "See /openapi.yaml for what there is."))
}

func notAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if routes.Match(chi.NewRouteContext(), method, r.URL.Path) {
				allowed = append(allowed, method)
			}
		}
		if allowed == nil {
			notFound(w, r) // a method that the router does not know, on a path that is not there
			return
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		writeProblem(w, r, refuse(r.Context(), CodeMethod, "Allowed here: "+strings.Join(allowed, ", ")+"."))
	}
}
