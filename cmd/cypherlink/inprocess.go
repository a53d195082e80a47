package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cypherlink/cypherlink/internal/hold"
)

// stage runs a local network's processes as goroutines of this one. Each has its own keys,
// store, sockets and TLS identity, as it has as a process of its own.
type stage struct {
	dir string
	log *slog.Logger
	// through is what each institution sees and hears through.
	through func(folder string) lens
	// failed gets the first error with which a process ends by itself.
	failed chan error
	// further are the folders of the banks beside A and B.
	further []string

	mu    sync.Mutex
	plays map[string]*play
}

// play is one process while it runs.
type play struct {
	process process
	held    *hold.Hold
	cancel  context.CancelFunc
	done    chan struct{}
}

func newStage(dir string, logs io.Writer, through func(folder string) lens) *stage {
	return &stage{
		dir: dir, through: through, log: slog.New(slog.NewJSONHandler(logs, nil)), failed: make(chan error, 1),
		plays: map[string]*play{},
	}
}

// start begins the process of the folder, and returns when it does its work.
func (s *stage) start(ctx context.Context, folder string) error {
	held, err := hold.Take(filepath.Join(s.dir, folder))
	if err != nil {
		return err
	}
	inner, cancel := context.WithCancel(ctx)
	p, err := s.build(inner, folder, s.log.With(slog.String("process", folder)))
	if err != nil {
		cancel()
		return errors.Join(fmt.Errorf("%s: %w", folder, err), held.Release())
	}
	on := &play{process: p, held: held, cancel: cancel, done: make(chan struct{})}
	s.mu.Lock()
	s.plays[folder] = on
	s.mu.Unlock()
	go func() {
		defer close(on.done)
		if err := p.Run(inner); err != nil {
			select {
			case s.failed <- fmt.Errorf("%s: %w", folder, err):
			default:
			}
		}
	}()
	return held.Ready()
}

// stop ends the process of the folder, if it runs.
func (s *stage) stop(folder string) error {
	s.mu.Lock()
	on := s.plays[folder]
	delete(s.plays, folder)
	s.mu.Unlock()
	if on == nil {
		return nil
	}
	on.cancel()
	<-on.done
	return errors.Join(on.process.Close(), on.held.Release())
}

// stopAll ends everything, the banks first and the broker last.
func (s *stage) stopAll() error {
	var errs []error
	order := append(slices.Clone(s.further), folderA, folderClearing, folderB)
	order = append(order, committee()...)
	for _, folder := range append(order, folderVoteDE, folderVoteDCEP, folderLedger) {
		errs = append(errs, s.stop(folder))
	}
	return errors.Join(errs...)
}

// build makes the process that the folder's configuration describes.
func (s *stage) build(ctx context.Context, folder string, log *slog.Logger) (process, error) {
	file := filepath.Join(s.dir, folder, configName)
	through := s.through(folder)
	switch {
	case folder == folderVoteDE, folder == folderVoteDCEP:
		return configured(ctx, file, log, newValidator)
	case folder == folderLedger:
		return configured(ctx, file, log, newLedger)
	case folder == folderClearing:
		return configured(ctx, file, log, func(
			ctx context.Context, c *connectorConfig, log *slog.Logger,
		) (*connectorProcess, error) {
			return newConnector(ctx, c, log, through)
		})
	case strings.HasPrefix(folder, folderBank):
		return configured(ctx, file, log, func(
			ctx context.Context, c *connectConfig, log *slog.Logger,
		) (*connectProcess, error) {
			return newConnect(ctx, c, log, through)
		})
	default:
		return configured(ctx, file, log, newMember)
	}
}

func configured[C any, P process](
	ctx context.Context, file string, log *slog.Logger, build func(context.Context, *C, *slog.Logger) (P, error),
) (process, error) {
	var c C
	if err := readConfig(file, &c); err != nil {
		return nil, err
	}
	return build(ctx, &c, log)
}

// raise creates a network in a folder and starts everything.
func raise(
	ctx context.Context, dir string, logs io.Writer, through func(folder string) lens, further ...bank,
) (*stage, error) {
	if err := createNetwork(ctx, dir, further...); err != nil {
		return nil, err
	}
	s := newStage(dir, logs, through)
	for _, b := range further {
		s.further = append(s.further, b.folder)
	}
	order := append([]string{folderLedger, folderVoteDE, folderVoteDCEP}, committee()...)
	order = append(append(order, s.further...), folderB, folderClearing, folderA)
	for _, folder := range order {
		if err := s.start(ctx, folder); err != nil {
			return nil, errors.Join(err, s.stopAll())
		}
	}
	return s, nil
}

// config is the configuration file of a folder.
func (s *stage) config(folder string) string { return filepath.Join(s.dir, folder, configName) }
