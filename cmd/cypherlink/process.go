package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/cypherlink/cypherlink/internal/hold"
)

// process is one institution's part of a network while it runs.
type process interface {
	// Run does its work until ctx ends, which is no error.
	Run(ctx context.Context) error
	// Close releases everything. It is called once, after Run.
	Close() error
}

// runProcess holds the node's folder, makes the process, tells that it is ready, and runs it
// until the session ends.
func runProcess(s *session, n node, build func(context.Context, *slog.Logger) (process, error)) error {
	folder := filepath.Dir(string(n.Identity))
	held, err := hold.Take(folder)
	if err != nil {
		return refusal{err}
	}
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	ctx, cancel := context.WithCancel(s.Context)
	defer cancel()
	p, err := build(ctx, log)
	if err != nil {
		return errors.Join(err, held.Release())
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	if err := held.Ready(); err != nil {
		cancel()
		return errors.Join(err, <-done, p.Close(), held.Release())
	}
	return errors.Join(<-done, p.Close(), held.Release())
}
