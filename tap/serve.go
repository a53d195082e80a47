package tap

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
)

// ErrOptions means that Options cannot be served.
var ErrOptions = errors.New("tap: unusable options")

// maxHeader bounds a request's header in bytes.
const maxHeader = 16 << 10

// Options are what Serve needs. DefaultOptions has the limits; the caller adds the rest.
type Options struct {
	// TLS has the server's certificate and the authority of its readers. MinVersion is at least
	// TLS 1.3 and ClientAuth is RequireAndVerifyClientCert.
	TLS *tls.Config
	// Log gets a line for every request.
	Log  *slog.Logger
	Feed Feed

	// Requests and Streams are the most that run at a time, of one client and of all; one more is
	// refused. Connections is the most connections of all clients.
	RequestsEach, Requests int
	StreamsEach, Streams   int
	Connections            int
	// Reading is the longest that a request may take to arrive, Handling the longest that it
	// may then take to be answered, Idle the longest that a connection may be silent between
	// two requests. None of them bounds a stream.
	Reading, Handling, Idle time.Duration
	// Patience is the longest that the reader of a stream may take for one record or head. Who
	// takes longer is dropped.
	Patience time.Duration
	// Heartbeat is how often a stream repeats the head while it does not move.
	Heartbeat time.Duration
	// Frozen is the age of the head at which the health is bad.
	Frozen time.Duration
	// Draining is the longest that requests may go on once ctx has ended. Streams end at once.
	Draining time.Duration
}

// DefaultOptions are limits for some dozens of readers, and an alarm for a chain that has made no
// block for 30 s.
func DefaultOptions() Options {
	return Options{
		RequestsEach: 8, Requests: 64, StreamsEach: 4, Streams: 64, Connections: 256,
		Reading: 10 * time.Second, Handling: 10 * time.Second, Idle: time.Minute,
		Patience: 10 * time.Second, Heartbeat: 2 * time.Second, Frozen: 30 * time.Second,
		Draining: 5 * time.Second,
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
	case o.Log == nil, o.Feed == nil:
		return fmt.Errorf("no log or no feed: %w", ErrOptions)
	case min(o.RequestsEach, o.Requests, o.StreamsEach, o.Streams, o.Connections) <= 0:
		return fmt.Errorf("a limit that lets nothing through: %w", ErrOptions)
	case min(o.Reading, o.Handling, o.Idle, o.Patience, o.Heartbeat, o.Frozen, o.Draining) <= 0:
		return fmt.Errorf("a time that is not positive: %w", ErrOptions)
	}
	return nil
}

// Serve serves on listener until ctx ends, then ends the streams, lets the other requests finish
// and returns nil. It owns the listener. Errors: ErrOptions, and those of the listener.
//
// It speaks HTTP/1.1 alone: a stream is a connection, so a reader who does not read holds up
// nobody but himself.
func Serve(ctx context.Context, listener net.Listener, o Options) error {
	if err := o.Valid(); err != nil {
		return errors.Join(err, listener.Close())
	}
	config := o.TLS.Clone()
	config.NextProtos = []string{"http/1.1"}
	// the requests that run outlive ctx, up to Draining
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	srv := &http.Server{
		Handler: newHandler(o, ctx.Done()), TLSConfig: config, MaxHeaderBytes: maxHeader,
		Protocols: &protocols, ReadHeaderTimeout: o.Reading, ReadTimeout: o.Reading,
		IdleTimeout: o.Idle, WriteTimeout: o.Reading + o.Handling,
		ErrorLog:    slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context { return base },
		ConnState:   atMost(o.Connections),
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
