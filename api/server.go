package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/cypherlink/cypherlink/chain"
)

// ErrOptions means that Options cannot be served.
var ErrOptions = errors.New("api: unusable options")

// maxHeader bounds a request's header in bytes.
const maxHeader = 16 << 10

// Options are what Serve needs. DefaultOptions has the limits; the caller adds the rest.
type Options struct {
	// TLS has the server's certificate and the authorities of its clients. MinVersion is at
	// least TLS 1.3 and ClientAuth is RequireAndVerifyClientCert.
	TLS *tls.Config
	// Log gets a line for every request.
	Log *slog.Logger
	// Genesis names the network's assets and banks.
	Genesis *chain.Genesis
	// Payments, Documents and Channels are a bank's, Quotes a clearing bank's, Crossings
	// everybody's whose own money crosses. The operations of a port that is nil are not there.
	Payments  Payments
	Documents Documents
	Channels  Channels
	Quotes    Quotes
	Crossings Crossings

	// Rate is the most requests of one client in a second.
	Rate int
	// Requests is the most requests that are handled at a time, and Connections the most
	// connections of all clients. One more is refused.
	Requests, Connections int
	// Reading is the longest that a request may take to arrive, Handling the longest that it
	// may then take to be answered, Idle the longest that a connection may be silent between
	// two requests.
	Reading, Handling, Idle time.Duration
	// Draining is the longest that requests may go on once ctx has ended.
	Draining time.Duration
}

// DefaultOptions are limits for a bank that has some hundred payments a second.
func DefaultOptions() Options {
	return Options{
		Rate: 1000, Requests: 256, Connections: 1024,
		Reading: 10 * time.Second, Handling: 10 * time.Second, Idle: time.Minute,
		Draining: 10 * time.Second,
	}
}

// Valid reports ErrOptions with what is wrong.
func (o *Options) Valid() error {
	switch {
	case o.TLS == nil, o.TLS.MinVersion < tls.VersionTLS13:
		return fmt.Errorf("TLS below 1.3: %w", ErrOptions)
	case o.TLS.ClientAuth != tls.RequireAndVerifyClientCert, o.TLS.ClientCAs == nil:
		return fmt.Errorf("TLS without verified client certificates: %w", ErrOptions)
	case o.TLS.GetConfigForClient != nil:
		return fmt.Errorf("TLS that a client may change: %w", ErrOptions)
	case o.Log == nil, o.Genesis == nil:
		return fmt.Errorf("no log or no genesis: %w", ErrOptions)
	case (o.Payments == nil) != (o.Documents == nil):
		return fmt.Errorf("one of Payments and Documents without the other: %w", ErrOptions)
	case o.Payments == nil && o.Quotes == nil:
		return fmt.Errorf("nothing to serve: %w", ErrOptions)
	case o.Rate <= 0, o.Requests <= 0, o.Connections <= 0:
		return fmt.Errorf("a limit that lets nothing through: %w", ErrOptions)
	case o.Reading <= 0, o.Handling <= 0, o.Idle <= 0, o.Draining <= 0:
		return fmt.Errorf("a time that is not positive: %w", ErrOptions)
	}
	return nil
}

// Serve serves on listener until ctx ends, then lets the requests that run finish and returns
// nil. It owns the listener. Errors: ErrOptions, and those of the listener.
func Serve(ctx context.Context, listener net.Listener, o Options) error {
	h, err := newHandler(o)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	config := o.TLS.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	// the requests that run outlive ctx, up to Draining
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	srv := &http.Server{
		Handler: h, TLSConfig: config, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: o.Reading, ReadTimeout: o.Reading, IdleTimeout: o.Idle,
		WriteTimeout: o.Reading + o.Handling,
		ErrorLog:     slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
		BaseContext:  func(net.Listener) context.Context { return base },
		ConnState:    atMost(o.Connections),
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(listener, "", "") }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", errors.Join(err, srv.Close()))
	case <-ctx.Done():
	}
	draining, stop := context.WithTimeout(base, o.Draining)
	defer stop()
	if err := srv.Shutdown(draining); err != nil {
		o.Log.LogAttrs(ctx, slog.LevelWarn, "requests were cut off", slog.Any("error", err))
		return errors.Join(srv.Close(), closed(<-served))
	}
	return closed(<-served)
}

// closed is err unless it says that the server was asked to stop.
func closed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// atMost closes every connection beyond limit as soon as it comes.
func atMost(limit int) func(net.Conn, http.ConnState) {
	var open atomic.Int64
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if open.Add(1) > int64(limit) {
				_ = c.Close() // the server finds it closed, and says so in its log
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		case http.StateActive, http.StateIdle:
		}
	}
}

// newHandler is the whole interface behind TLS.
func newHandler(o Options) (http.Handler, error) {
	if err := o.Valid(); err != nil {
		return nil, err
	}
	router := chi.NewRouter()
	router.Use(observe(o.Log), identify, atRate(o.Rate), atOnce(o.Requests), within(o.Handling))
	router.NotFound(notFound)
	router.MethodNotAllowed(notAllowed(router))
	s := &server{
		network: newNetwork(o.Genesis), payments: o.Payments, documents: o.Documents,
		channels: o.Channels, quotes: o.Quotes, crossings: o.Crossings,
	}
	if err := s.mount(router); err != nil {
		return nil, err
	}
	return router, nil
}
